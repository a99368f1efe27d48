"""From a declared route to an answer: who asks, may he, what did he send, what is answered. One way for all routes."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
import psycopg
import structlog
from msgspec.json import encode
from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.datastructures import ImmutableMultiDict
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route, WebSocketRoute
from starlette.types import Message
from starlette.websockets import WebSocket

from tracker_server.api.authorise import Endpoint, Kind, Open, authorise, authorise_objects
from tracker_server.api.call import Call, Services, SocketCall
from tracker_server.api.errors import JSON, Refusal, not_found, response_of
from tracker_server.api.identify import identify
from tracker_server.api.values import NUMBER_MAX, body_of, read_pairs
from tracker_server.model.people import Principal
from tracker_server.model.why import Why
from tracker_server.storage.database import AWAY
from tracker_server.storage.limits import limit_told

log = structlog.get_logger(__name__)

PREFIX: Final = "/api"
OUR_FAULT: Final = Refusal(500, "this went wrong, and it is our fault; the server's log has more")
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY")


def make_routes(endpoints: Sequence[Endpoint], services: Services) -> list[BaseRoute]:
    """All of them below ``/api``, and at the end what answers for paths that there are not."""
    origins = services.settings.api.origins_allowed
    routes: list[BaseRoute] = []
    for endpoint in sorted(
        endpoints, key=lambda one: "{" in one.path
    ):  # /devices/import before /devices/{id}
        path = f"{PREFIX}{_starlette(endpoint.path)}"
        if endpoint.method == "SOCKET":
            routes.append(WebSocketRoute(path, _socket(endpoint, services, origins)))
        else:
            route = Route(path, _http(endpoint, services, origins), methods=[endpoint.method])
            route.path_regex = re.compile(route.path_regex.pattern.removesuffix("$") + "/?$")
            routes.append(route)
    known = tuple(routes)

    async def missing(request: Request) -> Response:
        allow = sorted(
            method
            for route in known
            if isinstance(route, Route) and route.matches(request.scope)[0] is Match.PARTIAL
            for method in route.methods or ()
        )
        if allow:
            refusal = Refusal(
                405, f"{request.method} is not to be had here", headers={"Allow": ", ".join(allow)}
            )
        else:
            refusal = not_found(f"{request.url.path}; /api/openapi.json lists what there is")
        return response_of(refusal, request)

    routes.append(Route(f"{PREFIX}/{{rest:path}}", missing, methods=list(METHODS)))
    routes.append(Route(PREFIX, missing, methods=list(METHODS)))
    return routes


class _Id(IntegerConvertor):
    """As many digits as an id may have; of more than 4,300 Python makes no number."""

    regex = f"[0-9]{{1,{len(str(NUMBER_MAX))}}}"


register_url_convertor("id", _Id())


def _starlette(path: str) -> str:
    """Ids are numbers: a path with anything else there is none of ours."""
    return path.replace("{id}", "{id:id}")


def _http(
    endpoint: Endpoint, services: Services, origins: frozenset[str]
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        response = await attempt(request)
        services.metrics.api_requests.labels(f"{response.status_code // 100}xx").inc()
        return response

    async def attempt(request: Request) -> Response:
        try:
            principal = (
                None if endpoint.needs is Open.SIGNED else await identify(services.access, request, origins)
            )
            authorise(endpoint, principal)
            query = read_pairs(request.query_params, endpoint.query) if endpoint.query else None
            await authorise_objects(principal, named_objects(endpoint, request, query), services.allowed)
            body = await _body(endpoint, request)
            call = Call(services, principal, request, dict(request.path_params), query, body)
            return tagged(_response(endpoint, await endpoint.handler(call)), request, principal)
        except Refusal as refusal:
            return response_of(refusal, request)
        except psycopg.errors.UniqueViolation:
            return response_of(
                Refusal(
                    409, "there is one like it already; give it another name or identifier", why=Why.EXISTS
                ),
                request,
            )
        except psycopg.errors.CheckViolation as error:
            sentence = limit_told(error)
            if sentence is None:
                log.exception("a defect of ours", method=request.method, path=request.url.path)
                return response_of(OUR_FAULT, request)
            return response_of(Refusal(409, sentence, more={"reason": "limit"}), request)
        except psycopg.DataError as error:
            log.info("a value that cannot be stored", path=request.url.path, error=str(error).strip())
            return response_of(
                Refusal(
                    400,
                    "a value is out of range, or holds a character that no text holds",
                    why=Why.UNSTORABLE,
                ),
                request,
            )
        except AWAY as error:
            log.warning("no answer for want of the database", path=request.url.path, error=str(error).strip())
            return response_of(
                Refusal(503, "the database is away; try again in a moment", headers={"Retry-After": "2"}),
                request,
            )
        except Exception:
            log.exception("a defect of ours", method=request.method, path=request.url.path)
            return response_of(OUR_FAULT, request)

    return answer


def _socket(
    endpoint: Endpoint, services: Services, origins: frozenset[str]
) -> Callable[[WebSocket], Awaitable[None]]:
    async def answer(socket: WebSocket) -> None:
        try:
            principal = await identify(services.access, socket, origins)
            authorise(endpoint, principal)
        except Refusal as refusal:
            await socket.send_denial_response(response_of(refusal, Request({**socket.scope, "type": "http"})))
            return
        assert principal is not None
        await endpoint.handler(SocketCall(services, principal, socket))

    return answer


def named_objects(endpoint: Endpoint, connection: HTTPConnection, query: Any) -> list[tuple[Kind, int]]:
    """The ids in path and query that the endpoint says are objects. Raises Refusal for one that cannot be an id."""
    found: list[tuple[Kind, int]] = []
    values = {} if query is None else msgspec.to_builtins(query)
    for name, kind in endpoint.objects.items():
        given = connection.path_params.get(name, values.get(name))
        for number in given if isinstance(given, list) else [given]:
            if number is None:
                continue
            if not 0 <= number <= NUMBER_MAX:
                raise not_found(f"{kind.word} {number}")
            if number or name in connection.path_params:
                found.append((kind, number))
    return found


async def _body(endpoint: Endpoint, request: Request) -> Any:
    if endpoint.body is None:
        return None
    whole = await read_body(request, endpoint.body_bytes_max)
    if endpoint.body is bytes:
        return whole
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if endpoint.form and kind != JSON:
        return read_pairs(await _form(whole, kind, request), endpoint.body)
    return body_of(whole, endpoint.body)


async def read_body(request: Request, bytes_max: int) -> bytes:
    """The whole body. Raises Refusal where it is longer."""
    whole = bytearray()
    async for chunk in request.stream():
        whole += chunk
        if len(whole) > bytes_max:
            raise Refusal(
                413, f"the body is too long; at most {bytes_max:,} bytes", headers={"Connection": "close"}
            )
    return bytes(whole)


async def _form(whole: bytes, kind: str, request: Request) -> ImmutableMultiDict[str, Any]:
    if kind == "multipart/form-data":

        async def receive() -> Message:
            return {"type": "http.request", "body": whole, "more_body": False}

        return await Request(request.scope, receive).form(max_files=1, max_fields=100)
    try:
        return ImmutableMultiDict(parse_qsl(whole.decode(), keep_blank_values=True, max_num_fields=1_000))
    except (UnicodeDecodeError, ValueError):
        raise Refusal(400, "body: is no form") from None


def _response(endpoint: Endpoint, answered: Any) -> Response:
    if isinstance(answered, Response):
        return answered
    if answered is None:
        return Response(status_code=204)
    status = 200 if endpoint.status == 204 else endpoint.status
    return Response(encode(answered), status, media_type=JSON)


TAG_KEY: Final = secrets.token_bytes(32)


def tagged(response: Response, request: Request, principal: Principal | None) -> Response:
    """A whole JSON answer with its ETag; 304 where the client has it already. The tag is of content and reader, by a key
    that nobody knows: it tells nothing of what is in the answer, and nobody can try what it would be.
    """
    if request.method != "GET" or response.status_code != 200 or type(response) is not Response:
        return response
    if response.media_type != JSON or "set-cookie" in response.headers:
        return response
    reader = b"" if principal is None else f"{principal.user_id} {principal.role}".encode()
    digest = hashlib.blake2b(reader + b"\0", key=TAG_KEY, digest_size=16)
    digest.update(response.body)
    tag = f'"{digest.hexdigest()}"'
    known = {one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")}
    if tag in known:
        return Response(status_code=304, headers={"ETag": tag})
    response.headers["ETag"] = tag
    return response

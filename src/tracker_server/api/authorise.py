"""What every route must say before it exists, and the one decision over it.

A route is declared with the right that it needs and, for each parameter that names an object, of what kind that is::

    routes = Routes("Devices")


    @routes.get("/devices/{id}", needs=Right.READ, objects={"id": Kind.DEVICE}, answers=Device)
    async def one_device(call: Call[None, None]) -> Device:
        "One tracker."

``authorise`` is asked before the handler, for every route: who is asking, has he the right; then
``authorise_objects``: are all of them his. What is not his is answered as what does not exist.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, Literal, TypeVar, assert_never

from msgspec import Struct

from tracker_server.api.errors import Refusal, not_found
from tracker_server.model.people import Principal, Right

Handler = Callable[..., Awaitable[Any]]
Declared = TypeVar("Declared", bound=Handler)
Method = Literal["GET", "POST", "PUT", "DELETE", "SOCKET"]

BODY_BYTES_MAX: Final = 1_048_576  # a fence of 20,000 vertices is half of that


class Open(StrEnum):
    """Instead of a right: what asks for none, and why."""

    ANYBODY = "nobody need be signed in"
    SIGNED = "the caller signs each request"  # a gateway's webhook


class Kind(StrEnum):
    """What a parameter names."""

    DEVICE = "tracker"  # hidden or not: its card, and what its owner manages
    SHOWN = "shown tracker"  # one that is not hidden: everything that comes from it
    ACCOUNT = "account"
    USER = "user"
    GROUP = "group"
    GEOFENCE = "geofence"
    DRIVER = "driver"
    MAINTENANCE = "maintenance plan"
    CALENDAR = "calendar"
    COMMAND = "command"
    ATTRIBUTE = "computed attribute"
    NOTIFICATION = "notification"
    INVOICE = "invoice"
    TARIFF = "tariff"  # anybody's
    EVENT = "event"  # of a shown tracker
    POSITION = "position"  # of a shown tracker
    REPORT = "saved report"
    PROXIMITY = "pair of trackers"  # both shown

    @property
    def word(self) -> str:
        """In a refusal: a hidden tracker is not told apart from none."""
        return "tracker" if self is Kind.SHOWN else self.value


class Endpoint(Struct, frozen=True, kw_only=True):
    """One route below ``/api``. ``query``, ``body``, ``answers``: msgspec types, which OpenAPI is made from.

    ``name``, ``summary``: in OpenAPI; the handler's own unless said. ``form``: the body is a form. ``status``: of a good answer. ``also``: other good
    ones. ``media``: what it is, where it is no JSON.
    """

    method: Method
    path: str
    handler: Handler
    needs: Right | Open
    topic: str
    objects: Mapping[str, Kind]
    query: Any = None
    body: Any = None
    form: bool = False
    body_bytes_max: int = BODY_BYTES_MAX
    answers: Any = None
    status: int = 200
    media: tuple[str, ...] = ()
    also: tuple[int, ...] = ()
    name: str
    summary: str


class Routes:
    """The routes of one topic, in the order of their declaration."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.all: list[Endpoint] = []

    def get(self, path: str, *, needs: Right | Open, **more: Any) -> Callable[[Declared], Declared]:
        """Declare a GET; ``more``: fields of ``Endpoint``."""
        return self._declare("GET", path, needs, more)

    def post(self, path: str, *, needs: Right | Open, **more: Any) -> Callable[[Declared], Declared]:
        """Declare a POST."""
        return self._declare("POST", path, needs, more)

    def put(self, path: str, *, needs: Right | Open, **more: Any) -> Callable[[Declared], Declared]:
        """Declare a PUT."""
        return self._declare("PUT", path, needs, more)

    def delete(self, path: str, *, needs: Right | Open, **more: Any) -> Callable[[Declared], Declared]:
        """Declare a DELETE; a handler that answers None is a 204."""
        return self._declare("DELETE", path, needs, {"status": 204, **more})

    def socket(self, path: str, *, needs: Right, **more: Any) -> Callable[[Declared], Declared]:
        """Declare a websocket; its handler takes ``SocketCall``."""
        return self._declare("SOCKET", path, needs, more)

    def _declare(
        self, method: Method, path: str, needs: Right | Open, more: dict[str, Any]
    ) -> Callable[[Declared], Declared]:
        objects: Mapping[str, Kind] = more.pop("objects", {})

        def declare(handler: Declared) -> Declared:
            assert handler.__doc__, f"{method} {path}: its docstring is its line in the API's description"
            words: dict[str, Any] = {
                "name": handler.__name__,
                "summary": " ".join(handler.__doc__.split()),
                **more,
            }
            self.all.append(
                Endpoint(
                    method=method,
                    path=path,
                    handler=handler,
                    needs=needs,
                    topic=self.topic,
                    objects=objects,
                    **words,
                )
            )
            return handler

        return declare


Allowed = Callable[[Principal, Kind, frozenset[int]], Awaitable[frozenset[int]]]
"""Which of these objects are there for somebody; ``storage`` answers it."""


def authorise(endpoint: Endpoint, principal: Principal | None) -> None:
    """Before anything of the request is read. Raises Refusal: 401 for nobody, 403 for a right that he has not."""
    match endpoint.needs:
        case Open():
            return
        case Right() as right:
            if principal is None:
                raise Refusal(401, "sign in first")
            require(principal, right)
        case _:
            assert_never(endpoint.needs)


async def authorise_objects(
    principal: Principal | None, named: Iterable[tuple[Kind, int]], allowed: Allowed
) -> None:
    """Of the objects that path and query name. Raises Refusal: 404 for one that is not his."""
    wanted: dict[Kind, set[int]] = {}
    for kind, number in named:
        wanted.setdefault(kind, set()).add(number)
    for kind, numbers in wanted.items():
        if principal is None:
            raise Refusal(401, "sign in first")
        await require_objects(principal, kind, numbers, allowed)


def require(principal: Principal, right: Right) -> None:
    """Raises Refusal where he has it not."""
    if not principal.may(right):
        raise Refusal(403, f"you may not do this: it needs the right {right.value!r}")


async def require_objects(principal: Principal, kind: Kind, numbers: Iterable[int], allowed: Allowed) -> None:
    """Raises Refusal where one of them is not there for him."""
    wanted = frozenset(numbers)
    missing = wanted - await allowed(principal, kind, wanted)
    if missing:
        raise not_found(f"{kind.word} {min(missing)}")

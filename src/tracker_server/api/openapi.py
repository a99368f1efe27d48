"""The API's description, made from the routes themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tracker_server import __version__
from tracker_server.api.authorise import Endpoint, Open
from tracker_server.api.errors import JSON
from tracker_server.api.values import NUMBER_MAX

FORM: Final = "application/x-www-form-urlencoded"
SECURITY: Final = {
    "cookie": {"type": "apiKey", "in": "cookie", "name": "JSESSIONID"},
    "basic": {"type": "http", "scheme": "basic"},
    "bearer": {"type": "http", "scheme": "bearer"},
    "token": {"type": "apiKey", "in": "query", "name": "token"},
}


def describe(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """An OpenAPI 3.1 document."""
    endpoints = [one for one in endpoints if one.method != "SOCKET"]
    types = [kind for one in endpoints for kind in (one.query, one.body, one.answers) if _described(kind)]
    shapes, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schemas = iter(shapes)
    paths: dict[str, dict[str, Any]] = {}
    for one in endpoints:
        query = next(schemas) if _described(one.query) else None
        body = next(schemas) if _described(one.body) else None
        answer = next(schemas) if _described(one.answers) else None
        paths.setdefault(f"/api{one.path}", {})[one.method.lower()] = _operation(
            one, query, body, answer, components
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tracker-server",
            "version": __version__,
            "description": "Speaks the shapes of this field's reference, and its own for money and blocks.",
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": topic} for topic in dict.fromkeys(one.topic for one in endpoints)],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": SECURITY},
    }


def _described(kind: Any) -> bool:
    return kind is not None and kind is not bytes


def _operation(
    one: Endpoint, query: Any, body: Any, answer: Any, components: dict[str, Any]
) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _path_schema(name)}
        for name in re.findall(r"\{(\w+)\}", one.path)
    ]
    if query is not None:
        shape = components[query["$ref"].rpartition("/")[2]] if "$ref" in query else query
        required = shape.get("required", [])
        parameters += [
            {"name": name, "in": "query", "required": name in required, "schema": schema}
            for name, schema in shape["properties"].items()
        ]
    operation: dict[str, Any] = {
        "operationId": one.name,
        "tags": [one.topic],
        "summary": one.summary,
        "description": f"Needs: {one.needs}.",
        "parameters": parameters,
        "responses": _responses(one, answer),
        "security": [] if isinstance(one.needs, Open) else [{name: []} for name in SECURITY],
    }
    if one.body is bytes:
        operation["requestBody"] = {"required": True, "content": {"application/octet-stream": {}}}
    elif body is not None:
        content = {FORM: {"schema": body}} if one.form else {}
        operation["requestBody"] = {"required": True, "content": {**content, JSON: {"schema": body}}}
    return operation


def _path_schema(name: str) -> dict[str, Any]:
    if name == "id":
        return {"type": "integer", "minimum": 0, "maximum": NUMBER_MAX}
    return {"type": "string"}


def _responses(one: Endpoint, answer: Any) -> dict[str, Any]:
    if one.status == 204 and answer is None:
        good: dict[str, Any] = {"204": {"description": "done"}}
    else:
        media = one.media or ((JSON,) if answer is not None else ())
        content = {name: {"schema": answer or {}} for name in media}
        good = {
            str(200 if one.status == 204 else one.status): {"description": "as asked", "content": content}
        }
    good |= {str(status): {"description": "as the summary says"} for status in one.also}
    refused = {"text/plain": {"schema": {"type": "string"}}, JSON: {"schema": {"type": "object"}}}
    return {**good, "4XX": {"description": "refused: a sentence says why", "content": refused},
            "5XX": {"description": "not now, or our fault", "content": refused}}  # fmt: skip

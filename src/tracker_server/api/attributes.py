"""Computed attributes: their list, and what one gives on a tracker's latest position."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct
from msgspec.json import encode
from starlette.responses import PlainTextResponse, Response

from tracker_server.api.authorise import Kind, Routes
from tracker_server.api.call import Call
from tracker_server.api.computed import Formula, latest_position
from tracker_server.api.errors import bad
from tracker_server.api.kept import Name, Sort, Text, keep, told
from tracker_server.api.values import Number
from tracker_server.model.expression import CHARACTERS_MAX, Expression, ExpressionError
from tracker_server.model.people import Right

routes = Routes("Computed attributes")

TYPES = ("string", "number", "boolean")


class Attribute(Struct, rename="camel", kw_only=True):
    """``type``: string, number or boolean. Those of a higher ``priority`` are computed first, and later ones see them."""

    id: Number = 0
    description: Text | None = ""
    attribute: Name
    expression: Annotated[str, Meta(min_length=1, max_length=CHARACTERS_MAX)]
    type: Annotated[str, Meta(pattern="^(?:[Ss]tring|[Nn]umber|[Bb]oolean)$")]
    priority: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] = 0
    account_id: Number | None = 0


class TestQuery(Struct, rename="camel"):
    """The tracker whose latest position is taken."""

    device_id: Number


def formula_of(attribute: Attribute) -> Formula:
    """Raises Refusal where it cannot be read."""
    try:
        return Formula(attribute.attribute, Expression(attribute.expression), attribute.type.lower())
    except ExpressionError as error:
        raise bad("expression", str(error)) from None


async def _check(_: Call[Any, Any], attribute: Attribute) -> None:
    formula_of(attribute)


keep(
    routes,
    Sort(
        Kind.ATTRIBUTE,
        "/attributes/computed",
        Attribute,
        to_row=lambda one: {
            "description": one.description or "",
            "attribute": one.attribute,
            "expression": one.expression,
            "type": one.type.lower(),
            "priority": one.priority,
        },
        to_shape=lambda row: told(Attribute, row),
        check=_check,
    ),
)


@routes.post(
    "/attributes/computed/test",
    needs=Right.WRITE,
    query=TestQuery,
    objects={"deviceId": Kind.SHOWN},
    body=Attribute,
    media=("text/plain",),
    also=(204,),
    answers=str,
)
async def post_attribute_test(call: Call[TestQuery, Attribute]) -> Response:
    """What an expression gives on the tracker's latest position; 204: nothing."""
    formula = formula_of(call.body)
    position = await latest_position(call.services.pools, call.query.device_id)
    value = None if position is None else formula.value(position)
    if value is None:
        return Response(status_code=204)
    return PlainTextResponse(value if isinstance(value, str) else encode(value).decode())

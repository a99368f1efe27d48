"""The calculator: an imagined history in JSON, run through the engine, and its ledger in JSON.

Reading is strict: a field that is missing, misspelt or malformed is named, with the cure. What the
engine refuses is no error: it is part of the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from tracker_server.billing.book import Entry, Refused
from tracker_server.billing.commands import AnyCommand, Switch
from tracker_server.billing.engine import act, settle
from tracker_server.billing.facts import AnyFact, Booked, PlanEnded
from tracker_server.billing.state import State, open_account
from tracker_server.billing.states import FACES, due_minor, paid_until, standing
from tracker_server.billing.what_if_actions import read_action
from tracker_server.billing.what_if_fields import Fields, read_settings, read_tariffs
from tracker_server.model.money import Currency, InvalidValueError, currency, format_minor
from tracker_server.model.reading import UnreadableError, read_json

# Enough for every tracker of a fleet over years; a larger file is a mistake rather than a question.
ACTIONS_MAX: Final = 20_000
YEARS_MAX: Final = 150


class Action(msgspec.Struct, frozen=True):
    """One action as given: its place in the file, counted from 1, its instant and its commands."""

    place: int
    at: datetime
    commands: tuple[AnyCommand, ...]


class Question(msgspec.Struct, frozen=True):
    """An imagined history, read and checked."""

    unit: Currency
    opening: State
    end: datetime
    actions: tuple[Action, ...]


class Refusal(msgspec.Struct, frozen=True):
    """An action that was refused."""

    place: int
    refused: Refused


def what_if(text: bytes) -> bytes:
    """The answer to a question, both JSON. Raises ``InvalidValueError`` for a question that makes no sense."""
    try:
        raw = read_json(text)
    except UnreadableError as error:
        raise InvalidValueError("file", f"it is not JSON ({error}); mend it there") from None
    return msgspec.json.format(msgspec.json.encode(answer(read(raw))), indent=1)


def read(raw: object) -> Question:
    """Read a question."""
    fields = Fields(raw, "file")
    unit = currency(fields.take("currency"))
    zone = fields.zone("zone")
    tariffs = read_tariffs(fields.take("tariffs"), unit)
    tariff = fields.choice("tariff", tariffs)
    start, end = fields.instant("start"), fields.instant("end")
    if end < start:
        raise InvalidValueError("end", f"{end.isoformat()} is before start; put it after {start.isoformat()}")
    if end.year - start.year > YEARS_MAX:
        raise InvalidValueError("end", f"it is more than {YEARS_MAX} years after start; ask for less")
    settings = read_settings(fields.take_or("settings", {}))
    rows = fields.list("actions")
    fields.done()
    if len(rows) > ACTIONS_MAX:
        raise InvalidValueError("actions", f"{len(rows)} of them; at most {ACTIONS_MAX} can be asked at once")
    opening = open_account(
        currency=unit.code, zone=zone, tariff=tariff, tariffs=tariffs, at=start, settings=settings
    )
    actions: list[Action] = []
    for index, row in enumerate(rows):
        action = Fields(row, f"actions[{index}]")
        at = action.instant("at")
        if not start <= at <= end:
            raise InvalidValueError(f"actions[{index}].at", f"{at.isoformat()} is not between start and end")
        commands = read_action(action, unit, tariffs, f"action:{index + 1}")
        actions.append(Action(index + 1, at, commands))
    actions.sort(key=lambda action: action.at)
    return Question(unit, opening, end, tuple(actions))


def answer(question: Question) -> dict[str, Any]:
    """Run a question and print the shape of the answer."""
    state = question.opening
    facts: list[AnyFact] = []
    refusals: list[Refusal] = []
    planned: dict[str, int] = {}
    for action in question.actions:
        for command in action.commands:
            outcome = act(state, command, action.at)
            state = outcome.state
            facts.extend(outcome.facts)
            refusals.extend(lapsed_plans(outcome.facts, planned))
            if isinstance(command, Switch):
                planned.setdefault(command.key, action.place)
            if isinstance(outcome.answer, Refused):
                refusals.append(Refusal(action.place, outcome.answer))
    state, last = settle(state, question.end)
    facts.extend(last)
    refusals.extend(lapsed_plans(last, planned))
    money = money_of(question.unit)
    return {
        "entries": [entry_json(fact.entry, money) for fact in facts if isinstance(fact, Booked)],
        "devices": {device.id: device_json(state, device.id, money) for device in state.by_turn()},
        "refused": [refusal_json(state, refusal) for refusal in refusals],
        "balance": money(state.book.balance_minor),
    }


def lapsed_plans(facts: tuple[AnyFact, ...], planned: Mapping[str, int]) -> Iterator[Refusal]:
    """Planned switches whose date came when the month's limit was reached."""
    for fact in facts:
        if isinstance(fact, PlanEnded) and fact.refused is not None:
            yield Refusal(planned[fact.plan.key], fact.refused)


def money_of(unit: Currency) -> Callable[[int], str]:
    """How amounts of a currency are printed."""
    return lambda amount_minor: format_minor(amount_minor, unit)


def entry_json(entry: Entry, money: Callable[[int], str]) -> dict[str, Any]:
    """One line of the ledger."""
    transfer = entry.transfer
    return {
        "at": utc(transfer.at),
        "kind": transfer.kind.value,
        "device": transfer.device,
        "date": None if transfer.day is None else transfer.day.isoformat(),
        "amount": money(transfer.amount_minor),
        "balance": money(entry.balance_minor),
    }


def device_json(state: State, device_id: str, money: Callable[[int], str]) -> dict[str, Any]:
    """Where a tracker stands at the end."""
    device, at = state.devices[device_id], state.settled_to
    face = FACES[standing(state, device, at)]
    until = paid_until(state, device)
    return {
        "state": face.state,
        "reason": face.reason,
        "due": money(due_minor(state, device, at)),
        "paid_until": None if until is None else utc(until),
    }


def refusal_json(state: State, refusal: Refusal) -> dict[str, Any]:
    """An action that was refused; ``next_allowed`` in the account's own time."""
    next_allowed = refusal.refused.next_allowed
    local = None if next_allowed is None else next_allowed.astimezone(ZoneInfo(state.zone)).isoformat()
    return {"action": refusal.place, "reason": refusal.refused.reason.value, "next_allowed": local}


def utc(at: datetime) -> str:
    """An instant in ISO 8601 with ``Z``."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")

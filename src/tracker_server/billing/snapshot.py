"""What a store keeps of an account: its state without the ids it ever used, and its facts, as JSON.

The ids grow for ever and stay in the store, under unique keys; ``ids_needed`` says which of them a
command has to be given. A store that gives those few gets the same outcome as one that gives all.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec.structs import replace

from tracker_server.billing.book import Ids
from tracker_server.billing.commands import AnyCommand, BackPay, SmsFailed, Withdraw
from tracker_server.billing.daily import daily_id
from tracker_server.billing.facts import AnyFact
from tracker_server.billing.reveal import unpaid_dates
from tracker_server.billing.state import State


class IdsNeeded(msgspec.Struct, frozen=True):
    """Ids to look up before a command: of requests, and of the book."""

    requests: tuple[str, ...] = ()
    book: tuple[str, ...] = ()


def request_id(command: AnyCommand) -> str:
    """The id under which a command with a key is remembered."""
    return f"{type(command).__name__.lower()}:{command.key}"


def ids_needed(state: State, command: AnyCommand) -> IdsNeeded:
    """Which used ids ``act`` will ask for."""
    requests = (request_id(command),) if command.key else ()
    match command:
        case SmsFailed():
            return IdsNeeded(requests, (f"sms:{command.alert}", f"reversal:sms:{command.alert}"))
        case Withdraw():
            devices = state.devices.values()
            return IdsNeeded(
                requests, tuple(f"connection:{device.id}:{device.episode}" for device in devices)
            )
        case BackPay() if command.device in state.devices:
            gaps = state.devices[command.device].gaps
            days = {day for gap in gaps for day in unpaid_dates(state, gap)}
            return IdsNeeded(requests, tuple(daily_id(command.device, day) for day in sorted(days)))
        case _:
            return IdsNeeded(requests)


def dump_state(state: State) -> bytes:
    """The state as JSON, without its used ids."""
    return msgspec.json.encode(state, enc_hook=_without_ids)


def load_state(text: bytes, *, requests: Ids | None = None, book: Ids | None = None) -> State:
    """A state as it was dumped, with the used ids that the store looked up."""
    state = msgspec.json.decode(text, type=State, dec_hook=_no_ids)
    return replace(state, requests=requests or Ids(), book=replace(state.book, ids=book or Ids()))


def dump_fact(fact: AnyFact) -> bytes:
    """A fact as tagged JSON."""
    return msgspec.json.encode(fact)


def load_fact(text: bytes) -> AnyFact:
    """A fact as it was dumped."""
    return _FACTS.decode(text)


_FACTS: Final[msgspec.json.Decoder[AnyFact]] = msgspec.json.Decoder(AnyFact)


def _without_ids(value: object) -> Any:
    assert isinstance(value, Ids), f"{value!r} cannot be dumped"
    return None


def _no_ids(kind: type, _value: object) -> Any:
    assert kind is Ids, f"{kind} cannot be loaded"
    return Ids()

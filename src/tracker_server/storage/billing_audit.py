"""The audit: everything derived anew from the journal, and every difference in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from tracker_server.billing.book import chain_holds
from tracker_server.billing.evolve import rebuild
from tracker_server.billing.facts import AnyFact, Booked
from tracker_server.billing.state import State
from tracker_server.storage.billing_blocks import TrackerId, Wanted, wanted_blocks

# Ids are in the journal; settings and tariffs are the operator's; time passes without a fact.
NOT_COMPARED = frozenset({"requests", "book", "settings", "tariffs", "settled_to"})


def journal_differences(
    name: str, opening: State, stored: State, counted: int, facts: Sequence[AnyFact]
) -> list[str]:
    """What an account's stored state says otherwise than its journal. ``counted``: how many facts it should have."""
    of = f"account {name!r}"
    found: list[str] = []
    if not chain_holds([fact.entry for fact in facts if isinstance(fact, Booked)]):
        found.append(f"{of}: the chain of hashes is broken: an entry was changed")
    try:
        rebuilt = rebuild(replace(opening, tariffs=stored.tariffs), facts)
    except (AssertionError, KeyError) as error:
        return [*found, f"{of}: the journal does not fold: {error}"]
    if len(facts) != counted:
        found.append(f"{of}: {len(facts)} facts are written, {counted} were counted")
    for field in State.__struct_fields__:
        here, there = getattr(stored, field), getattr(rebuilt, field)
        if field not in NOT_COMPARED and here != there:
            found.append(f"{of}: {field} is {here!r}, and the journal says {there!r}")
    for side, amount in rebuilt.book.balances.items():
        if stored.book.of(side) != amount:
            found.append(f"{of}: {side} is {stored.book.of(side)}, and the journal says {amount}")
    if (stored.book.count, stored.book.head) != (rebuilt.book.count, rebuilt.book.head):
        found.append(
            f"{of}: the book ends at entry {stored.book.count}, and the journal at {rebuilt.book.count}"
        )
    return found


def block_differences(
    name: str, state: State, trackers: Sequence[TrackerId], present: Mapping[tuple[int, str], Wanted]
) -> list[str]:
    """Where the gate's rows are not those that follow from the state. What is due may be a day old: it hides nobody."""
    wanted = wanted_blocks(state, trackers, present)
    names = {tracker.row: tracker.unique_id for tracker in trackers}
    found: list[str] = []
    for row, reason in sorted({*wanted, *present}):
        here, there = present.get((row, reason)), wanted.get((row, reason))
        if (here and (here.since, here.note)) != (there and (there.since, there.note)):
            found.append(
                f"account {name!r}: tracker {names[row]!r} has the block {str(reason)!r} as {_words(here)}, "
                f"and billing says {_words(there)}"
            )
    return found


def _words(block: Wanted | None) -> str:
    return "none" if block is None else f"{block.note or 'set'} since {block.since.isoformat()}"

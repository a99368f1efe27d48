"""How every money command is carried out: find the account, settle, act, and tell what happened."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from cyclopts import Parameter

from tracker_server.cli.common import database, refused, run, tell
from tracker_server.cli.values import unique_id_of

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from tracker_server.billing.commands import AnyCommand, Outcome
    from tracker_server.config import Loaded
    from tracker_server.storage.billing_rows import AccountRow
    from tracker_server.storage.billing_store import BillingStore

Once: TypeAlias = Annotated[str | None, Parameter(name="--key")]


def store_of(loaded: Loaded) -> BillingStore:
    """Money's hand on the database, with the operator's choices."""
    from tracker_server.storage.billing_store import BillingStore, settings_of

    return BillingStore(settings_of(loaded.settings.billing))


def for_account(name: str, loaded: Loaded, make: Callable[[AccountRow], AnyCommand], done: str) -> None:
    """Carry a command out for the account of that name. ``done``: what to say when it was."""

    async def main() -> None:
        from tracker_server.storage.database import Role

        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            account = await find_account(connection, name)
            await carry_out(connection, loaded, account, make(account), f"account {name!r}: {done}")

    run(main)


def for_tracker(unique_id: str, loaded: Loaded, make: Callable[[str], AnyCommand], done: str) -> None:
    """Carry a command out for the account that has this tracker."""
    unique_id = unique_id_of("UNIQUE_ID", unique_id)

    async def main() -> None:
        from tracker_server.cli.device import find
        from tracker_server.storage.billing_rows import account_of_tracker
        from tracker_server.storage.database import Role

        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            await find(connection, unique_id)
            account = await account_of_tracker(connection, unique_id)
            if account is None:
                refused(f"UNIQUE_ID: tracker {unique_id!r} was removed just now by somebody else")
            await carry_out(connection, loaded, account, make(unique_id), f"tracker {unique_id!r}: {done}")

    run(main)


async def find_account(connection: AsyncConnection[Any], name: str, flag: str = "ACCOUNT") -> AccountRow:
    """The account of that name, or a refusal, exit 1."""
    from difflib import get_close_matches

    from tracker_server.storage.accounts import account_ids
    from tracker_server.storage.billing_rows import account_named

    account = await account_named(connection, name)
    if account is None:
        near = get_close_matches(name, await account_ids(connection), 1)
        hint = f"did you mean {near[0]!r}?" if near else "`tracker-server account list` tells them all"
        refused(f"{flag}: there is no account named {name!r}; {hint}")
    return account


async def carry_out(
    connection: AsyncConnection[Any], loaded: Loaded, account: AccountRow, command: AnyCommand, done: str
) -> Outcome:
    """Settle, act, tell. A refusal exits 1; what fell due before it stays posted."""
    from tracker_server.billing.book import Refused
    from tracker_server.billing.commands import AlreadyDone
    from tracker_server.cli.billing_words import changes, refusal

    outcome = await store_of(loaded).act(connection, account.id, command, datetime.now(UTC))
    match outcome.answer:
        case Refused() as refusing:
            refused(f"account {account.name!r}: {refusal(refusing, outcome.state.zone)}")
        case AlreadyDone():
            tell(f"done before, under the key {command.key!r}; nothing was changed")
        case _:
            tell(done)
            for line in changes(outcome.facts, outcome.state):
                tell(f"  {line}")
    return outcome


async def settled_words(
    connection: AsyncConnection[Any], loaded: Loaded, account_id: int, unique_id: str
) -> str | None:
    """Settle an account whose tracker changed; answers what money says of it, None where it costs nothing."""
    from tracker_server.cli.billing_words import standing_words

    state = await store_of(loaded).settle(connection, account_id, datetime.now(UTC))
    device = state.devices.get(unique_id)
    if device is not None:
        return standing_words(state, device)
    return "blocked: the contract has ended" if state.withdrawn_at is not None else None

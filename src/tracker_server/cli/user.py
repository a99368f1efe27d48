"""``tracker-server user``: who signs in, and as what."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from tracker_server.cli.common import HERE, Where, database, refused, run, tell, wrong
from tracker_server.cli.output import Format, each, write_rows
from tracker_server.cli.values import Whole, line_of_text, recipient_of

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from tracker_server.storage.users import UserRow

RoleName = Literal["admin", "staff", "owner", "manager", "viewer"]

app = App(name="user", help="People: who signs in, and what each may do.")

COLUMNS = (
    "id",
    "email",
    "name",
    "role",
    "account",
    "restricted",
    "readonly",
    "disabled",
    "expires_at",
    "created_at",
)
LINK_DAYS = 7
DAYS_MAX = 3_660


@app.command
def add(
    email: str,
    /,
    *,
    account: str | None = None,
    role: RoleName = "owner",
    name: str | None = None,
    restricted: bool = False,
    password_stdin: bool = False,
    where: Where = HERE,
) -> None:
    """Add somebody who signs in. Without a password, prints a link by which he sets his own, once.

    Example: tracker-server user add ana@example.com --account "Northern Cargo" --role owner

    Parameters
    ----------
    email
        The e-mail address that he signs in with.
    account
        Name of the account that he belongs to; of admin and staff none. Default: default.
    role
        admin and staff are the operator's; owner, manager and viewer an account's.
    name
        What he is called. Default: the address.
    restricted
        Sees the trackers that are linked to him, instead of all of the account's.
    password_stdin
        Read the password from standard input, one line.
    """
    from tracker_server.storage.database import Role
    from tracker_server.storage.users import EmailTakenError, UserRow, add_user

    email = recipient_of("email", "EMAIL", email)
    name = email if name is None else line_of_text("--name", name, 200)
    operator = role in {"admin", "staff"}
    if operator and (account is not None or restricted):
        wrong(
            f"--role: {role} is the operator's and belongs to no account; leave --account and --restricted out"
        )
    hashed = _hashed(_password()) if password_stdin else None
    loaded = where.load()

    async def main() -> None:
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            account_id = None if operator else await _account(connection, account or "default")
            row = UserRow(
                email=email,
                name=name,
                role=role,
                account_id=account_id,
                restricted=restricted,
                password=hashed,
            )
            try:
                number = await add_user(connection, row)
            except EmailTakenError:
                refused(f"EMAIL: somebody signs in by {email} already; `tracker-server user list` tells who")
            of = "" if operator else f" of account {account or 'default'!r}"
            tell(f"user {email} added as {role}{of} (id {number})")
            if hashed is None:
                tell(await _link(connection, number, loaded.settings.api.base))

    run(main)


@app.command(name="list")
def list_(
    *,
    account: str | None = None,
    form: Annotated[Format, Parameter(name="--format")] = "table",
    where: Where = HERE,
) -> None:
    """List who signs in.

    Example: tracker-server user list --account default --format json

    Parameters
    ----------
    account
        Only those of this account.
    form
        Table for people, JSON (one array) or CSV for programs.
    """
    from tracker_server.storage.accounts import account_ids
    from tracker_server.storage.database import Role
    from tracker_server.storage.users import list_users

    loaded = where.load()

    async def main() -> None:
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            names = {number: name for name, number in (await account_ids(connection)).items()}
            number = None if account is None else await _account(connection, account)
            users = await list_users(connection, account_id=number)
            rows = [
                {column: getattr(user, column, None) for column in COLUMNS}
                | {"account": names.get(user.account_id or 0)}
                for user in users
            ]
            await write_rows(each(rows), COLUMNS, form)

    run(main)


@app.command
def token(email: str, /, *, days: Whole = 7, where: Where = HERE) -> None:
    """Print a token that signs in as this user, for a program (Authorization: Bearer …).

    Example: tracker-server user token ana@example.com --days 365

    Parameters
    ----------
    email
        Whose it is.
    days
        How long it is good for.
    """
    from tracker_server.storage.database import Role
    from tracker_server.storage.sessions import add_token

    if not 1 <= days <= DAYS_MAX:
        wrong(f"--days: {days} does not fit; write 1 to {DAYS_MAX}")
    loaded = where.load()

    async def main() -> None:
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            user = await _find(connection, email)
            tell(
                await add_token(
                    connection,
                    "access",
                    user_id=user.id,
                    expires_at=datetime.now(UTC) + timedelta(days=days),
                    label="by command",
                )
            )

    run(main)


@app.command
def password(email: str, /, *, password_stdin: bool = False, where: Where = HERE) -> None:
    """Set a user's password, or print a link by which he sets it himself, once. His sessions end.

    Example: tracker-server user password ana@example.com

    Parameters
    ----------
    email
        Whose it is.
    password_stdin
        Read the password from standard input, one line.
    """
    from tracker_server.storage.database import Role
    from tracker_server.storage.sessions import end_sessions_of
    from tracker_server.storage.users import set_password

    hashed = _hashed(_password()) if password_stdin else None
    loaded = where.load()

    async def main() -> None:
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            user = await _find(connection, email)
            if hashed is None:
                tell(await _link(connection, user.id, loaded.settings.api.base))
                return
            async with connection.transaction():
                await set_password(connection, user.id, hashed)
                await end_sessions_of(connection, user.id)
            tell(f"user {user.email}: the password is set, and his sessions have ended")

    run(main)


@app.command
def disable(email: str, /, *, undo: bool = False, where: Where = HERE) -> None:
    """Let a user in no longer; open sessions end within a second. What he made stays.

    Example: tracker-server user disable ana@example.com

    Parameters
    ----------
    email
        Who.
    undo
        Let him in again.
    """
    from msgspec.structs import replace

    from tracker_server.storage.database import Role
    from tracker_server.storage.users import update_user

    loaded = where.load()

    async def main() -> None:
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            user = await _find(connection, email)
            await update_user(connection, replace(user, disabled=not undo))
            tell(f"user {user.email} is {'let in again' if undo else 'let in no longer'}")

    run(main)


@app.command
def remove(email: str, /, *, where: Where = HERE) -> None:
    """Remove a user with his sessions, tokens and links.

    Example: tracker-server user remove ana@example.com

    Parameters
    ----------
    email
        Who.
    """
    from tracker_server.storage.database import Role
    from tracker_server.storage.users import remove_user

    loaded = where.load()

    async def main() -> None:
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            user = await _find(connection, email)
            await remove_user(connection, user.id)
            tell(f"user {user.email} removed")

    run(main)


async def _find(connection: AsyncConnection[Any], email: str) -> UserRow:
    from tracker_server.storage.users import user_by_email

    user = await user_by_email(connection, email.strip())
    if user is None:
        refused(f"EMAIL: nobody signs in by {email!r}; `tracker-server user list` tells who does")
    return user


async def _account(connection: AsyncConnection[Any], name: str) -> int:
    from tracker_server.storage.accounts import account_ids

    ids = await account_ids(connection)
    if name not in ids:
        refused(
            f"--account: there is no account named {name!r}; `tracker-server account list` tells them all"
        )
    return ids[name]


async def _link(connection: AsyncConnection[Any], user_id: int, base: str) -> str:
    from tracker_server.storage.sessions import add_token, end_tokens

    async with connection.transaction():
        await end_tokens(connection, "reset", user_id)
        until = datetime.now(UTC) + timedelta(days=LINK_DAYS)
        secret = await add_token(connection, "reset", user_id=user_id, expires_at=until)
    return f"the password is set, once within {LINK_DAYS} days, at {base}/reset?token={secret}"


def _password() -> str:
    return sys.stdin.readline().rstrip("\r\n")


def _hashed(text: str) -> str:
    from tracker_server.api.errors import Refusal
    from tracker_server.api.passwords import hash_now

    try:
        return hash_now(text)
    except Refusal as error:
        wrong(f"--password-stdin: {error.sentence}")

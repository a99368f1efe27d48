"""What commands share: settings, errors with exit codes, running a coroutine over the database."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from cyclopts import Parameter

if TYPE_CHECKING:  # imported in the functions: `--help` and wrong use need none of it
    from psycopg import AsyncConnection

    from tracker_server.config import Loaded
    from tracker_server.storage.database import Database

Result = TypeVar("Result")

REFUSED = 1
WRONG_USE = 2


def tell(sentence: str) -> None:
    """What a command did: on stdout."""
    print(sentence)  # noqa: T201


def say(sentence: str) -> None:
    """Tell people something that is no part of the output: on stderr."""
    print(sentence, file=sys.stderr)  # noqa: T201


def wrong(sentence: str) -> NoReturn:
    """Wrong use: say what and the cure on stderr, exit 2."""
    say(f"tracker-server: {sentence}")
    raise SystemExit(WRONG_USE)


def refused(sentence: str) -> NoReturn:
    """A refusal: say why on stderr, exit 1."""
    say(f"tracker-server: {sentence}")
    raise SystemExit(REFUSED)


@Parameter(name="*")
@dataclass(frozen=True)
class Where:
    """The flags that every command has which needs settings."""

    config: Path | None = None
    """Settings file (TOML). Default: config/tracker-server.toml where it exists."""
    data_dir: Path | None = None
    """Embedded database, media and keys; overrides the setting of that name."""

    def load(self) -> Loaded:
        """The settings as these flags have them, or exit 2."""
        return settings(self.config, self.flags())

    def flags(self) -> dict[str, Any]:
        """The settings among them, by their dotted keys; None where the flag is not given."""
        return {"data_dir": str(self.data_dir) if self.data_dir else None}


HERE = Where()


def settings(config: Path | None = None, flags: dict[str, Any] | None = None) -> Loaded:
    """The settings, or exit 2 with what is wrong with them."""
    from tracker_server.config import ConfigError, load

    try:
        return load(config, flags)
    except ConfigError as error:
        wrong(str(error))


async def account_id_of(connection: AsyncConnection[Any], name: str) -> int:
    """The account that ``--account`` names, or a refusal, exit 1."""
    from tracker_server.storage.accounts import account_ids

    ids = await account_ids(connection)
    if name not in ids:
        refused(f"--account: there is no account {name!r}; `tracker-server account list` tells them all")
    return ids[name]


@contextmanager
def told() -> Generator[None]:
    """What stops a command is told in a sentence."""
    import psycopg

    from tracker_server.storage.database import DatabaseError
    from tracker_server.storage.embedded import EmbeddedError
    from tracker_server.storage.limits import limit_told

    try:
        yield
    except (DatabaseError, EmbeddedError) as error:
        refused(str(error))
    except psycopg.OperationalError as error:
        refused(f"the database does not answer: {str(error).strip()}; `tracker-server doctor` tells more")
    except psycopg.errors.CheckViolation as error:
        sentence = limit_told(error)
        if sentence is None:
            raise
        refused(sentence)
    except psycopg.errors.ReadOnlySqlTransaction:
        refused(
            "the database takes no writes: it is a copy for reading (`backup restore --quarantine`), or a standby; "
            "do this where the server runs"
        )
    except psycopg.errors.InsufficientPrivilege as error:
        refused(
            f"the database forbids it: {str(error).strip()}; the user of storage.dsn must own the database "
            "or be a member of tracker_core and tracker_display"
        )


def run(main: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Run a command's coroutine; its errors are told and set the exit code. Only warnings are logged."""
    from tracker_server import logs
    from tracker_server.config import Log

    logs.set_up(Log(level="warning"))
    with told():
        return asyncio.run(main())


@asynccontextmanager
async def database(loaded: Loaded) -> AsyncGenerator[Database]:
    """The database of these settings, migrated, for as long as a command needs it."""
    from tracker_server.storage.database import Database

    home = Database(loaded.settings)
    await home.open()
    try:
        await _make_current(home, loaded)
        yield home
    finally:
        await home.close()


async def _make_current(home: Database, loaded: Loaded) -> None:
    """Migrate where something is missing. A database that is up to date costs one query."""
    from tracker_server.storage.database import Role
    from tracker_server.storage.status import is_current

    async with await home.connect(Role.OWNER) as owner:
        if await is_current(owner):
            return
    from tracker_server.app import prepare  # heavy: the whole server hangs on it

    await prepare(home, loaded.settings)

"""What commands share: settings, errors with exit codes, running a coroutine over the database."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from tracker_server.config import ConfigError, Loaded, load

Result = TypeVar("Result")


def wrong(sentence: str) -> NoReturn:
    """Wrong use: say what and the cure on stderr, exit 2."""
    print(f"tracker-server: {sentence}", file=sys.stderr)  # noqa: T201
    raise SystemExit(2)


def refused(sentence: str) -> NoReturn:
    """A refusal: say why on stderr, exit 1."""
    print(f"tracker-server: {sentence}", file=sys.stderr)  # noqa: T201
    raise SystemExit(1)


def settings(config: Path | None = None, flags: dict[str, Any] | None = None) -> Loaded:
    """The settings, or exit 2 with what is wrong with them."""
    try:
        return load(config, flags)
    except ConfigError as error:
        wrong(str(error))


@contextmanager
def told() -> Generator[None]:
    """What stops a command is told in a sentence."""
    import psycopg

    from tracker_server.storage.database import DatabaseError
    from tracker_server.storage.embedded import EmbeddedError

    try:
        yield
    except (DatabaseError, EmbeddedError) as error:
        refused(str(error))
    except psycopg.OperationalError as error:
        refused(f"the database does not answer: {str(error).strip()}; `tracker-server doctor` tells more")


def run(main: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Run a command's coroutine; its errors are told and set the exit code."""
    with told():
        return asyncio.run(main())


@asynccontextmanager
async def database(loaded: Loaded) -> AsyncGenerator[Any]:
    """The database of these settings, migrated, for as long as a command needs it."""
    from tracker_server.app import prepare
    from tracker_server.storage.database import Database

    home = Database(loaded.settings)
    await home.open()
    try:
        await prepare(home, loaded.settings)
        yield home
    finally:
        await home.close()

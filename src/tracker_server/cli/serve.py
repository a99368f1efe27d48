"""``tracker-server serve``: everything in one process, and with ``workers`` a few more that hear devices."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tracker_server.cli.common import refused, settings, told

if TYPE_CHECKING:
    from threading import Event

    from tracker_server.config import Settings
    from tracker_server.storage.embedded import Embedded


def serve(*, config: Path | None = None, data_dir: Path | None = None) -> None:
    """Run the server: embedded database where no DSN is set, migrations, listeners, API.

    Says each address that it listens on, then "ready". SIGTERM: stops reading, commits, answers, closes, exits 0.

    Example: TRACKER_STORAGE__DSN=postgresql://localhost/tracker tracker-server serve

    Parameters
    ----------
    config
        Settings file (TOML). Default: config/tracker-server.toml where it exists.
    data_dir
        Embedded database, media and keys; overrides the setting of that name.
    """
    from tracker_server import logs
    from tracker_server.heap import share_one_heap

    loaded = settings(config, {"data_dir": str(data_dir) if data_dir else None})
    logs.set_up(loaded.settings.log)
    share_one_heap()
    ending = heard_at_once()
    with starting_database(loaded.settings) as embedded:
        _serve(loaded.settings, embedded, ending)


def _serve(settings: Settings, embedded: Embedded | None, ending: Event) -> None:
    import asyncio

    import uvloop

    from tracker_server.app import Server
    from tracker_server.config_tracing import TracingError
    from tracker_server.listeners.server import ListenError
    from tracker_server.workers import WorkerError

    raise_file_limit()

    async def main() -> None:
        server = Server(settings, embedded)
        # once it hears of its end itself, which is before it waits for anything
        asyncio.get_running_loop().call_soon(lambda: server.stop() if ending.is_set() else None)
        await server.run(lambda line: print(line, flush=True))  # noqa: T201

    if ending.is_set():
        return
    try:
        with told():
            uvloop.run(main())
    except* (TracingError, ListenError, WorkerError) as group:
        refused("; ".join(str(error) for error in group.exceptions))


def heard_at_once() -> Event:
    """Set when this process is told to end before the server hears of that itself. No exception: one that is raised in the middle
    of an import leaves its lock held, and the thread that starts the database waits for that for ever.
    """
    import signal
    from threading import Event

    ending = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: ending.set())
    return ending


@contextmanager
def starting_database(settings: Settings) -> Generator[Embedded | None]:
    """The embedded database, being made or started by a thread while this one loads the libraries, which takes as long. What goes
    wrong there goes wrong once more, and is told, where the server opens it.
    """
    from contextlib import suppress
    from threading import Thread

    from tracker_server.storage.embedded import Embedded, EmbeddedError

    if settings.storage.dsn:
        yield None
        return
    embedded = Embedded(Path(settings.data_dir))

    def start() -> None:
        with suppress(EmbeddedError):
            embedded.acquire()

    thread = Thread(target=start, name="embedded database")
    thread.start()
    try:
        yield embedded
    finally:
        thread.join()
        embedded.release()  # where the server did not come so far


def raise_file_limit() -> None:
    """Each connection is a file descriptor; take as many as the system allows this process."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

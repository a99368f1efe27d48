"""``python -m tracker_server.cli.worker NUMBER``: started by ``tracker-server serve`` where ``workers`` is above 1, not by
people.
"""

from __future__ import annotations

import sys

import structlog
import uvloop

from tracker_server import logs
from tracker_server.cli.common import refused, told
from tracker_server.cli.serve import raise_file_limit
from tracker_server.config import of_line
from tracker_server.heap import share_one_heap
from tracker_server.listeners.server import ListenError
from tracker_server.worker import Worker, from_stdin


def main() -> None:
    """Run until the first process goes."""
    number = int(sys.argv[1])
    raise_file_limit()
    share_one_heap()

    async def run() -> None:
        first = await from_stdin()
        line = await first.readline()
        if not line:
            return
        settings = of_line(line)
        logs.set_up(settings.log)
        structlog.contextvars.bind_contextvars(worker=number)
        await Worker(settings, number).run(first)

    try:
        with told():
            uvloop.run(run())
    except* ListenError as group:
        refused("; ".join(str(error) for error in group.exceptions))


if __name__ == "__main__":
    main()

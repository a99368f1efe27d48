"""Other processes, started from one that has threads.

uvloop forks, and runs Python in the fork before the program: where another thread holds a library's lock at that moment, the fork
waits for it for ever, and the loop for the fork. ``subprocess`` has no Python in between (it uses vfork), so it is what starts them.
"""

from __future__ import annotations

import asyncio
import subprocess
from typing import Final

POLL_S: Final = 0.05
LINE_BYTES_MAX: Final = 4 * 1024 * 1024


class Spawned:
    """One of them: what it is told, what it says, and its end."""

    def __init__(
        self, process: subprocess.Popen[bytes], stdin: asyncio.WriteTransport, stdout: asyncio.StreamReader
    ) -> None:
        self._process = process
        self.stdin = stdin
        self.stdout = stdout

    @property
    def returncode(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    async def wait(self) -> int:
        """Its status, once it has ended."""
        while (status := self._process.poll()) is None:  # noqa: ASYNC110  (it tells nobody)
            await asyncio.sleep(POLL_S)
        return status

    def terminate(self) -> None:
        """SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()


async def spawn(*command: str) -> Spawned:
    """Start it, with pipes to its standard input and from its output. Raises OSError."""
    process = await asyncio.to_thread(
        subprocess.Popen, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    assert process.stdin is not None
    assert process.stdout is not None
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    stdin, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, process.stdin)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), process.stdout)
    return Spawned(process, stdin, reader)

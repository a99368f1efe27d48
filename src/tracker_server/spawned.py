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
        self,
        process: subprocess.Popen[bytes],
        stdin: asyncio.WriteTransport,
        stdout: asyncio.StreamReader,
        out: asyncio.BaseTransport,
    ) -> None:
        self._process = process
        self._out = out
        self.stdin = stdin
        self.stdout = stdout

    @property
    def returncode(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    async def wait(self) -> int:
        """Its status, once it has ended; what it said and nobody has read by then is lost."""
        while (status := self._process.poll()) is None:  # noqa: ASYNC110  (it tells nobody)
            await asyncio.sleep(POLL_S)
        self.tell_no_more()
        self._out.close()
        return status

    def tell(self, data: bytes) -> None:
        """Write to its standard input; it may be gone, and then nobody hears it."""
        if not self.stdin.is_closing():
            self.stdin.write(data)

    def tell_no_more(self) -> None:
        """Its standard input has ended."""
        if not self.stdin.is_closing():
            self.stdin.close()

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
    out, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), process.stdout)
    return Spawned(process, stdin, reader, out)

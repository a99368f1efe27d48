"""The ledger of a run: which fixes were answered, on disk within a fifth of a second."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


class Ledger:
    """Lines ``unique_id,unix_time``, appended in whole lines, so that it can be read when we are killed.

    A write goes to the operating system at once: it outlives this process, though not a power cut.
    """

    FLUSH_S = 0.1

    def __init__(self, path: Path) -> None:
        """Begin an empty ledger. Raises OSError."""
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
        self._lines: list[str] = []
        self.users = 1  # fleets that write to it; the last one closes it

    def add(self, unique_id: str, times: Iterable[int]) -> None:
        """These fixes of one device were answered; ``times`` in seconds since 1970."""
        self._lines.extend([f"{unique_id},{at}\n" for at in times])

    def flush(self) -> None:
        """Hand all lines to the operating system. Raises OSError."""
        if self._lines:
            data = "".join(self._lines).encode()
            self._lines.clear()
            while data:
                data = data[os.write(self._file, data) :]

    def close(self) -> None:
        """Flush, and close where nobody else writes. Raises OSError."""
        self.users -= 1
        try:
            self.flush()
        finally:
            if not self.users:
                os.close(self._file)

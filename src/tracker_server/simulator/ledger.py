"""The ledger of a run: which fixes were answered, on disk within a fifth of a second."""

from __future__ import annotations

import os
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

    def add(self, unique_id: str, first_s: int, count: int, interval_s: int) -> None:
        """``count`` fixes of one device were answered; the first is of ``first_s``, seconds since 1970."""
        lines = self._lines
        for at in range(first_s, first_s + count * interval_s, interval_s):
            lines.append(f"{unique_id},{at}\n")

    def flush(self) -> None:
        """Hand all lines to the operating system. Raises OSError."""
        if self._lines:
            data = "".join(self._lines).encode()
            self._lines.clear()
            while data:
                data = data[os.write(self._file, data) :]

    def close(self) -> None:
        """Flush and close. Raises OSError."""
        try:
            self.flush()
        finally:
            os.close(self._file)

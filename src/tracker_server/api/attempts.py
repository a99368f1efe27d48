"""How often signing in may fail, by address and by name. The time is an argument."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final

WINDOW_S: Final = 900.0
KEYS_MAX: Final = 100_000  # the oldest are forgotten: a flood of names costs megabytes, not the server


class Attempts:
    """Failures of the last quarter of an hour, by key."""

    def __init__(self, failures_max: int) -> None:
        self._max = failures_max
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_s(self, key: str, now: float) -> float:
        """Seconds until the next attempt is looked at; 0: now."""
        failed = self._failed.get(key)
        if failed is None:
            return 0.0
        while failed and failed[0] <= now - WINDOW_S:
            failed.popleft()
        return failed[0] + WINDOW_S - now if len(failed) >= self._max else 0.0

    def failed(self, key: str, now: float) -> None:
        """One more."""
        failed = self._failed.setdefault(key, deque(maxlen=self._max))
        failed.append(now)
        self._failed.move_to_end(key)
        while len(self._failed) > KEYS_MAX:
            self._failed.popitem(last=False)

    def forget(self, key: str) -> None:
        """It worked."""
        self._failed.pop(key, None)

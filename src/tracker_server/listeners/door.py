"""Who may come in: how many connections in all and from one address."""

from __future__ import annotations

from collections import Counter

from tracker_server.metrics import Metrics


class Door:
    """Counts open connections; shared by all listeners of a server."""

    def __init__(self, connections_max: int, per_address_max: int, metrics: Metrics) -> None:
        self._connections_max = connections_max
        self._per_address_max = per_address_max
        self._metrics = metrics
        self._addresses: Counter[str] = Counter()
        self._open = 0

    def enter(self, address: str) -> bool:
        """Let one more in from this address, or count the refusal. Call ``leave`` for each that got in."""
        if self._open >= self._connections_max:
            self._metrics.connections_refused.labels("connections_max").inc()
            return False
        if self._addresses[address] >= self._per_address_max:
            self._metrics.connections_refused.labels("connections_per_address_max").inc()
            return False
        self._open += 1
        self._addresses[address] += 1
        return True

    def leave(self, address: str) -> None:
        """One connection of this address has ended."""
        self._open -= 1
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]

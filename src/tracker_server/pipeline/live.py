"""The port through which the batcher tells whoever shows things live what has just been committed."""

from __future__ import annotations

from typing import Protocol

from tracker_server.pipeline.batch import Batch


class Live(Protocol):
    """Told of each batch after its commit, on the writer's own loop: it takes notes and returns, it never waits."""

    def committed(self, batch: Batch) -> None:
        """These rows are in the database, or were there before."""
        ...

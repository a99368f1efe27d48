"""Several fleets that report at the same time, as one run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from tracker_server.simulator.fleet import Fleet
from tracker_server.simulator.ledger import Ledger
from tracker_server.simulator.plan import Plan


class Run:
    """All families of a scenario, on one loop, with one ledger."""

    def __init__(self, plans: Sequence[Plan], ledger: Ledger | None = None) -> None:
        if ledger is not None:
            ledger.users = len(plans)
        self.fleets = [Fleet(plan, ledger) for plan in plans]

    @property
    def devices(self) -> int:
        """Of all families together."""
        return sum(fleet.plan.devices for fleet in self.fleets)

    def prepare(self, told: Callable[[int], None]) -> None:
        """Make the packets of all devices ready. ``told`` hears how many devices are."""
        ready = 0
        for fleet in self.fleets:
            begun = ready
            fleet.prepare(lambda count, begun=begun: told(begun + count))
            ready += fleet.plan.devices

    def stop(self) -> None:
        """End the run early."""
        for fleet in self.fleets:
            fleet.stop()

    async def run(self) -> None:
        """From the first connection to the last farewell. Raises OSError where the ledger cannot be written."""
        together = asyncio.Barrier(len(self.fleets))
        async with asyncio.TaskGroup() as tasks:
            for fleet in self.fleets:
                tasks.create_task(fleet.run(together))

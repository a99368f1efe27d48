"""The server's own backups: every ``backup.every_hours`` one, checked; once a week one is restored for proof."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta

import structlog

from tracker_server.config import Settings
from tracker_server.metrics import Metrics
from tracker_server.spawned import Spawned, spawn
from tracker_server.storage.backup_catalogue import Catalogue, Known
from tracker_server.storage.backup_file import BackupError
from tracker_server.storage.backup_job import Order, encode

log = structlog.get_logger(__name__)

LOOK_S = 60.0
AFTER_START_S = 900.0  # one that is overdue lets the fleet come back first
RETRY = timedelta(hours=1)
DRILL_EVERY = timedelta(days=7)
LEAD_SHARE = 48  # a daily one begins half an hour early, so that the last is never older than a day
STOP_S_MAX = 15.0


class BackupKeeper:
    """Runs beside the server; the work is done by a process of its own (``storage.backup_job``)."""

    def __init__(self, settings: Settings, metrics: Metrics, *, after_start_s: float = AFTER_START_S) -> None:
        self._settings = settings
        self._metrics = metrics
        self._after_start_s = after_start_s
        self._catalogue = Catalogue(settings.data_dir)
        self._failed_at: datetime | None = None

    async def run(self) -> None:
        """Look each minute; one that fails is told, and tried again in an hour."""
        self._observe()
        await asyncio.sleep(self._after_start_s)
        while True:
            now = datetime.now(UTC)
            try:
                known = self._observe()
                if due(known, self._settings.backup.every_hours, self._failed_at, now):
                    await self._make(drill=drill_due(known, now))
                    self._observe()
            except (BackupError, OSError) as error:
                self._failed_at = now
                log.error("no backup was made", reason=str(error))  # noqa: TRY400  (a sentence, not a trace)
            await asyncio.sleep(LOOK_S)

    def _observe(self) -> list[Known]:
        try:
            known = self._catalogue.known()
        except BackupError as error:
            log.error("backups are unknown", reason=str(error))  # noqa: TRY400  (as above)
            known = []
        off = not self._settings.backup.every_hours
        newest = known[-1].created_at.timestamp() if known else float("nan") if off else 0.0
        self._metrics.backup_verified.set(newest)
        return known

    async def _make(self, *, drill: bool) -> None:
        """Raises BackupError with what the process said."""
        process = await spawn(sys.executable, "-m", "tracker_server.storage.backup_job")
        try:
            process.tell(encode(Order(self._settings, drill)))
            process.tell_no_more()
            said = await process.stdout.read()
            await process.wait()
        finally:
            if process.returncode is None:
                await _end(process)
        if process.returncode:
            raise BackupError(
                said.decode(errors="replace").strip() or f"its process ended with {process.returncode}"
            )
        self._failed_at = None


async def _end(process: Spawned) -> None:
    process.terminate()
    try:
        async with asyncio.timeout(STOP_S_MAX):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def due(known: list[Known], every_hours: int, failed_at: datetime | None, now: datetime) -> bool:
    """Whether one is to be made now. ``known``: oldest first."""
    if not every_hours or (failed_at is not None and now - failed_at < RETRY):
        return False
    every = timedelta(hours=every_hours)
    return not known or now - known[-1].created_at >= every - every / LEAD_SHARE


def drill_due(known: list[Known], now: datetime) -> bool:
    """Whether the one that is made now is to be proven as well."""
    proven = [one.drilled_at for one in known if one.drilled_at is not None]
    return not proven or now - max(proven) >= DRILL_EVERY

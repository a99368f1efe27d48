"""What ``doctor`` looks at about backups: whether there is one that can be relied on, and how old it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tracker_server.cli.health import Finding, State
from tracker_server.config import Settings
from tracker_server.storage.backup_catalogue import Catalogue
from tracker_server.storage.backup_file import BackupError
from tracker_server.storage.embedded import Embedded

AGE_MAX = timedelta(hours=24)


def backup(settings: Settings) -> Finding:
    """The newest backup that was verified here, against a day (or ``backup.every_hours``, where that is longer)."""
    every_hours = settings.backup.every_hours
    age_max = max(AGE_MAX, timedelta(hours=every_hours))
    cure = "`tracker-server backup create FILE`, or backup.every_hours; the server's log tells why its own failed"
    try:
        last = Catalogue(settings.data_dir).last_verified()
    except BackupError as error:
        return Finding("backup", State.WARNING, str(error), "remove that file, then verify each backup again")
    if last is None:
        if not every_hours:
            return Finding("backup", State.OK, "the server's own are off (backup.every_hours = 0)")
        if not settings.storage.dsn and not Embedded(settings.data_dir).exists():
            return Finding("backup", State.OK, "the first is made within half an hour of the first start")
        return Finding("backup", State.WARNING, "none has been made or verified here", cure)
    age = datetime.now(UTC) - last.created_at
    detail = f"the last verified one, {last.path}, is {age / timedelta(hours=1):.0f} hours old"
    if age > age_max:
        return Finding("backup", State.WARNING, detail, cure)
    return Finding("backup", State.OK, detail)

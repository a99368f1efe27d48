"""Every kind of event that the track engine finds, told to a real server and read by ``tracker-server events``."""

from __future__ import annotations

import asyncio
import json

import psycopg

from tests.e2e.routes import YEARS_US, feature, report, rows, settled
from tests.e2e.test_track import command, drawn
from tests.servers.serve import Running, Servers
from tests.servers.waiting import wait_until
from tests.track.world import at, drive, fix, stand, told
from tracker_server.config import Settings, Storage
from tracker_server.model.event import EventType, moment
from tracker_server.storage.database import Database, Role
from tracker_server.storage.objects import link
from tracker_server.track.fences.shapes import circle, corridor
from tracker_server.track.observation import Observation

NOT_OF_THE_ENGINE = {"commandResult", "queuedCommandSent", "deviceUnknown", "media"}
KINDS = set(EventType) - NOT_OF_THE_ENGINE - {EventType.ALARM}
ALARMS = {
    "sos", "lowBattery", "lowPower", "powerCut", "powerRestored", "jamming", "tow", "hardAcceleration", "hardBraking",
    "hardCornering",
}  # fmt: skip
DATE_S = 1_000
TOLD = "SELECT count(*) > 0 FROM core.events WHERE device_id = %s AND type = %s"
LORRY, TRAILER = "lorry", "trailer"


def day() -> list[Observation]:
    """Parked, a drive of 9 km with everything on the way, parked again, towed."""
    out = stand(0, 600, at(0), every=60, ignition=False, power=12.6, batteryLevel=50, driverUniqueId="Ana")
    out += drive(600, 1_200, 0, 15.0, course_deg=0.0)
    out[-1:] = [fix(1_190, at(8_850), 15.0, course_deg=0.0, ignition=True)]
    out += [
        told(601, ignition=True, alarm="sos"),
        told(602, driverUniqueId="Boris", jamming=True, batteryLevel=15),
        *(told(610 + n, power=11.0) for n in range(3)),
        *(told(620 + n, power=0.0) for n in range(2)),
        told(630, power=12.6),
        *(told(640 + n, fuel=60.0) for n in range(5)),
        *(told(650 + n, fuel=20.0) for n in range(5)),
        *(told(661 + n, fuel=80.0) for n in range(5)),
        fix(1_192, at(8_870), 4.0, course_deg=0.0),
        fix(1_194, at(8_890), 15.0, course_deg=0.0),
        fix(1_196, at(8_915), 15.0, course_deg=70.0),
    ]
    out += stand(1_210, 1_800, at(9_000), every=30, ignition=False)
    out += drive(2_400, 2_700, 9_000, 10.0, ignition=False)
    return out


async def planned(dsn: str, device_id: int, account_id: int) -> None:
    """By distance, engine hours and date, in the units of clients of this field."""
    date_ms = moment(DATE_S * 1_000_000 + YEARS_US).timestamp() * 1000
    async with await Database(Settings(storage=Storage(dsn=dsn))).connect(Role.CORE) as core:
        for kind, start in (("totalDistance", 5_000.0), ("hours", 360_000.0), ("fixTime", date_ms)):
            row = await core.execute(
                "INSERT INTO core.maintenance (account_id, name, type, start) VALUES (%s, %s, %s, %s) RETURNING id",
                [account_id, kind, kind, start],
            )
            (number,) = await row.fetchone() or (0,)
            await link(core, "device", device_id, "maintenance", number)


def found(running: Running) -> set[str]:
    events = json.loads(command(running, "events", LORRY, "--format", "json"))
    return {
        f"alarm:{one['attributes']['alarm']}"
        if one["type"] == "alarm"
        else f"maintenance:{one['attributes']['kind']}"
        if one["type"] == "maintenance"
        else one["type"]
        for one in events
    }


def test_every_kind_shows_in_events(server: Servers, postgres_dsn: str) -> None:
    running = server(
        {
            "devices.unknown": "register",
            "track.speed_limit_mps": 14,
            "track.offline_after_s": 2,
            "track.inactive_after_s": 3,
        },
        dsn=postgres_dsn,
        protocols=["osmand"],
    )
    yard = feature("yard", circle(*at(3_000), 400.0), dwell_s=20)
    ends = [(longitude, latitude) for latitude, longitude in (at(6_075, -1_000.0), at(6_075, 1_000.0))]
    gate = feature("gate", corridor([ends], 20.0))
    drawn(running, yard, gate)
    for name in (LORRY, TRAILER):
        command(running, "device", "add", name)
    command(running, "proximity", "add", LORRY, TRAILER, "--within-m", "500")
    command(running, "proximity", "add", LORRY, TRAILER, "--within-m", "300", "--kind", "companion")
    with psycopg.connect(
        running.dsn
    ) as owner:  # a pair counts from when it was made, and this day is long over
        owner.execute("UPDATE core.proximities SET created_at = '2020-01-01'")
    ((device_id, account_id),) = rows(
        running, "SELECT id, account_id FROM core.devices WHERE unique_id = %s", LORRY
    )
    asyncio.run(planned(running.dsn, device_id, account_id))
    report(running, TRAILER, stand(0, 2_700, at(7_500), every=60))
    report(running, LORRY, sorted(day(), key=lambda seen: seen.at_us))
    settled(running)
    plans = {f"maintenance:{kind}" for kind in ("distance", "hours", "date")}
    wanted = {*(KINDS - {EventType.MAINTENANCE}), *(f"alarm:{one}" for one in ALARMS), *plans}
    for name in ("deviceOffline", "deviceInactive", "proximityEnter", "proximityExit", "unaccompaniedMotion"):
        wait_until(name, lambda name=name: rows(running, TOLD, device_id, name)[0][0], 60)
    seen = found(running)
    assert seen >= wanted, sorted(wanted - seen)
    (summary,) = rows(running, "SELECT engine_us > 0, odometer_mm > 9000000 FROM core.device_state WHERE device_id = %s", device_id)  # fmt: skip
    assert summary == (True, True)

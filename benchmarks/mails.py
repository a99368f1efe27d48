"""From a fix on the wire to its mail accepted by the SMTP server, while a fleet reports at a steady rate."""

from __future__ import annotations

import asyncio
import re
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

import psycopg
from measures import Found, Measure
from processes import PROGRAM, Server, Watch, free_port, server, simulate

from tracker_server.notify.messages import message_id

RATE = 5_000  # fixes a second of the fleet; a little more is sent, so that it is that at least
FLEET = 1_000
PACKET = 5  # of each device, once a second
PROBES = 60
EVERY_S = 6.0  # a probe goes in or out with each fix, so there are ten alerts a second
INSIDE, OUTSIDE = (10.0, -30.0), (10.0054, -30.0)  # 600 m apart, far from any fleet
WARM_S = 2 * EVERY_S
ARRIVE_S_MAX = 60.0
AIM_P99_S = 1.0
DOMAIN = "example.com"

Sent = dict[tuple[str, int], float]
"""When the fix of a probe (its name, the fix's second) was written to the wire."""


class Sink:
    """An SMTP server that takes everything, and when."""

    def __init__(self) -> None:
        self.taken: dict[str, float] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until it ends."""
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            await self._take(reader, writer)
        writer.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 sink\r\n")
        while line := (await reader.readline()).strip().upper():
            if line == b"DATA":
                writer.write(b"354 go on\r\n")
                mail = await reader.readuntil(b"\r\n.\r\n")
                found = re.search(rb"^Message-ID:\s*(<[^>]+>)", mail, re.MULTILINE)
                assert found is not None
                self.taken.setdefault(found[1].decode(), time.time())
                writer.write(b"250 taken\r\n")
            elif line == b"QUIT":
                writer.write(b"221 bye\r\n")
                return
            else:
                writer.write(b"250 sink\r\n" if line.startswith(b"EHLO") else b"250 OK\r\n")


async def probe(number: int, port: int, until: float, sent: Sent) -> None:
    """One tracker that goes in and out, over OsmAnd's HTTP; its fixes are dated when they are sent."""
    name = f"probe{number}"
    await asyncio.sleep(number / PROBES * EVERY_S)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    turn = 0
    while time.time() < until:
        latitude, longitude = (INSIDE, OUTSIDE)[turn % 2]
        turn += 1
        now = time.time()
        path = f"/?id={name}&lat={latitude}&lon={longitude}&timestamp={int(now)}&speed=50"
        sent[name, int(now)] = now
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        await reader.readexactly(int(length[1]) if length else 0)
        await asyncio.sleep(max(0.0, now + EVERY_S - time.time()))
    writer.close()


def told(one: Server, *arguments: str) -> None:
    """A command beside the server."""
    subprocess.run([PROGRAM, *arguments], env=one.environment, check=True, capture_output=True)


async def drive(one: Server, sink: Sink, port: int, seconds: float) -> tuple[Sent, float]:
    """Fleet and probes at once; answers what the probes sent, and the fixes a second that the fleet did."""
    sent: Sent = {}
    listening = await asyncio.start_server(sink.serve, "127.0.0.1", port)
    fixes = round(RATE * (seconds + WARM_S) / FLEET / PACKET) * PACKET
    flags = (
        "--devices", str(FLEET), "--fixes", str(fixes), "--packet", str(PACKET), "--rate", str(RATE * 1.02), "--interval", "1",
    )  # fmt: skip
    begun = time.time()
    until = begun + WARM_S + seconds
    probes = (probe(number, one.ports["osmand"], until, sent) for number in range(PROBES))
    fleet = asyncio.create_task(asyncio.to_thread(simulate, one, "teltonika", *flags))
    await asyncio.gather(*probes)
    done = await fleet
    await arrived(one)
    listening.close()
    return {key: at for key, at in sent.items() if at > begun + WARM_S}, done.report["answered_per_s"]


async def arrived(one: Server) -> None:
    """Wait for the mails that are still to come."""
    for _ in range(int(ARRIVE_S_MAX)):
        if not waiting(one):
            return
        await asyncio.sleep(1.0)


def waiting(one: Server) -> int:
    """Mails that are still to be sent."""
    with psycopg.connect(one.dsn) as connection:
        row = connection.execute("SELECT count(*) FROM core.outbox WHERE delivered_at IS NULL").fetchone()
    return row[0] if row else 0


def delays(one: Server, sink: Sink, sent: Sent) -> list[float]:
    """Seconds of each alert of the probes, in order. Raises RuntimeError where one was not mailed."""
    with psycopg.connect(one.dsn) as connection:
        rows: Sequence[tuple[str, datetime, str]] = connection.execute(
            "SELECT d.unique_id, o.event_at, o.key FROM core.outbox o JOIN core.devices d ON d.id = o.device_id"
        ).fetchall()
    found: list[float] = []
    for unique_id, at, key in rows:
        begun = sent.get((unique_id, int(at.timestamp())))
        if begun is None:
            continue
        taken = sink.taken.get(message_id(key, DOMAIN))
        if taken is None:
            raise RuntimeError(f"an alert of {unique_id} at {at} never came")
        found.append(taken - begun)
    return sorted(found)


def run(seconds: float) -> Found:
    """The delays of all alerts after the first rounds of the probes."""
    sink, port = Sink(), free_port()
    extra = {
        "TRACKER_SMTP__HOST": "127.0.0.1",
        "TRACKER_SMTP__PORT": str(port),
        "TRACKER_SMTP__TLS": "none",
        "TRACKER_SMTP__FROM": f"alerts@{DOMAIN}",
        "TRACKER_ALERTS__MAILS_PER_HOUR_MAX": "1000000",
    }
    with server(extra) as one:
        told(one, "fence", "add", "Depot", "--account", "default", "--circle", f"{INSIDE[0]},{INSIDE[1]},150")
        rule = ["alert", "rule", "add", "--account", "default", "--on", "geofenceEnter,geofenceExit"]
        told(one, *rule, "--channel", "email", "--to", "who@example.com")
        cpu, watch = one.cpu_s(), Watch()
        sent, rate = asyncio.run(drive(one, sink, port, max(seconds, 3 * EVERY_S)))
        disturbed = watch.disturbed(one.cpu_s() - cpu)
        found = delays(one, sink, sent)
    if len(found) < len(sent) // 2:
        raise RuntimeError(f"{len(sent)} fixes went in or out, {len(found)} were told")
    name = f"{PROBES / EVERY_S:.0f} alerts/s beside {RATE:,} fixes/s"
    measures = [
        Measure(f"{name}: fix sent to mail accepted, p50", "s", [found[len(found) // 2]]),
        Measure(
            f"{name}: fix sent to mail accepted, p99", "s", [found[len(found) * 99 // 100]], aim=AIM_P99_S
        ),
        Measure(f"{name}: the slowest of {len(found)}", "s", [found[-1]]),
        Measure(f"{name}: the fleet's rate", "fixes/s", [rate], "more", RATE),
    ]
    return Found("alerts", measures, disturbed)

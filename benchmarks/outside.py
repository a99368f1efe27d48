"""A load generator for GT06 that shares nothing with the simulator but the manual: ``python benchmarks/outside.py --help``.

Frames, checksum, clock and percentiles are its own. Each device has one report in flight; it prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import math
import random
import struct
import time
from pathlib import Path
from typing import NamedTuple, cast

import uvloop

EVERY_S = 10  # between two fixes of a device
STEP_DEG = 1.25e-3  # of latitude in that time: 50 km/h
STEP_KMH = 50
LOGIN, PLACE = 0x01, 0x22
NORTH, WEST, POSITIONED = 0x0400, 0x0800, 0x1000
TICK_S = 0.001
now_s = time.perf_counter


def shifted(value: int) -> int:
    """Eight steps of CRC-16 of X.25."""
    for _ in range(8):
        value = value >> 1 ^ 0x8408 if value & 1 else value >> 1
    return value


SHIFTED = [shifted(value) for value in range(256)]


def checksum(data: bytes) -> int:
    """CRC-16 of X.25."""
    value = 0xFFFF
    for byte in data:
        value = value >> 8 ^ SHIFTED[(value ^ byte) & 0xFF]
    return value ^ 0xFFFF


def frame(kind: int, content: bytes, serial: int) -> bytes:
    """A whole packet."""
    body = struct.pack(">BB", len(content) + 5, kind) + content + struct.pack(">H", serial)
    return b"xx" + body + struct.pack(">H", checksum(body)) + b"\r\n"


class Seen(NamedTuple):
    """What a device tells of itself: degrees, km/h, satellites, ignition."""

    latitude: float
    longitude: float
    speed: int = STEP_KMH
    course: int = 0
    satellites: int = 9
    ignition: int = 1


def place(at: int, seen: Seen) -> bytes:
    """The content of a location packet: time, satellites, place, speed, course, no cell, ignition."""
    moment = time.gmtime(at)
    flags = POSITIONED | (NORTH if seen.latitude >= 0 else 0) | (WEST if seen.longitude < 0 else 0)
    north, east = (round(abs(degrees) * 1.8e6) for degrees in seen[:2])
    return (
        struct.pack(">6BB", moment.tm_year - 2000, *moment[1:6], 0xC0 | seen.satellites)
        + struct.pack(">IIBH", north, east, seen.speed, flags | seen.course)
        + bytes(8)
        + bytes((seen.ignition, 0, 0))
    )


def driven(rng: random.Random, fixes: int) -> list[Seen]:
    """A drive that ends nowhere, at one speed."""
    latitude, longitude, course = rng.uniform(40, 60), rng.uniform(10, 30), rng.randrange(360)
    made: list[Seen] = []
    for _ in range(fixes):
        course = (course + rng.randrange(-15, 16)) % 360
        latitude += STEP_DEG * math.cos(math.radians(course))
        longitude += STEP_DEG * math.sin(math.radians(course)) / math.cos(math.radians(latitude))
        made.append(Seen(latitude, longitude, course=course))
    return made


def given_in(file: Path, devices: int, fixes: int) -> list[list[Seen]]:
    """The drives of a CSV file without a heading: a device's number from 0, and what it tells, fix after fix."""
    drives: list[list[Seen]] = [[] for _ in range(devices)]
    with file.open(newline="") as lines:
        for number, latitude, longitude, *rest in csv.reader(lines):
            if int(number) < devices:
                drives[int(number)].append(Seen(float(latitude), float(longitude), *map(int, rest)))
    if short := [number for number, drive in enumerate(drives) if len(drive) < fixes]:
        raise SystemExit(
            f"{file}: fewer than {fixes} fixes for device {short[0]}; lower --fixes or --devices"
        )
    return [drive[:fixes] for drive in drives]


def packets(begin: int, drive: list[Seen]) -> list[bytes]:
    """One device's packets, numbered after its login."""
    return [
        frame(PLACE, place(begin + number * EVERY_S, seen), (number + 2) & 0xFFFF)
        for number, seen in enumerate(drive)
    ]


class Run:
    """What all devices share."""

    def __init__(self, devices: int, fixes: int, rate: float) -> None:
        self.devices, self.rate = devices, rate
        self.owed = [frame(PLACE, b"", (number + 2) & 0xFFFF) for number in range(fixes)]
        self.took_s: list[float] = []
        self.zero = 0.0
        self.logging_in = self.reporting = devices
        self.ready, self.over = asyncio.Event(), asyncio.Event()


class Device(asyncio.Protocol):
    """Sends, and compares each answer with the one it is owed."""

    def __init__(self, run: Run, number: int, imei: str, packets: list[bytes]) -> None:
        self._run, self._number, self._imei, self._packets = run, number, imei, packets
        self._sent = self._answered = self.allowed = 0
        self._rest = b""
        self._since = 0.0
        self._logged_in = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(frame(LOGIN, bytes.fromhex("0" + self._imei), 1))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answered < len(self._packets):
            raise SystemExit(f"{self._imei}: the connection broke: {exc}")

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        whole = len(data) // 10 * 10
        self._rest = data[whole:]
        for at in range(0, whole, 10):
            self._one(data[at : at + 10])

    def _one(self, answer: bytes) -> None:
        run = self._run
        if not self._logged_in:
            self._logged_in = answer == frame(LOGIN, b"", 1)
            if not self._logged_in:
                raise SystemExit(f"{self._imei}: the login was answered with {answer.hex()}")
            run.logging_in -= 1
            if not run.logging_in:
                run.ready.set()
            return
        if self._answered == self._sent or answer != run.owed[self._answered]:
            raise SystemExit(f"{self._imei}: report {self._answered} was answered with {answer.hex()}")
        due = self._since
        if run.rate:
            due = run.zero + (self._answered * run.devices + self._number) / run.rate
        run.took_s.append(now_s() - due)
        self._answered += 1
        if self._answered == len(self._packets):
            run.reporting -= 1
            if not run.reporting:
                run.over.set()
        else:
            self.go()

    def go(self) -> None:
        """Send the next one, if it is due and none is in flight."""
        if self._sent == self._answered and self._sent < self.allowed:
            assert self._transport is not None
            self._since = now_s()
            self._transport.write(self._packets[self._sent])
            self._sent += 1


async def generate(port: int, drives: list[list[Seen]], begin: int, rate: float) -> dict[str, float]:
    """All of it; how it went: ``rate`` in fixes a second, latencies in seconds, CPU in µs a fix."""
    devices, fixes = len(drives), len(drives[0])
    run = Run(devices, fixes, rate)
    loop = asyncio.get_running_loop()
    fleet: list[Device] = []
    for number, drive in enumerate(drives):
        one = Device(run, number, str(351_000_000_000_000 + number), packets(begin, drive))
        fleet.append(one)
        await loop.create_connection(lambda one=one: one, "127.0.0.1", port)
    await run.ready.wait()
    cpu_s, run.zero = time.process_time(), now_s()
    if rate:
        await pace(run, fleet, devices * fixes)
    else:
        for one in fleet:
            one.allowed = fixes
            one.go()
    await run.over.wait()
    passed_s, cpu_s = now_s() - run.zero, time.process_time() - cpu_s
    took = sorted(run.took_s)
    return {
        "rate": len(took) / passed_s,
        "p50_s": took[len(took) // 2],
        "p99_s": took[len(took) * 99 // 100],
        "cpu_us_per_fix": cpu_s / len(took) * 1e6,
    }


async def pace(run: Run, fleet: list[Device], total: int) -> None:
    """Let each report go when it is due, whatever was answered until then."""
    due = 0
    while due < total:
        until = min(total, int((now_s() - run.zero) * run.rate) + 1)
        for number in range(due, until):
            one = fleet[number % len(fleet)]
            one.allowed += 1
            one.go()
        due = max(due, until)
        await asyncio.sleep(max(TICK_S, run.zero + due / run.rate - now_s()))


def main() -> None:
    """By hand."""
    parser = argparse.ArgumentParser(
        description="GT06 trackers that report to 127.0.0.1, each answer checked."
    )
    parser.add_argument("port", type=int)
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--fixes", type=int, default=100, help="of each device")
    parser.add_argument(
        "--begin", type=int, default=1_750_000_000, help="time of the first fix, in seconds since 1970"
    )
    parser.add_argument(
        "--rate", type=float, default=0.0, help="fixes a second of all (default: as fast as answers come)"
    )
    parser.add_argument(
        "--places",
        type=Path,
        help="CSV of what they tell: device from 0, latitude, longitude, km/h, course, satellites, ignition "
        "(default: drives of our own)",
    )
    given = parser.parse_args()
    if given.places:
        drives = given_in(given.places, given.devices, given.fixes)
    else:
        rng = random.Random(given.begin)
        drives = [driven(rng, given.fixes) for _ in range(given.devices)]
    print(json.dumps(uvloop.run(generate(given.port, drives, given.begin, given.rate))))


if __name__ == "__main__":
    main()

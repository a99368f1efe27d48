"""Publishers that cost next to nothing: packets built before the clock starts, acknowledgements counted by their bytes.

A process of its own: ``python flood.py --port 1883 --publishers 200 --fixes 1000 --window 20 --seed 1``; it prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from itertools import accumulate
from typing import cast

import uvloop

from tracker_server.mqtt.packets import MQTT_3_1_1, Connect, Publish, connect, publish

START = 1_772_280_000  # 2026-02-28T12:00:00Z
ACKNOWLEDGEMENT_BYTES = 4  # CONNACK and PUBACK of MQTT 3.1.1
IDS = 65_535


class Publisher(asyncio.Protocol):
    """One phone that drives north at 40 km/h, ``window`` publishes on their way."""

    def __init__(self, name: str, east: float, start: int, fixes: int, window: int) -> None:
        topic = f"owntracks/flood/{name}"
        packets = [
            publish(MQTT_3_1_1, Publish(topic, payload(start + n, n, east), 1, n % IDS + 1))
            for n in range(fixes)
        ]
        self._data = b"".join(packets)
        self._ends = [0, *accumulate(map(len, packets))]
        self._hello = connect(Connect(MQTT_3_1_1, f"flood-{name}", clean=True, keep_alive_s=0))
        self._window = window
        self._sent = 0
        self._got = -ACKNOWLEDGEMENT_BYTES  # the first is the CONNACK
        self._transport: asyncio.Transport | None = None
        loop = asyncio.get_running_loop()
        self.admitted: asyncio.Future[None] = loop.create_future()
        self.done: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._hello)

    def data_received(self, data: bytes) -> None:
        self._got += len(data)
        if not self.admitted.done():
            self.admitted.set_result(None)
        elif self._got == (len(self._ends) - 1) * ACKNOWLEDGEMENT_BYTES:
            self.done.set_result(None)
        else:
            self.send()

    def send(self) -> None:
        """As many as the window lets."""
        assert self._transport is not None
        until = min(self._got // ACKNOWLEDGEMENT_BYTES + self._window, len(self._ends) - 1)
        if until > self._sent:
            self._transport.write(self._data[self._ends[self._sent] : self._ends[until]])
            self._sent = until

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(f"the connection ended early: {exc}"))


def payload(at: int, n: int, east: float) -> bytes:
    """A location as the app writes it."""
    return (
        f'{{"_type":"location","tid":"fl","tst":{at},"lat":{50 + n * 1e-4:.6f},"lon":{east:.6f},'
        '"vel":40,"cog":0,"acc":5,"alt":110,"batt":80}'
    ).encode()


async def flood(given: argparse.Namespace) -> dict[str, float]:
    """Rate, what it cost to make it, and when the first was published, on the clock that all processes share."""
    loop = asyncio.get_running_loop()
    start = START + given.start
    members = [
        Publisher(f"{given.seed}-{n}", 10 + n * 0.01, start, given.fixes, given.window)
        for n in range(given.publishers)
    ]
    for member in members:
        await loop.create_connection(lambda member=member: member, "127.0.0.1", given.port)
        await member.admitted
    begun, cpu_s = time.perf_counter(), time.process_time()
    for member in members:
        member.send()
    await asyncio.gather(*(member.done for member in members))
    took_s = time.perf_counter() - begun
    fixes = given.fixes * given.publishers
    return {
        "fixes": fixes,
        "begun_at": begun,
        "answered_per_s": fixes / took_s,
        "cpu_us_per_fix": (time.process_time() - cpu_s) / fixes * 1e6,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--publishers", type=int, default=200)
    parser.add_argument("--fixes", type=int, default=1_000, help="of each publisher")
    parser.add_argument("--window", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="seconds after 2026-02-28T12:00Z")
    print(json.dumps(uvloop.run(flood(parser.parse_args()))))

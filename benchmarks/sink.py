"""A subscriber that does nothing but acknowledge: what a broker can hand on at most.

A process of its own: ``python sink.py --port 1883 --messages 20000``; it says ``ready``, and ends when it has them all.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence

import uvloop

from tracker_server.mqtt.client import Client, open_client
from tracker_server.mqtt.packets import MQTT_5, Connect, Publish, puback


async def sink(port: int, messages: int, receive_max: int) -> None:
    """Until all have come."""
    left = messages
    done = asyncio.Event()

    def take(client: Client, publishes: Sequence[Publish]) -> None:
        nonlocal left
        client.write(b"".join([puback(one.packet_id) for one in publishes]))
        left -= len(publishes)
        if left <= 0:
            done.set()

    said = Connect(MQTT_5, "sink", clean=True, keep_alive_s=60, receive_max=receive_max)
    client = await open_client("127.0.0.1", port, said, None, take)
    await client.subscribe(["#"])
    print("ready", flush=True)
    await done.wait()
    client.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--messages", type=int, required=True)
    parser.add_argument("--receive-max", type=int, default=4_000)
    given = parser.parse_args()
    uvloop.run(sink(given.port, given.messages, given.receive_max))

"""Real clients against a real server: paho's, driven as blocking calls with bounds."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

WITHIN_S = 30.0
OLD, NEW = MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5


class Client:
    """One paho client; what came of each publish is kept as the reason code's value."""

    def __init__(
        self,
        address: tuple[str, int],
        *,
        version: MQTTProtocolVersion = OLD,
        client_id: str = "",
        **more: Any,
    ) -> None:
        clean = more.pop("clean", True)
        self.paho = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=clean if version == OLD else None,
            protocol=version,
            transport=more.pop("transport", "tcp"),
        )
        self.address = address
        self.connack: ReasonCode | None = None
        self.present = False
        self.codes: dict[int, int] = {}
        self.order: list[int] = []
        self.messages: list[tuple[str, bytes]] = []
        self.gone = threading.Event()
        self._here = threading.Event()
        self._subscribed = threading.Event()
        self.suback: list[int] = []
        self.paho.on_connect = self._on_connect
        self.paho.on_publish = self._on_publish
        self.paho.on_message = lambda _c, _u, m: self.messages.append((m.topic, bytes(m.payload)))
        self.paho.on_disconnect = lambda *_: self.gone.set()
        self.paho.on_subscribe = self._on_subscribe
        self._connect = more

    def _on_connect(self, _c: Any, _u: Any, flags: Any, code: ReasonCode, _p: Any) -> None:
        self.connack = code
        self.present = flags.session_present
        self._here.set()

    def _on_publish(self, _c: Any, _u: Any, mid: int, code: ReasonCode, _p: Any) -> None:
        self.codes[mid] = code.value
        self.order.append(mid)

    def _on_subscribe(self, _c: Any, _u: Any, _mid: int, codes: Any, _p: Any) -> None:
        self.suback = [code.value for code in codes]
        self._subscribed.set()

    def connect(self) -> Client:
        self.paho.connect(*self.address, **self._connect)
        self.paho.loop_start()
        assert self._here.wait(WITHIN_S), "no CONNACK"
        return self

    def publish(self, topic: str, payload: bytes | str, qos: int = 1, **more: Any) -> int:
        """Publish and wait until the exchange is over; its reason code."""
        sent = self.paho.publish(topic, payload, qos, **more)
        sent.wait_for_publish(WITHIN_S)
        assert sent.is_published(), f"no acknowledgement of {sent.mid}"
        return self.codes.get(sent.mid, 0)

    def subscribe(self, topic: str, qos: int = 1) -> int:
        self._subscribed.clear()
        self.paho.subscribe(topic, qos)
        assert self._subscribed.wait(WITHIN_S), "no SUBACK"
        return self.suback[0]

    def close(self) -> None:
        self.paho.disconnect()
        self.paho.loop_stop()


@contextmanager
def client(address: tuple[str, int], **more: Any) -> Generator[Client]:
    one = Client(address, **more)
    try:
        yield one.connect()
    finally:
        one.close()

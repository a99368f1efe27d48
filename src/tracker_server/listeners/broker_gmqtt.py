"""The port to brokers by gmqtt, which acknowledges a publish when its handler returns."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Any, Final

import gmqtt
from gmqtt.mqtt.constants import MQTTv50

from tracker_server.config_mqtt import MqttBroker
from tracker_server.listeners.broker import BrokerAwayError, Taken, filters_of
from tracker_server.mqtt.address import Address

KEEP_ALIVE_S: Final = 30
CONNECT_S_MAX: Final = 15.0
CLOSE_S_MAX: Final = 5.0
REFUSED_FROM: Final = 0x80
# 0 is once more, and -1 for ever: a client that comes again by itself would take the session from ours
NEVER: Final = -2

logging.getLogger("gmqtt").setLevel(logging.CRITICAL)  # what matters comes out of ``run``


class GmqttSubscriber:
    """One connection; made anew for each attempt, so that nothing of a broken one is left."""

    def __init__(self, settings: MqttBroker, address: Address) -> None:
        self._settings = settings
        self._address = address
        self._lost: asyncio.Event = asyncio.Event()
        self._problem = ""
        self._client: Any = gmqtt.Client(
            settings.client_id,
            clean_session=False,
            optimistic_acknowledgement=False,
            session_expiry_interval=settings.session_expiry_s,
            receive_maximum=settings.receive_max,
        )
        self._client.set_config({"reconnect_retries": NEVER})
        if address.user:
            self._client.set_auth_credentials(address.user, address.password or None)

    async def run(self, take: Taken, connected: Callable[[], None]) -> None:
        async def on_message(_client: Any, topic: Any, payload: bytes, _qos: int, _properties: Any) -> int:
            await take(topic if isinstance(topic, str) else topic.decode("utf-8", "replace"), payload)
            return 0

        def on_subscribe(_client: Any, _mid: int, codes: tuple[int, ...], _properties: Any) -> None:
            if any(code >= REFUSED_FROM for code in codes):
                self._problem = f"it refuses the subscription: {[hex(code) for code in codes]}"
                self._lost.set()
            else:
                connected()

        client = self._client
        client.on_message = on_message
        client.on_subscribe = on_subscribe
        client.on_disconnect = lambda *_: self._lost.set()
        try:
            async with asyncio.timeout(CONNECT_S_MAX):
                await client.connect(
                    self._address.host,
                    self._address.port,
                    ssl=self._context() or False,
                    keepalive=KEEP_ALIVE_S,
                    version=MQTTv50,
                )
        except TimeoutError:
            raise BrokerAwayError(f"no answer within {CONNECT_S_MAX:g} s") from None
        except (OSError, gmqtt.mqtt.handler.MQTTConnectError) as error:  # pyright: ignore[reportAttributeAccessIssue]
            raise BrokerAwayError(str(error) or type(error).__name__) from None
        # a retained message comes only with a subscription that is new
        subscriptions = [
            gmqtt.Subscription(one, qos=1, retain_handling_options=1) for one in filters_of(self._settings)
        ]
        client.subscribe(subscriptions)
        await self._lost.wait()
        raise BrokerAwayError(self._problem or "the connection has ended")

    def _context(self) -> ssl.SSLContext | None:
        if not self._address.tls:
            return None
        context = ssl.create_default_context()
        if self._settings.tls_ca:
            context.load_verify_locations(self._settings.tls_ca)
        if self._settings.tls_cert:
            context.load_cert_chain(self._settings.tls_cert, self._settings.tls_key or None)
        return context

    def publish(self, topic: str, payload: bytes) -> None:
        self._client.publish(topic, payload, qos=1)

    async def close(self) -> None:
        self._lost.set()
        async with asyncio.timeout(CLOSE_S_MAX):
            await self._client.disconnect()

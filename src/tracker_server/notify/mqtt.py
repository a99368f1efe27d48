"""The channel ``mqtt``: an alert as JSON to the tracker's topic at the operator's broker, acknowledged by it."""

from __future__ import annotations

import asyncio
from typing import Final

from tracker_server.alerts.letters import EventNotice, LetterError, decode
from tracker_server.alerts.rules import MQTT
from tracker_server.config_mqtt import MqttPublish
from tracker_server.mqtt.address import address_of, topic_of, trust
from tracker_server.mqtt.client import Client, ConnectionEndedError, open_client
from tracker_server.mqtt.codes import Code
from tracker_server.mqtt.packets import MQTT_5, Connect
from tracker_server.notify.webhook import body_of
from tracker_server.pipeline.dispatcher import Outgoing, PermanentError, TemporaryError

KIND: Final = "alert"
KEEP_ALIVE_S: Final = 30
NEVER: Final = frozenset({Code.NOT_AUTHORIZED, Code.TOPIC_NAME_INVALID, Code.PACKET_TOO_LARGE})


class MqttChannel:
    """One connection for all, made when it is needed. The receiver drops a second message by its ``key``."""

    name = MQTT
    at_once = 50  # publishes that may wait for their acknowledgement

    def __init__(self, settings: MqttPublish) -> None:
        self._settings = settings
        self._publisher: Client | None = None
        self._connecting = asyncio.Lock()

    async def send(self, message: Outgoing) -> None:
        """Publish one, and wait until the broker has it. Raises TemporaryError, PermanentError."""
        try:
            letter = decode(message.payload)
            body = body_of(message, letter)
        except LetterError as error:
            raise PermanentError(f"the message cannot be worded: {error}") from error
        about = {"account": "", "unique_id": message.recipient, "device_id": message.device_id or 0}
        if isinstance(letter, EventNotice):
            about["account"] = letter.account
        try:
            publisher = await self._connected()
            code = await (await publisher.publish(topic_of(self._settings.topic, about, KIND), body))
        except ConnectionEndedError as error:
            raise TemporaryError(f"the broker is away: {error}", down=True) from error
        if code in NEVER:
            raise PermanentError(f"the broker does not take it: {Code(code).name.lower().replace('_', ' ')}")
        if code >= Code.UNSPECIFIED:
            raise TemporaryError(f"the broker does not take it now: 0x{code:02x}")

    async def _connected(self) -> Client:
        """Raises ConnectionEndedError."""
        async with self._connecting:
            if self._publisher is None or self._publisher.ended.done():
                address = address_of(self._settings.url)
                said = Connect(
                    MQTT_5,
                    f"{self._settings.client_id}-alerts",
                    clean=True,
                    keep_alive_s=KEEP_ALIVE_S,
                    user=address.user or None,
                    password=address.password.encode() or None,
                )
                tls = trust(self._settings.tls_ca) if address.tls else None
                self._publisher = await open_client(address.host, address.port, said, tls)
            return self._publisher

    async def close(self) -> None:
        """Say goodbye."""
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None

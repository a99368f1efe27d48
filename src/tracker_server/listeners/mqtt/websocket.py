"""MQTT over WebSocket (MQTT 5.0 §6): the same connection inside binary messages, whatever their bounds."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from websockets.frames import Frame as WebSocketFrame
from websockets.frames import Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from tracker_protocols.model import Frame
from tracker_server.listeners.mqtt.connection import MqttConnection

if TYPE_CHECKING:
    from tracker_server.listeners.mqtt.endpoint import MqttShared

FRAME_BYTES_BESIDE = 65_536  # several packets may share a message


class WebSocketConnection(MqttConnection):
    """A client behind a browser or a proxy."""

    def __init__(self, shared: MqttShared) -> None:
        super().__init__(shared)
        self._web = ServerProtocol(
            subprotocols=["mqtt"],  # pyright: ignore[reportArgumentType]  (a NewType of str)
            max_size=shared.settings.packet_bytes_max + FRAME_BYTES_BESIDE,
        )
        self._open = False

    def frames_of(self, data: bytes, received_at: datetime) -> list[Frame]:
        web = self._web
        web.receive_data(data)
        payload = b""
        for event in web.events_received():
            if isinstance(event, Request):
                response = web.accept(event)
                if event.path and response.status_code == 101 and web.subprotocol is None:
                    response = web.reject(400, "offer the subprotocol mqtt (Sec-WebSocket-Protocol)\n")
                web.send_response(response)
                self._open = response.status_code == 101
            elif isinstance(event, WebSocketFrame):
                if event.opcode is Opcode.TEXT:
                    web.fail(1003, "MQTT is binary")
                elif event.opcode in {Opcode.BINARY, Opcode.CONT}:
                    payload += bytes(event.data)
        self._flush()
        frames = super().frames_of(payload, received_at) if payload else []
        if web.close_expected() and self.transport is not None:
            self.shared.loop.call_soon(self.finish, "closed by device")
        return frames

    def _write(self, data: bytes) -> None:
        if data and self._open and self._web.state is State.OPEN:
            self._web.send_binary(data)
            self._flush()

    def send(self, *replies: bytes) -> None:
        self.dialogue.answered(replies)
        self._write(b"".join(replies))
        if self._finishing:
            self._close_when_answered()

    def _flush(self) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        for piece in self._web.data_to_send():
            if piece:
                self.transport.write(piece)

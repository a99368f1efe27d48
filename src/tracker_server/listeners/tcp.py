"""TCP: a stream of frames."""

from __future__ import annotations

from datetime import datetime

from tracker_protocols.model import Frame
from tracker_protocols.wire.decoder import StreamDecoder
from tracker_server.listeners.connection import Connection
from tracker_server.listeners.server import Shared


class TcpConnection(Connection):
    """One device's stream, cut and read by its protocol's decoder."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        decoder = shared.protocol.decoder()
        assert isinstance(decoder, StreamDecoder)
        self._decoder = decoder

    def frames_of(self, data: bytes, received_at: datetime) -> list[Frame]:
        return self._decoder.receive_data(data, received_at)

    @property
    def noise_bytes(self) -> int:
        return self._decoder.noise_bytes

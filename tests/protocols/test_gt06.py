"""What GT06 has beside the common laws: lengths that lie, checksums that some makers get wrong."""

from __future__ import annotations

import pytest

from tracker_protocols.gt06.decoder import Gt06Decoder
from tracker_protocols.model import Login, Report

from .vectors import RECEIVED_AT, Vector, messages_of, stream_vectors

GT06 = [v for v in stream_vectors() if v.speaks == "gt06"]
UNCHECKED = (
    "365GPS",  # no checksum
    "bad checksum",
    "X1: a photo",  # what its blocks mean depends on the frame before them
)


class StrictDecoder(Gt06Decoder):
    refuses_bad_checksum = True


@pytest.mark.parametrize(
    "vector", [v for v in GT06 if not any(u in v.name for u in UNCHECKED)], ids=lambda v: v.name
)
def test_a_strict_decoder_believes_no_flipped_byte(vector: Vector) -> None:
    whole = messages_of(StrictDecoder().receive_data(vector.stream, RECEIVED_AT))
    for at in range(len(vector.stream)):
        stream = bytearray(vector.stream)
        stream[at] ^= 0xFF
        got = messages_of(StrictDecoder().receive_data(bytes(stream), RECEIVED_AT))
        new = [m for m in got if isinstance(m, Report | Login) and m not in whole]
        assert not new, f"byte {at} flipped was believed"


def test_a_frame_with_a_wrong_checksum_is_marked_and_nothing_else_is() -> None:
    for vector in GT06:
        for message in messages_of(Gt06Decoder().receive_data(vector.stream, RECEIVED_AT)):
            if isinstance(message, Report):
                marked = message.attributes.get("checksum") is False
                assert marked == (vector.name == "bad checksum: read, and marked"), vector.name


@pytest.mark.parametrize(
    "vector", [v for v in GT06 if "365GPS" in v.name or "length without" in v.name], ids=lambda v: v.name
)
def test_a_frame_whose_length_lies_ends_at_its_stop_bits(vector: Vector) -> None:
    decoder = Gt06Decoder()
    frames = decoder.receive_data(vector.stream, RECEIVED_AT)
    assert len(frames) == len(vector.expect)
    assert (decoder.waiting_bytes, decoder.noise_bytes) == (0, 0)


def test_photos_under_way_are_few() -> None:
    decoder = Gt06Decoder()
    for vector in GT06:
        if vector.name.startswith("X1: a photo"):
            begins = bytearray(vector.stream[:36])
            for photo in range(9):
                begins[26:30] = photo.to_bytes(4, "big")  # the checksum is then wrong, which is marked
                decoder.receive_data(bytes(begins), RECEIVED_AT)
    assert len(decoder._photos) == 4

"""AVL records of codecs 8, 8 Extended, 16 and 7: one place, one moment, and the I/O elements beside them.

Source: Teltonika Telematics wiki, "Teltonika Data Sending Protocols" §Codec for device data sending; for
codec 7 the GH3000 protocol description. README.md has the layouts.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from tracker_protocols.model import BadFrame, Cell, DeviceKey, Fix, Network, Reason, Reply, Report
from tracker_protocols.teltonika import io_professional, io_tables, io_vehicle
from tracker_protocols.teltonika.io_elements import WIDTHS, Table, Tables, tables
from tracker_protocols.teltonika.io_meaning import ZONES, ZONES_CODEC_16, read_long, read_short
from tracker_protocols.teltonika.io_variable import read_variable
from tracker_protocols.wire.fields import MPS_PER_KMH, moment_from_ms

CODEC_GH3000, CODEC_8, CODEC_16, CODEC_8E = 0x07, 0x08, 0x10, 0x8E

DEGREE = 10_000_000
GH3000_EPOCH_S = 1_167_609_600  # 2007-01-01 00:00 UTC

HEAD = struct.Struct(">QBiihHBH")
"""Milliseconds since 1970, priority, longitude, latitude, altitude, angle, satellites, speed."""

Pairs = Callable[[bytes], Iterator[tuple[int, int]]]


class Group(NamedTuple):
    """The elements of one width: how id and number are cut, in steps of how many bytes."""

    width: int
    pairs: Pairs
    step: int
    table: Table


class Layout(NamedTuple):
    """How a codec writes the elements. ``start``: the event's id and how many elements follow."""

    start: struct.Struct
    wide_counts: bool
    groups: tuple[Group, ...]
    zones: dict[int, int]
    generation: bool = False  # codec 16 tells why the record was made, between those two
    variable: bool = False  # codec 8 Extended ends with elements that tell their own length


def _groups(id_bytes: int, known: Tables, widths: tuple[int, ...] = WIDTHS) -> tuple[Group, ...]:
    cuts = {width: struct.Struct(f">{'BH'[id_bytes - 1]}{'BHIQ'[WIDTHS.index(width)]}") for width in widths}
    return tuple(Group(width, cut.iter_unpack, cut.size, known[width]) for width, cut in cuts.items())


_FMB = (
    io_professional.SHARED,
    io_vehicle.SCOOTER,
    io_vehicle.MOTORCYCLE,
    io_tables.BLUETOOTH,
    io_vehicle.OBD,
    io_vehicle.CAN_ADAPTER,
    io_tables.EVENTS,
    io_tables.CELLS,
    io_tables.PERMANENT,
)
_ELEMENTS = tables(*_FMB)
_ELEMENTS_16 = tables(*_FMB, io_professional.CODEC_16)
_ELEMENTS_GH3000 = tables(io_professional.GH3000)

LAYOUTS = {
    CODEC_8: Layout(struct.Struct(">BB"), False, _groups(1, _ELEMENTS), ZONES),
    CODEC_8E: Layout(struct.Struct(">HH"), True, _groups(2, _ELEMENTS), ZONES, variable=True),
    CODEC_16: Layout(struct.Struct(">HBB"), False, _groups(2, _ELEMENTS_16), ZONES_CODEC_16, generation=True),
}
_GH3000_GROUPS = _groups(1, _ELEMENTS_GH3000, (1, 2, 4))


def read_records(data: bytes, device: DeviceKey | None, reply: Reply | None) -> list[Report]:
    """The records between a packet's two counts; the last carries the reply. Raises BadFrame.

    ``data`` runs from the codec's id to the second count, both included.
    """
    codec, count = data[0], data[1]
    reports: list[Report] = []
    at = 2
    layout = LAYOUTS.get(codec)
    for left in range(count - 1, -1, -1):
        owed = None if left else reply
        if layout:
            report, at = _read_record(data, at, layout, device, owed)
        else:
            report, at = _read_gh3000(data, at, device, owed)
        reports.append(report)
    if at + 1 != len(data) or data[at] != count:
        raise BadFrame(Reason.MALFORMED, f"{count} records end at byte {at} of {len(data)}")
    return reports


def _read_record(
    data: bytes, start: int, layout: Layout, device: DeviceKey | None, reply: Reply | None
) -> tuple[Report, int]:
    milliseconds, priority, longitude, latitude, altitude, angle, satellites, speed = HEAD.unpack_from(
        data, start
    )
    attributes: dict[str, Any] = {"priority": priority, "sat": satellites}
    network, at = _read_elements(data, start + HEAD.size, layout, attributes)
    moment = moment_from_ms(milliseconds)
    if -900_000_000 <= latitude <= 900_000_000 and -1_800_000_000 <= longitude <= 1_800_000_000:
        fix = Fix(
            moment,
            latitude / DEGREE,
            longitude / DEGREE,
            satellites != 0,  # without satellites the device repeats the place that it knew last
            float(altitude),
            speed * MPS_PER_KMH,
            float(angle),
        )
        return Report(device, fix, attributes, data[start:at], network, None, reply), at
    # nowhere on the globe: what was measured is kept, and the device is answered, or it would send for ever
    return Report(device, None, attributes, data[start:at], network, moment, reply), at


def _read_elements(
    data: bytes, at: int, layout: Layout, attributes: dict[str, Any]
) -> tuple[Network | None, int]:
    start = layout.start
    if layout.generation:
        event, attributes["generation"], total = start.unpack_from(data, at)
    else:
        event, total = start.unpack_from(data, at)
    if event:
        attributes["event"] = event
    short: dict[int, int] = {}
    long: dict[int, int] = {}
    at, seen = _read_groups(data, at + start.size, layout, attributes, (short, long))
    if layout.variable:
        at = read_variable(data, at, event, attributes)
    elif seen < total == seen + data[at] and not layout.generation:
        at = _read_sixteen_bytes(data, at, attributes)
    network = read_short(short, event, attributes, layout.zones) if short else None
    if long:
        read_long(long, attributes)
    return network, at


def _read_groups(
    data: bytes,
    at: int,
    layout: Layout,
    attributes: dict[str, Any],
    later: tuple[dict[int, int], dict[int, int]],
) -> tuple[int, int]:
    """The groups of 1, 2, 4 and 8 bytes. Answers where they end and how many elements they held."""
    wide_counts = layout.wide_counts
    seen = 0
    for width, pairs, step, table in layout.groups:
        count = data[at]
        at += 1
        if wide_counts:
            count = count << 8 | data[at]
            at += 1
        if not count:
            continue
        seen += count
        end = at + count * step
        known = table.get
        for element_id, number in pairs(data[at:end]):
            element = known(element_id)
            if element is None:
                attributes[f"io{element_id}"] = number
                continue
            name, convert = element
            if convert is None:
                if name:
                    attributes[name] = number
                else:
                    later[width == 8][element_id] = number
            else:
                value = convert(number)
                if value is not None:
                    attributes[name] = value
        at = end
    return at, seen


def _read_sixteen_bytes(data: bytes, at: int, attributes: dict[str, Any]) -> int:
    """A fifth group that FM36 devices add to codec 8 when told to. Nothing announces it but the total."""
    count = data[at]
    at += 1
    for _ in range(count):
        attributes[f"io{data[at]}"] = data[at + 1 : at + 17].hex()
        at += 17
    return at


def _read_gh3000(
    data: bytes, start: int, device: DeviceKey | None, reply: Reply | None
) -> tuple[Report, int]:
    """A record of codec 7: what it holds is told by a mask, for the place by a mask of its own."""
    seconds, mask = struct.unpack_from(">IB", data, start)
    moment = moment_from_ms(((seconds & 0x3FFF_FFFF) + GH3000_EPOCH_S) * 1000)
    attributes: dict[str, Any] = {"priority": seconds >> 30}
    at = start + 5
    fix = network = None
    if mask & 1:
        fix, network, at = _read_gh3000_place(data, at, moment, attributes)
    for bit, (_, pairs, step, table) in zip((2, 4, 8), _GH3000_GROUPS, strict=True):
        if not mask & bit:
            continue
        end = at + 1 + data[at] * step
        for element_id, number in pairs(data[at + 1 : end]):
            name, convert = table.get(element_id, (f"io{element_id}", None))
            if name:
                attributes[name] = convert(number) if convert else number
            elif number:  # 222, the alarm button
                attributes["alarm"] = "sos"
        at = end
    return Report(device, fix, attributes, data[start:at], network, None if fix else moment, reply), at


def _read_gh3000_place(
    data: bytes, at: int, moment: datetime, attributes: dict[str, Any]
) -> tuple[Fix | None, Network | None, int]:
    mask = data[at]
    at += 1

    def take(bit: int, code: str) -> tuple[Any, ...] | None:
        nonlocal at
        if not mask & bit:
            return None
        values = struct.unpack_from(code, data, at)
        at += struct.calcsize(code)
        return values

    place, altitude, angle = take(1, ">ff"), take(2, ">h"), take(4, ">B")
    speed, satellites, cell = take(8, ">B"), take(16, ">B"), take(32, ">HH")
    signal, operator = take(64, ">B"), take(128, ">I")
    if satellites:
        attributes["sat"] = satellites[0]
    network = None
    if cell:
        mcc, mnc = divmod(operator[0], 1000 if operator[0] > 99_999 else 100) if operator else (0, 0)
        network = Network((Cell(mcc, mnc, cell[0], cell[1], signal[0] if signal else None),))
    else:
        attributes |= {"rssi": signal[0]} if signal else {}
        attributes |= {"operator": operator[0]} if operator else {}
    if not place or not (-90 <= place[0] <= 90 and -180 <= place[1] <= 180):
        return None, network, at
    fix = Fix(
        moment,
        place[0],
        place[1],
        altitude_m=float(altitude[0]) if altitude else None,
        speed_mps=speed[0] * MPS_PER_KMH if speed else None,
        course_deg=angle[0] * 360 / 256 if angle else None,
    )
    return fix, network, at

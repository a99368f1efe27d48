"""Frames located by cells and Wi-Fi access points alone."""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from tracker_protocols.gt06.alarms import add_alarm_code
from tracker_protocols.gt06.fields import CELL_2G, FIX_BYTES, cell_at, fix_at, number, time_at
from tracker_protocols.gt06.locations import Handler
from tracker_protocols.model import AccessPoint, Attributes, Cell, Network, Reply, Report
from tracker_protocols.wire.fields import moment

_CELL_BCD = Struct(">HHB")


class CellList(NamedTuple):
    """Sizes of LAC and cell identity, and how many cells a frame has where it does not say."""

    lac: int = 2
    cid: int = 3
    cells_max: int = 7


CELLS_2G: Final = CellList()
CELLS_4G: Final = CellList(4, 8)
CELLS_CID4: Final = CellList(2, 4, 6)


def operator_at(content: bytes, at: int, *, wide: bool = False) -> tuple[int, int, int]:
    """MCC, MNC, and where they end; bit 15 of the MCC: the MNC has two bytes."""
    mcc = number(content, at, 2)
    if wide or mcc & 0x8000:
        return mcc & 0x7FFF, number(content, at + 2, 2), at + 4
    return mcc, number(content, at + 2, 1), at + 3


def cells_at(
    content: bytes, at: int, operator: tuple[int, int], form: CellList, count: int
) -> tuple[tuple[Cell, ...], int]:
    """LAC, cell identity, signal below zero (dBm), ``count`` times or as often as they fit; empty ones left out."""
    mcc, mnc = operator
    size = form.lac + form.cid + 1
    cells: list[Cell] = []
    for _ in range(count):
        if at + size > len(content):
            break
        lac = number(content, at, form.lac)
        if lac:
            cells.append(
                Cell(mcc, mnc, lac, number(content, at + form.lac, form.cid), -content[at + size - 1])
            )
        at += size
    return tuple(cells), at


def access_points_at(content: bytes, at: int) -> tuple[tuple[AccessPoint, ...], int]:
    """How many, then MAC (6) and signal below zero (dBm) each; empty ones left out."""
    points: list[AccessPoint] = []
    if at >= len(content):
        return (), at
    count, at = content[at], at + 1
    for _ in range(count):
        if at + 7 > len(content):
            break
        if any(content[at : at + 6]):
            points.append(AccessPoint(mac(content[at : at + 6]), -content[at + 6]))
        at += 7
    return tuple(points), at


def mac(address: bytes) -> str:
    """``aa:bb:cc:dd:ee:ff``."""
    return address.hex(":")


def cells(form: CellList = CELLS_2G, *, wifi: bool = False) -> Handler:
    """Time, MCC, MNC, cells, timing advance, and with ``wifi`` access points; then the language."""

    def handle(content: bytes, record: bytes, reply: Reply | None) -> Report:
        mcc, mnc, at = operator_at(content, 6)
        towers, at = cells_at(content, at, (mcc, mnc), form, form.cells_max)
        points = access_points_at(content, at + 1)[0] if wifi else ()
        return Report(None, None, {}, record, Network(towers, points), time_at(content, 0), reply)

    return handle


def counted_cells(content: bytes, record: bytes, reply: Reply | None) -> Report:
    """0x24 of the WanWay S20: time, timing advance, MCC, MNC, how many cells, cells."""
    mcc, mnc, at = operator_at(content, 7)
    towers, _ = cells_at(content, at + 1, (mcc, mnc), CELLS_2G, number(content, at, 1))
    return Report(None, None, {}, record, Network(towers), time_at(content, 0), reply)


def space_cells(content: bytes, record: bytes, reply: Reply | None) -> Report:
    """0x19 of the SPACE10X: time, MCC, MNC, how many cells, cells, timing advance."""
    mcc, mnc, at = operator_at(content, 6)
    towers, _ = cells_at(content, at + 1, (mcc, mnc), CELLS_2G, number(content, at, 1))
    return Report(None, None, {}, record, Network(towers), time_at(content, 0), reply)


def sl4x_cells(content: bytes, record: bytes, reply: Reply | None) -> Report:
    """0x34 of the SL4X: time, timing advance, MCC, MNC (2), cells with four bytes of identity."""
    mcc, mnc, at = operator_at(content, 7, wide=True)
    towers, _ = cells_at(content, at, (mcc, mnc), CELLS_CID4, 7)
    return Report(None, None, {}, record, Network(towers), time_at(content, 0), reply)


def wifi_alarm(content: bytes, record: bytes, reply: Reply | None) -> Report:
    """0xA9 of the Jimi 4G trackers: time, MCC, MNC, type of network (0: 2G), how many cells, cells, timing
    advance, access points, alarm, language.
    """
    attributes: Attributes = {}
    mcc, mnc, at = operator_at(content, 6)
    form = CELLS_4G if content[at] else CELLS_2G
    towers, at = cells_at(content, at + 2, (mcc, mnc), form, content[at + 1])
    points, at = access_points_at(content, at + 1)
    add_alarm_code(attributes, content[at] | (number(content, at + 1, 1) & 0xF0) << 4)
    return Report(None, None, attributes, record, Network(towers, points), time_at(content, 0), reply)


def fix_and_cells(content: bytes, record: bytes, reply: Reply | None) -> Report:
    """0x1E of the JI09: a fix, MCC, MNC and cells, timing advance, language."""
    attributes: Attributes = {}
    fix = fix_at(content, 0, attributes)
    network = None
    if len(content) > FIX_BYTES + 3:
        mcc, mnc, at = operator_at(content, FIX_BYTES)
        network = Network(cells_at(content, at, (mcc, mnc), CELLS_2G, 7)[0])
    return Report(None, fix, attributes, record, network, None, reply)


def one_cell(at: int) -> Handler:
    """A cell alone: 0x11 of the GT06 with a time before it, 0x17 and 0xA7 without; phone number and language after."""

    def handle(content: bytes, record: bytes, reply: Reply | None) -> Report:
        network, _ = cell_at(content, at, CELL_2G)
        return Report(None, None, {}, record, network, time_at(content, 0) if at else None, reply)

    return handle


def wifi_points(content: bytes, record: bytes, reply: Reply | None) -> Report:
    """0xF3: time, how many access points, then two bytes of no known meaning and the MAC of each."""
    count = number(content, 6, 1)
    points = [
        AccessPoint(mac(content[at : at + 6]))
        for at in range(9, 9 + 8 * count, 8)
        if len(content) >= at + 6 and any(content[at : at + 6])
    ]
    return Report(None, None, {}, record, Network((), tuple(points)), time_at(content, 0), reply)


def bare_wifi(frame: bytes) -> Report:
    """0x17, 0x69 of the 365GPS family, the whole frame: count of access points where the length should be,
    kind, time as decimal digits in half bytes, points, count of cells, MCC, MNC, cells with two bytes of
    identity. No serial number, no checksum; the answer repeats the time.
    """
    end = 10 + 7 * frame[2]
    points = [
        AccessPoint(mac(frame[at : at + 6]), -frame[at + 6])
        for at in range(10, end, 7)
        if any(frame[at : at + 6])
    ]
    mcc, mnc, at = operator_at(frame, end + 1)
    towers: list[Cell] = []
    for begin in range(at, at + 5 * frame[end], 5):
        lac, cid, signal = _CELL_BCD.unpack_from(frame, begin)
        towers.append(Cell(mcc, mnc, lac, cid, -signal))
    reply = Reply(b"\x78\x78\x00" + frame[3:10] + b"\r\n")
    sent_at = moment(*map(int, frame[4:10].hex(" ").split()))
    network = Network(tuple(dict.fromkeys(towers)), tuple(points))
    return Report(None, None, {}, frame[3:-2], network, sent_at, reply)


def az735(content: bytes, record: bytes, reply: Reply | None) -> Report:
    """0x32 and 0x33 of the AZ735, long frames: time, fix behind its length, cell behind its length and its
    signal, more cells and access points each behind their length in bytes, status, extension.
    """
    attributes: Attributes = {}
    sent_at = time_at(content, 0)
    fix = None
    at = 7
    if number(content, 6, 1):
        fix = fix_at(content[:6] + content[7:], 0, attributes)
        at += FIX_BYTES - 6
    towers: tuple[Cell, ...] = ()
    if size := number(content, at, 1):
        first, end = cell_at(content, at + 1, CELL_2G)
        at = max(end, at + size)
        attributes["rssi"] = number(content, at, 1)
        towers = first.cells if first else ()
    at += 1
    size = number(content, at, 1)
    if towers:
        operator = towers[0].mcc, towers[0].mnc
        towers += cells_at(content[: at + 1 + size], at + 1, operator, CELLS_2G, size // 6)[0]
    at += 1 + size
    size = number(content, at, 1)
    points = tuple(
        AccessPoint(mac(content[i : i + 6]), -content[i + 6])
        for i in range(at + 1, at + 1 + size - 6, 7)
        if any(content[i : i + 6])
    )
    add_az735_status(number(content, at + 1 + size, 1), record[0] == 0x33, attributes)
    return Report(None, fix, attributes, record, Network(towers, points), sent_at, reply)


AZ735_ALARMS: Final = {0xA2: "lowBattery", 0xA3: "lowBattery", 0xA4: "general", 0xA5: "door"}


def add_az735_status(status: int, is_alarm: bool, attributes: Attributes) -> None:  # noqa: FBT001
    """In an alarm frame: A0 armed, A1 disarmed, A2 and A3 battery low, A4 alarm, A5 door."""
    attributes["status"] = status
    if not is_alarm:
        return
    if status in {0xA0, 0xA1}:
        attributes["armed"] = status == 0xA0
    elif status in AZ735_ALARMS:
        attributes["alarm"] = AZ735_ALARMS[status]

"""Location and alarm frames: a fix, a cell, and what each kind, or each maker, adds behind them.

A handler takes a frame's content, its record (kind and content) and the reply it owes.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from tracker_protocols.gt06.alarms import CODES, VL_CODES
from tracker_protocols.gt06.fields import (
    CELL_2G,
    CELL_4G,
    FIX_BYTES,
    CellForm,
    add_status,
    add_status_modules,
    cell_at,
    fix_at,
    imei_at,
    measured_cell_at,
    number,
)
from tracker_protocols.model import Attributes, Network, Reply, Report

Handler = Callable[[bytes, bytes, Reply | None], Report]
Tail = Callable[[bytes, int, Attributes], None]
"""Reads what stands behind the cell: (content, where it begins, the attributes to add to)."""


def add_upload_tail(content: bytes, at: int, attributes: Attributes) -> int:
    """ACC, upload mode, re-upload flag (JM-VL03 1.1.2 §3); answers where they end."""
    attributes["ignition"] = content[at] > 0
    attributes["event"] = content[at + 1]
    if content[at + 2]:
        attributes["archive"] = True
    return at + 3


def without_flag(record: bytes, at: int) -> bytes:
    """The record without the re-upload flag of the tail at ``at``: it is 1 when a fix is sent again."""
    return record[: at + 3] + record[at + 4 :]  # the record has the kind's byte before the content


def location(form: CellForm = CELL_2G, *, uploads: bool = False) -> Handler:
    """A fix and, where they are there, a cell, the upload tail and the mileage in metres.

    ``uploads``: this kind has the upload tail by its manual; elsewhere it is told by what is left.
    """

    def handle(content: bytes, record: bytes, reply: Reply | None) -> Report:
        attributes: Attributes = {}
        fix = fix_at(content, 0, attributes)
        network, at = None, FIX_BYTES
        rest = len(content) - at
        if rest >= 8:
            network, at = cell_at(content, at, form)
            rest = len(content) - at
        if (uploads and rest >= 3) or rest in {3, 7}:
            record = without_flag(record, at)
            at = add_upload_tail(content, at, attributes)
            rest -= 3
        if (uploads and rest >= 4) or rest == 4:
            attributes["odometer"] = number(content, at, 4)
        return Report(None, fix, attributes, record, network, None, reply)

    return handle


def modular_location(content: bytes, record: bytes, reply: Reply | None) -> Report:
    """0x37: the upload tail, then modules of identifier (2), length (1), value."""
    attributes: Attributes = {}
    fix = fix_at(content, 0, attributes)
    network, at = cell_at(content, FIX_BYTES, CELL_2G)
    if len(content) - at < 3:
        return Report(None, fix, attributes, record, network, None, reply)
    record = without_flag(record, at)
    at = add_upload_tail(content, at, attributes)
    while at + 3 <= len(content):
        module, size = number(content, at, 2), content[at + 2]
        value = content[at + 3 : at + 3 + size]
        at += 3 + size
        if module == 0x27:
            attributes["power"] = number(value, 0, 2) / 100
        elif module == 0x2E:
            attributes["odometer"] = number(value, 0, 4)
        elif module == 0x3B and fix:
            fix = replace(fix, accuracy_m=number(value, 0, 2) / 100)
    return Report(None, fix, attributes, record, network, None, reply)


def upgraded_location(content: bytes, record: bytes, reply: Reply | None) -> Report:
    """0x38 of the Jimi 4G trackers: upload mode and re-upload flag stand before a cell with its type."""
    attributes: Attributes = {}
    fix = fix_at(content, 0, attributes)
    attributes["event"] = content[18]
    if content[19]:
        attributes["archive"] = True
    network, _ = typed_cell_at(content, 20)
    return Report(None, fix, attributes, record[:20] + record[21:], network, None, reply)


def typed_cell_at(content: bytes, at: int) -> tuple[Network | None, int]:
    """A cell behind its type: from 3 (LTE) on the long form with two bytes of signal, else the short with one."""
    if content[at] >= 3:
        network, end = cell_at(content, at + 1, CELL_4G)
        return network, end + 2
    network, end = cell_at(content, at + 1, CELL_2G)
    return network, end + 1


def alarm(
    form: CellForm = CELL_2G,
    codes: dict[int, str] = CODES,
    *,
    fence: bool = False,
    tail: Tail | None = None,
) -> Handler:
    """A fix, a cell behind its length, the terminal's status and alarm; ``fence``: the fence's number after it."""

    def handle(content: bytes, record: bytes, reply: Reply | None) -> Report:
        attributes: Attributes = {}
        fix = fix_at(content, 0, attributes)
        network, at, length = measured_cell_at(content, FIX_BYTES, form)
        at = add_status(content, at, attributes, VL_CODES if length == 8 else codes, long_codes=fence)
        if fence:
            attributes["geofence"] = content[at]
            at += 1
        if tail:
            tail(content, at, attributes)
        else:
            rest = len(content) - at
            if rest in {3, 7}:
                record = without_flag(record, at)
                at = add_upload_tail(content, at, attributes)
            if rest in {4, 7}:
                attributes["odometer"] = number(content, at, 4)
        return Report(None, fix, attributes, record, network, None, reply)

    return handle


def tailed(tail: Tail, form: CellForm = CELL_2G, *, imei: bool = False, flag: bool = False) -> Handler:
    """A fix, a cell, and a tail of one maker's own.

    ``imei``: an IMEI (8) stands before the fix. ``flag``: the tail begins with an upload tail.
    """

    def handle(content: bytes, record: bytes, reply: Reply | None) -> Report:
        attributes: Attributes = {}
        device, begin = (imei_at(content, 0), 8) if imei else (None, 0)
        fix = fix_at(content, begin, attributes)
        network, at = cell_at(content, begin + FIX_BYTES, form)
        tail(content, at, attributes)
        if flag:
            record = without_flag(record, at)
        return Report(device, fix, attributes, record, network, None, reply)

    return handle


def location_only(content: bytes, record: bytes, reply: Reply | None) -> Report:
    """0x1A: a fix, a phone number (21) and the language, to ask for an address."""
    attributes: Attributes = {}
    fix = fix_at(content, 0, attributes)
    return Report(None, fix, attributes, record, reply=reply)


def cell_status(form: CellForm) -> Handler:
    """0x19, 0xA5: a cell without length and the terminal's status and alarm; no time, no fix."""

    def handle(content: bytes, record: bytes, reply: Reply | None) -> Report:
        attributes: Attributes = {}
        network, at = cell_at(content, 0, form)
        add_status(content, at, attributes)
        return Report(None, None, attributes, record, network, None, reply)

    return handle


def alarm_with_modules(content: bytes, record: bytes, reply: Reply | None) -> Report:
    """0x39 of the Jimi 4G trackers: a cell with its type, status and alarm, then modules."""
    attributes: Attributes = {}
    fix = fix_at(content, 0, attributes)
    network, at = typed_cell_at(content, FIX_BYTES)
    at = add_status(content, at, attributes, long_codes=True)
    add_status_modules(content, at, attributes)
    return Report(None, fix, attributes, record, network, None, reply)

"""Reports without a place: cells, link state, heartbeats, the text of an answered SMS command.

Manual: HuaSunTek V1.0.5 §3.2 (XT); the LBS report V3 as its maker documents it; NBR, LINK, BASE, BS and
HTBT as fleets send them.
"""

from __future__ import annotations

from tracker_protocols.h02.binary import battery_level
from tracker_protocols.h02.extras import cell_number, cell_of, network_of, number, signal_level, whole
from tracker_protocols.h02.location import Sentence, acknowledgement, moment_or_none, read_status
from tracker_protocols.model import (
    Attributes,
    BadFrame,
    Cell,
    CommandResult,
    Heartbeat,
    Reason,
    Reply,
    Report,
)

CELLS_MAX = 32
V3_VOLTS_PER_STEP = 5.6 / 1024  # the maker's reading of its ten-bit converter: 0x256 is 3.27 V


def decode_heartbeat(sentence: Sentence) -> Heartbeat:
    """HTBT and V0: answered with their own beginning; a battery percentage may follow."""
    reply = b"*%b,%b,%b#" % (sentence.fields[0], sentence.key, sentence.fields[2]) if sentence.key else b""
    return Heartbeat(
        sentence.device,
        _percentage(sentence.fields[3] if len(sentence.fields) > 3 else b""),
        sentence.body,
        Reply(reply) if reply else None,
    )


def decode_xt(sentence: Sentence) -> Heartbeat:
    """XT: a heartbeat that wants no answer; in its longer form working mode and battery percentage."""
    level = sentence.fields[4] if len(sentence.fields) > 4 else b""
    return Heartbeat(sentence.device, _percentage(level), sentence.body)


def _percentage(text: bytes) -> Attributes:
    level = whole(text.strip())
    return {"batteryLevel": level} if level is not None and level <= 100 else {}


def decode_nbr(sentence: Sentence) -> Report:
    """NBR: time, country, network, delay, count, count times (area, cell, level), date, status, battery step."""
    fields = sentence.fields
    mcc, mnc, count = cell_number(fields[4]), cell_number(fields[5]), min(int(fields[7]), CELLS_MAX)
    after = 8 + 3 * count
    if count < 0 or len(fields) < after:
        raise BadFrame(Reason.MALFORMED, f"{count} cells in {len(fields)} fields")
    cells = [
        Cell(mcc, mnc, cell_number(fields[at]), cell_number(fields[at + 1]), signal_level(fields[at + 2]))
        for at in range(8, after, 3)
    ]
    attributes = read_status(fields[after + 1]) if len(fields) > after + 1 else {}
    if len(fields) > after + 2 and (step := whole(fields[after + 2])) is not None:
        level = battery_level(step)
        if level is not None:
            attributes["batteryLevel"] = level
    date = fields[after] if len(fields) > after else b""
    return Report(
        sentence.device,
        None,
        attributes,
        sentence.body,
        network_of(*cells),
        moment_or_none(date, fields[3]),
        acknowledgement(sentence, b"NBR"),
    )


def decode_v3(sentence: Sentence) -> Report:
    """V3: country and network in one number, count, count times (area, cell, level, dBm), voltage, reboots, X."""
    fields = sentence.fields
    mcc, mnc, count = cell_number(fields[4][:3]), cell_number(fields[4][3:]), min(int(fields[5]), CELLS_MAX)
    after = 6 + 4 * count
    if count < 0 or len(fields) < after:
        raise BadFrame(Reason.MALFORMED, f"{count} cells in {len(fields)} fields")
    cells: list[Cell] = []
    for at in range(6, after, 4):
        level, dbm = signal_level(fields[at + 2]), fields[at + 3]
        signal = signal_level(dbm) if dbm.startswith(b"-") else level
        cells.append(Cell(mcc, mnc, cell_number(fields[at]), cell_number(fields[at + 1]), signal))
    attributes = read_status(fields[after + 4]) if len(fields) > after + 4 else {}
    if len(fields) > after and len(fields[after]) == 4:
        attributes["battery"] = round(int(fields[after], 16) * V3_VOLTS_PER_STEP, 2)
    date = fields[after + 3] if len(fields) > after + 3 else b""
    return Report(
        sentence.device, None, attributes, sentence.body, network_of(*cells), moment_or_none(date, fields[3])
    )


def decode_link(sentence: Sentence) -> Report:
    """LINK: time, GSM signal, satellites, battery percentage, steps, turnovers, date, status."""
    fields = sentence.fields
    attributes = read_status(fields[10]) if len(fields) > 10 else {}
    for at, name in enumerate(("rssi", "sat", "batteryLevel", "steps", "turnovers"), 4):
        value = whole(fields[at]) if len(fields) > at else None
        if value is not None:
            attributes[name] = value
    date = fields[9] if len(fields) > 9 else b""
    return Report(sentence.device, None, attributes, sentence.body, sent_at=moment_or_none(date, fields[3]))


def decode_base(sentence: Sentence) -> Report:
    """BASE: time, country, network, area, cell, date, status."""
    fields = sentence.fields
    attributes = read_status(fields[9]) if len(fields) > 9 else {}
    network = network_of(cell_of(fields[4:8])) if len(fields) > 7 else None
    date = fields[8] if len(fields) > 8 else b""
    return Report(sentence.device, None, attributes, sentence.body, network, moment_or_none(date, fields[3]))


def decode_bs(sentence: Sentence) -> Report:
    """BS: time, country, network, three times (area, cell, level), date, status, battery percentage."""
    fields = sentence.fields
    if len(fields) < 15:
        raise BadFrame(Reason.MALFORMED, f"{len(fields)} fields, three cells expected")
    cells: list[Cell | None] = []
    for at in (6, 9, 12):
        cell = cell_of((*fields[4:6], *fields[at : at + 2]), 16)
        if cell:
            cells.append(Cell(cell.mcc, cell.mnc, cell.lac, cell.cid, signal_level(fields[at + 2])))
    attributes = read_status(fields[16]) if len(fields) > 16 else {}
    attributes |= _percentage(fields[17]) if len(fields) > 17 else {}
    date = fields[15] if len(fields) > 15 else b""
    return Report(
        sentence.device, None, attributes, sentence.body, network_of(*cells), moment_or_none(date, fields[3])
    )


def decode_sms(sentence: Sentence) -> CommandResult:
    """SMS: what a command sent over the line would have answered by SMS, as ``NAME:value`` lines."""
    text = b",".join(sentence.fields[3:]).decode("utf-8", "replace").strip()
    attributes: Attributes = {"result": text}
    first, *lines = text.replace("\\n", "\n").splitlines() or [""]
    if lines and ":" not in first:
        attributes["versionFw"] = first.strip()
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "VOLT" and (volts := number(value.strip().rstrip("Vv").encode())) is not None:
            attributes["power"] = volts
        elif name.strip() == "GSM" and (signal := whole(value.strip().encode())) is not None:
            attributes["rssi"] = signal
    return CommandResult(sentence.device, attributes, sentence.body)

"""Places that come with more than a report's usual fields: answers to commands, alarms, stored fixes, VP1.

Manual: HuaSunTek V1.0.5 §2.5 (V4), §3.0 (VP1), §3.4 (BC), §3.5 (ALRM).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from tracker_protocols.h02.extras import cell_number, cell_of, network_of, number, signal_level, whole
from tracker_protocols.h02.location import (
    Sentence,
    build_report,
    degrees,
    is_location,
    moment_of,
    read_place,
    read_status,
)
from tracker_protocols.model import (
    Attributes,
    BadFrame,
    Cell,
    CommandResult,
    Fix,
    Message,
    Network,
    Reason,
    Report,
)
from tracker_protocols.wire.fields import MPS_PER_KNOT, check_place

ALARM_KINDS: Final = {b"1": "sos", b"2": "lowBattery", b"3": "geofence"}
BLIND_SPOTS_MAX: Final = 100  # manual §3.4
VP1_CELLS_MAX: Final = 16
_ANSWER_FIELDS_MAX: Final = 24  # how far into an answer its place may begin


def decode_answer(sentence: Sentence) -> list[Message]:
    """V4: which command, what came of it, the command's time; then a whole place in the longer form."""
    fields = sentence.fields
    for at in range(4, min(len(fields) - 5, _ANSWER_FIELDS_MAX)):
        if (
            len(fields[at]) in {0, 6}
            and is_location(fields, at)
            and fields[at + 1].upper() in {b"A", b"B", b"V"}
        ):
            result = b",".join(fields[3:at]).decode("latin-1")
            answer: Attributes = {"result": result}
            report = build_report(sentence, read_place(fields, at), answer)
            sent_at = report.fix.fixed_at if report.fix else report.sent_at
            return [CommandResult(sentence.device, answer, sentence.body, sent_at), report]
    result = b",".join(fields[3:]).decode("latin-1")
    return [CommandResult(sentence.device, {"result": result}, sentence.body)]


def decode_alarm(sentence: Sentence) -> Report:
    """ALRM: the alarm's number before the fields of a VI1; a short form ends at the time."""
    fields = sentence.fields
    alarm = ALARM_KINDS.get(fields[3].strip() if len(fields) > 3 else b"")
    if alarm is None:
        raise BadFrame(Reason.UNKNOWN_KIND, f"alarm {b','.join(fields[3:4])[:16]!r}")
    attributes: Attributes = {"alarm": alarm}
    if len(fields) < 13:
        return Report(sentence.device, None, attributes, sentence.body)
    return build_report(sentence, read_place(fields, 4), attributes)


def decode_blind_spots(sentence: Sentence) -> list[Report]:
    """BC: fixes kept while there was no network, parted by semicolons.

    Each tells only day and time (``DDhhmmss``): month and year are the latest that put it before the
    frame's arrival.
    """
    segments = b",".join(sentence.fields[5:]).split(b";")[:BLIND_SPOTS_MAX]
    reports = [_blind_spot(sentence, segment) for segment in segments if segment.strip()]
    if not reports:
        raise BadFrame(Reason.MALFORMED, "no point in a blind-spot upload")
    return reports


def _blind_spot(sentence: Sentence, segment: bytes) -> Report:
    values = segment.strip().split(b",")
    validity, latitude, north, longitude, east, speed, course, time = values[:8]
    y, x = degrees(latitude, north), degrees(longitude, east)
    check_place(y, x)
    knots = number(speed)
    fix = Fix(
        _latest(time.strip(), sentence.received_at),
        y,
        x,
        validity.strip().upper() in {b"A", b"B"},
        None,
        None if knots is None else knots * MPS_PER_KNOT,
        number(course),
    )
    attributes = read_status(values[8].strip()) if len(values) > 8 else {}
    attributes["archive"] = True
    network = network_of(cell_of(values[9:13], 16)) if len(values) > 12 else None
    return Report(sentence.device, fix, attributes, segment, network)


def _latest(time: bytes, received_at: datetime) -> datetime:
    """The last ``DDhhmmss`` at or before ``received_at``, with a day of grace for a device's fast clock."""
    if len(time) != 8 or not time.isdigit():
        raise BadFrame(Reason.NO_SUCH_MOMENT, f"{time[:16]!r}")
    number_ = int(time)
    day, hour, minute, second = (number_ // 10**power % 100 for power in (6, 4, 2, 0))
    month_start = received_at.astimezone(UTC).replace(day=1)
    for _ in range(3):  # a 31st is at most two months back
        try:
            found = month_start.replace(day=day, hour=hour, minute=minute, second=second, microsecond=0)
        except ValueError:
            found = None
        if found and found <= received_at + timedelta(days=1):
            return found
        month_start = (month_start - timedelta(days=1)).replace(day=1)
    raise BadFrame(Reason.NO_SUCH_MOMENT, f"day {day}, {hour}:{minute}:{second}")


def decode_vp1(sentence: Sentence) -> Report:
    """VP1: ``A`` or ``B`` and a place with a date but no time, or ``V`` and cells."""
    fields = sentence.fields
    if fields[3].upper() == b"V":
        return Report(sentence.device, None, {}, sentence.body, _vp1_cells(fields))
    latitude, north, longitude, east, speed, course, date = fields[4:11]
    y, x = degrees(latitude, north), degrees(longitude, east)
    check_place(y, x)
    knots = number(speed)
    fix = Fix(
        moment_of(date, b""),
        y,
        x,
        True,
        None,
        None if knots is None else knots * MPS_PER_KNOT,
        number(course),
    )
    attributes = read_status(fields[11]) if len(fields) > 11 else {}
    level = whole(fields[12]) if len(fields) > 12 else None
    if level is not None and level <= 100:
        attributes["batteryLevel"] = 100 if level == 99 else level  # manual: 99 is full
    return Report(sentence.device, fix, attributes, sentence.body)


def _vp1_cells(fields: list[bytes]) -> Network | None:
    """``mcc,mnc,lac,cid,signal Y lac,cid,signal Y …``: the letter parts cells, commas their values."""
    mcc, mnc = cell_number(fields[4]), cell_number(fields[5])
    cells: list[Cell] = []
    for group in b",".join(fields[6:]).split(b"Y")[:VP1_CELLS_MAX]:
        values = group.split(b",")
        if len(values) >= 2 and values[0].isdigit() and values[1].isdigit():
            signal = signal_level(values[2]) if len(values) > 2 else None
            cells.append(Cell(mcc, mnc, cell_number(values[0]), cell_number(values[1]), signal))
    return network_of(*cells)

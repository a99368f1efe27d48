"""Makers' own sentences without NMEA's layout: WMCS, Maxon, Cypress, Vanguard, and measurements between fixes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pynmea2

from tracker_protocols.model import Attributes, BadFrame, Fix, Reason
from tracker_protocols.t55.clock import moment_of
from tracker_protocols.t55.sentences import VALID, Said, Sentence, course_deg, put, speed_mps
from tracker_protocols.wire.fields import MPS_PER_KMH, check_place, device_key, moment

# WMCS: how many values follow a key, once the GPS part has begun
GPS_VALUES = {"D": 1, "T": 1, "S": 1, "LA": 2, "LO": 2, "H": 1, "V": 1, "DD": 1}
TEXT_CHARACTERS_MAX = 120  # a sentence of NMEA has at most 82


def wmcs(sentence: Sentence) -> Said:
    """``$ID,imei,number,name,[ALARM,mask,]IOP,…,GPS…,A,D,ddmmyy,T,hhmmss,S,visible:used,La,…,Lo,…``.

    Keys with their values, of which any may be missing. H degrees, V km/h, DD metres.
    """
    fields = sentence.fields
    device = device_key(sentence.padded[1])
    attributes: Attributes = {}
    gps: dict[str, list[str]] = {}
    valid = False
    at = 2
    while at < len(fields):
        key = fields[at].strip().upper()
        values = fields[at + 1 : at + 3]
        taken = 0
        if key == "ALARM" and values:
            taken = _alarm(values[0], attributes)
        elif key == "IOP":
            taken = _ports(fields[at + 1 : at + 7], attributes)
        elif key.startswith("GPS") and values:
            valid, taken, gps = values[0] in VALID, 1, {"": []}
        elif gps and key in GPS_VALUES:
            taken = GPS_VALUES[key]
            gps[key] = values[:taken]
        at += 1 + taken
    return _wmcs_report(gps, attributes, valid=valid, device=device, now=sentence.received_at)


def _alarm(text: str, attributes: Attributes) -> int:
    """A mask of alarms whose bits no public document names."""
    mask = int(text, 0)
    attributes["alarmMask"] = mask
    if mask:
        attributes["alarm"] = "general"
    return 1


def _ports(fields: list[str], attributes: Attributes) -> int:
    """``O,0x01,I,0x00``: outputs and inputs; ``M,48``: both in one mask."""
    names = {"O": "output", "I": "input", "M": "ports"}
    taken = 0
    for key, value in zip(fields[::2], fields[1::2], strict=False):
        name = names.get(key.upper())
        if name is None:
            break
        attributes[name] = int(value, 16 if value.lower().startswith("0x") else 10)
        taken += 2
    return taken


def _wmcs_report(
    gps: dict[str, list[str]], attributes: Attributes, *, valid: bool, device: str, now: datetime
) -> Said:
    fixed_at = None
    if "D" in gps and "T" in gps:
        fixed_at = moment_of(gps["D"][0], gps["T"][0])
    if "S" in gps:
        visible, _, used = gps["S"][0].partition(":")
        put(attributes, "satVisible", visible, whole=True)
        put(attributes, "sat", used, whole=True)
    if "DD" in gps:
        put(attributes, "odometer", gps["DD"][0])
    if "LA" not in gps or "LO" not in gps:
        return Said(None, attributes, device, fixed_at)
    latitude, longitude = _signed(gps["LA"]), _signed(gps["LO"])
    check_place(latitude, longitude)
    fix = Fix(
        fixed_at or now,
        latitude,
        longitude,
        valid,
        None,
        speed_mps(gps["V"][0], MPS_PER_KMH) if "V" in gps else None,
        course_deg(gps["H"][0]) if "H" in gps else None,
    )
    return Said(fix, attributes, device)


def _signed(said: Sequence[str]) -> float:
    """Decimal degrees with N, S, E or W."""
    degrees, hemisphere = said  # a ValueError where there are not two
    if hemisphere.upper() not in {"N", "S", "E", "W"}:
        raise BadFrame(Reason.MALFORMED, f"hemisphere {hemisphere!r}")
    return -float(degrees) if hemisphere.upper() in {"S", "W"} else float(degrees)


def connect(sentence: Sentence) -> Said:
    """``$CONNECT,imei,NETWORK,"operator",RO,…,LAC,hex,CID,hex,V,version``: WMCS's login."""
    attributes: Attributes = {}
    fields = sentence.fields
    values = dict(zip(fields[2::2], fields[3::2], strict=False))
    operator = values.get("NETWORK", "").strip('"')
    if operator:
        attributes["operator"] = operator[:TEXT_CHARACTERS_MAX]
    if "V" in values:
        attributes["versionFw"] = values["V"][:TEXT_CHARACTERS_MAX]
    for name in ("LAC", "CID"):
        if name in values:
            attributes[name.lower()] = int(values[name], 16)
    return Said(None, attributes, device_key(sentence.padded[1]))


def gpiop(sentence: Sentence) -> Said:
    """``$GPIOP,inputs,outputs,V,V,V,V,V,V``: two masks in binary digits, four analogs, power, battery."""
    padded = sentence.padded
    attributes: Attributes = {}
    for name, text in (("input", padded[1]), ("output", padded[2])):
        if text:
            attributes[name] = int(text, 2)
    for at, name in enumerate(("adc1", "adc2", "adc3", "adc4", "power", "battery"), 3):
        put(attributes, name, padded[at])
    return Said(None, attributes)


def txt(sentence: Sentence) -> Said:
    """``$GPTXT,NET,id,operator,dBm,mcc mnc``: a modem's; NMEA's own TXT are the receiver's notes."""
    padded = sentence.padded
    if padded[1].upper() != "NET" or not padded[2]:
        return Said()
    attributes: Attributes = {}
    if padded[3]:
        attributes["operator"] = padded[3][:TEXT_CHARACTERS_MAX]
    put(attributes, "rssi", padded[4], whole=True)
    mcc, _, mnc = padded[5].strip().partition(" ")
    put(attributes, "mcc", mcc, whole=True)
    put(attributes, "mnc", mnc, whole=True)
    return Said(None, attributes, device_key(padded[2]))


def pind(sentence: Sentence) -> Said:
    """``$PIND,abcdef,ticks``: inputs 1 to 6 (8 on the CTM-200 r2), then how often input 1 was triggered."""
    padded = sentence.padded
    if not set(padded[1]) <= {"0", "1"}:
        raise BadFrame(Reason.MALFORMED, f"inputs {padded[1]!r}")
    attributes: Attributes = {f"in{n}": bit == "1" for n, bit in enumerate(padded[1][:8], 1)}
    put(attributes, "input1Count", padded[2], whole=True)
    return Said(None, attributes)


def pina(sentence: Sentence) -> Said:
    """``$PINA,n,volts``: one analog input."""
    padded = sentence.padded
    attributes: Attributes = {}
    put(attributes, f"adc{int(padded[1])}", padded[2])
    return Said(None, attributes)


def pctm(sentence: Sentence) -> Said:
    """``$PCTM,-87dBm,…`` on a cellular network, ``$PCTM,IEEE…,essid,mac,txdBm,lq,rxdBm,…`` on Wi-Fi."""
    padded = sentence.padded
    attributes: Attributes = {}
    text = padded[6] if padded[1].upper().startswith("IEEE") else padded[1]
    put(attributes, "rssi", text.upper().removesuffix("DBM"), whole=True)
    return Said(None, attributes)


def pnetd2(sentence: Sentence) -> Said:
    """``$PNETD2,id=…,imei=…,fwver=…,iccid=…``: what the modem is."""
    values = dict(field.strip().lower().split("=", 1) for field in sentence.fields[1:] if "=" in field)
    attributes: Attributes = {}
    for name, key in (("iccid", "iccid"), ("versionFw", "fwver")):
        if values.get(key, "unknown") != "unknown":
            attributes[name] = values[key][:TEXT_CHARACTERS_MAX]
    return Said(None, attributes, device_key(values["id"]))


def alr(sentence: Sentence) -> Said:
    """``$--ALR,hhmmss,number,A,V,text``: an alarm's condition (A: it holds), whether acknowledged, its text."""
    padded = sentence.padded
    attributes: Attributes = {"event": padded[5][:TEXT_CHARACTERS_MAX]}
    put(attributes, "alarmNumber", padded[2], whole=True)
    if padded[3].upper() == "A":
        attributes["alarm"] = "general"
    return Said(None, attributes, None, sentence.at(padded[1]))


def gsa(sentence: Sentence) -> Said:
    """The dilutions of precision."""
    said = pynmea2.parse(",".join(sentence.fields))
    attributes: Attributes = {}
    for name in ("pdop", "hdop", "vdop"):
        put(attributes, name, str(getattr(said, name, "")))
    return Said(None, attributes)


def gsv(sentence: Sentence) -> Said:
    """How many satellites of one system are in view."""
    said = pynmea2.parse(",".join(sentence.fields))
    attributes: Attributes = {}
    put(attributes, "satVisible", str(getattr(said, "num_sv_in_view", "")), whole=True)
    return Said(None, attributes)


def zda(sentence: Sentence) -> Said:
    """``$--ZDA,hhmmss,dd,mm,yyyy,…``: the date, for sentences that have none."""
    padded = sentence.padded
    if padded[4]:
        time = sentence.at(padded[1]).timetz()
        day = moment(int(padded[4]), int(padded[3]), int(padded[2]))
        sentence.dated(datetime.combine(day, time))
    return Said()

"""Frames to words: for people, as JSON, line by line; and what cannot be read is said, not raised."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.terminal import Terminal
from tracker_protocols.json.decoder import JsonDecoder

LOGIN = "78780d01086471700328358100093f040d0a"
MONTH_11 = "*HQ,1234567890,V1,081532,A,5213.1200,N,02100.4500,E,012.40,090,141125,FFFFFBFF#"
MONTH_13 = MONTH_11.replace("141125", "141325")
REQUEST = b"GET /?id=T1&lat=1.5&lon=2&timestamp=1772366400 HTTP/1.1\r\n\r\n"


def lines(said: str) -> list[str]:
    return [" ".join(line.split()) for line in said.splitlines() if line.strip()]


def test_a_frame_for_people(bare: Terminal) -> None:
    assert lines(bare.ok("decode", "gt06", LOGIN)) == [
        f"frame 1, 18 bytes: {LOGIN}",
        "login",
        "device_id 864717003283581",
        "reply 78780501000955940d0a",
    ]


def test_a_report_for_people(bare: Terminal) -> None:
    found = lines(bare.ok("decode", "h02", "--text", MONTH_11))
    assert found[1] == "report"
    assert {
        "device_id 1234567890",
        "fixed_at 2025-11-14T08:15:32Z",
        "longitude 21.0075",
        "ignition no",
    } - set(found) <= {"longitude 21.0075"}
    assert any(line.startswith("longitude 21.007") for line in found)


def test_an_undecodable_frame_for_people(bare: Terminal) -> None:
    found = lines(bare.ok("decode", "h02", "--text", MONTH_13))
    assert found[1:4] == ["undecoded", "device_id 1234567890", "reason no such moment"]


def test_frames_are_one_conversation_however_they_are_cut(bare: Terminal) -> None:
    whole = bare.ok("decode", "gt06", LOGIN, "--format", "json")
    assert bare.ok("decode", "gt06", LOGIN[:10], LOGIN[10:], "--format", "json") == whole
    assert bare.ok("decode", "gt06", " ".join((LOGIN[:4], LOGIN[4:])), "--format", "json") == whole
    (frame,) = json.loads(whole)
    assert frame == {
        "frame": LOGIN,
        "messages": [{"type": "login", "device_id": "864717003283581"}],
        "replies": ["78780501000955940d0a"],
    }


def test_what_is_no_frame_is_counted(bare: Terminal) -> None:
    said = bare("decode", "gt06", f"ffff{LOGIN}7878")
    assert said.code == 0
    assert "2 bytes belong to no frame of gt06" in said.err
    assert "2 bytes are the beginning of a frame that is not whole" in said.err


def test_datagrams_and_requests(bare: Terminal) -> None:
    (frame,) = json.loads(bare.ok("decode", "osmand", REQUEST.hex(), "--format", "json"))
    assert frame["messages"][0]["fix"]["latitude"] == 1.5
    twice = json.loads(
        bare.ok(
            "decode", "h02", "--udp", MONTH_11.encode().hex(), MONTH_13.encode().hex(), "--format", "json"
        )
    )
    assert [one["messages"][0]["type"] for one in twice] == ["report", "undecoded"]


def test_line_ends_in_text(bare: Terminal) -> None:
    text = "IMEI 356307042441013"
    assert "device_id      356307042441013" in bare.ok("decode", "t55", "--text", text + r"\r\n")
    assert "a frame that is not whole" in bare("decode", "t55", "--text", text).err


# ---------------------------------------------------------------------- JSON lines


def answers(terminal: Terminal, protocol: str, *rows: Any) -> list[dict[str, Any]]:
    text = "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    said = terminal.ok("decode", protocol, "--jsonl", stdin=text)
    return [json.loads(line) for line in said.splitlines()]


@pytest.mark.parametrize("received_at", ["2026-03-01T12:00:00Z", "2031-07-09T18:00:00+03:00"])
def test_a_time_without_a_date_is_of_the_day_of_receipt(bare: Terminal, received_at: str) -> None:
    name = "350000000000011"
    sentence = "$GPGGA,101530.00,5213.12,N,02100.45,E,1,08,0.9,120.0,M,34.0,M,,"
    said = bare.ok(
        "decode",
        "t55",
        "--text",
        f"$PGID,{name}\\r\\n{sentence}\\r\\n",
        "--format",
        "json",
        "--received-at",
        received_at,
    )
    fixes = [
        message["fix"] for frame in json.loads(said) for message in frame["messages"] if message.get("fix")
    ]
    assert [fix["fixed_at"][:19] for fix in fixes] == [f"{received_at[:10]}T10:15:30"]


def test_each_line_is_answered_by_a_line(bare: Terminal) -> None:
    row = {"sequence": 1, "frame": {"kind": "binary", "hex": LOGIN}}
    found = answers(bare, "gt06", row, "", {"frame": {"kind": "text", "text": "??"}})
    assert len(found) == 2
    assert found[0]["messages"] == [{"type": "login", "device_id": "864717003283581"}]
    assert found[1]["messages"][0]["type"] == "undecoded"


def test_a_new_sequence_is_a_new_connection(bare: Terminal) -> None:
    """A report that does not name its device means nothing to a connection that has not said who it is."""
    sentence = "$GPRMC,120000.000,A,5206.00000,N,02100.00000,E,0.00,0.00,010326,,,A*69"
    name, fix = {"kind": "text", "text": "IMEI 356307042441013"}, {"kind": "text", "text": sentence}
    rows = [{"sequence": 1, "frame": name}, {"sequence": 1, "frame": fix}, {"sequence": 2, "frame": fix}]
    *_, known, unknown = answers(bare, "t55", *rows)
    assert known["messages"][0]["device_id"] == "356307042441013"
    assert unknown["messages"][0]["device_id"] is None


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        "[]",
        "{}",
        '{"frame": {}}',
        '{"frame": {"kind": "smoke", "hex": ""}}',
        '{"frame": {"kind": "binary", "hex": "0"}}',
        '{"frame": {"kind": "binary"}}',
        '{"frame": {"kind": "text", "text": "\\u20ac"}}',
        '{"frame": {"kind": "http", "method": "GET", "uri": "/"}}',
        '{"frame": "78"}',
        "3",
    ],
)
def test_a_line_that_cannot_be_read_is_answered_too(bare: Terminal, line: str) -> None:
    bad, good = answers(bare, "gt06", line, {"frame": {"kind": "binary", "hex": LOGIN}})
    assert bad["error"].startswith("this line cannot be read: ")
    assert "error" not in good


def test_requests_as_lines(bare: Terminal) -> None:
    frame = {
        "kind": "http",
        "method": "GET",
        "uri": "/?id=T1&lat=1&lon=2&timestamp=1772366400",
        "headers": {},
    }
    (found,) = answers(bare, "osmand", {"frame": frame})
    assert found["messages"][0]["device_id"] == "T1"


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["gt66", LOGIN], "PROTOCOL: no protocol is named 'gt66'; did you mean 'gt06'?"),
        (["zzzz", LOGIN], "PROTOCOL: no protocol is named 'zzzz'; `tracker-server protocols` lists them"),
        (["gt06"], "HEX: nothing to decode; give frames in hexadecimal, or --jsonl"),
        (["gt06", "7"], "HEX: '7' is not hexadecimal"),
        (["gt06", "zz"], "HEX: 'zz' is not hexadecimal; write two digits"),
        (["gt06", "--text", "€"], "HEX: '€' holds characters that are no bytes of ISO 8859-1"),
        (["gt06", "--jsonl", LOGIN], "--jsonl: the frames come from standard input"),
        ([], "PROTOCOL requires an argument"),
    ],
)
def test_wrong_use(bare: Terminal, arguments: list[str], sentence: str) -> None:
    assert sentence in bare.wrong("decode", *arguments)


def test_a_mapping_is_tried_by_command(bare: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JsonDecoder, "mappings", {})  # whose program this is ends with the test
    good = bare.folder / "good.toml"
    good.write_text('[mappings.m]\nlatitude = "p[0]"\nlongitude = "p[1]"\ndevice = "n"\nothers = "@"\n')
    text = '{"n":"7","p":[1,2],"bat":5}'
    (frame,) = bare.json("decode", "json", "--mapping", str(good), "--text", text)
    (message,) = frame["messages"]
    assert (message["device_id"], message["attributes"], message["fix"]["longitude"]) == (
        "7",
        {"bat": 5},
        2.0,
    )
    unreadable = '{"p":[1,"x"],"bat":5}'  # and no device: the topic or the connection names it
    timed = bare.folder / "timed.toml"
    timed.write_text('latitude = "a"\nlongitude = "o"\ntime = "t"\nrecords = "data"\n')
    for file, text, said in (
        (good, unreadable, "longitude (path 'p[1]'): 'x' is no number"),
        (
            timed,
            '{"data":{"a":1,"o":2,"t":"soon"}}',
            "time (path 't'): 'soon' is no moment in the time_format 'auto'",
        ),
        (timed, '{"data":7}', "records (path 'data'): '7' is no object, nor an array of them"),
        (good, "7", "JSON: '7' is no object, nor an array of them"),
    ):
        (frame,) = bare.json("decode", "json", "--mapping", str(file), "--text", text)
        assert frame["messages"][0]["detail"] == said
    misplaced = bare("decode", "json", "--mapping", str(good), "--text", '{"n":"7","q":[1,2]}')
    assert misplaced.code == 0
    assert "records without a place: 1; nothing, or 0 and 0, is at latitude (path 'p[0]')" in misplaced.err
    bad = bare.folder / "bad.toml"
    bad.write_text('latitude = "p["\nlongitude = "x"\n')
    assert "latitude: 'p[' is no JMESPath" in bare.wrong("decode", "json", "--mapping", str(bad), "00")
    assert "belongs to the protocol json" in bare.wrong("decode", "gt06", "--mapping", str(good), "00")
    assert "cannot be read as TOML" in bare.wrong("decode", "json", "--mapping", "/no/such", "00")

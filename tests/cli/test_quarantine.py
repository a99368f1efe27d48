"""Kept frames are listed, dropped, and replayed: each report once, whatever happens meanwhile."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.cli.terminal import Terminal
from tests.servers.waiting import wait_until
from tests.storage.rows import count, query
from tracker_protocols import ALL, BY_NAME
from tracker_protocols.model import Fix
from tracker_protocols.protocol import Protocol
from tracker_protocols.wire.checksums import record_digest
from tracker_protocols.wire.decoder import StreamDecoder, request_bytes
from tracker_protocols.wire.device import Device
from tracker_server.storage import quarantine_replay

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
IMEI = "356307042441013"
UNKNOWN = "unknown device"


def frame_of(protocol: Protocol, unique_id: str, *fixed: datetime) -> bytes:
    """One frame as the server's own framing cuts it from what the device's side sends."""
    device = protocol.device(unique_id)
    fixes = [Fix(at, 52.0, 21.0, speed_mps=10.0, course_deg=271.0) for at in fixed]
    if not isinstance(device, Device):
        return request_bytes(device.report(fixes).request)
    decoder = protocol.decoder(unique_id)
    assert isinstance(decoder, StreamDecoder)
    (frame,) = decoder.receive_data(device.report(fixes).data, NOON)
    return frame.data


def keep(
    dsn: str,
    frame: bytes,
    protocol: str = "gt06",
    *,
    unique_id: str = IMEI,
    reason: str = UNKNOWN,
    received_at: datetime = NOON,
    transport: str = "",
) -> None:
    """A frame in quarantine, as the writer puts it there."""
    if not transport:
        transport = str(BY_NAME[protocol].transports[0]) if protocol in BY_NAME else "tcp"
    query(
        dsn,
        "INSERT INTO core.quarantine (received_at, unique_id, protocol, transport, remote, reason, reports, frame, digest)"
        " VALUES (%s, %s, %s, %s, '10.0.0.1:5', %s, 1, %s, %s)",
        [received_at, unique_id, protocol, transport, reason, frame, record_digest(frame)],
    )


def keep_many(dsn: str, frames: int) -> None:
    gt06 = BY_NAME["gt06"]
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        rows: list[Any] = []
        for n in range(frames):
            at = NOON + n * SECOND
            frame = frame_of(gt06, IMEI, at)
            rows.append((at, frame, record_digest(frame)))
        cursor.executemany(
            "INSERT INTO core.quarantine (received_at, unique_id, protocol, transport, remote, reason, reports, frame, digest)"
            f" VALUES (%s, '{IMEI}', 'gt06', 'tcp', '10.0.0.1:5', 'unknown device', 1, %s, %s)",
            rows,
        )


def stored(dsn: str) -> list[dict[str, Any]]:
    return query(
        dsn,
        "SELECT p.*, d.unique_id FROM core.positions p JOIN core.devices d ON d.id = device_id ORDER BY fixed_at",
    )


def kept(dsn: str) -> list[tuple[str, str]]:
    return [
        (row["unique_id"], row["reason"]) for row in query(dsn, "SELECT * FROM core.quarantine ORDER BY id")
    ]


# ---------------------------------------------------------------------- replay


@pytest.mark.parametrize("protocol", ALL, ids=lambda protocol: protocol.name)
def test_every_protocols_frames_are_stored_once_their_tracker_is_added(
    both_homes: Terminal, protocol: Protocol
) -> None:
    """With the moment at which they came, and by whom their connection was."""
    dsn = both_homes.dsn
    for n in range(3):
        fixed_at = NOON + n * timedelta(minutes=1)
        keep(dsn, frame_of(protocol, IMEI, fixed_at), protocol.name, received_at=fixed_at + 7 * SECOND)
    said = both_homes.ok("device", "add", IMEI)
    assert f"3 frames of it in quarantine: `tracker-server quarantine replay --device {IMEI}`" in said
    said = both_homes.ok("quarantine", "replay", "--device", IMEI)
    assert said.strip() == "3 of 3 frames replayed: 3 reports stored"
    rows = stored(dsn)
    assert [row["fixed_at"] for row in rows] == [NOON + n * timedelta(minutes=1) for n in range(3)]
    assert [row["received_at"] - row["fixed_at"] for row in rows] == [7 * SECOND] * 3
    assert {(row["unique_id"], row["protocol"]) for row in rows} == {(IMEI, protocol.name)}
    assert kept(dsn) == []
    (shown,) = both_homes.json("device", "list")
    assert shown["latest_fixed_at"] == "2026-03-01T12:02:00Z"
    assert shown["contact_at"] == "2026-03-01T12:02:07Z"


def test_what_a_replay_finds_is_told_while_it_is_news(terminal: Terminal) -> None:
    """A device that was unknown until a minute ago stood in a fence then, and a month ago."""
    now = datetime.now(UTC).replace(microsecond=0)
    gt06 = BY_NAME["gt06"]
    for at in (now - timedelta(days=30), now - timedelta(minutes=1)):
        keep(terminal.dsn, frame_of(gt06, IMEI, at), received_at=at)
    terminal.ok("device", "add", IMEI)
    terminal.ok("fence", "add", "Here", "--account", "default", "--circle", "52.0,21.0,200")
    query(terminal.dsn, "UPDATE core.fences SET created_at = '2020-01-01Z'")
    rule = ("alert", "rule", "add", "--account", "default", "--on", "geofenceEnter,deviceOnline")
    terminal.ok(*rule, "--channel", "email", "--to", "a@example.com")
    terminal.ok("quarantine", "replay")
    told = query(terminal.dsn, "SELECT event_type, event_at FROM core.outbox ORDER BY event_id")
    assert [(one["event_type"], one["event_at"] >= now - timedelta(minutes=1)) for one in told] == [
        ("deviceOnline", True)
    ], "the fence was entered a month ago"
    far = now - timedelta(seconds=30)
    keep(terminal.dsn, frame_of(gt06, IMEI, far), received_at=far)
    terminal.ok("device", "hold", IMEI, "--reason", "unpaid")
    terminal.ok("quarantine", "replay")
    assert len(query(terminal.dsn, "SELECT id FROM core.outbox")) == 1


def test_datagrams_are_read_as_datagrams(terminal: Terminal) -> None:
    """Teltonika's UDP wraps the packet in a header of its own, which a stream has not."""
    device = BY_NAME["teltonika"].device(IMEI)
    assert isinstance(device, Device)
    keep(terminal.dsn, device.datagram([Fix(NOON, 52.0, 21.0)]).data, "teltonika", transport="udp")
    terminal.ok("device", "add", IMEI)
    assert "1 of 1 frame replayed: 1 report stored" in terminal.ok("quarantine", "replay")
    assert len(stored(terminal.dsn)) == 1


def test_only_the_frames_of_one_tracker(terminal: Terminal) -> None:
    for unique_id in ("356307042441013", "356307042441021"):
        keep(terminal.dsn, frame_of(BY_NAME["gt06"], unique_id, NOON), unique_id=unique_id)
        terminal.ok("device", "add", unique_id)
    terminal.ok("quarantine", "replay", "--device", "356307042441021")
    assert [row["unique_id"] for row in stored(terminal.dsn)] == ["356307042441021"]
    assert kept(terminal.dsn) == [("356307042441013", UNKNOWN)]


def test_a_limit_takes_the_oldest_first(terminal: Terminal) -> None:
    gt06 = BY_NAME["gt06"]
    for minutes in (3, 1, 2):
        at = NOON + timedelta(minutes=minutes)
        keep(terminal.dsn, frame_of(gt06, IMEI, at), received_at=at)
    terminal.ok("device", "add", IMEI)
    assert "2 of 2 frames replayed" in terminal.ok("quarantine", "replay", "--limit", "2")
    assert [row["fixed_at"].minute for row in stored(terminal.dsn)] == [1, 2]


def test_more_than_a_page(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine_replay, "PAGE_FRAMES", 7)
    keep_many(terminal.dsn, 24)
    terminal.ok("device", "add", IMEI)
    assert "24 of 24 frames replayed: 24 reports stored" in terminal.ok("quarantine", "replay")
    assert len(stored(terminal.dsn)) == 24


def test_what_is_stored_already_is_not_stored_again(terminal: Terminal) -> None:
    keep_many(terminal.dsn, 5)
    terminal.ok("device", "add", IMEI)
    terminal.ok("quarantine", "replay")
    keep_many(terminal.dsn, 7)
    said = terminal.ok("quarantine", "replay")
    assert "7 of 7 frames replayed: 2 reports stored, 5 stored already" in said
    assert len(stored(terminal.dsn)) == 7


def test_stopped_between_the_commit_and_the_deletion(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worst moment: everything is stored and everything is still kept."""
    keep_many(terminal.dsn, 5)
    terminal.ok("device", "add", IMEI)

    async def power_cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(quarantine_replay, "delete_frames", power_cut)
        assert terminal("quarantine", "replay").code == 130
    assert (len(stored(terminal.dsn)), len(kept(terminal.dsn))) == (5, 5)
    assert "0 reports stored, 5 stored already" in terminal.ok("quarantine", "replay")
    assert (len(stored(terminal.dsn)), len(kept(terminal.dsn))) == (5, 0)


def test_kill_9_in_the_middle_loses_nothing_and_doubles_nothing(both_homes: Terminal) -> None:
    frames = 3_000
    dsn = both_homes.dsn
    keep_many(dsn, frames)
    both_homes.ok("device", "add", IMEI)
    process = both_homes.program("quarantine", "replay")
    try:
        wait_until("some of it to be stored", lambda: count(dsn, "core.positions"))
    finally:
        process.kill()
        process.communicate()
    left = count(dsn, "core.quarantine")
    assert left + count(dsn, "core.positions") >= frames
    both_homes.ok("quarantine", "replay")
    assert (count(dsn, "core.positions"), count(dsn, "core.quarantine")) == (frames, 0)


# ---------------------------------------------------------------------- what stays


def test_frames_of_unknown_trackers_and_of_nobody_stay(terminal: Terminal) -> None:
    keep(terminal.dsn, frame_of(BY_NAME["gt06"], IMEI, NOON))
    keep(terminal.dsn, frame_of(BY_NAME["gt06"], IMEI, NOON), unique_id="", reason="no device")
    said = terminal.ok("quarantine", "replay")
    assert said.splitlines() == [
        "0 of 2 frames replayed: 0 reports stored",
        "2 frames stay: 1 no device, 1 unknown device",
    ]
    assert kept(terminal.dsn) == [(IMEI, UNKNOWN), ("", "no device")]


def test_frames_that_still_cannot_be_read_stay(terminal: Terminal) -> None:
    month_13 = b"*HQ,356307042441013,V1,120000,A,5206.0000,N,02100.0000,E,000.00,000,011326,FFFFFFFF#"
    keep(terminal.dsn, month_13, "h02", reason="undecoded")
    terminal.ok("device", "add", IMEI)
    assert "1 frame stays: 1 undecoded" in terminal.ok("quarantine", "replay")
    assert kept(terminal.dsn) == [(IMEI, "undecoded")]


def test_a_decoder_that_was_mended(terminal: Terminal) -> None:
    """The frame could not be read then and can be now."""
    keep(terminal.dsn, frame_of(BY_NAME["gt06"], IMEI, NOON), reason="undecoded")
    terminal.ok("device", "add", IMEI)
    assert "1 of 1 frame replayed: 1 report stored" in terminal.ok("quarantine", "replay")
    assert kept(terminal.dsn) == []


def test_the_future_stays_until_it_has_come(terminal: Terminal) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    gt06 = BY_NAME["gt06"]
    arrived, ahead = now - timedelta(days=1), now + timedelta(days=3)
    keep(terminal.dsn, frame_of(gt06, IMEI, arrived), reason="future", received_at=now - timedelta(days=4))
    keep(terminal.dsn, frame_of(gt06, IMEI, ahead), reason="future", received_at=now)
    terminal.ok("device", "add", IMEI)
    said = terminal.ok("quarantine", "replay")
    assert "1 of 2 frames replayed: 1 report stored" in said
    assert "1 frame stays: 1 future" in said
    assert [row["fixed_at"] for row in stored(terminal.dsn)] == [arrived]
    terminal.set(ingest__future_max_s=4 * 86_400)
    assert "1 of 1 frame replayed" in terminal.ok("quarantine", "replay")
    assert kept(terminal.dsn) == []


def test_before_2000_stays(terminal: Terminal) -> None:
    request = b"GET /?id=T1&lat=1&lon=2&timestamp=315964800 HTTP/1.1\r\n\r\n"
    keep(terminal.dsn, request, "osmand", unique_id="T1", reason="past")
    terminal.ok("device", "add", "T1")
    assert "1 frame stays: 1 past" in terminal.ok("quarantine", "replay")
    assert kept(terminal.dsn) == [("T1", "past")]


def test_one_report_of_a_packet_stays_behind(terminal: Terminal) -> None:
    """Nine of ten can be stored: they are, once; the packet stays for the tenth."""
    now = datetime.now(UTC).replace(microsecond=0)
    times = [now - n * SECOND for n in range(9)] + [now + timedelta(days=2)]
    keep(terminal.dsn, frame_of(BY_NAME["teltonika"], IMEI, *times), "teltonika", received_at=now)
    terminal.ok("device", "add", IMEI)
    said = terminal.ok("quarantine", "replay")
    assert "0 of 1 frame replayed: 9 reports stored" in said
    assert kept(terminal.dsn) == [(IMEI, "future")], "it is kept for what is wrong with it now"
    assert "0 reports stored, 9 stored already" in terminal.ok("quarantine", "replay")
    assert kept(terminal.dsn) == [(IMEI, "future")]
    assert len(stored(terminal.dsn)) == 9


def test_what_the_database_refuses_stays_through_every_replay(terminal: Terminal) -> None:
    """An operator's own constraint, say."""
    query(terminal.dsn, "ALTER TABLE core.positions ADD CHECK (attributes ->> 'note' <> 'bad')")
    request = b"GET /?id=T1&lat=1&lon=2&timestamp=1772366400&note=bad HTTP/1.1\r\n\r\n"
    keep(terminal.dsn, request, "osmand", unique_id="T1")
    keep(terminal.dsn, request.replace(b"bad", b"good"), "osmand", unique_id="T1")
    terminal.ok("device", "add", "T1")
    said = terminal.ok("quarantine", "replay")
    assert "1 of 2 frames replayed: 1 report stored" in said
    assert "1 frame stays: 1 refused by the database" in said
    for _ in range(2):
        assert kept(terminal.dsn) == [("T1", "refused by the database")]
        (row,) = query(terminal.dsn, "SELECT frame, received_at FROM core.quarantine")
        assert (row["frame"], row["received_at"]) == (request, NOON)
        assert "1 frame stays: 1 refused by the database" in terminal.ok("quarantine", "replay")
    assert len(stored(terminal.dsn)) == 1


def test_a_protocol_that_is_no_longer_spoken(terminal: Terminal) -> None:
    keep(terminal.dsn, b"x", "telex", transport="tcp")
    assert "1 frame stays: 1 no such protocol" in terminal.ok("quarantine", "replay")
    assert kept(terminal.dsn) == [(IMEI, UNKNOWN)]


def test_a_defect_of_ours_costs_one_frame(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_many(terminal.dsn, 3)
    terminal.ok("device", "add", IMEI)
    decode, calls = quarantine_replay.decode, iter(range(3))

    def fail_once(frame: Any) -> Any:
        if next(calls) == 1:
            raise ZeroDivisionError
        return decode(frame)

    monkeypatch.setattr(quarantine_replay, "decode", fail_once)
    said = terminal("quarantine", "replay")
    assert "2 of 3 frames replayed: 2 reports stored" in said.out
    assert "1 frame stays: 1 a defect of ours" in said.out
    assert "ZeroDivisionError" in said.err
    assert len(kept(terminal.dsn)) == 1


def test_where_unknown_trackers_are_registered_a_replay_registers_them(terminal: Terminal) -> None:
    keep(terminal.dsn, frame_of(BY_NAME["gt06"], IMEI, NOON))
    terminal.set(devices__unknown="register")
    assert "1 of 1 frame replayed" in terminal.ok("quarantine", "replay", "--device", IMEI)
    assert [row["unique_id"] for row in terminal.json("device", "list")] == [IMEI]


def test_heartbeats_and_logins_hold_nothing_to_store(terminal: Terminal) -> None:
    device = BY_NAME["gt06"].device(IMEI)
    assert isinstance(device, Device)
    login = device.login()
    assert login is not None
    keep(terminal.dsn, login.data, reason="undecoded")
    assert "1 of 1 frame replayed: 0 reports stored" in terminal.ok("quarantine", "replay")
    assert kept(terminal.dsn) == []


def test_a_replay_of_nothing(terminal: Terminal) -> None:
    assert terminal.ok("quarantine", "replay").strip() == "nothing waits in quarantine"
    terminal.ok("device", "add", "T1")
    assert terminal.ok("quarantine", "replay", "--device", "T1").strip() == "nothing waits in quarantine"


def test_replaying_for_a_tracker_that_is_not_there(terminal: Terminal) -> None:
    keep(terminal.dsn, frame_of(BY_NAME["gt06"], IMEI, NOON))
    said = terminal.refused("quarantine", "replay", "--device", IMEI)
    assert f"--device: there is no tracker '{IMEI}', and 1 frame of it in quarantine" in said
    assert f"`tracker-server device add {IMEI}` adds it" in said
    assert "nothing of it is in quarantine" in terminal.refused("quarantine", "replay", "--device", "T9")
    assert len(kept(terminal.dsn)) == 1
    hint = f"1 frame of it in quarantine: `tracker-server device add {IMEI}` adds it"
    assert hint in terminal.refused("positions", IMEI)
    assert "1 frame of it in quarantine; " in terminal.refused("device", "show", IMEI)


# ---------------------------------------------------------------------- list and drop


def three(terminal: Terminal) -> None:
    keep(terminal.dsn, b"\x02", unique_id="", reason="no device", received_at=NOON)
    keep(terminal.dsn, b"\x01" * 60, received_at=NOON + SECOND)
    keep(terminal.dsn, b"GET /", "osmand", unique_id="T1", reason="undecoded", received_at=NOON + 2 * SECOND)


def test_the_list_has_whole_frames_newest_first(terminal: Terminal) -> None:
    three(terminal)
    rows = terminal.json("quarantine", "list")
    assert [row["frame"] for row in rows] == [b"GET /".hex(), "01" * 60, "02"]
    assert rows[1] == {
        "id": rows[1]["id"], "received_at": "2026-03-01T12:00:01Z", "unique_id": IMEI, "protocol": "gt06",
        "transport": "tcp", "remote": "10.0.0.1:5", "reason": UNKNOWN, "detail": "", "reports": 1,
        "frame_bytes": 60, "frame": "01" * 60,
    }  # fmt: skip
    assert len(list(csv.reader(io.StringIO(terminal.ok("quarantine", "list", "--format", "csv"))))) == 4
    table = terminal.ok("quarantine", "list")
    assert "01" * 24 + "…" in table
    assert "01" * 25 not in table


@pytest.mark.parametrize(
    ("flags", "frames"),
    [
        (["--device", IMEI], ["01" * 60]),
        (["--device", ""], ["02"]),
        (["--reason", "undecoded"], [b"GET /".hex()]),
        (["--protocol", "gt06"], ["01" * 60, "02"]),
        (["--before", "2026-03-01T12:00:01Z"], ["02"]),
        (["--protocol", "gt06", "--reason", "no device"], ["02"]),
        (["--limit", "1"], [b"GET /".hex()]),
        (["--device", "T9"], []),
    ],
)
def test_frames_are_chosen_by_all_that_is_given(
    terminal: Terminal, flags: list[str], frames: list[str]
) -> None:
    three(terminal)
    assert [row["frame"] for row in terminal.json("quarantine", "list", *flags)] == frames


def test_a_table_shows_the_newest_hundred_and_says_so(terminal: Terminal) -> None:
    keep_many(terminal.dsn, 101)
    table = terminal.ok("quarantine", "list")
    assert "100 of 101 frames; --limit shows more" in table
    assert "12:01:40" in table
    assert "12:00:00" not in table
    assert "101 frames;" not in terminal.ok("quarantine", "list", "--limit", "200")
    assert len(terminal.json("quarantine", "list")) == 101


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--reason", "boredom"], "--reason: 'boredom' is none; there are: unknown device, no device"),
        (["--protocol", "telex"], "--protocol: no protocol is named 'telex'"),
        (["--before", "soon"], "--before: 'soon' is no time"),
        (["--device", "a\tb"], "--device: 'a\\tb' cannot be a tracker's identifier"),
    ],
)
@pytest.mark.parametrize("command", ["list", "drop"])
def test_a_choice_that_cannot_be_meant(bare: Terminal, command: str, flags: list[str], sentence: str) -> None:
    assert sentence in bare.wrong("quarantine", command, *flags)


@pytest.mark.parametrize("command", ["list", "replay"])
def test_a_limit_that_cannot_be_meant(bare: Terminal, command: str) -> None:
    assert "--limit: 0 is too small; write a number from 1 on" in bare.wrong(
        "quarantine", command, "--limit", "0"
    )
    assert "--limit" in bare.wrong("quarantine", command, "--limit", "many")


def test_dropping_deletes_what_was_chosen(terminal: Terminal) -> None:
    three(terminal)
    assert terminal.ok("quarantine", "drop", "--device", "T1").strip() == "1 frame deleted"
    assert kept(terminal.dsn) == [("", "no device"), (IMEI, UNKNOWN)]
    assert (
        terminal.ok("quarantine", "drop", "--device", "", "--before", "2026-03-02").strip()
        == "1 frame deleted"
    )
    assert kept(terminal.dsn) == [(IMEI, UNKNOWN)]


def test_dropping_without_a_choice_takes_the_word_all(terminal: Terminal) -> None:
    three(terminal)
    assert "which frames?" in terminal.wrong("quarantine", "drop")
    assert "which frames?" in terminal.wrong("quarantine", "drop", "--all", "--device", "T1")
    assert len(kept(terminal.dsn)) == 3
    assert terminal.ok("quarantine", "drop", "--all").strip() == "3 frames deleted"
    assert kept(terminal.dsn) == []

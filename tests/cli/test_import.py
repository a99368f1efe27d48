"""A Traccar database of this test's own making, brought over: whole, resumed, repeated, and what cannot be."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Generator
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.cli.terminal import Terminal
from tests.servers.postgres import SharedPostgres
from tests.storage.rows import query
from tracker_server.api.passwords import Passwords

# The columns that matter, as a server of version 6 makes them in PostgreSQL.
SCHEMA = """
CREATE TABLE tc_users (id int PRIMARY KEY, name text, email text, hashedpassword text, salt text, readonly bool,
    administrator bool, disabled bool, expirationtime timestamp, devicelimit int, userlimit int, attributes varchar(4000),
    temporary bool, zoom int);
CREATE TABLE tc_groups (id int PRIMARY KEY, name text, groupid int, attributes varchar(4000));
CREATE TABLE tc_devices (id int PRIMARY KEY, name text, uniqueid text, groupid int, attributes varchar(4000), phone text,
    model text, contact text, category text, disabled bool);
CREATE TABLE tc_geofences (id int PRIMARY KEY, name text, description text, area varchar(4096), attributes varchar(4000));
CREATE TABLE tc_user_device (userid int, deviceid int);
CREATE TABLE tc_user_group (userid int, groupid int);
CREATE TABLE tc_user_geofence (userid int, geofenceid int);
CREATE TABLE tc_device_geofence (deviceid int, geofenceid int);
CREATE TABLE tc_group_geofence (groupid int, geofenceid int);
CREATE TABLE tc_positions (id int PRIMARY KEY, protocol text, deviceid int, servertime timestamp, devicetime timestamp,
    fixtime timestamp, valid bool, latitude float8, longitude float8, altitude float8, speed float8, course float8,
    address text, attributes varchar(4000), accuracy float8, network varchar(4000));
CREATE INDEX ON tc_positions (deviceid, fixtime);
"""
START = datetime(2025, 6, 1, 8)
SALT = bytes(range(24))
HASHED = hashlib.pbkdf2_hmac("sha1", b"correct horse", SALT, 1000, 24)
CELLS = {
    "radioType": "gsm",
    "cellTowers": [
        {"cellId": 4711, "locationAreaCode": 12, "mobileCountryCode": 214, "mobileNetworkCode": 7}
    ],
    "wifiAccessPoints": [{"macAddress": "AA:BB:CC:00:11:22", "signalStrength": -61}],
}


def position(number: int, device: int, at: datetime, **more: Any) -> dict[str, Any]:
    row = {
        "id": number, "protocol": "gt06", "deviceid": device, "servertime": at + timedelta(seconds=2), "devicetime": at,
        "fixtime": at, "valid": True, "latitude": 40.0 + number / 1e4, "longitude": -3.7, "altitude": 650.0, "speed": 10.0,
        "course": 90.0, "address": None, "attributes": '{"ignition":true,"distance":12.5,"totalDistance":99.0}',
        "accuracy": 0.0, "network": None,
    }  # fmt: skip
    return row | more


def put(connection: psycopg.Connection[Any], table: str, *rows: dict[str, Any]) -> None:
    for row in rows:
        names = ", ".join(row)
        places = ", ".join(["%s"] * len(row))
        connection.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", list(row.values()))  # pyright: ignore[reportArgumentType]


@pytest.fixture
def other(postgres_server: SharedPostgres) -> Generator[str]:
    """The other server's database."""
    with postgres_server.database(migrated=False) as dsn:
        with psycopg.connect(dsn) as connection:
            connection.execute(SCHEMA)
            person = {
                "hashedpassword": HASHED.hex(),
                "salt": SALT.hex(),
                "attributes": "{}",
                "devicelimit": -1,
                "userlimit": 0,
            }
            put(
                connection,
                "tc_users",
                person
                | {
                    "id": 1,
                    "name": "Root",
                    "email": "root@example.com",
                    "administrator": True,
                    "readonly": False,
                },
                person
                | {
                    "id": 2,
                    "name": "Ana",
                    "email": "Ana@example.com",
                    "administrator": False,
                    "readonly": True,
                    "zoom": 9,
                },
                person | {"id": 3, "name": "guest", "email": "x", "temporary": True},
            )
            put(
                connection,
                "tc_groups",
                {"id": 5, "name": "North", "groupid": None, "attributes": '{"a":1}'},
                {"id": 4, "name": "Vans", "groupid": 5, "attributes": None},
            )
            card = {
                "attributes": '{"speedLimit":50}',
                "category": "van",
                "model": "GT06N",
                "phone": "",
                "contact": None,
            }
            put(
                connection,
                "tc_devices",
                card
                | {"id": 10, "name": "Van 1", "uniqueid": "356307042441013", "groupid": 4, "disabled": False},
                card
                | {
                    "id": 11,
                    "name": "Van 2",
                    "uniqueid": "356307042441021",
                    "groupid": None,
                    "disabled": True,
                },
            )
            put(
                connection,
                "tc_geofences",
                {
                    "id": 20,
                    "name": "Yard",
                    "area": "CIRCLE (40.0 -3.7, 500)",
                    "attributes": '{"speedLimit":10.8}',
                },
                {
                    "id": 21,
                    "name": "Road",
                    "area": "LINESTRING (40 -3.7, 41 -3.6)",
                    "attributes": '{"polylineDistance":40}',
                },
                {"id": 22, "name": "Broken", "area": "POLYGON ((40 -3.7, 91 -3.6", "attributes": None},
            )
            put(connection, "tc_user_device", {"userid": 2, "deviceid": 10}, {"userid": 3, "deviceid": 10})
            put(connection, "tc_user_group", {"userid": 2, "groupid": 5})
            put(connection, "tc_user_geofence", {"userid": 2, "geofenceid": 20})
            put(connection, "tc_group_geofence", {"groupid": 5, "geofenceid": 20})
            put(connection, "tc_device_geofence", {"deviceid": 11, "geofenceid": 21})
            put(
                connection,
                "tc_positions",
                *(position(n, 10, START + timedelta(seconds=n)) for n in range(1, 31)),
            )
            put(
                connection,
                "tc_positions",
                position(40, 11, START, network=json.dumps(CELLS), accuracy=12.0, valid=False),
                position(41, 11, datetime(1999, 1, 1)),
                position(42, 11, START + timedelta(hours=1), latitude=95.0),
                position(43, 11, START + timedelta(hours=2), attributes='{"text":"nul \\u0000 inside"}'),
            )
        yield dsn


def test_whole_resumed_and_repeated(terminal: Terminal, other: str, postgres_dsn: str) -> None:
    told = terminal("import", "traccar", "--dsn", other)
    assert told.code == 1
    assert "brought over: 2 users, 2 groups, 2 trackers, 2 geofences" in told.out
    assert "positions: 32 stored now, 0 were here already, 2 kept in quarantine" in told.out
    assert "looked for: 34 on the other side, 0 missing here" in told.out
    assert "left behind: geofence 'Broken': " in told.err

    first = query(
        postgres_dsn,
        "SELECT p.*, d.unique_id FROM core.positions p JOIN core.devices d ON d.id = device_id ORDER BY fixed_at",
    )
    assert len(first) == 32
    van = [row for row in first if row["unique_id"] == "356307042441013"]
    assert van[0]["fixed_at"].isoformat() == "2025-06-01T08:00:01+00:00"
    assert van[0]["received_at"].isoformat() == "2025-06-01T08:00:03+00:00"
    assert round(van[0]["speed_mps"], 4) == 5.1444
    assert van[0]["attributes"] == {"ignition": True}
    assert van[0]["accuracy_m"] is None
    second, nul = [row for row in first if row["unique_id"] == "356307042441021"]
    assert (second["valid"], second["accuracy_m"]) == (False, 12.0)
    assert nul["attributes"] == {"text": "nul \N{REPLACEMENT CHARACTER} inside"}
    assert second["network"]["cells"] == [{"mcc": 214, "mnc": 7, "lac": 12, "cid": 4711, "signal": None}]

    people = {row["email"]: row for row in query(postgres_dsn, "SELECT * FROM core.users")}
    assert (people["root@example.com"]["role"], people["Ana@example.com"]["role"]) == ("admin", "viewer")
    assert people["Ana@example.com"]["restricted"]
    links = query(postgres_dsn, "SELECT owner, kind FROM core.links ORDER BY kind")
    assert [(row["owner"], row["kind"]) for row in links] == [
        ("user", "device"),
        ("user", "geofence"),
        ("user", "group"),
    ]
    groups = query(
        postgres_dsn,
        "SELECT g.name, p.name AS parent FROM core.groups g LEFT JOIN core.groups p ON p.id = g.group_id",
    )
    assert {row["name"]: row["parent"] for row in groups} == {"North": None, "Vans": "North"}
    assigned = query(
        postgres_dsn,
        "SELECT f.name, d.name AS tracker, f.speed_limit_mps, f.shape FROM core.fence_devices a"
        " JOIN core.fences f ON f.id = a.fence_id JOIN core.devices d ON d.id = a.device_id ORDER BY 1",
    )
    assert [(row["name"], row["tracker"]) for row in assigned] == [("Road", "Van 2"), ("Yard", "Van 1")]
    assert assigned[0]["shape"]["width_m"] == 80.0
    assert {row["since"].year for row in query(postgres_dsn, "SELECT since FROM core.fences")} == {2000}
    assert round(assigned[1]["speed_limit_mps"], 3) == 5.556
    held = query(
        postgres_dsn, "SELECT d.name, b.note FROM core.blocks b JOIN core.devices d ON d.id = b.device_id"
    )
    assert [(row["name"], row["note"]) for row in held] == [("Van 2", "was disabled in Traccar")]

    with psycopg.connect(other) as connection:  # the other side goes on, and its fence is mended
        connection.execute(
            "UPDATE tc_geofences SET area = 'POLYGON ((40 -3.7, 41 -3.7, 41 -3.6, 40 -3.7))' WHERE id = 22"
        )
        put(connection, "tc_positions", position(50, 10, START + timedelta(days=1)))
    again = terminal("import", "traccar", "--dsn", other)
    assert again.code == 0, again.err
    assert "brought over: 0 users, 0 groups, 0 trackers, 1 geofence" in again.out
    assert "positions: 1 stored now, 0 were here already" in again.out
    assert "looked for: 35 on the other side, 0 missing here" in again.out
    assert query(postgres_dsn, "SELECT count(*) AS n FROM core.positions")[0]["n"] == 33


def test_what_came_late_on_the_other_side_is_told_of(terminal: Terminal, other: str) -> None:
    terminal("import", "traccar", "--dsn", other)
    with psycopg.connect(other) as connection:
        put(
            connection, "tc_positions", position(51, 10, START - timedelta(days=1))
        )  # before what was brought over
    again = terminal("import", "traccar", "--dsn", other)
    assert "looked for: 35 on the other side, 0 missing here" in again.out


def test_users_keep_their_passwords(terminal: Terminal, other: str, postgres_dsn: str) -> None:
    terminal("import", "traccar", "--dsn", other, "--no-history")
    assert query(postgres_dsn, "SELECT count(*) AS n FROM core.positions")[0]["n"] == 0
    stored = query(postgres_dsn, "SELECT password FROM core.users WHERE email = 'root@example.com'")[0][
        "password"
    ]
    assert HASHED.hex() not in stored
    passwords = Passwords()
    tried = ("correct horse", "correct horsf", HASHED.hex())
    assert [asyncio.run(passwords.fits(stored, word)) for word in tried] == [True, False, False]
    passwords.close()


def test_refusals(terminal: Terminal, other: str, postgres_dsn: str) -> None:
    wrong = terminal("import", "traccar", "--dsn", "mysql://traccar@127.0.0.1/traccar")
    assert (wrong.code, "--dsn: '127.0.0.1/traccar' is no DSN of PostgreSQL" in wrong.err) == (2, True)
    nobody = terminal("import", "traccar", "--dsn", "postgresql://traccar@127.0.0.1:1/traccar")
    assert (nobody.code, "--dsn: the other database does not answer" in nobody.err) == (1, True)
    account = terminal("import", "traccar", "--dsn", other, "--account", "Nobody")
    assert (account.code, "--account: there is no account named 'Nobody'" in account.err) == (1, True)
    ours = terminal("import", "traccar", "--dsn", postgres_dsn)
    assert (ours.code, "--dsn: there is no table tc_devices" in ours.err) == (1, True)
    query(
        postgres_dsn,
        "INSERT INTO core.accounts (name, zone, currency, tariff_id) SELECT 'Other', zone, currency, tariff_id FROM core.accounts",
    )
    query(
        postgres_dsn,
        "INSERT INTO core.devices (unique_id, account_id, name)"
        " SELECT '356307042441013', id, 'V' FROM core.accounts WHERE name = 'Other'",
    )
    taken = terminal("import", "traccar", "--dsn", other)
    assert "left behind: tracker 356307042441013: is connected here already, in account 'Other'" in taken.err
    assert "looked for: 4 on the other side, 0 missing here" in taken.out

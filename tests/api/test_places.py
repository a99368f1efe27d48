"""Addresses over HTTP: of a place that somebody looks at, and from then on of the positions there."""

from __future__ import annotations

import json

import httpx
from websockets.sync.client import ClientConnection, connect

from tests.alerts.http_peer import HttpPeer
from tests.api.people import World
from tests.live.test_reports import stop, trip
from tests.servers.postgres import SharedPostgres
from tests.servers.serve import Servers
from tests.servers.waiting import wait_until

SQUARE = "Plaza Mayor, Madrid"


def test_an_address_is_asked_for_once_and_told_with_positions(postgres_server: SharedPostgres) -> None:
    servers = Servers()
    with HttpPeer().running() as peer, postgres_server.database() as dsn:
        peer.answers = [(200, json.dumps({"display_name": SQUARE}))] * 50
        settings = {
            "backup.every_hours": 0,
            "geocoder.url": f"http://127.0.0.1:{peer.port}/reverse",
            "geocoder.per_second": 1_000,
        }
        try:
            world = World(servers(settings, dsn=dsn, protocols=[]))
            account = world.account()
            device = world.device(account)
            world.fix(device, latitude=41.50001)
            with world.signed_in("viewer", account, attributes='{"language": "es"}') as client:
                assert client.get("/api/server").json()["geocoderEnabled"] is True
                assert client.get("/api/positions").json()[0]["address"] is None
                assert peer.asked == [], "positions ask nobody"
                place = {"latitude": 41.50002, "longitude": 2.25}

                def told() -> str:
                    """Empty where the answer took too long, on a machine that is full."""
                    return client.get("/api/server/geocode", params=place).raise_for_status().text

                wait_until("the address", lambda: told() == SQUARE, 60)
                assert "accept-language=es" in peer.asked[-1][1]
                asked = len(peer.asked)
                assert told() == SQUARE
                assert len(peer.asked) == asked
                latest = client.get("/api/positions").json()
                period = {"deviceId": device, "from": "2026-01-01T00:00:00Z", "to": "2026-01-03T00:00:00Z"}
                day = client.get("/api/positions", params=period).json()
                numbered = client.get("/api/positions", params={"id": latest[0]["id"]}).json()
                assert [one["address"] for one in (*latest, *day, *numbered)] == [SQUARE] * 3
                trip(world, device, "2026-01-02T10:00:00Z", "2026-01-02T11:00:00Z", 1_000, 0)
                stop(world, device, "2026-01-02T11:00:00Z", "2026-01-02T12:00:00Z")
                (ride,) = client.get("/api/reports/trips", params=period).json()
                assert (ride["startAddress"], ride["endAddress"]) == (SQUARE, None)
                assert client.get("/api/reports/stops", params=period).json()[0]["address"] is None
                for path in ("reports/route/csv", "positions/csv"):
                    assert SQUARE in client.get(f"/api/{path}", params=period).text, path
                with open_socket(client, world) as socket:
                    json.loads(socket.recv(60))
                    world.fix(device, "2026-01-02T13:00:00Z", latitude=41.5)
                    world.sql("SELECT pg_notify('tracker_live', %s)", f"0 {device}")
                    pushed = json.loads(socket.recv(60))
                assert [one["address"] for one in pushed["positions"]] == [SQUARE]
                assert len(peer.asked) == asked, "nobody was asked again"
                assert client.get("/api/server/geocode", params={**place, "latitude": 91}).status_code == 400
        finally:
            servers.close()


def open_socket(client: httpx.Client, world: World) -> ClientConnection:
    cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    url = f"{world.url.replace('http', 'ws', 1)}/api/socket"
    return connect(url, additional_headers={"Cookie": cookie}, open_timeout=60)


def test_where_there_is_no_geocoder(world: World) -> None:
    with world.signed_in("viewer", world.account()) as client:
        answer = client.get("/api/server/geocode", params={"latitude": 1, "longitude": 1})
        assert (answer.status_code, "geocoder.url" in answer.text) == (404, True)

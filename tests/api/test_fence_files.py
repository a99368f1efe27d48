"""Geofences by file, and who is inside of one, over HTTP."""

from __future__ import annotations

import json
from typing import Any

from tests.api.people import World

FILE: dict[str, Any] = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "properties": {"name": "Depot", "radius_m": 150, "dwell_s": 60, "color": "red"},
            "geometry": {"type": "Point", "coordinates": [2.25, 41.5]},
        }
    ],
}


def test_a_file_in_and_out_again(world: World) -> None:
    with (
        world.signed_in("owner", world.account()) as owner,
        world.signed_in("owner", world.account()) as other,
    ):
        text = json.dumps(FILE)
        answer = owner.post("/api/geofences/import", files={"file": ("depots.geojson", text)})
        assert answer.status_code == 200, answer.text
        (fence,) = answer.json()
        assert (fence["name"], fence["attributes"]) == ("Depot", {"color": "red", "dwell": 60.0})
        assert owner.get("/api/geofences").json() == [fence]
        for form in ("geojson", "kml", "wkt"):
            exported = owner.get("/api/geofences/export", params={"format": form})
            assert "Depot" in exported.text
            assert "Depot" not in other.get("/api/geofences/export", params={"format": form}).text
            again = other.post("/api/geofences/import", content=exported.content)
            assert again.status_code == 200, again.text
            assert again.json()[0]["area"] == fence["area"]
            assert other.delete(f"/api/geofences/{again.json()[0]['id']}").status_code == 204


def test_a_bad_file_draws_nothing(world: World) -> None:
    with world.signed_in("owner", world.account()) as owner:
        ring = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 1]]]}
        bad = {"type": "Feature", "properties": {"name": "Bad"}, "geometry": ring}
        whole = {**FILE, "features": [*FILE["features"], bad]}
        answer = owner.post("/api/geofences/import", content=json.dumps(whole))
        assert answer.status_code == 400
        assert 'feature 2 "Bad"' in answer.text
        assert owner.post("/api/geofences/import", files={"other": ("x", "y")}).status_code == 400
        assert owner.get("/api/geofences").json() == []


def test_a_track_becomes_a_corridor_of_the_width_that_is_said(world: World) -> None:
    track = '<gpx><trk><name>Way</name><trkseg><trkpt lat="1" lon="2"/><trkpt lat="1" lon="3"/></trkseg></trk></gpx>'
    with world.signed_in("owner", world.account()) as owner:
        answer = owner.post("/api/geofences/import", content=track)
        assert (answer.status_code, answer.json()["reason"]) == (400, "metres")
        assert "widthM" in answer.json()["error"]
        answer = owner.post("/api/geofences/import", params={"widthM": 80}, content=track)
        assert answer.status_code == 200, answer.text
        (fence,) = answer.json()
        assert (fence["name"], fence["area"]) == ("Way", "LINESTRING (1.0 2.0, 1.0 3.0)")
        assert fence["attributes"]["polylineDistance"] == 40


def test_who_is_inside(world: World) -> None:
    account = world.account()
    device = world.device(account)
    with world.signed_in("owner", account) as owner, world.signed_in("owner", world.account()) as other:
        (fence,) = owner.post("/api/geofences/import", content=json.dumps(FILE)).json()
        place = f"/api/geofences/{fence['id']}/inside"
        assert owner.get(place).json() == []
        world.sql(
            "INSERT INTO core.visits (device_id, fence_id, entered_at, decided_at) VALUES (%s, %s, '2026-01-01Z', now())",
            device,
            fence["id"],
        )
        (one,) = owner.get(place).json()
        assert one["deviceId"] == device
        assert one["since"].startswith("2026-01-01T00:00:00")
        assert other.get(place).status_code == 404
        world.block(device)
        assert owner.get(place).json() == []

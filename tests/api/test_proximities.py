"""Pairs of trackers over HTTP: made, shown while both trackers are, removed."""

from __future__ import annotations

from tests.api.people import World


def test_a_pair_is_there_while_both_of_it_are(world: World) -> None:
    account = world.account()
    one, other, foreign = world.device(account), world.device(account), world.device(world.account())
    path = f"/api/devices/{one}/proximities"
    with world.signed_in("owner", account) as owner, world.signed_in("viewer", account) as viewer:
        answer = owner.post(path, json={"otherId": other, "limit": 250})
        assert answer.status_code == 200, answer.text
        pair = answer.json()
        said = {"kind": "zone", "deviceId": one, "otherId": other, "limit": 250.0, "hysteresis": 30.0}
        assert pair.items() >= {**said, "stale": 300.0, "near": False}.items()
        assert viewer.get(path).json() == [pair]
        assert owner.get(f"/api/devices/{other}/proximities").json() == [pair]
        assert owner.post(path, json={"otherId": other, "limit": 250}).status_code == 409
        assert owner.post(path, json={"otherId": foreign, "limit": 250}).status_code == 404
        assert owner.post(path, json={"otherId": other, "limit": 0, "kind": "companion"}).status_code == 400
        assert viewer.delete(f"/api/proximities/{pair['id']}").status_code == 403
        world.block(other)
        assert owner.get(path).json() == []
        assert owner.delete(f"/api/proximities/{pair['id']}").status_code == 404
        world.sql("DELETE FROM core.blocks WHERE device_id = %s", other)
        assert owner.delete(f"/api/proximities/{pair['id']}").status_code == 204
        assert owner.get(path).json() == []

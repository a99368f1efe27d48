"""Who manages whom. Nobody raises his own rights, by whatever field."""

from __future__ import annotations

import pytest
from pyotp import parse_uri
from pyotp.totp import TOTP

from tests.api.people import PASSWORD, World

RAISING = [
    {"administrator": True}, {"role": "admin"}, {"role": "owner"}, {"deviceLimit": 5}, {"userLimit": -1},
    {"readonly": True}, {"restricted": True}, {"expirationTime": "2090-01-01T00:00:00Z"}, {"disabled": True},
    {"limitCommands": True}, {"disableReports": True}, {"deviceReadonly": True}, {"fixedEmail": True},
]  # fmt: skip


@pytest.mark.parametrize("role", ["manager", "viewer"])
def test_nobody_changes_his_own_rights(world: World, role: str) -> None:
    with world.signed_in(role, world.account()) as user:
        me = user.get("/api/session").json()
        for change in RAISING:
            answer = user.put(f"/api/users/{me['id']}", json={**me, **change})
            assert answer.status_code == 403, change
        assert user.get("/api/session").json() == me
        assert user.put(f"/api/users/{me['id']}", json=me).status_code == 200
        changed = user.put(
            f"/api/users/{me['id']}", json={**me, "name": "New", "map": "osm", "latitude": 41.5}
        )
        assert changed.status_code == 200
        assert (changed.json()["name"], changed.json()["map"], changed.json()["latitude"]) == (
            "New",
            "osm",
            41.5,
        )


def test_an_owner_manages_his_accounts_people(world: World) -> None:
    account = world.account()
    with world.signed_in("owner", account) as owner, world.signed_in("owner", world.account()) as other:
        made = owner.post(
            "/api/users", json={"name": "Eva", "email": "Eva@Example.com", "password": PASSWORD}
        )
        assert made.status_code == 200, made.text
        eva = made.json()
        assert (eva["role"], eva["accountId"], eva["restricted"]) == ("manager", account, True)
        assert eva in owner.get("/api/users").json()
        assert other.get(f"/api/users/{eva['id']}").status_code == 404
        assert other.delete(f"/api/users/{eva['id']}").status_code == 404
        assert eva not in other.get("/api/users").json()
        again = owner.post("/api/users", json={"name": "x", "email": "eva@example.com"})
        assert (again.status_code, again.text) == (400, "email: somebody signs in by eva@example.com already")
        for role in ("admin", "staff"):
            assert owner.post("/api/users", json={"email": "z@example.com", "role": role}).status_code == 403
        assert owner.post("/api/users", json={"email": "nonsense"}).status_code == 400
        assert owner.put(f"/api/users/{eva['id']}", json={"readonly": True}).json()["readonly"] is True
        with world.client("eva@example.com") as eva_signed_in:
            assert eva_signed_in.post("/api/groups", json={"name": "g"}).status_code == 403
            assert eva_signed_in.get("/api/users").json() == []
        assert owner.delete(f"/api/users/{eva['id']}").status_code == 204
        assert owner.get(f"/api/users/{eva['id']}").status_code == 404


def test_a_manager_with_a_limit_manages_those_whom_he_made(world: World) -> None:
    account = world.account()
    email = world.user("manager", account, user_limit=1, restricted=True, limit_commands=True)
    with world.client(email) as manager:
        colleague = world.user_id(world.user("viewer", account))
        made = manager.post(
            "/api/users", json={"email": "one@example.com", "restricted": False, "userLimit": 5}
        )
        assert made.status_code == 200
        one = made.json()
        assert (one["restricted"], one["limitCommands"], one["userLimit"]) == (True, True, 0), (
            "no more than his own"
        )
        assert manager.post("/api/users", json={"email": "two@example.com"}).status_code == 403
        assert [user["id"] for user in manager.get("/api/users").json()] == [one["id"]]
        assert manager.get(f"/api/users/{colleague}").status_code == 404
        assert manager.put(f"/api/users/{one['id']}", json={"role": "owner"}).status_code == 403
        assert manager.put(f"/api/users/{one['id']}", json={"restricted": False}).json()["restricted"] is True


def test_staff_leave_the_operators_people_alone(world: World) -> None:
    admin = world.user_id(world.user("admin"))
    with world.signed_in("staff") as staff:
        assert staff.put(f"/api/users/{admin}", json={"name": "x"}).status_code == 403
        assert staff.delete(f"/api/users/{admin}").status_code == 403
        assert (
            staff.post("/api/users", json={"email": "a1@example.com", "administrator": True}).status_code
            == 403
        )
        me = staff.get("/api/session").json()
        assert staff.put(f"/api/users/{me['id']}", json={"administrator": True}).status_code == 403


def test_a_readonly_user_writes_nothing(world: World) -> None:
    with world.signed_in("owner", world.account(), readonly=True) as user:
        me = user.get("/api/session").json()
        assert user.put(f"/api/users/{me['id']}", json={"name": "New"}).status_code == 403
        assert user.post("/api/groups", json={"name": "g"}).status_code == 403
        assert user.post("/api/users", json={"email": "q@example.com"}).status_code == 403


def test_a_new_password_ends_other_sessions(world: World) -> None:
    email = world.user("viewer", world.account())
    with world.client(email) as one, world.client(email) as other:
        me = one.get("/api/session").json()
        assert one.put(f"/api/users/{me['id']}", json={**me, "password": "short"}).status_code == 400
        assert one.put(f"/api/users/{me['id']}", json={**me, "password": "another horse"}).status_code == 200
        assert one.get("/api/session").status_code == 200
        assert other.get("/api/session").status_code == 404
    with world.client(email, "another horse") as again:
        assert again.get("/api/session").status_code == 200


def test_a_totp_key_is_made_set_and_asked_for(world: World) -> None:
    email = world.user("viewer", world.account())
    with world.client(email) as client, world.nobody() as nobody:
        me = client.get("/api/session").json()
        key = client.post("/api/users/totp").text
        assert client.put(f"/api/users/{me['id']}", json={**me, "totpKey": "no key"}).status_code == 400
        assert client.put(f"/api/users/{me['id']}", json={**me, "totpKey": key}).status_code == 200
        told = client.get("/api/session").json()
        assert key not in str(told)
        assert client.put(f"/api/users/{me['id']}", json=told).status_code == 200, "and the key stays"
        form = {"email": email, "password": PASSWORD}
        assert nobody.post("/api/session", data=form).headers["www-authenticate"] == "TOTP"
        assert nobody.post("/api/session", data={**form, "code": TOTP(key).now()}).status_code == 200
        assert client.put(f"/api/users/{me['id']}", json={**told, "totpKey": None}).status_code == 200
        assert nobody.post("/api/session", data=form).status_code == 200


def test_a_totp_key_is_handed_to_an_app_and_tried_before_it_counts(world: World) -> None:
    email = world.user("viewer", world.account())
    with world.client(email) as client, world.nobody() as nobody:
        made = client.post("/api/users/totp/new").json()
        assert made["picture"].startswith("<svg ")
        taken = parse_uri(made["uri"])
        assert isinstance(taken, TOTP)
        assert (taken.secret, taken.name, taken.issuer) == (made["key"], email, "Tracker server")
        tried = {"key": made["key"], "code": taken.now()}
        assert client.post("/api/users/totp/check", json=tried).status_code == 204
        wrong = client.post("/api/users/totp/check", json={**tried, "code": "12345"})
        assert (wrong.status_code, wrong.text.partition(":")[0]) == (400, "code")
        assert client.post("/api/users/totp/check", json={**tried, "key": "no key"}).text.startswith(
            "totpKey: "
        )
        assert nobody.post("/api/session", data={"email": email, "password": PASSWORD}).status_code == 200


def test_users_to_whom_something_is_linked(world: World) -> None:
    account = world.account()
    device = world.device(account)
    user = world.user_id(world.user("manager", account, restricted=True))
    with world.signed_in("owner", account) as owner:
        owner.post("/api/permissions", json={"userId": user, "deviceId": device})
        found = owner.get("/api/users", params={"deviceId": device}).json()
        assert [one["id"] for one in found] == [user]
        assert owner.get("/api/users", params={"keyword": "no such"}).json() == []
        assert len(owner.get("/api/users", params={"limit": 1}).json()) == 1

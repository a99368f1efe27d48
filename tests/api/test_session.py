"""Signing in as clients of this field do, and every way of not getting in."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from pyotp.totp import TOTP

from tests.api.people import PASSWORD, World
from tests.servers.ports import free_port
from tests.servers.postgres import SharedPostgres
from tests.servers.serve import Servers
from tests.servers.waiting import wait_until


def basic(email: str, password: str = PASSWORD) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{email}:{password}".encode()).decode()}


def test_nobody(world: World) -> None:
    with world.nobody() as nobody:
        assert nobody.get("/api/session").status_code == 404
        assert nobody.get("/api/server").status_code == 200


def test_a_form_signs_in_whatever_the_case(world: World) -> None:
    email = world.user("viewer", world.account())
    with world.nobody() as nobody:
        answer = nobody.post("/api/session", data={"email": email.upper(), "password": PASSWORD})
        assert answer.status_code == 200
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("JSESSIONID=")
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert "Secure" not in cookie, "this server speaks no TLS"
        assert nobody.get("/api/session").json()["email"] == email
        assert nobody.delete("/api/session").status_code == 204
        assert nobody.get("/api/session").status_code == 404


def test_signing_in_again_takes_a_new_session(world: World) -> None:
    email = world.user("viewer", world.account())
    with world.client(email) as client:
        first = client.cookies["JSESSIONID"]
        client.post("/api/session", data={"email": email, "password": PASSWORD})
        assert client.cookies["JSESSIONID"] != first
        with world.nobody() as old:
            old.cookies["JSESSIONID"] = first
            assert old.get("/api/session").status_code == 404


@pytest.mark.parametrize("who", ["known", "unknown"])
def test_a_wrong_password_and_an_unknown_user_are_told_alike(world: World, who: str) -> None:
    email = world.user("viewer", world.account()) if who == "known" else "nobody@example.com"
    with world.nobody() as nobody:
        by_form = nobody.post("/api/session", data={"email": email, "password": "wrong horse"})
        by_basic = nobody.get("/api/server", headers=basic(email, "wrong horse"))
    for answer in (by_form, by_basic):
        assert (answer.status_code, answer.text) == (401, "e-mail address or password is wrong")
        assert "www-authenticate" not in answer.headers
        assert "set-cookie" not in answer.headers


def test_basic_signs_in_each_call(world: World) -> None:
    email = world.user("viewer", world.account())
    with world.nobody() as nobody:
        answer = nobody.get("/api/session", headers=basic(email))
        assert answer.json()["email"] == email
        assert "set-cookie" not in answer.headers
        for header in ("Basic", "Basic x", "Basic " + base64.b64encode(b"x").decode(), "Bearer x", "Bearer"):
            assert nobody.get("/api/session", headers={"Authorization": header}).status_code == 401


def test_another_sites_page_may_not_use_a_cookie(world: World) -> None:
    with world.signed_in("viewer", world.account()) as client:
        for origin in ("https://evil.example", "null", world.url.replace("http", "https") + "0"):
            assert client.get("/api/session", headers={"Origin": origin}).status_code == 403
        assert client.get("/api/session", headers={"Origin": world.url}).status_code == 200
        assert client.delete("/api/session", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    with world.nobody() as nobody:
        form = {"email": world.user("viewer", world.account()), "password": PASSWORD}
        answer = nobody.post("/api/session", data=form, headers={"Origin": "https://evil.example"})
        assert answer.status_code == 403


def test_too_many_failures_are_not_looked_at(world: World) -> None:
    email = world.user("viewer", world.account())
    with world.nobody() as nobody:
        for _ in range(10):
            assert nobody.post("/api/session", data={"email": email, "password": "no"}).status_code == 401
        answer = nobody.post("/api/session", data={"email": email, "password": PASSWORD})
        assert answer.status_code == 429
        assert 0 < int(answer.headers["retry-after"]) <= 901


def test_totp(world: World) -> None:
    key = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
    email = world.user("viewer", world.account(), totp_key=key)
    with world.nobody() as nobody:
        form = {"email": email, "password": PASSWORD}
        answer = nobody.post("/api/session", data=form)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "TOTP")
        wrong = f"{(int(TOTP(key).now()) + 500_000) % 1_000_000:06}"
        assert nobody.post("/api/session", data={**form, "code": wrong}).status_code == 401
        assert nobody.post("/api/session", data={**form, "code": TOTP(key).now()}).status_code == 200


def test_a_token_lives_until_its_end_or_its_revocation(world: World) -> None:
    email = world.user("viewer", world.account())
    with world.client(email) as client, world.nobody() as nobody:
        end = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        answer = client.post("/api/session/token", data={"expiration": end})
        assert answer.headers["content-type"].startswith("text/plain")
        token = answer.text
        bearer = {"Authorization": f"Bearer {token}"}
        assert nobody.get("/api/session", headers=bearer).json()["email"] == email
        opened = nobody.get("/api/session", params={"token": token})
        assert opened.status_code == 200
        assert nobody.get("/api/session").json()["email"] == email, "by the cookie"
        assert client.post("/api/session/token/revoke", data={"token": token}).status_code == 204
        assert nobody.get("/api/session").status_code == 404, "the session that it opened"
        nobody.cookies.clear()
        assert nobody.get("/api/session", headers=bearer).status_code == 401
        assert (
            client.post("/api/session/token", data={"expiration": "2020-01-01T00:00:00Z"}).status_code == 400
        )
    assert world.sql("SELECT count(*) FROM core.tokens WHERE digest = %s", token.encode()) == [(0,)]


def test_a_token_may_have_fewer_rights_and_makes_none_with_more(world: World) -> None:
    with world.signed_in("owner", world.account()) as owner, world.nobody() as nobody:
        token = owner.post("/api/session/token", data={"rights": ["read", "self"]}).text
        nobody.headers["Authorization"] = f"Bearer {token}"
        assert nobody.get("/api/session").json()["rights"] == ["read", "self"]
        second = nobody.post("/api/session/token").text
        nobody.headers["Authorization"] = f"Bearer {second}"
        assert nobody.get("/api/session").json()["rights"] == ["read", "self"]
        assert nobody.post("/api/session/token", data={"rights": ["write"]}).status_code == 403
    with world.signed_in("viewer", world.account()) as viewer:
        assert viewer.post("/api/session/token", data={"rights": ["administer"]}).status_code == 403


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE core.users SET disabled = true WHERE email = %s",
        "UPDATE core.users SET expires_at = now() WHERE email = %s",
        "DELETE FROM core.users WHERE email = %s",
    ],
)
def test_who_is_out_is_out_at_once(world: World, change: str) -> None:
    email = world.user("viewer", world.account())
    with world.client(email) as client, world.nobody() as by_basic:
        by_basic.headers.update(basic(email))
        assert client.get("/api/session").status_code == 200
        assert by_basic.get("/api/session").status_code == 200
        world.sql(change, email)
        wait_until("the session to be over", lambda: client.get("/api/session").status_code == 404, 5)
        wait_until("the password to be refused", lambda: by_basic.get("/api/session").status_code == 401, 5)


def test_an_administrator_in_anothers_place_is_written_down(world: World) -> None:
    email = world.user("viewer", world.account())
    with world.signed_in("admin") as admin, world.signed_in("staff") as staff:
        assert staff.get(f"/api/session/{world.user_id(email)}").status_code == 403
        assert admin.get("/api/session/999999").status_code == 404
        who = admin.get("/api/session").json()["id"]
        assert admin.get(f"/api/session/{world.user_id(email)}").json()["email"] == email
        assert admin.get("/api/session").json()["email"] == email
        assert admin.post("/api/session/token").status_code == 403
    rows = world.sql(
        "SELECT user_id FROM core.audit WHERE action = 'impersonate' AND object_id = %s", world.user_id(email)
    )
    assert rows == [(who,)]


def test_bodies_have_a_limit(world: World) -> None:
    with world.nobody() as nobody:
        answer = nobody.post("/api/session", content=b"email=" + b"x" * 2_000_000)
        assert answer.status_code == 413


def test_the_first_start_prints_a_link_that_works_once(postgres_server: SharedPostgres) -> None:
    servers = Servers()
    with postgres_server.database() as dsn:
        try:
            running = servers({"backup.every_hours": 0, "api.port": free_port()}, dsn=dsn, protocols=[])
            link = next(line for line in running.out.read_text().splitlines() if "/setup?token=" in line)
            assert f"{running.api}/setup?token=" in link
            form = {"token": link.partition("token=")[2], "email": "a@example.com", "password": PASSWORD}
            with httpx.Client(base_url=running.api) as client:
                assert client.get("/api/setup").json() == {"needed": True, "open": False}
                assert client.get("/api/setup", params={"token": form["token"]}).json()["open"] is True
                assert client.post("/api/setup", data={**form, "token": "x"}).status_code == 403
                assert client.post("/api/setup", data={**form, "password": "short"}).status_code == 400
                made = client.post("/api/setup", data=form)
                assert made.json()["administrator"] is True
                assert client.get("/api/session").status_code == 200
                assert client.post("/api/setup", data={**form, "email": "b@example.com"}).status_code == 403
                assert client.get("/api/server").json()["newServer"] is False
            running.restart()
            assert "/setup?token=" not in running.out.read_text().splitlines()[-2]
        finally:
            servers.close()

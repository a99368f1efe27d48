"""Signing in as clients of this field do, and every way of not getting in."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from pyotp.totp import TOTP

from tests.api.people import PASSWORD, World
from tests.servers.ports import free_port
from tests.servers.postgres import SharedPostgres
from tests.servers.serve import Servers
from tests.servers.waiting import wait_until
from tracker_server.api.access import code_step
from tracker_server.storage.sessions import sweep_ended


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


def test_a_session_that_is_over_is_signed_out_of_like_any_other(world: World) -> None:
    with world.nobody() as nobody:
        nobody.cookies.set("JSESSIONID", "of-yesterday")
        assert nobody.delete("/api/session").status_code == 204


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
        code = TOTP(key).now()
        assert nobody.post("/api/session", data={**form, "code": code}).status_code == 200
        again = nobody.post("/api/session", data={**form, "code": code})
        assert (again.status_code, again.headers["www-authenticate"]) == (401, "TOTP"), "a code works once"


def test_a_code_is_of_now_or_of_the_step_beside_it() -> None:
    key = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    step = TOTP(key).timecode(now)
    for ahead, found in ((-2, None), (-1, step - 1), (0, step), (1, step + 1), (2, None)):
        assert code_step(key, f" {TOTP(key).generate_otp(step + ahead)} ", now) == found
    assert code_step(key, None, now) is None


def test_a_head_without_end_is_refused(world: World) -> None:
    address = (urlsplit(world.url).hostname, urlsplit(world.url).port)
    with socket.create_connection(address, timeout=30) as line:
        line.sendall(b"GET /api/server HTTP/1.1\r\nHost: x\r\nX-Long: ")
        with contextlib.suppress(OSError):  # it is closed while we still talk
            for _ in range(100):
                line.sendall(b"x" * 10_000)
        with contextlib.suppress(OSError):
            assert line.recv(100).startswith(b"HTTP/1.1 431 ")
    with world.nobody() as nobody:
        assert nobody.get("/api/server", headers={"X-Long": "x" * 30_000}).status_code == 200


def test_an_etag_spares_what_one_has_and_is_nobody_else_s(world: World) -> None:
    account = world.account()
    device = world.device(account)
    with world.signed_in("owner", account) as owner, world.signed_in("viewer", account) as viewer:
        told = owner.get("/api/devices")
        tag = told.headers["etag"]
        same = owner.get("/api/devices", headers={"If-None-Match": f'"other", W/{tag}'})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
        other = viewer.get("/api/devices", headers={"If-None-Match": tag})
        assert (other.status_code, other.json()) == (200, told.json())
        world.block(device)
        assert owner.get("/api/devices", headers={"If-None-Match": tag}).status_code == 200


def test_what_has_ended_by_time_is_swept_away(world: World) -> None:
    user = world.user_id(world.user("viewer", world.account()))
    for table, kind in (("sessions (digest, user_id", ""), ("tokens (digest, user_id, kind", "'access', ")):
        for number, ends in enumerate(("-1 minute", "1 hour")):
            digest = f"{table[:4]}{user}{number}".encode()
            world.sql(
                f"INSERT INTO core.{table}, expires_at) VALUES (%s, %s, {kind}now() + interval '{ends}')",
                digest,
                user,
            )

    async def sweep() -> None:
        async with await psycopg.AsyncConnection.connect(world.running.dsn, autocommit=True) as connection:
            await sweep_ended(connection)

    asyncio.run(sweep())
    for table in ("sessions", "tokens"):
        left = world.sql(f"SELECT count(*) FROM core.{table} WHERE user_id = %s", user)
        assert left == [(1,)]


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

"""Signing in by an OpenID Connect provider: a small real one, that signs, and checks what it is asked."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.api.people import PASSWORD, World
from tests.servers.ports import free_port
from tests.servers.postgres import SharedPostgres
from tests.servers.serve import Servers
from tracker_server.config import ConfigError, load
from tracker_server.storage.sessions import digest_of

SECRET = "between the two of us"


class Issuer:
    """The provider. ``claims``: of the next ID token, beside what is always there; ``key``: that signs it."""

    def __init__(self) -> None:
        self.published = RSAKey.generate_key(2048, {"kid": "one"})
        self.key = self.published
        self.claims: dict[str, Any] = {}
        self.person = ""
        self.challenges: dict[str, str] = {}  # by code
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

            def do_GET(self) -> None:
                if self.path.startswith("/authorize?"):
                    self.send_response(302)
                    self.send_header("Location", issuer.let_in(self.path))
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                else:
                    self._answer(200, issuer.told(self.path))

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self._answer(*issuer.token({name: values[0] for name, values in form.items()}))

            def _answer(self, status: int, value: dict[str, Any]) -> None:
                body = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def told(self, path: str) -> dict[str, Any]:
        if path == "/jwks":
            return {"keys": [self.published.as_dict(private=False)]}
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
        }

    def let_in(self, path: str) -> str:
        """Where a browser goes from the provider's page, at which ``person`` is signed in already."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
        code = f"code of {asked['state']}"
        self.challenges[code] = asked["code_challenge"]
        self.claims = {"nonce": asked["nonce"], "email": self.person, "email_verified": True}
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def token(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """As RFC 7636 §4.6 has it checked."""
        proof = (
            base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest())
            .rstrip(b"=")
            .decode()
        )
        if form["client_secret"] != SECRET or self.challenges.pop(form["code"], None) != proof:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {"iss": self.url, "aud": "tracks", "sub": "7", "iat": now, "exp": now + 60, **self.claims}
        return 200, {"id_token": jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key)}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Desk:
    """A server that lets people in by the provider only."""

    def __init__(self, world: World, issuer: Issuer) -> None:
        self.world = world
        self.issuer = issuer

    def come_back(self, client: httpx.Client, state: str | None = None, **claims: Any) -> httpx.Response:
        """Go to the provider and come back with its code, as a browser does."""
        there = client.get("/api/session/openid/auth")
        assert there.status_code == 302, there.text
        asked = {
            name: values[0] for name, values in parse_qs(urlsplit(there.headers["location"]).query).items()
        }
        assert (asked["client_id"], asked["response_type"], asked["scope"]) == (
            "tracks",
            "code",
            "openid email",
        )
        assert asked["redirect_uri"] == f"{self.world.url}/api/session/openid/callback"
        code = f"code of {asked['state']}"
        self.issuer.challenges[code] = asked["code_challenge"]
        self.issuer.claims = {"nonce": asked["nonce"], "email_verified": True, **claims}
        back = {"code": code, "state": state or asked["state"]}
        return client.get(
            "/api/session/openid/callback", params=back, headers={"Sec-Fetch-Site": "cross-site"}
        )


@pytest.fixture(scope="module")
def desk(postgres_server: SharedPostgres) -> Generator[Desk]:
    issuer, servers, port = Issuer(), Servers(), free_port()
    settings = {
        "backup.every_hours": 0,
        "api.port": port,
        "api.public_url": f"http://127.0.0.1:{port}",
        "openid.issuer": issuer.url,
        "openid.client_id": "tracks",
        "openid.client_secret": SECRET,
        "openid.only": True,
    }
    with postgres_server.database() as dsn:
        try:
            yield Desk(World(servers(settings, dsn=dsn, protocols=[])), issuer)
        finally:
            servers.close()
            issuer.close()


def test_whom_the_provider_names_is_signed_in(desk: Desk) -> None:
    email = desk.world.user("viewer", desk.world.account())
    with desk.world.nobody() as client:
        told = client.get("/api/server").json()
        assert (told["openIdEnabled"], told["openIdForce"]) == (True, True)
        assert client.get("/page/config.json").json()["openid"] == "only"
        back = desk.come_back(client, email=email.upper())
        assert (back.status_code, back.headers["location"]) == (302, "/"), back.text
        assert client.get("/api/session").json()["email"] == email
        again = desk.come_back(client, email=email)
        assert again.status_code == 302, "with a session of before, from the provider's own page"
    user = desk.world.user_id(email)
    details = desk.world.sql("SELECT detail FROM core.audit WHERE user_id = %s AND action = 'login'", user)
    assert details == [({"by": "openid"},)] * 2


@pytest.mark.parametrize(
    ("claims", "sentence"),
    [
        ({"email_verified": False}, "has not verified"),
        ({"email": None}, "tells no e-mail address"),
        ({"email": "stranger@example.com"}, "stranger@example.com has no user here"),
        ({"nonce": "of another"}, "belongs to another sign-in"),
        ({"aud": "somebody else"}, "not to be believed"),
        ({"iss": "https://evil.example"}, "not to be believed"),
        ({"exp": 1}, "not to be believed"),
    ],
)
def test_what_cannot_be_believed_signs_nobody_in(desk: Desk, claims: dict[str, Any], sentence: str) -> None:
    email = desk.world.user("viewer", desk.world.account())
    with desk.world.nobody() as client:
        back = desk.come_back(client, **{"email": email, **claims})
        assert back.status_code == 401
        assert sentence in back.text
        assert client.get("/api/session").status_code == 404


def test_another_s_signature_counts_for_nothing(desk: Desk) -> None:
    email = desk.world.user("viewer", desk.world.account())
    desk.issuer.key = RSAKey.generate_key(2048, {"kid": "one"})
    try:
        with desk.world.nobody() as client:
            assert desk.come_back(client, email=email).status_code == 401
    finally:
        desk.issuer.key = desk.issuer.published


def test_a_sign_in_belongs_to_the_browser_that_began_it(desk: Desk) -> None:
    email = desk.world.user("viewer", desk.world.account())
    with desk.world.nobody() as client, desk.world.nobody() as other:
        assert desk.come_back(client, state="another", email=email).status_code == 401
        stolen = other.get("/api/session/openid/callback", params={"code": "x", "state": "y"})
        assert (stolen.status_code, "in this browser" in stolen.text) == (401, True)
        refused = other.get("/api/session/openid/callback", params={"error": "access_denied"})
        assert (refused.status_code, "access_denied" in refused.text) == (401, True)


def test_no_password_signs_in_where_only_the_provider_does(desk: Desk) -> None:
    email = desk.world.user("viewer", desk.world.account())
    token = "a token goes on working"
    desk.world.sql(
        "INSERT INTO core.tokens (digest, kind, user_id) VALUES (%s, 'access', %s)",
        digest_of(token),
        desk.world.user_id(email),
    )
    with desk.world.nobody() as client:
        answer = client.post("/api/session", data={"email": email, "password": PASSWORD})
        assert (answer.status_code, "nobody signs in by a password" in answer.text) == (401, True)
        assert client.get("/api/devices", auth=(email, PASSWORD)).status_code == 401
        bearer = {"Authorization": f"Bearer {token}"}
        assert client.get("/api/session", headers=bearer).json()["email"] == email


def test_where_there_is_no_provider(world: World) -> None:
    with world.nobody() as client:
        assert client.get("/api/session/openid/auth").status_code == 404
        assert client.get("/api/server").json()["openIdEnabled"] is False


GOOD = {
    "TRACKER_API__PUBLIC_URL": "https://tracks.example",
    "TRACKER_OPENID__ISSUER": "https://login.example",
    "TRACKER_OPENID__CLIENT_ID": "tracks",
    "TRACKER_OPENID__CLIENT_SECRET": SECRET,
}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"TRACKER_OPENID__ISSUER": "http://login.example"}, "openid.issuer"),
        ({"TRACKER_OPENID__ISSUER": "", "TRACKER_OPENID__ONLY": "true"}, "openid.only"),
        ({"TRACKER_OPENID__CLIENT_ID": ""}, "openid.client_id"),
        ({"TRACKER_OPENID__CLIENT_SECRET": ""}, "openid.client_secret"),
        ({"TRACKER_API__PUBLIC_URL": ""}, "api.public_url"),
    ],
)
def test_settings_that_cannot_work(changes: dict[str, str], sentence: str) -> None:
    assert load(environment=GOOD).settings.openid.client_id == "tracks"
    with pytest.raises(ConfigError, match=sentence):
        load(environment=GOOD | changes)

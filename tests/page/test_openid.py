"""The button of the organisation's own sign-in, pressed in Chromium, to a provider and back."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.api.test_openid import SECRET, Issuer
from tests.page.conftest import Visitor, set_up
from tests.servers.ports import free_port
from tests.servers.serve import Servers

pytestmark = pytest.mark.timeout(300)  # a browser draws maps without a graphics card

ANA = "ana@northern.example"


def test_signed_in_by_the_organisation(server: Servers, postgres_dsn: str, chromium: Browser) -> None:
    issuer, port = Issuer(), free_port()
    try:
        settings = {
            "api.port": port, "api.public_url": f"http://127.0.0.1:{port}", "openid.issuer": issuer.url,
            "openid.client_id": "tracks", "openid.client_secret": SECRET,
        }  # fmt: skip
        running = server(settings, dsn=postgres_dsn, protocols=[])
        with set_up(running, ANA):
            pass
        issuer.person = ANA
        visitor = Visitor(chromium, running)
        page = visitor.open("/")
        page.get_by_role("link", name="Sign in by your organisation").click()
        expect(page.get_by_role("navigation", name="Main")).to_be_visible()
        assert page.request.get("/api/session").json()["email"] == ANA
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("E-mail")).to_be_visible()
        issuer.person = "stranger@example.com"
        page.get_by_role("link", name="Sign in by your organisation").click()
        expect(page.get_by_text("stranger@example.com has no user here")).to_be_visible()
        assert page.request.get("/api/session").status == 404
        visitor.close()
    finally:
        issuer.close()

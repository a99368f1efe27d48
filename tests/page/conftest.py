"""A browser for all tests of the page, and what it complained of."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.servers.serve import Running
from tests.servers.waiting import missing

SCREENSHOTS = Path(__file__).parents[2] / "docs" / "tutorial" / "pictures"
KEEP = "TRACKER_TEST_SCREENSHOTS"  # 1: the tutorial's pictures are taken anew
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--use-gl=angle", "--use-angle=swiftshader"),
    "--enable-unsafe-swiftshader",
)
WAIT_MS = 45_000
DESKTOP = (1280, 800)
PHONE = (390, 800)
PASSWORD = "correct horse battery"
EXPECTED = re.compile(r"GL Driver Message|status of 40[0-9]|GPU stall")  # a refusal is shown to the person


@pytest.fixture(scope="module")
def chromium() -> Generator[Browser]:
    """One browser process for a module, and no longer: while it lives, this thread's event loop is Playwright's, and no
    coroutine of another test would run.
    """
    program = shutil.which("chromium")
    if program is None:
        missing("Chromium", "on Debian: apt-get install chromium")
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()


class Visitor:
    """Somebody with a browser: pages of one server, and all that their consoles said."""

    def __init__(self, browser: Browser, running: Running) -> None:
        self.running = running
        self.said: list[str] = []
        self.pages: list[Page] = []
        self._browser = browser

    def open(
        self, path: str, size: tuple[int, int] = DESKTOP, *, dark: bool = False, language: str = "en"
    ) -> Page:
        """A new window, with a session of its own."""
        context = self._browser.new_context(
            base_url=self.running.api,
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            locale=language,
            timezone_id="Europe/Madrid",
            has_touch=size == PHONE,
            reduced_motion="reduce",
        )
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        self.pages.append(page)
        page.goto(path)
        return page

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not EXPECTED.search(message.text):
            self.said.append(f"{message.type}: {message.text}")

    def sign_in(
        self,
        path: str,
        email: str,
        size: tuple[int, int] = DESKTOP,
        *,
        dark: bool = False,
        language: str = "en",
    ) -> Page:
        """A new window of somebody who signs in. The words that it looks for are English."""
        page = self.open("/", size, dark=dark, language=language)
        page.get_by_label("E-mail").fill(email)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in", exact=True).click()
        expect(page.get_by_role("navigation", name="Main")).to_be_visible()
        page.goto(path)
        return page

    def close(self) -> None:
        """Every window; nothing may have been complained of: no error, no policy broken."""
        for page in self.pages:
            page.context.close()
        assert self.said == []


@contextmanager
def set_up(running: Running, email: str = "ana@northern.example") -> Generator[httpx.Client]:
    """The first administrator, by the link that the first start printed; a client that is signed in as her."""
    link = re.search(r"\S+/setup\?token=(\S+)", running.out.read_text())
    assert link, running.out.read_text()
    with httpx.Client(base_url=f"{running.api}/api", timeout=60) as client:
        form = {"token": link[1], "name": "Ana", "email": email, "password": PASSWORD}
        client.post("/setup", data=form).raise_for_status()
        yield client


def report(running: Running, unique_id: str, latitude: float, longitude: float, **more: float) -> None:
    """A tracker sends a place, as a phone does."""
    host, port = running.addresses["osmand"]
    query = {"id": unique_id, "lat": latitude, "lon": longitude, **more}
    httpx.post(f"http://{host}:{port}/", params=query, timeout=60).raise_for_status()


def picture(page: Page, name: str) -> None:
    """One of the tutorial's pictures, where they are to be taken anew."""
    if os.environ.get(KEEP) == "1":
        SCREENSHOTS.mkdir(exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{name}.png")

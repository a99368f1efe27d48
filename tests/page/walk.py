"""Every view and every dialog, as somebody sees them in one dress, and what is wrong with how they look.

Nothing is changed on the way: what would change something is answered by the test.
"""

from __future__ import annotations

import json
import re
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Error, Locator, Page, Route, expect

from tests.page.conftest import PASSWORD, PHONE, Visitor

LOOK = Path(__file__).with_name("look.js")
AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
TABS = {
    "/live": ("", "device=1"),
    "/history": ("device=1",),
    "/trackers": ("", "add=1"),
    "/fences": ("",),
    "/alerts": ("", "tab=log", "tab=channels"),
    "/reports": ("",),
    "/lists": ("", "tab=drivers", "tab=maintenance", "tab=calendars"),
    "/money": ("", "tab=ledger", "tab=invoices", "tab=tariff", "tab=calculator"),
    "/operator": ("", "tab=people", "tab=quarantine", "tab=health", "tab=books"),
    "/settings": ("",),
}
# on a phone a tracker's card lies over the list
COVERED = (
    "one => Boolean(one.closest('.panel') && document.querySelector('.details')?.clientWidth === innerWidth)"
)
QUIET = "() => document.querySelectorAll('.toast button').forEach(one => one.click())"
REFUSED = json.dumps({"error": "–"})


@dataclass(frozen=True)
class Dress:
    """Who looks at the page, and how."""

    email: str
    size: tuple[int, int]
    language: str
    _: KW_ONLY
    dark: bool

    def __str__(self) -> str:
        device = "phone" if self.size == PHONE else "desk"
        return f"{self.email.partition('@')[0]}-{device}-{self.language}-{'dark' if self.dark else 'light'}"


@dataclass
class Walk:
    """One person's way through all that the rail leads to. ``given``: names that are no words of a language;
    ``pictures``: where each look is kept, if it is.
    """

    visitor: Visitor
    dress: Dress
    given: tuple[str, ...]
    pictures: Path | None = None
    names: dict[str, str] = field(default_factory=dict[str, str])
    found: list[str] = field(default_factory=list[str])
    seen: list[str] = field(default_factory=list[str])

    def go(self, *, dialogs: bool = True) -> list[str]:
        """All views that this person has; what is wrong with them."""
        page = self.page = self.visitor.open(
            "/page/config.json", self.dress.size, dark=self.dress.dark, language=self.dress.language
        )
        answer = page.request.post("/api/session", form={"email": self.dress.email, "password": PASSWORD})
        assert answer.ok, answer.text()
        page.goto("/live")
        expect(page.locator("nav.rail")).to_be_visible()
        teach(page, LOOK)
        page.route("**/api/**", self.refuse)
        self.names = self.links(page)
        for path in [
            f"{link}?{tab}" if tab else link for link in TABS if link in self.names for tab in TABS[link]
        ]:
            self.turn_to(path)
            if self.page.locator("dialog[open]").count():
                self.look_at_dialog(path)
                continue
            self.look(path)
            if dialogs:
                self.press_all(path)
        return self.found

    @staticmethod
    def refuse(route: Route) -> None:
        acts = re.search(r"/session/\d+$", route.request.url)  # in another's place
        if route.request.method in {"GET", "HEAD"} and not acts:
            route.continue_()
        else:
            route.fulfill(status=409, content_type="application/json", body=REFUSED)

    @staticmethod
    def links(page: Page) -> dict[str, str]:
        """Where the rail leads to, and what it calls it."""
        more = page.locator("nav.rail button[aria-expanded]")
        if more.count():
            more.click()
        told = page.locator("nav.rail a").evaluate_all(
            "all => all.map(one => [one.getAttribute('href'), [...one.childNodes].find(each => each.nodeType === 3).data])"
        )
        return dict(told)

    def turn_to(self, path: str) -> None:
        self.page.evaluate(
            "path => { history.pushState(null, '', path); dispatchEvent(new PopStateEvent('popstate')) }",
            path,
        )
        expect(self.page).to_have_title(re.compile(rf"^{re.escape(self.names[path.partition('?')[0]])} ·"))
        expect(self.page.locator("#content")).to_be_attached()
        self.settle()

    def settle(self) -> None:
        expect(self.page.locator(".spinner")).to_have_count(0)
        self.page.evaluate(
            "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def look(self, name: str, inside: str = "body") -> None:
        """What is wrong now; once for each name."""
        self.seen.append(name)
        where = f"{self.dress.language} {name}"
        told: list[str] = self.page.evaluate(
            "([inside, language, known]) => look(document.querySelector(inside), language, known)",
            [inside, self.dress.language, self.given],
        )
        self.found += [f"{where}: {one}" for one in told]
        self.found += [f"{where}: {one}" for one in serious(self.page, inside)]
        if self.pictures:
            self.pictures.mkdir(parents=True, exist_ok=True)
            file = re.sub(r"\W+", "-", name.strip("/"))
            self.page.screenshot(path=self.pictures / f"{file}.png")

    def press_all(self, path: str) -> None:
        """Every button of the view, once for each that does the same; the dialogs that they open are looked at."""
        names: set[str] = set()
        buttons = self.page.locator("main button:visible:enabled:not(.map-buttons button)")
        count = buttons.count()
        for number in range(count):
            button = buttons.nth(number)
            if button.count() == 0:
                break
            if button.evaluate(COVERED):
                continue
            name = button.evaluate(
                "one => one.dataset.kind ?? one.getAttribute('aria-label') ?? one.textContent"
            )
            kind = without(name, self.given)
            if kind in names:
                continue
            names.add(kind)
            self.press(button, f"{path} {name.strip()}", path)

    def press(self, button: Locator, name: str, path: str) -> None:
        self.page.evaluate(QUIET)
        address = self.page.url
        try:
            button.click(timeout=30_000)
        except Error as error:
            self.found.append(
                f"{self.dress.language} {name}: cannot be pressed: {str(error).splitlines()[0]}"
            )
            return
        self.settle()
        if self.page.locator("dialog[open]").count():
            self.look_at_dialog(name)
        elif self.page.url != address:
            self.turn_to(path)
        elif self.page.locator(".hint-bar").count():
            self.look(name)
            self.page.keyboard.press("Escape")

    def look_at_dialog(self, name: str) -> None:
        """The dialog that is open, with all that it can unfold; then it is closed."""
        dialog = self.page.locator("dialog[open]")
        for one in dialog.locator("details:not([open]) > summary").all():
            one.click()
        self.settle()
        self.look(name, "dialog[open]")
        self.page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)


def without(text: str, known: tuple[str, ...]) -> str:
    for one in known:
        text = text.replace(one, "")
    return re.sub(r"[\d.,:\s]+", " ", text).strip()


def teach(page: Page, script: Path) -> None:
    """Run a script in a page whose policy lets in none but its own."""
    page.context.new_cdp_session(page).send("Runtime.evaluate", {"expression": script.read_text()})


def serious(page: Page, inside: str = "body") -> list[str]:
    """What axe finds, by its rule and the elements."""
    if not page.evaluate("'axe' in window"):
        teach(page, AXE)
    found: list[dict[str, Any]] = page.evaluate(
        "async inside => (await axe.run(document.querySelector(inside), { resultTypes: ['violations'] })).violations",
        inside,
    )
    return [
        f"{one['id']}: {[node['target'] for node in one['nodes']]}"
        for one in found
        if one["impact"] in {"serious", "critical"}
    ]

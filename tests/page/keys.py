"""Somebody without a mouse: what has the keyboard's focus is seen, and it is never lost."""

from __future__ import annotations

from playwright.sync_api import Page

from tests.servers.waiting import wait_until

TABS_MAX = 80
FOCUSED = """() => {
  const one = document.activeElement;
  if (!one || one === document.body) return null;
  const labels = [...(one.labels ?? [])].map((each) => each.textContent);
  const style = getComputedStyle(one);
  const box = one.getBoundingClientRect();
  return {
    name: (one.getAttribute("aria-label") ?? labels[0] ?? one.textContent).trim(),
    tag: one.tagName.toLowerCase(),
    seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 && box.width > 0
      && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
  };
}"""


class Keyboard:
    """The keys of one page. ``lost``: where the focus could not be seen."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.lost: list[str] = []

    def to(self, name: str) -> None:
        """Tab until what is called so has the focus."""
        passed: list[str] = []
        wrapped = 0
        while len(passed) < TABS_MAX:
            self.page.keyboard.press("Tab")
            now = self.page.evaluate(FOCUSED)
            if now is None:  # between the page's last and its first
                wrapped += 1
                assert wrapped == 1, passed
                continue
            passed.append(now["name"])
            if not now["seen"]:
                self.lost.append(f"{now['tag']} {now['name']!r} has the focus, and does not show it")
            if now["name"].startswith(name):
                return
        raise AssertionError(f"no {name!r} among {passed}")

    def press(self, name: str, key: str = "Enter") -> None:
        self.to(name)
        self.page.keyboard.press(key)

    def write(self, name: str, text: str) -> None:
        self.to(name)
        self.page.keyboard.type(text)

    def is_kept(self) -> None:
        """Whatever was done, the focus is somewhere."""
        wait_until("the focus", lambda: self.page.evaluate("document.activeElement !== document.body"))

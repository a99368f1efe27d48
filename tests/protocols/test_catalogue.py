"""The library's own page is printed from its registry."""

from __future__ import annotations

from tracker_protocols import catalogue

from .vectors import HOME


def test_the_page_is_current() -> None:
    page = (HOME.parent / "README.md").read_text()
    assert page == catalogue.page(), "run: python -m tracker_protocols.catalogue > protocols/README.md"

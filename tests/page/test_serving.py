"""How the page is served, before a browser looks at it."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from tracker_server.api.page import VIEWS, page_routes
from tracker_server.config import ConfigError, Page, load
from tracker_server.config_people import OpenId

STATIC = Path(__file__).parents[2] / "src" / "tracker_server" / "page" / "static"
FIRST_LOAD_BYTES_MAX = 1_000_000


def client(page: Page | None = None, built: Path | None = None) -> httpx.AsyncClient:
    app = Starlette(routes=page_routes(page or Page(), OpenId(), built))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://page")


async def test_every_view_is_the_page() -> None:
    asking = client()
    pages = {(await asking.get(path)).content for path in VIEWS}
    assert len(pages) == 1
    assert b'<div id="app">' in pages.pop()


@pytest.mark.parametrize("path", ["/no-such-view", "/a/b", "/live/now", "/page/nothing.json"])
async def test_a_path_that_there_is_not_is_the_page_for_a_browser_and_a_sentence_for_a_program(
    path: str,
) -> None:
    asking = client()
    seen = await asking.get(path, headers={"Accept": "text/html,*/*"})
    assert (seen.status_code, seen.text) == (404, (await asking.get("/")).text)
    assert (
        seen.headers["content-security-policy"] == (await asking.get("/")).headers["content-security-policy"]
    )
    says = f"there is no {path}; / is the page, and the API is below /api"
    told = await asking.get(path, headers={"Accept": "application/json"})
    assert (told.status_code, told.json()) == (
        404,
        {"error": says, "reason": "not_found", "values": {}},
    )
    plain = await asking.get(path)
    assert (plain.status_code, plain.text) == (404, says)


async def test_a_slash_too_many_is_led_to_the_view() -> None:
    led = await client().get("/live/")
    assert (led.status_code, led.headers["location"]) == (307, "http://page/live")
    led = await client().get("http://page//elsewhere.example/")
    assert led.headers["location"] == "http://page//elsewhere.example", "never to another host"


async def test_its_policy_allows_nothing_inline_and_nothing_from_elsewhere() -> None:
    policy = (await client().get("/")).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    html = (await client().get("/")).text
    assert not re.search(r"<script(?![^>]*src=)|<style|style=|onload=", html)


async def test_tiles_from_elsewhere_are_let_in_and_nothing_else() -> None:
    page = Page(tiles="https://tiles.example/{z}/{x}/{y}.png")
    policy = (await client(page).get("/")).headers["content-security-policy"]
    allowed = dict(part.split(" ", 1) for part in policy.split("; "))
    assert allowed["img-src"].endswith("https://tiles.example")
    assert allowed["connect-src"].endswith("https://tiles.example")
    assert allowed["script-src"] == "'self'"


async def test_files_go_out_packed_kept_for_ever_and_not_twice() -> None:
    asking = client()
    name = re.search(r'src="(/assets/[^"]+\.js)"', (await asking.get("/")).text)
    assert name
    packed = await asking.get(name[1], headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "immutable" in packed.headers["cache-control"]
    assert packed.headers["content-type"].startswith(("text/javascript", "application/javascript"))
    plain = await asking.get(name[1], headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == packed.content
    again = await asking.get(name[1], headers={"If-None-Match": packed.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert (await asking.get("/assets/nothing.js")).status_code == 404
    assert (await asking.get("/assets/..%2findex.html")).status_code == 404


async def test_a_server_without_its_page_says_so(tmp_path: Path) -> None:
    answer = await client(built=tmp_path / "static").get("/")
    assert answer.status_code == 503
    assert "make run" in answer.text


def test_what_the_first_look_loads_stays_below_a_megabyte() -> None:
    """The start, the map and its worker, the coarse world: what is fetched before the first tracker is seen."""
    first = [
        path
        for path in STATIC.rglob("*.gz")
        if re.match(r"(index|live|basemap|maplibre-gl|countries-110m|preload)\b", path.name)
    ]
    names = " ".join(path.name for path in first)
    for part in ("index.html", "maplibre-gl-worker", "countries-110m", "live-", "basemap-"):
        assert part in names
    assert sum(path.stat().st_size for path in first) < FIRST_LOAD_BYTES_MAX
    for path in first:
        assert gzip.decompress(path.read_bytes()) == path.with_suffix("").read_bytes()


async def test_an_archive_of_tiles_is_read_in_parts(tmp_path: Path) -> None:
    archive = tmp_path / "region.pmtiles"
    archive.write_bytes(bytes(range(256)) * 8)
    asking = client(Page(tiles=str(archive), title="Northern Fleet"))
    told = (await asking.get("/page/config.json")).json()
    assert told["tiles"] == "/page/tiles.pmtiles"
    assert told["title"] == "Northern Fleet"
    part = await asking.get(told["tiles"], headers={"Range": "bytes=16-31"})
    assert part.status_code == 206
    assert part.content == bytes(range(16, 32))


@pytest.mark.parametrize(
    ("tiles", "says"),
    [
        ("/nowhere/region.pmtiles", "there is no such file"),
        ("/etc/hostname", "a file of tiles is a .pmtiles archive"),
        ("ftp://tiles.example/{z}/{x}/{y}.png", "neither https:// nor http://"),
        ("https://tiles.example/tiles", "lacks {z}, {x} or {y}"),
    ],
)
def test_tiles_that_no_browser_could_fetch_are_refused(tiles: str, says: str) -> None:
    with pytest.raises(ConfigError, match=r"page\.tiles") as refused:
        load(environment={"TRACKER_PAGE__TILES": tiles})
    assert says in str(refused.value)

"""The web page: its files, the settings that it asks for before anybody is signed in, and the operator's own map."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.json import encode
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from tracker_server import __version__
from tracker_server.api.errors import not_found, response_of
from tracker_server.config import Page, is_local_file
from tracker_server.config_people import OpenId

VIEWS = (
    *(
        "/",
        "/live",
        "/history",
        "/fences",
        "/alerts",
        "/trackers",
        "/lists",
        "/reports",
        "/money",
        "/operator",
        "/settings",
    ),
    *("/setup", "/reset", "/share"),
)
TILES_FILE = "/page/tiles.pmtiles"
LANGUAGES = ("en", "es", "ru")
FOR_EVER = "public, max-age=31536000, immutable"  # the name of such a file has a digest of its content
MISSING = (
    b"This server was installed without its web page. Install it again with access to the npm registry "
    b"(in a checkout: make run), or use /api.\n"
)


class PageFile(Struct, frozen=True):
    """One file of the page, as it goes out."""

    content: bytes
    gzipped: bytes | None
    media_type: str
    etag: str
    cache: str


class PageConfig(Struct, frozen=True, rename="camel"):
    """What the page must know before anybody has signed in. ``tiles`` empty: the map inside."""

    title: str
    version: str
    tiles: str
    tiles_attribution: str
    tiles_zoom_max: int
    openid: str  # off, on, only
    geocoder: bool
    languages: tuple[str, ...] = LANGUAGES


def page_routes(
    page: Page, openid: OpenId, built: Traversable | None = None, *, geocoder: bool = False
) -> list[Route]:
    """The routes of the page; ``built`` is the folder with its files (default: the package's own)."""
    kept = load_files(built or files("tracker_server") / "page" / "static")
    headers = security_headers(page)
    config = encode(
        PageConfig(
            title=page.title,
            version=__version__,
            tiles=TILES_FILE if is_local_file(page.tiles) else page.tiles,
            tiles_attribution=page.tiles_attribution,
            tiles_zoom_max=page.tiles_zoom_max,
            geocoder=geocoder,
            openid="only" if openid.only else "on" if openid.issuer else "off",
        )
    )

    async def view(request: Request) -> Response:
        """The same document for every view; the page itself reads the path."""
        if (index := kept.get("index.html")) is None:
            return Response(MISSING, 503, headers, "text/plain")
        return answer(request, index, headers)

    async def unknown(request: Request) -> Response:
        """A path that there is not: the page says so to a browser, and knows the way home; a sentence for programs."""
        index = kept.get("index.html")
        if index is None or "text/html" not in request.headers.get("accept", ""):
            refusal = not_found(f"{request.url.path}; / is the page, and the API is below /api")
            refusal.headers |= headers
            return response_of(refusal, request)
        return Response(index.content, 404, {**headers, "Cache-Control": "no-cache"}, index.media_type)

    async def named(request: Request) -> Response:
        found = kept.get(request.url.path.removeprefix("/"))
        if found is None:
            return Response("There is no such file.\n", 404, headers, "text/plain")
        return answer(request, found, headers)

    async def page_config(_: Request) -> Response:
        return Response(config, media_type="application/json", headers={"Cache-Control": "no-cache"})

    async def tiles(_: Request) -> Response:
        """An archive of map tiles; FileResponse reads Range, by which the page fetches single tiles."""
        return FileResponse(page.tiles, media_type="application/vnd.pmtiles")

    routes = [Route(path, view, name=f"page {path}") for path in VIEWS]
    routes += [Route(path, named, name=f"page {path}") for path in ("/assets/{name}", "/favicon.svg")]
    routes.append(Route("/page/config.json", page_config))
    if is_local_file(page.tiles):
        routes.append(Route(TILES_FILE, tiles))
    anything = Route("/{rest:path}", unknown)
    anything.path_regex = re.compile("^/(?P<rest>.*[^/])$")  # "/live/" is led to "/live"
    return [*routes, anything]


def load_files(folder: Traversable) -> dict[str, PageFile]:
    """All files of the page by their paths; empty where it was not built."""
    if not folder.is_dir():
        return {}
    found: dict[str, PageFile] = {}
    for prefix, inside in (("", folder), ("assets/", folder / "assets")):
        names = {entry.name: entry for entry in inside.iterdir() if entry.is_file()}
        for name, entry in names.items():
            if name.startswith(".") or name.endswith(".gz"):
                continue
            content = entry.read_bytes()
            gzipped = names[f"{name}.gz"].read_bytes() if f"{name}.gz" in names else None
            found[f"{prefix}{name}"] = PageFile(
                content=content,
                gzipped=gzipped,
                media_type=mimetypes.guess_type(name)[0] or "application/octet-stream",
                etag=f'"{sha256(content).hexdigest()[:20]}"',
                cache=FOR_EVER if prefix else "no-cache",
            )
    return found


def answer(request: Request, file: PageFile, headers: Mapping[str, str]) -> Response:
    """The file, gzipped where the client takes that; 304 where it has it already."""
    sent = {**headers, "Cache-Control": file.cache, "ETag": file.etag, "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == file.etag:
        return Response(status_code=304, headers=sent)
    if file.gzipped is not None and "gzip" in request.headers.get("accept-encoding", ""):
        sent["Content-Encoding"] = "gzip"
        return Response(file.gzipped, headers=sent, media_type=file.media_type)
    return Response(file.content, headers=sent, media_type=file.media_type)


def security_headers(page: Page) -> dict[str, str]:
    """Nothing from elsewhere, nothing inline; only map tiles may come from where the settings say."""
    tiles = urlsplit(page.tiles)
    elsewhere = f" {tiles.scheme}://{tiles.netloc}" if tiles.netloc else ""
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": f"'self' data: blob:{elsewhere}",
        "connect-src": f"'self'{elsewhere}",
        "worker-src": "'self'",
        "font-src": "'self'",
        "manifest-src": "'self'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), microphone=(), payment=(), geolocation=(self)",
    }

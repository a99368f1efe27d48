"""The page in Debian's Chromium: what a first look loads and how long it takes, and 2,000 trackers that move at once.

Times of the first look come from Chromium's own trace, as Lighthouse has them; frames are counted in the page, from one to the
next. Where there is no graphics card, the map is drawn by the processor: then frames tell of the machine too.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, LiteralString

import msgspec
import psycopg
from answers import FLEET, TOKEN, fill
from measures import Found, Measure
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright
from processes import free_port, server

FLAGS = (
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--no-first-run",
)
VIEW = {"width": 1280, "height": 800}
LOOKS = 2
FIX_EVERY_S, ROUNDS_PER_S = 2, 10
SETTLE_S, WAIT_MS = 3, 60_000
CPU_AIM = 0.15
LONG_MS = 50.0  # a task that takes longer keeps a person waiting; what is beyond it is blocking time
BYTES_MAX = 1_000_000.0
PAINTS = ("firstContentfulPaint", "largestContentfulPaint::Candidate")  # of several candidates the last

# a circle of some hundred metres for each, so that all of them move on the screen at once
MOVE: LiteralString = """
WITH moved AS (
    INSERT INTO core.positions (device_id, fixed_at, received_at, digest, latitude, longitude, valid, speed_mps, course_deg, protocol,
                                attributes)
    SELECT d, now(), now(), d, 52 + d %% 40 / 400.0 + sin(d + %(turn)s / 3.0) / 300,
           21 + d / 40 %% 50 / 300.0 + cos(d + %(turn)s / 3.0) / 200, true, 12, %(turn)s * 20 %% 360, 'gt06', '{"ignition": true}'
    FROM unnest(%(devices)s::bigint[]) d RETURNING device_id, fixed_at, digest
)
UPDATE core.device_state s
SET contact_at = m.fixed_at, newest_fixed_at = m.fixed_at, latest_at = m.fixed_at, latest_fixed_at = m.fixed_at, latest_digest = m.digest,
    moving = true, online = true
FROM moved m WHERE s.device_id = m.device_id
"""
FRAMES = """
seconds => new Promise(done => {
    const between = [], begun = performance.now();
    let last = begun;
    const frame = now => {
        between.push(now - last);
        last = now;
        if (now - begun < seconds * 1000 || between.length < 3) requestAnimationFrame(frame);
        else done(between.slice(1));
    };
    requestAnimationFrame(frame);
})
"""
FINER = "() => performance.getEntriesByType('resource').some(one => one.name.includes('countries-50m') && one.responseEnd)"
LOADED = """
() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
    .filter(one => !one.name.includes('/api/')).reduce((sum, one) => sum + one.encodedBodySize, 0)
"""


def run(seconds: float) -> Found:
    """First looks, each with an empty cache; then one page that watches the fleet move."""
    program = shutil.which("chromium")
    if program is None:
        raise RuntimeError("Chromium is not installed; on Debian: apt-get install chromium")
    extra = {"TRACKER_API__HOST": "127.0.0.1", "TRACKER_API__PORT": str(port := free_port())}
    with server(extra) as one, psycopg.connect(one.dsn, autocommit=True) as connection:
        devices = fill(connection)
        move(connection, devices, 0)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
            measures = first_looks(browser, f"http://127.0.0.1:{port}")
            with moving(one.dsn, devices):
                measures += fleet(browser, f"http://127.0.0.1:{port}", seconds)
            browser.close()
    return Found("page", measures)


def opened(browser: Browser, url: str) -> Page:
    """A window with a session and an empty cache."""
    page = browser.new_context(base_url=url, viewport=VIEW, locale="en").new_page()  # pyright: ignore[reportArgumentType]
    page.set_default_timeout(WAIT_MS)
    page.goto(f"/api/session?token={TOKEN}")
    return page


def first_looks(browser: Browser, url: str) -> list[Measure]:
    """What is loaded until all trackers are drawn, and how long that takes."""
    loaded: list[float] = []
    traced: dict[str, list[float]] = {name: [] for name in (*PAINTS, "blocked")}
    drawn: list[float] = []
    for _ in range(LOOKS):
        page = opened(browser, url)
        browser.start_tracing(
            page=page,
            categories=[
                "loading",
                "blink.user_timing",
                "devtools.timeline",
                "disabled-by-default-lighthouse",
                "toplevel",
            ],
        )
        begun = time.perf_counter()
        page.goto("/")
        wait_until_drawn(page)
        drawn.append((time.perf_counter() - begun) * 1e3)
        for name, value in figures(browser.stop_tracing()).items():
            traced[name].append(value)
        loaded.append(page.evaluate(LOADED))
        page.context.close()
    return [
        Measure("first look: bytes loaded, as packed", "B", loaded, aim=BYTES_MAX),
        Measure("first look: first contentful paint", "ms", traced[PAINTS[0]]),
        Measure("first look: largest contentful paint", "ms", traced[PAINTS[1]]),
        Measure("first look: total blocking time", "ms", traced["blocked"]),
        Measure(f"first look: until {FLEET:,} trackers are drawn", "ms", drawn),
    ]


def wait_until_drawn(page: Page) -> None:
    """All trackers are on the map."""
    page.wait_for_function(f"() => document.querySelector('canvas.fleet')?.dataset.drawn === '{FLEET}'")


def figures(trace: bytes) -> dict[str, float]:
    """Milliseconds from the beginning of the page's navigation, and of blocking by its main thread, out of Chromium's trace."""
    events: list[dict[str, Any]] = msgspec.json.decode(trace)["traceEvents"]
    begun = next(
        one for one in events
        if one["name"] == "navigationStart" and one["args"]["data"]["isOutermostMainFrame"] and one["args"]["data"]["documentLoaderURL"]
    )  # fmt: skip
    found: dict[str, float] = {}
    for one in sorted(events, key=lambda event: event.get("ts", 0)):
        if (
            one["name"] in PAINTS
            and one["args"]["data"]["navigationId"] == begun["args"]["data"]["navigationId"]
        ):
            found[one["name"]] = (one["ts"] - begun["ts"]) / 1e3
    found.setdefault(PAINTS[1], found[PAINTS[0]])
    tasks = (
        one.get("dur", 0) / 1e3
        for one in tasks_of(events, begun["pid"], begun["tid"])
        if one["ts"] >= begun["ts"]
    )
    return {**found, "blocked": sum(max(task - LONG_MS, 0.0) for task in tasks)}


def tasks_of(events: list[dict[str, Any]], pid: int, tid: int) -> list[dict[str, Any]]:
    """What a thread did, piece by piece."""
    return [
        one for one in events if (one["pid"], one["tid"]) == (pid, tid) and one["name"].endswith("RunTask")
    ]


def fleet(browser: Browser, url: str, seconds: float) -> list[Measure]:
    """Frames while all trackers move, and who spends the CPU: the page, or the rasteriser."""
    page = opened(browser, url)
    page.goto("/")
    wait_until_drawn(page)
    page.wait_for_function(
        FINER
    )  # its borders are cut and drawn once: that is of the first look, not of movement
    page.wait_for_timeout(SETTLE_S * 1_000)
    browser.start_tracing(page=page, categories=["toplevel", "devtools.timeline", "blink.user_timing"])
    page.evaluate("() => performance.mark('frames')")
    asking = browser.new_browser_cdp_session()
    before = cpu_s(asking)
    frames: list[float] = sorted(page.evaluate(FRAMES, max(seconds, SETTLE_S)))
    spent = {kind: used - before.get(kind, 0.0) for kind, used in cpu_s(asking).items()}
    events: list[dict[str, Any]] = msgspec.json.decode(browser.stop_tracing())["traceEvents"]
    page.context.close()
    here = next(one for one in events if one["name"] == "frames")
    of_page = [
        one for one in events if (one["pid"], one["tid"]) == (here["pid"], here["tid"]) and "tdur" in one
    ]
    tasks = [one["tdur"] / 1e3 for one in of_page if one["name"].endswith("RunTask")]
    drawing = [one["tdur"] / 1e3 for one in of_page if one["name"] == "FireAnimationFrame"]
    lasted_s = sum(frames) / 1e3
    name = f"{FLEET:,} trackers, each with a fix every {FIX_EVERY_S} s"
    return [
        Measure(f"{name}: frames", "1/s", [len(frames) / lasted_s], better="more"),
        Measure(f"{name}: a frame, median", "ms", [frames[len(frames) // 2]]),
        Measure(f"{name}: longest frame", "ms", [frames[-1]]),
        Measure(f"{name}: CPU of the page's thread", "s/s", [sum(tasks) / 1e3 / lasted_s], aim=CPU_AIM),
        Measure(f"{name}: CPU of its longest task", "ms", [max(tasks)], aim=LONG_MS),
        Measure(
            f"{name}: CPU of the page's thread for an animation frame", "ms", [sum(drawing) / len(drawing)]
        ),
        Measure(f"{name}: CPU of the rasteriser", "s/s", [spent.get("GPU", 0.0) / lasted_s]),
    ]


def cpu_s(asking: CDPSession) -> dict[str, float]:
    """Seconds of CPU of Chromium's processes so far, by their kind."""
    found: dict[str, float] = {}
    for one in asking.send("SystemInfo.getProcessInfo")["processInfo"]:
        found[one["type"]] = found.get(one["type"], 0.0) + one["cpuTime"]
    return found


@contextmanager
def moving(dsn: str, devices: list[int]) -> Generator[None]:
    """All of them move, in turns, for as long as this lasts."""
    over = threading.Event()

    def work() -> None:
        turns = FIX_EVERY_S * ROUNDS_PER_S
        with psycopg.connect(dsn, autocommit=True) as connection:
            turn = 0
            while not over.wait(1 / ROUNDS_PER_S):
                turn += 1
                move(connection, devices[turn % turns :: turns], turn // turns)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def move(connection: psycopg.Connection[Any], devices: list[int], turn: int) -> None:
    """A new fix of each, told to open pages."""
    with connection.transaction():
        connection.execute(MOVE, {"devices": devices, "turn": turn})
        told = " ".join(map(str, [0, *devices[: FLEET // (FIX_EVERY_S * ROUNDS_PER_S)]]))
        connection.execute("SELECT pg_notify('tracker_live', %s)", [told])

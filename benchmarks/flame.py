"""A flame graph of the server's work as SVG, from stacks that py-spy wrote (``py-spy record -f raw``).

    python benchmarks/flame.py stacks.raw flame.svg 'ingest, GT06'

Only the thread that serves devices is drawn, from its event loop on, and without the time in which it waits. Width is
the share of samples; names are functions with their files; what is hovered over tells its share.
"""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct, field

LOOP = "run (uvloop/__init__.py"  # the main thread's loop; others are beside it
WIDTH, ROW, LEAST = 1_200.0, 17, 0.6  # pixels; what is narrower than the last is left out
LINE = re.compile(r":\d+\)$")
COLOURS = {
    "tracker_protocols": "#7fb069", "track": "#e6aa68", "storage": "#5d9fd3", "pipeline": "#b48ead",
    "listeners": "#d98880", "psycopg": "#8fb8de", "": "#c9c9c9",
}  # fmt: skip


class Node(Struct):
    """One function as called from one place: how many samples it was on the stack in, and what it called."""

    samples: int = 0
    calls: dict[str, Node] = field(default_factory=dict)


def read(lines: Iterator[str]) -> Node:
    """The tree of all calls. Raises ValueError where nothing of the loop's thread is in it."""
    root = Node()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        frames = [LINE.sub(")", frame) for frame in stack.split(";")]
        loops = [n for n, frame in enumerate(frames) if frame.startswith(LOOP)]
        work = frames[loops[-1] + 1 :] if loops else []
        # below the loop stand the runner's own frames; what has nothing above them is waiting
        while work and ("asyncio/" in work[0] or "uvloop/" in work[0]):
            work.pop(0)
        if not work:
            continue
        node = root
        node.samples += int(count)
        for frame in work:
            node = node.calls.setdefault(frame, Node())
            node.samples += int(count)
    if not root.samples:
        raise ValueError("no samples of the server's loop: is this the raw output of py-spy?")
    return root


def colour(frame: str) -> str:
    """By the part of the program."""
    return next((hue for part, hue in COLOURS.items() if part and f"{part}/" in frame), COLOURS[""])


def drawn(node: Node, whole: int, left: float, depth: int) -> Iterator[str]:
    """The rectangles of what a function called, the most costly first."""
    for frame, called in sorted(node.calls.items(), key=lambda item: -item[1].samples):
        width = called.samples / whole * WIDTH
        if width < LEAST:
            continue
        name, share = html.escape(frame), called.samples / whole
        top = depth * ROW + 30
        text = html.escape(frame.partition(" (")[0][: int(width / 6.2)]) if width > 25 else ""
        yield (
            f'<g><title>{name}: {share:.1%}</title><rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{ROW - 1}"'
            f' fill="{colour(frame)}"/><text x="{left + 2:.1f}" y="{top + 12}">{text}</text></g>'
        )
        yield from drawn(called, whole, left, depth + 1)
        left += width


def deepest(node: Node, whole: int) -> int:
    """How many rows there are to draw."""
    seen = [deepest(one, whole) for one in node.calls.values() if one.samples / whole * WIDTH >= LEAST]
    return 1 + max(seen) if seen else 0


def flame(root: Node, title: str) -> str:
    """The whole drawing."""
    height = deepest(root, root.samples) * ROW + 40
    body = "\n".join(drawn(root, root.samples, 0.0, 0))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0f} {height}" font-family="sans-serif" font-size="11">\n'
        f'<rect width="100%" height="100%" fill="white"/><text x="4" y="18" font-size="13">{html.escape(title)}:'
        f" {root.samples:,} samples of work</text>\n{body}\n</svg>\n"
    )


if __name__ == "__main__":
    source, target, name = sys.argv[1:]
    with Path(source).open() as stacks:
        Path(target).write_text(flame(read(iter(stacks)), name))

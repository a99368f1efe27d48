"""What is written from the registry of protocols into files of other languages: ports and tables.

``tables.py`` writes them; ``tables.py --check`` exits 1 where one is not what it would be.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tracker_protocols import ALL
from tracker_protocols.protocol import Protocol, Transport
from tracker_server.config import Api, Mqtt

HERE = Path(__file__).parents[1]
API_PORT = Api().port
MQTT_PORT = Mqtt().port
MODELS_MAX = 8  # of a protocol, in the README; its own page has all of them


def wire(transport: Transport) -> str:
    """What a firewall calls it."""
    return "udp" if transport is Transport.UDP else "tcp"


def ports() -> list[str]:
    """``5001/tcp`` …, by number."""
    own = [(p.port, wire(t)) for p in ALL for t in p.transports if t is not Transport.MQTT]
    found = [*own, (MQTT_PORT, "tcp")]
    return [f"{port}/{kind}" for port, kind in sorted(set(found))]


def expose() -> list[str]:
    """The Dockerfile's line."""
    return [f"EXPOSE {API_PORT}/tcp {' '.join(ports())}"]


def publish() -> list[str]:
    """The compose file's list."""
    api = f"      - 127.0.0.1:{API_PORT}:{API_PORT}/tcp"
    return [api, *(f"      - {port.partition('/')[0]}:{port}" for port in ports())]


def row(protocol: Protocol) -> str:
    """One protocol in the README."""
    models = ", ".join(protocol.models[:MODELS_MAX])
    more = len(protocol.models) - MODELS_MAX
    spoken = ", ".join(transport.value.upper() for transport in protocol.transports)
    page = f"protocols/tracker_protocols/{protocol.name}/README.md"
    models += f" and {more} more" if more > 0 else ""
    return f"| [`{protocol.name}`]({page}) | {protocol.title} | {protocol.port} | {spoken} | {models} |"


def protocols() -> list[str]:
    """The README's table."""
    rows = [row(protocol) for protocol in sorted(ALL, key=lambda protocol: protocol.name)]
    return ["| name | family | port | over | models |", "|---|---|---|---|---|", *rows]


BLOCKS = (
    ("Dockerfile", "# ports: ", expose),
    ("config/compose.yaml", "# ports: ", publish),
    ("README.md", "<!-- protocols: ", protocols),
)


def filled(text: str, marker: str, lines: list[str]) -> str:
    """The text with these lines between the lines that say ``begin`` and ``end``."""
    old = text.splitlines()
    begin = next(n for n, line in enumerate(old) if line.lstrip().startswith(f"{marker}begin"))
    end = next(n for n, line in enumerate(old) if line.lstrip().startswith(f"{marker}end"))
    return "\n".join([*old[: begin + 1], *lines, *old[end:], ""])


def main() -> int:
    """Write, or check."""
    stale = 0
    for name, marker, write in BLOCKS:
        path = HERE / name
        text = path.read_text()
        wanted = filled(text, marker, write())
        if text == wanted:
            continue
        if "--check" in sys.argv:
            stale = 1
            sys.stderr.write(f"{name} is not what the registry of protocols says; run: make tables\n")
        else:
            path.write_text(wanted)
            sys.stdout.write(f"{name} written\n")
    return stale


if __name__ == "__main__":
    sys.exit(main())

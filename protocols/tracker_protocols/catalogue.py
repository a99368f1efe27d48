"""Prints ``protocols/README.md``: what this library is, and a table of all protocols, from the registry."""

from __future__ import annotations

from tracker_protocols import ALL

HEAD = """\
# tracker_protocols

Decoders for the languages of GPS trackers, as a library of its own: bytes in, messages out. It opens no
socket, reads no clock, keeps no file and imports nothing of the server; `msgspec`, `fastcrc` and `pynmea2` are all
that it needs.

```python
from datetime import UTC, datetime
from tracker_protocols import BY_NAME

decoder = BY_NAME["gt06"].decoder()
for frame in decoder.receive_data(bytes.fromhex("78780d01086471700328358100093f040d0a"), datetime.now(UTC)):
    for message in frame.messages:
        print(message)  # Login(device='864717003283581', reply=Reply(data=b'xx…'))
```

A reply is returned, not sent: whoever holds the socket sends it, a report's only once the report is safe.
How to add a protocol: [docs/howto/add-a-protocol.md](../docs/howto/add-a-protocol.md).

This page is printed by `python -m tracker_protocols.catalogue`; a test keeps it current.

| protocol | spoken by | port | over | checksum | papers |
|---|---|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    rows = [
        f"| `{p.name}` | {p.title}: {', '.join(p.models)} | {p.port} | {', '.join(t.value for t in p.transports)} "
        f"| {'yes' if p.checksum else 'no'} | [README](tracker_protocols/{p.name}/README.md) |\n"
        for p in sorted(ALL, key=lambda protocol: protocol.name)
    ]
    return HEAD + "".join(rows)


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201

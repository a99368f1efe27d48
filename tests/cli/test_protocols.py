"""The list of protocols is the registry."""

from __future__ import annotations

import csv
import io

from tests.cli.terminal import Terminal
from tracker_protocols import ALL


def test_json_has_all_of_it(bare: Terminal) -> None:
    rows = bare.json("protocols")
    assert [row["name"] for row in rows] == [protocol.name for protocol in ALL]
    for row, protocol in zip(rows, ALL, strict=True):
        assert row == {
            "name": protocol.name,
            "title": protocol.title,
            "port": protocol.port,
            "transports": [str(transport) for transport in protocol.transports],
            "models": list(protocol.models),
            "commands": list(protocol.commands.types if protocol.commands else ()),
        }


def test_csv_has_lists_as_text(bare: Terminal) -> None:
    rows = list(csv.DictReader(io.StringIO(bare.ok("protocols", "--format", "csv"))))
    assert [row["models"] for row in rows] == [", ".join(protocol.models) for protocol in ALL]


def test_the_table_has_not_the_room_for_all_models(bare: Terminal) -> None:
    longest = max(ALL, key=lambda protocol: len(protocol.models))
    table = bare.ok("protocols")
    assert longest.models[0] in table
    assert f"and {len(longest.models) - 6} more" in table
    assert longest.models[-1] not in table

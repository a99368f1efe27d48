"""``tracker_protocols`` is a library without I/O: importing it brings in nothing that could do any."""

from __future__ import annotations

import json
import subprocess
import sys

IMPORTED = """
import sys
before = set(sys.modules)
import tracker_protocols
import json
print(json.dumps(sorted(set(sys.modules) - before)))
"""
NO_BUSINESS_OF_OURS = {
    "asyncio", "concurrent", "http", "multiprocessing", "psycopg", "select", "selectors", "socket", "socketserver",
    "sqlite3", "ssl", "starlette", "structlog", "subprocess", "tracker_server", "uvicorn", "uvloop",
}  # fmt: skip


def test_importing_it_brings_in_no_io() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True)
    imported = set(json.loads(done.stdout))
    assert "tracker_protocols.gt06.decoder" in imported
    assert {name for name in imported if name.partition(".")[0] in NO_BUSINESS_OF_OURS} == set()

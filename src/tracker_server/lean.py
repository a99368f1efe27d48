"""Structlog without rich and greenlet, for the processes that serve.

It loads what is installed of them: rich, because the commands need it, and greenlet, which others bring along. A server shows no
traceback in colours and has no greenlets: they would be 6 MB, and a tenth of a second of each start. Whoever imports structlog first
decides.
"""

from __future__ import annotations

import sys

HIDDEN = [name for name in ("rich", "greenlet") if name not in sys.modules]

for name in HIDDEN:
    sys.modules[name] = None  # type: ignore[assignment]  # as if it were not installed
try:
    import structlog
finally:
    for name in HIDDEN:
        del sys.modules[name]

__all__ = ["structlog"]

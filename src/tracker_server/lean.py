"""Structlog without rich, for the processes that serve.

It loads rich where that is installed, as the commands need it. A server shows no traceback in its colours: they would be 5 MB,
and a tenth of a second of each start. Whoever imports structlog first decides.
"""

from __future__ import annotations

import sys

HIDDEN = "rich"

if HIDDEN in sys.modules:
    import structlog
else:
    sys.modules[HIDDEN] = None  # type: ignore[assignment]  # as if it were not installed
    try:
        import structlog
    finally:
        del sys.modules[HIDDEN]

__all__ = ["structlog"]

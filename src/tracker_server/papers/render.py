"""The one door to typst: a template of this package and its data, to a PDF that is the same each time."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

TEMPLATES: Final = Path(__file__).parent / "templates"


def pdf(template: str, data: Any, made_at: datetime) -> bytes:
    """A PDF of a template. Takes some hundred milliseconds of a processor: not for a loop that answers others.

    Only the fonts within typst are used and ``made_at`` is the date in the file, so the same data are the same
    bytes on every machine.
    """
    import typst

    return typst.compile(
        TEMPLATES / f"{template}.typ",
        root=TEMPLATES,
        format="pdf",
        ignore_system_fonts=True,
        sys_inputs={"data": msgspec.json.encode(data).decode()},
        timestamp=int(made_at.timestamp()),
    )

"""Writes what is printed from code into docs/explanation/billing.md and docs/reference/billing-rules.md.

python -m tests.billing.write_docs
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.billing.rules_table import PAGE, page
from tracker_server.billing.states import diagram
from tracker_server.payments.states import diagram as payments_diagram

HOWTO = Path(__file__).resolve().parents[2] / "docs/howto/take-payments.md"
EXPLANATION = Path(__file__).resolve().parents[2] / "docs/explanation/billing.md"


def main() -> None:
    """Write both."""
    PAGE.write_text(page(), encoding="utf-8")
    text = EXPLANATION.read_text(encoding="utf-8")
    block = f"<!-- diagram -->\n```mermaid\n{diagram()}```\n<!-- /diagram -->"
    text = re.sub(r"<!-- diagram -->.*<!-- /diagram -->", lambda _: block, text, flags=re.DOTALL)
    EXPLANATION.write_text(text, encoding="utf-8")
    text = HOWTO.read_text(encoding="utf-8")
    block = f"<!-- payments diagram -->\n```mermaid\n{payments_diagram()}```\n<!-- /payments diagram -->"
    text = re.sub(
        r"<!-- payments diagram -->.*<!-- /payments diagram -->", lambda _: block, text, flags=re.DOTALL
    )
    HOWTO.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

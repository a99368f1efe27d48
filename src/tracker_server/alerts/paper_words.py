"""The letter that an invoice or a credit note goes with."""

from __future__ import annotations

from typing import Final

from tracker_server.alerts.letters import Language

SUBJECTS: Final[dict[Language, dict[str, str]]] = {
    "en": {"invoice": "Invoice {number}: {amount}", "credit_note": "Credit note {number}: {amount}"},
    "es": {
        "invoice": "Factura {number}: {amount}",
        "credit_note": "Factura rectificativa {number}: {amount}",
    },
    "ru": {"invoice": "Счёт {number}: {amount}", "credit_note": "Кредитовое авизо {number}: {amount}"},
}
TEXTS: Final[dict[Language, dict[str, str]]] = {
    "en": {
        "invoice": "Thank you: your payment of {amount} arrived on {on} and is on your balance. The invoice is attached.",
        "credit_note": "{amount} went back on {on}. The credit note is attached.",
    },
    "es": {
        "invoice": "Gracias: su pago de {amount} llegó el {on} y está en su saldo. La factura va adjunta.",
        "credit_note": "Se devolvieron {amount} el {on}. El documento va adjunto.",
    },
    "ru": {
        "invoice": "Спасибо: ваш платёж на сумму {amount} поступил {on} и зачислен. Счёт приложен.",
        "credit_note": "{amount} возвращено {on}. Документ приложен.",
    },
}

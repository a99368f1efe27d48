"""The gateways that the settings name."""

from __future__ import annotations

from tracker_server.config_money import Payments
from tracker_server.payments.port import Gateway
from tracker_server.payments.stripe import Stripe
from tracker_server.payments.webhook import Webhook


def gateways_of(settings: Payments) -> dict[str, Gateway]:
    """Every gateway that is set up, by its name."""
    found: list[Gateway] = []
    if settings.stripe.secret_key:
        found.append(Stripe(settings.stripe))
    if settings.webhook.secret:
        found.append(Webhook(settings.webhook))
    return {gateway.name: gateway for gateway in found}

"""The settings of who sells and of how money comes in. A part of ``config``."""

from __future__ import annotations

import re
from typing import Annotated, Final
from urllib.parse import urlsplit

from msgspec import Meta, Struct, field

from tracker_server.config_keys import SECRET
from tracker_server.model.business_hours import business_hours
from tracker_server.model.money import InvalidValueError

CHECKOUT_PLACES: Final = ("payment", "amount", "currency", "return")
SECRET_CHARACTERS_MIN: Final = 16  # of our own webhook's: it is all that keeps strangers from making money
HUNDREDTHS_MAX: Final = 10_000  # 100 %
_PERCENT: Final = re.compile(r"([0-9]{1,3})(?:\.([0-9]{1,2}))?", re.ASCII)
_PREFIX: Final = re.compile(r"[A-Z0-9]{1,8}", re.ASCII)
_KEY: Final = re.compile(r"[!-~]*")  # visible ASCII, as a header takes it


class MoneySettingError(ValueError):
    """A setting that cannot be used. The message names the key and the cure."""


class Seller(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The operator as it stands on invoices, on the payment page and in its letters."""

    name: Annotated[str, Meta(description="the company's name")] = ""
    address: Annotated[str, Meta(description="street and town, in one line or several")] = ""
    tax_id: Annotated[str, Meta(description="its tax number, as it is printed")] = ""
    email: Annotated[str, Meta(description="where customers may write")] = ""
    phone: Annotated[str, Meta(description="where customers may call")] = ""
    url: Annotated[str, Meta(description="its site")] = ""
    tax_name: Annotated[str, Meta(description="of the tax within all prices, such as VAT or IVA")] = ""
    tax_percent: Annotated[
        str, Meta(description="per cent, with at most two decimals, within all prices; 0: no tax is shown")
    ] = "0"
    note: Annotated[str, Meta(description="a sentence at the end of each invoice")] = ""
    invoices: Annotated[
        bool, Meta(description="whether each payment received gets an invoice, and each refund a credit note")
    ] = True
    invoice_prefix: Annotated[
        str, Meta(description="of invoice numbers; year and number follow: I2027-000001")
    ] = "I"
    credit_prefix: Annotated[str, Meta(description="of the numbers of credit notes")] = "C"
    hours: Annotated[
        str,
        Meta(
            description="when the office is open, such as Mon-Fri 9:00-18:30, in billing.zone; empty: always"
        ),
    ] = ""
    holidays: Annotated[str, Meta(description="dates on which it is not, such as 2027-01-01, 2027-05-01")] = (
        ""
    )
    installation_hours: Annotated[
        Annotated[int, Meta(ge=0, le=24 * 90)],
        Meta(
            description="hours, from when the office is open, in which a visit is agreed on for an invoice that connects trackers; 0: none is promised"
        ),
    ] = 0
    events_url: Annotated[
        str, Meta(description="address of yours that is told of each invoice, signed; empty: none")
    ] = ""
    events_secret: Annotated[
        str,
        Meta(
            description="that the messages to it are signed with; 16 characters or more", extra={SECRET: True}
        ),
    ] = ""


class StripeGateway(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Payments by Stripe. ``secret_key`` empty: off."""

    secret_key: Annotated[str, Meta(description="sk_live_… or sk_test_…", extra={SECRET: True})] = ""
    webhook_secret: Annotated[
        str, Meta(description="whsec_… of the endpoint /api/gateways/stripe/webhook", extra={SECRET: True})
    ] = ""
    title: Annotated[str, Meta(description="what payers choose by")] = "Card"
    api_url: Annotated[str, Meta(description="Stripe's API, or what stands before it")] = (
        "https://api.stripe.com"
    )


class WebhookGateway(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Payments by any service that can call us with a signed message. ``secret`` empty: off."""

    secret: Annotated[
        str, Meta(description="shared with the service; 16 characters or more", extra={SECRET: True})
    ] = ""
    title: Annotated[str, Meta(description="what payers choose by")] = "Online payment"
    checkout_url: Annotated[
        str,
        Meta(
            description="page where one pays, with {payment}, {amount}, {currency}, {return}; empty: none is offered"
        ),
    ] = ""
    refund_url: Annotated[
        str, Meta(description="where refunds are posted, signed as the webhook; empty: they are listed only")
    ] = ""


class Payments(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How customers pay by themselves."""

    link_hours: Annotated[
        Annotated[int, Meta(ge=1, le=24 * 90)], Meta(description="hours for which a link to pay works")
    ] = 168
    stripe: StripeGateway = field(default_factory=StripeGateway)
    webhook: WebhookGateway = field(default_factory=WebhookGateway)


def tax_hundredths(percent: str) -> int:
    """Per cent × 100 of a decimal string. Raises MoneySettingError."""
    found = _PERCENT.fullmatch(percent.strip())
    hundredths = int(found[1]) * 100 + int((found[2] or "0").ljust(2, "0")) if found else HUNDREDTHS_MAX + 1
    if hundredths > HUNDREDTHS_MAX:
        raise MoneySettingError(
            f"seller.tax_percent: {percent!r} is no rate; write per cent with at most two decimals, such as 21 or 5.5"
        )
    return hundredths


def check_money(seller: Seller, payments: Payments, public_url: str) -> None:
    """Refuse what would be found out only as the first customer pays. Raises MoneySettingError."""
    if tax_hundredths(seller.tax_percent) and not seller.tax_name:
        raise MoneySettingError("seller.tax_name: is empty; name the tax of seller.tax_percent, such as VAT")
    for name, prefix in (
        ("invoice_prefix", seller.invoice_prefix),
        ("credit_prefix", seller.credit_prefix),
    ):
        if not _PREFIX.fullmatch(prefix):
            raise MoneySettingError(f"seller.{name}: {prefix!r} is none; write 1 to 8 capitals and digits")
    if seller.invoice_prefix == seller.credit_prefix:
        raise MoneySettingError(
            "seller.credit_prefix: is that of the invoices too; each needs numbers of its own"
        )
    try:
        business_hours(seller.hours, seller.holidays, "seller.")
    except InvalidValueError as error:
        raise MoneySettingError(str(error)) from None
    if seller.events_url and len(seller.events_secret) < SECRET_CHARACTERS_MIN:
        raise MoneySettingError(
            f"seller.events_secret: has {len(seller.events_secret)} characters; take {SECRET_CHARACTERS_MIN} or more, "
            "such as from `openssl rand -hex 32`"
        )
    stripe, webhook = payments.stripe, payments.webhook
    _check_stripe(stripe)
    if webhook.secret and len(webhook.secret) < SECRET_CHARACTERS_MIN:
        raise MoneySettingError(
            f"payments.webhook.secret: has {len(webhook.secret)} characters; take {SECRET_CHARACTERS_MIN} or more, "
            "such as from `openssl rand -hex 32`"
        )
    for key, url in (
        ("payments.stripe.api_url", stripe.api_url),
        ("payments.webhook.checkout_url", webhook.checkout_url),
        ("payments.webhook.refund_url", webhook.refund_url),
        ("api.public_url", public_url),
        ("seller.events_url", seller.events_url),
    ):
        if url and not _is_url(url):
            raise MoneySettingError(
                f"{key}: {url!r} is no address; write one that begins with https:// or http://"
            )
    if webhook.checkout_url and "{payment}" not in webhook.checkout_url:
        raise MoneySettingError(
            "payments.webhook.checkout_url: holds no {payment}; the service must tell it back to us"
        )
    if webhook.checkout_url:
        try:
            webhook.checkout_url.format(**dict.fromkeys(CHECKOUT_PLACES, ""))
        except (KeyError, ValueError, IndexError):
            places = ", ".join(f"{{{place}}}" for place in CHECKOUT_PLACES)
            raise MoneySettingError(
                f"payments.webhook.checkout_url: has a brace that means nothing; these do: {places}"
            ) from None


def _check_stripe(stripe: StripeGateway) -> None:
    if bool(stripe.secret_key) != bool(stripe.webhook_secret):
        raise MoneySettingError(
            "payments.stripe: secret_key and webhook_secret go together; set both, or neither"
        )
    for key, secret in (("secret_key", stripe.secret_key), ("webhook_secret", stripe.webhook_secret)):
        if not _KEY.fullmatch(secret):
            raise MoneySettingError(
                f"payments.stripe.{key}: has a character that no key of Stripe's has, such as a space or …; "
                "copy it anew from Stripe's dashboard"
            )


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text.replace("{", "").replace("}", ""))
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)

"""The calculator's actions: which fields each has, and which commands it stands for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from tracker_server.billing.commands import (
    Activate,
    AnyCommand,
    BackPay,
    ChangeZone,
    Chargeback,
    Connect,
    Convert,
    Ground,
    PayTerm,
    Purpose,
    Refund,
    Remove,
    Reprioritise,
    Resume,
    SetPrice,
    Sms,
    SmsFailed,
    Suspend,
    Switch,
    TopUp,
    Withdraw,
)
from tracker_server.billing.tariffs import Price, Tariff
from tracker_server.billing.what_if_fields import PRIORITY_LAST, Fields
from tracker_server.model.money import Currency, InvalidValueError

Commands: TypeAlias = tuple[AnyCommand, ...]
Reader: TypeAlias = Callable[[Fields, str, Currency, Mapping[str, Tariff]], Commands]

TEXT_LENGTH_MAX: Final = 1600  # ten messages' worth


def read_action(fields: Fields, unit: Currency, tariffs: Mapping[str, Tariff], default_key: str) -> Commands:
    """The commands of an action. Without a ``key`` of its own it is told apart by its place."""
    verb = fields.choice("do", READERS)
    key = fields.text_or_none("key") or default_key
    commands = READERS[verb](fields, key, unit, tariffs)
    fields.done()
    return commands


def _topup(fields: Fields, key: str, unit: Currency, _tariffs: Mapping[str, Tariff]) -> Commands:
    return (
        TopUp(key=key, amount_minor=fields.amount("amount", unit), means=fields.text_or_none("means") or ""),
    )


def _connect(fields: Fields, key: str, _unit: Currency, _tariffs: Mapping[str, Tariff]) -> Commands:
    return (
        Connect(
            key=key,
            device=fields.text("device"),
            priority=fields.whole("priority", PRIORITY_LAST),
            test=fields.flag("test", default=False),
            months=fields.whole_or_none("months"),
        ),
    )


def _convert(fields: Fields, key: str, _unit: Currency, _tariffs: Mapping[str, Tariff]) -> Commands:
    return (Convert(key=key, device=fields.text("device")),)


def _remove(fields: Fields, key: str, _unit: Currency, _tariffs: Mapping[str, Tariff]) -> Commands:
    return (Remove(key=key, device=fields.text("device")),)


def _reprioritise(fields: Fields, key: str, _unit: Currency, _tariffs: Mapping[str, Tariff]) -> Commands:
    return (Reprioritise(key=key, device=fields.text("device"), priority=fields.whole("priority")),)


def _activate(fields: Fields, key: str, _unit: Currency, _tariffs: Mapping[str, Tariff]) -> Commands:
    return (Activate(key=key, device=fields.text("device")),)


def _back_pay(fields: Fields, key: str, _unit: Currency, _tariffs: Mapping[str, Tariff]) -> Commands:
    return (BackPay(key=key, device=fields.text("device")),)


def _switch(fields: Fields, key: str, _unit: Currency, tariffs: Mapping[str, Tariff]) -> Commands:
    return (
        Switch(key=key, tariff=fields.choice("tariff", tariffs), effective=fields.day_or_none("effective")),
    )


def _sms(fields: Fields, key: str, _unit: Currency, _tariffs: Mapping[str, Tariff]) -> Commands:
    device = fields.text_or_none("device")
    text = fields.take_or("text", None)
    if text is not None and (not isinstance(text, str) or len(text) > TEXT_LENGTH_MAX):
        raise InvalidValueError(fields.name("text"), f"write at most {TEXT_LENGTH_MAX} characters in quotes")
    has_email = fields.flag("email", default=True)
    purpose = fields.word("purpose", Purpose, Purpose.ALERT)
    sent = Sms(key=key, device=device, text=text, purpose=purpose, has_email=has_email)
    if not fields.flag("failed", default=False):
        return (sent,)
    return (sent, SmsFailed(alert=key, device=device, has_email=has_email))


def _refund(fields: Fields, key: str, unit: Currency, _tariffs: Mapping[str, Tariff]) -> Commands:
    amount = fields.take("amount")
    if amount == "all":
        return (Refund(key=key),)
    return (
        Refund(key=key, amount_minor=Fields({"amount": amount}, fields.name("")[:-1]).amount("amount", unit)),
    )


def _chargeback(fields: Fields, key: str, unit: Currency, _tariffs: Mapping[str, Tariff]) -> Commands:
    payment = fields.text("payment")
    amount = fields.take_or("amount", None)
    if amount is None:
        return (Chargeback(key=key, payment=payment),)
    amount_minor = Fields({"amount": amount}, fields.name("")[:-1]).amount("amount", unit)
    return (Chargeback(key=key, payment=payment, amount_minor=amount_minor),)


def _withdraw(fields: Fields, key: str, _unit: Currency, _tariffs: Mapping[str, Tariff]) -> Commands:
    statement = fields.text_or_none("statement") or ""
    return (Withdraw(key=key, statement=statement, ground=fields.word("ground", Ground, Ground.WITHDRAWAL)),)


def _suspend(fields: Fields, key: str, _unit: Currency, _tariffs: Mapping[str, Tariff]) -> Commands:
    return (Suspend(key=key, device=fields.text_or_none("device"), last=fields.day_or_none("until")),)


def _resume(fields: Fields, key: str, _unit: Currency, _tariffs: Mapping[str, Tariff]) -> Commands:
    return (Resume(key=key, device=fields.text_or_none("device")),)


def _pay_term(fields: Fields, key: str, _unit: Currency, _tariffs: Mapping[str, Tariff]) -> Commands:
    return (PayTerm(key=key, device=fields.text_or_none("device"), months=fields.whole("months")),)


def _zone(fields: Fields, key: str, _unit: Currency, _tariffs: Mapping[str, Tariff]) -> Commands:
    return (ChangeZone(key=key, zone=fields.zone("zone")),)


def _price(fields: Fields, key: str, unit: Currency, tariffs: Mapping[str, Tariff]) -> Commands:
    name = fields.choice("tariff", tariffs)
    since = fields.day_or_none("since")
    if since is None:
        raise InvalidValueError(fields.name("since"), "it is missing; write the first date of the new price")
    price = Price(since, fields.price("monthly", unit), fields.price_or_none("sms", unit))
    return (SetPrice(key=key, tariff=name, price=price),)


READERS: Final[dict[str, Reader]] = {
    "topup": _topup,
    "connect": _connect,
    "convert": _convert,
    "remove": _remove,
    "activate": _activate,
    "back_pay": _back_pay,
    "switch": _switch,
    "sms": _sms,
    "refund": _refund,
    "suspend": _suspend,
    "resume": _resume,
    "pay_term": _pay_term,
    "reprioritise": _reprioritise,
    "price": _price,
    "zone": _zone,
    "chargeback": _chargeback,
    "withdraw": _withdraw,
}

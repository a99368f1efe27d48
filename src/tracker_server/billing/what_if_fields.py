"""Reading the calculator's JSON field by field, so that an error names the field and the cure."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, Final, TypeVar, cast

import msgspec

from tracker_server.billing.dates import check_zone
from tracker_server.billing.state import Settings
from tracker_server.billing.tariffs import Mode, Price, Tariff
from tracker_server.model.money import Currency, InvalidValueError, parse_minor

Word = TypeVar("Word", bound=StrEnum)

# A name is printed in tables and used in keys.
NAME_LENGTH_MAX: Final = 128
# Earlier and later dates leave no room for a window or a term beside them.
YEAR_MIN, YEAR_MAX = 1970, 9000
PRIORITY_LAST: Final = 2**31 - 1  # a tracker without a priority is paid after those that have one

_MISSING: Final = object()


class Fields:
    """One JSON object; ``done`` refuses what nobody asked for."""

    def __init__(self, raw: object, path: str) -> None:
        if not isinstance(raw, dict):
            raise InvalidValueError(path, f"{raw!r:.60} is not a JSON object; write {{…}}")
        self._left = dict(cast("dict[str, Any]", raw))
        self._path = "" if path == "file" else f"{path}."

    def name(self, field: str) -> str:
        """A field's full name."""
        return f"{self._path}{field}"

    def take(self, field: str) -> Any:
        """A field that must be there."""
        if field not in self._left:
            raise InvalidValueError(self.name(field), "it is missing; add it")
        return self._left.pop(field)

    def take_or(self, field: str, default: Any) -> Any:
        """A field that may be left out, or null."""
        found = self._left.pop(field, _MISSING)
        return default if found is _MISSING or found is None else found

    def done(self) -> None:
        """Nothing may be left."""
        for field in self._left:
            raise InvalidValueError(
                self.name(field), "there is no such field here; remove it, or mend its name"
            )

    def text(self, field: str) -> str:
        """A name: not empty, not endless."""
        return self._checked_text(field, self.take(field))

    def text_or_none(self, field: str) -> str | None:
        """A name that may be left out."""
        found = self.take_or(field, None)
        return None if found is None else self._checked_text(field, found)

    def _checked_text(self, field: str, found: object) -> str:
        if not isinstance(found, str) or not 0 < len(found) <= NAME_LENGTH_MAX:
            raise InvalidValueError(
                self.name(field),
                f"{found!r:.60} is no name; write 1 to {NAME_LENGTH_MAX} characters in quotes",
            )
        return found

    def whole(self, field: str, default: int | None = None) -> int:
        """A whole number."""
        found = self.take(field) if default is None else self.take_or(field, default)
        if not isinstance(found, int) or isinstance(found, bool) or abs(found) > PRIORITY_LAST:
            raise InvalidValueError(
                self.name(field), f"{found!r:.60} is not a whole number; write digits without quotes"
            )
        return found

    def whole_or_none(self, field: str) -> int | None:
        """A whole number that may be left out."""
        return self.whole(field) if self._left.get(field) is not None else self.take_or(field, None)

    def flag(self, field: str, *, default: bool) -> bool:
        """True or false."""
        found = self.take_or(field, default)
        if not isinstance(found, bool):
            raise InvalidValueError(
                self.name(field), f"{found!r:.60} is neither; write true or false, without quotes"
            )
        return found

    def list(self, field: str) -> list[Any]:
        """A list."""
        found = self.take(field)
        if not isinstance(found, list):
            raise InvalidValueError(self.name(field), f"{found!r:.60} is not a list; write […]")
        return cast("list[Any]", found)

    def zone(self, field: str) -> str:
        """An IANA time zone."""
        return check_zone(self.take(field), self.name(field))

    def instant(self, field: str) -> datetime:
        """An instant with its offset from UTC."""
        found = self.take(field)
        try:
            at = datetime.fromisoformat(found)
            offset = at.utcoffset()
        except (TypeError, ValueError):
            offset = None
        else:
            if offset is not None and YEAR_MIN <= at.year <= YEAR_MAX:
                return at.astimezone(UTC)
        cure = "write one such as 2025-01-01T07:00:00Z, with Z or an offset"
        raise InvalidValueError(
            self.name(field), f"{found!r:.60} is not an instant between {YEAR_MIN} and {YEAR_MAX}; {cure}"
        )

    def day_or_none(self, field: str) -> date | None:
        """A date that may be left out."""
        found = self.take_or(field, None)
        if found is None:
            return None
        try:
            day = date.fromisoformat(found)
        except (TypeError, ValueError):
            day = date.min
        if not YEAR_MIN <= day.year <= YEAR_MAX:
            raise InvalidValueError(
                self.name(field), f"{found!r:.60} is not a date; write one such as 2025-04-01"
            )
        return day

    def choice(self, field: str, names: Collection[str]) -> str:
        """One of some names."""
        found = self.take(field)
        if not isinstance(found, str) or found not in names:
            raise InvalidValueError(
                self.name(field), f"{found!r:.60} is not one of {', '.join(sorted(names))}"
            )
        return found

    def word(self, field: str, kind: type[Word], default: Word) -> Word:
        """One of an enumeration's words."""
        found = self.take_or(field, default.value)
        return kind(self._one_of(field, found, [word.value for word in kind]))

    def _one_of(self, field: str, found: object, words: list[str]) -> str:
        if not isinstance(found, str) or found not in words:
            raise InvalidValueError(self.name(field), f"{found!r:.60} is not one of {', '.join(words)}")
        return found

    def amount(self, field: str, unit: Currency) -> int:
        """An amount that is more than nothing, in minor units."""
        amount_minor = parse_minor(self.take(field), unit, self.name(field))
        if amount_minor <= 0:
            raise InvalidValueError(
                self.name(field), "it must be more than 0; money that goes back is a refund"
            )
        return amount_minor

    def price(self, field: str, unit: Currency) -> int:
        """An amount that is not below nothing, in minor units."""
        amount_minor = parse_minor(self.take(field), unit, self.name(field))
        if amount_minor < 0:
            raise InvalidValueError(self.name(field), "a price is not below 0; write it without the minus")
        return amount_minor

    def price_or_none(self, field: str, unit: Currency) -> int | None:
        """A price that may be left out."""
        return self.price(field, unit) if self._left.get(field) is not None else self.take_or(field, None)


def read_tariffs(raw: object, unit: Currency) -> dict[str, Tariff]:
    """The tariffs of a question. A month's price of 0 makes a tariff free, whatever mode it names."""
    if not isinstance(raw, dict) or not raw:
        raise InvalidValueError(
            "tariffs", 'it is not a JSON object of tariffs; write {"Std": {"monthly": "310.00"}}'
        )
    tariffs: dict[str, Tariff] = {}
    for name, row in cast("dict[str, Any]", raw).items():
        fields = Fields(row, f"tariffs.{name}")
        monthly_minor = fields.price("monthly", unit)
        mode = fields.word("mode", Mode, Mode.BALANCE if monthly_minor else Mode.FREE)
        sms_minor = fields.price_or_none("sms", unit)
        sms_max = fields.whole_or_none("sms_max")
        if sms_max is not None and sms_max < 0:
            raise InvalidValueError(f"tariffs.{name}.sms_max", "write a whole number from 0")
        fields.done()
        if mode is Mode.FREE and monthly_minor:
            raise InvalidValueError(
                f"tariffs.{name}.monthly", "a free tariff costs 0; give it another mode, or no price"
            )
        if not monthly_minor:
            mode = Mode.FREE
        tariffs[name] = Tariff(name, mode, (Price(date.min, monthly_minor, sms_minor),), sms_max=sms_max)
    return tariffs


def read_settings(raw: object) -> Settings:
    """The operator's choices, as far as they are given."""
    try:
        settings = msgspec.convert(raw, Settings)
    except msgspec.ValidationError as error:
        raise InvalidValueError("settings", f"{error}; see the reference of settings") from None
    for name in ("switches_per_month_max", "reserve_days", "withdrawal_days", "suspension_months_max"):
        if not 0 <= getattr(settings, name) <= 366:
            raise InvalidValueError(f"settings.{name}", "write a whole number from 0 to 366")
    return settings

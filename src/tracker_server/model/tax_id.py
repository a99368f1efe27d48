"""Tax numbers: judged by the rules of their country, where these are known, and written in one way."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Final

from tracker_server.model.money import InvalidValueError

CHARACTERS_MAX: Final = 40
# How libraries of tax numbers name what a company is known by; tried in this order.
KINDS: Final = ("vat", "tin", "businessid")
# What is written for a country though ISO 3166 calls it otherwise.
MEANT: Final = {"UK": "GB", "EL": "GR"}
_PLAIN: Final = re.compile(r"[0-9A-Z][0-9A-Z./ -]*", re.ASCII)


def country(text: str, field: str) -> str:
    """An ISO 3166 code of two letters, or an error that names ``field``."""
    code = text.strip().upper()
    if code not in countries():
        example = MEANT.get(code, "ES or CL")
        raise InvalidValueError(
            field, f"{text!r} is no country; write its two letters (ISO 3166), such as {example}"
        )
    return code


@cache
def countries() -> frozenset[str]:
    """All countries' two letters, as the time zone database lists them."""
    table = (files("tzdata") / "zoneinfo" / "iso3166.tab").read_text(encoding="utf-8")
    return frozenset(line[:2] for line in table.splitlines() if line and not line.startswith("#"))


def tax_id(text: str, country_code: str | None, field: str) -> str:
    """A tax number in its country's plain writing, or an error that names ``field``. Without a country, or for one
    whose rules we do not know, only its characters are judged.
    """
    plain = " ".join(text.split()).upper()
    if not plain or len(plain) > CHARACTERS_MAX or not _PLAIN.fullmatch(plain):
        raise InvalidValueError(field, f"{text!r} is no tax number; write its letters and digits")
    if country_code is None:
        return re.sub(r"[^0-9A-Z]", "", plain)
    from stdnum import get_cc_module
    from stdnum.exceptions import ValidationError

    modules = [module for kind in KINDS if (module := get_cc_module(country_code.lower(), kind)) is not None]
    if not modules:
        return re.sub(r"[^0-9A-Z]", "", plain)
    for module in modules:
        try:
            return str(module.validate(plain))
        except ValidationError:
            continue
    raise InvalidValueError(
        field,
        f"{text!r} is no tax number of {country_code}: its length, form or check digit is not right; copy it anew",
    )

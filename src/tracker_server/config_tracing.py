"""The settings of tracing. A part of ``config``."""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import urlsplit

from msgspec import Meta, Struct

HTTP: Final = ("http", "https")


class TracingSettingError(ValueError):
    """A setting that cannot be used. The message names the key and the cure."""


class TracingError(Exception):
    """Tracing is asked for and cannot be had. The message names the setting and the cure."""


class Tracing(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the time goes, as OpenTelemetry spans. ``endpoint`` empty: off, which costs nothing."""

    endpoint: Annotated[
        str,
        Meta(
            description="of a collector that takes OTLP over HTTP: http://127.0.0.1:4318/v1/traces; needs the extra [otel]; empty: off"
        ),
    ] = ""
    share: Annotated[
        float, Meta(gt=0, le=1, description="of all traces that are kept; above 0 to 1, which is all")
    ] = 0.01
    service: Annotated[str, Meta(description="what spans call this server", min_length=1)] = "tracker-server"


def check_tracing(tracing: Tracing) -> None:
    """Refuse an address that is none."""
    if not tracing.endpoint:
        return
    address = urlsplit(tracing.endpoint)
    if address.scheme not in HTTP or not address.hostname:
        raise TracingSettingError(
            f"tracing.endpoint: {tracing.endpoint!r} is no address of a collector; "
            "for example http://127.0.0.1:4318/v1/traces"
        )

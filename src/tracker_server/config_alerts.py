"""The settings of alerts: how old, how many, and by which SMS provider. A part of ``config``."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct, field

from tracker_server.config_keys import SECRET

SMPP_PASSWORD_CHARACTERS_MAX: Final = 8  # SMPP 3.4 §4.1.1
SMPP_ID_CHARACTERS_MAX: Final = 15
AGE_S_MAX: Final = 7 * 86_400  # as long as it is remembered when a tracker was hidden (core.lifted)
TO: Final = "{to}"
TEXT: Final = "{text}"


class AlertSettingError(ValueError):
    """A setting that cannot be used. The message names the key and the cure."""


class Alerts(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What becomes of events; who is told of which is in the rules (`alert rule add`)."""

    age_max_s: Annotated[
        int,
        Meta(
            ge=1,
            le=AGE_S_MAX,
            description="seconds, at most a week; an older event is kept and told to nobody: late news is noise",
        ),
    ] = 900
    sms_per_day_max: Annotated[
        int, Meta(ge=0, description="SMS of one account in a day of its zone; what is above is logged only")
    ] = 100
    mails_per_hour_max: Annotated[
        int, Meta(ge=0, description="alert mails of one account in an hour; what is above is logged only")
    ] = 500
    pictures_per_minute_max: Annotated[
        int,
        Meta(
            ge=0,
            description="maps drawn for mails of rules that want one, a third of a second of a core each; what is above goes "
            "with words alone; 0: none",
        ),
    ] = 20
    link: Annotated[
        str,
        Meta(
            description="address told with each alert, {event} and {device} filled in; empty: of the page at api.public_url"
        ),
    ] = ""
    messenger_schemes: Annotated[
        str,
        Meta(
            description="apprise schemes that a rule's own URL may have; those whose host the customer chooses are "
            "held to public addresses"
        ),
    ] = "tgram whatsapp pover ntfy ntfys discord slack signals matrixs gotifys"


class Webhooks(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Alerts to addresses that customers name."""

    enabled: Annotated[bool, Meta(description="whether rules may name URLs")] = True
    private_addresses: Annotated[
        bool,
        Meta(
            description="whether a URL may lead to a private or local address: into the operator's own network"
        ),
    ] = False
    timeout_s: Annotated[float, Meta(gt=0, description="seconds in which a receiver must answer")] = 10.0


class Geocoding(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Addresses of places, for alerts and for whoever looks at a tracker. ``url`` empty: off; coordinates go to nobody."""

    url: Annotated[
        str,
        Meta(
            description="https://nominatim.example.com/reverse, or of Photon https://photon.example.com/reverse; empty: off"
        ),
    ] = ""
    kind: Annotated[Literal["nominatim", "photon"], Meta(description="whose answers it gives")] = "nominatim"
    per_second: Annotated[float, Meta(gt=0, description="questions a second, as the service allows")] = 1.0
    keep_days: Annotated[int, Meta(ge=1, description="days after which a place is asked for again")] = 180


class Smpp(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A provider's SMPP 3.4 server. ``host`` empty: none."""

    host: Annotated[str, Meta(description="name or address")] = ""
    port: Annotated[int, Meta(ge=1, le=65535, description="of that server")] = 2775
    system_id: Annotated[str, Meta(description="the user there; at most 15 characters")] = ""
    password: Annotated[str, Meta(description="of that user; at most 8 characters", extra={SECRET: True})] = (
        ""
    )
    system_type: Annotated[str, Meta(description="where the provider asks for one")] = ""
    window: Annotated[int, Meta(ge=1, le=1000, description="messages sent and not yet answered")] = 10
    per_second: Annotated[int, Meta(ge=1, description="messages a second, as the provider allows")] = 10
    timeout_s: Annotated[float, Meta(gt=0, description="seconds in which to be answered")] = 10.0
    enquire_s: Annotated[float, Meta(gt=0, description="seconds of silence until we ask who is there")] = 30.0
    ton: Annotated[int, Meta(ge=0, le=6, description="type of recipients' numbers; 1: international")] = 1
    npi: Annotated[int, Meta(ge=0, le=18, description="their numbering plan; 1: E.164")] = 1
    sender_ton: Annotated[
        int,
        Meta(ge=0, le=6, description="type of sms.from; 5: a name, 1: a number, 0: as the provider likes"),
    ] = 0
    sender_npi: Annotated[int, Meta(ge=0, le=18, description="numbering plan of sms.from")] = 0


class SmsHttp(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A provider's HTTP gateway. {to}, {text}, {from} and {key} are filled in, each written as its place demands."""

    url: Annotated[
        str,
        Meta(
            description="https://gateway.example.com/send?to={to}&text={text}; empty: none",
            extra={SECRET: True},
        ),
    ] = ""
    method: Annotated[Literal["POST", "GET", "PUT"], Meta(description="of the request")] = "POST"
    headers: Annotated[
        str,
        Meta(
            description='one a line: "Authorization: Bearer …\\nContent-Type: application/json"',
            extra={SECRET: True},
        ),
    ] = ""
    body: Annotated[
        str, Meta(description="of the request; its Content-Type says how the values are written")
    ] = ""
    success: Annotated[
        str,
        Meta(
            description="expression that the answer must match besides status 2xx; a group (?P<id>…) is the receipt"
        ),
    ] = ""
    timeout_s: Annotated[float, Meta(gt=0, description="seconds in which to be answered")] = 15.0


class Sms(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """SMS, charged when they are sent; a tariff without a price for them offers none."""

    provider: Annotated[
        Literal["", "smpp", "http", "apprise"], Meta(description="which of those below; empty: no SMS")
    ] = ""
    sender: Annotated[
        str, Meta(description="number or name that messages come from, as the provider allows")
    ] = field(default="", name="from")
    segments_max: Annotated[
        int, Meta(ge=1, le=10, description="parts of one message; a longer text is cut off")
    ] = 3
    give_up_s: Annotated[
        int, Meta(ge=1, description="seconds in vain after which an alert goes by e-mail instead")
    ] = 300
    refund_undelivered: Annotated[
        bool,
        Meta(description="whether a receipt that says undelivered gives the money back and sends an e-mail"),
    ] = True
    receipt_hours: Annotated[
        int,
        Meta(
            ge=1,
            description="hours in which a receipt may come, where the provider gives any; then `alert list` says unconfirmed",
        ),
    ] = 72
    apprise_url: Annotated[
        str, Meta(description="apprise URL with {to}, for its SMS services", extra={SECRET: True})
    ] = ""
    smpp: Smpp = field(default_factory=Smpp)
    http: SmsHttp = field(default_factory=SmsHttp)


def check_alerts(alerts: Alerts, sms: Sms, geocoder: Geocoding) -> None:
    """Refuse what would be found out only as the first alert is sent. Raises AlertSettingError."""
    if geocoder.url and urlsplit(geocoder.url).scheme not in {"http", "https"}:
        raise AlertSettingError("geocoder.url: is no http or https address; write one, or leave it empty")
    if alerts.link and urlsplit(alerts.link).scheme not in {"http", "https"}:
        raise AlertSettingError(
            f"alerts.link: {alerts.link!r} is no address; write https://example.com/?event={{event}}"
        )
    match sms.provider:
        case "smpp":
            _check_smpp(sms.smpp)
        case "http":
            _check_http(sms.http)
        case "apprise":
            if TO not in sms.apprise_url:
                raise AlertSettingError(
                    "sms.apprise_url: holds no {to}; write it where the recipient's number belongs"
                )
        case _:
            pass


def _check_smpp(smpp: Smpp) -> None:
    if not smpp.host or not smpp.system_id:
        raise AlertSettingError('sms.smpp: host and system_id are needed; set both, or sms.provider = ""')
    for name, value, most in (
        ("system_id", smpp.system_id, SMPP_ID_CHARACTERS_MAX),
        ("password", smpp.password, SMPP_PASSWORD_CHARACTERS_MAX),
    ):
        if len(value) > most or not value.isascii():
            raise AlertSettingError(
                f"sms.smpp.{name}: SMPP takes at most {most} ASCII characters; ask the provider for another"
            )


def _check_http(http: SmsHttp) -> None:
    if urlsplit(http.url).scheme not in {"http", "https"}:
        raise AlertSettingError('sms.http.url: is no http or https address; write one, or sms.provider = ""')
    for place in (TO, TEXT):
        if place not in http.url + http.body:
            raise AlertSettingError(
                f"sms.http: neither url nor body holds {place}; write it where it belongs"
            )
    try:
        re.compile(http.success)
    except re.error as error:
        raise AlertSettingError(f"sms.http.success: no regular expression: {error}") from None
    for line in filter(None, map(str.strip, http.headers.splitlines())):
        if ":" not in line:
            raise AlertSettingError("sms.http.headers: a line without a colon; write Name: value, one a line")

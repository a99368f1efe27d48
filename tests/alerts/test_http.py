"""SMS by an HTTP gateway, and webhooks: what is sent, what each answer means, and where a URL may not lead."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
import time
from collections.abc import Generator
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from msgspec.structs import replace

from tests.alerts.http_peer import HttpPeer
from tests.alerts.world import MAIL, NOON, event, household
from tracker_server.alerts.letters import TestLetter, encode
from tracker_server.alerts.rules import Told
from tracker_server.billing.sms import segments
from tracker_server.config import ConfigError, load
from tracker_server.config_alerts import Sms, SmsHttp, Webhooks
from tracker_server.notify import guarded_http
from tracker_server.notify.guarded_http import is_public
from tracker_server.notify.sms import SmsChannel, fitting
from tracker_server.notify.sms_http import HttpGateway
from tracker_server.notify.webhook import WebhookChannel, signature
from tracker_server.pipeline.alert_book import letter_of
from tracker_server.pipeline.dispatcher import Outgoing, PermanentError, TemporaryError

TEXT = 'Van 3: въезд & "зона"\\'


@pytest.fixture
def peer() -> Generator[HttpPeer]:
    with HttpPeer().running() as running:
        yield running


def outgoing(channel: str, to: str, payload: object | None = None) -> Outgoing:
    return Outgoing(
        1, "alert:7:1", channel, to, 1, payload or encode(TestLetter()), NOON, NOON, 0, secret="s3cret"
    )


# ---------------------------------------------------------------------- the gateway


def gateway(peer: HttpPeer, **changes: object) -> HttpGateway:
    chosen = SmsHttp(url=f"http://127.0.0.1:{peer.port}/send", body="{to}{text}")
    return HttpGateway(replace(chosen, **changes), "Norte")


async def submitted(made: HttpGateway) -> tuple[str, ...]:
    try:
        return await made.submit("+34600111222", TEXT, "alert:7:1")
    finally:
        await made.close()


async def test_each_place_is_written_as_it_demands(peer: HttpPeer) -> None:
    base = f"http://127.0.0.1:{peer.port}"
    fields = "to={to}&text={text}&from={from}&key={key}"
    json_body = '{"to": "{to}", "text": "{text}", "key": "{key}"}'
    await submitted(gateway(peer, url=f"{base}/?{fields}", method="GET", body=""))
    await submitted(
        gateway(peer, body=json_body, headers="Content-Type: application/json\nAuthorization: Bearer x")
    )
    await submitted(gateway(peer, body=fields, headers="Content-Type: application/x-www-form-urlencoded"))
    await submitted(gateway(peer, body="<sms to='{to}'>{text}</sms>", headers="Content-Type: text/xml"))
    by_url, by_json, by_form, by_xml = peer.asked
    asked = parse_qs(urlsplit(by_url[1]).query)
    assert asked == {"to": ["+34600111222"], "text": [TEXT], "from": ["Norte"], "key": ["alert:7:1"]}
    assert json.loads(by_json[3]) == {"to": "+34600111222", "text": TEXT, "key": "alert:7:1"}
    assert by_json[2]["Authorization"] == "Bearer x"
    assert parse_qs(by_form[3].decode()) == asked
    assert by_xml[3].decode() == "<sms to='+34600111222'>Van 3: въезд &amp; &quot;зона&quot;\\</sms>"


@pytest.mark.parametrize(
    ("status", "text", "error", "down"),
    [
        (503, "busy", TemporaryError, False),
        (429, "slower", TemporaryError, False),
        (401, "who are you", TemporaryError, True),
        (400, "no such number", PermanentError, False),
        (200, '{"error": 7}', PermanentError, False),
        (302, "", PermanentError, False),
    ],
)
async def test_what_a_gateways_answer_means(
    peer: HttpPeer, status: int, text: str, error: type[Exception], *, down: bool
) -> None:
    peer.answers = [(status, text)]
    peer.headers = {"Location": "/elsewhere"}
    with pytest.raises(error) as caught:
        await submitted(gateway(peer, success='"id":'))
    assert str(status) in str(caught.value)
    assert getattr(caught.value, "down", False) is down
    assert len(peer.asked) == 1, "no redirect is followed"


async def test_the_gateways_name_for_a_message(peer: HttpPeer) -> None:
    peer.answers = [(200, '{"id": "a-17"}')]
    assert await submitted(gateway(peer, success=r'"id": "(?P<id>[^"]+)"')) == ("a-17",)


async def test_a_gateway_that_hangs_or_is_gone(peer: HttpPeer) -> None:
    peer.hang_s = 1.0
    with pytest.raises(TemporaryError, match=r"within 0\.1 s"):
        await submitted(gateway(peer, timeout_s=0.1))
    with pytest.raises(TemporaryError) as caught:
        await submitted(gateway(peer, url="http://127.0.0.1:9/"))
    assert caught.value.down


async def test_a_test_message_goes_without_money(peer: HttpPeer) -> None:
    channel = SmsChannel(Sms(), gateway(peer), None)
    await channel.send(outgoing("sms", "+34600111222"))
    await channel.close()
    assert peer.asked[0][3].decode() == "+34600111222Test message"


def test_a_text_that_is_too_long_is_cut_to_its_parts() -> None:
    for text in ("a" * 1000, "ж" * 300, "€" * 200):
        cut = fitting(text, 2)
        assert segments(cut) == 2
        assert segments(text[: len(cut) - 2] + "...") > 2
        assert cut.endswith("...")
    assert fitting("short", 1) == "short"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"sms.provider": "smpp"}, "sms.smpp: host and system_id are needed"),
        ({"sms.provider": "smpp", "sms.smpp.host": "h", "sms.smpp.system_id": "i", "sms.smpp.password": "123456789"}, "sms.smpp.password: SMPP takes at most 8"),
        ({"sms.provider": "http"}, "sms.http.url: is no http or https address"),
        ({"sms.provider": "http", "sms.http.url": "https://h/{to}"}, "neither url nor body holds {text}"),
        ({"sms.provider": "http", "sms.http.url": "https://h/{to}{text}", "sms.http.success": "("}, "sms.http.success: no regular expression"),
        ({"sms.provider": "http", "sms.http.url": "https://h/{to}{text}", "sms.http.headers": "x"}, "sms.http.headers: a line without a colon"),
        ({"sms.provider": "apprise", "sms.apprise_url": "x://"}, "sms.apprise_url: holds no {to}"),
        ({"alerts.link": "example.com"}, "alerts.link: 'example.com' is no address"),
    ],
)  # fmt: skip
def test_settings_that_would_fail_at_the_first_alert(settings: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(flags=settings, environment={})
    assert says in str(caught.value)


# ---------------------------------------------------------------------- webhooks


def hook(**changes: object) -> WebhookChannel:
    allowed = Webhooks(private_addresses=True, timeout_s=2.0)
    return WebhookChannel(replace(allowed, **changes), lambda: datetime(2027, 2, 15, 12, tzinfo=UTC))


def notice() -> object:
    at = household(MAIL)
    message = Told(at.rules[0], "webhook", "", "es", NOON)
    return encode(letter_of(event(), message, at, "https://example.com/?event={event}"))


async def test_a_receiver_can_tell_that_it_is_us(peer: HttpPeer) -> None:
    channel = hook()
    await channel.send(outgoing("webhook", f"http://127.0.0.1:{peer.port}/alerts?x=1", notice()))
    await channel.close()
    ((method, path, headers, body),) = peer.asked
    assert (method, path) == ("POST", "/alerts?x=1")
    assert headers["Idempotency-Key"] == "alert:7:1"
    moment, _, digest = headers["Tracker-Signature"].partition(",v1=")
    signed = moment.removeprefix("t=").encode() + b"." + body
    assert hmac.new(b"s3cret", signed, hashlib.sha256).hexdigest() == digest
    assert headers["Tracker-Signature"] == signature("s3cret", int(NOON.timestamp()), body)
    told = json.loads(body)
    assert told["text"] == "Van 3 ha entrado en Depot"
    assert told["event"]["type"] == "geofenceEnter"
    assert told["event"]["eventTime"] == "2027-02-15T12:00:00Z"
    assert told["device"] == {"id": 3, "uniqueId": "T3", "name": "Van 3"}
    assert told["position"] == {"latitude": 40.4168, "longitude": -3.7038}
    assert told["link"] == "https://example.com/?event=7"


@pytest.mark.parametrize(
    ("status", "error"),
    [(500, TemporaryError), (404, TemporaryError), (302, TemporaryError), (410, PermanentError)],
)
async def test_what_a_receivers_answer_means(peer: HttpPeer, status: int, error: type[Exception]) -> None:
    peer.answers = [(status, "x" * 10_000)]
    peer.headers = {"Location": f"http://127.0.0.1:{peer.port}/elsewhere"}
    channel = hook()
    with pytest.raises(error, match=str(status)):
        await channel.send(outgoing("webhook", f"http://127.0.0.1:{peer.port}/"))
    assert len(peer.asked) == 1, "no redirect is followed"
    await channel.send(outgoing("webhook", f"http://127.0.0.1:{peer.port}/"))
    await channel.close()


async def test_a_receiver_that_hangs_keeps_nobody_waiting_for_long(peer: HttpPeer) -> None:
    peer.hang_s = 1.0
    channel = hook(timeout_s=0.2)
    with pytest.raises(TemporaryError, match="did not answer"):
        await channel.send(outgoing("webhook", f"http://127.0.0.1:{peer.port}/"))
    with pytest.raises(TemporaryError, match="cannot be reached"):
        await channel.send(outgoing("webhook", "http://127.0.0.1:9/"))
    await channel.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "http://localhost:{port}/",
        "http://[::1]:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.1.2.3/",
        "http://2130706433:{port}/",
        "http://0.0.0.0:{port}/",
    ],
)
async def test_no_url_leads_into_the_operators_network(peer: HttpPeer, url: str) -> None:
    channel = hook(private_addresses=False)
    with pytest.raises(PermanentError, match="not public"):
        await channel.send(outgoing("webhook", url.format(port=peer.port)))
    await channel.close()
    assert peer.asked == []


async def test_a_name_is_looked_up_once_for_judging_and_connecting(
    peer: HttpPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is public when it is judged, and private a moment later, leads nowhere."""
    loop = asyncio.get_running_loop()
    answers = [[(2, 1, 6, "", ("192.0.2.1", 0))], [(2, 1, 6, "", ("127.0.0.1", 0))]]

    async def looked_up(*_: object, **__: object) -> object:
        return answers.pop(0)

    monkeypatch.setattr(loop, "getaddrinfo", looked_up)
    monkeypatch.setattr(guarded_http, "is_public", lambda address: str(address) == "192.0.2.1")
    channel = hook(private_addresses=False, timeout_s=0.5)
    with pytest.raises(TemporaryError):
        await channel.send(outgoing("webhook", f"http://rebound.example:{peer.port}/"))
    await channel.close()
    assert peer.asked == []


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://example.com/", "no http or https address"),
        ("http:///x", "no http or https address"),
        ("http://user:pass@example.com/", "holds a user or a password"),
        ("http://example.com/\r\nX: y", "no http or https address"),
    ],
)
async def test_what_is_no_url(url: str, says: str) -> None:
    with pytest.raises(PermanentError, match=says):
        await hook().send(outgoing("webhook", url))


def test_which_addresses_are_public() -> None:
    private = ["10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "169.254.1.1", "100.64.0.1", "0.0.0.0", "224.0.0.1",
               "::1", "fe80::1", "fc00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:0a00:0001::1"]  # fmt: skip
    assert [one for one in private if is_public(ip_address(one))] == []
    assert is_public(ip_address("93.184.215.14"))
    assert is_public(ip_address("2606:2800:21f:cb07:6820:80da:af6b:8b2c"))
    assert is_public(ip_address("64:ff9b::5db8:d70e"))


def test_the_receiver_in_the_docs_knows_us() -> None:
    page = (Path(__file__).parents[2] / "docs" / "howto" / "receive-webhooks.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    made: dict[str, Any] = {}
    exec(code, made)
    body, now = b'{"key": "k"}', int(time.time())
    assert made["is_ours"]("s3cret", signature("s3cret", now, body), body)
    assert not made["is_ours"]("s3cret", signature("other", now, body), body)
    assert not made["is_ours"]("s3cret", signature("s3cret", now, body), body + b" ")
    assert not made["is_ours"]("s3cret", signature("s3cret", now - 301, body), body)

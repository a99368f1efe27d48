"""Messengers: apprise speaks to a real HTTP service, which takes, refuses and hangs; its URL's secrets stay ours."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.notify.test_letters import letter
from tracker_server.alerts.letters import encode
from tracker_server.config import ConfigError, Notices, Settings, Smtp, check_messages
from tracker_server.config_alerts import Alerts, Sms, SmsHttp, Webhooks
from tracker_server.notify.channels import channels_of
from tracker_server.notify.messenger import MessengerChannel, secrets_in
from tracker_server.pipeline.dispatcher import Outgoing, PermanentError, TemporaryError

NOON = datetime(2027, 2, 15, 12, tzinfo=UTC)
TOKEN = "an-operators-own-token"


class Service:
    """An HTTP service that keeps what it is given, and answers with ``code``."""

    def __init__(self) -> None:
        service = self
        self.code = 200
        self.taken: list[tuple[str, dict[str, Any]]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if service.code == 200:
                    service.taken.append((self.path, json.loads(body)))
                self.send_response(service.code)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                return

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"json://user:{TOKEN}@127.0.0.1:{self.server.server_port}/to/{{to}}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def service() -> Generator[Service]:
    made = Service()
    yield made
    made.close()


def message(to: str = "+34600111222", payload: Any = None) -> Outgoing:
    return Outgoing(1, "k", "messenger", to, 1, payload or encode(letter(language="es")), NOON, NOON, 0)


async def test_a_message_is_taken(service: Service) -> None:
    await MessengerChannel(service.url).send(message())
    ((path, body),) = service.taken
    assert path == "/to/+34600111222"
    assert body["title"] == "T2 se bloqueará el 15 de febrero de 2027"
    assert "- T2: 15 de febrero de 2027" in body["message"]
    assert "Cuenta: Norte & Sur" in body["message"]


async def test_a_service_that_refuses_is_asked_again(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    channel = MessengerChannel(service.url)
    service.code = 500
    with pytest.raises(TemporaryError) as caught:
        await channel.send(message())
    assert "500" in str(caught.value)
    said = capsys.readouterr()
    assert TOKEN not in str(caught.value) + said.err + said.out
    service.code = 200
    await channel.send(message())
    assert len(service.taken) == 1


async def test_a_service_that_is_not_there() -> None:
    service = Service()
    service.close()
    with pytest.raises(TemporaryError):
        await MessengerChannel(service.url).send(message())


async def test_what_apprise_cannot_use(service: Service) -> None:
    with pytest.raises(PermanentError, match=r"notices\.messenger_url"):
        await MessengerChannel("nonsense://{to}").send(message())
    with pytest.raises(PermanentError, match="cannot be worded"):
        await MessengerChannel(service.url).send(message(payload={"type": "?"}))


async def test_a_recipient_cannot_change_the_url(service: Service) -> None:
    for to in ("../../x?y=1&method=GET", "a/b", "a?b", "a b", ""):
        with pytest.raises(PermanentError, match="cannot be a messenger's recipient"):
            await MessengerChannel(service.url).send(message(to))
    assert service.taken == []


def test_secrets_of_a_url() -> None:
    found = secrets_in(f"whatsapp://{TOKEN}@1234567890/{{to}}")
    assert TOKEN in found


def test_channels_are_those_that_are_set_up() -> None:
    assert list(channels_of(Settings())) == ["messenger", "webhook"], "these need no more than a rule's URL"
    none = Settings(alerts=Alerts(messenger_schemes=""), webhooks=Webhooks(enabled=False))
    assert channels_of(none) == {}
    both = Settings(
        smtp=Smtp(host="mail.example.com", sender="a@example.com"),
        notices=Notices(messenger_url="json://h/{to}"),
        sms=Sms(provider="http", http=SmsHttp(url="http://h/{to}/{text}")),
    )
    assert list(channels_of(both)) == ["email", "sms", "messenger", "webhook"]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("json://127.0.0.1/x", "json:// is not allowed"),
        ("gotifys://localhost/token", "not public"),
        ("ntfys://169.254.169.254/topic", "not public"),
        ("tgram://x", "cannot use this URL"),
    ],
)
async def test_a_rules_own_url_is_held_to_the_settings(url: str, says: str) -> None:
    channel = MessengerChannel("", "tgram ntfy ntfys gotifys")
    with pytest.raises(PermanentError, match=says):
        await channel.send(message(url))


async def test_a_recipient_without_a_service_waits_for_one() -> None:
    with pytest.raises(TemporaryError, match=r"notices\.messenger_url: is empty"):
        await MessengerChannel("").send(message())


@pytest.mark.parametrize(
    ("smtp", "notices", "says"),
    [
        (Smtp(host="m"), Notices(), "smtp.from: is empty"),
        (Smtp(host="m", sender="nobody"), Notices(), "smtp.from: 'nobody' is not an e-mail address"),
        (Smtp(user="u"), Notices(), "smtp: user and password go together"),
        (
            Smtp(host="mail.example.com", sender="a@example.com", user="u", password="p", tls="none"),
            Notices(),
            "smtp.tls: none would send the password in the clear",
        ),
        (Smtp(tls_ca="/nowhere.pem"), Notices(), "smtp.tls_ca: /nowhere.pem: there is no such file"),
        (Smtp(), Notices(messenger_url="json://h/"), "notices.messenger_url: holds no {to}"),
    ],
)
def test_settings_that_would_fail_at_the_first_message(smtp: Smtp, notices: Notices, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_messages(smtp, notices)
    assert says in str(caught.value)

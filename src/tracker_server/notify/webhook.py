"""The channel ``webhook``: a signed POST of what happened, to an address that the customer names."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tracker_server.alerts.letters import EventNotice, InvoiceIssued, Letter, LetterError, decode
from tracker_server.alerts.wording import worded
from tracker_server.config_alerts import Webhooks
from tracker_server.model.address import url
from tracker_server.model.money import InvalidValueError, currency, format_minor
from tracker_server.pipeline.dispatcher import Outgoing, PermanentError, TemporaryError, utc_now

if TYPE_CHECKING:
    import httpcore

WEBHOOK: Final = "webhook"
SIGNATURE: Final = "Tracker-Signature"
GONE: Final = 410


class WebhookChannel:
    """One request for each message; the receiver drops a second one by its ``Idempotency-Key``."""

    name = WEBHOOK
    at_once = 50  # a slow receiver must not keep the others waiting

    def __init__(
        self, settings: Webhooks, now: Callable[[], datetime] = utc_now, *, operators_secret: str = ""
    ) -> None:
        self._settings = settings
        self._operators = operators_secret
        self._now = now
        self._connections: httpcore.AsyncConnectionPool | None = None

    async def send(self, message: Outgoing) -> None:
        """Hand one over. Raises TemporaryError, PermanentError."""
        import httpcore

        from tracker_server.notify.guarded_http import ForbiddenAddressError, pool, post

        try:
            letter = decode(message.payload)
            body = body_of(message, letter)
            url(message.recipient, "recipient")
        except LetterError as error:
            raise PermanentError(f"the message cannot be worded: {error}") from error
        except InvalidValueError as error:
            raise PermanentError(str(error)) from error
        if self._connections is None:
            self._connections = pool(private_addresses=self._settings.private_addresses)
        secret = self._operators if isinstance(letter, InvoiceIssued) else message.secret or ""
        headers = [
            ("Content-Type", "application/json"),
            ("User-Agent", "tracker-server"),
            ("Idempotency-Key", message.key),
            (SIGNATURE, signature(secret, int(self._now().timestamp()), body)),
        ]
        try:
            status = await post(self._connections, message.recipient, headers, body, self._settings.timeout_s)
        except ForbiddenAddressError as error:
            raise PermanentError(f"{error}; webhooks.private_addresses would allow it") from error
        except (TimeoutError, httpcore.TimeoutException) as error:
            raise TemporaryError(
                f"the receiver did not answer within {self._settings.timeout_s:g} s"
            ) from error
        except (
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.UnsupportedProtocol,
            OSError,
        ) as error:
            raise TemporaryError(f"the receiver cannot be reached: {type(error).__name__}") from error
        if status == GONE:
            raise PermanentError("the receiver answered 410: it wants no more")
        if not 200 <= status < 300:
            raise TemporaryError(f"the receiver answered {status}")

    async def close(self) -> None:
        """Let go of connections."""
        if self._connections is not None:
            await self._connections.aclose()
            self._connections = None


def signature(secret: str, at: int, body: bytes) -> str:
    """``t=1802692800,v1=…``: HMAC-SHA256, in hexadecimal, over the moment in seconds, a full stop and the body."""
    digest = hmac.new(secret.encode(), str(at).encode() + b"." + body, hashlib.sha256)
    return f"t={at},v1={digest.hexdigest()}"


def body_of(message: Outgoing, letter: Letter) -> bytes:
    """What a receiver reads: the event's names are those of the API."""
    wording = worded(letter)
    told: dict[str, Any] = {"key": message.key, "text": wording.subject}
    if isinstance(letter, EventNotice):
        told |= {
            "event": {
                "id": letter.event_id,
                "type": letter.event,
                "eventTime": letter.occurred_at,
                "deviceId": letter.device_id,
                "attributes": letter.facts,
            },
            "device": {"id": letter.device_id, "uniqueId": letter.unique_id, "name": letter.tracker},
            "geofence": letter.fence or None,
            "position": letter.place,
            "account": letter.account,
            "link": letter.link or None,
        }
    if isinstance(letter, InvoiceIssued):
        told["type"] = "invoice.issued"
        told["invoice"] = {
            "number": letter.number,
            "account": letter.account,
            "amount": format_minor(letter.amount_minor, currency(letter.currency)),
            "currency": letter.currency,
            "issuedAt": letter.issued_at,
            "trackers": letter.trackers,
        }
    return msgspec.json.encode(told)

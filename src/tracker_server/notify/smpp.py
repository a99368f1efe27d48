"""SMS by SMPP 3.4: one bound session, a window of messages in flight, parts with a user data header, receipts.

aiosmpplib binds, keeps the line alive and binds again when it breaks. What this module does itself: cutting texts as
billing counts them, matching answers to messages, and reading receipts, which every provider writes a little
differently: one that cannot be read is told to the log and breaks no session.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import structlog

from tracker_server.billing.sms import (
    GSM_ALPHABET,
    GSM_EXTENSION,
    SEPTETS_ALONE,
    SEPTETS_EACH,
    UNITS_ALONE,
    UNITS_EACH,
)
from tracker_server.config_alerts import Smpp
from tracker_server.pipeline.dispatcher import PermanentError, TemporaryError, utc_now

if TYPE_CHECKING:
    from aiosmpplib import ESME

log = structlog.get_logger(__name__)

NoteReceipt = Callable[[Sequence[str], str, datetime], Awaitable[bool]]

BIND_S: Final = 3.0  # how long a message waits for a session before it is put off
POLL_S: Final = 0.02
RECEIPTS_KEPT_MAX: Final = 10_000  # that came before the message they speak of was written down
RECEIPT_TRIES_MAX: Final = 60
RECEIPT_PAUSE_S: Final = 1.0
UDHI: Final = 0x40  # esm_class: the text begins with a user data header (3GPP TS 23.040 §9.2.3.24.1)
CLOSE_S_MAX: Final = 2.0
UNKNOWN_STATUS: Final = 0xFF  # ESME_RUNKNOWNERR, for statuses of the provider's own
# all messages wait: more would only be refused, too
FULL: Final = frozenset({"ESME_RTHROTTLED", "ESME_RMSGQFUL"})
LATER: Final = FULL | {"ESME_RSYSERR", "ESME_RX_T_APPN", "ESME_RUNKNOWNERR"}
RECEIPT: Final = re.compile(r"\bid:\s*(?P<id>\S+).*?\bstat:\s*(?P<stat>[A-Za-z]+)", re.IGNORECASE | re.DOTALL)
STATES: Final = {1: "ENROUTE", 2: "DELIVRD", 3: "EXPIRED", 4: "DELETED", 5: "UNDELIV", 6: "ACCEPTD", 7: "UNKNOWN", 8: "REJECTD"}  # fmt: skip


class SmppProvider:
    """See ``SmsProvider``."""

    def __init__(
        self,
        settings: Smpp,
        sender: str,
        note: NoteReceipt | None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._settings = settings
        self._sender = sender
        self._note = note
        self._now = now
        self.at_once = settings.window
        self._session: ESME | None = None
        self._running: asyncio.Task[None] | None = None
        self._answers: dict[str, asyncio.Future[str]] = {}
        self._numbers = count(1)
        self._references = count(1)
        self._next_at = 0.0
        self._receipts: OrderedDict[tuple[str, ...], tuple[str, datetime, int]] = OrderedDict()
        self._noting: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------ the session

    async def ready(self) -> None:
        """Wait a moment for the session. Raises TemporaryError."""
        self.begin()
        try:
            async with asyncio.timeout(BIND_S):
                while not self._bound:  # noqa: ASYNC110  (the library tells nobody)
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            where = f"{self._settings.host}:{self._settings.port}"
            raise TemporaryError(f"no SMPP session with {where}", down=True) from None

    @property
    def _bound(self) -> bool:
        session = self._session
        return session is not None and session.session_state == session.bind_mode.session_state

    def begin(self) -> None:
        """Have a session from now on: it binds, and binds again when it breaks, by itself. Receipts come by it, too."""
        if self._running is None or self._running.done():
            self._session = session_of(self._settings, self.heard, self.broken)
            self._running = asyncio.create_task(self._session.start())

    async def close(self) -> None:
        """Unbind."""
        for task in (self._noting, self._running):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task
        self._session = self._running = self._noting = None

    # ------------------------------------------------------------------ one message

    async def submit(self, to: str, text: str, key: str) -> tuple[str, ...]:
        """All parts of a message; answers the provider's names for them. Raises TemporaryError, PermanentError."""
        parts, unicode = parts_of(text, next(self._references) % 256)
        return tuple([await self._part(to, part, unicode=unicode, header=len(parts) > 1) for part in parts])

    async def _part(self, to: str, part: bytes, *, unicode: bool, header: bool) -> str:
        await self._pace()
        session = self._session
        if session is None or not self._bound:
            raise TemporaryError("the SMPP session broke", down=True)
        number = str(next(self._numbers))
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            await session.broker.enqueue(self._message(to, part, number, unicode=unicode, header=header))
            async with asyncio.timeout(self._settings.timeout_s):
                return await answer
        except TimeoutError as error:
            raise TemporaryError(
                f"the SMPP server did not answer within {self._settings.timeout_s:g} s"
            ) from error
        finally:
            self._answers.pop(number, None)

    def _message(self, to: str, part: bytes, number: str, *, unicode: bool, header: bool) -> Any:
        from aiosmpplib import PhoneNumber, SubmitSm
        from aiosmpplib.state import NPI, TON

        chosen = self._settings
        try:
            message = SubmitSm(
                short_message="x",  # the library wants a text; the bytes below are what is sent
                source=PhoneNumber(self._sender, TON(chosen.sender_ton), NPI(chosen.sender_npi)),
                destination=PhoneNumber(to.removeprefix("+"), TON(chosen.ton), NPI(chosen.npi)),
                encoding="ucs2" if unicode else "gsm0338",
                esm_class=UDHI if header else 0,
                registered_delivery=1,
                log_id=number,
            )
        except ValueError as error:
            raise PermanentError(f"SMPP cannot carry it: {error}") from error
        message.set_encoded_message(part)
        return message

    async def _pace(self) -> None:
        """No more a second than the provider allows."""
        loop = asyncio.get_running_loop()
        at = max(self._next_at, loop.time())
        self._next_at = at + 1 / self._settings.per_second
        await asyncio.sleep(at - loop.time())

    # ------------------------------------------------------------------ what comes back

    def heard(self, message: Any) -> None:
        """An answer or a receipt."""
        from aiosmpplib import DeliverSm, SubmitSmResp

        match message:
            case SubmitSmResp():
                self._answered(message.log_id, message.command_status.name, message.message_id)
            case DeliverSm():
                self._receipt(message)
            case _:
                pass

    def broken(self, number: str, error: Exception) -> None:
        """A message that did not get out."""
        self._fail(number, TemporaryError(f"the SMPP session broke: {type(error).__name__}", down=True))

    def _answered(self, number: str, status: str, name: str) -> None:
        if status == "ESME_ROK":
            answer = self._answers.get(number)
            if answer is not None and not answer.done():
                answer.set_result(_plain(name) or number)
        elif status in LATER:
            down = status in FULL
            self._fail(number, TemporaryError(f"the SMPP server says later: {status}", down=down))
        else:
            self._fail(number, PermanentError(f"the SMPP server refuses the message: {status}"))

    def _fail(self, number: str, error: Exception) -> None:
        answer = self._answers.get(number)
        if answer is not None and not answer.done():
            answer.set_exception(error)

    def _receipt(self, message: Any) -> None:
        found = receipt_of(message)
        if found is None:
            log.warning("an SMPP message that is no receipt we can read")
            return
        name, state = found
        if self._note is None or len(self._receipts) >= RECEIPTS_KEPT_MAX:
            return
        self._receipts[names_of(name)] = (state, self._now(), 0)
        if self._noting is None or self._noting.done():
            self._noting = asyncio.create_task(self._note_receipts(self._note))

    async def _note_receipts(self, note: NoteReceipt) -> None:
        """Receipts may come with the answer itself, before it is written down what they speak of: they are tried again."""
        while self._receipts:
            for names, (state, at, tries) in list(self._receipts.items()):
                with suppress(TemporaryError):
                    if await note(names, state, at) or tries >= RECEIPT_TRIES_MAX:
                        del self._receipts[names]
                        continue
                self._receipts[names] = (state, at, tries + 1)
            await asyncio.sleep(RECEIPT_PAUSE_S)


def parts_of(text: str, reference: int) -> tuple[list[bytes], bool]:
    """A text in the bytes of its parts, and whether they are UCS-2. Counted as ``billing.sms.segments`` does: neither an
    escaped character nor a surrogate pair is cut in two.
    """
    from aiosmpplib.codec import GSM7BitCodec

    unicode = not all(sign in GSM_ALPHABET or sign in GSM_EXTENSION for sign in text)
    alone, each = (UNITS_ALONE, UNITS_EACH) if unicode else (SEPTETS_ALONE, SEPTETS_EACH)

    def size(sign: str) -> int:
        return len(sign.encode("utf-16-be")) // 2 if unicode else 1 + (sign in GSM_EXTENSION)

    def coded(part: str) -> bytes:
        return part.encode("utf-16-be") if unicode else GSM7BitCodec.get_codec_info().encode(part)[0]

    if sum(map(size, text)) <= alone:
        return [coded(text)], unicode
    parts, room = [""], each
    for sign in text:
        if size(sign) > room:
            parts.append("")
            room = each
        parts[-1] += sign
        room -= size(sign)
    header = bytes((5, 0, 3, reference, len(parts)))
    return [header + bytes((number,)) + coded(part) for number, part in enumerate(parts, 1)], unicode


def receipt_of(message: Any) -> tuple[str, str] | None:
    """The provider's name of the message, and its state: from the parameters made for them, else from the text."""
    from aiosmpplib.state import RECEIPTED_MESSAGE_ID

    fields = {parameter.tag: parameter.value for parameter in message.optional_params or []}
    name = fields.get(RECEIPTED_MESSAGE_ID)
    state = STATES.get(fields.get(MESSAGE_STATE, 0))
    written = RECEIPT.search(message.short_message or message.message_payload or "")
    if written is not None:
        name, state = name or written["id"], state or written["stat"].upper()
    return (_plain(str(name)), state) if name and state else None


MESSAGE_STATE: Final = 0x0427


def names_of(name: str) -> tuple[str, ...]:
    """The ways in which providers write one number: as the answer had it, in hexadecimal, in decimal."""
    found = {name, name.lower(), name.upper()}
    if name.isascii() and name.isdigit():
        found |= {f"{int(name):x}", f"{int(name):X}", str(int(name))}
    if re.fullmatch(r"[0-9A-Fa-f]{1,16}", name):
        found.add(str(int(name, 16)))
    return tuple(sorted(found))


def _plain(name: str) -> str:
    return re.sub(r"[^\x21-\x7e]", "", name)[:64]


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close a connection and let its socket go; whoever does not answer is not waited for."""
    writer.close()
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(CLOSE_S_MAX):
            await writer.wait_closed()


@cache
def _session_class() -> Any:
    """The library's session, which lives on where a provider has statuses and receipts of his own. What it overrides has
    underscores there; pyproject.toml holds the version, and a test says which of it has changed.
    """
    from aiosmpplib import ESME
    from aiosmpplib.protocol import PDU_HEADER_LENGTH, DeliverSm
    from aiosmpplib.state import SmppCommand, SmppCommandStatus

    known = {status.value for status in SmppCommandStatus}

    class Session(ESME):
        async def connect(self) -> None:
            if self._writer is not None:
                await closed(self._writer)
            await super().connect()

        async def _disconnect(self) -> None:
            writer = self._writer
            await super()._disconnect()
            if writer is not None:
                await closed(writer)

        async def _get_pdu(self) -> tuple[bytes, Any]:
            assert self._reader is not None
            head = await self._reader.readexactly(PDU_HEADER_LENGTH)
            if int.from_bytes(head[8:12]) not in known:
                head = head[:8] + UNKNOWN_STATUS.to_bytes(4) + head[12:]
            header = DeliverSm.parse_header(head)
            return head + await self._reader.readexactly(header.pdu_length - PDU_HEADER_LENGTH), header

        async def _handle_request(self, pdu: bytes, header: Any) -> Any:
            if header.smpp_command != SmppCommand.DELIVER_SM:
                return await super()._handle_request(pdu, header)
            try:
                return DeliverSm.from_pdu(pdu, header, self.default_encoding, self.custom_codecs)
            except (ValueError, LookupError) as error:
                log.warning("an SMPP message that cannot be read", error=str(error)[:200])
                return DeliverSm(header.sequence_num, short_message="-")

    return Session


def session_of(  # noqa: C901  (small answers to what the library asks)
    settings: Smpp, heard: Callable[[Any], None], broken: Callable[[str, Exception], None]
) -> ESME:
    """A session that is not begun yet."""
    from aiosmpplib import AbstractCorrelator, AbstractHook, AbstractThrottleHandler
    from aiosmpplib.retrytimer import SimpleExponentialBackoff

    class Hook(AbstractHook):
        async def sending(self, smpp_message: Any, pdu: bytes, client_id: str) -> None:
            return

        async def received(self, smpp_message: Any, pdu: bytes, client_id: str) -> None:
            heard(smpp_message)

        async def send_error(self, smpp_message: Any, error: Exception, client_id: str) -> None:
            broken(getattr(smpp_message, "log_id", ""), error)

    class Correlator(AbstractCorrelator):
        """Answers to requests, by sequence number; the rest is kept in the outbox."""

        def __init__(self) -> None:
            self._asked: OrderedDict[int, Any] = OrderedDict()

        async def put(self, smpp_message: Any) -> None:
            self._asked[smpp_message.sequence_num] = smpp_message
            while len(self._asked) > 4 * settings.window + 16:
                self._asked.popitem(last=False)

        async def get(self, response: Any) -> Any:
            return self._asked.pop(response.sequence_num, None)

        def get_cumulated_status(self, ref_num: int) -> int:
            return 0

        async def expired(self, smpp_message: Any) -> None:
            return

        async def put_delivery(self, smsc_message_id: str, submit_sm: Any) -> None:
            return

        async def put_delivery_segmented(self, deliver_sm: Any) -> Any:
            return deliver_sm

        async def get_segmented(self, smpp_seq_num: int, remove: bool = False) -> tuple[Any, int]:  # noqa: FBT001, FBT002  (the library's)
            return None, 0

        async def get_delivery(self, receipt: Any) -> Any:
            return None

    class Unthrottled(AbstractThrottleHandler):
        """A message that is throttled is put off by the outbox, with growing pauses."""

        async def throttled(self) -> None:
            return

        async def not_throttled(self) -> None:
            return

        async def allow_request(self) -> bool:
            return True

        async def throttle_delay(self) -> float:
            return 0.0

    return _session_class()(
        smsc_host=settings.host,
        smsc_port=settings.port,
        system_id=settings.system_id,
        password=settings.password,
        system_type=settings.system_type,
        enquire_link_interval=settings.enquire_s,
        socket_timeout=settings.timeout_s,
        log_level=logging.WARNING,
        log_handler=ToLog(),
        hook=Hook(),
        correlator=Correlator(),
        throttle_handler=Unthrottled(),
        retry_timer=SimpleExponentialBackoff(500, 6),
    )


class ToLog(logging.Handler):
    """What the library says, in our log; it says neither texts nor passwords at this level."""

    def emit(self, record: logging.LogRecord) -> None:
        """Tell a line."""
        log.warning("smpp", said=str(record.msg)[:300])

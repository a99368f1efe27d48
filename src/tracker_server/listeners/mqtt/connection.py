"""One MQTT client below its socket: admits it, hands its publishes to the pipeline, acknowledges what is stored.

The order of PUBACKs and PUBRECs is that of the publishes, for all sessions of a connection share what is owed.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, assert_never

import msgspec
import structlog

from tracker_protocols.model import Frame, Report, Undecoded
from tracker_server.listeners.connection import Connection
from tracker_server.listeners.mqtt.intake import hand_in, owing
from tracker_server.listeners.payloads import Talk, fallback_of
from tracker_server.mqtt.codes import Code, Kind
from tracker_server.mqtt.dialogue import Broken, Dialogue, Event, Ping, Repeated, State
from tracker_server.mqtt.packets import (
    MQTT_5,
    PINGRESP,
    Acknowledged,
    Connect,
    Disconnect,
    Publish,
    Subscribe,
    Unsubscribe,
    Will,
    acknowledge,
    connack,
    disconnect,
    puback,
    publish,
    suback,
)
from tracker_server.mqtt.topics import SHARED, has_wildcards, is_filter, matches
from tracker_server.pipeline.mqtt_book import Flight, Identity, Kept, Mail
from tracker_server.pipeline.session import Session

if TYPE_CHECKING:
    from tracker_server.listeners.mqtt.endpoint import MqttShared

log = structlog.get_logger(__name__)

ALIAS_MAX: Final = 64  # topics of one connection; a gateway's many devices are better named in full
FILTERS_MAX: Final = 50  # subscriptions of one client
CLIENT_ID_CHARACTERS_MAX: Final = 256
OUT_MAX: Final = 20  # commands on their way to one device
GRACE: Final = 1.5  # of the keep-alive (§3.1.2.10)


class PublishSession(Session):
    """The pipeline's view of one kind of payloads of a connection."""

    __slots__ = ()

    def refuse(self, reply: bytes) -> bytes:
        """There is no room to keep it: the client must not delete it."""
        connection = self.wire
        assert isinstance(connection, MqttConnection)
        return connection.refusal_of(reply)


class MqttConnection(Connection):
    """A client from its CONNECT to its end."""

    shared: MqttShared

    def __init__(self, shared: MqttShared) -> None:
        super().__init__(shared)
        settings = shared.settings
        self.dialogue = Dialogue(settings.packet_bytes_max, settings.receive_max, ALIAS_MAX)
        self.who = Identity()
        self.client_id = ""
        self.filters: dict[str, int] = {}
        self.subscribed_at = 0.0
        self.came_at = 0.0
        self._said = Connect(0, "", clean=True, keep_alive_s=0)
        self._silence_s_max = 0.0
        self._will: Will | None = None
        self._talk = Talk(shared.routes, self.who)
        self._sessions: dict[str, PublishSession] = {}
        self._fresh: list[tuple[Session, Frame]] = []
        self._out: dict[int, Mail] = {}
        self._mail: deque[Mail] = deque()
        self._last_id = 0

    @property
    def noise_bytes(self) -> int:
        return 0

    # ------------------------------------------------------------------ what comes in

    def frames_of(self, data: bytes, received_at: datetime) -> list[Frame]:
        for event in self.dialogue.receive_data(data):
            if type(event) is Publish:
                self._publish(event, received_at)
            else:
                self._take(event, received_at)
            if self._finishing:
                break
        return [frame for _, frame in self._fresh]

    def take_in(self, session: Session, frames: list[Frame], received_at: datetime) -> None:
        fresh, self._fresh = self._fresh, []
        hand_in(self.shared.ingest, fresh, received_at)

    def _take(self, event: Event, received_at: datetime) -> None:
        match event:
            case Publish():
                self._publish(event, received_at)
            case Ping():
                self._write(PINGRESP)
            case Acknowledged():
                self._acknowledged(event)
            case Connect():
                self._connect(event, received_at)
            case Subscribe():
                self._subscribe(event)
            case Unsubscribe():
                self._unsubscribe(event)
            case Repeated():
                self._write(acknowledge(self.dialogue.version, Kind.PUBREC, event.packet_id))
            case Disconnect():
                self._goodbye(event)
            case Broken():
                self._broken(event)
            case _:
                assert_never(event)

    def _publish(self, said: Publish, received_at: datetime) -> None:
        meaning = self._talk.read(said.topic, said.payload, received_at)
        messages = meaning.messages
        book, who = self.shared.book, self.who
        for message in messages:
            device = message.device
            if device is None:
                continue
            if not book.may_speak(who, device):
                self._not_authorized(said, device)
                return
            if device in book.ways:
                book.moved(device)
        answer = b""
        if said.qos:
            version = self.dialogue.version
            if said.qos == 2:
                # a payload that means nothing is kept whole, so the exchange is the usual one
                answer = acknowledge(version, Kind.PUBREC, said.packet_id)
            elif len(messages) == 1 and type(messages[0]) is Undecoded:
                answer = acknowledge(version, Kind.PUBACK, said.packet_id, Code.PAYLOAD_INVALID)
            else:
                answer = puback(said.packet_id)
        if meaning.reply_topic:
            for data in meaning.answers:
                answer += publish(self.dialogue.version, Publish(meaning.reply_topic, data))
        if answer:
            messages = owing(messages, answer)
        elif not messages:
            return
        session = self._sessions.get(meaning.protocol) or self._session(meaning.protocol)
        self._fresh.append((session, Frame(meaning.data, messages)))

    def _session(self, protocol: str) -> PublishSession:
        assert self.session is not None
        session = PublishSession(protocol, self.shared.transport, self.session.remote, self)
        session.owed = self.session.owed
        session.stored_first = True
        self._sessions[protocol] = session
        return session

    def _not_authorized(self, said: Publish, device: str) -> None:
        self.shared.refused.labels("not authorized").inc()
        log.warning(
            "may not report for this device", device=device, client=self.client_id, user=self.who.user
        )
        if self.dialogue.version == MQTT_5 and said.qos:
            kind = Kind.PUBACK if said.qos == 1 else Kind.PUBREC
            answer = acknowledge(MQTT_5, kind, said.packet_id, Code.NOT_AUTHORIZED)
            assert self.session is not None
            self.session.answer(answer)
        elif said.qos:
            self.close("not authorized")  # MQTT 3.1.1 has no other way to refuse

    def refusal_of(self, answer: bytes) -> bytes:
        """Instead of an acknowledgement: nothing is stored, and the client shall try again later."""
        if self.dialogue.version != MQTT_5:
            self.shared.loop.call_soon(self.close, "quarantine full")
            return b""
        kind = Kind(answer[0] >> 4)
        return acknowledge(MQTT_5, kind, answer[2] << 8 | answer[3], Code.QUOTA_EXCEEDED)

    # ------------------------------------------------------------------ coming and going

    def _connect(self, said: Connect, received_at: datetime) -> None:
        shared = self.shared
        self._said = said
        code = self._refusal(said)
        if code is not Code.SUCCESS:
            shared.refused.labels(code.name.lower().replace("_", " ")).inc()
            log.info("MQTT client refused", client=said.client_id[:80], user=said.user, reason=code.name)
            self._farewell(connack(said.version, code), "refused")
            return
        self.client_id = said.client_id or f"auto-{secrets.token_hex(8)}"
        self.came_at = time.monotonic()
        self._will = said.will
        self._talk = Talk(shared.routes, self.who, fallback_of(self.who))
        limit_s = int(shared.limits.idle_s / GRACE)
        keep_alive_s = said.keep_alive_s
        if said.version == MQTT_5 and not 0 < keep_alive_s <= limit_s:
            keep_alive_s = min(limit_s, 65_535)
        self._silence_s_max = keep_alive_s * GRACE if keep_alive_s else shared.limits.idle_s
        shared.replace(self)
        kept = shared.book.kept(self.client_id, self.who.user, received_at)
        present = kept is not None and not said.clean
        if present:
            assert kept is not None
            self.filters = dict(kept.filters)
            flight = shared.book.flight(self.client_id)
            self.dialogue.go_on(flight.recorded)
            self._out, self._last_id = flight.out, flight.last_id
        else:
            shared.book.forget(self.client_id, self.came_at)
        self._remember(received_at)
        properties: dict[str, object] = {}
        if said.version == MQTT_5:
            properties = {
                "receive_maximum": shared.settings.receive_max,
                "maximum_packet_size": shared.settings.packet_bytes_max,
                "topic_alias_maximum": ALIAS_MAX,
                "subscription_identifier_available": 0,
                "shared_subscription_available": 0,
            }
            if not said.client_id:
                properties["assigned_client_identifier"] = self.client_id
            if keep_alive_s != said.keep_alive_s:
                properties["server_keep_alive"] = keep_alive_s
            if said.session_expiry_s > shared.settings.session_expiry_max_s:
                properties["session_expiry_interval"] = shared.settings.session_expiry_max_s
        self._write(connack(said.version, Code.SUCCESS, present=present, properties=properties))
        log.debug("MQTT client connected", client=self.client_id, user=self.who.user, version=said.version)
        shared.enter(self)
        for packet_id, mail in self._out.items():
            self._write(
                publish(said.version, Publish(mail.topic, mail.payload, 1, packet_id, duplicate=True))
            )
        if self.filters:
            self.fetch(shared.book.waiting(received_at))

    def _refusal(self, said: Connect) -> Code:
        if said.authentication_method:
            return Code.BAD_AUTHENTICATION_METHOD
        if len(said.client_id) > CLIENT_ID_CHARACTERS_MAX or (
            not said.client_id and not said.clean and said.version != MQTT_5
        ):
            return Code.CLIENT_ID_NOT_VALID
        who = self.shared.book.admit(
            said.client_id, said.user or "", said.password or b"", self._certificate()
        )
        if who is None:
            return Code.BAD_CREDENTIALS
        if who.anonymous and self.shared.settings.authentication == "required":
            return Code.NOT_AUTHORIZED
        self.who = who
        return Code.SUCCESS

    def _certificate(self) -> str:
        """The common name of the certificate that the client has shown, if any."""
        assert self.transport is not None
        shown = self.transport.get_extra_info("peercert") or {}
        subject = [pair for part in shown.get("subject", ()) for pair in part]
        return next((str(value) for name, value in subject if name == "commonName"), "")

    def _goodbye(self, said: Disconnect) -> None:
        if said.code != Code.DISCONNECT_WITH_WILL:
            self._will = None
        if said.session_expiry_s is not None and self._said.session_expiry_s:
            self._said = msgspec.structs.replace(self._said, session_expiry_s=said.session_expiry_s)
        self.shared.loop.call_soon(self.finish, "closed by device")  # once this read's publishes are owed

    def _broken(self, said: Broken) -> None:
        self.shared.refused.labels(said.code.name.lower().replace("_", " ")).inc()
        log.info(
            "MQTT client broke the rules", client=self.client_id, reason=said.code.name, detail=said.detail
        )
        if self.client_id:
            self._farewell(disconnect(self.dialogue.version, said.code), "broke the rules")
        elif said.code is Code.UNSUPPORTED_VERSION:
            self._farewell(connack(self.dialogue.version, said.code), "broke the rules")
        else:
            self.close("broke the rules")

    def take_over(self) -> None:
        """The same client has come again: this connection is half-open, and its owner is not lost."""
        self._will = None
        self._farewell(disconnect(self.dialogue.version, Code.SESSION_TAKEN_OVER), "replaced")

    def _farewell(self, packet: bytes, reason: str) -> None:
        """Say it and close; what is still owed is not sent, so the client keeps its copy."""
        self._write(packet)
        self.dialogue.state = State.OVER
        self._finishing = self._finishing or reason
        if self.transport is not None:
            self.transport.close()

    def finish(self, reason: str) -> None:
        if reason == "server stops" and not self._finishing:
            self._will = None  # it is not the device that goes
        super().finish(reason)

    def connection_lost(self, exc: Exception | None) -> None:
        for session in self._sessions.values():
            self.shared.ingest.forget(session)
        self._sessions.clear()
        if self.client_id:
            if self.shared.leave(self):
                self.keep()
            if self._will is not None and not self.shared.stopping:
                self.shared.will(self, self._will)
        super().connection_lost(exc)

    def keep(self) -> None:
        """Its connection ends: remember its session for as long as it asked, or forget it."""
        if self._expiry_s:
            until = datetime.now(UTC) + timedelta(seconds=self._expiry_s)
            flight = Flight(self.dialogue.recorded, self._out, self._last_id)
            self.shared.book.keep(self._kept(until), datetime.now(UTC), flight, self.came_at)
        else:
            self.shared.book.forget(self.client_id, self.came_at)

    def _remember(self, now: datetime) -> None:
        """A kept session is written down while its client is here, so that a crash of ours does not end it."""
        if self._expiry_s:
            self.shared.book.keep(self._kept(None), now, since=self.came_at)

    def _kept(self, until: datetime | None) -> Kept:
        return Kept(self.client_id, self.who.user, dict(self.filters), self._expiry_s, until)

    @property
    def _expiry_s(self) -> int:
        return min(self._said.session_expiry_s, self.shared.settings.session_expiry_max_s)

    def sweep(self, now: float) -> None:
        if self.client_id and not self._paused and now - self.heard_at > self._silence_s_max:
            self._farewell(disconnect(self.dialogue.version, Code.KEEP_ALIVE_TIMEOUT), "idle")
            return
        super().sweep(now)

    # ------------------------------------------------------------------ commands to it

    def _subscribe(self, said: Subscribe) -> None:
        codes: list[int] = []
        for pattern, qos in said.filters:
            if pattern.startswith(SHARED):
                codes.append(Code.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED)
            elif not is_filter(pattern):
                codes.append(Code.TOPIC_FILTER_INVALID)
            elif len(self.filters) >= FILTERS_MAX and pattern not in self.filters:
                codes.append(Code.QUOTA_EXCEEDED)
            else:
                self.filters[pattern] = min(qos, 1)
                codes.append(min(qos, 1))
        self._write(suback(self.dialogue.version, Kind.SUBACK, said.packet_id, codes))
        now = datetime.now(UTC)
        self._remember(now)
        self.shared.subscribed(self)
        self.fetch(self.shared.book.waiting(now))

    def _unsubscribe(self, said: Unsubscribe) -> None:
        codes = [
            Code.SUCCESS if self.filters.pop(pattern, None) is not None else Code.NO_SUBSCRIPTION_EXISTED
            for pattern in said.filters
        ]
        self.shared.unsubscribed(self, said.filters)
        self._write(suback(self.dialogue.version, Kind.UNSUBACK, said.packet_id, list(codes)))
        self._remember(datetime.now(UTC))

    def may_have(self, mail: Mail) -> bool:
        """Whether it has subscribed to it and may have it. A name that anybody may call himself must be subscribed to in
        full: wildcards bring nothing to a client that has not shown who it is.
        """
        return self.shared.book.may_speak(self.who, mail.device) and any(
            matches(pattern, mail.topic)
            for pattern in self.filters
            if not (self.who.anonymous and has_wildcards(pattern))
        )

    def fetch(self, mail: Iterable[Mail]) -> None:
        """Send it what it may have of this, unless that is on its way."""
        on_its_way = {(one.ordered, one.id) for one in (*self._out.values(), *self._mail)}
        for one in mail:
            if (one.ordered, one.id) not in on_its_way and self.may_have(one):
                self._mail.append(one)
        self._send_mail()

    def _send_mail(self) -> None:
        version, now = self.dialogue.version, datetime.now(UTC)
        while self._mail and len(self._out) < min(OUT_MAX, self._said.receive_max):
            mail = self._mail.popleft()
            self._last_id = self._last_id % 65_535 + 1
            while self._last_id in self._out:
                self._last_id = self._last_id % 65_535 + 1
            packet = publish(version, Publish(mail.topic, mail.payload, 1, self._last_id))
            if len(packet) > self._said.packet_bytes_max or mail.expires_at <= now:
                continue  # it could never take it, or need not: the command is void by its time
            self._out[self._last_id] = mail
            self._write(packet)

    def _acknowledged(self, said: Acknowledged) -> None:
        if said.kind is Kind.PUBREL:
            code = said.code if self.dialogue.version == MQTT_5 else Code.SUCCESS
            self._write(acknowledge(self.dialogue.version, Kind.PUBCOMP, said.packet_id, code))
            return
        mail = self._out.pop(said.packet_id, None) if said.kind is Kind.PUBACK else None
        if mail is not None:
            self.shared.book.fetched(mail)
            self._send_mail()

    # ------------------------------------------------------------------ below

    def send(self, *replies: bytes) -> None:
        self.dialogue.answered(replies)
        super().send(*replies)

    def _write(self, data: bytes) -> None:
        if data and self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)


def will_frame(talk: Talk, will: Will, device: str | None, now: datetime) -> tuple[str, Frame]:
    """What a will becomes: what its payload says, or, where that says nothing to store, that the device is offline."""
    meaning = talk.read(will.topic, will.payload, now)
    reports = [m for m in meaning.messages if isinstance(m, Report)]
    if reports:
        return meaning.protocol, Frame(meaning.data, meaning.messages)
    named = next((m.device for m in meaning.messages if m.device is not None), device)
    told = {"status": "offline"}
    record = b"will " + now.isoformat().encode()
    return meaning.protocol, Frame(will.payload or b"will", (Report(named, None, told, record, None, now),))

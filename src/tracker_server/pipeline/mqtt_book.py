"""What the MQTT endpoint knows of its clients, in memory: logins, kept sessions, and commands that wait. Pure.

``changes`` is what is to be written down; whoever keeps the book true to the database takes it from there.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from msgspec import Struct, field, structs

from tracker_protocols.model import DeviceKey

WAYS_MAX: Final = 200_000  # devices behind brokers, of whom it is remembered how they are told something
KEPT_MAX: Final = (
    200_000  # sessions; above it a client's subscriptions are as if it had asked for a clean one
)


class Login(Struct, frozen=True):
    """A name with a secret. ``devices``: for whom it may speak; none: for all, as a gateway."""

    name: str
    digest: bytes
    devices: frozenset[DeviceKey]


class Identity(Struct, frozen=True):
    """Who a connection is. ``anonymous``: it has shown nothing; ``devices``: as of a login."""

    client_id: str = ""
    user: str = ""
    certificate: str = ""
    anonymous: bool = False
    devices: frozenset[DeviceKey] = frozenset()


class Kept(Struct, frozen=True):
    """A session that outlives its connection: filters, each with the QoS that was granted; for how long it is kept, and
    until when: None while its client is here.
    """

    client_id: str
    user: str
    filters: dict[str, int]
    expiry_s: int
    expires_at: datetime | None


class Mail(Struct, frozen=True):
    """Something that waits for a device to fetch it; ``ordered``: a row of the queue of commands, by its number there."""

    id: int
    device: DeviceKey
    topic: str
    payload: bytes
    expires_at: datetime
    ordered: bool = False


class Way(Struct):
    """How a device behind a broker is told something: through which, and under which topic, ``{device}`` in it; an empty
    one is that of the settings. ``heard_at``: when it was last heard there, on the monotonic clock.
    """

    device: DeviceKey
    broker: str
    topic: str
    heard_at: float


class Flight(Struct):
    """What of a session is not finished when its connection ends, and goes on in the next one (§4.1): identifiers of
    publishes at QoS 2 that have their PUBREC and no PUBREL yet; what was sent to the client and not acknowledged.
    """

    recorded: frozenset[int] = frozenset()
    out: dict[int, Mail] = field(default_factory=dict)
    last_id: int = 0


class Fetched(Struct, frozen=True):
    """A device has acknowledged what waited for it."""

    mail: Mail


class Forgotten(Struct, frozen=True):
    """A kept session has ended."""

    client_id: str


class Moved(Struct, frozen=True):
    """A device is behind no broker any more, or was not heard of for the longest time of too many."""

    device: DeviceKey


class SessionWord(Struct, frozen=True, tag="session"):
    """What the process that has the client says to the others: its session is kept like this; None: it has ended.
    ``since``: when the client came, on the monotonic clock; ``flight``: when its connection has ended.
    """

    client_id: str
    kept: Kept | None
    since: float
    flight: Flight | None = None


Change: TypeAlias = Kept | Forgotten | Fetched | Way | Moved


def digest_of(secret: str | bytes) -> bytes:
    """How a secret is stored. It is a token of at least 16 characters, so a plain hash is enough."""
    return hashlib.sha256(secret.encode() if isinstance(secret, str) else secret).digest()


class Book:
    """Read and written on the server's loop only. ``on_change`` is called when there are changes to write, ``on_mail`` when
    there is new mail. Of several processes each has one, and the first writes all sessions down: ``on_session`` is told of
    every session that changes here, and what it says is to be told to the other books (``learn``).
    """

    def __init__(self, *, first: bool = True) -> None:
        self._first = first
        self._since: dict[str, float] = {}
        self._places: dict[str, int] = {}
        self._logins: dict[str, Login] = {}
        self._protected: frozenset[DeviceKey] = frozenset()
        self._kept: dict[str, Kept] = {}
        self._flights: dict[str, Flight] = {}
        self._mail: dict[int, Mail] = {}
        self._told: set[int] = set()
        self.ways: dict[DeviceKey, Way] = {}
        self.changes: list[Change] = []
        self.on_change: Callable[[], None] = lambda: None
        self.on_session: Callable[[SessionWord], object] | None = None
        self.on_mail: Callable[[Iterable[Mail]], None] = lambda _: None

    # ------------------------------------------------------------------ who may speak

    def put_logins(self, logins: Iterable[Login]) -> None:
        """All that there are."""
        self._logins = {login.name: login for login in logins}
        self._protected = frozenset(device for login in self._logins.values() for device in login.devices)

    def admit(self, client_id: str, user: str, password: bytes, certificate: str) -> Identity | None:
        """Who it is; None: it says a name that has another secret."""
        login = self._logins.get(user) if user else None
        if login is not None:
            if not hmac.compare_digest(login.digest, digest_of(password)):
                return None
            return Identity(client_id, user, certificate, devices=login.devices)
        if certificate:
            return Identity(client_id, user, certificate, devices=frozenset({certificate}))
        return Identity(client_id, user, anonymous=True)

    def may_speak(self, who: Identity, device: DeviceKey) -> bool:
        """Whether it may report for this device: nobody unknown may for one that has a login."""
        if who.anonymous:
            return device not in self._protected
        return not who.devices or device in who.devices

    # ------------------------------------------------------------------ kept sessions

    def put_kept(self, kept: Iterable[Kept]) -> None:
        """All that were kept when the process started; what others have told meanwhile is newer."""
        for one in kept:
            if one.client_id not in self._since:
                self._kept[one.client_id] = one

    def kept(self, client_id: str, user: str, now: datetime) -> Kept | None:
        """The session that is kept under this name for this user."""
        found = self._kept.get(client_id)
        return found if found is not None and found.user == user and not over(found, now) else None

    def flight(self, client_id: str) -> Flight:
        """What its last connection left unfinished."""
        return self._flights.pop(client_id, None) or Flight()

    def keep(self, session: Kept, now: datetime, flight: Flight | None = None, since: float = 0.0) -> None:
        """From now on, or as it is now; ``flight`` when its connection ends. ``since``: when its client came, on the monotonic
        clock; one that has come to another process since then has the session there.
        """
        client_id = session.client_id
        if self._since.get(client_id, 0.0) > since:
            return
        if client_id not in self._kept and len(self._kept) >= KEPT_MAX:
            for one in [one for one in self._kept.values() if over(one, now)]:
                self.forget(one.client_id, since)
            if len(self._kept) >= KEPT_MAX:
                return
        if flight is not None and (flight.recorded or flight.out):
            self._flights[client_id] = flight
        if self._kept.get(client_id) != session:
            self._set(client_id, session)
            self._tell_others(SessionWord(client_id, session, since, self._flights.get(client_id)))

    def forget(self, client_id: str, since: float = 0.0) -> None:
        """It has ended; ``since`` as for ``keep``."""
        self._flights.pop(client_id, None)
        if self._since.get(client_id, 0.0) <= since and client_id in self._kept:
            self._set(client_id, None)
            self._tell_others(SessionWord(client_id, None, since))

    def learn(self, word: SessionWord, place: int = 0) -> None:
        """Another process, ``place``, has said it."""
        client_id = word.client_id
        if word.since < self._since.get(client_id, 0.0):
            return
        self._remember(client_id, word.since)
        self._flights.pop(client_id, None)
        self._places.pop(client_id, None)
        if word.kept is not None:
            if word.flight is not None:
                self._flights[client_id] = word.flight
            if place:
                self._places[client_id] = place
        if self._kept.get(client_id) != word.kept:
            self._set(client_id, word.kept)

    def left(self, place: int, now: datetime) -> None:
        """That process has died: the clients that were connected to it are gone."""
        for client_id in [one for one, where in self._places.items() if where == place]:
            del self._places[client_id]
            kept = self._kept.get(client_id)
            if kept is not None and kept.expires_at is None:
                until = now + timedelta(seconds=kept.expiry_s)
                self.keep(structs.replace(kept, expires_at=until), now, since=self._since.get(client_id, 0.0))

    def _set(self, client_id: str, kept: Kept | None) -> None:
        if kept is None:
            self._kept.pop(client_id, None)
        else:
            self._kept[client_id] = kept
        if self._first:
            self._note(kept or Forgotten(client_id))

    def _tell_others(self, word: SessionWord) -> None:
        if self.on_session is not None:
            self._places.pop(word.client_id, None)
            self._remember(word.client_id, word.since)
            self.on_session(word)

    def _remember(self, client_id: str, since: float) -> None:
        """When its client came; of those who came longest ago nobody says anything old any more."""
        self._since.pop(client_id, None)
        self._since[client_id] = since
        if len(self._since) > KEPT_MAX:
            del self._since[next(iter(self._since))]

    # ------------------------------------------------------------------ commands that wait

    def put_mail(self, mail: Iterable[Mail]) -> None:
        """All that waits; what is new is told to whoever listens."""
        before = self._mail
        self._mail = {one.id: one for one in mail}
        fresh = [one for one in self._mail.values() if one.id not in before]
        if fresh:
            self.on_mail(fresh)

    def waiting(self, now: datetime) -> Iterator[Mail]:
        """All that waits, oldest first."""
        return (one for one in list(self._mail.values()) if one.expires_at > now)

    def fetched(self, mail: Mail) -> None:
        """Its device has it."""
        if mail.ordered:
            self._told.add(mail.id)
            self._note(Fetched(mail))
        elif self._mail.pop(mail.id, None) is not None:
            self._note(Fetched(mail))

    def told(self, number: int) -> bool:
        """Whether a device has this command of the queue, and only its row does not say so yet."""
        return number in self._told

    # ------------------------------------------------------------------ devices behind brokers

    def put_ways(self, ways: Iterable[tuple[DeviceKey, str, str]], begun_at: float) -> None:
        """All that were known when the server started: device, broker, topic. Whoever has come since is newer."""
        self.ways = {row[0]: Way(*row, begun_at) for row in ways}

    def heard(self, way: Way) -> None:
        """A device has reported through a broker, for the first time or otherwise than until now."""
        if self.ways.pop(way.device, None) is None and len(self.ways) >= WAYS_MAX:
            self.moved(next(iter(self.ways)))
        self.ways[way.device] = way
        self._note(way)

    def moved(self, device: DeviceKey) -> None:
        """It speaks to us itself, over whatever transport: a way that it came before is the newest no longer."""
        if self.ways.pop(device, None) is not None:
            self._note(Moved(device))

    # ------------------------------------------------------------------ what is to be written down

    def written(self, count: int) -> None:
        """So many of ``changes``, the oldest, are in the database."""
        for change in self.changes[:count]:
            if isinstance(change, Fetched) and change.mail.ordered:
                self._told.discard(change.mail.id)
        del self.changes[:count]

    def _note(self, change: Change) -> None:
        self.changes.append(change)
        self.on_change()


def over(session: Kept, now: datetime) -> bool:
    """Whether its time is up."""
    return session.expires_at is not None and session.expires_at <= now

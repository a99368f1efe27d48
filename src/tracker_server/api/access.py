"""Who is asking: sessions, tokens and passwords to a ``Principal``, kept in memory until something that concerns him changes.

The database tells of each change, and whom it concerns (``LISTEN tracker_people``); while that line is broken nothing is kept.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from psycopg import AsyncConnection

from tracker_server.api.attempts import Attempts
from tracker_server.api.errors import Refusal
from tracker_server.api.passwords import Passwords
from tracker_server.model.people import (
    EVERYBODY,
    Concerned,
    Principal,
    Role,
    Scope,
    concerned,
    concerns_of,
    rights_of,
)
from tracker_server.storage.database import AWAY, Database
from tracker_server.storage.database import Role as DatabaseRole
from tracker_server.storage.pools import Pools
from tracker_server.storage.sessions import (
    SessionRow,
    TokenRow,
    find_session,
    find_token,
    touch_session,
)
from tracker_server.storage.users import (
    CHANNEL,
    UserRow,
    linked_devices,
    shared_devices,
    use_totp_step,
    user_by_email,
    user_by_id,
)

log = structlog.get_logger(__name__)

KEPT_MAX: Final = 20_000  # principals, of some kilobytes each where many trackers are linked
KEPT_S: Final = 600.0  # after that a session's row is read again, and marked as in use
TOUCH_S: Final = 3_600.0
RETRY_S: Final = 0.5

ADDRESS_FAILURES_MAX: Final = 50  # of all names: an office behind one address mistypes, too
NAME_FAILURES_MAX: Final = 100  # from everywhere: whoever knows a name must not be able to lock it
PAIR_FAILURES_MAX: Final = 10
RESETS_MAX: Final = 5  # links for one name in a quarter of an hour: nobody's box is filled through us


class Access:
    """Runs for as long as the server does. ``generation`` counts the changes to people; what was found before the latest of
    those that concern one does not count any more.
    """

    def __init__(
        self, database: Database, pools: Pools, *, session_days: int, passwords_count: bool = True
    ) -> None:
        self._database = database
        self._pools = pools
        self._session = timedelta(days=session_days)
        self._passwords_count = passwords_count
        self.passwords = Passwords()
        self.generation = 0
        self._listening = False
        self._changed: dict[Concerned, int] = {}  # the generation of the latest of each
        self._kept: OrderedDict[bytes, tuple[int, float, Principal]] = OrderedDict()
        self._key = secrets.token_bytes(32)
        self._watchers: set[Callable[[Concerned], None]] = set()
        self._by_address = Attempts(ADDRESS_FAILURES_MAX)
        self._by_name = Attempts(NAME_FAILURES_MAX)
        self._by_pair = Attempts(PAIR_FAILURES_MAX)
        self._asked_by_name = Attempts(RESETS_MAX)
        self._asked_by_address = Attempts(ADDRESS_FAILURES_MAX)

    # ------------------------------------------------------------------ hearing of changes

    async def run(self) -> None:
        """Listen; after a break, everything may have changed."""
        while True:
            try:
                async with await self._database.connect(DatabaseRole.CORE) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    self._listening = True
                    self.changed(EVERYBODY)
                    async for told in connection.notifies():
                        self.changed(concerned(told.payload))
            except AWAY as error:
                log.warning("not hearing of changes to people", error=str(error).strip())
            finally:
                self._listening = False
                self._outdate(EVERYBODY)
            await asyncio.sleep(RETRY_S)

    def changed(self, whom: Concerned) -> None:
        """Something about people changed: forget what is kept of those concerned, tell who watches."""
        self._outdate(whom)
        for watcher in tuple(self._watchers):
            watcher(whom)

    def forget(self, by: Principal | None) -> None:
        """He wrote something, and the next request is to see it, without waiting for the database to tell. None: who it
        concerns is not known from who asks.
        """
        account_id = None if by is None else by.account_id
        self._outdate(EVERYBODY if account_id is None else Concerned(account_id=account_id))

    def _outdate(self, whom: Concerned) -> None:
        self.generation += 1
        if whom.everybody:
            self._kept.clear()
            self._changed.clear()
        self._changed[whom] = self.generation

    def _changed_at(self, who: Principal) -> int:
        """The latest change that concerns him."""
        return max(self._changed.get(change, 0) for change in concerns_of(who))

    def watch(self, watcher: Callable[[Concerned], None]) -> Callable[[], None]:
        """Have it called, in this loop, after each change; where it concerns one, ask ``again``. Answers what ends that."""
        self._watchers.add(watcher)
        return lambda: self._watchers.discard(watcher)

    async def again(self, principal: Principal) -> Principal | None:
        """The same principal as he stands now; None where he is out."""
        if principal.session:
            return await self.by_session(principal.digest)
        if principal.digest:
            return await self.by_token(principal.digest)
        async with self._pools.core() as connection:
            user = await user_by_id(connection, principal.user_id)
            return None if user is None else await self._of_user(connection, user)

    # ------------------------------------------------------------------ finding out

    async def by_session(self, digest: bytes) -> Principal | None:
        """Of a cookie's digest."""
        if kept := self._find(digest):
            return kept
        generation = self.generation
        async with self._pools.core() as connection:
            session = await find_session(connection, digest)
            if session is None:
                return None
            now = datetime.now(UTC)
            if (now - session.seen_at).total_seconds() > TOUCH_S:
                await touch_session(connection, digest, now + self._session)
            found = await self._of_session(connection, session)
        return self._keep(digest, generation, found)

    async def by_token(self, digest: bytes) -> Principal | None:
        """Of a bearer token's or share link's digest."""
        if kept := self._find(digest):
            return kept
        generation = self.generation
        async with self._pools.core() as connection:
            token = await find_token(connection, digest)
            found = None if token is None else await self._of_token(connection, token)
        return self._keep(digest, generation, found)

    async def by_password(self, email: str, password: str, address: str) -> Principal:
        """Of each call's Basic credentials. Raises Refusal."""
        secret = f"{email.strip().lower()}\0{password}".encode()
        digest = hashlib.blake2b(secret, key=self._key, digest_size=32).digest()
        if kept := self._find(digest):
            return kept
        generation = self.generation
        user = await self.sign_in(email, password, None, address)
        async with self._pools.core() as connection:
            found = self._keep(digest, generation, await self._of_user(connection, user))
        assert found is not None
        return found

    async def sign_in(self, email: str, password: str, code: str | None, address: str) -> UserRow:
        """The user whose password this is. Raises Refusal: 401, or 429 after too many failures."""
        if not self._passwords_count:
            raise Refusal(
                401, "nobody signs in by a password here; use the organisation's own sign-in, or a token"
            )
        name = email.strip().lower()
        now = time.monotonic()
        keys = ((self._by_address, address), (self._by_name, name), (self._by_pair, f"{name}\0{address}"))
        wait_s = max(attempts.wait_s(key, now) for attempts, key in keys)
        if wait_s > 0:
            raise Refusal(
                429,
                f"signing in failed too often; try again in {int(wait_s) // 60 + 1} minutes",
                headers={"Retry-After": str(int(wait_s) + 1)},
            )
        async with self._pools.core() as connection:
            user = await user_by_email(connection, name)
        fits = await self.passwords.fits(user.password if user else None, password)
        if user is None or not fits or user.ended(datetime.now(UTC)):
            for attempts, key in keys:
                attempts.failed(key, now)
            raise Refusal(401, "e-mail address or password is wrong")
        if user.totp_key and not await self._code_counts(user, code):
            if code:
                for attempts, key in keys:
                    attempts.failed(key, now)
            raise Refusal(
                401,
                "code: write the six digits of your authenticator; each works once",
                headers={"WWW-Authenticate": "TOTP"},
            )
        for attempts, key in keys[1:]:
            attempts.forget(key)
        return user

    async def _code_counts(self, user: UserRow, code: str | None) -> bool:
        """Whether it is one of now, and the first time that it, or a later one, is written."""
        step = code_step(user.totp_key or "", code, datetime.now(UTC))
        if step is None:
            return False
        async with self._pools.core() as connection:
            return await use_totp_step(connection, user.id, step)

    def session_end(self, now: datetime) -> datetime:
        """When a session that begins now ends, unless it is used."""
        return now + self._session

    async def of_user(self, connection: AsyncConnection[Any], user_id: int) -> Principal | None:
        """Of a user, to see what he may see."""
        user = await user_by_id(connection, user_id)
        return None if user is None else await self._of_user(connection, user)

    # ------------------------------------------------------------------ rows to principals

    async def _of_session(self, connection: AsyncConnection[Any], session: SessionRow) -> Principal | None:
        if session.token_digest is not None:
            token = await find_token(connection, session.token_digest)
            found = None if token is None else await self._of_token(connection, token)
        else:
            user = await user_by_id(connection, session.user_id)
            found = None if user is None else await self._of_user(connection, user)
        if found is None:
            return None
        until = min(filter(None, (found.until, session.expires_at)))
        if session.actor_id is not None:
            actor = await user_by_id(connection, session.actor_id)
            if actor is None or actor.ended(datetime.now(UTC)) or actor.role != Role.ADMIN:
                return None
        return _replace(found, digest=session.digest, session=True, until=until, actor_id=session.actor_id)

    async def _of_token(self, connection: AsyncConnection[Any], token: TokenRow) -> Principal | None:
        if token.user_id is None or token.kind not in {"access", "share"}:
            return None
        user = await user_by_id(connection, token.user_id)
        found = None if user is None else await self._of_user(connection, user, token.rights)
        if found is None:
            return None
        until = min((moment for moment in (found.until, token.expires_at) if moment), default=None)
        if token.kind == "access":
            return _replace(found, digest=token.digest, until=until)
        shared = await shared_devices(connection, token.device_id, token.group_id)
        shown = frozenset(one for one, account in shared.items() if found.scope.holds(one, account))
        return Principal(
            user_id=found.user_id,
            email="",
            name=token.label,
            role=Role.GUEST,
            rights=rights_of(Role.GUEST),
            scope=Scope(device_ids=shown),
            restricted=True,
            until=until,
            digest=token.digest,
            host_account_id=found.account_id,
        )

    async def _of_user(
        self, connection: AsyncConnection[Any], user: UserRow, granted: list[str] | None = None
    ) -> Principal | None:
        if user.ended(datetime.now(UTC)):
            return None
        role = Role(user.role)
        if role.operator:
            scope = Scope(everything=True)
        else:
            linked = await linked_devices(connection, user.id)
            scope = Scope(account_id=None if user.restricted else user.account_id, device_ids=linked)
        return Principal(
            user_id=user.id,
            email=user.email,
            name=user.name,
            role=role,
            rights=rights_of(
                role,
                readonly=user.readonly,
                device_readonly=user.device_readonly,
                limit_commands=user.limit_commands,
                disable_reports=user.disable_reports,
                manages_users=user.user_limit != 0,
                granted=None if granted is None else frozenset(granted),
            ),
            scope=scope,
            account_id=user.account_id,
            restricted=user.restricted,
            until=user.expires_at,
            limited=granted is not None,
        )

    # ------------------------------------------------------------------ what is kept

    def _find(self, digest: bytes) -> Principal | None:
        kept = self._kept.get(digest)
        if kept is None:
            return None
        generation, since, principal = kept
        over = principal.until is not None and principal.until <= datetime.now(UTC)
        if generation < self._changed_at(principal) or over or time.monotonic() - since > KEPT_S:
            del self._kept[digest]
            return None
        return principal

    def _keep(self, digest: bytes, generation: int, found: Principal | None) -> Principal | None:
        if found is not None and self._listening and generation >= self._changed_at(found):
            self._kept[digest] = (generation, time.monotonic(), found)
            while len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        return found

    @property
    def kept(self) -> int:
        """How many sign-ins are in memory."""
        return len(self._kept)

    def may_ask(self, name: str, address: str) -> bool:
        """Whether a mail may be asked for, by its receiver's name and from this address: some a while, counted here."""
        now = time.monotonic()
        keys = ((self._asked_by_name, name), (self._asked_by_address, address))
        allowed = not any(attempts.wait_s(key, now) for attempts, key in keys)
        for attempts, key in keys:
            attempts.failed(key, now)
        return allowed

    def close(self) -> None:
        """End what runs beside."""
        self.passwords.close()


def _replace(principal: Principal, **changes: Any) -> Principal:
    from msgspec.structs import replace

    return replace(principal, **changes)


def code_step(key: str, code: str | None, now: datetime) -> int | None:
    """The time step of a code: this one, the one before or the next, for clocks differ; None: it is of no such step."""
    from pyotp.totp import TOTP
    from pyotp.utils import strings_equal

    totp = TOTP(key)
    step = totp.timecode(now)
    given = (code or "").strip()
    fitting = [at for at in (step - 1, step, step + 1) if strings_equal(given, totp.generate_otp(at))]
    return max(fitting, default=None)

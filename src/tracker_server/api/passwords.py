"""argon2 beside the event loop: a few threads, a bounded queue before them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from tracker_server.api.errors import Refusal, bad
from tracker_server.model.why import Why

Result = TypeVar("Result")

THREADS: Final = 2  # of 19 MiB each while it works; devices' frames want the other cores
WAITING_MAX: Final = 100
CHARACTERS_MIN: Final = 8
CHARACTERS_MAX: Final = 1_000  # a hash of megabytes is an attack, not a password

# OWASP's password storage cheat sheet: m = 19 MiB, t = 2, p = 1
_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)

_OTHER: Final = (
    "pbkdf2-sha1$"  # of users who were brought over: salt, then argon2 of what the other server had stored
)
_OTHER_ROUNDS: Final = 1_000
_OTHER_BYTES: Final = 24


class Passwords:
    """Hashes and verifies, one at a time for each thread."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "passwords")
        self._waiting = 0
        self._nobody = ""

    async def hash(self, password: str) -> str:
        """What is stored. Raises Refusal for a password that is too short or too long."""
        check_password(password)
        return await self._run(_HASHER.hash, password)

    async def hash_other(self, hashed: str, salt: str) -> str:
        """What is stored of a password of which only PBKDF2's outcome (hexadecimal, SHA-1, 1,000 rounds) is known."""
        return f"{_OTHER}{salt}${await self._run(_HASHER.hash, hashed.lower())}"

    async def fits(self, stored: str | None, password: str) -> bool:
        """Whether it is the password; where there is none to compare with, it takes as long to say no."""
        if len(password) > CHARACTERS_MAX:
            return False
        if stored is None:
            self._nobody = self._nobody or await self._run(_HASHER.hash, "nobody's password")
        return await self._run(_fits, stored or self._nobody, password) and stored is not None

    async def _run(self, work: Callable[..., Result], *arguments: str) -> Result:
        if self._waiting >= WAITING_MAX:
            raise Refusal(503, "too many are signing in; try again in a moment", headers={"Retry-After": "5"})
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def hash_now(password: str) -> str:
    """As ``Passwords.hash``, for a program that does nothing beside it. Raises Refusal."""
    check_password(password)
    return _HASHER.hash(password)


def check_password(password: str) -> None:
    """Raises Refusal where it cannot be one."""
    if len(password) < CHARACTERS_MIN:
        raise bad(
            "password",
            f"is too short; take at least {CHARACTERS_MIN} characters",
            Why.PASSWORD_SHORT,
            least=CHARACTERS_MIN,
        )
    if len(password) > CHARACTERS_MAX:
        raise bad(
            "password",
            f"is too long; take at most {CHARACTERS_MAX:,} characters",
            Why.PASSWORD_LONG,
            most=CHARACTERS_MAX,
        )


def _fits(stored: str, password: str) -> bool:
    try:
        if stored.startswith(_OTHER):
            _, salt, stored = stored.split("$", 2)
            rounds = hashlib.pbkdf2_hmac(
                "sha1", password.encode(), bytes.fromhex(salt), _OTHER_ROUNDS, _OTHER_BYTES
            )
            password = rounds.hex()
        return _HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError, ValueError):
        return False

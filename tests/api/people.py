"""People for tests over HTTP: who signs in, and what the server's rows are, set up straight in the database."""

from __future__ import annotations

import itertools
from typing import Any

import httpx
import psycopg
from argon2 import PasswordHasher

from tests.servers.serve import Running

PASSWORD = "correct horse"
HASH = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD)  # quick to verify
_numbers = itertools.count(1)


class World:
    """A running server and its database. Everything made here has a name of its own."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.url = running.api

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """As the owner."""
        with psycopg.connect(self.running.dsn, autocommit=True) as connection:
            done = connection.execute(statement.encode(), parameters)
            return done.fetchall() if done.description else []

    def account(self) -> int:
        """A new customer."""
        name = f"Account {next(_numbers)}"
        return self.sql(
            "INSERT INTO core.accounts (name, zone, currency, tariff_id)"
            " SELECT %s, 'Europe/Madrid', 'EUR', id FROM core.tariffs WHERE name = 'Free' RETURNING id",
            name,
        )[0][0]

    def device(self, account: int, **columns: Any) -> int:
        """A new tracker of that account."""
        name = f"9{next(_numbers):08}"
        values = {"unique_id": name, "account_id": account, "name": f"Tracker {name}", **columns}
        names = ", ".join(values)
        places = ", ".join(["%s"] * len(values))
        return self.sql(
            f"INSERT INTO core.devices ({names}) VALUES ({places}) RETURNING id", *values.values()
        )[0][0]

    def unique_id(self, device: int) -> str:
        """What it calls itself."""
        return self.sql("SELECT unique_id FROM core.devices WHERE id = %s", device)[0][0]

    def block(self, device: int, reason: str = "hold") -> None:
        """Hide it."""
        self.sql("INSERT INTO core.blocks (device_id, reason, since) VALUES (%s, %s, now())", device, reason)

    def unblock(self, device: int) -> None:
        """Show it."""
        self.sql("DELETE FROM core.blocks WHERE device_id = %s", device)

    def fix(
        self, device: int, at: str = "2026-01-02T08:00:00Z", latitude: float = 41.5, **columns: Any
    ) -> None:
        """A stored fix; the first one is the latest."""
        self.sql("SELECT core.ensure_days(ARRAY[%s::timestamptz::date])", at)
        values = {"device_id": device, "fixed_at": at, "received_at": at, "digest": next(_numbers),
                  "latitude": latitude, "longitude": 2.25, "valid": True, "protocol": "osmand", **columns}  # fmt: skip
        names = ", ".join(values)
        places = ", ".join(["%s"] * len(values))
        self.sql(f"INSERT INTO core.positions ({names}) VALUES ({places})", *values.values())
        self.sql(
            "UPDATE core.device_state SET contact_at = %s, newest_fixed_at = %s, latest_at = %s, latest_fixed_at = %s,"
            " latest_digest = %s WHERE device_id = %s",
            at, at, at, at, values["digest"], device,
        )  # fmt: skip

    def user(self, role: str, account: int | None = None, **columns: Any) -> str:
        """A new user's e-mail address; his password is ``PASSWORD``."""
        email = f"user{next(_numbers)}@example.com"
        values = {
            "email": email,
            "name": email,
            "role": role,
            "account_id": account,
            "password": HASH,
            **columns,
        }
        names = ", ".join(values)
        places = ", ".join(["%s"] * len(values))
        self.sql(f"INSERT INTO core.users ({names}) VALUES ({places})", *values.values())
        return email

    def user_id(self, email: str) -> int:
        """Of that address."""
        return self.sql("SELECT id FROM core.users WHERE email = %s", email)[0][0]

    def nobody(self) -> httpx.Client:
        """A client that is not signed in."""
        return httpx.Client(base_url=self.url, timeout=30)

    def client(self, email: str, password: str = PASSWORD) -> httpx.Client:
        """A client that is signed in by cookie."""
        form = {"email": email, "password": password}
        answer = httpx.post(f"{self.url}/api/session", data=form, timeout=30)
        assert answer.status_code == 200, answer.text
        return httpx.Client(base_url=self.url, timeout=30, cookies=answer.cookies)

    def signed_in(self, role: str, account: int | None = None, **columns: Any) -> httpx.Client:
        """A new user, signed in."""
        return self.client(self.user(role, account, **columns))

"""Who is asking, and what one in that role may do. Pure values; everything that answers a person takes them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Final, LiteralString

from msgspec import Struct


class Role(StrEnum):
    """The operator's people (admin, staff) have no account; an account's people have one; a guest came by a link."""

    ADMIN = "admin"
    STAFF = "staff"
    OWNER = "owner"
    MANAGER = "manager"
    VIEWER = "viewer"
    GUEST = "guest"

    @property
    def operator(self) -> bool:
        """Whether it is one of the operator's."""
        return self in {Role.ADMIN, Role.STAFF}


class Right(StrEnum):
    """What a route may ask for."""

    READ = "read"  # see trackers and what belongs to them
    REPORTS = "reports"  # history in sums: trips, stops, summaries
    WRITE = "write"  # fences, groups, drivers, rules …
    DEVICES = "devices"  # add, change and remove trackers
    COMMANDS = "commands"  # send to trackers
    SHARE = "share"  # let a guest in
    SELF = "self"  # one's own name, password, tokens
    USERS = "users"  # the account's other people
    BOOKS = "books"  # see balance, ledger, invoices
    MONEY = "money"  # pay, switch tariff, activate
    OPERATE = "operate"  # the operator's daily work: accounts, quarantine, holds
    ADMINISTER = "administer"  # the server itself, its staff, another's session


_CUSTOMER: Final = frozenset(
    {
        Right.READ,
        Right.REPORTS,
        Right.WRITE,
        Right.DEVICES,
        Right.COMMANDS,
        Right.SHARE,
        Right.SELF,
        Right.BOOKS,
    }
)
RIGHTS: Final[dict[Role, frozenset[Right]]] = {
    Role.ADMIN: frozenset(Right),
    Role.STAFF: frozenset(Right) - {Right.ADMINISTER},
    Role.OWNER: _CUSTOMER | {Right.USERS, Right.MONEY},
    Role.MANAGER: _CUSTOMER,
    Role.VIEWER: frozenset({Right.READ, Right.REPORTS, Right.SELF, Right.BOOKS}),
    Role.GUEST: frozenset({Right.READ}),
}
WRITING: Final = frozenset(Right) - {Right.READ, Right.REPORTS, Right.BOOKS, Right.SELF}


class Scope(Struct, frozen=True):
    """Which trackers: all there are, all of an account, and those named besides."""

    everything: bool = False
    account_id: int | None = None
    device_ids: frozenset[int] = frozenset()

    def parameters(self) -> dict[str, Any]:
        """For a statement that holds ``IN_SCOPE``."""
        return {
            "scope_everything": self.everything,
            "scope_account": self.account_id,
            "scope_devices": list(self.device_ids),
        }

    def holds(self, device_id: int, account_id: int | None) -> bool:
        """Whether a tracker of that account is among them."""
        if self.everything or device_id in self.device_ids:
            return True
        return self.account_id is not None and account_id == self.account_id


IN_SCOPE: Final[LiteralString] = (
    "(%(scope_everything)s OR account_id = %(scope_account)s OR device_id = ANY(%(scope_devices)s))"
)
"""Of any view of ``display`` with ``account_id`` and ``device_id``; of ``display.devices`` the latter is ``id``."""
OTHERS_IN_SCOPE: Final[LiteralString] = f"""NOT EXISTS (
    SELECT FROM unnest(other_ids) AS other (device_id) LEFT JOIN display.cards USING (device_id)
    WHERE NOT coalesce({IN_SCOPE}, false)
)"""
"""Of what names other trackers in ``other_ids``: whoever may not see one of them is not told."""


class Principal(Struct, frozen=True):
    """Somebody who signed in, as he stands at this moment.

    ``account_id``: None of the operator's people. ``scope``: the trackers that he may see. ``restricted``: of his
    account he sees what was linked to him. ``actor_id``: the administrator who acts in his place. ``until``: when
    session, token or user ends by time alone. ``digest``: of the session or token; empty where a password came along.
    ``limited``: a token gave him fewer rights than his user has. ``host_account_id``: a guest's, whose trackers he is shown.
    """

    user_id: int
    email: str
    name: str
    role: Role
    rights: frozenset[Right]
    scope: Scope
    account_id: int | None = None
    restricted: bool = False
    actor_id: int | None = None
    until: datetime | None = None
    digest: bytes = b""
    session: bool = False
    limited: bool = False
    host_account_id: int | None = None

    def may(self, right: Right) -> bool:
        """Whether he has that right."""
        return right in self.rights

    @property
    def operator(self) -> bool:
        """Whether he is one of the operator's."""
        return self.role.operator

    def may_account(self, account_id: int) -> bool:
        """Whether an account is his, or any."""
        return self.operator or (self.role is not Role.GUEST and account_id == self.account_id)


def rights_of(
    role: Role,
    *,
    readonly: bool = False,
    device_readonly: bool = False,
    limit_commands: bool = False,
    disable_reports: bool = False,
    manages_users: bool = False,
    granted: frozenset[str] | None = None,
) -> frozenset[Right]:
    """What a user may do. ``granted``: a token's own list; None: all that its user may."""
    rights = RIGHTS[role]
    if manages_users and role is not Role.GUEST:
        rights |= {Right.USERS}
    if readonly:
        rights -= WRITING
    if device_readonly:
        rights -= {Right.DEVICES}
    if limit_commands:
        rights -= {Right.COMMANDS}
    if disable_reports:
        rights -= {Right.REPORTS}
    if granted is not None:
        rights = frozenset(right for right in rights if right.value in granted)
    return rights


class Concerned(Struct, frozen=True):
    """Whose rights a change may have touched: those of one user, of everybody of an account, of all, or nobody's."""

    user_id: int | None = None
    account_id: int | None = None
    everybody: bool = False

    def holds(self, who: Principal) -> bool:
        """Whether he has to be looked at again."""
        return self in concerns_of(who)


EVERYBODY: Final = Concerned(everybody=True)
NOBODY: Final = Concerned()


def concerns_of(who: Principal) -> list[Concerned]:
    """The changes that concern him: everybody's, and those of user and account, his own and those that he acts or looks for."""
    users, accounts = (who.user_id, who.actor_id), (who.account_id, who.host_account_id)
    return [
        EVERYBODY,
        *(Concerned(user_id=number) for number in users if number is not None),
        *(Concerned(account_id=number) for number in accounts if number is not None),
    ]


def concerned(word: str) -> Concerned:
    """What the database tells: ``u7``, ``a3``, ``objects``; a word that is not known concerns everybody."""
    if word == "objects":
        return NOBODY
    kind, number = word[:1], word[1:]
    if kind in {"u", "a"} and number.isdecimal():
        return Concerned(user_id=int(number)) if kind == "u" else Concerned(account_id=int(number))
    return EVERYBODY

"""Users: who manages whom, and that nobody raises his own rights."""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct
from msgspec.structs import replace
from starlette.responses import PlainTextResponse, Response

from tracker_server.api.access import code_step
from tracker_server.api.authenticator import AuthenticatorKey, authenticator_key
from tracker_server.api.authorise import Kind, Routes
from tracker_server.api.call import Call
from tracker_server.api.errors import Refusal, bad, not_found
from tracker_server.api.kept import account_for
from tracker_server.api.session import email_of
from tracker_server.api.user_shape import PREFERENCES, User, UserGiven, shape_of
from tracker_server.api.values import Number, moment
from tracker_server.model.people import Principal, Right, Role
from tracker_server.model.why import Why
from tracker_server.storage.audit import note
from tracker_server.storage.sessions import end_sessions_of
from tracker_server.storage.users import (
    EmailTakenError,
    UserRow,
    add_user,
    count_admins,
    count_made,
    list_users,
    remove_user,
    update_user,
    user_by_id,
)

routes = Routes("Users")

OWN: Final = frozenset({"name", "email", "password", "phone", "totp_key", "attributes", *PREFERENCES})
"""What one may change of oneself."""
RANK: Final = [Role.VIEWER, Role.MANAGER, Role.OWNER, Role.STAFF, Role.ADMIN]
NOT_TOLD: Final = frozenset({"id", "password"})


class UsersQuery(Struct, rename="camel"):
    """Those whom a user made, or those to whom something was linked."""

    user_id: Number | None = None
    device_id: Number | None = None
    group_id: Number | None = None
    geofence_id: Number | None = None
    account_id: Number | None = None
    keyword: Annotated[str, Meta(max_length=200)] = ""
    limit: Annotated[int, Meta(ge=0, le=100_000)] = 0
    offset: Annotated[int, Meta(ge=0, le=2**31)] = 0


class KeyAndCode(Struct, rename="camel"):
    """A key that is to be used, and what an authenticator shows for it."""

    key: Annotated[str, Meta(max_length=200)]
    code: Annotated[str, Meta(max_length=20)]


@routes.get(
    "/users",
    needs=Right.SELF,
    query=UsersQuery,
    objects={
        "userId": Kind.USER,
        "deviceId": Kind.DEVICE,
        "groupId": Kind.GROUP,
        "geofenceId": Kind.GEOFENCE,
        "accountId": Kind.ACCOUNT,
    },
    answers=list[User],
)
async def get_users(call: Call[UsersQuery, None]) -> list[User]:
    """The users whom one manages."""
    query, principal = call.query, call.principal
    linked = next(
        (
            (kind, number)
            for kind in ("device", "group", "geofence")
            if (number := getattr(query, f"{kind}_id"))
        ),
        None,
    )
    account = query.account_id or None
    maker = query.user_id or None
    if not principal.operator:
        if principal.role is not Role.OWNER and not principal.may(Right.USERS):
            return []
        his_account, himself = managed_by(principal)
        account, maker = his_account or account, himself or maker
    async with call.services.pools.core() as connection:
        rows = await list_users(connection, account_id=account, created_by=maker, linked=linked)
    if query.keyword:
        wanted = query.keyword.lower()
        rows = [row for row in rows if wanted in row.email.lower() or wanted in row.name.lower()]
    rows = rows[query.offset : query.offset + (query.limit or len(rows))]
    return [shape_of(row) for row in rows]


def managed_by(principal: Principal) -> tuple[int | None, int | None]:
    """Whose account's users somebody manages, else by whom they were made; neither: all users."""
    if principal.operator:
        return None, None
    return (principal.account_id, None) if principal.role is Role.OWNER else (None, principal.user_id)


@routes.get("/users/{id}", needs=Right.SELF, objects={"id": Kind.USER}, answers=User)
async def get_user(call: Call[None, None]) -> User:
    """One user: oneself, or one whom one manages."""
    return shape_of(await _read(call))


@routes.post("/users", needs=Right.USERS, body=UserGiven, answers=User)
async def post_user(call: Call[None, UserGiven]) -> User:
    """Add a user. Without a role he sees what is linked to him, and may change that."""
    given, principal = call.body, call.principal
    if given.email is UNSET:
        raise bad("email", "is missing", Why.MISSING)
    role = given.role if given.role is not UNSET else Role.MANAGER
    role = Role.ADMIN if given.administrator is True else role
    account = None if role.operator else await account_for(call, given.account_id or 0)
    restricted = given.restricted if given.restricted is not UNSET else given.role is UNSET
    row = UserRow(
        email=email_of(given.email),
        name=given.name if given.name is not UNSET and given.name else given.email,
        role=role,
        account_id=account,
        restricted=bool(restricted) and not role.operator,
        created_by=principal.user_id,
    )
    row = await _with(
        call, row, given, frozenset({"role", "administrator", "account_id", "restricted", "email", "name"})
    )
    _check_rank(principal, row)
    async with call.services.pools.core() as connection, connection.transaction():
        maker = await user_by_id(connection, principal.user_id)
        row = bounded(principal, maker, row)
        limited = maker is not None and maker.user_limit > 0
        if maker and limited and await count_made(connection, maker.id) >= maker.user_limit:
            raise Refusal(
                403,
                f"you may have {maker.user_limit} users, and have them",
                why=Why.USERS_MAX,
                values={"most": maker.user_limit},
            )
        try:
            number = await add_user(connection, row)
        except EmailTakenError:
            raise bad(
                "email", f"somebody signs in by {row.email} already", Why.EMAIL_TAKEN, email=row.email
            ) from None
        await note(connection, "create", by=principal, kind="user", object_id=number, address=call.address)
        made = await user_by_id(connection, number)
    assert made is not None
    return shape_of(made)


@routes.put("/users/{id}", needs=Right.SELF, objects={"id": Kind.USER}, body=UserGiven, answers=User)
async def put_user(call: Call[None, UserGiven]) -> User:
    """Change a user; of oneself name, password, preferences and the like."""
    principal, given = call.principal, call.body
    before = await _read(call)
    changes = changed(before, given)
    own = call.id == principal.user_id
    _check_change(principal, before, changes, own=own)
    row = await _with(call, before, given, frozenset(UserGiven.__struct_fields__) - changes)
    if "account_id" in changes and row.account_id:
        await call.require_objects(Kind.ACCOUNT, row.account_id)
    if not own:
        _check_rank(principal, row)
    async with call.services.pools.core() as connection, connection.transaction():
        if not own:
            row = bounded(principal, await user_by_id(connection, principal.user_id), row)
        if before.role == Role.ADMIN and (row.role != Role.ADMIN or row.disabled):
            await _keep_an_admin(connection)
        try:
            await update_user(connection, row)
        except EmailTakenError:
            raise bad(
                "email", f"somebody signs in by {row.email} already", Why.EMAIL_TAKEN, email=row.email
            ) from None
        if "password" in changes:
            await end_sessions_of(connection, call.id, but=principal.digest if own else b"")
        if changes:
            detail = {"fields": sorted(changes)}
            await note(
                connection,
                "edit",
                by=principal,
                kind="user",
                object_id=call.id,
                address=call.address,
                detail=detail,
            )
    call.services.access.forget(call.principal)
    return shape_of(await _read(call))


@routes.delete("/users/{id}", needs=Right.SELF, objects={"id": Kind.USER})
async def delete_user(call: Call[None, None]) -> None:
    """Remove a user with his sessions, tokens and links."""
    principal = call.principal
    row = await _read(call)
    if call.id != principal.user_id:
        call.require(Right.USERS)
        _check_rank(principal, row)
    async with call.services.pools.core() as connection, connection.transaction():
        if row.role == Role.ADMIN:
            await _keep_an_admin(connection)
        await remove_user(connection, call.id)
        await note(connection, "remove", by=principal, kind="user", object_id=call.id, address=call.address)
    call.services.access.forget(call.principal)


@routes.post("/users/totp", needs=Right.SELF, media=("text/plain",), answers=str)
async def post_totp(call: Call[None, None]) -> Response:
    """A new key for an authenticator; it counts once it is written into the user (`totpKey`)."""
    from pyotp import random_base32

    del call
    return PlainTextResponse(random_base32())


@routes.post("/users/totp/new", needs=Right.SELF, answers=AuthenticatorKey)
async def post_totp_new(call: Call[None, None]) -> AuthenticatorKey:
    """As /users/totp, with the link and the QR code that an authenticator app takes it from."""
    from pyotp import random_base32

    return authenticator_key(call.services.settings.page.title, call.principal.email, random_base32())


@routes.post("/users/totp/check", needs=Right.SELF, body=KeyAndCode)
async def post_totp_check(call: Call[None, KeyAndCode]) -> None:
    """Whether an authenticator has taken a key: its six digits of now fit. Nothing is changed by it."""
    key = _totp_key(call.body.key)
    if key is None or code_step(key, call.body.code, call.now) is None:
        raise bad(
            "code",
            "does not fit; write the six digits that the app shows now, and see that its clock is right",
            Why.CODE,
        )


async def _read(call: Call[Any, Any]) -> UserRow:
    async with call.services.pools.core() as connection:
        row = await user_by_id(connection, call.id)
    if row is None:
        raise not_found(f"user {call.id}")
    return row


def changed(row: UserRow, given: UserGiven) -> frozenset[str]:
    """The fields that would be other than they are told now; to write back what was read changes nothing."""
    told = shape_of(row)
    found: set[str] = set()
    for name in UserGiven.__struct_fields__:
        value = getattr(given, name)
        if value is UNSET or name in NOT_TOLD:
            continue
        now = getattr(told, name)
        if name == "expiration_time" and value:
            value, now = moment(value, "expirationTime"), row.expires_at
        if (value or None) != (now or None):
            found.add(name)
    if given.password:
        found.add("password")
    return frozenset(found)


def _check_change(principal: Principal, before: UserRow, changes: frozenset[str], *, own: bool) -> None:
    if not changes:
        return
    if own and before.readonly:
        raise Refusal(403, "you may not do this: you may read and no more")
    if own:
        raised = changes - OWN
        if raised and principal.role is not Role.ADMIN:
            raise Refusal(403, f"{min(raised)}: nobody changes his own rights; who manages you does")
        if "email" in changes and before.fixed_email and not principal.operator:
            raise Refusal(403, "email: is fixed; who manages you changes it")
        return
    if not principal.may(Right.USERS):
        raise Refusal(403, f"you may not do this: it needs the right {Right.USERS.value!r}")
    _check_rank(principal, before)
    if not principal.operator and changes & {"account_id", "administrator", "user_limit"} - OWN:
        raise Refusal(
            403,
            f"{min(changes & {'account_id', 'administrator', 'user_limit'})}: is the operator's to change",
        )


def _check_rank(principal: Principal, row: UserRow) -> None:
    """Nobody makes, changes or removes whom he is below. Raises Refusal."""
    role = Role(row.role)
    if role.operator and not principal.may(Right.ADMINISTER):
        raise Refusal(403, "role: the operator's people are an administrator's to manage")
    if RANK.index(role) > RANK.index(principal.role):
        raise Refusal(403, f"role: {role.value} is above your own")


def bounded(principal: Principal, maker: UserRow | None, row: UserRow) -> UserRow:
    """Whoever is not the operator's gives no more than he has himself."""
    if principal.operator or maker is None:
        return row
    marks = ("restricted", "readonly", "device_readonly", "limit_commands", "disable_reports")
    row = replace(row, **{name: getattr(row, name) or getattr(maker, name) for name in marks})
    return row if principal.role is Role.OWNER else replace(row, user_limit=0)


async def _keep_an_admin(connection: Any) -> None:
    if await count_admins(connection) <= 1:
        raise Refusal(409, "this is the last administrator; make another first", why=Why.LAST_ADMIN)


async def _with(call: Call[Any, Any], row: UserRow, given: UserGiven, but: frozenset[str]) -> UserRow:
    """The row as it would be. Raises Refusal."""
    said = {
        name: value
        for name in UserGiven.__struct_fields__
        if name not in but and name not in NOT_TOLD and (value := getattr(given, name)) is not UNSET
    }
    preferences = {**row.preferences, **{name: said.pop(name) for name in PREFERENCES if name in said}}
    if "expiration_time" in said:
        end = said.pop("expiration_time")
        said["expires_at"] = moment(end, "expirationTime") if end else None
    if "email" in said:
        said["email"] = email_of(said["email"])
    if said.pop("administrator", None) is True:
        said["role"] = Role.ADMIN
    if "totp_key" in said:
        said["totp_key"] = _totp_key(said["totp_key"])
    for name, empty in (("phone", ""), ("attributes", {})):
        if name in said:
            said[name] = said[name] or empty
    if "account_id" in said:
        said["account_id"] = said["account_id"] or None
    if given.password:
        said["password"] = await call.services.access.passwords.hash(str(given.password))
    after = replace(row, preferences=preferences, **said)
    if Role(after.role).operator != (after.account_id is None):
        after = replace(after, account_id=None) if Role(after.role).operator else after
        if after.account_id is None and not Role(after.role).operator:
            raise bad("accountId", "is missing; name the account that he belongs to")
    return after


def _totp_key(key: str | None) -> str | None:
    from pyotp.totp import TOTP

    if not key:
        return None
    try:
        TOTP(key).now()
    except (ValueError, TypeError):
        raise bad(
            "totpKey", "is no key of 32 letters A-Z and digits 2-7; POST /api/users/totp makes one"
        ) from None
    return key

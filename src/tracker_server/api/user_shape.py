"""A user as the API speaks of him, and back."""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType, field

from tracker_server.api.values import Moment, Number, iso
from tracker_server.model.people import Principal, Role
from tracker_server.storage.users import UserRow

Attributes = dict[str, Any]
Count = Annotated[int, Meta(ge=-1, le=2**31 - 1)]
Short = Annotated[str, Meta(max_length=200)]


class User(Struct, kw_only=True, rename="camel"):
    """A user. ``role``, ``accountId``, ``restricted`` are ours: restricted sees what was linked, not the whole account."""

    id: Number
    name: str
    email: str
    phone: str | None = None
    readonly: bool = False
    administrator: bool = False
    map: str | None = None
    latitude: float = 0.0
    longitude: float = 0.0
    zoom: int = 0
    coordinate_format: str | None = None
    disabled: bool = False
    expiration_time: Moment | None = None
    device_limit: int = -1
    user_limit: int = 0
    device_readonly: bool = False
    limit_commands: bool = False
    fixed_email: bool = False
    disable_reports: bool = False
    poi_layer: str | None = None
    totp_key: str | None = None
    temporary: bool = False
    attributes: Attributes = field(default_factory=dict)
    role: str = Role.VIEWER
    account_id: int | None = None
    restricted: bool = False
    rights: list[str] = field(default_factory=list)
    actor_id: int | None = None


class UserGiven(Struct, kw_only=True, rename="camel"):
    """What may be said of a user; what is left out stays as it is."""

    id: Number | UnsetType = UNSET
    name: Short | UnsetType = UNSET
    email: Annotated[str, Meta(max_length=254)] | UnsetType = UNSET
    password: Annotated[str, Meta(max_length=1000)] | UnsetType | None = UNSET
    phone: Short | UnsetType | None = UNSET
    readonly: bool | UnsetType = UNSET
    administrator: bool | UnsetType = UNSET
    map: Short | UnsetType | None = UNSET
    latitude: float | UnsetType | None = UNSET
    longitude: float | UnsetType | None = UNSET
    zoom: int | UnsetType | None = UNSET
    coordinate_format: Short | UnsetType | None = UNSET
    disabled: bool | UnsetType = UNSET
    expiration_time: Moment | UnsetType | None = UNSET
    device_limit: Count | UnsetType = UNSET
    user_limit: Count | UnsetType = UNSET
    device_readonly: bool | UnsetType = UNSET
    limit_commands: bool | UnsetType = UNSET
    fixed_email: bool | UnsetType = UNSET
    disable_reports: bool | UnsetType = UNSET
    poi_layer: Annotated[str, Meta(max_length=2000)] | UnsetType | None = UNSET
    totp_key: Short | UnsetType | None = UNSET
    attributes: Attributes | UnsetType | None = UNSET
    role: Role | UnsetType = UNSET
    account_id: Number | UnsetType | None = UNSET
    restricted: bool | UnsetType = UNSET


PREFERENCES: Final = ("map", "latitude", "longitude", "zoom", "coordinate_format", "poi_layer")


def shape_of(row: UserRow, principal: Principal | None = None) -> User:
    """As it is told; ``principal``: himself, with what he may do."""
    known = {name: row.preferences[name] for name in PREFERENCES if row.preferences.get(name) is not None}
    return User(
        id=row.id,
        name=row.name,
        email=row.email,
        phone=row.phone or None,
        readonly=row.readonly,
        administrator=row.role == Role.ADMIN,
        disabled=row.disabled,
        expiration_time=iso(row.expires_at),
        device_limit=row.device_limit,
        user_limit=row.user_limit,
        device_readonly=row.device_readonly,
        limit_commands=row.limit_commands,
        fixed_email=row.fixed_email,
        disable_reports=row.disable_reports,
        totp_key="set" if row.totp_key else None,
        attributes=row.attributes,
        role=row.role,
        account_id=row.account_id,
        restricted=row.restricted,
        rights=sorted(principal.rights) if principal else [],
        actor_id=principal.actor_id if principal else None,
        **known,
    )


def guest(principal: Principal) -> User:
    """Somebody who came by a share link."""
    return User(
        id=0,
        name=principal.name or "guest",
        email="",
        readonly=True,
        device_readonly=True,
        limit_commands=True,
        disable_reports=True,
        temporary=True,
        expiration_time=iso(principal.until),
        role=Role.GUEST,
        restricted=True,
        rights=sorted(principal.rights),
    )

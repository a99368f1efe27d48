"""Clients that people have, unchanged, against a real server: each does a whole session of what it can do."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import aiohttp
import pytest
from pytraccar import ApiClient, TraccarAuthenticationException
from traccar_api.api import TraccarApi  # pyright: ignore[reportMissingTypeStubs]
from traccar_api_client import AuthenticatedClient
from traccar_api_client.api.attributes import get_attributes_computed, post_attributes_computed
from traccar_api_client.api.calendars import get_calendars, post_calendars
from traccar_api_client.api.commands import get_commands_types, post_commands_send
from traccar_api_client.api.devices import delete_devices_id, get_devices, post_devices, put_devices_id
from traccar_api_client.api.geofences import get_geofences, post_geofences
from traccar_api_client.api.groups import get_groups, post_groups
from traccar_api_client.api.notifications import get_notifications, post_notifications
from traccar_api_client.api.permissions import delete_permissions, post_permissions
from traccar_api_client.api.positions import get_positions
from traccar_api_client.api.reports import get_reports_summary
from traccar_api_client.api.server import get_server
from traccar_api_client.api.session import get_session
from traccar_api_client.api.users import get_users, post_users
from traccar_api_client.models import (
    Attribute,
    Calendar,
    Command,
    Device,
    Geofence,
    Group,
    Notification,
    Permission,
    User,
)

from tests.api.people import PASSWORD, World
from tests.api.test_objects import CALENDAR


# aiohttp tells its users, and the client is one, of a change to come
@pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The 'auth' parameter:DeprecationWarning")
async def test_pytraccar(world: World) -> None:
    account = world.account()
    device = world.device(account, name="Van", category="van")
    world.fix(device, speed_mps=10.0)
    email = world.user("viewer", account)
    host, _, port = world.url.removeprefix("http://").partition(":")
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        client = ApiClient(host, email, PASSWORD, port=int(port), client_session=session)
        assert (await client.get_server())["version"]
        (van,) = await client.get_devices()
        assert (van["id"], van["name"], van["category"]) == (device, "Van", "van")
        (position,) = await client.get_positions()
        assert position["deviceId"] == device
        assert position["speed"] == pytest.approx(10.0 * 3600 / 1852, abs=0.001)
        assert await client.get_geofences() == []
        wrong = ApiClient(host, email, "wrong horse", port=int(port), client_session=session)
        with pytest.raises(TraccarAuthenticationException):
            await wrong.get_server()
    for _ in range(3):
        await asyncio.sleep(0)  # the closed session's sockets go in the loop's next turns


def test_traccar_api(world: World) -> None:
    account = world.account()
    email = world.user("owner", account)
    user = world.user_id(world.user("manager", account, restricted=True))
    api = TraccarApi(world.url, email, PASSWORD)
    api.login()
    made = api.create_device({"name": "Van", "uniqueId": "600001"})
    assert made["uniqueId"] == "600001"
    assert [one["id"] for one in api.get_devices()] == [made["id"]]
    assert api.get_device(device_unique_ids="600001")[0]["id"] == made["id"]
    assert api.update_device({**made, "name": "Lorry"})["name"] == "Lorry"
    assert {one["id"] for one in api.get_users()} >= {user}
    assert api.get_server()["version"]
    api.link_device_user(device_id=made["id"], user_id=user)
    assert [one["id"] for one in api.get_device(user_id=user)] == [made["id"]]
    api.unlink_device_user(device_id=made["id"], user_id=user)
    assert api.get_device(user_id=user) == []
    assert api.get_groups() == []
    assert api.get_drivers() == []
    api.delete_device(made)
    assert api.get_devices() == []
    api.logout()


def test_the_generated_client(world: World) -> None:
    account = world.account()
    email = world.user("owner", account)
    with world.client(email) as signed_in:
        token = signed_in.post("/api/session/token").text
    client = AuthenticatedClient(base_url=f"{world.url}/api", token=token, raise_on_unexpected_status=True)
    with client:
        me = get_session.sync(client=client, token=token)
        assert me is not None
        assert me.email == email
        group = post_groups.sync(client=client, body=Group(name="North"))
        assert group is not None
        van = post_devices.sync(client=client, body=Device(name="Van", unique_id="600010", group_id=group.id))
        assert van is not None
        assert isinstance(van.id, int)
        van.name = "Lorry"
        put_devices_id.sync(client=client, id=van.id, body=van)
        found = get_devices.sync(client=client)
        assert [one.name for one in found or []] == ["Lorry"]
        assert [one.id for one in get_groups.sync(client=client) or []] == [group.id]
        assert post_geofences.sync(client=client, body=Geofence(name="Depot", area="CIRCLE (41.5 2.25, 100)"))
        assert len(get_geofences.sync(client=client) or []) == 1
        assert post_calendars.sync(client=client, body=Calendar(name="Work", data=CALENDAR))
        assert len(get_calendars.sync(client=client) or []) == 1
        attribute = Attribute(description="", attribute="kmh", expression="speed * 1.852", type_="Number")
        assert post_attributes_computed.sync(client=client, body=attribute)
        assert len(get_attributes_computed.sync(client=client) or []) == 1
        rule = Notification(type_="alarm", always=True, notificators="web")
        assert post_notifications.sync(client=client, body=rule)
        assert len(get_notifications.sync(client=client) or []) == 1
        made = post_users.sync(
            client=client, body=User(name="Eva", email="eva-gen@example.com", password=PASSWORD)
        )
        assert made is not None
        assert len(get_users.sync(client=client) or []) == 2
        pair = Permission(user_id=made.id, device_id=van.id)
        assert post_permissions.sync_detailed(client=client, body=pair).status_code == 204
        assert delete_permissions.sync_detailed(client=client, body=pair).status_code == 204
        world.fix(van.id, protocol="gt06")
        assert len(get_positions.sync(client=client) or []) == 1
        assert get_commands_types.sync(client=client) is not None
        queued = post_commands_send.sync_detailed(
            client=client, body=Command(device_id=van.id, type_="engineStop")
        )
        assert queued.status_code == 202
        begin, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)
        (summary,) = get_reports_summary.sync(client=client, device_id=[van.id], from_=begin, to=end) or []
        assert summary.device_id == van.id
        assert delete_devices_id.sync_detailed(client=client, id=van.id).status_code == 204
        assert get_server.sync(client=client) is not None

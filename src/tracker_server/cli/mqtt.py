"""``tracker-server mqtt``: who may speak at the MQTT endpoint, and commands that wait for devices there."""

from __future__ import annotations

import secrets
import sys
from typing import Annotated

from cyclopts import App, Parameter

from tracker_server.cli.common import HERE, Where, database, refused, run, tell, wrong
from tracker_server.cli.output import Format, each, write_rows
from tracker_server.cli.values import Whole, unique_id_of

app = App(name="mqtt", help="The MQTT endpoint: logins of devices, commands that wait for them.")
login = App(name="login", help="Names and secrets of devices and gateways.")
app.command(login)

SECRET_CHARACTERS_MIN = 16
NAME_CHARACTERS_MAX = 128
HOURS_MAX = 8_760
PAYLOAD_BYTES_MAX = 65_536


@login.command
def add(
    name: str,
    /,
    *unique_ids: Annotated[str, Parameter(name="UNIQUE_ID")],
    gateway: Annotated[bool, Parameter(negative="")] = False,
    secret_stdin: Annotated[bool, Parameter(negative="")] = False,
    where: Where = HERE,
) -> None:
    """Give a device a login, or its login a new secret. The secret is shown once; only its hash is stored.

    From then on nobody reports for these devices over MQTT without it. A running server knows it at once.

    Example: tracker-server mqtt login add jane owntracks/jane/phone

    Parameters
    ----------
    name
        The MQTT user name.
    unique_ids
        The trackers that it may report for. Default: the one whose identifier is NAME.
    gateway
        It may report for every tracker.
    secret_stdin
        Read the secret from standard input instead of making one; at least 16 characters.
    """
    if not name or len(name) > NAME_CHARACTERS_MAX:
        wrong(f"NAME: write 1 to {NAME_CHARACTERS_MAX} characters")
    if gateway and unique_ids:
        wrong("--gateway: it may report for every tracker; leave UNIQUE_ID away, or --gateway")
    devices = [] if gateway else [unique_id_of("UNIQUE_ID", one) for one in unique_ids or (name,)]
    secret = sys.stdin.readline().rstrip("\r\n") if secret_stdin else secrets.token_urlsafe(24)
    if len(secret) < SECRET_CHARACTERS_MIN:
        wrong(
            f"--secret-stdin: the secret has fewer than {SECRET_CHARACTERS_MIN} characters; write a longer one"
        )

    async def main() -> None:
        from tracker_server.pipeline.mqtt_book import digest_of
        from tracker_server.storage.database import Role
        from tracker_server.storage.mqtt_rows import put_login

        async with database(where.load()) as home, await home.connect(Role.CORE) as connection:
            new = await put_login(connection, name, digest_of(secret), devices)
        whom = "every tracker" if gateway else ", ".join(devices)
        tell(f"login {name!r} {'added' if new else 'changed'}: it reports for {whom}")
        if not secret_stdin:
            tell(f"password: {secret}")

    run(main)


@login.command
def remove(name: str, /, *, where: Where = HERE) -> None:
    """Take a login away. Connections that are open stay; its trackers need no login any more.

    Example: tracker-server mqtt login remove jane

    Parameters
    ----------
    name
        The MQTT user name.
    """

    async def main() -> None:
        from tracker_server.storage.database import Role
        from tracker_server.storage.mqtt_rows import remove_login

        async with database(where.load()) as home, await home.connect(Role.CORE) as connection:
            if not await remove_login(connection, name):
                refused(f"NAME: there is no login {name!r}; `tracker-server mqtt login list` shows all")
        tell(f"login {name!r} removed")

    run(main)


@login.command(name="list")
def list_logins(
    *, form: Annotated[Format, Parameter(name="--format")] = "table", where: Where = HERE
) -> None:
    """List the logins, without their secrets.

    Example: tracker-server mqtt login list

    Parameters
    ----------
    form
        Table for people, JSON (one array) or CSV for programs.
    """

    async def main() -> None:
        from tracker_server.storage.database import Role
        from tracker_server.storage.mqtt_rows import logins

        async with database(where.load()) as home, await home.connect(Role.CORE) as connection:
            rows = [
                {
                    "name": one.name,
                    "gateway": not one.devices,
                    "devices": one.devices if form == "json" else ", ".join(one.devices),
                    "created_at": one.created_at,
                }
                for one in await logins(connection)
            ]
        await write_rows(each(rows), ("name", "gateway", "devices", "created_at"), form)

    run(main)


@app.command
def send(
    unique_id: str,
    payload: str,
    /,
    *,
    topic: str | None = None,
    hours: Whole = 24,
    where: Where = HERE,
) -> None:
    """Let a command wait for a device that subscribes: it gets it at once where it is connected, else when it comes.

    Example: tracker-server mqtt send owntracks/jane/phone '{"_type":"cmd","action":"reportLocation"}'

    Parameters
    ----------
    unique_id
        The tracker's identifier.
    payload
        What is published to it, as text.
    topic
        Where. Default: mqtt.commands_topic, there UNIQUE_ID/cmd.
    hours
        How long it waits before it is void.
    """
    unique_id = unique_id_of("UNIQUE_ID", unique_id)
    if not 1 <= hours <= HOURS_MAX:
        wrong(f"--hours: {hours} does not fit; write 1 to {HOURS_MAX}")
    data = payload.encode()
    if len(data) > PAYLOAD_BYTES_MAX:
        wrong(f"PAYLOAD: has {len(data)} bytes; at most {PAYLOAD_BYTES_MAX} are taken")
    loaded = where.load()
    topic = topic or loaded.settings.mqtt.commands_topic.replace("{device}", unique_id)
    if "+" in topic or "#" in topic:
        wrong(f"--topic: {topic!r} is a filter; write a topic without + and #")

    async def main() -> None:
        from tracker_server.cli.device import find
        from tracker_server.storage.database import Role
        from tracker_server.storage.mqtt_rows import put_mail

        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            await find(connection, unique_id)
            number = await put_mail(connection, unique_id, topic, data, hours)
        tell(f"command {number} waits for {unique_id} under {topic}")

    run(main)


@app.command
def waiting(*, form: Annotated[Format, Parameter(name="--format")] = "table", where: Where = HERE) -> None:
    """List the commands that no device has fetched yet.

    Example: tracker-server mqtt waiting

    Parameters
    ----------
    form
        Table for people, JSON (one array) or CSV for programs.
    """

    async def main() -> None:
        from tracker_server.storage.database import Role
        from tracker_server.storage.mqtt_rows import mail

        async with database(where.load()) as home, await home.connect(Role.CORE) as connection:
            rows = [
                {
                    "id": one.id,
                    "unique_id": one.unique_id,
                    "topic": one.topic,
                    "payload": one.payload.decode("utf-8", "replace"),
                    "created_at": one.created_at,
                    "expires_at": one.expires_at,
                }
                for one in await mail(connection)
            ]
        await write_rows(
            each(rows), ("id", "unique_id", "topic", "payload", "created_at", "expires_at"), form
        )

    run(main)

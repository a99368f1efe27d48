"""What ``doctor`` looks at on the network: whether the ports are free, or our own server's."""

from __future__ import annotations

import errno
import json
import socket
import ssl
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPSConnection

from msgspec import Struct

from tracker_protocols import BY_NAME
from tracker_protocols.protocol import Transport
from tracker_server.cli.health import Finding, State
from tracker_server.config import Api, Settings

ASK_S_MAX = 5.0
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  (whom to ask instead)


class Address(Struct, frozen=True):
    """What the settings ask to listen on."""

    key: str
    host: str
    port: int
    udp: bool = False


def findings(settings: Settings) -> list[Finding]:
    """The server where one runs, and every port that is neither free nor its own."""
    server = _server(settings.api)
    taken: list[Finding] = []
    count = 0
    for address in addresses(settings):
        count += 1
        problem = _taken(address)
        if problem is None or (problem.errno == errno.EADDRINUSE and server is not None):
            continue
        taken.append(_finding(address, problem, asked=bool(settings.api.port)))
    ports = Finding("ports", State.OK, f"all {count} {'held by our server' if server else 'free'}")
    return [server or Finding("server", State.OK, "does not run"), *(taken or [ports])]


def addresses(settings: Settings) -> Iterator[Address]:
    """Each address that `serve` would listen on."""
    for name, listener in settings.listeners.items():
        transports = BY_NAME[name].transports if listener.port else ()
        for transport in transports:
            if transport is Transport.MQTT:
                continue
            for host in listener.host.split(","):
                yield Address(f"listeners.{name}", host.strip(), listener.port, transport is Transport.UDP)
    for key in ("port", "tls_port", "websocket_port", "websocket_tls_port"):
        port = getattr(settings.mqtt, key)
        for host in settings.mqtt.host.split(",") if port else ():
            yield Address("mqtt", host.strip(), port)
    for host in settings.api.host.split(",") if settings.api.port else ():
        yield Address("api", host.strip(), settings.api.port)


def _taken(address: Address) -> OSError | None:
    """Why it cannot be listened on; None where it can."""
    kind = socket.SOCK_DGRAM if address.udp else socket.SOCK_STREAM
    try:
        family, _, _, _, name = socket.getaddrinfo(address.host, address.port, type=kind)[0]
        with socket.socket(family, kind) as trial:
            if not address.udp:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            trial.bind(name)
            if not address.udp:
                trial.listen(1)
    except OSError as error:
        return error
    return None


def _finding(address: Address, problem: OSError, *, asked: bool) -> Finding:
    transport = "udp" if address.udp else "tcp"
    detail = f"{address.key}: {transport} {address.host}:{address.port}: {problem.strerror or problem}"
    if problem.errno == errno.EADDRINUSE and not asked:
        return Finding(
            "ports",
            State.WARNING,
            f"{detail}; whether by our server cannot be asked, since api.port is 0",
            f"where it is another program, stop that, or set {address.key}.port to another, 0 for off",
        )
    return Finding(
        "ports",
        State.WRONG,
        detail,
        f"stop the program that has it, or set {address.key}.port to another, 0 for off; {address.key}.host to "
        "an address of this machine",
    )


def _server(api: Api) -> Finding | None:
    """Our server, as it says of itself; None where none answers."""
    if not api.port:
        return None
    try:
        if _ask(api, "/healthz") != {"alive": True}:
            return None
        ready = _ask(api, "/readyz")
    except (OSError, HTTPException, ValueError):
        return None
    if isinstance(ready, dict) and ready.get("ready") is True:
        return Finding("server", State.OK, "runs and is ready")
    problems = ready.get("problems", []) if isinstance(ready, dict) else []
    return Finding(
        "server",
        State.WRONG,
        f"runs but is not ready: {'; '.join(map(str, problems))}",
        "see its log; what trackers send waits for it",
    )


def _ask(api: Api, path: str) -> object:
    host = api.host.split(",")[0].strip()
    host = EVERYWHERE.get(host, host)
    if api.tls_cert:
        # it is ourselves that we ask, and nothing is told: whose name the certificate has does not matter
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection: HTTPConnection = HTTPSConnection(host, api.port, timeout=ASK_S_MAX, context=context)
    else:
        connection = HTTPConnection(host, api.port, timeout=ASK_S_MAX)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()

"""Requests to addresses that strangers name: to public addresses only, redirects not followed, answers not read.

The name is looked up here, every address it has must be a public one, and the connection goes to the address that was
judged: a name that answers otherwise the second time leads nowhere else.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any, Final

import httpcore

NAT64: Final = IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in its last 32 bits


class ForbiddenAddressError(Exception):
    """The name leads to an address that is not public."""


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether anybody on the internet could be asked there; an address within an address counts as that one."""
    if isinstance(address, IPv6Address):
        within = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if within is None and address in NAT64:
            within = IPv4Address(int(address) & 0xFFFFFFFF)
        if within is not None:
            return is_public(within)
    return address.is_global and not address.is_multicast


async def public_addresses(host: str, port: int) -> list[str]:
    """The addresses of a name. Raises ForbiddenAddressError where one of them is not public, OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        if not is_public(ip_address(address.partition("%")[0])):
            raise ForbiddenAddressError(f"{host} leads to an address that is not public")
    return addresses


class PublicOnly(httpcore.AsyncNetworkBackend):
    """Connects where ``public_addresses`` allows."""

    def __init__(self) -> None:
        self._under: Any = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """To the first of the name's addresses that answers."""
        try:
            addresses = await public_addresses(host, port)
        except OSError as error:
            raise httpcore.ConnectError(f"{host} has no address") from error
        failure: Exception | None = None
        for address in addresses:
            try:
                return await self._under.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError(f"{host} has no address")

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Never."""
        raise ForbiddenAddressError("no socket files")

    async def sleep(self, seconds: float) -> None:
        """As asyncio does."""
        await asyncio.sleep(seconds)


def pool(*, private_addresses: bool) -> httpcore.AsyncConnectionPool:
    """Connections for requests; with ``private_addresses`` to anywhere."""
    backend = None if private_addresses else PublicOnly()
    return httpcore.AsyncConnectionPool(
        max_connections=100, max_keepalive_connections=20, keepalive_expiry=10.0, network_backend=backend
    )


async def post(
    connections: httpcore.AsyncConnectionPool,
    url: str,
    headers: Sequence[tuple[str, str]],
    body: bytes,
    timeout_s: float,
) -> int:
    """One request; answers the status. Raises TimeoutError, ForbiddenAddressError, httpcore's errors."""
    async with (
        asyncio.timeout(timeout_s),
        connections.stream(
            "POST", url, headers=[*headers, ("Content-Length", str(len(body)))], content=body
        ) as answer,
    ):
        return answer.status

"""Addresses: of positions as far as they are known already, and of one place that somebody looks at."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from tracker_server.config_alerts import Geocoding
from tracker_server.later import np
from tracker_server.notify.geocoder import Geocoder
from tracker_server.pipeline.addresses import E4, AddressCache
from tracker_server.storage.addresses import known_addresses
from tracker_server.storage.pools import Pools
from tracker_server.storage.positions_api import Fixes
from tracker_server.track.marking import Floats


class Places:
    """Positions never make anybody ask the geocoder: a day of one tracker would be thousands of questions."""

    def __init__(self, geocoder: Geocoder, pools: Pools) -> None:
        self._geocoder = geocoder
        self._pools = pools

    async def known(self, fixes: Fixes) -> list[str | None]:
        """Of each fix, where it was asked for before."""
        return await self.known_at(fixes.latitudes, fixes.longitudes)

    async def known_at(
        self, latitudes: Sequence[float] | Floats, longitudes: Sequence[float] | Floats
    ) -> list[str | None]:
        """Of each place, where it was asked for before."""
        if not len(latitudes):
            return []
        north, east = (np.rint(np.asarray(one) * E4) for one in (latitudes, longitudes))
        places = list(zip(north.astype(int).tolist(), east.astype(int).tolist(), strict=True))
        async with self._pools.core() as connection:
            found = await known_addresses(connection, set(places))
        return [found.get(place) for place in places]

    async def address(self, latitude: float, longitude: float, language: str) -> str:
        """Of one place; empty where the geocoder knows none, or not in time."""
        return await self._geocoder.address(latitude, longitude, language)

    async def close(self) -> None:
        """Let go of the geocoder."""
        await self._geocoder.close()


def places_of(settings: Geocoding, cache: AddressCache, pools: Pools) -> Places | None:
    """None where there is no geocoder. It asks half as often as the service allows: the other half is the alerts'."""
    if not settings.url:
        return None
    return Places(Geocoder(replace(settings, per_second=settings.per_second / 2), cache), pools)

"""Reverse addresses by Nominatim or Photon: never in the way of anything, asked once for a place.

Only the wording of a message that goes out asks here, so nothing is asked of a tracker that is hidden.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

import structlog

from tracker_server.alerts.letters import EventNotice, decode
from tracker_server.alerts.wording import Wording, worded
from tracker_server.config_alerts import Geocoding
from tracker_server.pipeline.addresses import E4, AddressCache
from tracker_server.pipeline.dispatcher import Outgoing

if TYPE_CHECKING:
    import httpx

log = structlog.get_logger(__name__)

WAIT_S_MAX: Final = 2.0  # of a message for its address; without it, it goes with the coordinates alone
KEPT_MAX: Final = 10_000
REST_S: Final = 60.0  # of a geocoder that failed
ADDRESS_CHARACTERS_MAX: Final = 200

Place = tuple[int, int, str]


class Geocoder:
    """``address`` answers in time or not at all."""

    def __init__(self, settings: Geocoding, cache: AddressCache) -> None:
        self._settings = settings
        self._cache = cache
        self._known: OrderedDict[Place, str] = OrderedDict()
        self._next_at = 0.0
        self._rests_until = 0.0
        self._client: httpx.AsyncClient | None = None

    async def address(self, latitude: float, longitude: float, language: str) -> str:
        """Of a place; empty where it is not known, or not in time."""
        place = (round(latitude * E4), round(longitude * E4), language)
        if place in self._known:
            return self._known[place]
        try:
            async with asyncio.timeout(WAIT_S_MAX):
                found = await self._cache.find(*place)
                if found is None:
                    found = await self._ask(place)
                    if found is None:
                        return ""
                    await self._cache.keep(*place, found)
        except TimeoutError:
            return ""
        self._known[place] = found
        while len(self._known) > KEPT_MAX:
            self._known.popitem(last=False)
        return found

    async def _ask(self, place: Place) -> str | None:
        """No faster than the service allows. None: it does not answer, and is left alone for a while."""
        import httpx

        loop = asyncio.get_running_loop()
        if loop.time() < self._rests_until:
            return None
        at = max(self._next_at, loop.time())
        if at - loop.time() > WAIT_S_MAX:
            return None  # others wait already
        self._next_at = at + 1 / self._settings.per_second
        await asyncio.sleep(at - loop.time())
        if self._client is None:
            agent = {"User-Agent": "tracker-server"}
            self._client = httpx.AsyncClient(timeout=WAIT_S_MAX, headers=agent, follow_redirects=False)
        try:
            answer = await self._client.get(self._settings.url, params=self._asked(place))
            answer.raise_for_status()
            return read_address(answer.json())
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            log.warning("the geocoder does not answer", error=type(error).__name__)
            self._rests_until = loop.time() + REST_S
            return None

    def _asked(self, place: Place) -> dict[str, str]:
        latitude, longitude = f"{place[0] / E4:.4f}", f"{place[1] / E4:.4f}"
        if self._settings.kind == "photon":
            return {"lat": latitude, "lon": longitude, "limit": "1"}
        return {"lat": latitude, "lon": longitude, "format": "jsonv2", "accept-language": place[2]}

    async def close(self) -> None:
        """Let go of the connection."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None


def read_address(told: Any) -> str:
    """The address in an answer of Nominatim (``display_name``) or Photon (GeoJSON); empty where there is none."""
    if not isinstance(told, dict):
        return ""
    if isinstance(name := told.get("display_name"), str):
        return _line(name)
    features = told.get("features")
    if not isinstance(features, list) or not features or not isinstance(features[0], dict):
        return ""
    fields = features[0].get("properties")
    if not isinstance(fields, dict):
        return ""
    street = " ".join(str(fields[name]) for name in ("street", "housenumber") if fields.get(name))
    parts = [fields.get("name"), street, fields.get("postcode"), fields.get("city"), fields.get("country")]
    return _line(", ".join(dict.fromkeys(str(part) for part in parts if part)))


def _line(text: str) -> str:
    return " ".join(text.split())[:ADDRESS_CHARACTERS_MAX]


async def wording_of(message: Outgoing, geocoder: Geocoder | None) -> Wording:
    """A message in words, with the address of its place where one is known. Raises LetterError."""
    letter = decode(message.payload)
    if geocoder is None or not isinstance(letter, EventNotice) or letter.place is None or message.hidden:
        return worded(letter)
    place = letter.place
    return worded(letter, await geocoder.address(place.latitude, place.longitude, letter.language))

"""What open sockets are told of a tracker: the very rows that ``GET devices`` and ``GET positions`` answer."""

from __future__ import annotations

from collections.abc import Iterable

from tracker_server.api.device_shape import device_json
from tracker_server.api.event_shape import event_json
from tracker_server.api.places import Places
from tracker_server.api.position_shape import Formulas, encoded, positions_of
from tracker_server.live.hub import AwayError, EventNews
from tracker_server.live.subscriber import Update
from tracker_server.storage.database import AWAY
from tracker_server.storage.device_cards import device_cards_of
from tracker_server.storage.pools import Pools
from tracker_server.storage.positions_api import latest_positions_of
from tracker_server.storage.reports_api import alerts_numbered, events_numbered


class LiveReader:
    """Implements the hub's ``Reader``. It reads as the display role: what is hidden is not there to be pushed."""

    def __init__(self, pools: Pools, formulas: Formulas, places: Places | None) -> None:
        self._pools = pools
        self._formulas = formulas
        self._places = places

    async def changed(self, device_ids: Iterable[int]) -> list[Update]:
        """See ``Reader.changed``."""
        wanted = list(device_ids)
        try:
            async with self._pools.display() as connection:
                fixes, marks = await latest_positions_of(connection, wanted)
                cards = await device_cards_of(
                    connection, wanted, dict(zip(fixes.device_ids, fixes.ids, strict=True))
                )
            addresses = None if self._places is None else await self._places.known(fixes)
        except AWAY as error:
            raise AwayError(str(error).strip()) from error
        told = positions_of(fixes, marks, self._formulas, addresses)
        positions = {one.device_id: encoded(one) for one in told}
        updates: list[Update] = []
        for card in cards:
            row = device_json(card)
            if card.block is not None:
                updates.append(Update(card.id, card.account_id, card=row))
                continue
            updates.append(Update(card.id, card.account_id, positions.get(card.id), row))
        return updates

    async def alerts(self, alert_ids: Iterable[int]) -> list[EventNews]:
        """See ``Reader.alerts``. An event that several rules tell is told once, in the words of the first."""
        try:
            async with self._pools.display() as connection:
                alerts = await alerts_numbered(connection, list(alert_ids))
                sentences = {alert.event_id: alert.sentence for alert in reversed(alerts)}
                rows = await events_numbered(connection, list(sentences))
        except AWAY as error:
            raise AwayError(str(error).strip()) from error
        return [
            EventNews(row.device_id, row.account_id, event_json(row, sentences[row.id]), tuple(row.other_ids))
            for row in rows
        ]

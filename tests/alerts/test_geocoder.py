"""Addresses in the wording: asked once for a place, in time or not at all, and never of a tracker that is hidden."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import pytest

from tests.alerts.http_peer import HttpPeer
from tests.alerts.world import MAIL, NOON, event, household
from tests.storage.rows import query
from tracker_server.alerts.letters import TestLetter, encode
from tracker_server.alerts.rules import Told
from tracker_server.config import Settings, Storage
from tracker_server.config_alerts import Geocoding
from tracker_server.notify.geocoder import Geocoder, read_address, wording_of
from tracker_server.notify.messages import text_of
from tracker_server.pipeline.alert_book import letter_of
from tracker_server.pipeline.dispatcher import Outgoing
from tracker_server.storage.addresses import Addresses
from tracker_server.storage.database import Database

NOMINATIM = {"display_name": "Plaza Mayor 1,\n 28012 Madrid"}
PHOTON = {"features": [{"properties": {"street": "Plaza Mayor", "housenumber": "1", "city": "Madrid", "country": "España"}}]}  # fmt: skip


@pytest.fixture
def peer() -> Generator[HttpPeer]:
    with HttpPeer().running() as running:
        yield running


def outgoing(*, hidden: bool = False) -> Outgoing:
    at = household(MAIL)
    letter = letter_of(event(), Told(at.rules[0], "email", "", "es", NOON), at, "")
    return Outgoing(1, "k", "email", "a@example.com", 1, encode(letter), NOON, NOON, 0, hidden=hidden)


def geocoder(dsn: str, peer: HttpPeer, **changes: Any) -> Geocoder:
    cache = Addresses(Database(Settings(storage=Storage(dsn=dsn))))
    return Geocoder(
        Geocoding(url=f"http://127.0.0.1:{peer.port}/reverse", per_second=1000.0, **changes), cache
    )


async def test_a_place_is_asked_for_once_and_kept(postgres_dsn: str, peer: HttpPeer) -> None:
    peer.answers = [(200, json.dumps(NOMINATIM))]
    made = geocoder(postgres_dsn, peer)
    wording = await wording_of(outgoing(), made)
    assert "- Dirección: Plaza Mayor 1, 28012 Madrid\n" in text_of(wording)
    assert wording.brief.endswith("13:00, Plaza Mayor 1, 28012 Madrid")
    assert await wording_of(outgoing(), made) == wording
    await made.close()
    after = geocoder(postgres_dsn, peer)
    assert await wording_of(outgoing(), after) == wording, "another process finds it in the table"
    ((_, path, _, _),) = peer.asked
    assert path == "/reverse?lat=40.4168&lon=-3.7038&format=jsonv2&accept-language=es"
    assert [row["address"] for row in query(postgres_dsn, "SELECT address FROM core.addresses")] == [
        "Plaza Mayor 1, 28012 Madrid"
    ]


async def test_nothing_is_asked_of_a_hidden_tracker_or_of_a_letter_without_a_place(
    postgres_dsn: str, peer: HttpPeer
) -> None:
    made = geocoder(postgres_dsn, peer)
    assert "Dirección" not in text_of(await wording_of(outgoing(hidden=True), made))
    await wording_of(Outgoing(1, "k", "email", "a", 1, encode(TestLetter()), NOON, NOON, 0), made)
    assert peer.asked == []


async def test_one_that_fails_is_left_alone_and_keeps_no_message(postgres_dsn: str, peer: HttpPeer) -> None:
    peer.answers = [(500, "")]
    made = geocoder(postgres_dsn, peer, kind="photon")
    for _ in range(3):
        assert "Lugar: 40.41680" in text_of(await wording_of(outgoing(), made))
    assert len(peer.asked) == 1
    await made.close()


@pytest.mark.parametrize(
    ("told", "address"),
    [
        (NOMINATIM, "Plaza Mayor 1, 28012 Madrid"),
        (PHOTON, "Plaza Mayor 1, Madrid, España"),
        ({"error": "Unable to geocode"}, ""),
        ({"features": []}, ""),
        ([], ""),
        ({"display_name": "x" * 1000}, "x" * 200),
    ],
)
def test_what_services_answer(told: Any, address: str) -> None:
    assert read_address(told) == address

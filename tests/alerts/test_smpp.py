"""SMS by SMPP, against the npm package ``smpp``: parts, alphabets, receipts, throttling, broken lines."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Generator, Sequence
from datetime import datetime, timedelta

import aiosmpplib
import pytest

from tests.servers.smpp_server import SmppServer
from tests.servers.waiting import wait_until
from tracker_server.billing.sms import segments
from tracker_server.config import Settings, Storage
from tracker_server.config_alerts import Smpp, Sms
from tracker_server.metrics import Metrics
from tracker_server.notify.smpp import SmppProvider, closed, names_of, parts_of
from tracker_server.notify.sms import SmsChannel
from tracker_server.pipeline.dispatcher import Dispatcher, PermanentError, TemporaryError
from tracker_server.storage.database import Database
from tracker_server.storage.outbox import Outbox

TO = "+34600111222"
CYRILLIC = "Ж" * 71


@pytest.fixture(scope="module")
def shared() -> Generator[SmppServer]:
    with SmppServer().running() as server:
        yield server


@pytest.fixture
def peer(shared: SmppServer) -> SmppServer:
    shared.behave(receipt="none", statuses=[], silent=False, refuseBind=False)
    shared.told.clear()
    return shared


class Noted:
    """What the outbox would write down."""

    def __init__(self) -> None:
        self.receipts: list[tuple[Sequence[str], str]] = []
        self.known = True
        self.heard = asyncio.Event()

    async def __call__(self, names: Sequence[str], state: str, at: datetime) -> bool:
        self.receipts.append((names, state))
        self.heard.set()
        return self.known


@pytest.fixture
def noted() -> Noted:
    return Noted()


@pytest.fixture
async def provider(peer: SmppServer, noted: Noted) -> AsyncGenerator[SmppProvider]:
    settings = Smpp(
        host="127.0.0.1",
        port=peer.port,
        system_id="tracker",
        password="secret",
        timeout_s=2.0,
        per_second=500,
    )
    made = SmppProvider(settings, "Norte", noted)
    yield made
    await made.close()


async def test_a_short_message_is_one_part_in_the_default_alphabet(
    peer: SmppServer, provider: SmppProvider
) -> None:
    await provider.ready()
    names = await provider.submit(TO, "Van 3 has entered Depot: 10 € {ok}", "k")
    (part,) = peer.wait_for(1)
    assert (part["to"], part["from"], part["coding"], part["ton"]) == ("34600111222", "Norte", 0, 1)
    assert part["text"] == "Van 3 has entered Depot: 10 € {ok}"
    assert names == (part["id"],)


async def test_a_long_cyrillic_message_is_two_parts_with_a_header(
    peer: SmppServer, provider: SmppProvider
) -> None:
    await provider.ready()
    names = await provider.submit(TO, CYRILLIC, "k")
    first, second = peer.wait_for(2)
    assert len(names) == 2
    assert first["coding"] == second["coding"] == 8
    assert first["text"] + second["text"] == CYRILLIC
    reference = first["udh"][0][2]
    assert [part["udh"] for part in (first, second)] == [[[0, 3, reference, 2, 1]], [[0, 3, reference, 2, 2]]]


@pytest.mark.parametrize(
    "text", ["a" * 160, "a" * 161, "€" * 80, "€" * 81, "a" * 152 + "€b", CYRILLIC, "😀" * 36, ""]
)
def test_parts_are_those_that_are_charged(text: str) -> None:
    parts, _ = parts_of(text, 7)
    assert len(parts) == segments(text)
    assert all(len(part) <= 160 for part in parts)


async def test_receipts_before_the_answer_late_and_in_decimal(
    peer: SmppServer, provider: SmppProvider, noted: Noted
) -> None:
    await provider.ready()
    for how, state in (("now", "DELIVRD"), ("failed", "UNDELIV"), ("late", "DELIVRD")):
        peer.behave(receipt=how)
        noted.heard.clear()
        (name,) = await provider.submit(TO, "x", "k")
        if how == "late":
            assert not noted.heard.is_set()
            peer.behave(send=True)
        async with asyncio.timeout(20):
            await noted.heard.wait()
        names, said = noted.receipts[-1]
        assert name in names, how
        assert said == state


async def test_a_session_is_there_before_there_is_a_message(
    postgres_dsn: str, peer: SmppServer, provider: SmppProvider, noted: Noted
) -> None:
    """A receipt of what was sent before a restart comes as the server is back, not with the next SMS."""
    peer.behave(receipt="late")
    await provider.ready()
    (name,) = await provider.submit(TO, "x", "k")
    await provider.close()
    channel = SmsChannel(Sms(provider="smpp"), provider, None)
    outbox = Outbox(Database(Settings(storage=Storage(dsn=postgres_dsn))))
    bound = peer.bound
    running = asyncio.create_task(
        Dispatcher(outbox, {channel.name: channel}, Metrics(), age_max=timedelta(hours=1)).run()
    )
    try:
        await asyncio.to_thread(wait_until, "a session", lambda: peer.bound > bound)
        peer.behave(send=True)
        async with asyncio.timeout(30):
            await noted.heard.wait()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert name in noted.receipts[-1][0]


async def test_a_receipt_that_is_not_known_yet_is_noted_again(
    peer: SmppServer, provider: SmppProvider, noted: Noted
) -> None:
    await provider.ready()
    noted.known = False
    peer.behave(receipt="now")
    await provider.submit(TO, "x", "k")
    async with asyncio.timeout(20):
        await noted.heard.wait()
        noted.heard.clear()
        noted.known = True
        await noted.heard.wait()
    assert noted.receipts[0] == noted.receipts[-1]


async def test_what_the_server_says_no_to(peer: SmppServer, provider: SmppProvider) -> None:
    await provider.ready()
    peer.behave(statuses=[0x58, 0x14, 0x0B, 0x4FF])
    for error, says, all_wait in (
        (TemporaryError, "ESME_RTHROTTLED", True),
        (TemporaryError, "ESME_RMSGQFUL", True),
        (PermanentError, "ESME_RINVDSTADR", False),
        (TemporaryError, "ESME_RUNKNOWNERR", False),
    ):
        with pytest.raises(error, match=says) as caught:
            await provider.submit(TO, "x", "k")
        assert getattr(caught.value, "down", False) is all_wait
    await provider.submit(TO, "x", "k")
    assert peer.bound == 1, "not even a status of the provider's own breaks the session"


async def test_a_server_that_does_not_answer(peer: SmppServer, provider: SmppProvider) -> None:
    await provider.ready()
    peer.behave(silent=True)
    with pytest.raises(TemporaryError, match="did not answer within 2 s"):
        await provider.submit(TO, "x", "k")


async def test_a_broken_line_is_bound_again(peer: SmppServer, provider: SmppProvider) -> None:
    await provider.ready()
    peer.behave(drop=True)
    await asyncio.to_thread(wait_until, "another session", lambda: peer.bound > 1)
    await provider.ready()
    await provider.submit(TO, "after", "k")
    assert peer.wait_for(1)[-1]["text"] == "after"


async def test_many_at_once_within_the_window(peer: SmppServer, provider: SmppProvider) -> None:
    await provider.ready()
    names = await asyncio.gather(*(provider.submit(TO, f"m{number}", "k") for number in range(40)))
    assert len({name for (name,) in names}) == 40
    assert {part["text"] for part in peer.wait_for(40)} == {f"m{number}" for number in range(40)}


async def test_a_server_that_is_not_there_or_does_not_let_us_in(peer: SmppServer) -> None:
    peer.behave(refuseBind=True)
    settings = Smpp(host="127.0.0.1", port=peer.port, system_id="tracker", password="wrong", timeout_s=1.0)
    provider = SmppProvider(settings, "", None)
    try:
        with pytest.raises(TemporaryError, match="no SMPP session") as caught:
            await provider.ready()
        assert caught.value.down
    finally:
        await provider.close()


async def test_a_connection_may_be_closed_twice() -> None:
    """As the library does where its farewell failed."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    for _ in range(2):
        await closed(writer)
    server.close()
    await server.wait_closed()


def test_the_library_still_has_what_we_override() -> None:
    """If this fails, aiosmpplib has changed what has underscores there: read ``Session`` in notify/smpp.py against it."""
    takes = {
        "connect": ["self"],
        "_disconnect": ["self"],
        "_get_pdu": ["self"],
        "_handle_request": ["self", "pdu", "header"],
    }
    for name, parameters in takes.items():
        method = getattr(aiosmpplib.ESME, name)
        assert inspect.iscoroutinefunction(method), name
        assert list(inspect.signature(method).parameters) == parameters, name
    callers = inspect.getsource(aiosmpplib.ESME)
    for call in ("self._disconnect()", "self._get_pdu()", "self._handle_request", "self.connect()"):
        assert call in callers, f"nobody calls {call} any more"
    session = aiosmpplib.ESME("127.0.0.1", 1, "x", "y")
    assert {"_reader", "_writer"} <= set(vars(session))


def test_names_in_hexadecimal_and_decimal() -> None:
    assert "4096" in names_of("1000")
    assert "1000" in names_of("4096")
    assert "abc-1" in names_of("abc-1")

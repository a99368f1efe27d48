"""Money in the database under several hands at once: whatever they do together is what they would have done one after
another, in one order or another, as the pure engine does it; lines that are cut in the middle and keys that come twice
change nothing.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec import Struct
from psycopg import AsyncConnection

from tests.billing.moments import ZONES, steps
from tests.servers.postgres import SharedPostgres
from tests.storage.rows import query
from tests.storage.test_billing_store import JANUARY, Operator, operating
from tracker_server.billing.commands import (
    Activate,
    AlreadyDone,
    AnyCommand,
    ChangeZone,
    Chargeback,
    Convert,
    Done,
    PayTerm,
    Refund,
    Reprioritise,
    Resume,
    Sms,
    SmsFailed,
    Suspend,
    Switch,
    TopUp,
)
from tracker_server.billing.engine import act, settle
from tracker_server.billing.snapshot import dump_state
from tracker_server.billing.state import State
from tracker_server.config import Settings, Storage
from tracker_server.storage.billing_rows import ledger
from tracker_server.storage.billing_store import DeviceRow, reconciled
from tracker_server.storage.database import Database, Role

HISTORIES, STEPS = 5, 42  # 210 steps, of which each is up to three commands at once
HANDS = 3
TRACKERS = ("T1", "T2", "T3")


class Step(Struct, frozen=True):
    """What happens at one moment: trackers come and go, then several ask at once. ``twice``: the first of them asks a
    second time, at the same moment; ``cut``: whose line is cut while they wait for an answer.
    """

    after: timedelta
    comes: str | None
    goes: str | None
    asked: tuple[AnyCommand, ...]
    twice: bool
    cut: int | None


@st.composite
def histories(draw: st.DrawFn) -> list[Step]:
    found: list[Step] = []
    for number in range(STEPS):
        asked = tuple(
            draw(commands(f"{number}.{hand}", number)) for hand in range(draw(st.integers(1, HANDS)))
        )
        found.append(
            Step(
                draw(steps),
                draw(st.sampled_from((None, None, *TRACKERS))),
                draw(st.sampled_from((*[None] * 8, *TRACKERS))),
                asked,
                draw(st.booleans()),
                draw(st.sampled_from((None, None, *range(HANDS)))),
            )
        )
    return found


@st.composite
def commands(draw: st.DrawFn, key: str, number: int) -> AnyCommand:
    device = draw(st.sampled_from(TRACKERS))
    amount = draw(st.sampled_from((1, 500, 1107, 31000, 62000, 93000)))
    before = f"{draw(st.integers(0, max(0, number - 1)))}.0"  # of an earlier step, whatever that was
    return draw(
        st.sampled_from((
            TopUp(key=key, amount_minor=amount, means="card"),
            TopUp(key=key, amount_minor=amount * 3, means="cash"),
            Refund(key=key, amount_minor=amount),
            Refund(key=key),
            Chargeback(key=key, payment=before),
            Sms(key=key, device=device),
            SmsFailed(key=key, alert=before, device=device),
            Activate(key=key, device=device),
            Suspend(key=key, device=device),
            Resume(key=key, device=device),
            Reprioritise(key=key, device=device, priority=draw(st.integers(1, 3))),
            Convert(key=key, device=device),
            PayTerm(key=key, months=draw(st.integers(1, 3))),
            Switch(key=key, tariff=draw(st.sampled_from(("Std", "Term", "Free")))),
            ChangeZone(key=key, zone=draw(st.sampled_from(ZONES))),
        ))
    )  # fmt: skip


class Shop:
    """The database with its hands, and the pure engine's state beside it."""

    def __init__(self, operator: Operator, model: State) -> None:
        self.operator = operator
        self.database = Database(Settings(storage=Storage(dsn=operator.dsn)))
        self.hands: list[AsyncConnection[Any]] = []
        self.model = model
        self.now = JANUARY

    async def rows(self) -> list[DeviceRow]:
        found = await self.operator.connection.execute(
            "SELECT id, unique_id, priority, test, created_at FROM core.devices WHERE removed_at IS NULL ORDER BY id"
        )
        return [DeviceRow(*row) for row in await found.fetchall()]

    async def happens(self, step: Step) -> None:
        """One step, and that the outcome is that of some order."""
        self.now += step.after
        names = {row.unique_id for row in await self.rows()}
        if step.goes in names:
            query(
                self.operator.dsn,
                "UPDATE core.devices SET removed_at = %s WHERE unique_id = %s AND removed_at IS NULL",
                [self.now, step.goes],
            )
        elif step.comes and step.comes not in names:
            query(
                self.operator.dsn,
                "INSERT INTO core.devices (unique_id, account_id, name, priority, created_at) VALUES (%s, %s, %s, 2, %s)",
                [step.comes, self.operator.account, step.comes, self.now],
            )
        rows = await self.rows()
        asked = [*step.asked, *step.asked[:1]] if step.twice else list(step.asked)
        done = [asyncio.create_task(self.asks(hand, command)) for hand, command in enumerate(asked)]
        if step.cut is not None and step.cut < len(asked):
            await asyncio.to_thread(
                query,
                self.operator.dsn,
                "SELECT pg_terminate_backend(%s)",
                [self.hands[step.cut].info.backend_pid],
            )
        answers = await asyncio.gather(*done)
        self.follow(asked, rows, answers, await self.read())

    async def asks(self, hand: int, command: AnyCommand) -> Any:
        """Until it is answered, as every client does that knows its key."""
        while True:
            try:
                outcome = await self.operator.store.act(
                    self.hands[hand], self.operator.account, command, self.now
                )
            except psycopg.OperationalError:
                await self.hands[hand].close()
                self.hands[hand] = await self.database.connect(Role.CORE)
                continue
            return outcome.answer

    async def read(self) -> State:
        return await self.operator.store.read(self.operator.connection, self.operator.account)

    def follow(
        self, asked: Sequence[AnyCommand], rows: Sequence[DeviceRow], answers: Sequence[Any], found: State
    ) -> None:
        """Take the order that explains what is there; there must be one."""
        for order in itertools.permutations(range(len(asked))):
            state, told = self.model, dict[int, Any]()
            for place in order:
                state, _ = reconciled(state, with_turns(rows, state), self.now)
                outcome = act(state, asked[place], self.now)
                state, told[place] = outcome.state, outcome.answer
            if dump_state(state) == dump_state(found) and all(
                answers[place] == told[place] or isinstance(answers[place], AlreadyDone) for place in order
            ):
                self.model = state
                return
        raise AssertionError(
            f"no order of {asked} at {self.now} explains the state and the answers {answers}"
        )


def with_turns(rows: Sequence[DeviceRow], state: State) -> list[DeviceRow]:
    """The rows as they are once a command of this step has changed a turn: it writes the row in its transaction."""
    return [
        DeviceRow(row.id, row.unique_id, state.devices[row.unique_id].priority, row.test, row.created_at)
        if row.unique_id in state.devices and state.devices[row.unique_id].connected_at >= row.created_at
        else row
        for row in rows
    ]


async def run(dsn: str, history: Sequence[Step]) -> None:
    async with operating(dsn) as operator:
        shop = Shop(operator, await operator.store.read(operator.connection, operator.account))
        shop.hands = [await shop.database.connect(Role.CORE) for _ in range(HANDS + 1)]
        try:
            for step in history:
                await shop.happens(step)
                lines = ledger(operator.connection, operator.account, None, None)
                assert min([line["balance_minor"] async for line in lines], default=0) >= 0, "2"
            await operator.verified()
            later: datetime = shop.now + timedelta(days=40)
            await operator.settles(later)
            state, _ = settle(shop.model, later)
            assert dump_state(await shop.read()) == dump_state(state), "17"
        finally:
            for hand in shop.hands:
                await hand.close()


@settings(
    max_examples=HISTORIES,
    phases=(Phase.generate,),  # the smallest of such histories would take longer to find than to read
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    print_blob=True,
)
@given(history=histories())
def test_several_hands_at_once_are_one_after_another(
    postgres_server: SharedPostgres, history: list[Step]
) -> None:
    with postgres_server.database() as dsn:
        asyncio.run(run(dsn, history))


async def test_the_machine_sees_a_hand_that_is_not_serial(postgres_dsn: str) -> None:
    """A top-up that nobody asked for is explained by no order."""
    async with operating(postgres_dsn) as operator:
        shop = Shop(operator, await operator.store.read(operator.connection, operator.account))
        other = act(shop.model, TopUp(key="x", amount_minor=1), JANUARY).state
        with pytest.raises(AssertionError, match="no order"):
            shop.follow([TopUp(key="y", amount_minor=2)], [], [Done()], other)

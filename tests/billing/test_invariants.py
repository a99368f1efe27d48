"""A state machine over the engine: random commands at awkward moments, the invariants after each of them.

The numbers are those of the list of invariants in ``docs/explanation/billing.md``.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from tests.billing.moments import PHASES, ZONES, starts, steps
from tests.billing.stories import tariff
from tracker_server.billing import commands as ask
from tracker_server.billing.agenda import next_due
from tracker_server.billing.book import REVENUE, Account, Entry, Ids, Kind, Refused, chain_holds
from tracker_server.billing.dates import add_months, start_of_month
from tracker_server.billing.engine import act, settle
from tracker_server.billing.evolve import evolve, rebuild
from tracker_server.billing.facts import AnyFact, Blocked, Booked
from tracker_server.billing.snapshot import dump_fact, dump_state, ids_needed, load_fact, load_state
from tracker_server.billing.state import Device, Reveal, Settings, State, open_account
from tracker_server.billing.states import MOVES, Standing, due_minor, standing
from tracker_server.billing.tariffs import Mode, Price

TARIFFS = {
    one.name: one
    for one in (
        tariff("Std", "310.00"),
        tariff("Pro", "1000.01", sms="0.99"),
        tariff("Term", "290.00", mode=Mode.TERM),
        tariff("Free", "0.00", mode=Mode.FREE, sms=None),
    )
}
CLP = {
    one.name: one
    for one in (
        tariff("Std", "9990", code="CLP", sms="90"),
        tariff("Pro", "19991", code="CLP", sms="90"),
        tariff("Term", "9990", code="CLP", mode=Mode.TERM, sms="90"),
        tariff("Free", "0", code="CLP", mode=Mode.FREE, sms=None),
    )
}

devices = st.sampled_from(("T1", "T2", "T3", "T4"))
names = st.sampled_from(sorted(TARIFFS))
keys = st.integers(1, 12).map(str)
amounts = st.one_of(
    st.sampled_from((1, 1000, 1107, 2214, 31000, 93000, 400000)),
    st.integers(1, 5000),
    st.integers(20000, 500000),
)


class Billing(RuleBasedStateMachine):
    """One account, told at random."""

    @initialize(
        zone=st.sampled_from(ZONES),
        start=starts,
        on=names,
        chilean=st.booleans(),
        test_days=st.sampled_from((None, 3)),
        reserve=st.sampled_from((0, 2)),
        paid_in=st.sampled_from((0, 31000, 62000, 125000, 130000, 400000)),
        fleet=st.integers(1, 4),
        reveal=st.sampled_from(Reveal),
        difference=st.booleans(),
    )
    def open(  # noqa: PLR0913 - what an account begins with
        self,
        zone: str,
        start: datetime,
        on: str,
        test_days: int | None,
        reserve: int,
        paid_in: int,
        fleet: int,
        *,
        reveal: Reveal,
        chilean: bool,
        difference: bool,
    ) -> None:
        self.opening: State = open_account(
            currency="CLP" if chilean else "RUB",
            zone=zone,
            tariff=on,
            tariffs=CLP if chilean else TARIFFS,
            at=start,
            settings=Settings(
                test_days_max=test_days, reserve_days=reserve, reveal=reveal, charge_difference=difference
            ),
        )
        self.state: State = self.opening
        self.now = start
        self.told: list[tuple[ask.AnyCommand, datetime]] = []
        self.journal: list[AnyFact] = []
        self.entries: list[Entry] = []
        self.made = 0
        self.back_paying = False
        if paid_in:
            self.ask(ask.TopUp(key="opening", amount_minor=paid_in))
        for number in range(1, fleet + 1):
            self.ask(ask.Connect(device=f"T{number}", priority=number % 3, test=number == 4))

    # Commands

    def ask(self, command: ask.AnyCommand, step: timedelta = timedelta()) -> None:
        self.now += step
        self.pass_time(self.now)
        outcome = act(self.state, command, self.now)
        self.answer = outcome.answer
        assert self.from_store(command) == (outcome.facts, outcome.answer), (
            "a store may give the needed ids alone"
        )
        if isinstance(outcome.answer, Refused | ask.AlreadyDone):
            assert outcome.state == self.state, "18: it changes nothing"
            assert outcome.facts == ()
        else:
            self.told.append((command, self.now))
        self.take(outcome.state, outcome.facts)

    def from_store(self, command: ask.AnyCommand) -> tuple[tuple[AnyFact, ...], object]:
        """The same command on what a store would have kept and looked up."""
        needed = ids_needed(self.state, command)
        requests, book = self.state.requests, self.state.book.ids
        loaded = load_state(
            dump_state(self.state),
            requests=Ids((key, known) for key in needed.requests if (known := requests.find(key))),
            book=Ids((key, known) for key in needed.book if (known := book.find(key))),
        )
        outcome = act(loaded, command, self.now)
        return outcome.facts, outcome.answer

    def pass_time(self, now: datetime) -> None:
        """Settle what falls due, one instant at a time, so that each move is seen by itself."""
        while (due := next_due(self.state)) is not None and due <= now:
            assert due > self.state.settled_to, "time must pass"
            self.take(*settle(self.state, due))
        self.take(*settle(self.state, now))

    def take(self, after: State, facts: tuple[AnyFact, ...]) -> None:
        """Look at each fact on its way, then at the step as a whole."""
        state, self.whole = self.state, False
        for fact in facts:
            state = self.look(state, fact)
        for device in after.devices.values():
            old = self.state.devices.get(device.id)
            if old is not None:
                moved = (
                    standing(self.state, old, self.state.settled_to),
                    standing(after, device, after.settled_to),
                )
                assert moved[0] is moved[1] or moved in MOVES, moved
        self.state = after
        self.journal.extend(facts)
        self.whole = True

    def look(self, state: State, fact: AnyFact) -> State:
        """10 and 14, at the instant of the fact, by the raw fields before it."""
        match fact:
            case Booked(entry=entry):
                self.entries.append(entry)
                if entry.transfer.kind is Kind.DAILY:
                    self.daily_is_right(state, entry)
            case Blocked(at=at, device=name):
                device = state.devices[name]
                if not device.test and state.tariff.mode is Mode.BALANCE:
                    assert due_minor(state, device, at) > state.book.balance_minor, "14"
            case _:
                pass
        return evolve(state, fact)

    def daily_is_right(self, state: State, entry: Entry) -> None:
        transfer = entry.transfer
        device = state.devices[transfer.device or ""]
        day = transfer.day
        assert transfer.id == f"daily:{device.id}:{day}"
        if self.back_paying and day != state.date_at(transfer.at):
            assert day is not None
            assert any(state.date_at(gap.start) <= day <= state.date_at(gap.end) for gap in device.gaps)
            return
        assert day == state.date_at(transfer.at)
        assert not device.test
        assert device.suspension is None
        assert state.tariff.mode is Mode.BALANCE
        assert device.window_until is None or device.window_until <= transfer.at, "10: the window"
        assert device.paid_on is None or (day is not None and device.paid_on < day), "9: once for a date"
        assert device.term is None or (day is not None and device.term.end <= day), "10: the term"

    def key(self, given: str | None) -> str:
        self.made += 1
        return given or f"made:{self.made}"

    @rule(device=devices, priority=st.integers(1, 3), test=st.integers(0, 4), step=steps)
    def connect(self, device: str, priority: int, test: int, step: timedelta) -> None:
        months = 2 if self.state.tariff.mode is Mode.TERM and priority == 1 else None
        self.ask(ask.Connect(device=device, priority=priority, test=test == 0, months=months), step)

    @rule(amount=amounts, key=st.one_of(st.none(), keys), step=steps)
    def top_up(self, amount: int, key: str | None, step: timedelta) -> None:
        self.ask(ask.TopUp(key=self.key(key), amount_minor=amount), step)

    @rule(device=devices, what=st.integers(0, 3), priority=st.integers(1, 3), step=steps)
    def trackers(self, device: str, what: int, priority: int, step: timedelta) -> None:
        commands: list[ask.AnyCommand] = [
            ask.Convert(device=device),
            ask.Remove(device=device),
            ask.Activate(device=device),
            ask.Reprioritise(device=device, priority=priority),
        ]
        self.ask(commands[what], step)

    @rule(device=devices, step=steps)
    def back_pay(self, device: str, step: timedelta) -> None:
        self.now += step
        self.pass_time(self.now)
        self.back_paying = True
        self.ask(ask.BackPay(device=device))
        self.back_paying = False
        known = self.state.devices.get(device)
        if known is not None and isinstance(self.answer, ask.Done):
            assert known.gaps == (), "what is paid for is shown"

    @rule(name=names, effective=st.one_of(st.none(), st.integers(1, 40)), step=steps)
    def switch(self, name: str, effective: int | None, step: timedelta) -> None:
        day = None
        if effective is not None:
            day = self.state.date_at(self.now + step) + timedelta(days=effective)
        self.ask(ask.Switch(tariff=name, effective=day), step)

    @rule(part=st.integers(0, 4), step=steps)
    def refund(self, part: int, step: timedelta) -> None:
        amount = None if part == 0 else self.state.book.balance_minor * part // 3
        self.ask(ask.Refund(key=self.key(None), amount_minor=amount), step)

    @rule(index=st.integers(0, 5), step=steps)
    def chargeback(self, index: int, step: timedelta) -> None:
        payments = list(self.state.payments)
        if payments:
            payment = payments[index % len(payments)]
            self.ask(ask.Chargeback(key=self.key(None), payment=payment), step)

    @rule(device=st.one_of(st.none(), devices), key=keys, failed=st.booleans(), step=steps)
    def sms(self, device: str | None, key: str, step: timedelta, *, failed: bool) -> None:
        self.ask(ask.Sms(key=key, device=device), step)
        if failed:
            self.ask(ask.SmsFailed(alert=key))

    @rule(device=st.one_of(st.none(), devices), days=st.one_of(st.none(), st.integers(0, 50)), step=steps)
    def suspend(self, device: str | None, days: int | None, step: timedelta) -> None:
        last = None if days is None else self.state.date_at(self.now + step) + timedelta(days=days)
        self.ask(ask.Suspend(device=device, last=last), step)

    @rule(device=st.one_of(st.none(), devices), step=steps)
    def resume(self, device: str | None, step: timedelta) -> None:
        self.ask(ask.Resume(device=device), step)

    @rule(device=st.one_of(st.none(), devices), months=st.integers(0, 4), step=steps)
    def pay_term(self, device: str | None, months: int, step: timedelta) -> None:
        self.ask(ask.PayTerm(device=device, months=months), step)

    @rule(zone=st.sampled_from(ZONES), step=steps)
    def change_zone(self, zone: str, step: timedelta) -> None:
        self.ask(ask.ChangeZone(zone=zone), step)

    @rule(name=st.sampled_from(("Std", "Pro", "Term")), ahead=st.integers(1, 40), price=st.integers(1, 50000))
    def set_price(self, name: str, ahead: int, price: int) -> None:
        since = self.state.date_at(self.now) + timedelta(days=ahead)
        self.ask(ask.SetPrice(tariff=name, price=Price(since, price, 500)))

    @rule(ahead=st.integers(1, 20), days=st.integers(0, 5))
    def waive(self, ahead: int, days: int) -> None:
        first = self.state.date_at(self.now) + timedelta(days=ahead)
        self.ask(ask.Waive(first=first, last=first + timedelta(days=days)))

    @rule(step=steps, back=st.booleans())
    def run_job(self, step: timedelta, *, back: bool) -> None:
        """Time passes, or the clock steps back; the job runs none, one or several times."""
        if not back:
            self.now += step
        for _ in range(2):
            self.pass_time(self.now - step if back else self.now)

    # Invariants

    @invariant()
    def money(self) -> None:
        if not hasattr(self, "state"):
            return
        book = self.state.book
        assert sum(book.balances.values()) == 0, "1"
        assert book.balance_minor >= 0, "2"
        assert book.receivable_minor >= 0
        assert book.balance_minor == (self.entries[-1].balance_minor if self.entries else 0), "3"
        sums = dict.fromkeys(Kind, 0)
        for entry in self.entries:
            sums[entry.transfer.kind] += entry.transfer.amount_minor
        assert sum(sums.values()) == book.balance_minor - book.receivable_minor, "5"
        for kind, account in REVENUE.items():
            assert book.of(account) <= -sums[kind], "6: revenue comes from debits only"
        assert book.of(Account.REFUNDS) == -sums[Kind.REFUND]
        assert len({entry.transfer.id for entry in self.entries}) == len(self.entries), "9"
        assert {entry.transfer.currency for entry in self.entries} <= {book.currency}, "8"

    @invariant()
    def charging(self) -> None:
        if not hasattr(self, "state"):
            return
        state, at = self.state, self.state.settled_to
        connections = [e.transfer for e in self.entries if e.transfer.id.startswith("connection:")]
        assert len(connections) <= state.episodes, "11"
        by_month: dict[date, int] = {}
        for switched_at in state.switches:
            month = start_of_month(state.date_at(switched_at))
            by_month[month] = by_month.get(month, 0) + 1
        if len({fact.zone for fact in self.journal if type(fact).__name__ == "ZoneChanged"}) == 0:  # type: ignore[union-attr]
            assert all(count <= 2 for count in by_month.values()), "15"
        for device in state.devices.values():
            if device.suspension is None and not device.test and state.tariff.mode is not Mode.FREE:
                paid = self.is_paid(device)
                assert (device.blocked_since is None) == paid, f"12: {device}"
                due = due_minor(state, device, at)
                if not paid and state.tariff.mode is Mode.BALANCE:
                    assert due > state.book.balance_minor, "13"

    def is_paid(self, device: Device) -> bool:
        """By the entries of the book, not by what the state remembers."""
        state, at = self.state, self.state.settled_to
        today = state.date_at(at)
        if state.tariff.mode is Mode.BALANCE and not device.entered:
            return False
        mine = [entry.transfer for entry in self.entries if entry.transfer.device == device.id]
        connected = any(t.id == f"connection:{device.id}:{device.episode}" for t in mine)
        in_window = connected and device.window_until is not None and at < device.window_until
        dates = [
            t.day for t in mine if t.kind is Kind.DAILY and t.day is not None and t.at >= device.connected_at
        ]
        in_term = device.term is not None and today < device.term.end
        waived = device.entered and state.waived(today)
        tiny = state.tariff.mode is Mode.BALANCE and standing(state, device, at) is Standing.WAIVED
        return in_window or any(day >= today for day in dates) or in_term or waived or tiny

    def teardown(self) -> None:
        if not getattr(self, "whole", False):
            return  # a step failed: that is the news, not what follows from it
        assert chain_holds(self.entries), "4"
        end = self.state.settled_to
        assert replace(rebuild(self.opening, self.journal), settled_to=end) == self.state, "3"
        assert [load_fact(dump_fact(fact)) for fact in self.journal] == self.journal
        for runs in (1, 2):  # 17: without any run of the job in between; 28: with every command sent twice
            assert self.again(runs, end) == self.state, f"{17 if runs == 1 else 28}"
        more = self.now + timedelta(days=40)
        whole, _ = settle(self.state, more)
        part = self.state
        for hours in (1, 7, 24, 25, 240, 500, 960):
            part, _ = settle(part, min(more, self.now + timedelta(hours=hours)))
        assert part == whole, "17"

    def again(self, times: int, end: datetime) -> State:
        state = self.opening
        for command, at in self.told:
            for _ in range(times if command.key else 1):
                state = act(state, command, at).state
        state, _ = settle(state, end)
        return state


Billing.TestCase.settings = settings(
    max_examples=70,
    stateful_step_count=40,
    phases=PHASES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    print_blob=True,
)
TestBilling: Any = Billing.TestCase


def test_add_months_is_what_terms_are_counted_with() -> None:
    assert add_months(date(2024, 1, 31), 1) == date(2024, 2, 29)

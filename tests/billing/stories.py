"""Billing stories: dated lines that an accountant can read, run through the real engine.

    2025-01-01 10:00     topup 1000.00
    2025-01-01 10:00     connect T1        -> balance 690.00, T1 active
    2025-02-01 09:59:59  look              -> balance 690.00
    2025-02-01 10:00     look              -> balance 678.93, last daily T1 2025-02-01 -11.07

Times are the account's wall clock when the story begins (with ``Z``: UTC). What stands behind the arrow
must hold right after the line, and every line is also held to the table of moves, to the balance of the
books, and to the rebuilding of the state from its journal.

Expectations: ``balance A`` · ``owes A`` (receivable) · ``refused REASON [NEXT]`` · ``again`` (done before
under this key) · ``sms``, ``email``, ``in_app``, ``suppressed`` · ``entries N`` · ``T1 active``,
``T1 blocked DUE``, ``T1 suspended``, ``T1 overdue DUE``, ``T1 unknown`` · ``T1 until WHEN`` · ``T1 unpaid nothing``, ``T1 unpaid FROM..UNTIL`` ·
``last KIND [DEVICE] [DATE] AMOUNT`` · ``sum KIND [DATE-PREFIX] COUNT AMOUNT``.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from tracker_server.billing import commands as ask
from tracker_server.billing.book import Account, Entry, Refused, chain_holds
from tracker_server.billing.engine import act, settle
from tracker_server.billing.evolve import rebuild
from tracker_server.billing.facts import AnyFact, Booked
from tracker_server.billing.state import Settings, State, open_account
from tracker_server.billing.states import FACES, MOVES, due_minor, paid_until, standing
from tracker_server.billing.tariffs import Mode, Price, Tariff
from tracker_server.model.money import Currency, currency, format_minor, parse_minor


def tariff(
    name: str,
    monthly: str,
    *,
    mode: Mode = Mode.BALANCE,
    sms: str | None = "5.00",
    code: str = "RUB",
    features: frozenset[str] = frozenset(),
    history_days: int | None = None,
) -> Tariff:
    unit = currency(code)
    sms_minor = None if sms is None else parse_minor(sms, unit, "sms")
    price = Price(date.min, parse_minor(monthly, unit, "monthly"), sms_minor)
    return Tariff(name, mode, (price,), features, history_days)


STD = tariff("Std", "310.00")
FREE = tariff("Free", "0.00", mode=Mode.FREE, sms=None)
TERM = tariff("Term", "310.00", mode=Mode.TERM)


class Story:
    """An account, told line by line."""

    def __init__(
        self,
        text: str = "",
        *,
        on: str = "Std",
        tariffs: tuple[Tariff, ...] = (STD, FREE, TERM),
        zone: str = "Europe/Moscow",
        code: str = "RUB",
        settings: Settings | None = None,
        start: str = "",
    ) -> None:
        self.unit: Currency = currency(code)
        self.zone = zone
        self.lines = 0
        first = start or (text.strip().splitlines() or ["2025-01-01 00:00 look"])[0]
        self.opening = open_account(
            currency=code,
            zone=zone,
            tariff=on,
            tariffs={one.name: one for one in tariffs},
            at=self.when(*first.split()[:2]),
            settings=settings,
        )
        self.state: State = self.opening
        self.journal: list[AnyFact] = []
        self.answer: ask.Done | ask.AlreadyDone | Refused = ask.Done()
        self.tell(text)

    # Telling

    def tell(self, text: str) -> Story:
        """Run more lines."""
        for line in text.strip().splitlines():
            if line.strip() and not line.strip().startswith("#"):
                self.tell_line(line.strip())
        return self

    def tell_line(self, line: str) -> None:
        self.lines += 1
        happening, _, expected = line.partition("->")
        day, time, verb, *words = shlex.split(happening)
        at = self.when(day, time)
        if verb == "look":
            self.settle(at)
        else:
            self.act(self.command(verb, words), at)
        for expectation in filter(None, (part.strip() for part in expected.split(","))):
            found = self.expect(expectation)
            assert found is None, f"{line}\n  {expectation!r}, but: {found}\n{self.ledger}"

    def when(self, day: str, time: str) -> datetime:
        if time.endswith("Z"):
            return datetime.fromisoformat(f"{day}T{time[:-1]}").replace(tzinfo=UTC)
        return datetime.fromisoformat(f"{day}T{time}").replace(tzinfo=ZoneInfo(self.zone)).astimezone(UTC)

    def settle(self, at: datetime) -> None:
        before = self.state
        self.state, facts = settle(self.state, at)
        self.journal.extend(facts)
        self.check(before)

    def act(self, command: ask.AnyCommand, at: datetime) -> None:
        if not isinstance(command, ask.Waive):  # which is asked before anything is settled
            self.settle(at)  # so that each step that time takes is held to the table by itself
        before = self.state
        outcome = act(self.state, command, at)
        self.state, self.answer = outcome.state, outcome.answer
        self.journal.extend(outcome.facts)
        if isinstance(outcome.answer, Refused):
            assert outcome.facts == (), "a refused command must leave nothing"
        self.check(before)

    def command(self, verb: str, words: list[str]) -> ask.AnyCommand:
        named = dict(word.split("=", 1) for word in words if "=" in word)
        plain = [word for word in words if "=" not in word]
        key = named.pop("key", f"line:{self.lines}")
        return VERBS[verb](self, key, plain, named)

    def minor(self, text: str) -> int:
        return parse_minor(text, self.unit, "story")

    # Reading

    @property
    def entries(self) -> list[Entry]:
        return [fact.entry for fact in self.journal if isinstance(fact, Booked)]

    @property
    def balance(self) -> str:
        return format_minor(self.state.book.balance_minor, self.unit)

    def debits(self, kind: str, device: str | None = None, day: str = "") -> list[str]:
        """The amounts of a kind of debit, as positive numbers, in the order of the book."""
        return [
            format_minor(-entry.transfer.amount_minor, self.unit)
            for entry in self.entries
            if entry.transfer.kind.value == kind
            and device in {None, entry.transfer.device}
            and str(entry.transfer.day or "").startswith(day)
        ]

    @property
    def ledger(self) -> str:
        """The book as text: time, kind, tracker, date paid, amount, balance."""
        return "\n".join(self.row(entry) for entry in self.entries)

    def row(self, entry: Entry) -> str:
        transfer = entry.transfer
        local = transfer.at.astimezone(ZoneInfo(self.zone)).replace(tzinfo=None).isoformat(" ", "minutes")
        words = [local, transfer.kind.value, transfer.device, transfer.day]
        shown = " ".join(str(word) for word in words if word is not None)
        amount, balance = (format_minor(n, self.unit) for n in (transfer.amount_minor, entry.balance_minor))
        return f"{shown} {amount} = {balance}"

    def shown(self, device: str) -> str:
        """``active``, ``blocked DUE`` and so on."""
        if device not in self.state.devices:
            return "unknown"
        found, at = self.state.devices[device], self.state.settled_to
        face = FACES[standing(self.state, found, at)]
        due = format_minor(due_minor(self.state, found, at), self.unit)
        match face.state, face.reason:
            case "blocked", "overdue":
                return f"overdue {due}"
            case "blocked", "test_expired":
                return "test_expired"
            case "blocked", _:
                return f"blocked {due}"
            case state, _:
                return state

    def until(self, device: str) -> str:
        """The wall clock at which what is paid ends."""
        end = paid_until(self.state, self.state.devices[device])
        if end is None:
            return "never"
        return end.astimezone(ZoneInfo(self.state.zone)).replace(tzinfo=None).isoformat(" ", "minutes")

    def unpaid(self, device: str) -> str:
        """The stretches that D5 keeps hidden, ``FROM..UNTIL``, by the wall clock."""
        zone = ZoneInfo(self.state.zone)

        def wall(at: datetime) -> str:
            return at.astimezone(zone).strftime("%Y-%m-%dT%H:%M")

        gaps = self.state.devices[device].gaps
        return " ".join(f"{wall(gap.start)}..{wall(gap.end)}" for gap in gaps) or "nothing"

    # Expecting: None, or what was found instead

    def expect(self, expectation: str) -> str | None:  # noqa: PLR0911 - one way out for each kind
        match expectation.split():
            case ["balance", amount]:
                return self.differs(amount, self.balance)
            case ["owes", amount]:
                return self.differs(amount, format_minor(self.state.book.receivable_minor, self.unit))
            case ["entries", count]:
                return self.differs(count, str(len(self.entries)))
            case ["again"]:
                return self.differs("AlreadyDone", type(self.answer).__name__)
            case ["sms" | "email" | "in_app" | "suppressed" as how]:
                return self.differs(how, str(getattr(self.answer, "delivery", self.answer)))
            case ["refused", reason, *next_allowed]:
                return self.expect_refused(reason, next_allowed)
            case ["last", *words]:
                return self.differs(" ".join(words), self.last(len(words)))
            case ["sum", kind, *day, count, amount]:
                found = [self.minor(one) for one in self.debits(kind, day="".join(day))]
                return self.differs(
                    f"{count} {amount}", f"{len(found)} {format_minor(sum(found), self.unit)}"
                )
            case [device, "unpaid", *stretches]:
                return self.differs(" ".join(stretches), self.unpaid(device))
            case [device, "until", *when]:
                return self.differs(" ".join(when), self.until(device))
            case [device, *words]:
                return self.differs(" ".join(words), self.shown(device))
            case _:
                return "this expectation is not understood"

    def expect_refused(self, reason: str, next_allowed: list[str]) -> str | None:
        if not isinstance(self.answer, Refused):
            return f"it was not refused: {self.answer}"
        if next_allowed:
            assert self.answer.next_allowed is not None
            local = self.answer.next_allowed.astimezone(ZoneInfo(self.state.zone)).isoformat()
            return self.differs(f"{reason} {next_allowed[0]}", f"{self.answer.reason} {local}")
        return self.differs(reason, self.answer.reason.value)

    def last(self, words: int) -> str:
        """The last entry, with as many of its words as were asked for: kind, tracker, date, amount."""
        if not self.entries:
            return "nothing"
        transfer = self.entries[-1].transfer
        shown = [transfer.device, str(transfer.day)][: max(0, words - 2)]
        parts = [transfer.kind.value, *(word or "-" for word in shown)]
        return " ".join([*parts, format_minor(transfer.amount_minor, self.unit)])

    @staticmethod
    def differs(expected: str, found: str) -> str | None:
        return None if expected == found else found

    # Holding every line to what must always be so

    def check(self, before: State) -> None:
        at = self.state.settled_to
        for device in self.state.devices.values():
            old = before.devices.get(device.id)
            if old is None:
                continue
            move = (standing(before, old, before.settled_to), standing(self.state, device, at))
            assert move[0] is move[1] or move in MOVES, f"no such move: {move}"
        book = self.state.book
        assert sum(book.balances.values()) == 0
        assert book.balance_minor >= 0
        assert book.of(Account.RECEIVABLE) <= 0
        if self.lines % 8 == 0:
            assert chain_holds(self.entries)
            rebuilt = rebuild(self.opening, self.journal)
            assert replace(rebuilt, settled_to=at) == self.state


Verb = Callable[[Story, str, list[str], dict[str, str]], ask.AnyCommand]


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _connect(_story: Story, key: str, words: list[str], named: dict[str, str]) -> ask.AnyCommand:
    device = words[0]
    priority = int(named.get("priority", device.lstrip("TX") or "99"))
    test = "test" in words
    return ask.Connect(
        key=key, device=device, priority=priority, test=test, months=_number(named.get("months"))
    )


def _topup(story: Story, key: str, words: list[str], named: dict[str, str]) -> ask.AnyCommand:
    return ask.TopUp(key=key, amount_minor=story.minor(words[0]), means=named.get("means", ""))


def _refund(story: Story, key: str, words: list[str], _named: dict[str, str]) -> ask.AnyCommand:
    return ask.Refund(key=key, amount_minor=None if words == ["all"] else story.minor(words[0]))


def _chargeback(story: Story, key: str, words: list[str], _named: dict[str, str]) -> ask.AnyCommand:
    amount_minor = story.minor(words[1]) if len(words) > 1 else None
    return ask.Chargeback(key=key, payment=words[0], amount_minor=amount_minor)


def _switch(_story: Story, key: str, words: list[str], named: dict[str, str]) -> ask.AnyCommand:
    return ask.Switch(key=key, tariff=words[0], effective=_day(named.get("effective")))


def _price(story: Story, key: str, words: list[str], named: dict[str, str]) -> ask.AnyCommand:
    name, monthly = words
    sms_minor = story.state.tariffs[name].prices[-1].sms_minor
    price = Price(date.fromisoformat(named["since"]), story.minor(monthly), sms_minor)
    return ask.SetPrice(key=key, tariff=name, price=price)


def _sms(_story: Story, key: str, words: list[str], named: dict[str, str]) -> ask.AnyCommand:
    return ask.Sms(
        key=key,
        device=next((word for word in words if word.startswith("T")), None),
        text=named.get("text"),
        purpose=ask.Purpose.SYSTEM if "system" in words else ask.Purpose.ALERT,
        has_email="no-email" not in words,
    )


def _withdraw(_story: Story, key: str, words: list[str], named: dict[str, str]) -> ask.AnyCommand:
    ground = ask.Ground.GUARANTEE if "guarantee" in words else ask.Ground.WITHDRAWAL
    return ask.Withdraw(key=key, statement=named.get("statement", ""), ground=ground)


def _one(words: list[str]) -> str | None:
    return words[0] if words else None


def _of(kind: Any) -> Verb:
    return lambda _story, key, words, _named: kind(key=key, device=words[0])


VERBS: dict[str, Verb] = {
    "topup": _topup,
    "connect": _connect,
    "convert": _of(ask.Convert),
    "remove": _of(ask.Remove),
    "activate": _of(ask.Activate),
    "back_pay": _of(ask.BackPay),
    "priority": lambda _s, key, w, _n: ask.Reprioritise(key=key, device=w[0], priority=int(w[1])),
    "refund": _refund,
    "chargeback": _chargeback,
    "switch": _switch,
    "price": _price,
    "sms": _sms,
    "sms_failed": lambda _s, key, w, n: ask.SmsFailed(key=key, alert=w[0], device=n.get("device")),
    "withdraw": _withdraw,
    "suspend": lambda _s, key, w, n: ask.Suspend(key=key, device=_one(w), last=_day(n.get("until"))),
    "resume": lambda _s, key, w, _n: ask.Resume(key=key, device=_one(w)),
    "pay": lambda _s, key, w, n: ask.PayTerm(key=key, device=_one(w), months=int(n["months"])),
    "zone": lambda _s, key, w, _n: ask.ChangeZone(key=key, zone=w[0]),
    "waive": lambda _s, key, w, _n: ask.Waive(
        key=key, first=date.fromisoformat(w[0]), last=date.fromisoformat(w[1])
    ),
    "hold_collection": lambda _s, key, w, _n: ask.HoldCollection(key=key, until=_day(_one(w))),
}

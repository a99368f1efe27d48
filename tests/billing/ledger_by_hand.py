"""The rules once more, as plainly as they can be written: what the engine is compared with.

It walks every midnight and every window's end, keeps mutable dictionaries, and shares no code with the
engine. It knows top-ups, connections (test ones too), conversions, removals, switches between all kinds of tariffs,
months in advance, refunds and SMS.
"""

from __future__ import annotations

import heapq
from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

Row = tuple[str, str, str | None, str | None, int, int]  # at, kind, device, date, amount, balance


class Hand:
    def __init__(
        self, zone: str, tariff: str, tariffs: dict[str, tuple[int, int]], terms: frozenset[str] = frozenset()
    ) -> None:
        """``tariffs``: the price of a month and of an SMS; ``terms``: those of them that are paid by months in advance."""
        self.zone, self.tariff, self.tariffs = ZoneInfo(zone), tariff, tariffs
        self.terms = terms
        self.balance = 0
        self.rows: list[Row] = []
        self.refused: list[tuple[int, str]] = []
        self.trackers: dict[str, dict[str, Any]] = {}
        self.switched: list[tuple[int, int]] = []
        self.heap: list[tuple[datetime, int, Any]] = []
        self.keys: dict[str, int] = {}

    def write(
        self, at: datetime, kind: str, amount: int, device: str | None = None, day: date | None = None
    ) -> None:
        self.balance += amount
        shown = None if day is None else day.isoformat()
        self.rows.append((at.astimezone(UTC).isoformat(), kind, device, shown, amount, self.balance))

    def today(self, at: datetime) -> date:
        return at.astimezone(self.zone).date()

    def sweep(self, at: datetime) -> None:
        price = self.tariffs[self.tariff][0]
        if price == 0 or self.tariff in self.terms:
            return
        day = self.today(at)
        days = monthrange(day.year, day.month)[1]
        fee = price * day.day // days - price * (day.day - 1) // days
        for name in self.in_turn():
            tracker = self.trackers[name]
            if tracker["test"]:
                continue
            if not tracker["entered"]:
                if price <= self.balance:
                    self.write(at, "connection", -price, name)
                    elapsed = at + timedelta(days=31)
                    clock = (at.astimezone(self.zone).replace(tzinfo=None) + timedelta(days=31)).replace(
                        tzinfo=self.zone
                    )
                    tracker["entered"] = True
                    tracker["window"] = max(elapsed, clock.astimezone(UTC))
                    heapq.heappush(self.heap, (tracker["window"], 0, None))
            elif not self.covered(tracker, at) and 0 < fee <= self.balance:
                self.write(at, "daily", -fee, name, day)
                tracker["paid"] = day

    def in_turn(self) -> list[str]:
        return sorted(self.trackers, key=lambda n: (self.trackers[n]["turn"], self.trackers[n]["since"], n))

    def pay_term(self, names: list[str], months: int, at: datetime) -> str | None:
        if self.tariff not in self.terms:
            return "not_a_term_tariff"
        if not 1 <= months <= 12:
            return "months_out_of_range"
        cost = self.tariffs[self.tariff][0] * months
        if cost * len(names) > self.balance:
            return "insufficient_funds"
        for name in names:
            tracker = self.trackers[name]
            if not tracker["entered"] or tracker["term"] is None:
                begins = self.today(at)
                if tracker["paid"] is not None:
                    begins = max(begins, tracker["paid"] + timedelta(days=1))
                tracker["term"] = (begins, 0)
            self.write(at, "term", -cost, name)
            tracker["term"] = (tracker["term"][0], tracker["term"][1] + months)
            tracker["entered"] = True
        return None

    def covered(self, tracker: dict[str, Any], at: datetime) -> bool:
        day = self.today(at)
        return (
            (tracker["window"] is not None and at < tracker["window"])
            or (tracker["paid"] is not None and tracker["paid"] >= day)
            or (tracker["term"] is not None and months_on(*tracker["term"]) > day)
        )

    def run(self, actions: list[dict[str, Any]], start: datetime, end: datetime) -> None:
        day = self.today(start)
        while day <= self.today(end):
            midnight = datetime(day.year, day.month, day.day, tzinfo=self.zone).astimezone(UTC)
            heapq.heappush(self.heap, (midnight, 0, None))
            day += timedelta(days=1)
        for place, action in enumerate(actions, start=1):
            heapq.heappush(self.heap, (datetime.fromisoformat(action["at"]), place, None))
        while self.heap and self.heap[0][0] <= end:
            at, place, _ = heapq.heappop(self.heap)
            if at < start:
                continue
            if place:
                reason = self.do(actions[place - 1], at)
                if reason:
                    self.refused.append((place, reason))
                    continue
            self.sweep(at)

    def do(self, action: dict[str, Any], at: datetime) -> str | None:  # noqa: PLR0911 - one way out for each refusal
        name: str = action.get("device", "")
        match action["do"]:
            case "topup":
                amount = int(action["amount"].replace(".", ""))
                if action["key"] in self.keys:
                    return None if self.keys[action["key"]] == amount else "id_reused"
                self.keys[action["key"]] = amount
                self.write(at, "topup", amount)
            case "connect":
                if name in self.trackers:
                    return "already_connected"
                if action["test"] and any(tracker["test"] for tracker in self.trackers.values()):
                    return "test_device_exists"
                months = action.get("months")
                if months is not None and (self.tariff not in self.terms or action["test"]):
                    return "not_a_term_tariff"
                self.trackers[name] = {
                    "turn": action["priority"], "since": at, "test": action["test"], "window": None, "paid": None,
                    "entered": False, "term": None,
                }  # fmt: skip
                refused = None if months is None else self.pay_term([name], months, at)
                if refused:
                    del self.trackers[name]
                return refused
            case "convert":
                if name not in self.trackers:
                    return "unknown_device"
                if not self.trackers[name]["test"]:
                    return "not_a_test_device"
                self.trackers[name]["test"] = False
            case "remove":
                if name not in self.trackers:
                    return "unknown_device"
                del self.trackers[name]
            case "pay_term":
                names = [name] if name else [n for n in self.in_turn() if not self.trackers[n]["test"]]
                if not names or any(n not in self.trackers for n in names):
                    return "unknown_device"
                if any(self.trackers[n]["test"] for n in names):
                    return "test_device"
                return self.pay_term(names, action["months"], at)
            case "switch":
                return self.switch(action["tariff"], at)
            case "refund":
                if self.balance == 0:
                    return "nothing_to_refund"
                self.write(at, "refund", -self.balance)
            case _:
                price = self.tariffs[self.tariff][1]
                if self.tariffs[self.tariff][0] and price <= self.balance:
                    self.write(at, "sms", -price)
        return None

    def switch(self, tariff: str, at: datetime) -> str | None:
        if tariff == self.tariff:
            return None
        local = at.astimezone(self.zone)
        if self.switched.count((local.year, local.month)) >= 2:
            return "switch_limit"
        self.switched.append((local.year, local.month))
        was_free, is_free = self.tariffs[self.tariff][0] == 0, self.tariffs[tariff][0] == 0
        was_term, is_term = self.tariff in self.terms, tariff in self.terms
        today = self.today(at)
        for tracker in self.trackers.values():
            if is_free and not was_free:
                tracker["window"] = None
            elif was_free and not is_free and not tracker["test"]:
                runs = tracker["term"] is not None and months_on(*tracker["term"]) > today
                tracker["entered"] = is_term and runs
            elif is_term and not was_term and tracker["entered"]:
                # the first term begins where the dates that are paid end
                ends = [today]
                if tracker["paid"] is not None:
                    ends.append(tracker["paid"] + timedelta(days=1))
                if tracker["window"] is not None:
                    ends.append(self.today(tracker["window"]))
                if tracker["term"] is None or months_on(*tracker["term"]) < max(ends):
                    tracker["term"] = (max(ends), 0)
        self.tariff = tariff
        return None


def months_on(start: date, months: int) -> date:
    """The first day after so many months, the 31st kept where there is one."""
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    return date(year, month + 1, min(start.day, monthrange(year, month + 1)[1]))

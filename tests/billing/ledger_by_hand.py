"""The rules of balance mode once more, as plainly as they can be written: what the engine is compared with.

It walks every midnight and every window's end, keeps mutable dictionaries, and shares no code with the
engine. It knows top-ups, connections (test ones too), conversions, removals, switches, refunds and SMS.
"""

from __future__ import annotations

import heapq
from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

Row = tuple[str, str, str | None, str | None, int, int]  # at, kind, device, date, amount, balance


class Hand:
    def __init__(self, zone: str, tariff: str, tariffs: dict[str, tuple[int, int]]) -> None:
        self.zone, self.tariff, self.tariffs = ZoneInfo(zone), tariff, tariffs
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
        if price == 0:
            return
        day = self.today(at)
        days = monthrange(day.year, day.month)[1]
        fee = price * day.day // days - price * (day.day - 1) // days
        for name in sorted(
            self.trackers, key=lambda n: (self.trackers[n]["turn"], self.trackers[n]["since"], n)
        ):
            tracker = self.trackers[name]
            if tracker["test"]:
                continue
            if tracker["window"] is None:
                if price <= self.balance:
                    self.write(at, "connection", -price, name)
                    elapsed = at + timedelta(days=31)
                    clock = (at.astimezone(self.zone).replace(tzinfo=None) + timedelta(days=31)).replace(
                        tzinfo=self.zone
                    )
                    tracker["window"] = max(elapsed, clock.astimezone(UTC))
                    heapq.heappush(self.heap, (tracker["window"], 0, None))
            elif at >= tracker["window"] and tracker["paid"] != day and 0 < fee <= self.balance:
                self.write(at, "daily", -fee, name, day)
                tracker["paid"] = day

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

    def do(self, action: dict[str, Any], at: datetime) -> str | None:
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
                self.trackers[name] = {
                    "turn": action["priority"], "since": at, "test": action["test"], "window": None, "paid": None,
                }  # fmt: skip
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
        if self.tariffs[tariff][0] == 0 or self.tariffs[self.tariff][0] == 0:
            for tracker in self.trackers.values():
                tracker["window"] = None
        self.tariff = tariff
        return None

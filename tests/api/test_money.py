"""Money over HTTP: what its owner sees and does, what others may not, what a blocked tracker shows."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from tests.api.people import PASSWORD, World
from tests.servers.waiting import wait_until


class Customer:
    """An account on a tariff of 310.00 EUR, its owner, and the operator."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.open = ExitStack()
        self.operator = self.client("admin")
        name = f"Std {world.device(world.account())}"
        self.tariff = self.post(
            "/tariffs", {"name": name, "mode": "balance", "monthly": "310.00", "currency": "EUR"}
        )
        self.account = self.post(
            "/accounts",
            {
                "name": f"{name} customer",
                "zone": "Europe/Madrid",
                "currency": "EUR",
                "tariffId": self.tariff["id"],
            },
        )
        self.id: int = self.account["id"]
        self.owner = self.client("owner", self.id)

    def client(self, role: str, account: int | None = None) -> httpx.Client:
        return self.open.enter_context(self.world.signed_in(role, account))

    def post(self, path: str, body: Any = None, status: tuple[int, ...] = (200, 201)) -> Any:
        answer = self.operator.post(f"/api{path}", json=body)
        assert answer.status_code in status, answer.text
        return answer.json()

    def device(self) -> int:
        """A tracker, and billing has seen it."""
        device = self.world.device(self.id)
        self.get("forecast")
        return device

    def get(self, what: str, **query: Any) -> Any:
        answer = self.owner.get(f"/api/accounts/{self.id}/{what}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def row(self, device: int) -> dict[str, Any]:
        return next(row for row in self.owner.get("/api/management").json() if row["deviceId"] == device)


@pytest.fixture
def customer(world: World) -> Generator[Customer]:
    made = Customer(world)
    with made.open:
        yield made


def test_r98_one_login_opens_portal_and_platform(customer: Customer) -> None:
    """What is paid and where the trackers are, by one cookie; a changed password counts for both."""
    device = customer.device()
    customer.post(f"/accounts/{customer.id}/topup", {"amount": "310.00", "key": "r98"})
    portal, platform = f"/api/accounts/{customer.id}/ledger", f"/api/devices/{device}"
    email = customer.owner.get("/api/session").json()["email"]
    for path in (portal, platform):
        assert customer.owner.get(path).status_code == 200
    me = customer.owner.get("/api/session").json()
    changed = customer.owner.put(f"/api/users/{me['id']}", json={**me, "password": "another horse 2"})
    assert changed.status_code == 200, changed.text
    for path in (portal, platform):
        old, new = (
            httpx.get(f"{customer.world.url}{path}", auth=(email, password), timeout=30).status_code
            for password in (PASSWORD, "another horse 2")
        )
        assert (old, new) == (401, 200)


def test_r38_the_management_row_says_why_and_what_to_pay(customer: Customer) -> None:
    first, second = customer.device(), customer.device()
    customer.post(f"/accounts/{customer.id}/topup", {"amount": "10.00", "key": "a"})
    row = customer.row(first)
    assert (row["state"], row["reason"], row["due"]) == ("blocked", "insufficient_funds", "310.00")
    assert (row["unlock"], row["unlockAll"], row["currency"]) == ("300.00", "610.00", "EUR")
    assert not {"latitude", "longitude", "speed", "address", "lat", "lon"} & set(row)
    refused = customer.owner.post(f"/api/devices/{first}/activate")
    assert refused.status_code == 402
    told = refused.json()
    assert (told["due"], told["balance"], told["currency"], told["reason"]) == ("310.00", "10.00", "EUR", "insufficient_funds")  # fmt: skip
    assert customer.owner.put(f"/api/devices/{second}/priority", json={"priority": 1}).json()["priority"] == 1
    customer.owner.put(f"/api/devices/{first}/priority", json={"priority": 2})
    customer.post(f"/accounts/{customer.id}/topup", {"amount": "300.00", "key": "b"})
    assert (customer.row(second)["state"], customer.row(first)["state"]) == ("active", "blocked")
    shown = [row["id"] for row in customer.owner.get("/api/devices").json() if row["status"] is not None]
    assert second in shown


def test_d5_back_pay_over_http(customer: Customer) -> None:
    device = customer.device()
    assert customer.row(device)["backPay"] is None
    refused = customer.owner.post(f"/api/devices/{device}/back-pay")
    assert (refused.status_code, refused.json()["reason"]) == (409, "back_pay_not_offered")


def test_r117_the_way_back_by_a_tax_number(customer: Customer) -> None:
    """The amount and a link go to the address on file; who asks learns nothing, known or not."""
    customer.device()
    number = f"{10_000_000 + customer.id}"
    customer.world.sql(
        "UPDATE core.accounts SET tax_id = %s, country = 'ES', email = 'office@example.com', language = 'es' WHERE id = %s",
        number, customer.id,
    )  # fmt: skip
    answers: list[tuple[int, bytes]] = []
    for asked in (f"es {number[:4]}.{number[4:]}", number, "ES00000000"):
        answer = httpx.post(f"{customer.world.running.api}/api/reactivate", json={"taxId": asked})
        answers.append((answer.status_code, answer.content))
    assert answers == [(202, b"{}")] * 3
    sent = customer.world.sql(
        "SELECT recipient, payload FROM core.outbox WHERE account_id = %s AND key LIKE 'reactivate:%%'",
        customer.id,
    )
    assert [recipient for recipient, _ in sent] == ["office@example.com"] * 2
    assert {(letter["amount_minor"], letter["language"]) for _, letter in sent} == {(31000, "es")}
    links = {letter["link"] for _, letter in sent}
    assert len(links) == 1, "asked twice, it is one payment"
    page = httpx.get(links.pop().replace("https://", "http://"))
    assert "310,00" in page.text


def test_r95_sub_users_see_no_management_and_cannot_pay(customer: Customer) -> None:
    device = customer.device()
    viewer = customer.client("viewer", customer.id)
    assert viewer.get("/api/management").status_code == 403
    assert viewer.post(f"/api/devices/{device}/activate").status_code == 403
    assert viewer.post(f"/api/accounts/{customer.id}/checkout", json={"amount": "1"}).status_code == 403
    manager = customer.client("manager", customer.id)
    assert manager.post(f"/api/devices/{device}/activate").status_code == 403
    stranger = customer.client("owner", customer.world.account())
    assert stranger.post(f"/api/devices/{device}/activate").status_code == 404
    for path in ("", "/ledger", "/forecast", "/invoices", "/payments", "/ledger.csv"):
        assert stranger.get(f"/api/accounts/{customer.id}{path}").status_code == 404, path
    assert all(row["deviceId"] != device for row in stranger.get("/api/management").json())
    assert (
        customer.owner.post(
            f"/api/accounts/{customer.id}/topup", json={"amount": "9", "key": "x"}
        ).status_code
        == 403
    )


def test_the_ledger_in_pages_and_as_a_table(customer: Customer) -> None:
    for number in range(5):
        customer.post(f"/accounts/{customer.id}/topup", {"amount": f"{number + 1}.00", "key": f"=k{number}"})
    first = customer.get("ledger", limit=3)
    assert [entry["amount"] for entry in first["entries"]] == ["5.00", "4.00", "3.00"]
    second = customer.get("ledger", limit=3, cursor=first["next"])
    assert [entry["amount"] for entry in second["entries"]] == ["2.00", "1.00"]
    assert second["next"] is None
    table = customer.owner.get(f"/api/accounts/{customer.id}/ledger.csv")
    assert table.headers["content-type"].startswith("text/csv")
    assert table.text.splitlines()[1].split(",")[2:8] == ["topup", "", "", "1.00", "1.00", "EUR"]
    customer.post(f"/accounts/{customer.id}/topup", {"amount": "1.00", "key": "=k0"})
    assert customer.get("ledger")["entries"][0]["balance"] == "15.00", "told again, it counts once"
    customer.post(f"/accounts/{customer.id}/topup", {"amount": "2.00", "key": "=k0"}, (409,))


def test_forecast_refund_and_account(customer: Customer) -> None:
    device = customer.device()
    customer.post(f"/accounts/{customer.id}/topup", {"amount": "400.00", "key": "a"})
    ahead = customer.get("forecast")
    assert (ahead["balance"], ahead["minTopup"]) == ("90.00", "0.00")
    assert ahead["trackers"][0]["blockedAt"] is not None
    assert customer.post(f"/accounts/{customer.id}/refund", {"amount": "all", "key": "r"}) == {"balance": "0.00", "currency": "EUR"}  # fmt: skip
    customer.post(f"/accounts/{customer.id}/refund", {"amount": "1.00", "key": "r2"}, (402,))
    card = customer.owner.get(f"/api/accounts/{customer.id}").json()
    assert (card["balance"], card["minTopup"], card["devices"], card["blocked"]) == ("0.00", None, 1, 0)
    assert customer.row(device)["state"] == "active"


def test_an_account_is_changed(customer: Customer) -> None:
    path = f"/api/accounts/{customer.id}"
    changed = customer.owner.put(path, json={**customer.account, "email": "a@example.com", "language": "es"})
    assert changed.status_code == 200, changed.text
    assert (changed.json()["email"], changed.json()["language"]) == ("a@example.com", "es")
    assert customer.owner.put(path, json={"name": "Mine"}).status_code == 403
    assert customer.operator.put(path, json={"zone": "America/Santiago"}).json()["zone"] == "America/Santiago"
    for body, words in (
        ({"email": "no"}, "email"), ({"language": "xx"}, "language"), ({"currency": "USD"}, "currency"),
        ({"zone": "Nowhere/At"}, "zone"), ({"name": " "}, "name"),
    ):  # fmt: skip
        answer = customer.operator.put(path, json=body)
        assert (answer.status_code, answer.text.partition(":")[0]) == (400, words), answer.text
    assert customer.operator.post("/api/accounts", json={}).status_code == 400
    taken = customer.operator.post("/api/accounts", json={"name": customer.account["name"]})
    assert taken.status_code == 409


def test_a_switch_is_shown_before_it_is_made(customer: Customer) -> None:
    device = customer.device()
    customer.post(f"/accounts/{customer.id}/topup", {"amount": "400.00", "key": "a"})
    dear = customer.post(
        "/tariffs", {"name": f"Dear {device}", "mode": "balance", "monthly": "620.00", "currency": "EUR"}
    )
    seen = customer.get("switch", tariffId=dear["id"])
    assert (seen["costNow"], seen["monthly"], seen["nextAllowed"]) == ("0.00", "620.00", None)
    assert customer.owner.get(f"/api/accounts/{customer.id}").json()["tariff"] == customer.tariff["name"]
    for tariff in (dear["id"], customer.tariff["id"]):
        answer = customer.owner.post(f"/api/accounts/{customer.id}/switch", json={"tariffId": tariff})
        assert answer.status_code == 200, answer.text
    third = customer.owner.post(f"/api/accounts/{customer.id}/switch", json={"tariffId": dear["id"]})
    assert third.status_code == 429
    assert third.json()["reason"] == "switch_limit"
    assert third.json()["nextAllowed"]
    assert customer.get("switch", tariffId=dear["id"])["nextAllowed"]


def test_papers(customer: Customer) -> None:
    customer.post(f"/accounts/{customer.id}/topup", {"amount": "310.00", "key": "a"})
    paper = customer.get("invoices")[0]
    assert (paper["kind"], paper["amount"]) == ("invoice", "310.00")
    path = f"/api/invoices/{paper['id']}.pdf"
    made = customer.owner.get(path)
    assert made.headers["content-type"] == "application/pdf"
    assert made.content.startswith(b"%PDF-")
    assert customer.owner.get(path, params={"receipt": "true"}).content != made.content
    stranger = customer.client("owner", customer.world.account())
    assert stranger.get(path).status_code == 404
    statement = customer.owner.get(
        f"/api/accounts/{customer.id}/statement.pdf", params={"from": "2020-01-01", "to": "2100-01-01"}
    )
    assert statement.content.startswith(b"%PDF-")
    bad = customer.owner.get(f"/api/accounts/{customer.id}/statement.pdf", params={"from": "2020", "to": "x"})
    assert bad.status_code == 400


def test_pauses_holds_and_terms(customer: Customer) -> None:
    customer.post(f"/accounts/{customer.id}/topup", {"amount": "310.00", "key": "a"})
    device = customer.device()
    assert customer.row(device)["state"] == "active"
    held = customer.operator.post(f"/api/devices/{device}/hold", json={"reason": "unpaid invoice"})
    assert (held.json()["state"], held.json()["reason"], held.json()["note"]) == (
        "blocked",
        "hold",
        "unpaid invoice",
    )
    assert customer.owner.post(f"/api/devices/{device}/release").status_code == 403
    assert customer.operator.post(f"/api/devices/{device}/release").json()["state"] == "active"
    paused = customer.owner.post(f"/api/devices/{device}/suspend", json={})
    assert paused.json()["state"] == "suspended", paused.text
    assert customer.owner.post(f"/api/devices/{device}/suspend", json={"until": "x"}).status_code == 400
    assert customer.owner.post(f"/api/devices/{device}/resume").json()["state"] == "active"
    for path, body, reason in (
        ("resume", None, "not_suspended"), ("convert", None, "not_a_test_device"),
        ("pay-term", {"months": 1}, "not_a_term_tariff"), ("suspend", {"until": "2001-01-01"}, "suspension_limit"),
    ):  # fmt: skip
        answer = customer.owner.post(f"/api/devices/{device}/{path}", json=body)
        assert (answer.status_code, answer.json()["reason"]) == (409, reason), answer.text


def test_a_cart_and_what_is_wrong_with_one(customer: Customer) -> None:
    path = f"/api/accounts/{customer.id}/checkout"
    name = f"cart{customer.id}"
    made = customer.owner.post(path, json={"devices": [{"uniqueId": name, "name": "Van"}]})
    assert made.status_code == 201, made.text
    assert (made.json()["amount"], made.json()["url"].rpartition("/")[0]) == (
        "310.00",
        f"{customer.world.url}/pay",
    )
    assert customer.get("payments")[0]["state"] == "open"
    taken = customer.world.unique_id(customer.device())
    for body, status, words in (
        ({}, 400, "amount"), ({"amount": "1", "gateway": "nope"}, 400, "gateway"), ({"amount": "-1"}, 400, "amount"),
        ({"devices": [{"uniqueId": taken}]}, 409, "devices"), ({"devices": [{"uniqueId": " "}]}, 400, "devices"),
        ({"devices": [{"uniqueId": name}, {"uniqueId": name}]}, 400, "devices"),
        ({"amount": "1", "devices": [{"uniqueId": name}]}, 400, "amount"),
    ):  # fmt: skip
        answer = customer.owner.post(path, json=body)
        assert (answer.status_code, answer.text.partition(":")[0]) == (status, words), answer.text


def test_r66_limits_are_held_over_http(customer: Customer) -> None:
    """By whoever asks: the owner, the operator, and a file with more fences than there is room for."""
    name = f"{customer.tariff['name']} small"
    limits = {
        "fencesMax": 1,
        "usersMax": 1,
        "smsMax": 10,
        "without": ["trips"],
        "features": ["trips", "phone"],
    }
    body = {"name": name, "mode": "balance", "monthly": "9.00", "currency": "EUR", **limits}
    small = customer.post("/tariffs", body)
    assert {key: small[key] for key in limits} == {**limits, "features": ["phone"]}
    customer.operator.post(f"/api/accounts/{customer.id}/switch", json={"tariffId": small["id"]})
    fence = {"name": "Depot", "area": "CIRCLE (52.5 13.4, 100)"}
    assert customer.owner.post("/api/geofences", json=fence).status_code == 200
    kept = {"type": "FeatureCollection", "features": [
        {"type": "Feature", "properties": {"name": "Yard", "radius_m": 50}, "geometry": {"type": "Point", "coordinates": [13, 52]}}
    ]}  # fmt: skip
    for answer in (
        customer.owner.post("/api/geofences", json=fence),
        customer.owner.post("/api/geofences/import", files={"file": ("yard.geojson", json.dumps(kept).encode())}),
        customer.owner.post("/api/users", json={"name": "Sub", "email": f"sub{customer.id}@example.org", "password": PASSWORD}),
    ):  # fmt: skip
        assert answer.status_code == 409, answer.text
        assert f"the tariff '{name}' allows 1 " in answer.text
    assert len(customer.owner.get("/api/geofences").json()) == 1


def test_tariffs_and_their_prices(customer: Customer) -> None:
    path = f"/api/tariffs/{customer.tariff['id']}/price"
    assert customer.owner.post(path, json={"monthly": "1", "since": "2100-01-01"}).status_code == 403
    told = customer.operator.post(path, json={"monthly": "330.00", "since": "2100-01-01"}).json()
    assert (told["monthly"], told["nextMonthly"], told["nextSince"]) == ("310.00", "330.00", "2100-01-01")
    for body, status in (
        ({"monthly": "1", "since": "2001-01-01"}, 400), ({"monthly": "0", "since": "2101-01-01"}, 400),
        ({"monthly": "1", "since": "2100-01-01"}, 409), ({"monthly": "1.234", "since": "2101-01-01"}, 400),
    ):  # fmt: skip
        assert customer.operator.post(path, json=body).status_code == status, body
    for body, status in (
        ({"name": "x", "mode": "free", "monthly": "1"}, 400), ({"name": customer.tariff["name"], "mode": "free"}, 409),
        ({"name": "x", "mode": "balance"}, 400), ({"name": "x", "mode": "balance", "monthly": "1", "currency": "X"}, 400),
    ):  # fmt: skip
        assert customer.operator.post("/api/tariffs", json=body).status_code == status, body


def test_the_calculator_and_its_bound(customer: Customer) -> None:
    question: dict[str, Any] = {
        "currency": "EUR", "zone": "UTC", "tariff": "Std", "tariffs": {"Std": {"mode": "balance", "monthly": "310.00"}},
        "start": "2025-01-01T00:00:00Z", "end": "2025-03-01T00:00:00Z",
        "actions": [{"at": "2025-01-01T07:00:00Z", "do": "connect", "device": "T1"}],
    }  # fmt: skip
    answer = customer.owner.post("/api/what-if", json=question)
    assert answer.json()["devices"]["T1"]["state"] == "blocked"
    too_long = customer.owner.post("/api/what-if", json={**question, "end": "2175-01-01T00:00:00Z", "actions": question["actions"] * 2})  # fmt: skip
    assert (too_long.status_code, too_long.text.partition(":")[0]) == (400, "end")
    assert customer.owner.post("/api/what-if", json={}).status_code == 400


def test_the_books_are_verified_over_http(customer: Customer) -> None:
    customer.post(f"/accounts/{customer.id}/topup", {"amount": "310.00", "key": "a"})
    assert customer.owner.get("/api/billing/verify").status_code == 403

    def verified() -> dict[str, Any] | None:
        told = customer.operator.get("/api/billing/verify").json()
        mine = [one for one in told["differences"] if customer.account["name"] in one]
        return told if not mine else None

    assert wait_until("clean books", verified)["accounts"] > 0


def test_nobody_without_a_name(world: World) -> None:
    with httpx.Client(base_url=world.url) as nobody:
        assert nobody.get("/api/gateways").json() == []
        assert nobody.get("/api/management").status_code == 401
        assert nobody.get("/pay/return").status_code == 404

"""What billing refuses, as the API answers it: a status, a sentence, and the reason as a word to translate."""

from __future__ import annotations

from typing import Final

from tracker_server.api.errors import Refusal
from tracker_server.api.values import iso
from tracker_server.billing.book import Refused
from tracker_server.billing.reasons import Reason

STATUS: Final[dict[Reason, int]] = {
    Reason.INSUFFICIENT_FUNDS: 402,
    Reason.ALREADY_CONNECTED: 409,
    Reason.TEST_DEVICE_EXISTS: 409,
    Reason.ID_REUSED: 409,
    Reason.UNKNOWN_DEVICE: 404,
    Reason.SWITCH_LIMIT: 429,
}
SENTENCES: Final[dict[Reason, str]] = {
    Reason.AMOUNT_NOT_POSITIVE: "there is nothing to move; name an amount above zero",
    Reason.BACK_PAY_NOT_OFFERED: "blocked time is not paid for after the event here",
    Reason.CONTRACT_ENDED: "the contract was withdrawn from",
    Reason.EFFECTIVE_IN_THE_PAST: "effective: lies in the past; name today or a later date",
    Reason.ID_REUSED: "key: was used for something else; choose another one",
    Reason.INSUFFICIENT_FUNDS: "the balance does not reach; pay first",
    Reason.MONTHS_OUT_OF_RANGE: "months: a term has 1 to 12",
    Reason.NOTHING_UNPAID: "none of its time is unpaid; there is nothing to pay for",
    Reason.NOTHING_TO_REFUND: "the balance is 0; there is nothing to give back",
    Reason.NOT_A_TERM_TARIFF: "the tariff is not paid by the month",
    Reason.NOT_A_TEST_DEVICE: "it is no test tracker; there is nothing to convert",
    Reason.NOT_SUSPENDED: "it is not paused; there is nothing to resume",
    Reason.SUSPENDED: "it is paused; resume it first",
    Reason.SUSPENSION_LIMIT: "until: lies beyond the months of pause that are left, or in the past",
    Reason.SWITCH_LIMIT: "this month's changes of tariff are used up",
    Reason.TEST_DEVICE: "it is a test tracker, which costs nothing; convert it first",
    Reason.TEST_EXPIRED: "its test time is over; convert it first",
    Reason.UNKNOWN_TARIFF: "tariffId: there is no such tariff in the account's currency",
}


def refusal(refused: Refused, **more: str) -> Refusal:
    """Why, and from when on it may be asked again."""
    sentence = SENTENCES.get(refused.reason, str(refused.reason).replace("_", " "))
    told = {"reason": str(refused.reason), **more}
    if refused.next_allowed is not None:
        told["nextAllowed"] = iso(refused.next_allowed) or ""
    return Refusal(STATUS.get(refused.reason, 409), sentence, more=told)

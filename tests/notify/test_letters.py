"""What a customer reads: every letter in every language as a snapshot, and mails that carry nothing but words.

``python -m tests.notify.test_letters`` writes the snapshot anew; read the difference before it is committed.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, date, datetime
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import pytest
from msgspec import structs
from msgspec.structs import replace

from tests.alerts.world import MAIL, event, household
from tests.track.world import told
from tracker_server.alerts.event_phrases import ALARMS, LABELS, SENTENCES
from tracker_server.alerts.letters import (
    LANGUAGES,
    EventNotice,
    Language,
    LetterError,
    MoneyKind,
    MoneyNotice,
    PasswordLetter,
    Place,
    TestLetter,
    TrackerLine,
    decode,
    encode,
)
from tracker_server.alerts.rules import kinds_of, matching
from tracker_server.alerts.samples import sample
from tracker_server.alerts.wording import PHRASES, amount_in_words, worded
from tracker_server.billing.notices import NoticeKind
from tracker_server.model.address import mailbox
from tracker_server.model.event import Event, EventType
from tracker_server.notify.messages import html_of, mail_of, message_id, text_of
from tracker_server.pipeline.dispatcher import Outgoing
from tracker_server.track.fences.index import EMPTY
from tracker_server.track.replay import run
from tracker_server.track.settings import TrackSettings

SNAPSHOT = Path(__file__).with_name("letters.txt")
NOON = datetime(2027, 2, 15, 12, tzinfo=UTC)
SENDER = mailbox("billing@example.com", "Tracking")
KINDS: tuple[MoneyKind, ...] = get_args(MoneyKind)


def letter(kind: MoneyKind = "low", language: Language = "en", count: int = 1, account: str = "Norte & Sur") -> MoneyNotice:  # fmt: skip
    days = [date(2027, 2, 15), date(2027, 2, 16), date(2027, 2, 17)]
    lines = tuple(
        TrackerLine(f"T{number + 2}", day if kind == "low" else None)
        for number, day in enumerate(days[: min(count, 3)])
    )
    return MoneyNotice(kind, -7, account, language, "EUR", 93000, 1107, days[0], lines, count)


def outgoing(payload: object, key: str = "notice:1:term", to: str = "office@example.com") -> Outgoing:
    return Outgoing(1, key, "email", to, 1, payload, NOON, NOON, 0)


def snapshot() -> str:
    parts: list[str] = []
    for language in LANGUAGES:
        for kind in KINDS:
            for count in (1, 5):
                wording = worded(letter(kind, language, count))
                parts.append(f"=== {language} {kind} {count}\n{wording.subject}\n\n{text_of(wording)}")
        wording = worded(TestLetter(language))
        parts.append(f"=== {language} test\n{wording.subject}\n\n{text_of(wording)}")
        wording = worded(PasswordLetter(language, "https://example.com/reset?token=x", 30))
        parts.append(f"=== {language} password\n{wording.subject}\n\n{text_of(wording)}")
        for kind in EventType:
            notice = sample(kind, language, "Europe/Madrid", NOON, link="https://example.com/?event={event}")
            parts.append(f"=== {language} {kind}\n{worded(notice).line}\n\n{text_of(worded(notice))}")
        for alarm in ALARMS[language]:
            notice = sample("alarm", language, "UTC", NOON, alarm=alarm)
            parts.append(f"=== {language} alarm:{alarm}\n{worded(notice).subject}\n")
    return "\n".join(parts)


def test_every_letter_reads_as_it_was_agreed() -> None:
    assert snapshot() == SNAPSHOT.read_text()


def test_every_notice_has_words_in_every_language() -> None:
    assert set(KINDS) == {kind.value for kind in NoticeKind}
    for language in LANGUAGES:
        assert set(PHRASES[language]) == {*KINDS, "test", "password"}


def test_every_event_and_every_alarm_has_words_in_every_language() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "attributes.md").read_text()
    table = page.partition("## Alarms")[2].partition("\n## ")[0]
    named = {
        name
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    for language in LANGUAGES:
        assert set(SENTENCES[language]) == {*EventType, ""}, language
        assert named <= set(ALARMS[language]), language
        assert set(LABELS[language]) == set(LABELS["en"])


def alarms_of_frames() -> set[str]:
    """Kinds of alarms in recorded frames, where a folder of them is."""
    folder = Path(os.environ.get("TRACKER_GOLDEN_DIR", "../shared/golden")) / "frames"
    text = "".join(file.read_text() for file in sorted(folder.glob("*.jsonl")))
    told = re.findall(r'"alarm": "([\w,]+)"', text)
    return {kind for one in told for kind in one.split(",")}


def test_every_alarm_that_devices_tell_is_an_event_has_words_and_can_be_asked_for() -> None:
    for kind in sorted(alarms_of_frames() | set(ALARMS["en"])):
        found = run([told(1, alarm=kind)], TrackSettings(), EMPTY).found
        assert [one.attributes.get("alarm") for one in found if isinstance(one, Event)] == [kind]
        for language in LANGUAGES:
            assert kind in ALARMS[language], language
        types, alarms = kinds_of([f"alarm:{kind}"])
        rule = replace(MAIL, types=types, alarms=alarms)
        assert matching(household(rule), event("alarm", attributes={"alarm": kind})) != []
        assert matching(household(rule), event("alarm", attributes={"alarm": "another"})) == []


def test_an_alert_never_fails_for_want_of_words() -> None:
    for language in LANGUAGES:
        for kind in [*EventType, "somethingNew"]:
            bare = EventNotice(kind, "", "T3", "Norte", language, "UTC", NOON)
            odd = {
                "alarm": ["x"],
                "speed_mps": "fast",
                "dwell_s": True,
                "change_l": None,
                "result": "a\nb" * 100,
            }
            for notice in (bare, structs.replace(bare, facts=odd, place=Place(0.0, -0.0))):
                wording = worded(notice)
                assert "T3" in wording.subject
                assert "\n" not in wording.line


@pytest.mark.parametrize(
    ("currency", "amount_minor", "language", "says"),
    [
        ("EUR", 93000, "en", "€930.00"),
        ("EUR", 1234567, "es", "12.345,67\u00a0€"),
        ("RUB", 1234567, "ru", "12\u00a0345,67\u00a0₽"),
        ("RUB", 1107, "en", "RUB\u00a011.07"),
        ("CLP", 15000, "es", "15.000\u00a0CLP"),
        ("KWD", 1500, "en", "KWD\u00a01.500"),
        ("IQD", 1500, "en", "IQD\u00a01.500"),  # three decimals by ISO 4217, none in shops
        ("JPY", 0, "en", "JP¥0"),
    ],
)
def test_amounts_have_the_decimals_of_their_currency(
    currency: str, amount_minor: int, language: Language, says: str
) -> None:
    assert amount_in_words(amount_minor, currency, language) == says


def test_what_nobody_owes_is_not_asked_for() -> None:
    free = MoneyNotice("blocked", 0, "A", "en", "EUR", 0, 0, date(2027, 2, 15), (TrackerLine("T1"),), 1)
    assert "€" not in text_of(worded(free))


def test_more_trackers_than_a_letter_names() -> None:
    assert text_of(worded(letter(count=1003))).count("\n- ") == 4
    assert "- and 1,000 more" in text_of(worded(letter(count=1003)))


class Tags(HTMLParser):
    """What a page is made of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_html_is_words_only_whatever_an_account_is_called() -> None:
    nasty = '<script src="https://evil.example/x.js">{0}{amount}</script><img src=x onerror=alert(1)>'
    wording = worded(letter(account=nasty))
    page = Tags(html_of(wording))
    assert page.tags == {"html", "head", "meta", "title", "body", "div", "h1", "p", "ul", "li"}
    assert page.attributes == {"lang", "charset", "style"}
    assert nasty in "".join(page.words), "shown as it is, not obeyed"
    assert "url(" not in html_of(wording)


def test_a_mail_has_both_parts_and_its_headers() -> None:
    mail = mail_of(outgoing(encode(letter(language="ru"))), SENDER)
    assert mail.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert mail["Content-Language"] == "ru"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"] == "Mon, 15 Feb 2027 12:00:00 +0000"
    assert str(mail["Subject"]).startswith("Трекер T2 будет заблокирован 15 февраля 2027")
    assert isinstance(mail, EmailMessage)
    assert max(map(len, mail.as_bytes().split(b"\r\n"))) <= 998


def test_a_mail_with_a_picture_shows_it_and_reads_without() -> None:
    mail = mail_of(outgoing(encode(letter(account="<Norte>"))), SENDER, None, b"\x89PNG and so on")
    text, related = mail.iter_parts()
    assert [part.get_content_type() for part in (text, related)] == ["text/plain", "multipart/related"]
    assert isinstance(related, EmailMessage)
    page, picture = related.iter_parts()
    assert picture["Content-ID"].endswith("@example.com>")
    shown = Tags(page.get_content())
    assert shown.tags >= {"img"}
    assert f'src="cid:{picture["Content-ID"][1:-1]}"' in page.get_content()
    assert picture.get_content() == b"\x89PNG and so on"
    (plain, _) = mail_of(outgoing(encode(letter(account="<Norte>"))), SENDER).iter_parts()
    assert text.get_content() == plain.get_content(), "who sees no pictures misses no word"


def test_the_message_id_follows_from_the_key() -> None:
    first = mail_of(outgoing(encode(letter())), SENDER)
    same = mail_of(outgoing(encode(letter())), SENDER)
    other = mail_of(outgoing(encode(letter()), key="notice:1:other"), SENDER)
    assert first["Message-ID"] == same["Message-ID"] != other["Message-ID"]
    assert re.fullmatch(r"<[0-9a-f]{32}@example\.com>", message_id("k", "example.com"))


def test_a_header_has_one_line() -> None:
    mail = mail_of(outgoing(encode(MoneyNotice("blocked", 0, "A", "en", "EUR", 1, 0, NOON.date(), (TrackerLine("x\r\nBcc: all@example.com"),), 1))), SENDER)  # fmt: skip
    assert mail["Bcc"] is None
    assert "\n" not in str(mail["Subject"])


def test_letters_survive_the_outbox() -> None:
    alarm = sample("alarm", "ru", "UTC", NOON)
    for one in (letter(count=5), TestLetter("es"), PasswordLetter("en", "https://x", 30), alarm):
        assert decode(encode(one)) == one
    with pytest.raises(LetterError):
        decode({"type": "money"})


if __name__ == "__main__":
    SNAPSHOT.write_text(snapshot())

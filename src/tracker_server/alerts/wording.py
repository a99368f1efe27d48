"""Letters in words: English, Spanish and Russian. Amounts and dates are written as each language writes them.

A sentence says only what its letter knows. Where a tracker is stands in an event's letter alone, and such a letter
is neither written nor sent for a tracker that is hidden.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Final, assert_never
from zoneinfo import ZoneInfo

import msgspec
from babel import Locale
from babel.dates import format_date
from babel.numbers import format_decimal, parse_pattern

from tracker_server.alerts.event_words import event_words
from tracker_server.alerts.letters import (
    AnnouncementLetter,
    DueLetter,
    EventNotice,
    InstallationLetter,
    InvoiceIssued,
    InvoiceLetter,
    Language,
    Letter,
    MoneyNotice,
    PasswordLetter,
    SupportLetter,
    TestLetter,
    spoken,
)
from tracker_server.alerts.paper_words import SUBJECTS, TEXTS
from tracker_server.model import money
from tracker_server.model.paper import Paper

LOCALES: Final[dict[Language, str]] = {"en": "en_GB", "es": "es", "ru": "ru"}


class Wording(msgspec.Struct, frozen=True):
    """A letter ready to be read: ``items`` stand between the first paragraph and the others. ``brief``: all of it in
    a line, for an SMS; ``link``: what the last paragraph leads to.
    """

    language: Language
    subject: str
    paragraphs: tuple[str, ...]
    items: tuple[str, ...] = ()
    foot: str = ""
    brief: str = ""
    link: str = ""

    @property
    def line(self) -> str:
        """What is said where there is room for a line only."""
        return self.brief or self.subject


class Phrases(msgspec.Struct, frozen=True):
    """The sentences of one kind of letter. ``one``: the subject where it is about a single tracker."""

    subject: str
    one: str
    text: str
    amount: str = ""
    after: str = ""


KEPT: Final[dict[Language, str]] = {
    "en": "Nothing is lost meanwhile: a hidden tracker goes on being recorded.",
    "es": "Mientras tanto no se pierde nada: un rastreador oculto se sigue registrando.",
    "ru": "При этом ничего не теряется: данные скрытого трекера продолжают записываться.",
}
FOOT: Final[dict[Language, str]] = {
    "en": "Account: {account}",
    "es": "Cuenta: {account}",
    "ru": "Счёт: {account}",
}
MORE: Final[dict[Language, str]] = {"en": "and {more} more", "es": "y {more} más", "ru": "и ещё {more}"}

PHRASES: Final[dict[Language, dict[str, Phrases]]] = {
    "en": {
        "ending": Phrases(
            "{amount} to pay by {last}",
            "{amount} to pay by {last}",
            "These trackers are paid through {last}. If that is not prolonged, they will be hidden from {on} on.",
            "To pay: {amount}.",
            "kept",
        ),
        "overdue": Phrases(
            "{amount} is due since {on}",
            "{amount} is due since {on}",
            "These trackers are not paid since {on} and are hidden until they are.",
            "To pay: {amount}.",
            "kept",
        ),
        "low": Phrases(
            "{count} trackers will be blocked, the first on {on}",
            "{tracker} will be blocked on {on}",
            "The balance is {balance}. If nothing is paid, it will not last, and these trackers will be blocked:",
            "{amount} more would pay another month of all trackers.",
            "kept",
        ),
        "blocked": Phrases(
            "{count} trackers are blocked",
            "{tracker} is blocked",
            "The balance does not last for these trackers; they have been hidden since {on}.",
            "To pay, so that all trackers can be seen: {amount}.",
            "kept",
        ),
        "unblocked": Phrases(
            "{count} trackers can be seen again",
            "{tracker} can be seen again",
            "These trackers are paid and can be seen again:",
        ),
        "resuming": Phrases(
            "The pause of {count} trackers ends on {on}",
            "The pause of {tracker} ends on {on}",
            "The pause ends by itself as {on} begins. From then on the tracker is paid for as before, "
            "or blocked where the money does not suffice.",
        ),
        "purge": Phrases(
            "Data of {count} blocked trackers will be deleted from {on} on",
            "Data of {tracker} will be deleted from {on} on",
            "This tracker has been blocked for long. What it has recorded since then will be deleted, the oldest first, from {on} on, "
            "unless it is paid before. What it recorded while it was paid stays.",
            "To pay: {amount}.",
        ),
        "password": Phrases(
            "Set a new password",
            "Set a new password",
            "Somebody, probably you, asked for a new password. This link sets it, once, in the next {minutes} minutes:",
            "If it was not you, do nothing: your password stays.",
        ),
        "test": Phrases("Test message", "Test message", "This message came through: the channel works."),
    },
    "es": {
        "ending": Phrases(
            "{amount} por pagar hasta el {last}",
            "{amount} por pagar hasta el {last}",
            "Estos rastreadores están pagados hasta el {last} inclusive. Si no se prolonga, "
            "quedarán ocultos a partir del {on}.",
            "Por pagar: {amount}.",
            "kept",
        ),
        "overdue": Phrases(
            "{amount} pendientes de pago desde el {on}",
            "{amount} pendientes de pago desde el {on}",
            "Estos rastreadores no están pagados desde el {on} y quedan ocultos hasta que lo estén.",
            "Por pagar: {amount}.",
            "kept",
        ),
        "low": Phrases(
            "Se bloquearán {count} rastreadores, el primero el {on}",
            "{tracker} se bloqueará el {on}",
            "El saldo es de {balance}. Si no se paga nada, no alcanzará y se bloquearán estos rastreadores:",
            "Con {amount} más se paga otro mes de todos los rastreadores.",
            "kept",
        ),
        "blocked": Phrases(
            "{count} rastreadores están bloqueados",
            "{tracker} está bloqueado",
            "El saldo no alcanza para estos rastreadores; están ocultos desde el {on}.",
            "Por pagar para que se vean todos los rastreadores: {amount}.",
            "kept",
        ),
        "unblocked": Phrases(
            "{count} rastreadores vuelven a verse",
            "{tracker} vuelve a verse",
            "Estos rastreadores están pagados y vuelven a verse:",
        ),
        "resuming": Phrases(
            "La pausa de {count} rastreadores termina el {on}",
            "La pausa de {tracker} termina el {on}",
            "La pausa termina por sí sola al comenzar el {on}. A partir de entonces el rastreador se paga "
            "como antes, o se bloquea si el dinero no alcanza.",
        ),
        "purge": Phrases(
            "Los datos de {count} rastreadores bloqueados se borrarán a partir del {on}",
            "Los datos de {tracker} se borrarán a partir del {on}",
            "Este rastreador lleva mucho tiempo bloqueado. Lo que ha registrado desde entonces se borrará, empezando por lo más antiguo, "
            "a partir del {on}, salvo que se pague antes. Lo que registró mientras estaba pagado se conserva.",
            "Por pagar: {amount}.",
        ),
        "password": Phrases(
            "Elija una contraseña nueva",
            "Elija una contraseña nueva",
            "Alguien, seguramente usted, ha pedido una contraseña nueva. Este enlace permite elegirla, una sola vez, durante los próximos {minutes} minutos:",
            "Si no ha sido usted, no haga nada: su contraseña no cambia.",
        ),
        "test": Phrases(
            "Mensaje de prueba", "Mensaje de prueba", "Este mensaje ha llegado: el canal funciona."
        ),
    },
    "ru": {
        "ending": Phrases(
            "К оплате {amount} до {last} включительно",
            "К оплате {amount} до {last} включительно",
            "Эти трекеры оплачены по {last} включительно. Если не продлить, с {on} они будут скрыты.",
            "К оплате: {amount}.",
            "kept",
        ),
        "overdue": Phrases(
            "Не оплачено с {on}: {amount}",
            "Не оплачено с {on}: {amount}",
            "Эти трекеры не оплачены с {on} и скрыты до оплаты.",
            "К оплате: {amount}.",
            "kept",
        ),
        "low": Phrases(
            "Будет заблокировано трекеров: {count}, первый — {on}",
            "Трекер {tracker} будет заблокирован {on}",
            "На балансе {balance}. Без пополнения денег не хватит, и эти трекеры будут заблокированы:",
            "Чтобы оплатить ещё месяц всех трекеров, не хватает {amount}.",
            "kept",
        ),
        "blocked": Phrases(
            "Заблокировано трекеров: {count}",
            "Трекер {tracker} заблокирован",
            "С {on} на эти трекеры не хватает денег на балансе, и они скрыты.",
            "К оплате, чтобы были видны все трекеры: {amount}.",
            "kept",
        ),
        "unblocked": Phrases(
            "Снова видно трекеров: {count}",
            "Трекер {tracker} снова виден",
            "Эти трекеры оплачены и снова видны:",
        ),
        "resuming": Phrases(
            "Приостановка трекеров ({count}) заканчивается {on}",
            "Приостановка трекера {tracker} заканчивается {on}",
            "С наступлением {on} приостановка закончится сама. После этого трекер оплачивается как прежде "
            "или блокируется, если денег не хватит.",
        ),
        "purge": Phrases(
            "Данные заблокированных трекеров ({count}) будут удаляться с {on}",
            "Данные трекера {tracker} будут удаляться с {on}",
            "Этот трекер давно заблокирован. Если его не оплатить раньше, то с {on} записанное за время блокировки будет удаляться, "
            "начиная с самого старого. Записанное за оплаченное время останется.",
            "К оплате: {amount}.",
        ),
        "password": Phrases(
            "Новый пароль",
            "Новый пароль",
            "Кто-то, вероятно вы, запросил новый пароль. По этой ссылке его можно задать один раз в течение {minutes} минут:",
            "Если это были не вы, ничего не делайте: пароль останется прежним.",
        ),
        "test": Phrases("Пробное сообщение", "Пробное сообщение", "Это сообщение дошло: канал работает."),
    },
}


# of a letter that somebody asked for by a tax number: the subject, what is due, and that nothing is
DUE_WORDS: Final[dict[Language, tuple[str, str, str]]] = {
    "en": (
        "What is due",
        "{amount} shows all your trackers again. Pay here; what they sent meanwhile has been kept:",
        "Nothing is due: none of your trackers is hidden for want of money.",
    ),
    "es": (
        "Importe pendiente",
        "Con {amount} vuelven a verse todos sus rastreadores. Pague aquí; lo que enviaron entretanto se ha guardado:",
        "No hay nada pendiente: ninguno de sus rastreadores está oculto por falta de pago.",
    ),
    "ru": (
        "Сумма к оплате",
        "Внесите {amount}, и все ваши трекеры снова будут видны. Оплатить можно здесь; всё присланное за это время сохранено:",
        "К оплате ничего нет: ни один трекер не скрыт из-за неоплаты.",
    ),
}


def worded(letter: Letter, address: str = "") -> Wording:
    """A letter in its language; ``address``: of the place that an event's letter names, where it is known."""
    match letter:
        case MoneyNotice():
            return _of_money(letter)
        case EventNotice():
            return _of_event(letter, address)
        case InvoiceLetter(paper=paper):
            return _of_paper(paper)
        case TestLetter(language=language):
            phrases = PHRASES[language]["test"]
            return Wording(language, phrases.subject, (phrases.text,))
        case AnnouncementLetter(language=language, subject=subject, text=text):
            return Wording(
                language, subject, tuple(part.strip() for part in text.split("\n\n") if part.strip())
            )
        case PasswordLetter(language=language, link=link, minutes=minutes):
            phrases = PHRASES[language]["password"]
            text = phrases.text.format(minutes=minutes)
            return Wording(language, phrases.subject, (text, link, phrases.amount), link=link)
        case SupportLetter():
            return _of_support(letter)
        case InvoiceIssued():
            amount = amount_in_words(letter.amount_minor, letter.currency, "en")
            return Wording(
                "en",
                f"Invoice {letter.number} was issued",
                (f"{letter.account} paid {amount}.",),
                letter.trackers,
            )
        case InstallationLetter():
            return _of_installation(letter)
        case DueLetter():
            return _of_due(letter)
        case _:
            assert_never(letter)


def _of_installation(letter: InstallationLetter) -> Wording:
    """In English: it goes to whoever runs the server."""
    zone = ZoneInfo(letter.zone)
    text = (
        f"Invoice {letter.number} of {letter.issued_at.astimezone(zone):%Y-%m-%d %H:%M} connects trackers. By "
        f"{letter.due_at.astimezone(zone):%Y-%m-%d %H:%M} ({letter.zone}) nobody had said when they are installed; "
        f"`tracker-server billing installation {letter.number} …` says so."
    )
    subject = f"No visit was agreed on for invoice {letter.number}"
    return Wording("en", subject, (text,), (), FOOT["en"].format(account=letter.account))


def _of_due(letter: DueLetter) -> Wording:
    subject, due, nothing = DUE_WORDS[letter.language]
    amount = amount_in_words(letter.amount_minor, letter.currency, letter.language)
    told = (due.format(amount=amount), letter.link) if letter.amount_minor else (nothing,)
    foot = FOOT[letter.language].format(account=letter.account)
    return Wording(letter.language, subject, told, (), foot, link=letter.link)


def _of_support(letter: SupportLetter) -> Wording:
    """In English: it goes to whoever runs the server."""

    def local(moment: datetime | None) -> str:
        return (
            "never"
            if moment is None
            else f"{moment.astimezone(ZoneInfo(letter.zone)):%Y-%m-%d %H:%M:%S} ({letter.zone})"
        )

    items = (
        f"identifier: {letter.unique_id}",
        f"state: {letter.state}",
        f"told to restart: {local(letter.reset_at)}",
        f"answered: {local(letter.answered_at)}",
        f"last contact: {local(letter.contact_at)}",
        f"protocol: {letter.protocol or 'nothing came'}",
        f"reports since without a correct position: {letter.without_fix}",
        f"other messages since: {letter.others}",
    )
    return Wording(
        "en",
        f"{letter.tracker} did not come back after its restart",
        ("No correct position came within an hour after this tracker was told to restart.",),
        items,
        FOOT["en"].format(account=letter.account),
    )


def _of_money(letter: MoneyNotice) -> Wording:
    language = letter.language
    phrases = PHRASES[language][letter.kind]
    words = {
        "amount": amount_in_words(letter.amount_minor, letter.currency, language),
        "balance": amount_in_words(letter.balance_minor, letter.currency, language),
        "on": date_in_words(letter.on, language),
        "last": date_in_words(letter.on - timedelta(days=1), language),
        "tracker": letter.trackers[0].name if letter.trackers else "",
        "count": format_decimal(letter.count, locale=_locale(language)),
    }
    items = [
        line.name if line.on is None else f"{line.name}: {date_in_words(line.on, language)}"
        for line in letter.trackers
    ]
    more = letter.count - len(letter.trackers)
    if more > 0:
        items.append(MORE[language].format(more=format_decimal(more, locale=_locale(language))))
    paragraphs = [phrases.text]
    if phrases.amount and letter.amount_minor > 0:
        paragraphs.append(phrases.amount)
    if phrases.after:
        paragraphs.append(KEPT[language])
    return Wording(
        language,
        (phrases.one if letter.count == 1 else phrases.subject).format_map(words),
        tuple(paragraph.format_map(words) for paragraph in paragraphs),
        tuple(items),
        FOOT[language].format(account=letter.account),
    )


def _of_event(letter: EventNotice, address: str) -> Wording:
    words = event_words(letter, _locale(letter.language), address)
    return Wording(
        letter.language,
        words.subject,
        (f"{words.subject}.", *([words.more] if words.more else [])),
        tuple(f"{name}: {value}" for name, value in words.items),
        FOOT[letter.language].format(account=letter.account),
        words.brief,
        letter.link,
    )


def _of_paper(paper: Paper) -> Wording:
    language = spoken(paper.language)
    words = {
        "number": paper.number,
        "amount": amount_in_words(abs(paper.amount_minor), paper.currency, language),
        "on": date_in_words(paper.issued_on, language),
    }
    kind = paper.kind.value
    return Wording(
        language,
        SUBJECTS[language][kind].format_map(words),
        (TEXTS[language][kind].format_map(words),),
        (),
        FOOT[language].format(account=paper.buyer.name),
    )


def amount_in_words(amount_minor: int, currency: str, language: Language) -> str:
    """Minor units with all the decimals that ISO 4217 gives the currency, whatever is usual in a shop."""
    unit = money.currency(currency)
    locale = _locale(language)
    pattern = parse_pattern(locale.currency_formats["standard"].pattern)
    pattern.frac_prec = (unit.exponent, unit.exponent)
    value = Decimal(amount_minor).scaleb(-unit.exponent)
    text = pattern.apply(value, locale, currency=unit.code, currency_digits=False)
    return re.sub(r"([A-Za-z])(\d)", "\\1\u00a0\\2", text)  # CLDR's currencySpacing: RUB 930.00


def date_in_words(day: date, language: Language) -> str:
    """``15 February 2027``."""
    return format_date(day, format="long", locale=_locale(language))


@cache
def _locale(language: Language) -> Locale:
    return Locale.parse(LOCALES[language])

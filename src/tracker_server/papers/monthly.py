"""The monthly report as PDF, in the customer's language."""

from __future__ import annotations

from typing import Any, Final

from babel.dates import format_date
from babel.numbers import format_decimal

from tracker_server.alerts.letters import Language, spoken
from tracker_server.alerts.wording import LOCALES
from tracker_server.model.monthly import MonthlyReport, TrackerMonth
from tracker_server.papers.documents import footer_of, party_of, seller_of
from tracker_server.papers.render import pdf
from tracker_server.papers.words import words_of

MM_PER_KM: Final = 1_000_000

WORDS: Final[dict[Language, dict[str, str]]] = {
    "en": {
        "title": "Monthly report",
        "month": "Month",
        "headings": "Tracker|Distance|Rides|Incidents|Requests|Remark",
        "km": "{km} km",
        "total": "Total",
        "blocked": "blocked {days} days",
        "blocked_one": "blocked 1 day",
        "remark": "Incidents are what came unexpected: more than an hour without contact, and alarms. Requests are maintenance that "
        "fell due. Of a tracker that is blocked nothing is shown, and it is in no sum.",
        "subject": "Monthly report, {month}",
        "text": "The report of {month} is attached.",
    },
    "es": {
        "title": "Informe mensual",
        "month": "Mes",
        "headings": "Rastreador|Distancia|Viajes|Incidencias|Solicitudes|Observación",
        "km": "{km} km",
        "total": "Total",
        "blocked": "bloqueado {days} días",
        "blocked_one": "bloqueado 1 día",
        "remark": "Son incidencias lo imprevisto: más de una hora sin contacto, y las alarmas. Son solicitudes los mantenimientos que "
        "vencieron. De un rastreador bloqueado no se muestra nada, ni figura en las sumas.",
        "subject": "Informe mensual, {month}",
        "text": "Adjuntamos el informe de {month}.",
    },
    "ru": {
        "title": "Отчёт за месяц",
        "month": "Месяц",
        "headings": "Трекер|Пробег|Поездки|Инциденты|Заявки|Примечание",
        "km": "{km} км",
        "total": "Итого",
        "blocked": "дней блокировки: {days}",
        "blocked_one": "дней блокировки: 1",
        "remark": "Инциденты — неожиданное: больше часа без связи и тревоги. Заявки — наступившие сроки обслуживания. "
        "О заблокированном трекере ничего не показано, и в суммах его нет.",
        "subject": "Отчёт за месяц: {month}",
        "text": "Отчёт за месяц ({month}) приложен.",
    },
}


def monthly_pdf(report: MonthlyReport) -> bytes:
    """The report."""
    return pdf("monthly", monthly_data(report), report.made_at)


def monthly_letter(report: MonthlyReport) -> tuple[str, str]:
    """Subject and text of the mail that it goes with."""
    words, month = WORDS[spoken(report.language)], month_in_words(report)
    return words["subject"].format(month=month), words["text"].format(month=month) + "\n"


def month_in_words(report: MonthlyReport) -> str:
    """``March 2025``."""
    return format_date(report.month, format="LLLL yyyy", locale=LOCALES[spoken(report.language)])


def monthly_data(report: MonthlyReport) -> dict[str, Any]:
    """What the template prints: texts only."""
    language = spoken(report.language)
    words = WORDS[language]
    shown = [one for one in report.trackers if one.distance_mm is not None]

    def km(distance_mm: int) -> str:
        value = format_decimal(round(distance_mm / MM_PER_KM, 1), format="#,##0.0", locale=LOCALES[language])
        return words["km"].format(km=value)

    def line(one: TrackerMonth) -> list[str]:
        blocked = ""
        if one.blocked_days:
            blocked = words["blocked_one" if one.blocked_days == 1 else "blocked"].format(
                days=one.blocked_days
            )
        if one.distance_mm is None:
            return [one.name, "", "", "", "", blocked or words["blocked"].format(days=0)]
        return [one.name, km(one.distance_mm), str(one.trips), str(one.incidents), str(one.requests), blocked]

    total = [
        words["total"],
        km(sum(one.distance_mm or 0 for one in shown)),
        str(sum(one.trips for one in shown)),
        str(sum(one.incidents for one in shown)),
        str(sum(one.requests for one in shown)),
        "",
    ]
    papers = words_of(language)
    return {
        "language": language,
        "title": words["title"],
        "subtitle": month_in_words(report),
        "seller": seller_of(report.seller, papers),
        "buyer": party_of(report.buyer, papers),
        "words": {"buyer": papers["buyer"]},
        "facts": [(words["month"], month_in_words(report))],
        "headings": words["headings"].split("|"),
        "lines": [*map(line, report.trackers), total],
        "remark": words["remark"],
        "footer": footer_of(report.seller),
    }

"""The payment pages, outside the API: a link on which one chooses how to pay, and where the gateway sends people back.

Whoever has the link may pay; it shows the amount, the account's name and nothing else. No script runs on them, and
the window may be closed at any moment: the gateway's own message is what counts.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html import escape
from typing import Final

import structlog
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from tracker_server.alerts.letters import Language, spoken
from tracker_server.alerts.wording import amount_in_words
from tracker_server.api.call import Services
from tracker_server.model.paper import Seller
from tracker_server.payments.port import GatewayAwayError, GatewayRefusedError
from tracker_server.payments.states import PaymentState
from tracker_server.storage.checkouts import PAYABLE, begin
from tracker_server.storage.invoices import read_buyer, read_seller
from tracker_server.storage.payments import Payment, read_payment

log = structlog.get_logger(__name__)

POLICY: Final = (
    "default-src 'none'; style-src 'sha256-{style}'; frame-ancestors 'none'; base-uri 'none'; form-action *"
)
STYLE: Final = (
    ":root{color-scheme:light dark}body{font:17px/1.5 system-ui,sans-serif;max-width:34em;margin:12vh auto;padding:0 "
    "1.2em}h1{font-size:1.5em}button{font:inherit;padding:.6em 1.2em;margin:.3em .5em .3em 0;border:0;"
    "border-radius:.4em;background:#0b6e63;color:#fff;cursor:pointer}footer{margin-top:2.5em;font-size:.9em;opacity:.8}"
)
WORDS: Final[dict[Language, dict[str, str]]] = {
    "en": {
        "pay": "Pay {amount}",
        "for": "For tracking services, account {account}.",
        "with": "Pay with {title}",
        "none": "Online payment is not set up. Please get in touch with us.",
        "paid": "Paid. Thank you!",
        "paid_more": "{amount} is on the balance, and what it pays for is shown again.",
        "wait": "Your payment is under way",
        "wait_more": "You may close this window: as soon as the payment has arrived, everything happens by itself.",
        "failed": "The payment did not go through",
        "failed_more": "Nothing was taken. You may try again with the same link.",
        "expired": "This link is too old",
        "expired_more": "Ask us for a new one. Money that is under way is not lost.",
        "mismatch": "We are looking into your payment",
        "mismatch_more": "What arrived is not what was asked for. We will get in touch.",
        "away": "The payment service does not answer just now. Please try again in a moment.",
        "unknown": "There is no such payment",
        "contact": "Questions?",
    },
    "es": {
        "pay": "Pagar {amount}",
        "for": "Por servicios de rastreo, cuenta {account}.",
        "with": "Pagar con {title}",
        "none": "El pago en línea no está disponible. Póngase en contacto con nosotros.",
        "paid": "Pagado. ¡Gracias!",
        "paid_more": "{amount} ya está en el saldo, y lo que paga vuelve a verse.",
        "wait": "Su pago está en camino",
        "wait_more": "Puede cerrar esta ventana: en cuanto llegue el pago, todo sucede por sí solo.",
        "failed": "El pago no se realizó",
        "failed_more": "No se cobró nada. Puede intentarlo de nuevo con el mismo enlace.",
        "expired": "Este enlace ha caducado",
        "expired_more": "Pídanos uno nuevo. El dinero que está en camino no se pierde.",
        "mismatch": "Estamos revisando su pago",
        "mismatch_more": "Lo que llegó no es lo que se pidió. Nos pondremos en contacto.",
        "away": "El servicio de pago no responde en este momento. Inténtelo de nuevo enseguida.",
        "unknown": "No existe tal pago",
        "contact": "¿Preguntas?",
    },
    "ru": {
        "pay": "Оплатить {amount}",
        "for": "Услуги мониторинга, счёт {account}.",
        "with": "Оплатить: {title}",
        "none": "Онлайн-оплата не настроена. Свяжитесь с нами.",
        "paid": "Оплачено. Спасибо!",
        "paid_more": "{amount} зачислено, и всё оплаченное снова показывается.",
        "wait": "Ваш платёж в пути",
        "wait_more": "Это окно можно закрыть: как только платёж поступит, всё произойдёт само.",
        "failed": "Платёж не прошёл",
        "failed_more": "Деньги не списаны. Можно попробовать ещё раз по той же ссылке.",
        "expired": "Ссылка устарела",
        "expired_more": "Попросите у нас новую. Деньги, которые уже в пути, не пропадут.",
        "mismatch": "Мы проверяем ваш платёж",
        "mismatch_more": "Поступило не то, что было запрошено. Мы свяжемся с вами.",
        "away": "Платёжный сервис сейчас не отвечает. Попробуйте ещё раз через минуту.",
        "unknown": "Такого платежа нет",
        "contact": "Вопросы?",
    },
}
SAID: Final[dict[PaymentState, str]] = {
    PaymentState.OPEN: "wait",
    PaymentState.PENDING: "wait",
    PaymentState.PAID: "paid",
    PaymentState.FAILED: "failed",
    PaymentState.EXPIRED: "expired",
    PaymentState.MISMATCH: "mismatch",
}
REFRESH_S: Final = 4


def pay_routes(services: Services) -> list[BaseRoute]:
    """The pages."""

    async def choose(request: Request) -> Response:
        """How to pay."""
        found = await _read(services, str(request.path_params["payment"]))
        if found is None:
            return _unknown(services)
        payment, account, language, seller = found
        words = WORDS[language]
        if payment.state not in PAYABLE or _too_old(services, payment):
            state = PaymentState.EXPIRED if payment.state in PAYABLE else payment.state
            return _state_page(payment, state, language, seller)
        buttons = "".join(
            f'<form method="post" action="/pay/{payment.id}/{escape(gateway.name)}"><button>'
            f"{escape(words['with'].format(title=gateway.title))}</button></form>"
            for gateway in services.gateways.values()
            if gateway.offers_checkout
        )
        amount = amount_in_words(payment.amount_minor, payment.currency, language)
        body = f"<p>{escape(words['for'].format(account=account))}</p>{buttons or _p(words['none'])}"
        return _page(words["pay"].format(amount=amount), body, language, seller)

    async def go(request: Request) -> Response:
        """To the gateway's page."""
        found = await _read(services, str(request.path_params["payment"]))
        gateway = services.gateways.get(str(request.path_params["gateway"]))
        if found is None or gateway is None or not gateway.offers_checkout:
            return _unknown(services)
        payment, _, language, seller = found
        if payment.state not in PAYABLE or _too_old(services, payment):
            return RedirectResponse(f"/pay/return?payment={payment.id}", 303)
        url = services.settings.api.public_url or str(request.base_url)
        try:
            async with services.pools.core() as connection:
                started = await begin(connection, gateway, payment, url, datetime.now(UTC))
        except (GatewayAwayError, GatewayRefusedError) as error:
            log.warning("a gateway has no page for a payment", gateway=gateway.name, error=str(error))
            return _page(WORDS[language]["away"], "", language, seller, 503)
        return RedirectResponse(started.url, 303)

    async def back(request: Request) -> Response:
        """What became of it."""
        found = await _read(services, request.query_params.get("payment", ""))
        if found is None:
            return _unknown(services)
        payment, _, language, seller = found
        return _state_page(payment, payment.state, language, seller)

    return [
        Route("/pay/return", back),
        Route("/pay/{payment}", choose),
        Route("/pay/{payment}/{gateway}", go, methods=["POST"]),
    ]


async def _read(services: Services, payment_id: str) -> tuple[Payment, str, Language, Seller] | None:
    async with services.pools.core() as connection:
        payment = await read_payment(connection, payment_id) if payment_id else None
        if payment is None:
            return None
        buyer = await read_buyer(connection, payment.account_id)
        return payment, buyer.party.name, spoken(buyer.language), await read_seller(connection)


def _too_old(services: Services, payment: Payment) -> bool:
    return datetime.now(UTC) - payment.created_at > timedelta(hours=services.settings.payments.link_hours)


def _state_page(payment: Payment, state: PaymentState, language: Language, seller: Seller) -> Response:
    words, said = WORDS[language], SAID[state]
    amount = amount_in_words(payment.amount_minor, payment.currency, language)
    body = _p(words[f"{said}_more"].format(amount=amount))
    if state is PaymentState.FAILED:
        body += f'<p><a href="/pay/{payment.id}">{escape(words["pay"].format(amount=amount))}</a></p>'
    return _page(words[said], body, language, seller, refresh=said == "wait")


def _unknown(services: Services) -> Response:
    language = services.settings.notices.language
    return _page(WORDS[language]["unknown"], "", language, Seller(), 404)


def _page(
    title: str, body: str, language: Language, seller: Seller, status: int = 200, *, refresh: bool = False
) -> Response:
    party = seller.party
    contacts = " · ".join(escape(part) for part in (party.name, party.email, party.phone, party.url) if part)
    foot = f"<footer>{escape(WORDS[language]['contact'])} {contacts}</footer>" if contacts else ""
    again = f'<meta http-equiv="refresh" content="{REFRESH_S}">' if refresh else ""
    text = (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">{again}'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="robots" content="noindex">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{body}</main>{foot}</body></html>"
    )
    policy = POLICY.format(style=_digest(STYLE))
    return HTMLResponse(
        text,
        status,
        {"Content-Security-Policy": policy, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"},
    )


def _digest(style: str) -> str:
    import base64
    import hashlib

    return base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


def _p(text: str) -> str:
    return f"<p>{escape(text)}</p>"

"""Letters as mails and as plain text: headers, a text part, and HTML that loads nothing and runs nothing."""

from __future__ import annotations

import hashlib
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape
from typing import Final

from tracker_server.alerts.letters import InvoiceLetter, decode
from tracker_server.alerts.wording import Wording, worded
from tracker_server.model.address import mailbox
from tracker_server.papers.documents import invoice_pdf
from tracker_server.pipeline.dispatcher import Outgoing

SUBJECT_CHARACTERS_MAX: Final = 200

PAGE: Final = """\
<!doctype html>
<html lang="{language}">
<head><meta charset="utf-8"><title>{subject}</title></head>
<body style="margin:0;padding:24px;font:16px/1.5 sans-serif;color:#1a1a1a;background:#ffffff">
<div style="max-width:40em">
<h1 style="font-size:20px">{subject}</h1>
{body}
</div>
</body>
</html>
"""
PARAGRAPH: Final = "<p>{text}</p>"
ITEM: Final = "<li>{text}</li>"
LIST: Final = "<ul>\n{items}\n</ul>"
PICTURE: Final = (
    '<p><img src="cid:{name}" alt="{text}" width="660" style="max-width:100%;height:auto;border:0"></p>'
)
FOOT: Final = '<p style="font-size:13px;color:#666666">{text}</p>'


def mail_of(
    message: Outgoing, sender: Address, wording: Wording | None = None, picture: bytes | None = None
) -> EmailMessage:
    """A message as a mail; ``wording``: where it was worded already; ``picture``: a PNG that its page shows. Its Message-ID follows from its key, so that one sent twice can be told to be one.
    Raises LetterError.
    """
    letter = decode(message.payload)
    wording = wording or worded(letter)
    mail = _addressed(message, sender, subject_of(wording))
    mail.set_content(text_of(wording))
    name = message_id(f"{message.key}:picture", sender.domain) if picture else ""
    mail.add_alternative(html_of(wording, name[1:-1]), subtype="html")
    if picture:
        page = mail.get_body(("html",))
        assert page is not None
        page.add_related(picture, "image", "png", cid=name, filename="map.png", disposition="inline")
    if isinstance(letter, InvoiceLetter):
        mail.add_attachment(
            invoice_pdf(letter.paper),
            maintype="application",
            subtype="pdf",
            filename=f"{letter.paper.number}.pdf",
        )
    mail["Content-Language"] = wording.language  # last: the parts take over what is there before them
    return mail


def mail_with_file(
    message: Outgoing, sender: Address, subject: str, text: str, file: tuple[bytes, str, str, str]
) -> EmailMessage:
    """A mail in plain text with an attachment: its bytes, media type and subtype, and name."""
    mail = _addressed(message, sender, one_line(subject))
    mail.set_content(text)
    whole, maintype, subtype, name = file
    mail.add_attachment(whole, maintype=maintype, subtype=subtype, filename=name)
    return mail


def _addressed(message: Outgoing, sender: Address, subject: str) -> EmailMessage:
    mail = EmailMessage(policy=SMTP)
    mail["From"] = sender
    mail["To"] = mailbox(message.recipient)
    mail["Subject"] = subject
    mail["Date"] = format_datetime(message.due_at)
    mail["Message-ID"] = message_id(message.key, sender.domain)
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers, please
    mail["X-Auto-Response-Suppress"] = "All"
    return mail


def message_id(key: str, domain: str) -> str:
    """``<digest@domain>``; the key itself may say more than strangers should read."""
    return f"<{hashlib.sha256(key.encode()).hexdigest()[:32]}@{domain}>"


def subject_of(wording: Wording) -> str:
    """The subject as one line of bounded length."""
    return one_line(wording.subject)


def one_line(text: str) -> str:
    """Text as one line of bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= SUBJECT_CHARACTERS_MAX else f"{line[: SUBJECT_CHARACTERS_MAX - 1]}…"


def text_of(wording: Wording) -> str:
    """The letter for people who read plain text."""
    parts = [wording.paragraphs[0]]
    if wording.items:
        parts.append("\n".join(f"- {item}" for item in wording.items))
    parts += wording.paragraphs[1:]
    if wording.foot:
        parts.append(wording.foot)
    return "\n\n".join(parts) + "\n"


def html_of(wording: Wording, picture: str = "") -> str:
    """The letter as a page of its own: nothing in it is fetched from anywhere. ``picture``: the Content-ID of one that
    comes with it.
    """
    first, *others = [PARAGRAPH.format(text=escape(paragraph)) for paragraph in wording.paragraphs]
    parts = [first]
    if wording.items:
        parts.append(LIST.format(items="\n".join(ITEM.format(text=escape(item)) for item in wording.items)))
    parts += others
    if picture:
        parts.append(PICTURE.format(name=escape(picture), text=escape(wording.paragraphs[0])))
    if wording.foot:
        parts.append(FOOT.format(text=escape(wording.foot)))
    return PAGE.format(language=wording.language, subject=escape(subject_of(wording)), body="\n".join(parts))

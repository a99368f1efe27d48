"""SMS by any HTTP gateway: the operator's template, filled in as each place demands."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

from tracker_server.config_alerts import SmsHttp
from tracker_server.pipeline.dispatcher import PermanentError, TemporaryError

if TYPE_CHECKING:
    import httpx

ANSWER_CHARACTERS_MAX: Final = 200  # of an answer in an error
LATER: Final = frozenset({408, 425, 429})
OURS: Final = frozenset({401, 402, 403, 404, 405})  # nobody's message gets through


class HttpGateway:
    """See ``SmsProvider``. One who is told a key twice may drop the second: {key} is the same."""

    at_once = 8

    def __init__(self, settings: SmsHttp, sender: str) -> None:
        self._settings = settings
        self._sender = sender
        self._headers = headers_of(settings.headers)
        self._success = re.compile(settings.success)
        self._client: httpx.AsyncClient | None = None

    def begin(self) -> None:
        """Nothing is kept open."""

    async def ready(self) -> None:
        """It is asked as it is used."""

    async def submit(self, to: str, text: str, key: str) -> tuple[str, ...]:
        """One request. Raises TemporaryError, PermanentError."""
        import httpx

        values = {"to": to, "text": text, "key": key, "from": self._sender}
        kind = next((value for name, value in self._headers if name.lower() == "content-type"), "")
        url = filled(self._settings.url, values, lambda value: quote(value, safe=""))
        body = filled(self._settings.body, values, written_for(kind)).encode()
        try:
            answer = await self._http().request(
                self._settings.method, url, headers=self._headers, content=body or None
            )
        except httpx.TimeoutException as error:
            raise TemporaryError(
                f"the gateway did not answer within {self._settings.timeout_s:g} s"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise TemporaryError(
                f"the gateway cannot be reached: {type(error).__name__}", down=True
            ) from error
        return self._read(answer.status_code, answer.text)

    def _read(self, status: int, text: str) -> tuple[str, ...]:
        said = f"{status} {' '.join(text[:ANSWER_CHARACTERS_MAX].split())}".strip()
        if status in OURS:
            raise TemporaryError(f"the gateway refuses us: {said}", down=True)
        if status >= 500 or status in LATER:
            raise TemporaryError(f"the gateway says later: {said}")
        if not 200 <= status < 300:
            raise PermanentError(f"the gateway refuses the message: {said}")
        found = self._success.search(text)
        if found is None:
            raise PermanentError(f"the answer is not what sms.http.success asks for: {said}")
        name = found.groupdict().get("id")
        return (name,) if name and " " not in name else ()

    def _http(self) -> httpx.AsyncClient:
        import httpx  # heavy; who sends no SMS need not load it

        if self._client is None:
            self._client = httpx.AsyncClient(timeout=self._settings.timeout_s, follow_redirects=False)
        return self._client

    async def close(self) -> None:
        """Let go of connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None


def filled(template: str, values: dict[str, str], write: Callable[[str], str]) -> str:
    """A template with its places filled; what is filled in is not looked at again."""
    return re.sub(r"\{(to|text|key|from)\}", lambda place: write(values[place[1]]), template)


def written_for(kind: str) -> Callable[[str], str]:
    """How a value is written in a body of that content type."""
    if "json" in kind:
        return lambda value: json.dumps(value)[1:-1]
    if "xml" in kind:
        return lambda value: escape(value, {'"': "&quot;"})
    if "x-www-form-urlencoded" in kind:
        return quote_plus
    return lambda value: value


def headers_of(lines: str) -> list[tuple[str, str]]:
    """``Name: value``, one a line."""
    pairs = (line.partition(":") for line in lines.splitlines() if ":" in line)
    return [(name.strip(), value.strip()) for name, _, value in pairs]

"""An OpenID Connect provider as we need it: where it lets people in, and what it says of who came back.

Authorization code with PKCE (RFC 7636), the ID token held to signature, issuer, audience, time and nonce (OpenID Connect
Core §3.1.3.7). What a sign-in has to remember meanwhile is with the browser, sealed by a key made of the client's secret, so
any process of ours can take up what another began.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from tracker_server.config import Settings
from tracker_server.config_people import OpenId

STARTED_S_MAX: Final = 600.0  # to sign in there and come back
KNOWN_S: Final = 3_600.0  # its addresses and keys are asked for again after that
ANSWER_S_MAX: Final = 10.0
ANSWER_BYTES_MAX: Final = 262_144
ALGORITHMS: Final = ("RS256", "PS256", "ES256", "ES384", "EdDSA")
CLOCKS_DIFFER_S: Final = 60


class OpenIdError(Exception):
    """It does not answer, or what it says cannot be believed. The message is for people and holds no secret."""


class Started(Struct, frozen=True):
    """A sign-in on its way. ``verifier``: of PKCE."""

    state: str
    nonce: str
    verifier: str
    at: float


class Addresses(Struct, frozen=True):
    """What the provider publishes of itself, as much of it as is needed."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str


class Provider:
    """One, as the settings name it. ``callback``: where it sends people back to."""

    def __init__(self, settings: OpenId, callback: str) -> None:
        self._settings = settings
        self._callback = callback
        self._key = hashlib.sha256(b"openid sign-in\0" + settings.client_secret.encode()).digest()
        self._known: tuple[float, Addresses] | None = None
        self._keys: tuple[float, dict[str, Any]] | None = None

    # ------------------------------------------------------------------ what is remembered

    def sealed(self, started: Started) -> str:
        """For a cookie."""
        text = base64.urlsafe_b64encode(msgspec.json.encode(started))
        return f"{text.decode()}.{self._mac(text)}"

    def opened(self, cookie: str, state: str, now: float) -> Started:
        """What was begun in this browser. Raises OpenIdError where that is not what comes back."""
        text, _, mac = cookie.partition(".")
        if not hmac.compare_digest(mac.encode(), self._mac(text.encode()).encode()):
            raise OpenIdError("this sign-in was not begun in this browser; begin it again")
        started = msgspec.json.decode(base64.urlsafe_b64decode(text), type=Started)
        if not hmac.compare_digest(started.state.encode(), state.encode()):
            raise OpenIdError("this sign-in was not begun in this browser; begin it again")
        if not 0 <= now - started.at <= STARTED_S_MAX:
            raise OpenIdError("this sign-in took too long; begin it again")
        return started

    def _mac(self, text: bytes) -> str:
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()

    # ------------------------------------------------------------------ the way there and back

    async def begin(self, now: float) -> tuple[str, Started]:
        """Where to send somebody, and what to remember. Raises OpenIdError."""
        addresses = await self._addresses()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        started = Started(state, nonce, verifier, now)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(started.verifier.encode()).digest()).rstrip(b"=")
        query = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._callback,
            "scope": "openid email",
            "state": started.state,
            "nonce": started.nonce,
            "code_challenge": challenge.decode(),
            "code_challenge_method": "S256",
        }
        joint = "&" if "?" in addresses.authorization_endpoint else "?"
        return f"{addresses.authorization_endpoint}{joint}{urlencode(query)}", started

    async def finish(self, code: str, started: Started) -> str:
        """The verified e-mail address of who came back. Raises OpenIdError."""
        addresses = await self._addresses()
        told = await self._ask(
            addresses.token_endpoint,
            {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": self._callback,
                "client_id": self._settings.client_id,
                "client_secret": self._settings.client_secret,
                "code_verifier": started.verifier,
            },
        )
        token = told.get("id_token")
        if not isinstance(token, str):
            raise OpenIdError("the provider gave no ID token")
        return email_of(await self._claims(token, addresses), started.nonce)

    async def _claims(self, token: str, addresses: Addresses) -> dict[str, Any]:
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        claims_of = jwt.JWTClaimsRegistry(
            leeway=CLOCKS_DIFFER_S,
            iss={"essential": True, "value": addresses.issuer},
            aud={"essential": True, "value": self._settings.client_id},
            exp={"essential": True},
            sub={"essential": True},
        )
        for fresh in (False, True):  # a key that is not known may be a new one
            keys = await self._key_set(addresses, fresh=fresh)
            try:
                decoded = jwt.decode(token, KeySet.import_key_set(keys), algorithms=list(ALGORITHMS))  # pyright: ignore[reportArgumentType]
                claims_of.validate(decoded.claims)
            except (JoseError, ValueError) as error:
                if fresh:
                    raise OpenIdError(f"the provider's ID token is not to be believed: {error}") from None
            else:
                return decoded.claims
        raise AssertionError

    # ------------------------------------------------------------------ asking

    async def _addresses(self) -> Addresses:
        if self._known and time.monotonic() - self._known[0] < KNOWN_S:
            return self._known[1]
        issuer = self._settings.issuer
        told = await self._ask(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        try:
            found = msgspec.convert(told, Addresses)
        except msgspec.ValidationError as error:
            raise OpenIdError(f"the provider's description cannot be read: {error}") from None
        if found.issuer != issuer:
            raise OpenIdError(f"the provider names itself {found.issuer[:200]!r}; set openid.issuer to that")
        self._known = time.monotonic(), found
        return found

    async def _key_set(self, addresses: Addresses, *, fresh: bool) -> dict[str, Any]:
        if fresh or self._keys is None or time.monotonic() - self._keys[0] > KNOWN_S:
            self._keys = time.monotonic(), await self._ask(addresses.jwks_uri)
        return self._keys[1]

    async def _ask(self, url: str, form: dict[str, str] | None = None) -> dict[str, Any]:
        import httpx

        try:
            async with httpx.AsyncClient(timeout=ANSWER_S_MAX, follow_redirects=False) as client:
                headers = {"Accept": "application/json"}
                if form is None:
                    answer = await client.get(url, headers=headers)
                else:
                    answer = await client.post(url, data=form, headers=headers)
            if answer.status_code != 200 or len(answer.content) > ANSWER_BYTES_MAX:
                raise OpenIdError(
                    f"the provider answers {answer.status_code}; try again, or sign in by password"
                )
            return msgspec.json.decode(answer.content, type=dict[str, Any])
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise OpenIdError(f"the provider does not answer ({type(error).__name__}); try again") from None
        except msgspec.MsgspecError:
            raise OpenIdError("the provider answers something that is no JSON object") from None


def provider_of(settings: Settings) -> Provider | None:
    """As the settings say; None: there is none."""
    if not settings.openid.issuer:
        return None
    return Provider(settings.openid, f"{settings.api.base}/api/session/openid/callback")


def email_of(claims: dict[str, Any], nonce: str) -> str:
    """Of claims whose signature fits. Raises OpenIdError."""
    if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
        raise OpenIdError("the provider's ID token belongs to another sign-in; begin again")
    email = claims.get("email")
    if not isinstance(email, str) or not email:
        raise OpenIdError("the provider tells no e-mail address; let it tell the claim email")
    if claims.get("email_verified") is not True:
        raise OpenIdError(f"the provider has not verified {email[:254]}; let it tell email_verified")
    return email

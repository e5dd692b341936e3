"""Signing in by an OpenID provider: the way there, the way back, and what goes wrong between the two.

The authorization code flow with PKCE. What belongs to one sign-in (state, nonce, verifier, where to go on to) is in a
signed cookie of the browser that began it, for ten minutes; its state is used up in the database before the code is.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog
from flask import Flask, Response, current_app, request
from itsdangerous import BadSignature, URLSafeTimedSerializer

from signoff.errors import ConfigurationError, Forbidden, NotFound, SignoffError, Unavailable
from signoff.identity import Principal
from signoff.settings import Settings
from signoff.store.provider_identities import sign_in_from_provider, use_sign_in
from signoff_api.context import wiring
from signoff_api.inbox.oidc_claims import described, role_map
from signoff_api.inbox.oidc_fetch import is_safe
from signoff_api.inbox.pages import Pages, see_other
from signoff_api.inbox.sign_in import refused, signed_in

if TYPE_CHECKING:
    from signoff_api.inbox.oidc_provider import Provider

COOKIE = "__Host-signoff_oidc"
"""With this prefix no other host of the domain can plant one."""

CALLBACK = "/sign-in/oidc/callback"
LASTS = timedelta(minutes=10)
MAX_CODE = 4_096
MAX_COOKIE = 3_800
_EXTENSION = "signoff_oidc"
_REFUSALS = {
    "access_denied": "The provider did not let you in, or you did not agree.",
    "login_required": "The provider wants you to sign in there first.",
    "interaction_required": "The provider wants you to sign in there first.",
    "consent_required": "The provider wants you to agree first.",
    "temporarily_unavailable": "The provider can't sign anybody in at the moment.",
    "server_error": "The provider can't sign anybody in at the moment.",
}
"""What we say for the errors of RFC 6749 and OpenID Connect; what the provider says itself is not shown."""

pages = Pages()
_log = structlog.get_logger("signoff.inbox")


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """One sign-in that is under way."""

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    target: str
    """Where to go on to, as the browser asked: `signed_in` goes to pages of ours alone."""


def install(app: Flask, settings: Settings) -> None:
    """Give `app` its provider, if the settings name one. Raises ConfigurationError naming the bad variable."""
    if not settings.oidc_issuer:
        return
    wanted = {
        "SIGNOFF_OIDC_CLIENT_ID": settings.oidc_client_id,
        "SIGNOFF_OIDC_CLIENT_SECRET": settings.oidc_client_secret and settings.oidc_client_secret.get_secret_value(),
        "SIGNOFF_PUBLIC_URL": settings.public_url,
    }
    for name, value in wanted.items():
        if not value:
            raise ConfigurationError(f"{name} is not set", fix="SIGNOFF_OIDC_ISSUER needs it; or leave that empty")
    for name, url in (("SIGNOFF_OIDC_ISSUER", settings.oidc_issuer), ("SIGNOFF_PUBLIC_URL", settings.public_url or "")):
        if not is_safe(url) or urlsplit(url).query or urlsplit(url).fragment:
            raise ConfigurationError(f"{name} is not an https URL", fix="https://host, without a query")
    if "openid" not in settings.oidc_scopes:
        raise ConfigurationError("SIGNOFF_OIDC_SCOPES lacks openid", fix="openid,profile,email")
    try:
        role_map(settings.oidc_roles)
    except ValueError as error:
        raise ConfigurationError(f"SIGNOFF_OIDC_ROLES: {error}") from error
    try:
        # An extra: who signs in by keys and links alone need not have it.
        from signoff_api.inbox.oidc_provider import Provider, Registration
    except ImportError as error:
        raise ConfigurationError("SIGNOFF_OIDC_ISSUER needs Authlib", fix="pip install 'signoff[oidc]'") from error
    app.extensions[_EXTENSION] = Provider(
        Registration(
            issuer=settings.oidc_issuer,
            client_id=str(wanted["SIGNOFF_OIDC_CLIENT_ID"]),
            client_secret=str(wanted["SIGNOFF_OIDC_CLIENT_SECRET"]),
            redirect_uri=f"{str(settings.public_url).rstrip('/')}{CALLBACK}",
            scopes=settings.oidc_scopes,
            algorithms=settings.oidc_algorithms,
            seconds=settings.oidc_timeout_seconds,
        )
    )


@pages.route("GET", "/sign-in/oidc", public=True)
def begin_with_provider() -> Response:
    """Send the browser to the provider. Changes nothing but a cookie."""
    begun = Begun(
        state=secrets.token_urlsafe(32),
        nonce=secrets.token_urlsafe(32),
        verifier=secrets.token_urlsafe(48),
        target=request.args.get("next", ""),
    )
    provider = _provider()
    try:
        url = provider.authorization_url(state=begun.state, nonce=begun.nonce, verifier=begun.verifier)
    except SignoffError as error:
        return refused(error)
    sealed = _seal(begun)
    if len(sealed) > MAX_COOKIE:
        sealed = _seal(Begun(state=begun.state, nonce=begun.nonce, verifier=begun.verifier, target=""))
    response = see_other(url)
    response.set_cookie(
        COOKIE, sealed, max_age=int(LASTS.total_seconds()), path="/", secure=True, httponly=True, samesite="Lax"
    )
    return response


@pages.route("GET", CALLBACK, public=True)
def end_with_provider() -> Response:
    """The provider sends the browser back: with a code, or with why not."""
    _provider()
    try:
        begun = _begun()
    except SignoffError as error:
        return refused(error)
    try:
        response = signed_in(_finish(begun), None, begun.target, started_with="provider")
    except SignoffError as error:
        response = refused(error, begun.target)
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="Lax")
    return response


def _begun() -> Begun:
    """The sign-in that this browser has begun and the provider answers. Raises Forbidden."""
    begun = _unseal(request.cookies.get(COOKIE, ""))
    given = request.args.get("state", "")
    if begun is None or not hmac.compare_digest(given.encode(), begun.state.encode()):
        raise Forbidden(
            "this sign-in was not begun in this browser, or more than ten minutes ago", code="state", fix="begin again"
        )
    return begun


def _finish(begun: Begun) -> Principal:
    parts, provider = wiring(), _provider()
    database, settings = parts.engine.database, parts.settings
    # A cookie is good for LASTS from when it was signed, so its state need not be remembered for longer.
    if not use_sign_in(database, begun.state, lasts=LASTS):
        raise Forbidden("this sign-in has been used", code="state", fix="begin again")
    provider.check_sender(request.args.get("iss"))
    _check_error()
    code = request.args.get("code", "")
    if not 0 < len(code) <= MAX_CODE or not code.isascii() or not code.isprintable():
        raise Forbidden("the provider's answer has no code", fix="begin again")
    claims = provider.claims(code, verifier=begun.verifier, nonce=begun.nonce)
    known = described(claims, settings, issuer=provider.registration.issuer)
    return sign_in_from_provider(database, known, create=settings.oidc_create_people)


def _check_error() -> None:
    error = request.args.get("error")
    if error is None:
        return
    _log.warning("sign_in_refused", why="the provider says so", error=error[:40] if error in _REFUSALS else "other")
    said = _REFUSALS.get(error, "The provider did not sign you in.")
    if error in ("temporarily_unavailable", "server_error"):
        raise Unavailable(said, fix="try again in a moment")
    raise Forbidden(said, fix="begin again, or sign in with a key")


def _provider() -> Provider:
    found: Provider | None = current_app.extensions.get(_EXTENSION)
    if found is None:
        raise NotFound("nobody signs in by a provider here")
    return found


def _serializer() -> URLSafeTimedSerializer:
    # Every process of every host has this secret, and nobody else but the provider, which could sign in anybody.
    secret: str = _provider().registration.client_secret
    return URLSafeTimedSerializer(secret, salt="signoff sign-in", signer_kwargs={"digest_method": hashlib.sha256})


def _seal(begun: Begun) -> str:
    sealed = _serializer().dumps([begun.state, begun.nonce, begun.verifier, begun.target])
    return sealed if isinstance(sealed, str) else sealed.decode()


def _unseal(sealed: str) -> Begun | None:
    if len(sealed) > MAX_COOKIE:
        return None
    try:
        state, nonce, verifier, target = _serializer().loads(sealed, max_age=int(LASTS.total_seconds()))
    except BadSignature:
        return None
    return Begun(state=state, nonce=nonce, verifier=verifier, target=target)

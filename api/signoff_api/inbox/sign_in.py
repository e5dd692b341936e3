"""Signing in and out: by a password, an API key, or a link that works once. By a provider it is `oidc`."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from urllib.parse import urlsplit

from flask import Response, request

from signoff.errors import Forbidden, InvalidInput, SignoffError, TooManyAttempts, Unavailable
from signoff.identity import Principal, StartedWith
from signoff.store.database import Cursor
from signoff.store.identity import authenticate
from signoff.store.passwords import is_still_right, prove
from signoff.store.sessions import (
    end_session,
    peek_sign_in_link,
    session_principal,
    start_session,
    use_sign_in_link,
)
from signoff_api import problems
from signoff_api.context import wiring
from signoff_api.inbox.pages import (
    SESSION_COOKIE,
    THEMES,
    Pages,
    Visit,
    check_csrf,
    csrf_token,
    own_path,
    render,
    see_other,
)

FORM_COOKIE = "signoff_sign_in"
"""Ties the sign-in form to the browser it was shown in: nobody can be signed in as somebody else unawares."""

MAX_KEY = 200

pages = Pages()


@pages.route("GET", "/", public=True)
def start() -> Response:
    """The way in."""
    return see_other("/inbox")


@pages.route("GET", "/sign-in", public=True)
def show_sign_in() -> Response:
    """The forms for a password and for an API key."""
    return _form()


@pages.route("POST", "/sign-in", public=True)
def sign_in() -> Response:
    """Start a session with an API key."""
    _check_form()
    parts = wiring()
    key = request.form.get("key", "").strip()
    principal = authenticate(parts.engine.database, key) if len(key) <= MAX_KEY else None
    if principal is None:
        return _form(401, problem="This key is not known, or it has been revoked or has expired.")
    if principal.kind != "user":
        return _form(403, problem=f"{principal.name} is a {principal.kind}. The inbox is for people.")
    return signed_in(principal, key, request.form.get("next"))


@pages.route("POST", "/sign-in/password", public=True)
def sign_in_by_password() -> Response:
    """Start a session with a name and a password."""
    _check_form()
    parts = wiring()
    name = request.form.get("name", "").strip().casefold()[:MAX_KEY]
    try:
        proof = prove(parts.engine.database, name, request.form.get("password", ""), address=client_address())
    except (TooManyAttempts, Unavailable) as error:
        return refused(error)
    if proof is None:
        return _form(401, problem="This name and this password do not belong together.", typed=name)
    return signed_in(
        proof.principal,
        None,
        request.form.get("next"),
        started_with="password",
        only_if=lambda cursor: is_still_right(cursor, proof),
    )


@pages.route("GET", "/sign-in/{token}", public=True)
def show_sign_in_link(token: str) -> Response:
    """Ask whether to sign in; looking at the link uses nothing up, whoever follows it."""
    principal = peek_sign_in_link(wiring().engine.database, token)
    if principal is None:
        return _form(404, problem="This sign-in link has been used, or it has expired.")
    return _form(link=token, name=principal.name)


@pages.route("POST", "/sign-in/{token}", public=True)
def sign_in_by_link(token: str) -> Response:
    """Start a session with a link, which is used up by it."""
    _check_form()
    principal = use_sign_in_link(wiring().engine.database, token)
    if principal is None:
        return _form(404, problem="This sign-in link has been used, or it has expired.")
    return signed_in(principal, None, request.form.get("next"), started_with="link")


@pages.route("POST", "/sign-out")
def sign_out(visit: Visit) -> Response:
    """End this session."""
    end_session(visit.engine.database, visit.token)
    response = see_other("/sign-in")
    response.delete_cookie(SESSION_COOKIE, path="/", secure=True, httponly=True, samesite="Lax")
    return response


@pages.route("POST", "/theme")
def choose_theme(visit: Visit) -> Response:  # noqa: ARG001  # who has signed in is all that matters
    """Keep the choice of light or dark in the browser."""
    chosen = request.form.get("theme", "")
    if chosen not in THEMES:
        raise InvalidInput(f"there is no theme {chosen[:20]!a}", fix=f"one of {', '.join(THEMES)}")
    response = see_other(own_path(request.form.get("back"), "/inbox"))
    response.set_cookie("signoff_theme", chosen, max_age=31_536_000, path="/", secure=True, samesite="Lax")
    return response


def refused(error: SignoffError, target: str = "") -> Response:
    """The form once more, with why a sign-in came to nothing."""
    status = problems.kind_of(error).status
    said = error.detail[:1].upper() + error.detail[1:].removesuffix(".")
    fix = f" {error.fix[:1].upper()}{error.fix[1:]}." if error.fix else ""
    response = _form(status, problem=f"{said}.{fix}", target=target)
    if status == 503:
        response.headers["Retry-After"] = str(problems.RETRY_AFTER_SECONDS)
    if isinstance(error, TooManyAttempts):
        response.headers["Retry-After"] = str(error.wait_seconds)
    return response


def signed_in(
    principal: Principal,
    key: str | None,
    target: str | None,
    *,
    started_with: StartedWith | None = None,
    only_if: Callable[[Cursor], bool] | None = None,
) -> Response:
    """Start a session of this person, and go on to `target` if it is a page of ours."""
    parts = wiring()
    # Whatever session this browser had ends here: a token that was there before never becomes somebody's.
    old = request.cookies.get(SESSION_COOKIE, "")
    if session_principal(parts.engine.database, old) is not None:
        end_session(parts.engine.database, old)
    hours = parts.settings.session_hours
    agent = request.headers.get("User-Agent", "")
    token = start_session(
        parts.engine.database,
        principal,
        hours=hours,
        user_agent=agent,
        key=key,
        started_with=started_with,
        only_if=only_if,
    )
    response = see_other(own_path(target, "/inbox"))
    response.set_cookie(
        SESSION_COOKIE, token, max_age=round(hours * 3600), path="/", secure=True, httponly=True, samesite="Lax"
    )
    response.delete_cookie(FORM_COOKIE, path="/sign-in", secure=True, httponly=True, samesite="Strict")
    return response


def client_address() -> str | None:
    """Where the request comes from, as far as that is known: behind proxies by what those that are ours say."""
    behind = wiring().settings.trusted_proxies
    if behind == 0:
        return request.remote_addr
    # Each proxy adds at the end whom it talks to; what is further in front anybody may have written.
    hops = [hop.strip() for hop in ",".join(request.headers.getlist("X-Forwarded-For")).split(",")]
    return (hops[-behind] if len(hops) >= behind else "") or request.remote_addr


def _check_form() -> None:
    cookie = request.cookies.get(FORM_COOKIE, "")
    if not cookie:
        raise Forbidden(
            "the form came without its cookie", code="csrf", fix="allow cookies for this site, and sign in again"
        )
    check_csrf(cookie)


def _form(
    status: int = 200,
    *,
    problem: str | None = None,
    link: str | None = None,
    name: str | None = None,
    target: str | None = None,
    typed: str = "",
) -> Response:
    cookie = request.cookies.get(FORM_COOKIE, "")
    if len(cookie) != 43:
        cookie = secrets.token_urlsafe(32)
    issuer = wiring().settings.oidc_issuer
    response = render(
        "sign_in.html",
        None,
        status,
        title="Sign in",
        csrf_value=csrf_token(cookie),
        problem=problem,
        link=link,
        name=name,
        typed=typed,
        target=own_path(request.values.get("next") if target is None else target, ""),
        provider=urlsplit(issuer).hostname if issuer else None,
    )
    response.set_cookie(
        FORM_COOKIE, cookie, max_age=3600, path="/sign-in", secure=True, httponly=True, samesite="Strict"
    )
    return response

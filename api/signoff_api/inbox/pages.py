"""The frame of the pages: routes behind a session, forms that carry a token, errors as pages.

A page is declared once with its method and path. Whatever is not `public` is reached only with a session, and every
POST only with the token of that session: both are checked here and nowhere else.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, get_type_hints
from urllib.parse import quote, urlsplit
from uuid import UUID

import structlog
from flask import Blueprint, Response, g, redirect, render_template, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from signoff.errors import Forbidden, NotFound, SignoffError, Unauthenticated
from signoff.identity import Principal
from signoff.ids import parse_id
from signoff.settings import Settings
from signoff.store.sessions import session_principal, touch_session
from signoff_api import problems
from signoff_api.context import wiring
from signoff_api.inbox.keys import REGISTRY

if TYPE_CHECKING:
    from signoff.engine import Engine

SESSION_COOKIE = "signoff_session"
CSRF_FIELD = "csrf"
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
)
MAX_FORM_PARTS = 1_000
THEMES = ("system", "light", "dark")

Method: TypeAlias = Literal["GET", "POST"]
View: TypeAlias = Callable[..., Response]
V = TypeVar("V", bound=View)

_PLACE = re.compile(r"\{(\w+)\}")
_log = structlog.get_logger("signoff.inbox")


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request of somebody who has signed in. `key` names the entry of the navigation that is current."""

    engine: Engine
    settings: Settings
    principal: Principal
    token: str = field(repr=False)
    key: str

    @property
    def csrf(self) -> str:
        """What the forms of this session carry."""
        return csrf_token(self.token)


Admit: TypeAlias = Callable[[str], Visit]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One verb on one path."""

    method: Method
    path: str
    view: View
    key: str
    public: bool
    admit: Admit | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """The pages of one feature."""

    declared: list[Page] = field(default_factory=list)

    def route(
        self, method: Method, path: str, *, key: str = "", public: bool = False, admit: Admit | None = None
    ) -> Callable[[V], V]:
        """Declare the decorated view. It is handed `visit` (unless it is public) and the places of the path.

        `admit` finds out who visits where a session is not the only way in; it holds POSTs to a token of its own.
        """

        def declare(view: V) -> V:
            self.declared.append(Page(method=method, path=path, view=view, key=key, public=public, admit=admit))
            return view

        return declare


def mount(blueprint: Blueprint, *features: Pages) -> None:
    """Let `blueprint` serve these features."""
    for pages in features:
        for page in pages.declared:
            blueprint.add_url_rule(
                _PLACE.sub(r"<\1>", page.path),
                endpoint=page.view.__name__,
                view_func=_handler(page),
                methods=[page.method],
            )
    blueprint.register_error_handler(Unauthenticated, _sign_in_first)
    blueprint.register_error_handler(SignoffError, _refused)
    blueprint.register_error_handler(HTTPException, _http_error)
    blueprint.register_error_handler(Exception, _bug)
    blueprint.after_request(_protect)


def csrf_token(token: str) -> str:
    """The token of the forms that belong to this cookie; it tells nothing of the cookie itself."""
    return hmac.new(token.encode(), b"forms", hashlib.sha256).hexdigest()


def check_csrf(token: str) -> None:
    """Raise Forbidden unless the form was made by a page of ours for whoever holds this cookie."""
    given = request.form.get(CSRF_FIELD, "")
    # A browser says where a request comes from; one that does not is held to the token alone.
    from_elsewhere = request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none")
    if from_elsewhere or not hmac.compare_digest(given.encode(), csrf_token(token).encode()):
        raise Forbidden(
            "the form is not one of this session", code="csrf", fix="reload the page and send the form again"
        )


def render(template: str, visit: Visit | None, status: int = 200, **values: Any) -> Response:
    """A page, or a piece of one."""
    g.csrf = visit.csrf if visit is not None else values.get("csrf_value", "")
    body = render_template(template, visit=visit, keys=REGISTRY, theme=theme(), **values)
    return Response(body, status, content_type="text/html; charset=utf-8")


def theme() -> str:
    """How the reader wants the pages: a choice that is kept in their browser."""
    found = request.cookies.get("signoff_theme", "system")
    return found if found in THEMES else "system"


def see_other(target: str) -> Response:
    """Go on to `target` by GET, so that a reload repeats nothing."""
    return Response(status=303, headers={"Location": target})


def own_path(target: str | None, default: str) -> str:
    """`target` if it is a path of ours, else `default`: nobody is sent elsewhere by a link to us."""
    if not target or not target.startswith("/") or target.startswith("//") or "\\" in target or len(target) > 2_000:
        return default
    if not target.isprintable() or urlsplit(target).netloc:
        return default
    return target


def is_fragment() -> bool:
    """Whether htmx asks for a piece of the page."""
    return request.headers.get("HX-Request") == "true" and request.headers.get("HX-Boosted") != "true"


def _handler(page: Page) -> Callable[..., Response]:
    hints = get_type_hints(page.view)

    def handle(**places: str) -> Response:
        request.max_form_parts = MAX_FORM_PARTS
        request.max_form_memory_size = request.max_content_length = wiring().settings.max_request_bytes
        arguments: dict[str, Any] = {}
        if not page.public:
            arguments["visit"] = (page.admit or visit_of_session)(page.key)
        for name, text in places.items():
            arguments[name] = _place(hints[name], text)
        return page.view(**arguments)

    return handle


def visit_of_session(key: str) -> Visit:
    """Whoever has signed in. Raises Unauthenticated, and Forbidden for a form that is not of their session."""
    parts = wiring()
    token = request.cookies.get(SESSION_COOKIE, "")
    principal = session_principal(parts.engine.database, token)
    if principal is None:
        raise Unauthenticated("your session has ended", fix="sign in again")
    g.principal = principal.name
    visit = Visit(engine=parts.engine, settings=parts.settings, principal=principal, token=token, key=key)
    if request.method == "POST":
        check_csrf(token)
        touch_session(parts.engine.database, token)
    g.visit = visit
    return visit


def _place(kind: type, text: str) -> UUID | str:
    if kind is not UUID:
        return text
    found = parse_id(text)
    if found is None:
        raise NotFound("there is nothing at this address")
    return found


def _sign_in_first(error: Unauthenticated) -> Response:
    if request.headers.get("HX-Request") == "true":
        return Response(status=401, headers={"HX-Redirect": "/sign-in"})
    if request.method == "GET":
        back = request.full_path.rstrip("?") if request.path != "/" else ""
        response = redirect("/sign-in" + (f"?next={quote(back, safe='')}" if back else ""), 303)
        assert isinstance(response, Response)
        return response
    return _problem(problems.to_problem(error) | {"title": "Sign in again"})


def _refused(error: SignoffError) -> Response:
    problem = problems.to_problem(error)
    if problem["status"] >= 500:
        problem["reference"] = g.get("request_id")
        _log.warning("page_failed", reference=problem["reference"], detail=error.detail, cause=repr(error.__cause__))
    response = _problem(problem)
    if problem["status"] == 503:
        response.headers["Retry-After"] = str(problems.RETRY_AFTER_SECONDS)
    return response


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    if status >= 500:
        return _bug(error)
    too_large = isinstance(error, RequestEntityTooLarge)
    title = {404: "There is nothing here", 405: "This page takes no such request", 413: "That is too much"}
    detail = "what was sent is larger than this server reads" if too_large else (error.description or "")
    response = _problem({"status": status, "title": title.get(status, "That did not work"), "detail": detail})
    for name, value in error.get_headers():
        if name.lower() == "allow":
            response.headers[name] = value
    return response


def _bug(error: Exception) -> Response:
    _log.error("internal error", reference=g.get("request_id"), exc_info=error)
    detail = "This is not your doing. What you typed is kept in this browser; try again, or tell us the reference."
    problem = {"status": 500, "title": "Something broke", "detail": detail, "reference": g.get("request_id")}
    return _problem(problem)


def _problem(problem: dict[str, Any]) -> Response:
    visit: Visit | None = g.get("visit")
    template = "problem_fragment.html" if is_fragment() else "problem.html"
    return render(template, visit, problem["status"], title=problem["title"], problem=problem, typed=_typed())


def _typed() -> str:
    """The words of a form that did not go through. Of a form that others may have made nothing is shown."""
    token = request.cookies.get(SESSION_COOKIE, "")
    if request.method != "POST" or not token:
        return ""
    try:
        check_csrf(token)
    except (Forbidden, HTTPException):
        return ""
    return next((text for text in map(request.form.get, ("note", "text", "reason")) if text), "")


def _protect(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return response

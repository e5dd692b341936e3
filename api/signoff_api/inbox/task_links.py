"""Links into one human task: a page that shows what will be decided, and a form that decides it, once.

The token stands in one address, which answers with a cookie and a clean address at once: no page that is shown has it
in its own, so no `Referer` and no history does. The cookie alone opens nothing: its bearer has to be signed in as the
person the link was made for or, where `SIGNOFF_TASK_LINK_CONFIRM` is `possession`, to be the first browser that went on
with it. Whatever is read here changes nothing.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from flask import Response, g, request

from signoff.engine import DecisionRequest
from signoff.errors import Conflict, FieldError, Forbidden, InvalidInput, NotFound, SignoffError, StaleView
from signoff.identity import Authentication
from signoff.model import TaskState
from signoff.store.sessions import session_principal
from signoff.store.task_links import TaskLink, bind_link, find_link, is_held_by
from signoff_api import problems
from signoff_api.context import wiring
from signoff_api.inbox import review_view
from signoff_api.inbox.deciding import typed_form
from signoff_api.inbox.pages import (
    SESSION_COOKIE,
    Pages,
    Visit,
    check_csrf,
    render,
    see_other,
    visit_of_session,
)
from signoff_api.inbox.review import Loaded, load
from signoff_api.inbox.review_view import REASONS, Typed

SURFACE = "link"
LINK_COOKIE = "signoff_link"
BROWSER_COOKIE = "signoff_link_browser"
"""What the first browser holds that went on with a link by possession."""

COOKIE_SECONDS = 3_600
_OPTION = re.compile(r"[a-z0-9_-]{1,64}")

pages = Pages()


def bearer(key: str) -> Visit:
    """Who visits by a link: the session's person or, by possession and without a session, the link's.

    Raises Unauthenticated, NotFound, and Forbidden for a form that was not made for this browser.
    """
    parts = wiring()
    session = request.cookies.get(SESSION_COOKIE, "")
    if parts.settings.task_link_confirm == "session" or session_principal(parts.engine.database, session) is not None:
        return visit_of_session(key)
    token = request.cookies.get(LINK_COOKIE, "")
    link = find_link(parts.engine.database, token)
    if link is None:
        raise _unknown()
    g.principal = link.person.name
    held = request.cookies.get(BROWSER_COOKIE, "")
    token = held if is_held_by(link, held) else token
    if request.method == "POST":
        check_csrf(token)
    person = replace(link.person, authentication=Authentication(method="link", id=str(link.id)))
    return Visit(engine=parts.engine, settings=parts.settings, principal=person, token=token, key=key)


@pages.route("GET", "/l/{token}", public=True)
def follow_link(token: str) -> Response:
    """Where a link leads: to its page, whose address has no token. Changes nothing but a cookie."""
    link = find_link(wiring().engine.database, token)
    if link is None:
        raise _unknown()
    path = f"/links/{link.id}"
    wanted = request.args.get("decision", "")
    query = f"?{urlencode({'decision': wanted})}" if _OPTION.fullmatch(wanted) else ""
    response = see_other(path + query)
    response.set_cookie(
        LINK_COOKIE, token, max_age=_seconds_left(link), path=path, secure=True, httponly=True, samesite="Lax"
    )
    return response


@pages.route("GET", "/links/{link_id}", key="inbox", admit=bearer)
def show_link(visit: Visit, link_id: UUID) -> Response:
    """What will be decided, and the form that decides it. `decision` chooses an option and decides nothing."""
    link = _own_link(visit, link_id)
    if _by_possession(visit) and link.browser_hash is None:
        return _first_page(visit, link)
    _expect_held(visit, link)
    wanted = request.args.get("decision", "")
    return _page(visit, link, load(visit, link.human_task_id), Typed(decision=wanted[:64]))


@pages.route("POST", "/links/{link_id}/open", key="inbox", admit=bearer)
def open_link(visit: Visit, link_id: UUID) -> Response:
    """Go on with a link in this browser; from now on it opens nothing in any other."""
    link = _own_link(visit, link_id)
    wanted = request.form.get("decision", "")
    response = see_other(f"/links/{link_id}" + (f"?decision={wanted}" if _OPTION.fullmatch(wanted) else ""))
    if not _by_possession(visit) or is_held_by(link, request.cookies.get(BROWSER_COOKIE, "")):
        return response
    held = bind_link(visit.engine.database, link_id)
    if held is None:
        raise _elsewhere()
    response.set_cookie(
        BROWSER_COOKIE,
        held,
        max_age=_seconds_left(link),
        path=f"/links/{link_id}",
        secure=True,
        httponly=True,
        samesite="Lax",
    )
    return response


@pages.route("POST", "/links/{link_id}/decide", key="inbox", admit=bearer)
def decide_by_link(visit: Visit, link_id: UUID) -> Response:
    """Record the decision and use the link up, both or neither."""
    link = _own_link(visit, link_id)
    _expect_held(visit, link)
    loaded, typed = load(visit, link.human_task_id), typed_form()
    patch, errors = review_view.patch_typed(loaded.view, typed)
    if errors:
        return _again(visit, link, typed, InvalidInput(errors=errors))
    said = DecisionRequest(
        decision=typed.decision,
        note=typed.note.strip() or None,
        reason=typed.reason.strip() or None,
        patch=patch,
        payload_sha256=typed.seen_sha256 or None,
        surface=SURFACE,
    )
    try:
        visit.engine.decide_by_link(link, said, by=visit.principal)
    except (InvalidInput, StaleView, Conflict, Forbidden) as error:
        return _again(visit, link, typed, error)
    return see_other(f"/links/{link_id}")


def _own_link(visit: Visit, link_id: UUID) -> TaskLink:
    """The link that this browser followed, when it was made for whoever visits. Raises NotFound, Forbidden."""
    link = find_link(visit.engine.database, request.cookies.get(LINK_COOKIE, ""))
    if link is None or link.id != link_id:
        raise _unknown()
    if link.person.id != visit.principal.id:
        raise Forbidden(
            "this link was made for somebody else, and it does not pass on what they may do",
            code="link_of_another",
            fix="sign out and in as the person it was sent to, or find the human task in your own inbox",
        )
    return link


def _by_possession(visit: Visit) -> bool:
    known_by = visit.principal.authentication
    return known_by is not None and known_by.method == "link"


def _expect_held(visit: Visit, link: TaskLink) -> None:
    if _by_possession(visit) and not is_held_by(link, request.cookies.get(BROWSER_COOKIE, "")):
        raise _elsewhere()


def _elsewhere() -> Forbidden:
    return Forbidden(
        "this link was opened in another browser, and opens nothing here",
        code="link_elsewhere",
        fix="go on in that browser, or sign in",
    )


def _unknown() -> NotFound:
    return NotFound("this link is not known here, or no longer", fix="open it from the message again, or sign in")


def _seconds_left(link: TaskLink) -> int:
    """How long its cookies last; of one that is no longer good for a while, so that its page can say so."""
    left = (link.expires_at - datetime.now(UTC)).total_seconds() if link.state == "good" else 0
    return max(round(left), COOKIE_SECONDS)


def _first_page(visit: Visit, link: TaskLink) -> Response:
    """Asks whether to go on in this browser, and shows nothing of the human task to whatever follows links."""
    if link.state != "good":
        raise Conflict("this link has expired or was revoked", code="link_spent", fix="sign in, or ask for another")
    wanted = request.args.get("decision", "")
    return render(
        "task_link_first.html",
        None,
        title="A decision is wanted",
        csrf_value=visit.csrf,
        link=link,
        wanted=wanted if _OPTION.fullmatch(wanted) else "",
    )


def _again(visit: Visit, link: TaskLink, typed: Typed, error: SignoffError) -> Response:
    """The page with what is there now, why it did not go through, and all that was typed."""
    problem = problems.to_problem(error)
    errors = error.errors if isinstance(error, InvalidInput) else ()
    found = find_link(visit.engine.database, request.cookies.get(LINK_COOKIE, "")) or link
    if isinstance(error, StaleView):
        # What they chose, they chose for what is no longer there.
        typed = replace(typed, decision="", seen_sha256="")
    loaded = load(visit, link.human_task_id)
    return _page(visit, found, loaded, typed, status=problem["status"], errors=tuple(errors), problem=problem)


def _page(
    visit: Visit,
    link: TaskLink,
    loaded: Loaded,
    typed: Typed,
    *,
    status: int = 200,
    errors: tuple[FieldError, ...] = (),
    problem: dict[str, Any] | None = None,
) -> Response:
    view, row = loaded.view, loaded.view.row
    form = review_view.extra_form(view, typed)
    refusal = review_view.refusal(view, visit.principal, datetime.now(UTC))
    told = [said for said in view.decisions if not said.withdrawn]
    own = [said for said in told if said.by["id"] == str(visit.principal.id)]
    spent = link.state != "good"
    # Nothing is edited here, so nothing can bring it within their limit of authority.
    over = loaded.standing if loaded.standing is not None and not loaded.standing.within else None
    # Whoever only has the link reads by it no longer than they may decide by it.
    shows = not (spent and _by_possession(visit))
    return render(
        "task_link.html",
        None if _by_possession(visit) else visit,
        status,
        title=(row.title or row.gate) if shows else "A decision",
        csrf_value=visit.csrf,
        shows=shows,
        task=row,
        gate=view.gate,
        link=link,
        person=visit.principal,
        signed_in=not _by_possession(visit),
        can_decide=row.state == TaskState.OPEN and refusal is None and not spent,
        refusal=refusal,
        over=over,
        barred=view.limited_options if over is not None else (),
        own=own[-1] if own else None,
        last=told[-1] if told and row.pending in (None, told[-1].decision) else None,
        choices=review_view.choices(view, typed),
        draft=review_view.draft(view, Typed(), ()),
        evidence=review_view.evidence(view),
        form=form,
        typed=typed,
        reasons=REASONS,
        wrong=review_view.errors_by_field(errors, {each.name for each in form}),
        problem=problem,
    )

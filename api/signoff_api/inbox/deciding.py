"""What a person does on the Review screen: decide, take back, claim, release, assign, comment.

Nothing is decided by one press. Without a script, the first goes to `confirm`, which shows the same page armed and
records nothing; the second goes to `decide`. Whatever does not go through is shown with all that was typed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

from flask import Response, request

from signoff.engine import DecisionRequest
from signoff.errors import Conflict, FieldError, Forbidden, InvalidInput, SignoffError, StaleView
from signoff.model import TaskState
from signoff_api import problems
from signoff_api.inbox import review_view
from signoff_api.inbox.fields import line_ends
from signoff_api.inbox.lists import ListQuery, read_list_query
from signoff_api.inbox.pages import Pages, Visit, own_path, see_other
from signoff_api.inbox.review import load, next_after, review_page
from signoff_api.inbox.review_view import Typed

SURFACE = "inbox"
MAX_READING_MS = 24 * 3600 * 1000
MAX_FIELD = 262_144
_DIGITS = re.compile("[0-9]{1,12}")

pages = Pages()


@pages.route("POST", "/inbox/{human_task_id}/confirm", key="inbox")
def confirm(visit: Visit, human_task_id: UUID) -> Response:
    """Arm a decision: show what it will do and ask once more. Records nothing."""
    loaded, typed = load(visit, human_task_id), typed_form()
    armed = typed.decision if typed.decision in loaded.view.gate.options else ""
    return review_page(visit, loaded, _query(), typed=typed, armed=armed)


@pages.route("POST", "/inbox/{human_task_id}/resume", key="inbox")
def resume(visit: Visit, human_task_id: UUID) -> Response:
    """Go on with what was typed, and with the revision that the reader says they have seen. Records nothing."""
    loaded, typed = load(visit, human_task_id), typed_form()
    kept = review_view.touched(typed, loaded.view, loaded.shown)
    # The revision is named: one that has come since is not what was acknowledged.
    seen = request.form.get("acknowledged", "")[:64] or typed.seen_sha256
    return review_page(visit, loaded, _query(), typed=replace(kept, decision="", seen_sha256=seen))


@pages.route("POST", "/inbox/{human_task_id}/decide", key="inbox")
def decide(visit: Visit, human_task_id: UUID) -> Response:
    """Record the decision, and go on to the next human task."""
    typed, query = typed_form(), _query()
    loaded = load(visit, human_task_id)
    patch, errors = review_view.patch_typed(loaded.view, typed)
    row = loaded.view.row
    if errors and row.state == TaskState.OPEN and typed.seen_sha256 not in ("", row.payload_sha256):
        # What was typed was typed for another revision: that comes first.
        return _again(visit, human_task_id, query, typed, StaleView(current={"revision": row.revision}))
    if errors:
        return _again(visit, human_task_id, query, typed, InvalidInput(errors=errors))
    following = next_after(visit, human_task_id, query)
    said = DecisionRequest(
        decision=typed.decision,
        note=typed.note.strip() or None,
        reason=typed.reason.strip() or None,
        patch=patch,
        payload_sha256=typed.seen_sha256 or None,
        surface=SURFACE,
        on_behalf_of=request.form.get("on_behalf_of", "").strip()[:200] or None,
        reading_ms=typed.reading_ms,
    )
    try:
        visit.engine.decide(human_task_id, said, by=visit.principal)
    except (InvalidInput, StaleView, Conflict, Forbidden) as error:
        return _again(visit, human_task_id, query, typed, error)
    path = f"/inbox/{following}" if following is not None and query.view != "done" else "/inbox"
    return see_other(query.link(path, done=str(human_task_id)))


@pages.route("POST", "/inbox/{human_task_id}/withdraw", key="inbox")
def withdraw(visit: Visit, human_task_id: UUID) -> Response:
    """Take one's own decision back while its grace runs."""
    return _act(visit, human_task_id, lambda: visit.engine.withdraw(human_task_id, by=visit.principal))


@pages.route("POST", "/inbox/{human_task_id}/claim", key="inbox")
def claim(visit: Visit, human_task_id: UUID) -> Response:
    """Claim it for oneself, or hold on to it for longer."""
    return _act(visit, human_task_id, lambda: visit.engine.claim(human_task_id, by=visit.principal))


@pages.route("POST", "/inbox/{human_task_id}/keep", key="inbox")
def keep_claim(visit: Visit, human_task_id: UUID) -> Response:
    """Let one's claim last longer, while the page is open and used."""
    held = visit.engine.keep_claim(human_task_id, by=visit.principal)
    return Response(status=204 if held else 409)


@pages.route("POST", "/inbox/{human_task_id}/release", key="inbox")
def release(visit: Visit, human_task_id: UUID) -> Response:
    """Give it back."""
    return _act(visit, human_task_id, lambda: visit.engine.release(human_task_id, by=visit.principal))


@pages.route("POST", "/inbox/{human_task_id}/assign", key="inbox")
def assign(visit: Visit, human_task_id: UUID) -> Response:
    """Hand it to another candidate."""
    assignee = request.form.get("assignee", "").strip()[:200]
    if not assignee:
        raise InvalidInput(errors=[FieldError(path="/assignee", message="choose somebody")])
    return _act(visit, human_task_id, lambda: visit.engine.assign(human_task_id, assignee=assignee, by=visit.principal))


@pages.route("POST", "/inbox/{human_task_id}/comment", key="inbox")
def comment(visit: Visit, human_task_id: UUID) -> Response:
    """Add a comment to the log."""
    text = line_ends(request.form.get("text", "")).strip()
    typed = Typed(fields={"comment": text})
    try:
        visit.engine.comment(human_task_id, text=text, by=visit.principal)
    except InvalidInput as error:
        return _again(visit, human_task_id, _query(), typed, error)
    return _back(human_task_id)


def _act(visit: Visit, human_task_id: UUID, do: Callable[[], None]) -> Response:
    try:
        do()
    except (Conflict, Forbidden, InvalidInput) as error:
        return _again(visit, human_task_id, _query(), Typed(), error)
    return _back(human_task_id)


def _back(human_task_id: UUID) -> Response:
    target = own_path(request.form.get("back"), "")
    return see_other(target or _query().link(f"/inbox/{human_task_id}"))


def _again(visit: Visit, human_task_id: UUID, query: ListQuery, typed: Typed, error: SignoffError) -> Response:
    """The screen with what is there now, why it did not go through, and all that was typed."""
    problem = problems.to_problem(error)
    errors = error.errors if isinstance(error, InvalidInput) else ()
    loaded = load(visit, human_task_id)
    over = loaded.view.row.state != TaskState.OPEN
    shown = None if isinstance(error, StaleView) or (over and isinstance(error, Conflict)) else problem
    return review_page(visit, loaded, query, status=problem["status"], typed=typed, errors=tuple(errors), problem=shown)


def _query() -> ListQuery:
    return read_list_query(request.form)


def typed_form() -> Typed:
    """What the form holds. Lengths are held down here; what it means is checked by the engine."""
    form = request.form
    fields = {name: value[:MAX_FIELD] for name, value in form.items() if name.startswith("edit.")}
    reading = form.get("reading_ms", "")
    return Typed(
        # A page that has armed one option sends its name before that of the button that was pressed now.
        decision=["", *form.getlist("decision")][-1][:100],
        note=line_ends(form.get("note", "")),
        reason=form.get("reason", ""),
        fields=fields,
        seen_sha256=form.get("payload_sha256", "")[:64],
        reading_ms=min(int(reading), MAX_READING_MS) if _DIGITS.fullmatch(reading) else None,
    )

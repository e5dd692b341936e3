"""One's own account: who one is here, what one may do, being away, and changing the password."""

from __future__ import annotations

from uuid import UUID

from flask import Response, request

from signoff.errors import Conflict, FieldError, Forbidden, InvalidInput, SignoffError, TooManyAttempts, Unavailable
from signoff.passwords import MAX_LENGTH, MIN_LENGTH
from signoff.store.passwords import change_password, has_password
from signoff_api import problems
from signoff_api.inbox import away
from signoff_api.inbox.pages import Pages, Visit, render, see_other
from signoff_api.inbox.sign_in import client_address

pages = Pages()


@pages.route("GET", "/account", key="account")
def show_account(visit: Visit) -> Response:
    """Who has signed in, who stands in for whom, and the form for another password."""
    return _page(visit, changed=request.args.get("changed", ""))


@pages.route("POST", "/account/password", key="account")
def change_own_password(visit: Visit) -> Response:
    """Change the password, and end all other sessions of this person."""
    try:
        _change(visit)
    except (InvalidInput, Forbidden, TooManyAttempts, Unavailable) as error:
        return _page(visit, problem=error)
    return see_other("/account?changed=password")


@pages.route("POST", "/account/away", key="account")
def be_away(visit: Visit) -> Response:
    """Say that one is away, and who decides meanwhile: what `POST /delegations` does."""
    try:
        visit.engine.delegate(away.asked(request.form), by=visit.principal)
    except (InvalidInput, Conflict) as error:
        return _page(visit, typed=away.refused(request.form, error), status=problems.kind_of(error).status)
    return see_other("/account?changed=away")


@pages.route("POST", "/account/away/{delegation_id}/end", key="account")
def be_back(visit: Visit, delegation_id: UUID) -> Response:
    """End an absence or a delegation of one's own now."""
    visit.engine.end_delegation(delegation_id, by=visit.principal)
    return see_other("/account?changed=back")


def _change(visit: Visit) -> None:
    new = request.form.get("new", "")
    if new != request.form.get("again", ""):
        raise InvalidInput(errors=[FieldError(path="/again", message="the two new passwords differ")])
    known_by = visit.principal.authentication
    assert known_by is not None  # a visit is one of a session
    change_password(
        visit.engine.database,
        visit.principal,
        current=request.form.get("current", ""),
        new=new,
        session_id=UUID(known_by.id),
        address=client_address(),
    )


def _page(
    visit: Visit,
    *,
    problem: SignoffError | None = None,
    changed: str = "",
    typed: away.Typed | None = None,
    status: int = 200,
) -> Response:
    response = render(
        "account.html",
        visit,
        status if problem is None else problems.kind_of(problem).status,
        title="Account",
        problem=problem,
        away=away.shown(visit, typed),
        changed=changed,
        grants=sorted((grant.workflow, grant.role) for grant in visit.principal.grants),
        has_password=has_password(visit.engine.database, visit.principal),
        shortest=MIN_LENGTH,
        longest=MAX_LENGTH,
    )
    if isinstance(problem, TooManyAttempts):
        response.headers["Retry-After"] = str(problem.wait_seconds)
    return response

"""Putting a human task off for oneself, and bringing it back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from flask import Response, request

from signoff.errors import FieldError, InvalidInput
from signoff_api.inbox.lists import read_list_query
from signoff_api.inbox.pages import Pages, Visit, see_other
from signoff_api.inbox.review import SNOOZE_HOURS, load, next_after

pages = Pages()


@pages.route("POST", "/inbox/{human_task_id}/snooze", key="inbox")
def snooze(visit: Visit, human_task_id: UUID) -> Response:
    """Leave it out of one's own lists for a while, and go on to the next; never beyond when it is due."""
    row = load(visit, human_task_id).view.row
    chosen = request.form.get("hours", "")
    if chosen not in SNOOZE_HOURS:
        raise InvalidInput(errors=[FieldError(path="/hours", message="choose for how long")])
    until = datetime.now(UTC) + timedelta(hours=int(chosen))
    query = read_list_query(request.args)
    following = next_after(visit, human_task_id, query)
    visit.engine.snooze(human_task_id, until=min(until, row.due_at or until), by=visit.principal)
    return see_other(query.link("/inbox" if following in (None, human_task_id) else f"/inbox/{following}"))


@pages.route("POST", "/inbox/{human_task_id}/unsnooze", key="inbox")
def unsnooze(visit: Visit, human_task_id: UUID) -> Response:
    """Bring it back."""
    visit.engine.unsnooze(human_task_id, by=visit.principal)
    return see_other(f"/inbox/{human_task_id}")

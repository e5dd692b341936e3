"""Links into one human task for one person: making them, and deciding by one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from signoff.authorization import Action, authorize
from signoff.engine import deciding
from signoff.engine.core import Core, Locked
from signoff.engine.deciding import Decided
from signoff.errors import Conflict, Forbidden, InvalidInput, NotFound
from signoff.identity import Principal
from signoff.model import TaskState, format_time
from signoff.store.database import Cursor
from signoff.store.identity import find_principal
from signoff.store.queries_human_tasks import get_human_task
from signoff.store.task_links import TaskLink, add_link, use_link
from signoff.transitions.decisions import DecisionRequest

SURFACE = "link"


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A link that was made: its token, which is seen this once, and its path on the pages."""

    token: str
    person: Principal

    @property
    def path(self) -> str:
        return f"/l/{self.token}"


def issue(core: Core, human_task_id: UUID, person: str, *, lasts: timedelta | None = None) -> Issued:
    with core.database.transaction() as cursor:
        found = find_principal(cursor, person)
        if found is None or found.kind != "user":
            raise NotFound(f"there is no person {person!r} who may sign in")
        view = get_human_task(cursor, core.versions, human_task_id, detail=False)
        # A link that would be refused when it is used is not sent to anybody; using it asks again.
        authorize(found, Action.DECIDE, view.facts)
        if view.row.state != TaskState.OPEN:
            raise Conflict(f"the human task is already {view.row.state}", code="already_decided")
        lasts = lasts or timedelta(hours=core.settings.task_link_hours)
        token = add_link(cursor, human_task_id, found, lasts=lasts)
    return Issued(token=token, person=found)


def task_link(core: Core, human_task_id: UUID, person: str) -> str | None:
    if core.settings.public_url is None:
        return None
    try:
        made = issue(core, human_task_id, person)
    except (Conflict, Forbidden, InvalidInput, NotFound):
        return None
    return core.settings.public_url.rstrip("/") + made.path


def decide_by_link(core: Core, link: TaskLink, request: DecisionRequest, *, by: Principal) -> Decided:
    return deciding.decide(core, link.human_task_id, request, by=by, look=_using(link, by))


def _using(link: TaskLink, by: Principal) -> deciding.LookAtDecided:
    """Use the link up where the decision is recorded; where it can't be, nothing is recorded."""

    def look(cursor: Cursor, decided: Decided, _locked: Locked) -> None:
        if not use_link(cursor, link, human_task_id=decided.human_task_id, person=by, decision_id=decided.decision_id):
            at = "" if link.used_at is None else f" at {format_time(link.used_at)}"
            raise Conflict(
                f"this link has been used{at}, has expired or was revoked",
                code="link_spent",
                fix="sign in and open the human task in the inbox",
            )

    return look

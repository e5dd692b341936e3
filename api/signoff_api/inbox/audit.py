"""Audit: who decided what, the log of a run with its hashes, and whether it is as it was written."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from urllib.parse import urlencode
from uuid import UUID

from flask import Response, request

from signoff.authorization import Action, Reach, authorize_list
from signoff.canonical import sha256_hex
from signoff.engine import Engine
from signoff.engine.verification import Fault, Verification
from signoff.errors import InvalidInput, NotFound
from signoff.model import SOMEBODY
from signoff.store.blindness import Withheld, withheld_from
from signoff.store.evidence import UNREADABLE, in_one_snapshot
from signoff.store.queries import Page
from signoff.store.queries_audit_log import (
    Checkable,
    DecisionEntry,
    DecisionFilter,
    list_decisions,
    log_length,
    newest_runs,
)
from signoff.store.queries_human_task_views import HumanTaskRow, HumanTaskView
from signoff.store.queries_human_tasks import get_human_task, human_tasks_of_run
from signoff.store.queries_runs import EventView, RunView, get_run, list_events
from signoff_api.answers import MEDIA_TYPE
from signoff_api.audit import evidence_pack, may_audit
from signoff_api.inbox import arguments
from signoff_api.inbox.pages import Pages, Visit, render
from signoff_api.inbox.runs import cut_json

DECISIONS_SHOWN = 50
EVENTS_SHOWN = 100
CHECKED_AT_ONCE = 500
"""Runs that one check goes through at most."""
CHECK_SECONDS = 4.0
"""No run is begun later than this in a check; the one at work is short."""
CHECK_EVENTS = 5_000
"""Longer logs are verified on their own page alone."""
VERIFIED_UNASKED = 20_000
"""Events up to which a run's own page verifies it without being asked."""
FAULTS_SHOWN = 50

VERIFIER = Path(__file__).with_name("verify_audit.py")

pages = Pages()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEvent:
    """An event of the log as its page shows it; `withheld` is what a blind gate still keeps from the visitor."""

    view: EventView
    withheld: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What can be read of a run. Where somebody has changed what was written, it may be less than there should be."""

    length: int
    run: RunView | None
    definition_sha256: str | None
    tasks: tuple[tuple[HumanTaskRow, bool], ...]
    events: tuple[LoggedEvent, ...]
    later: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What one check went through: from the newest run to the oldest. `rest` is where the next one begins."""

    runs: int
    events: int
    faults: tuple[Fault, ...]
    too_long: tuple[Checkable, ...]
    newest: datetime | None
    oldest: datetime | None
    rest: UUID | None
    seconds: float
    anchored_at: datetime | None


@pages.route("GET", "/audit", key="audit")
def show_audit(visit: Visit) -> Response:
    """The decisions, newest first."""
    shown = authorize_list(visit.principal, Action.READ_AUDIT)
    found: Page[DecisionEntry] = Page(items=(), next_cursor=None)
    problem: InvalidInput | None = None
    withheld = Withheld()
    try:
        chosen = _filter()
        found = list_decisions(visit.engine.database, shown, chosen, limit=DECISIONS_SHOWN, cursor=arguments.cursor())
        withheld = _withheld(visit, found.items)
        found = replace(
            found, items=tuple(_told(item, withheld) for item in found.items if _may_find(item, chosen, withheld))
        )
    except InvalidInput as error:
        problem = error
    kept = [(name, value) for name, value in request.args.items(multi=True) if name != "cursor" and value]
    return render(
        "audit.html",
        visit,
        422 if problem is not None else 200,
        title="Audit",
        decisions=found.items,
        withheld=withheld.decisions,
        problem=problem,
        filtered=bool(kept),
        asked=request.args,
        next_page=f"/audit?{urlencode([*kept, ('cursor', found.next_cursor)])}" if found.next_cursor else None,
        first_page=f"/audit?{urlencode(kept)}" if request.args.get("cursor") else None,
    )


@pages.route("GET", "/audit/check", key="audit")
def show_check(visit: Visit) -> Response:
    """Verify the newest runs of a period, as many as a few seconds allow."""
    shown = authorize_list(visit.principal, Action.READ_AUDIT)
    since, until = arguments.day("since"), arguments.day("until", plus=1)
    checked = check(visit.engine, shown, since=since, until=until, before=arguments.run_id("before"))
    kept = [(name, request.args[name]) for name in ("since", "until") if request.args.get(name)]
    rest = f"/audit/check?{urlencode([*kept, ('before', str(checked.rest))])}" if checked.rest else None
    return render(
        "audit_check.html",
        visit,
        title="Verification",
        checked=checked,
        rest=rest,
        asked=request.args,
        check_events=CHECK_EVENTS,
    )


@pages.route("GET", "/audit/{run_id}", key="audit")
def show_audit_of_run(visit: Visit, run_id: UUID) -> Response:
    """The log of a run with its hashes, and whether they hold."""
    may_audit(visit.engine, run_id, visit.principal)
    after = arguments.number("after")
    known = _read(visit, run_id, after)
    # Once it is asked for it is done however long it takes; a page that only shows must not.
    wanted = known.length <= VERIFIED_UNASKED or bool(request.args.get("verify"))
    found = visit.engine.verify(run_id) if wanted else None
    return render(
        "audit_run.html",
        visit,
        title=f"Audit of run {run_id}",
        run_id=run_id,
        known=known,
        found=found,
        after=after,
        cut_json=cut_json,
    )


@pages.route("GET", "/audit/{run_id}/export", key="audit")
def export_audit_of_run(visit: Visit, run_id: UUID) -> Response:
    """The evidence pack, as a file: byte for byte what the API answers."""
    may_audit(visit.engine, run_id, visit.principal)
    response = Response(evidence_pack(visit.engine, run_id, visit.principal), content_type=MEDIA_TYPE)
    response.headers["Content-Disposition"] = f'attachment; filename="signoff-audit-{run_id}.json"'
    return response


@pages.route("GET", "/audit/verify_audit.py", key="audit")
def read_verifier(visit: Visit) -> Response:
    """The program that verifies an evidence pack anywhere."""
    authorize_list(visit.principal, Action.READ_AUDIT)
    response = Response(VERIFIER.read_bytes(), content_type="text/x-python; charset=utf-8")
    response.headers["Content-Disposition"] = 'attachment; filename="verify_audit.py"'
    return response


def check(
    engine: Engine, shown: Reach, *, since: datetime | None, until: datetime | None, before: UUID | None
) -> Checked:
    """Verify runs started in a period, newest first, behind the run `before`, until the time or the runs end."""
    began = time.monotonic()
    with engine.database.autocommit() as cursor:
        found = newest_runs(cursor, shown, since=since, until=until, before=before, limit=CHECKED_AT_ONCE + 1)
    seen: list[Checkable] = []
    done: list[Verification] = []
    too_long: list[Checkable] = []
    for run in found[:CHECKED_AT_ONCE]:
        if seen and time.monotonic() - began >= CHECK_SECONDS:
            break
        seen.append(run)
        if run.events > CHECK_EVENTS:
            too_long.append(run)
            continue
        verified = _verified(engine, run.id)
        done += [verified] if verified is not None else []
    # What is wrong with the file of anchors is told once, not of every run.
    faults = list(dict.fromkeys(verified.first_bad for verified in done if verified.first_bad is not None))
    return Checked(
        runs=len(done),
        events=sum(verified.events for verified in done),
        faults=tuple(faults[:FAULTS_SHOWN]),
        too_long=tuple(too_long),
        newest=seen[0].created_at if seen else None,
        oldest=seen[-1].created_at if seen else None,
        rest=seen[-1].id if len(seen) < len(found) else None,
        seconds=time.monotonic() - began,
        anchored_at=next((verified.anchored_at for verified in done if verified.anchored_at is not None), None),
    )


def _read(visit: Visit, run_id: UUID, after: int) -> Known:
    """The run's log and what belongs to it, of one moment."""
    versions = visit.engine.core.versions
    run: RunView | None = None
    definition: str | None = None
    tasks: tuple[HumanTaskView, ...] = ()
    with visit.engine.database.transaction() as cursor:
        in_one_snapshot(cursor)
        length = log_length(cursor, run_id)
        # The badge says what is wrong with a run that can't be read; this page must still be there to show it.
        with suppress(NotFound, *UNREADABLE):
            run, _ = get_run(cursor, run_id)
            definition = versions.graph(cursor, run.workflow, run.version).sha256
            tasks = human_tasks_of_run(cursor, versions, run_id)
        page = list_events(cursor, run_id, after=after, limit=EVENTS_SHOWN)
    withheld = withheld_from(tasks, visit.principal)
    return Known(
        length=length,
        run=run,
        definition_sha256=definition,
        tasks=tuple((task.row, _hash_holds(task.row)) for task in tasks),
        events=tuple(_logged(event, withheld) for event in page.items),
        later=page.next_cursor,
    )


def _logged(event: EventView, withheld: Withheld) -> LoggedEvent:
    known = withheld.known(event)
    return LoggedEvent(view=known, withheld=known is not event)


def _hash_holds(task: HumanTaskRow) -> bool:
    try:
        return sha256_hex(task.payload) == task.payload_sha256
    except ValueError:
        return False


def _verified(engine: Engine, run_id: UUID) -> Verification | None:
    """What the verification finds; None for a run that has been deleted meanwhile."""
    try:
        return engine.verify(run_id)
    except NotFound:
        return None


def _filter() -> DecisionFilter:
    return DecisionFilter(
        person=arguments.text("person"),
        workflow=arguments.text("workflow"),
        decision=arguments.text("decision"),
        since=arguments.day("since"),
        until=arguments.day("until", plus=1),
    )


def _withheld(visit: Visit, found: Iterable[DecisionEntry]) -> Withheld:
    """The decisions on this page that a blind gate still keeps from the visitor."""
    asked = dict.fromkeys(item.human_task_id for item in found if item.state == "open")
    with visit.engine.database.autocommit() as cursor:
        views = [get_human_task(cursor, visit.engine.core.versions, task, detail=False) for task in asked]
    return withheld_from(views, visit.principal)


def _may_find(item: DecisionEntry, chosen: DecisionFilter, withheld: Withheld) -> bool:
    """Whether a search may find it: being found by what was said, or by who edited, would say it."""
    if str(item.id) not in withheld.decisions:
        return True
    return chosen.decision is None and (chosen.person is None or not _edited(item, withheld))


def _told(item: DecisionEntry, withheld: Withheld) -> DecisionEntry:
    return replace(item, by=SOMEBODY.to_json()) if _edited(item, withheld) else item


def _edited(item: DecisionEntry, withheld: Withheld) -> bool:
    return str(item.id) in withheld.decisions and withheld.edited(item.human_task_id, item.by["id"])

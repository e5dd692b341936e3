"""Insights: how one gate was decided in some period, and what another threshold would have done."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import Response

from signoff.authorization import Action, Reach, authorize_list
from signoff.errors import NotFound
from signoff.insights.intervals import Spread
from signoff.insights.whatif import MIN_LABELS, WhatIf
from signoff.store.queries_insights import Bounds, GateName, Period, list_gates
from signoff_api.inbox import arguments, charts, insights_words
from signoff_api.inbox.insights_csv import PARTS, csv_text
from signoff_api.inbox.insights_report import Question, Report, report_on
from signoff_api.inbox.pages import Pages, Visit, render

pages = Pages()

PERIODS = ("7", "30", "90", "dates")
DEFAULT_PERIOD = "30"
MAX_DAYS = 366
MAX_EDITS = 12
_MAX_GATE = 140
_MAX_THRESHOLD = 40


@pages.route("GET", "/insights", key="insights")
def show_insights(visit: Visit) -> Response:
    """One gate in one period."""
    shown = authorize_list(visit.principal, Action.READ_INSIGHTS)
    gates = list_gates(visit.engine.database, visit.engine.core.versions, shown)
    asked = _question(gates, shown)
    values: dict[str, Any] = {"gates": gates, "asked": asked, "periods": PERIODS, **_typed()}
    if asked is None:
        return render("insights.html", visit, title="Insights", report=None, **values)
    report = report_on(visit.engine, asked)
    # A threshold that is none is shown at its field, with everything else as it is.
    status = 422 if report.replay.refused else 200
    return render(
        "insights.html",
        visit,
        status,
        title=f"Insights: {asked.gate}",
        report=report,
        charts=_charts(report),
        say=insights_words,
        swatch=charts.swatch,
        bounds=Bounds(),
        max_edits=MAX_EDITS,
        min_labels=MIN_LABELS,
        links={part: _csv_link(asked, part) for part in PARTS},
        **values,
    )


@pages.route("GET", "/insights.csv", key="insights")
def download_insights(visit: Visit) -> Response:
    """One table of the page as CSV."""
    shown = authorize_list(visit.principal, Action.READ_INSIGHTS)
    part = arguments.choice("part", tuple(PARTS))
    if part is None:
        raise arguments.refused("part", "it is missing", f"one of {', '.join(PARTS)}")
    asked = _question(list_gates(visit.engine.database, visit.engine.core.versions, shown), shown)
    if asked is None:
        raise arguments.refused("gate", "there is no gate yet", "deploy a workflow with a gate first")
    report = report_on(visit.engine, asked)
    if part == "whatif" and report.replay.found is None:
        why = report.replay.refused or report.replay.unfit or "it is missing"
        raise arguments.refused("threshold", why, "a number such as 0.7")
    name = f"{asked.workflow}-{asked.gate}-{part}.csv"
    return Response(
        csv_text(PARTS[part](report)),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _question(gates: tuple[GateName, ...], shown: Reach) -> Question | None:
    """What the address asks; the first gate without one, None where there are no gates. Raises InvalidInput.

    A gate of a workflow that the visitor may not see is as one that is not there.
    """
    period = _period()
    named = arguments.text("gate", longest=_MAX_GATE)
    if named is None:
        if not gates:
            return None
        workflow, gate = gates[0].workflow, gates[0].gate
    else:
        workflow, slash, gate = named.partition("/")
        if not slash:
            raise arguments.refused("gate", "this names no gate", "write workflow/gate, such as refund/approve")
    if shown is not None and workflow not in shown:
        raise NotFound("there is no such gate, or none that you may see")
    typed = arguments.text("threshold", longest=_MAX_THRESHOLD) or ""
    return Question(workflow=workflow, gate=gate, period=period, threshold=typed)


def _period() -> Period:
    chosen = arguments.choice("period", PERIODS) or DEFAULT_PERIOD
    if chosen != "dates":
        return Period(days=int(chosen))
    first, last = arguments.day("from"), arguments.day("to")
    if first is None or last is None:
        missing = "from" if first is None else "to"
        raise arguments.refused(missing, "both days are needed", "write it as 2026-03-31")
    if last < first:
        raise arguments.refused("to", "it is before the first day", "a day that is not before it")
    if (last - first).days >= MAX_DAYS:
        raise arguments.refused("from", f"these are more than {MAX_DAYS} days", "a shorter period")
    return Period(first=first.date(), last=last.date())


def _typed() -> dict[str, str]:
    """The form as it was sent."""
    return {
        "period": arguments.choice("period", PERIODS) or DEFAULT_PERIOD,
        "first_day": arguments.text("from", longest=10) or "",
        "last_day": arguments.text("to", longest=10) or "",
        "threshold": arguments.text("threshold", longest=_MAX_THRESHOLD) or "",
    }


def _csv_link(asked: Question, part: str) -> str:
    period = asked.period
    named = {"gate": f"{asked.workflow}/{asked.gate}"}
    if period.days is not None:
        named["period"] = str(period.days)
    else:
        named |= {"period": "dates", "from": str(period.first), "to": str(period.last)}
    if part == "whatif":
        named["threshold"] = asked.threshold
    return "/insights.csv?" + urlencode(named | {"part": part})


def _charts(report: Report) -> dict[str, Any]:
    drawn: dict[str, Any] = {"shares": _share_chart(report)}
    if report.buckets is not None and report.buckets.rows:
        drawn["buckets"] = charts.columns(
            report.buckets.rows,
            f"Share approved in {len(report.buckets.rows)} steps of {report.node.score}, with 95 % intervals",
        )
    times = report.times
    rows = [
        _range("All of it", times.total),
        _range("Waiting until somebody began to read", times.waiting),
        _range("Reading", times.reading),
    ]
    drawn["times"] = charts.ranges(
        [row for row in rows if row is not None], "Time to decision, median and 95th percentile"
    )
    drawn["edits"] = charts.counts(report.edits[:MAX_EDITS], "How often each field was edited")
    if report.replay.found is not None:
        drawn["whatif"] = _whatif_chart(report, report.replay.found)
    return drawn


def _range(name: str, spread: Spread) -> charts.Range | None:
    if spread.p50 is None or spread.p95 is None:
        return None
    half, most = insights_words.took(spread.p50), insights_words.took(spread.p95)
    return charts.Range(name=name, p50=spread.p50, p95=spread.p95, says=f"half within {half}, 95 % within {most}")


def _share_chart(report: Report) -> Any:
    shares = report.shares
    parts = [
        charts.Part(fill="people", name="people", count=shares.people.count),
        charts.Part(fill="policy", name="policy", count=shares.policy.count),
        charts.Part(fill="timeout", name="timeout", count=shares.timeout.count),
    ]
    said = ", ".join(
        f"{part.name} {insights_words.per_cent(part.count / shares.total)}" for part in parts if shares.total
    )
    caption = insights_words.plural(shares.total, "decided run")
    return charts.stacks([charts.Stack(caption=caption, parts=parts)], f"Who decided: {said or 'nobody'}", "by")


def _whatif_chart(report: Report, found: WhatIf) -> Any:
    def bar(when: str, reviewed: int) -> charts.Stack:
        share = insights_words.per_cent(reviewed / found.runs if found.runs else None)
        parts = [
            charts.Part(fill="people", name="people", count=reviewed),
            charts.Part(fill="policy", name="policy", count=found.runs - reviewed),
        ]
        return charts.Stack(caption=f"{when}: {share} to a person", parts=parts)

    bars = [bar(f"At {report.replay.now}", found.did), bar(f"At {report.replay.then}", found.would)]
    return charts.stacks(bars, f"Runs that go to a person: {found.did} as it was, {found.would} then", "if")

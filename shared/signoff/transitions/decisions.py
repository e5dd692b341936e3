"""Admission of a decision: who said what of which bytes, whether it may stand, and what the gate concludes from it.

Who may decide at all is `signoff.authorization`; here it is settled that the person saw what is there now, that the
gate is still undecided, and that what they say has the form the gate asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from signoff.authority import Limit, expect_lent, expect_within
from signoff.canonical import Json, sha256_hex
from signoff.definition.graph import GateNode, Goto, Graph, goes_on
from signoff.definition.policy import rules_for
from signoff.errors import Conflict, PreconditionRequired, StaleView
from signoff.model import (
    OUTCOMES,
    SOMEBODY,
    SYSTEM,
    Actor,
    DecidedBy,
    Decision,
    Event,
    EventType,
    HumanTask,
    TaskState,
    format_time,
)
from signoff.transitions.advance import NewId, advance, reviewers_changed, revised_reviewers
from signoff.transitions.edits import edited_payload, reject_bad_form
from signoff.transitions.fold import Fold, route, values_received
from signoff.transitions.human_task_events import WITHDRAW


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRequest:
    """What a person says. `payload_sha256` or `revision` tells what they saw; one of them is needed.

    `surface` and `reading_ms` are kept as the surface says them; see `signoff.model.Decision`. `authenticated` is the
    engine's to set, from whom it was handed; `delegation_id` and `acts_for` too, from the mandate it has checked.
    """

    decision: str
    note: str | None = None
    reason: str | None = None
    patch: Json | None = None
    payload_sha256: str | None = None
    revision: int | None = None
    on_behalf_of: str | None = None
    bulk_id: str | None = None
    surface: str | None = None
    reading_ms: int | None = None
    authenticated: Mapping[str, Json] | None = None
    delegation_id: str | None = None
    acts_for: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """What a gate concluded. `output` is what it passes on where that is not the payload as it was shown."""

    option: str | None
    outcome: str
    decided_by: DecidedBy
    decisions: tuple[Decision, ...] = ()
    output: Json = None
    edited: tuple[str, ...] = ()


def replayed(task: HumanTask, request: DecisionRequest, actor: Actor) -> Decision | None:
    """The decision this request repeats: the same person, the same words, of the same revision."""
    if request.payload_sha256 is None and request.revision is None:
        return None
    revision = request.revision
    if revision is None and request.payload_sha256 == task.payload_sha256:
        # A new draft may be the same bytes again; what is said of it now is not what was said before.
        revision = task.revision
    for decision in task.decisions:
        if (
            decision.actor.id == actor.id
            and decision.acts_for == request.acts_for
            and not decision.withdrawn
            and decision.decision == request.decision
            and decision.patch == request.patch
            and request.payload_sha256 in (None, decision.payload_sha256)
            and revision in (None, decision.revision)
        ):
            return decision
    return None


def decide(
    fold: Fold,
    task: HumanTask,
    request: DecisionRequest,
    *,
    actor: Actor,
    new_id: NewId,
    held: Sequence[Limit] = (),
    lent: Mapping[str, Sequence[Limit]] | None = None,
) -> tuple[Decision, Conclusion | None]:
    """Record the decision, and conclude the gate where its policy is now satisfied. `held` are the person's limits.

    `lent` are those of whom they decide in the stead of, by name; None where they decide in a right of their own.

    Raises PreconditionRequired, Conflict, StaleView, InvalidInput or OverLimit, in this order of precedence; nothing
    is recorded then.
    """
    gate = fold.graph.gate(task.gate)
    if request.payload_sha256 is None and request.revision is None:
        raise PreconditionRequired
    _expect_undecided(fold, task, actor, acts_for=request.acts_for)
    _expect_same_view(fold, task, request)
    reject_bad_form(gate, request)
    edited = edited_payload(gate, task, request.decision, request.patch)
    allowed_by = _allowing(fold.graph, gate, task.payload if edited is None else edited, request, held=held, lent=lent)
    revises = edited is not None and _needs_others(fold, gate, task, edited, request.patch)
    recorded = _record(fold, gate, task, request, revises=revises, allowed_by=allowed_by, actor=actor, new_id=new_id)
    task = fold.state.human_tasks[task.id]
    if revises:
        _revise(fold, gate, task, edited, recorded)
        return recorded, None
    if gate.grace_ms or not _is_satisfied(gate, task, request.decision):
        return recorded, None
    conclusion = conclusion_of(gate, task, option=request.decision)
    conclude(fold, gate, task, conclusion, new_id)
    return recorded, conclusion


def withdraw(fold: Fold, task: HumanTask, *, actor: Actor) -> None:
    """Take one's own decision back before it is released. Raises Conflict when it is too late or was not one's own."""
    own = next((d for d in task.current_decisions if d.actor.id == actor.id), None)
    if task.state is not TaskState.OPEN or own is None:
        raise Conflict("there is no decision of yours to take back", winner=winner(task, fold.history))
    data = {
        "decision_id": own.id,
        "human_task_id": str(task.id),
        "gate": task.gate,
        "decision": WITHDRAW,
        "withdraws": own.id,
    }
    fold.emit(EventType.DECISION_RECORDED, data, actor=actor)


def winner(task: HumanTask, history: Callable[[], Iterable[Event]] = tuple) -> dict[str, Any]:
    """Who decided or canceled this human task, what and when, for whom is late. `history` reads its run's log."""
    last = next((d for d in reversed(task.decisions) if not d.withdrawn), None)
    human = task.decided_by is DecidedBy.HUMAN or (last is not None and task.pending is not None)
    at = task.completed_at or (last.at if last else None)
    by = last.actor if human and last else SYSTEM
    if task.state is TaskState.CANCELED:
        # The human task keeps no word of who canceled its run; the log does.
        by = next((e.actor for e in reversed(tuple(history())) if e.type is EventType.RUN_CANCELED), SYSTEM)
    return {
        "by": by.to_json(),
        "decision": last.decision if human and last else None,
        "state": str(task.state),
        "outcome": task.outcome,
        "decided_by": str(task.decided_by) if task.decided_by else None,
        "at": format_time(at) if at else None,
    }


def conclusion_of(gate: GateNode, task: HumanTask, option: str | None = None) -> Conclusion:
    """What the decisions on the current revision come to. `option` defaults to the one that waits in grace."""
    option = option or task.pending
    assert option is not None
    counted = tuple(d for d in task.current_decisions if d.decision == option)
    payload, edited = task.payload, ()
    for decision in counted:
        changed = edited_payload(gate, task, option, decision.patch)
        if changed is not None:
            payload, edited = changed, tuple(sorted(decision.patch or {}))
    return Conclusion(
        option=option,
        outcome=OUTCOMES.get(option, option),
        decided_by=DecidedBy.HUMAN,
        decisions=counted,
        output=payload if edited else None,
        edited=edited,
    )


def conclude(fold: Fold, gate: GateNode, task: HumanTask, conclusion: Conclusion, new_id: NewId) -> None:
    """Write the gate's outcome and move the run on. A late review (`mode: after`) leaves the run where it is."""
    data: dict[str, Any] = {
        "gate": gate.name,
        "human_task_id": str(task.id),
        "option": conclusion.option,
        "outcome": conclusion.outcome,
        "decided_by": str(conclusion.decided_by),
        "decision_ids": [decision.id for decision in conclusion.decisions],
        "revision": task.revision,
        "payload_sha256": task.payload_sha256,
        "feedback": feedback_of(gate, task, conclusion),
    }
    if conclusion.edited:
        data |= {
            "output": conclusion.output,
            "output_sha256": sha256_hex(conclusion.output),
            "edited": list(conclusion.edited),
        }
    if conclusion.option == "request_changes" and gate.changes_to is not None:
        # The step that drafts again gets what it got before, not the draft that was refused.
        received = values_received(fold.graph, fold.run_id, fold.history())
        if gate.changes_to in received:
            data["value"] = received[gate.changes_to]
    entry = compensation_entry(gate, conclusion)
    if entry is not None:
        data |= {"compensation_run_id": str(new_id()), "compensation_entry": entry}
    last = conclusion.decisions[-1].actor if conclusion.decisions else SYSTEM
    fold.emit(EventType.GATE_DECIDED, data, actor=last)
    if gate.mode == "before":
        advance(fold, new_id)


def compensation_entry(gate: GateNode, conclusion: Conclusion) -> str | None:
    """The first node of the branch that a late review starts as a run of its own, if it does."""
    if gate.mode != "after":
        return None
    target = gate.on_timeout if conclusion.option is None else route(gate, conclusion.option)
    if isinstance(target, Goto) and target.node != gate.next:
        return target.node
    return None


def feedback_of(gate: GateNode, task: HumanTask, conclusion: Conclusion) -> dict[str, Any] | None:
    """What the steps after this outcome are told in their `feedback` parameter; None after an approval."""
    if conclusion.option == "approve":
        return None
    last = conclusion.decisions[-1] if conclusion.decisions else None
    return {
        "gate": gate.name,
        "decision": conclusion.option or conclusion.outcome,
        "note": last.note if last else None,
        "reason": last.reason if last else None,
        "by": last.actor.name if last else None,
        "revision": task.revision,
    }


def _expect_undecided(fold: Fold, task: HumanTask, actor: Actor, *, acts_for: str | None = None) -> None:
    if task.state is not TaskState.OPEN:
        raise Conflict(
            f"the human task is already {task.state}", winner=winner(task, fold.history), code="already_decided"
        )
    if task.pending is not None:
        first = winner(task, fold.history)
        if fold.graph.gate(task.gate).blind and first["by"]["id"] != actor.id:
            # It may still be taken back, and then others judge without having been told.
            first |= {"by": SOMEBODY.to_json(), "decision": None}
        raise Conflict("the gate is decided and its grace runs", winner=first, code="already_decided")
    # Who decides for another speaks for both, and no person is two of a quorum.
    seats = {actor.id, acts_for or actor.id}
    if any(not decision.seats.isdisjoint(seats) for decision in task.current_decisions):
        raise Conflict(
            "you, or the person you stand for, have already decided on this revision",
            code="already_voted",
            fix="another candidate has to decide now",
        )
    if task.not_before is not None and fold.now < task.not_before:
        raise Conflict(f"this gate takes no decision before {format_time(task.not_before)}", code="too_early")


def _expect_same_view(fold: Fold, task: HumanTask, request: DecisionRequest) -> None:
    if request.payload_sha256 not in (None, task.payload_sha256) or request.revision not in (None, task.revision):
        raise StaleView(current={"revision": task.revision, "payload_sha256": task.payload_sha256})
    # What is shown and what would go on are two columns; neither may have been changed behind the log's back.
    goes_on_with = fold.state.value if task.mode == "before" else task.payload
    for stored in (task.payload, goes_on_with):
        if _hash_of(stored) != task.payload_sha256:
            raise StaleView(
                "the payload that is stored is not the one that the log vouches for",
                current={"revision": task.revision, "payload_sha256": _hash_of(stored)},
            )


def _hash_of(value: Json) -> str | None:
    """None for what has no canonical form, and so is nothing that a gate has shown."""
    try:
        return sha256_hex(value)
    except (ValueError, TypeError, RecursionError):
        return None


def _only_form(gate: GateNode, patch: Json | None) -> bool:
    return gate.form is not None and isinstance(patch, dict) and set(patch) <= {gate.name}


def _needs_others(fold: Fold, gate: GateNode, task: HumanTask, edited: Json, patch: Json | None) -> bool:
    """Whether an edit has to be shown again before it can stand: others have to agree, or others are to be asked."""
    if _only_form(gate, patch):
        return False
    return gate.approvals > 1 or reviewers_changed(rules_for(fold.graph, gate.name), task, edited) is not None


def _is_satisfied(gate: GateNode, task: HumanTask, option: str, *, extra: int = 0) -> bool:
    """Whether the decisions on the revision that is shown now are enough for `option`."""
    count = sum(decision.decision == option for decision in task.current_decisions) + extra
    if option == "request_changes":
        return count >= 1
    return count >= (gate.reject_after if option == "reject" else gate.approvals)


def _record(
    fold: Fold,
    gate: GateNode,
    task: HumanTask,
    request: DecisionRequest,
    *,
    revises: bool,
    allowed_by: Mapping[str, Any],
    actor: Actor,
    new_id: NewId,
) -> Decision:
    # An edit that is shown again voids what others approved, and one voice alone is never enough for it.
    satisfied = not revises and _is_satisfied(gate, task, request.decision, extra=1)
    data = {
        "decision_id": str(new_id()),
        "human_task_id": str(task.id),
        "gate": gate.name,
        "revision": task.revision,
        "decision": request.decision,
        "note": request.note,
        "reason": request.reason,
        "patch": request.patch,
        "payload_sha256": task.payload_sha256,
        "on_behalf_of": request.on_behalf_of,
        "delegation_id": request.delegation_id,
        "acts_for": request.acts_for,
        "bulk_id": request.bulk_id,
        "surface": request.surface,
        "reading_ms": request.reading_ms,
        "authenticated": None if request.authenticated is None else dict(request.authenticated),
        "release_ms": gate.grace_ms if gate.grace_ms and satisfied else None,
    }
    fold.emit(EventType.DECISION_RECORDED, data | dict(allowed_by), actor=actor)
    return fold.state.human_tasks[task.id].decisions[-1]


def _allowing(
    graph: Graph,
    gate: GateNode,
    # What would go on is what has to be within limits: the payload as this person edits it.
    payload: Json,
    request: DecisionRequest,
    *,
    held: Sequence[Limit],
    lent: Mapping[str, Sequence[Limit]] | None,
) -> dict[str, Any]:
    """What the event says of the limits that allow it: one's own, and where one stands for another theirs as well."""
    if not gate.authority or not goes_on(gate, request.decision):
        return {}
    allowed: dict[str, Any] = {"authority": expect_within(graph, gate, payload, held).evidence()}
    if lent is not None:
        name, limit = expect_lent(graph, gate, payload, lent)
        allowed["authority_lent"] = limit.evidence() | {"of": name}
    return allowed


def _revise(fold: Fold, gate: GateNode, task: HumanTask, payload: Json, recorded: Decision) -> None:
    """Show everybody the edited payload as the next revision.

    The editor's own approval counts for it and no other; not even that one where others are to be asked now.
    """
    rules = rules_for(fold.graph, gate.name)
    # What is shown to everybody names nobody where each is to judge alone; the event's actor is kept from them.
    who = SOMEBODY.name if gate.blind else recorded.actor.name
    data = {
        "gate": gate.name,
        "human_task_id": str(task.id),
        "revision": task.revision + 1,
        "payload": payload,
        "payload_sha256": sha256_hex(payload),
        "title": rules.title(payload),
        "why": f"{who} edited the payload; it needs {gate.approvals} approvals as it is now",
        "due_ms": None,
        "restarted": False,
        "carried": [recorded.id],
    }
    others = revised_reviewers(fold, rules, task, payload)
    if others:
        data |= others | {"carried": []}
        data["why"] = f"{who} edited the payload, and as it is now others have to be asked"
    fold.emit(EventType.GATE_REVISED, data, actor=recorded.actor)

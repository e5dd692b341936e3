"""Moving a run on until it needs a worker, a person, or nothing any more.

Gates that the cursor reaches are evaluated here, in the same batch of events as what led there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any
from uuid import UUID

from signoff.canonical import Json, sha256_hex
from signoff.definition.fields import ROUND_ROBIN
from signoff.definition.graph import GateNode
from signoff.definition.policy import GateRules, Verdict, rules_for
from signoff.model import REJECTED, Candidates, EventType, HumanTask, RunStatus
from signoff.transitions.fold import Fold
from signoff.transitions.staff import Member, StandIn
from signoff.transitions.timing import timing

NewId = Callable[[], UUID]


def advance(fold: Fold, new_id: NewId) -> None:
    """Pass, open or reopen the gates the cursor stands at, and end the run when the graph is left."""
    # Each turn moves the cursor along the graph or stops; the only way back is a person's request_changes.
    while fold.state.status is RunStatus.QUEUED:
        if fold.state.ending is not None:
            _end(fold)
            return
        assert fold.state.node is not None
        node = fold.graph.nodes[fold.state.node]
        if not isinstance(node, GateNode):
            return
        _reach(fold, node, new_id)


def candidates_of(rules: GateRules, payload: Json) -> Candidates:
    """Who may decide, by the gate's `reviewers`. A template that fails names nobody, and the gate says so."""
    users, groups = rules.reviewers(payload)
    return Candidates(users=users, groups=groups)


def reviewers_changed(rules: GateRules, task: HumanTask, payload: Json) -> dict[str, Any] | None:
    """What a new revision says of its candidates where the gate asks others for `payload` than for what was shown.

    None where it asks the same people: then those who were added or asked instead meanwhile stay.
    """
    asked = candidates_of(rules, payload)
    if asked == candidates_of(rules, task.payload):
        return None
    return {"candidates": asked.to_json(), "alarm": alarm_of(asked)}


def revised_reviewers(fold: Fold, rules: GateRules, task: HumanTask, payload: Json) -> dict[str, Any]:
    """The same as the event says it: with those who stand in; empty where the same people are asked."""
    changed = reviewers_changed(rules, task, payload)
    if changed is None:
        return {}
    asked, found = with_stand_ins(fold, fold.graph.gate(task.gate), Candidates.from_json(changed["candidates"]))
    return changed | {"candidates": asked.to_json()} | said_of_stand_ins(found)


def alarm_of(candidates: Candidates) -> str | None:
    """What is wrong with a human task that nobody may decide; None when somebody may."""
    return None if candidates.users or candidates.groups else "reviewers names nobody"


def fail(fold: Fold, code: str, message: str, *, step: str | None = None, attempt: int | None = None) -> None:
    """End the run as failed."""
    fold.emit(EventType.RUN_FAILED, {"code": code, "message": message, "step": step, "attempt": attempt})


def _end(fold: Fold) -> None:
    state = fold.state
    match state.ending:
        case "completed":
            outcome = state.outcome or "completed"
            data: dict[str, Any] = {"outcome": outcome}
            if _was_refused(fold):
                # A refused payload is no result: whoever reads only the output must not take it for one.
                data["output"] = None
            fold.emit(EventType.RUN_COMPLETED, data)
        case "failed":
            fail(fold, f"gate_{state.outcome}", f"gate {state.node!r} ended the run: {state.outcome}")
        case "canceled":
            reason = f"gate {state.node!r} ended the run: {state.outcome}"
            fold.emit(EventType.RUN_CANCELED, {"reason": reason, "outcome": state.outcome})
        case None:
            return


def _was_refused(fold: Fold) -> bool:
    """Whether the run ends right at a gate that said no."""
    node = fold.graph.nodes.get(fold.state.node or "")
    return isinstance(node, GateNode) and node.mode == "before" and fold.state.outcome == REJECTED


def _reach(fold: Fold, gate: GateNode, new_id: NewId) -> None:
    rules = rules_for(fold.graph, gate.name)
    payload = fold.state.value
    earlier = fold.state.human_task_to_reopen(gate.name)
    # A reviewer who asked for changes sees the new draft, even one that the condition would wave through.
    if earlier is not None and gate.mode == "before":
        _reopen(fold, earlier, rules)
        return
    verdict = rules.review(payload, fold.run_id)
    if verdict.review:
        _open(fold, gate, rules, verdict, new_id)
    else:
        fold.emit(
            EventType.GATE_PASSED,
            {
                "gate": gate.name,
                "decided_by": "policy",
                "rule": verdict.rule,
                "values": dict(verdict.values),
                "why": verdict.why,
                "payload_sha256": sha256_hex(payload),
            },
        )


def _open(fold: Fold, gate: GateNode, rules: GateRules, verdict: Verdict, new_id: NewId) -> None:
    payload = fold.state.value
    candidates, standing_in = with_stand_ins(fold, gate, candidates_of(rules, payload))
    assignee, candidates, replaced = _assignee(fold, gate, rules, candidates)
    fold.emit(
        EventType.GATE_OPENED,
        {
            "gate": gate.name,
            "human_task_id": str(new_id()),
            "mode": gate.mode,
            "payload_sha256": sha256_hex(payload),
            "title": rules.title(payload),
            "rule": verdict.rule,
            "values": dict(verdict.values),
            "why": verdict.why,
            "sampled": verdict.sampled,
            "error": verdict.error,
            "candidates": candidates.to_json(),
            "alarm": alarm_of(candidates),
            "assignee": assignee,
        }
        | said_of_stand_ins([*standing_in, *replaced])
        | timing(gate, rules, payload, fold.now),
    )


def with_stand_ins(fold: Fold, gate: GateNode, candidates: Candidates) -> tuple[Candidates, list[StandIn]]:
    """The candidates, and who stands in for those asked by name who are away. Members of groups have each other."""
    if not candidates.users:
        return candidates, []
    found = [
        replace(each, asked=each.name in candidates.users)
        for each in fold.staff.stand_ins(candidates.users).values()
        if not _is_barred(fold, gate, each)
    ]
    return candidates.with_(Candidates(users=tuple(each.name for each in found))), found


def said_of_stand_ins(found: Iterable[StandIn]) -> dict[str, Any]:
    """What an event says of those who were added: for whom, and by which delegation."""
    listed = list({each.for_: each.to_json() for each in found}.values())
    return {"stand_ins": listed} if listed else {}


def _is_barred(fold: Fold, gate: GateNode, person: StandIn | Member) -> bool:
    requester = fold.state.requester
    return gate.four_eyes and (person.principal_id == requester.id or person.name == requester.name)


def _assignee(
    fold: Fold, gate: GateNode, rules: GateRules, candidates: Candidates
) -> tuple[str | None, Candidates, list[StandIn]]:
    """Whom the gate hands its human task to: nobody who could not decide it, as far as names can tell.

    Who stands in for somebody who is away is asked as well, and that is told.
    """
    if gate.assign is None:
        return None, candidates, []
    if gate.assign == ROUND_ROBIN:
        there = fold.staff.members(candidates.users, candidates.groups)
        free = [member for member in there if not _is_barred(fold, gate, member)]
        fewest = min((member.assigned for member in free), default=0)
        # Those with as little to do take turns by the run's id: two gates that open at once wait for no lock.
        turn = rules.in_turn([member.name for member in free if member.assigned == fewest], fold.run_id)
        return turn, candidates, []
    named = rules.assignee(fold.state.value)
    barred = gate.four_eyes and named == fold.state.requester.name
    if named is None or barred or (not candidates.groups and named not in candidates.users):
        return None, candidates, []
    away = fold.staff.stand_ins([named]).get(named)
    if away is None or _is_barred(fold, gate, away):
        return named, candidates, []
    own = away.name in candidates_of(rules, fold.state.value).users
    return away.name, candidates.with_(Candidates(users=(away.name,))), [replace(away, asked=own)]


def _reopen(fold: Fold, task: HumanTask, rules: GateRules) -> None:
    payload = fold.state.value
    verdict = rules.review(payload, fold.run_id)
    fold.emit(
        EventType.GATE_REVISED,
        {
            "gate": task.gate,
            "human_task_id": str(task.id),
            "revision": task.revision + 1,
            "payload_sha256": sha256_hex(payload),
            "title": rules.title(payload),
            "rule": verdict.rule,
            "values": dict(verdict.values),
            "why": verdict.why if verdict.review else "a new draft after changes were requested",
            "restarted": True,
            "carried": [],
        }
        | timing(fold.graph.gate(task.gate), rules, payload, fold.now)
        | revised_reviewers(fold, rules, task, payload),
    )

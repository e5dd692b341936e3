"""Checks of a whole graph: what silence leads to, what is reached, and what an irreversible step has before it."""

from __future__ import annotations

from collections.abc import Iterator

from signoff.definition.faults import Fault, FaultLog
from signoff.definition.graph import End, GateNode, Goto, Graph, StepNode, TakeOption, Target, after_gate, goes_on


def check_graph(graph: Graph) -> tuple[Fault, ...]:
    """Every fault and warning that needs more than one node to be seen."""
    faults = FaultLog()
    _check_reached(graph, faults)
    for node in graph.nodes.values():
        if isinstance(node, GateNode):
            _check_silence(graph, node, faults)
            _check_after(node, faults)
            _check_authority(node, faults)
    _check_guarded(graph, faults)
    return (*faults.errors, *faults.warnings)


def _check_reached(graph: Graph, faults: FaultLog) -> None:
    reached: set[str] = set()
    waiting = [graph.start]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += _following(graph, name)
    for name, node in graph.nodes.items():
        if name not in reached:
            faults.add(
                "E114", f"{node.kind} {name!r}", "can never be reached", "remove it, or let an outcome lead to it"
            )


def _following(graph: Graph, name: str) -> Iterator[str]:
    """The nodes that a run may stand at after this one."""
    node = graph.nodes[name]
    if isinstance(node, StepNode):
        if node.next is not None:
            yield node.next
        return
    passes = node.review_if is not None or node.mode == "after"
    if passes and node.next is not None:
        yield node.next
    targets = [*node.routes.values(), *([] if node.on_timeout is None else [node.on_timeout])]
    yield from (target.node for target in targets if isinstance(target, Goto))
    if node.changes_to is not None:
        yield node.changes_to


def _check_silence(graph: Graph, gate: GateNode, faults: FaultLog) -> None:
    """Silence may end a run or start harmless work, but nothing that can't be undone."""
    target = _resolved(gate, gate.on_timeout)
    if gate.mode == "after" and isinstance(target, Goto) and target.node == gate.next:
        return  # the run is past it: going on changes nothing
    step, passing = _irreversible_ahead(graph, target)
    if step is not None:
        through = "".join(f"; review_if may let it pass {name!r}" for name in passing)
        unconditional = " without review_if" if passing else ""
        faults.add(
            "E112",
            f"gate {gate.name!r}",
            f"on_timeout leads to {step!r}, which is irreversible, with nobody asked{through}",
            f'write on_timeout="reject" or "cancel", or put a gate{unconditional} before the step',
        )


def _resolved(gate: GateNode, target: Target | None) -> Target | None:
    return gate.routes.get(target.option) if isinstance(target, TakeOption) else target


def _irreversible_ahead(graph: Graph, target: Target | None) -> tuple[str | None, list[str]]:
    """The first irreversible step on the way from `target` that no person is sure to be asked before.

    A gate in mode before stops every run only when it has no condition: where its policy lets a run pass, the silence
    at the first gate would be all the consent there was. Such gates on the way are the second answer.
    """
    seen: set[str] = set()
    passing: list[str] = []
    name = target.node if isinstance(target, Goto) else None
    while name is not None and name not in seen:
        seen.add(name)
        node = graph.nodes[name]
        if isinstance(node, StepNode) and node.irreversible:
            return name, passing
        if isinstance(node, GateNode) and node.mode == "before":
            if node.review_if is None:
                return None, []
            passing.append(name)
        name = node.next
    return None, []


def _check_after(gate: GateNode, faults: FaultLog) -> None:
    if gate.mode != "after":
        return
    where = f"gate {gate.name!r}"
    for key, target in (*gate.routes.items(), ("timeout", gate.on_timeout)):
        if isinstance(target, End) and target.status != "completed":
            word = "fail" if target.status == "failed" else "cancel"
            faults.add(
                "E121",
                where,
                f'on_{key} is "{word}", and in mode after the run has gone on',
                "let the outcome start a branch: a step or a list",
            )
    idle = [name for name, given in (("editable", gate.editable), ("form", gate.form)) if given]
    for key in idle:
        faults.add("W204", where, f"{key} changes nothing in mode after: the run has gone on", "leave it out")


def _check_authority(gate: GateNode, faults: FaultLog) -> None:
    """Where approving takes authority, neither silence nor a refusal may lead on as an approval does."""
    if not gate.authority or gate.mode == "after":
        return
    silence, refused = gate.on_timeout, gate.routes.get("reject")
    going_on = goes_on(gate, silence.option) if isinstance(silence, TakeOption) else silence == after_gate(gate)
    for key, wrong in (("on_timeout", going_on), ("on_reject", gate.next is not None and refused == after_gate(gate))):
        if wrong:
            faults.add(
                "E131",
                f"gate {gate.name!r}",
                f"{key} goes on as an approval does, and no limit of authority would hold",
                "let it end the run or start a branch of its own, or leave authority out",
            )


def _check_guarded(graph: Graph, faults: FaultLog) -> None:
    """An irreversible step that a run can reach without a person or a policy having been asked."""
    open_: set[str] = set()
    waiting = [graph.start]
    while waiting:
        name = waiting.pop()
        node = graph.nodes[name]
        if name in open_:
            continue
        open_.add(name)
        if isinstance(node, StepNode) or node.mode == "after":
            waiting += [] if node.next is None else [node.next]
    for name in graph.nodes:
        node = graph.nodes[name]
        if name in open_ and isinstance(node, StepNode) and node.irreversible:
            faults.add(
                "W201",
                f"step {name!r}",
                "is irreversible and has no gate before it",
                "put a gate before it that stops the run until a person decides",
            )

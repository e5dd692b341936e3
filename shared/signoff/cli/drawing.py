"""A workflow's graph as text for a terminal, as Mermaid and as DOT."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from signoff.cli.text import visible
from signoff.definition.edges import edges, main_line_first
from signoff.definition.graph import DEFAULT_QUEUE, End, GateNode, Goto, Graph, Node, StepNode, TakeOption, Target
from signoff.durations import format_duration

if TYPE_CHECKING:
    from rich.text import Text

_ENDS = ("completed", "failed", "canceled")


def draw(graph: Graph) -> Iterator[Text]:
    """The graph as lines of text: the main line first, then each branch."""
    from rich.text import Text

    yield Text.assemble((visible(graph.workflow), "bold"), (f"  {graph.sha256[:12]}", "dim"))
    if graph.description:
        yield Text(visible(graph.description), style="dim")
    for at, line in enumerate(main_line_first(graph)):
        if at:
            yield Text("")
            led = ", ".join(f"{edge.source} {edge.label}".strip() for edge in edges(graph) if edge.target == line[0])
            yield Text(f"branch: {led}", style="dim")
        for name in line:
            yield from _draw_node(name, graph.nodes[name])
        yield _draw_end(graph.nodes[line[-1]])


def mermaid(graph: Graph) -> str:
    """The graph as a Mermaid flowchart."""
    ids = {name: f"n{at}" for at, name in enumerate(graph.nodes)} | {end: f"end_{end}" for end in _ENDS}
    lines = ["flowchart TD"]
    for name, node in graph.nodes.items():
        left, right = ("[", "]") if isinstance(node, StepNode) else ("{{", "}}")
        lines.append(f'    {ids[name]}{left}"{_entities(name)}"{right}')
    lines += [f"    {ids[end]}(({end}))" for end in _ENDS if any(e.ends and e.target == end for e in edges(graph))]
    for edge in edges(graph):
        label = f'|"{_entities(edge.label)}"|' if edge.label else ""
        lines.append(f"    {ids[edge.source]} -->{label} {ids[edge.target]}")
    return "\n".join(lines)


def dot(graph: Graph) -> str:
    """The graph in Graphviz's language."""
    lines = [f"digraph {_quoted(graph.workflow)} {{", "  rankdir=TB;"]
    for name, node in graph.nodes.items():
        lines.append(f"  {_quoted(name)} [shape={'box' if isinstance(node, StepNode) else 'hexagon'}];")
    for end in _ENDS:
        if any(edge.ends and edge.target == end for edge in edges(graph)):
            lines.append(f"  {_quoted(f'end {end}')} [shape=doublecircle, label={_quoted(end)}];")
    for edge in edges(graph):
        target = f"end {edge.target}" if edge.ends else edge.target
        label = f" [label={_quoted(edge.label)}]" if edge.label else ""
        lines.append(f"  {_quoted(edge.source)} -> {_quoted(target)}{label};")
    return "\n".join([*lines, "}"])


def _draw_node(name: str, node: Node) -> Iterator[Text]:
    from rich.text import Text

    if isinstance(node, StepNode):
        yield Text("│", style="dim")
        yield Text.assemble(("● ", "green"), (visible(name), "bold"), "  ", (visible(node.ref), "dim"))
        yield from (Text.assemble(("│   ", "dim"), visible(text)) for text in _step_notes(node))
        return
    yield Text("│", style="dim")
    yield Text.assemble(("◆ ", "yellow"), (visible(name), "bold"), "  ", visible(_asked(node)))
    for text in _gate_notes(node):
        yield Text.assemble(("│   ", "dim"), visible(text))
    ways = list(_ways(node))
    width = max(len(option) for option, _ in ways)
    for option, way in ways:
        said = Text.assemble(("│   ", "dim"), (visible(option.ljust(width)), "cyan"), f" {visible(way)}")
        consequence = node.consequences.get(option)
        if consequence:
            said.append(f"  {visible(consequence)}", style="dim")
        yield said


def _step_notes(node: StepNode) -> Iterator[str]:
    notes = ["irreversible"] if node.irreversible else []
    notes += [f"queue {node.queue}"] if node.queue != DEFAULT_QUEUE else []
    notes += [f"{node.retry.attempts} attempts"] if node.retry.attempts > 1 else []
    notes += [f"at most {format_duration(node.timeout_ms)}"] if node.timeout_ms is not None else []
    if notes:
        yield " · ".join(notes)


def _asked(node: GateNode) -> str:
    who = ", ".join(node.reviewers)
    if node.approvals > 1:
        who += f" ({node.approvals} of them)"
    return f"asks {who}" + (", the run goes on meanwhile" if node.mode == "after" else "")


def _gate_notes(node: GateNode) -> Iterator[str]:
    sample = f", and {node.sample:.0%} of the rest" if node.sample else ""
    yield f"when {node.review_if}{sample}" if node.review_if else "always"
    if node.editable:
        yield f"editable: {', '.join(node.editable)}"
    if node.due is not None:
        due = node.due if isinstance(node.due, str) else format_duration(node.due)
        yield f"due after {due}" + ("; then overdue, and nothing else" if node.on_timeout is None else "")
    rungs = []
    for rung in node.ladder:
        to = f" to {', '.join(rung.to)}" if rung.to else ""
        rungs.append(f"{rung.action}{to} after {format_duration(rung.after_ms)}")
    if rungs:
        yield " · ".join(rungs)


def _ways(node: GateNode) -> Iterator[tuple[str, str]]:
    for option, target in node.routes.items():
        yield option, _way(target)
    if node.changes_to is not None:
        yield "request_changes", f"↩ {node.changes_to}"
    if node.on_timeout is not None:
        yield "no answer", _way(node.on_timeout)


def _way(target: Target) -> str:
    match target:
        case Goto(node=node):
            return f"→ {node}"
        case End(status=status):
            return f"→ run {status}"
        case TakeOption(option=option):
            return f"→ as {option}"


def _draw_end(last: Node) -> Text:
    from rich.text import Text

    return Text.assemble(("│\n◎ ", "dim"), "run completed" if last.next is None else f"→ {visible(last.next)}")


def _entities(text: str) -> str:
    # Mermaid reads #NN; as the character of that number; everything that could be syntax is written so.
    return "".join(c if c.isalnum() or c in " _-." else f"#{ord(c)};" for c in visible(text))


def _quoted(text: str) -> str:
    escaped = visible(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'

"""The ways from node to node of a graph, for all who draw it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from signoff.definition.graph import End, Goto, Graph, StepNode, TakeOption, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """One way on: from a node to a node, or to an ending. `label` says when, empty for the plain way."""

    source: str
    target: str
    label: str = ""
    ends: bool = False


def edges(graph: Graph) -> Iterator[Edge]:
    """Every way on in the graph."""
    for name, node in graph.nodes.items():
        if isinstance(node, StepNode):
            yield _edge(name, Goto(node=node.next) if node.next else End(status="completed"))
            continue
        if node.mode == "after":
            yield _edge(name, Goto(node=node.next) if node.next else End(status="completed"), "goes on")
        for option, target in node.routes.items():
            # Beside a run that has gone on, only an outcome that starts a branch leads anywhere.
            if node.mode == "before" or (isinstance(target, Goto) and target.node != node.next):
                yield _edge(name, target, option)
        if node.changes_to is not None:
            yield Edge(source=name, target=node.changes_to, label="request_changes")
        if node.on_timeout is not None and not isinstance(node.on_timeout, TakeOption):
            yield _edge(name, node.on_timeout, "no answer")


def main_line_first(graph: Graph) -> list[list[str]]:
    """The nodes in the order they follow one another: the main line, then what only an outcome leads to."""
    found: list[list[str]] = []
    seen: set[str] = set()
    for first in (graph.start, *graph.nodes):
        line: list[str] = []
        name: str | None = first
        while name is not None and name not in seen:
            seen.add(name)
            line.append(name)
            name = graph.nodes[name].next
        found += [line] if line else []
    return found


def _edge(source: str, target: Target, label: str = "") -> Edge:
    match target:
        case Goto(node=node):
            return Edge(source=source, target=node, label=label)
        case End(status=status):
            return Edge(source=source, target=status, label=label, ends=True)
        case TakeOption(option=option):
            return Edge(source=source, target=option, label=label)

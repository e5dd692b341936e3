"""From steps and gates to the graph: names, then types along each line, then nodes, then the checks of the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from signoff.canonical import canonical
from signoff.definition.checks import check_graph
from signoff.definition.faults import Fault, FaultLog
from signoff.definition.gate_compiler import GateCompiler, read_options
from signoff.definition.gates import Gate
from signoff.definition.graph import End, Goto, Graph, Node, Schema, Target
from signoff.definition.json_types import compatible, fields_of, say_kind, with_property
from signoff.definition.layout import TIMEOUT, Entry, Line, lay_out
from signoff.definition.reading import MAX_DESCRIPTION, WORKFLOW_NAME, Reader
from signoff.definition.schemas import check_schema, schema_of
from signoff.definition.step_compiler import StepCompiler
from signoff.definition.steps import StepDef

MAX_GRAPH_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A workflow's graph with the warnings it came with, and the steps' definitions by name."""

    graph: Graph
    warnings: tuple[Fault, ...]
    steps: Mapping[str, StepDef]


def compile_workflow(
    name: Any, items: Sequence[Any], *, input: Any = None, description: Any = "", faults: FaultLog | None = None
) -> Compiled:
    """The graph of a workflow; `faults` may hold those found while its document was read.

    Raises DefinitionError with every fault.
    """
    log = FaultLog() if faults is None else faults
    return _Compiler(name, log).compile(items, input, description)


class _Compiler:
    def __init__(self, name: Any, faults: FaultLog) -> None:
        self.name = name
        self.where = f"workflow {name!r}"
        self.faults = faults
        self.nodes: dict[str, Node] = {}
        self.steps: dict[str, StepCompiler] = {}
        self.after: dict[str, Schema | None] = {}
        self.input: Schema | None = None

    def compile(self, items: Sequence[Any], given_input: Any, description: Any) -> Compiled:
        if not isinstance(self.name, str) or WORKFLOW_NAME.fullmatch(self.name) is None:
            fix = "begin with a-z, then a-z, 0-9, _ and -, at most 64 characters"
            self.faults.add("E101", self.where, "is badly named", fix)
        if not isinstance(description, str) or len(description) > MAX_DESCRIPTION:
            self.faults.add(
                "E116", self.where, "description is no text, or too long", f"write at most {MAX_DESCRIPTION} characters"
            )
        if not isinstance(items, (list, tuple)):
            self.faults.add("E125", self.where, "is no list of steps and gates", "write Workflow(name, [...])")
            items = ()
        lines = lay_out(items, self.where, self.faults)
        for line in lines:
            for entry in line.entries:
                if isinstance(entry.item, StepDef):
                    self.steps[entry.name] = StepCompiler(entry.item, self.faults)
        self.input = self._input_schema(given_input, lines[0])
        for line in lines:
            self._compile_line(line)
        if not lines[0].entries:
            self.faults.raise_errors()
        graph = Graph(
            workflow=self.name,
            start=lines[0].entries[0].name,
            nodes=self.nodes,
            input_schema=self.input,
            description=description,
        )
        self.faults.extend(check_graph(graph))
        self._check_size(graph)
        self.faults.raise_errors()
        steps = {name: step.definition for name, step in self.steps.items()}
        return Compiled(graph=graph, warnings=self.faults.warnings, steps=steps)

    def _input_schema(self, given: Any, main: Line) -> Schema | None:
        if given is None:
            for entry in main.entries:
                if isinstance(entry.item, StepDef):
                    return self.steps[entry.name].input_schema
                if entry.item.values["form"] is not None:
                    return None  # the step takes the input and the form together
            return None
        if isinstance(given, Mapping):
            problems = check_schema(given)
            for problem in problems:
                self.faults.add("E122", self.where, f"input: {problem}", "write a JSON Schema, draft 2020-12")
            return None if problems else dict(given)
        try:
            return schema_of(given, "validation")
        except ValueError as error:
            self.faults.add("E128", self.where, f"input has no JSON form: {error}", "give a model or a JSON Schema")
            return None

    def _compile_line(self, line: Line) -> None:
        current = self.input if line.parent is None else self.after.get(line.parent.name)
        giver = "the run's input" if line.parent is None else line.parent.where
        for entry in line.entries:
            if isinstance(entry.item, StepDef):
                current = self._compile_step(entry, current, giver)
            else:
                current = self._compile_gate(entry, entry.item, current)
            self.after[entry.name] = current
            giver = entry.where

    def _compile_step(self, entry: Entry, current: Schema | None, giver: str) -> Schema | None:
        step = self.steps[entry.name]
        self._check_fit(entry, giver, current, step.input_schema, "")
        known: dict[str, Schema | None] = {"input": self.input}
        for earlier in entry.before():
            known.setdefault(earlier.name, self.after.get(earlier.name))
        # A later step of the line may have run before, when a gate sent the run back.
        step.check_keywords(known, [other for other in self.steps if other not in known])
        for name, wanted in step.keyword_schemas():
            if name in known:
                of = "the run's input" if name == "input" else f"the output of {name!r}"
                self._check_fit(entry, of, known[name], wanted, f"parameter {name!r}: ")
        if _may_come_without_feedback(entry):
            step.check_feedback()
        self.nodes[entry.name] = step.build(entry.next)
        return step.output_schema

    def _check_fit(self, entry: Entry, giver: str, given: Schema | None, wanted: Schema | None, prefix: str) -> None:
        for mismatch in compatible(given, wanted):
            assert given is not None  # nothing mismatches an unknown type
            assert wanted is not None
            types = f"{giver} gives {say_kind(given)}, it takes {say_kind(wanted)}"
            fix = "change one of the two annotations"
            self.faults.add("E108", entry.where, f"{prefix}{types}: {mismatch}", fix)

    def _compile_gate(self, entry: Entry, gate: Gate, current: Schema | None) -> Schema | None:
        compiler = GateCompiler(gate, self.faults, current)
        form = compiler.form()
        node = compiler.build(
            following=entry.next,
            routes=_routes(entry, compiler.options),
            on_timeout=entry.targets.get(TIMEOUT),
            changes_to=self._changes_to(entry, compiler),
            form=form,
        )
        self.nodes[entry.name] = node
        if form is None or node.mode == "after":
            return current
        fields = fields_of(current, current) if current else None
        if fields and gate.name in fields:
            self.faults.add(
                "E122",
                entry.where,
                f"form would be added as {gate.name!r}, a field the payload has",
                "rename the gate",
            )
        return with_property(current, gate.name, form)

    def _changes_to(self, entry: Entry, compiler: GateCompiler) -> str | None:
        if "request_changes" not in compiler.options:
            return None
        if compiler.mode == "after":
            compiler.read.fault(
                "E121",
                "mode after offers request_changes, and the run has gone on",
                "let a rejection start a branch: on_reject=[…]",
            )
            return None
        for earlier in entry.before():
            if isinstance(earlier.item, StepDef):
                takes = earlier.item.takes_names
                if takes is None or "feedback" in takes:
                    return earlier.name
        compiler.read.fault(
            "E113",
            "offers request_changes, and no earlier step takes feedback",
            "add a parameter to the step that drafts: feedback: Feedback | None = None",
        )
        return None

    def _check_size(self, graph: Graph) -> None:
        try:
            size = len(canonical(graph.to_json()))
        except ValueError as error:
            fix = "bounds in a schema are at most 2^53 - 1"
            self.faults.add("E122", self.where, f"has a value with no canonical form: {error}", fix)
        else:
            if size > MAX_GRAPH_BYTES:
                self.faults.add(
                    "E125", self.where, f"compiles to {size} bytes; {MAX_GRAPH_BYTES} are allowed", "split it"
                )


def _may_come_without_feedback(entry: Entry) -> bool:
    """Whether a run that goes straight on gets here. On a branch, and after a gate without approval, it has some."""
    for earlier in reversed(entry.line.entries[: entry.index]):
        if isinstance(earlier.item, Gate) and earlier.item.values["mode"] != "after":
            options = read_options(Reader(earlier.item.values, earlier.where, FaultLog()))
            return "approve" in options or earlier.item.values["review_if"] is not None
    return entry.line.parent is None


def _routes(entry: Entry, options: Sequence[str]) -> dict[str, Target]:
    onward: Target = End(status="completed") if entry.next is None else Goto(node=entry.next)
    found: dict[str, Target] = {}
    for option in options:
        if option == "request_changes":
            continue
        default = End(status="completed") if option == "reject" else onward
        found[option] = entry.targets.get(option, default)
    return found

"""Where everything in a workflow stands: the main list and the branches that gates start, each a line of nodes."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from signoff.definition.faults import FaultLog, did_you_mean
from signoff.definition.gate_compiler import check_keys, read_options, simple_target
from signoff.definition.gates import Gate
from signoff.definition.graph import Goto, Target
from signoff.definition.reading import MAX_NODES, NODE_NAME, Reader
from signoff.definition.steps import StepDef, step_definition

Item: TypeAlias = StepDef | Gate
TIMEOUT = "on_timeout"


@dataclass(eq=False, kw_only=True)
class Entry:
    """One node in its line. `targets` has what a gate's options and `on_timeout` lead to."""

    item: Item
    line: Line
    index: int
    targets: dict[str, Target] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.item.name

    @property
    def where(self) -> str:
        return f"{'gate' if isinstance(self.item, Gate) else 'step'} {self.item.name!r}"

    @property
    def next(self) -> str | None:
        """The name of the node after it in its line."""
        following = self.index + 1
        return self.line.entries[following].name if following < len(self.line.entries) else None

    def before(self) -> list[Entry]:
        """The nodes that come before it, nearest first: its own line, then the line its branch started from."""
        out: list[Entry] = []
        at: Entry | None = self
        while at is not None:
            out += reversed(at.line.entries[: at.index])
            at = at.line.parent
            if at is not None:
                out.append(at)
        return out


@dataclass(eq=False, kw_only=True)
class Line:
    """A list of nodes; `parent` is the gate that a branch starts from, None for the main list."""

    parent: Entry | None
    entries: list[Entry] = field(default_factory=list)


def lay_out(items: Sequence[Any], where: str, faults: FaultLog) -> list[Line]:
    """The main line first, then each branch in the order in which gates name them."""
    layout = _Layout(faults)
    layout.add_line(items, None, where)
    while layout.waiting:
        layout.branch_out(layout.waiting.popleft())
    if not layout.lines[0].entries and not faults.errors:
        faults.add("E125", where, "has no steps and no gates", "list at least one")
    if len(layout.names) > MAX_NODES:
        faults.add("E125", where, f"has more than {MAX_NODES} nodes", "split it into workflows")
    return layout.lines


class _Layout:
    def __init__(self, faults: FaultLog) -> None:
        self.faults = faults
        self.lines: list[Line] = []
        self.names: set[str] = set()
        self.waiting: deque[Entry] = deque()

    def add_line(self, items: Sequence[Any], parent: Entry | None, where: str) -> Line:
        line = Line(parent=parent)
        self.lines.append(line)
        for given in items:
            item = as_item(given)
            if item is None:
                self.faults.add("E126", where, f"lists {describe(given)}", "list functions with @step, and gates")
                continue
            entry = Entry(item=item, line=line, index=len(line.entries))
            if self._name_is_good(entry):
                line.entries.append(entry)
                if isinstance(item, Gate) and len(self.names) <= MAX_NODES:
                    self.waiting.append(entry)
        return line

    def branch_out(self, entry: Entry) -> None:
        """Read where the outcomes of a gate lead, and lay out the branches they start."""
        assert isinstance(entry.item, Gate)  # only gates wait
        gate = entry.item
        # Read into a log of its own: the gate's compiler reads the options again and reports.
        options = read_options(Reader(gate.values, entry.where, FaultLog()))
        check_keys(gate, options, Reader(gate.values, entry.where, self.faults))
        for option, to in gate.routes.items():
            if option in options and option not in ("approve", "request_changes"):
                target = self._target(entry, f"on_{option}", to, options, timeout=False)
                if target is not None:
                    entry.targets[option] = target
        if gate.values[TIMEOUT] is not None:
            target = self._target(entry, TIMEOUT, gate.values[TIMEOUT], options, timeout=True)
            if target is not None:
                entry.targets[TIMEOUT] = target

    def _target(self, entry: Entry, key: str, to: Any, options: Sequence[str], *, timeout: bool) -> Target | None:
        if isinstance(to, str):
            target = simple_target(to, options, entry.next, timeout=timeout)
            if target is None:
                words = ["fail", "cancel", "continue"]
                words += [option for option in options if option != "request_changes"] if timeout else []
                known = did_you_mean(to, words, "known words")
                fix = f"{known}; name a step by its function in Python, by module:function in YAML"
                self.faults.add("E111", entry.where, f"{key} leads to {to[:80]!r}", fix)
            return target
        branch = self.add_line(list(to) if isinstance(to, (list, tuple)) else [to], entry, f"{entry.where}, {key}")
        if not branch.entries:
            if isinstance(to, (list, tuple)) and not to:
                self.faults.add("E111", entry.where, f"{key} is an empty list", 'list a step, or write "continue"')
            return None
        return Goto(node=branch.entries[0].name)

    def _name_is_good(self, entry: Entry) -> bool:
        name = entry.item.name
        if not isinstance(name, str) or NODE_NAME.fullmatch(name) is None:
            self.faults.add(
                "E101",
                f"{'gate' if isinstance(entry.item, Gate) else 'step'} {name!r}",
                "is badly named",
                "begin with a letter or _, then letters, digits, _ and -, at most 64 characters",
            )
            return False
        if name in self.names:
            if isinstance(entry.item, Gate):
                what, fix = "has a name that is taken", "give it a name of its own"
            else:
                what = "is there twice; a step function can stand in one place of a workflow"
                fix = 'give the second one a name of its own: @step(name="…") on a function that calls the first'
            self.faults.add("E102", entry.where, what, fix)
            return False
        self.names.add(name)
        return True


def as_item(given: Any) -> Item | None:
    """A step's definition or a gate, None for anything else."""
    if isinstance(given, (Gate, StepDef)):
        return given
    return step_definition(given)


def describe(given: Any) -> str:
    """What stands in a list where a step or a gate should."""
    if callable(given):
        return f"the function {getattr(given, '__name__', given)!s}, which is not a step"
    return f"{str(given)[:60]!r}" if isinstance(given, (str, int, float)) else f"a {type(given).__name__}"

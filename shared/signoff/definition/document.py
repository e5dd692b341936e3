"""Workflows as documents: YAML or JSON that compiles to the same graph as Python does.

YAML is read as its 1.2 core schema says: `yes`, `on` and dates are texts. Aliases, tags and repeated keys are refused,
so that a document is as large as it looks and means what it shows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import yaml

from signoff.definition.compiler import Compiled, compile_workflow
from signoff.definition.faults import DefinitionError, Fault, FaultLog, did_you_mean
from signoff.definition.gates import KEYS, Gate
from signoff.definition.json_types import json_fault
from signoff.definition.reading import MAX_NODES, NODE_NAME
from signoff.definition.step_compiler import merged_retry
from signoff.definition.steps import StepDef
from signoff.errors import StepError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 64
MAX_EVENTS = 50_000
_TOP_KEYS = ("workflow", "description", "input", "steps")
_STEP_KEYS = (
    "step",
    "name",
    "queue",
    "retry",
    "timeout",
    "irreversible",
    "inline",
    "takes",
    "input",
    "output",
)
_WORDS = ("fail", "cancel", "continue")
_MAX_NESTED = 20

Resolver = Callable[[str], StepDef]


def parse_yaml(text: str | bytes) -> dict[str, Any]:
    """The mapping that a YAML document holds.

    Raises DefinitionError E127 for what is not YAML, larger than 256 KiB, nested deeper than 64, or uses aliases,
    tags, repeated keys, several documents or keys that are no texts.
    """
    if len(text) > MAX_BYTES:
        raise _unreadable(f"has more than {MAX_BYTES // 1024} KiB", "split the workflow")
    try:
        source = text.decode("utf-8") if isinstance(text, bytes) else text
        _check_events(source)
        found = yaml.load(source, Loader=_Loader)  # noqa: S506  # a SafeLoader with fewer types
    except UnicodeDecodeError as error:
        raise _unreadable(f"byte {error.start} is not UTF-8", "save it as UTF-8") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        fix = "check the indentation there; a text with ': ' in it, or that begins with {, needs quotes"
        raise _unreadable(f"{error.problem or error.context}{place}", fix) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        what, _, fix = str(error).splitlines()[0][:200].partition("; ")
        raise _unreadable(what, fix or "check the quotes") from None
    if not isinstance(found, dict):
        raise _unreadable("is no mapping", "begin with workflow: NAME and steps:")
    broken = json_fault(found)
    if broken is not None:
        raise _unreadable(f"{broken[0] or 'it'} {broken[1]}", "write the key or value in quotes")
    return found


def compile_document(document: Mapping[Any, Any], resolve: Resolver | None = None) -> Compiled:
    """The graph of a parsed document.

    With `resolve` (workers, the command line) steps are loaded, their decorators' options are the defaults and their
    annotations the types. Without it (the API, which never imports user code) references are taken as given and types
    are what the document says. Raises DefinitionError with every fault.
    """
    document = _with_on(document, 0)
    broken = json_fault(document)
    if broken is not None:
        raise _unreadable(f"{broken[0] or 'it'} {broken[1]}", "write the key or value in quotes")
    faults = FaultLog()
    name = document.get("workflow")
    where = f"workflow {name!r}"
    _check_keys(document, _TOP_KEYS, where, faults)
    listed = document.get("steps")
    if not isinstance(listed, list):
        faults.add("E103", where, "has no list of steps", "write steps: and a list under it")
        listed = []
    reader = _Reader(resolve, faults)
    items = [item for entry in listed[: MAX_NODES + 1] if (item := reader.item(entry, where)) is not None]
    description = document.get("description", "")
    given_input = document.get("input")
    if given_input is not None and not isinstance(given_input, Mapping):
        faults.add("E122", where, "input is no mapping", "write a JSON Schema, draft 2020-12")
        given_input = None
    return compile_workflow(name, items, input=given_input, description=description, faults=faults)


class _Reader:
    """Turns a document's entries into the steps and gates that Python would have given."""

    def __init__(self, resolve: Resolver | None, faults: FaultLog) -> None:
        self.resolve = resolve
        self.faults = faults

    def item(self, entry: Any, where: str, depth: int = 0) -> StepDef | Gate | None:
        if isinstance(entry, str):
            return self.step({"step": entry}, where)
        if isinstance(entry, Mapping) and "step" in entry:
            return self.step(entry, where)
        if isinstance(entry, Mapping) and "gate" in entry:
            return self.gate(entry, depth)
        shown = f"a mapping of {', '.join(map(str, entry))}" if isinstance(entry, Mapping) else f"{entry!r}"
        self.faults.add("E126", where, f"lists {shown[:100]}", "write - step: module:function, or - gate: name")
        return None

    def step(self, entry: Mapping[Any, Any], where: str) -> StepDef | None:
        ref = entry["step"]
        if not isinstance(ref, str) or not ref.strip():
            self.faults.add("E124", where, f"step is {ref!r}", "write step: module:function")
            return None
        base = self._base(ref)
        if base is None:
            return None
        name = entry.get("name", base.name)
        place = f"step {name!r}"
        _check_keys(entry, _STEP_KEYS, place, self.faults)
        changed: dict[str, Any] = {
            key: entry[key] for key in ("queue", "timeout", "irreversible", "inline") if entry.get(key) is not None
        }
        retry = entry.get("retry")
        if isinstance(retry, Mapping):
            changed["retry"] = merged_retry(retry, base.retry, place, self.faults)
        elif retry is not None:
            self.faults.add("E103", place, "retry is no mapping", "write retry: {attempts: 5}")
        if "takes" in entry:
            changed["takes"] = self._takes(entry["takes"], place)
        for key in ("input", "output"):
            if entry.get(key) is not None:
                changed[f"{key}_schema"] = entry[key]
        return replace(base, name=name, **changed)

    def gate(self, entry: Mapping[Any, Any], depth: int) -> Gate:
        name = entry["gate"]
        if isinstance(name, Mapping):
            self.faults.add("E101", "gate", "has a mapping for a name", "write - gate: NAME, and its keys below gate:")
            name = name.get("name", name.get("gate"))
        where = f"gate {name!r}"
        given = {key: value for key, value in entry.items() if key != "gate"}
        unknown = [key for key in given if key not in KEYS and not key.startswith("on_")]
        for key in unknown:
            self.faults.add("E103", where, f"has the unknown key {key!r}", did_you_mean(key, KEYS, "keys"))
            del given[key]
        for key in [key for key in given if key.startswith("on_")]:
            given[key] = self.target(given[key], f"{where}, {key}", depth)
        routes = given.get("on")
        if isinstance(routes, Mapping):
            given["on"] = {
                str(option): self.target(to, f"{where}, on {option}", depth) for option, to in routes.items()
            }
        form = given.get("form")
        if form is not None and not isinstance(form, Mapping):
            self.faults.add("E122", where, "form is no mapping", "write a JSON Schema, draft 2020-12")
            del given["form"]
        present = {key: value for key, value in given.items() if value is not None}
        return Gate(name, **present)

    def target(self, to: Any, where: str, depth: int) -> Any:
        """What an outcome leads to: a word as it is, a reference or mapping as its step or gate, a list of them."""
        if depth >= _MAX_NESTED:
            self.faults.add("E125", where, f"nests branches deeper than {_MAX_NESTED}", "split the workflow")
            return None
        if isinstance(to, str):
            return to if ":" not in to else self.item(to, where)
        if isinstance(to, Mapping):
            return self.item(to, where, depth + 1)
        if isinstance(to, list):
            branch = [item for entry in to if (item := self.item(entry, where, depth + 1)) is not None]
            return branch if branch or not to else None
        if to is not None:
            self.faults.add("E111", where, f"leads to {to!r}", f"write a step, a list of steps, or {', '.join(_WORDS)}")
        return None

    def _base(self, ref: str) -> StepDef | None:
        if self.resolve is None:
            return StepDef(name=ref.rpartition(":")[2].rpartition(".")[2], ref=ref)
        try:
            return self.resolve(ref)
        except StepError as error:
            self.faults.add("E124", f"step {ref!r}", error.detail, error.fix or "")
        # It still stands where it stands, with unknown types, so that its absence is no fault of the next one.
        name = ref.rpartition(":")[2].rpartition(".")[2]
        return StepDef(name=name, ref=ref) if NODE_NAME.fullmatch(name) and ref.count(":") == 1 else None

    def _takes(self, given: Any, place: str) -> tuple[str, ...] | None:
        if given is None:
            return None
        if not isinstance(given, list) or not all(isinstance(name, str) for name in given) or len(given) > MAX_NODES:
            self.faults.add("E103", place, "takes is no list of names", "write takes: [input, feedback]")
            return None
        return tuple(dict.fromkeys(given))


def _with_on(value: Any, depth: int) -> Any:
    """A YAML 1.1 reader takes the key `on` for the truth value, which can mean nothing else in a document."""
    if depth > MAX_DEPTH:
        raise _unreadable(f"is nested deeper than {MAX_DEPTH} levels", "split the workflow")
    if isinstance(value, Mapping):
        return {"on" if key is True else key: _with_on(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_on(inner, depth + 1) for inner in value]
    return value


def _check_keys(entry: Mapping[Any, Any], known: Sequence[str], where: str, faults: FaultLog) -> None:
    for key in entry:
        if key not in known:
            faults.add("E103", where, f"has the unknown key {key!r}", did_you_mean(str(key), known, "keys"))


# Reading YAML -----------------------------------------------------------------------------------------------------


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the C one where it was built
    """A safe loader that knows the core schema's types only, and refuses a key that is there twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key is no text", key_node.start_mark)
            if key_node.value in seen:
                problem = f"the key {key_node.value[:80]!r} is there twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key_node.value)
        found: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return found

    def flatten_mapping(self, node: Any) -> None:
        """`<<` is a key like any other: merging needs aliases, which are refused."""


def _core_resolvers() -> dict[str, list[tuple[str, Any]]]:
    """YAML 1.1's guesses without `yes`, `on`, dates, `1:30` (90) and `010` (8)."""
    rules = [
        ("tag:yaml.org,2002:bool", re.compile(r"true|True|TRUE|false|False|FALSE"), "tTfF"),
        ("tag:yaml.org,2002:null", re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
        ("tag:yaml.org,2002:int", re.compile(r"[-+]?(?:0|[1-9][0-9]{0,18})"), "-+0123456789"),
        (
            "tag:yaml.org,2002:float",
            re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)?\.[0-9]+|(?:0|[1-9][0-9]*)\.?)(?:[eE][-+]?[0-9]{1,3})?"),
            "-+0123456789.",
        ),
    ]
    out: dict[str, list[tuple[str, Any]]] = {}
    for tag, pattern, firsts in rules:
        whole = re.compile(rf"^(?:{pattern.pattern})$")
        for first in firsts:
            out.setdefault(first, []).append((tag, whole))
    return out


_Loader.yaml_implicit_resolvers = _core_resolvers()


def _check_events(source: str) -> None:
    depth = documents = 0
    for count, event in enumerate(yaml.parse(source, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))):
        line = event.start_mark.line + 1 if event.start_mark is not None else 0
        if count > MAX_EVENTS:
            raise ValueError(f"has more than {MAX_EVENTS} parts")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise ValueError(f"uses an anchor or alias at line {line}; write the value out")
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise ValueError(f"uses the tag {tag[:60]!r} at line {line}; write plain values")
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise ValueError(f"has a second document at line {line}; write one per file")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError(f"is nested deeper than {MAX_DEPTH} levels at line {line}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _unreadable(what: str, fix: str) -> DefinitionError:
    return DefinitionError([Fault(code="E127", where="document", what=what, fix=fix)])

"""What CEL says of a wrong expression, in words that name the fix."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from signoff.definition.cel_text import tokens
from signoff.definition.faults import did_you_mean

_FUNCTIONS = (
    *("all", "exists", "exists_one", "filter", "map", "has", "size", "contains", "startsWith", "endsWith"),
    *("matches", "int", "double", "string", "timestamp", "duration"),
)
_OVERLOAD = re.compile(r"found no matching overload for '([^']*)' applied to '(.*?)'")
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)'")
_AT = re.compile(r"<input>:\d+:(\d+):")
_MISSING = re.compile(r'No value with name "([^"]*)"|Key not found in map : "([^"]*)"')


class ExpressionFault(Exception):  # a fault in a definition, not an error in the program
    """An expression that cannot be used: the code, what is wrong with it, and what would be right."""

    def __init__(self, code: str, what: str, fix: str = "", also: Iterable[ExpressionFault] = ()) -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.fix = fix
        self._also = tuple(also)

    def each(self) -> Iterator[ExpressionFault]:
        """This fault and those found beside it."""
        yield self
        for other in self._also:
            yield from other.each()

    @classmethod
    def joined(cls, faults: list[ExpressionFault]) -> ExpressionFault:
        """One that stands for all of `faults`, of which there is at least one."""
        first, *others = faults
        return cls(first.code, first.what, first.fix, others)


def compile_fault(text: str, source: str) -> ExpressionFault:
    """The fault for the compiler's message `text` about `source`."""
    at = _AT.search(text)
    place = f" at character {at.group(1)}" if at else ""
    overload = _OVERLOAD.search(text)
    if overload is not None:
        operator = overload.group(1).strip("_").replace("_?_:", "?:").replace("_", "")
        kinds = [kind.strip() for kind in overload.group(2).strip("()").split(",")]
        return ExpressionFault(
            "E105",
            f"applies {operator!r} to {' and '.join(map(say_type, kinds))}{place}",
            _mix_fix(kinds, source),
        )
    unknown = _UNDECLARED.search(text)
    if unknown is not None:
        name = unknown.group(1)
        return ExpressionFault(
            "E105",
            f"uses {name!r}, which CEL does not know{place}",
            did_you_mean(name, _FUNCTIONS, "functions"),
        )
    if "has()" in text:
        return ExpressionFault("E105", f"asks has() of what is no field of an object{place}", "write has(payload.name)")
    if "recursion" in text:
        return ExpressionFault("E105", "is nested too deeply", "compute it in a step")
    first = text.splitlines()[0] if text else "it cannot be read"
    reason = re.sub(r"^(INVALID_ARGUMENT|INTERNAL|CANCELLED): |ERROR: <input>:-?\d+:-?\d+: ", "", first)
    reason = re.sub(r"^ERROR: <input>:-?\d+:-?\d+: |, expecting \{.*$| expecting \{.*$", "", reason)
    return ExpressionFault("E105", f"is not valid CEL{place}: {reason[:200]}", "see https://cel.dev for the language")


def _mix_fix(kinds: list[str], source: str) -> str:
    if set(kinds) == {"double", "int"}:
        literal = next((t.text for t in tokens(source) if t.kind == "number" and t.text.isdecimal()), None)
        example = f"{literal}.0" if literal else "85.0"
        return f"write whole numbers with a point ({example}), or convert a field with double(field)"
    if "string" in kinds and len(set(kinds)) > 1:
        return "write text in quotes, or convert it with double(field), int(field) or string(field)"
    if "null_type" in kinds:
        return "this field is never null; leave the comparison out"
    return "compare values of the same type"


def say_type(name: str) -> str:
    """A CEL type, as a sentence says it."""
    words = {
        "double": "a decimal number (double)",
        "int": "a whole number (int)",
        "string": "text (string)",
        "bool": "true or false (bool)",
        "null_type": "null",
    }
    return words.get(name.lower(), name.lower())


def kind_of(value: Any) -> str:
    """What a value is, as a sentence says it."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "text"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case dict():
            return "an object"
    return f"a {type(value).__name__}"


def runtime_error(text: str) -> str:
    """Why an evaluation gave no value, from CEL's message."""
    missing = _MISSING.search(text)
    if missing is not None:
        return f"missing field {missing.group(1) or missing.group(2)!r}"
    if "budget" in text or "recursion" in text:
        return "it took too much work"
    reason = re.sub(r"^[A-Z_]+: ", "", text.splitlines()[0] if text else "unknown error")
    return re.sub(r"\s*\[[A-Z_]+\]$", "", reason)[:200]

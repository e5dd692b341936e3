"""What CEL says of a wrong expression, in words that name the fix."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from signoff.definition.cel_text import Token, tokens
from signoff.definition.faults import did_you_mean

_FUNCTIONS = (
    *("all", "exists", "exists_one", "filter", "map", "has", "size", "contains", "startsWith", "endsWith"),
    *("matches", "int", "double", "string", "timestamp", "duration"),
)
_OVERLOAD = re.compile(r"found no matching overload for '([^']*)' applied to '\((.*)\)'")
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)'")
_SELECT = re.compile(r"expression of type '([^']*)' cannot be the operand of a select")
_EACH = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*?)(?=\n \||\nERROR: |\Z)", re.DOTALL)
_NO_OVERLOAD = re.compile(r"No matching overloads found ?: ?(?:\((\w*)\)\.)?([^\s(]+)\((.*)\)$")
_INDEX = re.compile(r"index=(-?\d+) size=(\d+)")
_LOGIC = ("&&", "||", "!", "?:")
_FOREIGN = {
    "and": "&&",
    "or": "||",
    "not": "!",
    "AND": "&&",
    "OR": "||",
    "NOT": "!",
    "is": "==",
    "None": "null",
    "True": "true",
    "False": "false",
    "TRUE": "true",
    "FALSE": "false",
    "len": "size",
}
"""Words of other languages, and what CEL writes for them."""
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


def foreign_fault(word: str) -> ExpressionFault | None:
    """The fault for a word that another language has where CEL has another; None for any other word."""
    ours = _FOREIGN.get(word)
    if ours is None:
        return None
    return ExpressionFault("E105", f"uses {word!r}, which CEL writes {ours!r}", f"write {ours} for {word}")


def compile_faults(text: str, source: str) -> list[ExpressionFault]:
    """The faults in the compiler's message `text` about `source`; at least one. A wrong syntax is alone."""
    if "recursion" in text:
        return [ExpressionFault("E105", "is nested too deeply", "compute it in a step")]
    each = [(_offset(source, int(line), int(column)), message) for line, column, message in _EACH.findall(text)]
    for at, message in each:
        if message.startswith("Syntax error"):
            return [_syntax_fault(message, source, at)]
    found = [fault for at, message in each if (fault := _checked_fault(message, source, at)) is not None]
    if found:
        return found
    reason = re.sub(r"^([A-Z_]+: )?(ERROR: <input>:-?\d+:-?\d+: )?", "", text.splitlines()[0] if text else "")
    return [ExpressionFault("E105", f"is not valid CEL: {reason[:200] or 'it cannot be read'}", _SEE)]


_SEE = "see https://cel.dev for the language"


def is_syntax(fault: ExpressionFault) -> bool:
    """Whether the expression could not be read at all, so that nothing else is known of it."""
    return fault.code == "E105" and fault.what.startswith(("is not valid CEL", "is nested too deeply"))


def _offset(source: str, line: int, column: int) -> int:
    lines = source.splitlines(keepends=True)
    return sum(map(len, lines[: max(0, line - 1)])) + max(0, column - 1)


def _syntax_fault(message: str, source: str, at: int) -> ExpressionFault:
    reason = re.sub(r",? expecting \{.*$", "", message.removeprefix("Syntax error: "), flags=re.DOTALL)
    reason = re.sub(r" expecting <EOF>$", "", reason)
    reason = re.sub(r"'?<EOF>'?", "the end", reason).replace("token recognition error at:", "cannot read")
    fix = _SEE
    single = [token.text for token in tokens(source) if token.kind == "op" and token.text in "='\"${"]
    if "=" in single:
        fix = "write == to compare"
    elif "'" in single or '"' in single:
        fix = "a quote is opened and never closed"
    elif "$" in single or "{" in single:
        fix = "write a field's name alone, without $ and braces"
    elif source[at : at + 1] == ":":
        fix = "how a number is written cannot be said here: let the step give the text"
    elif source[at : at + 1] == ",":
        fix = "write a number without commas: 1000.0"
    elif reason.endswith("the end"):
        fix = "something is missing at the end: a value or a closing bracket"
    return ExpressionFault("E105", f"is not valid CEL at character {at + 1}: {reason[:200]}", fix)


def _checked_fault(message: str, source: str, at: int) -> ExpressionFault | None:
    """One fault that the type checker found; None for what only follows from another one."""
    place = f" at character {at + 1}"
    if "*error*" in message:
        return None
    overload = _OVERLOAD.search(message)
    if overload is not None:
        return _overload_fault(overload.group(1), _split(overload.group(2)), source, at)
    unknown = _UNDECLARED.search(message)
    if unknown is not None:
        name = unknown.group(1)
        what = f"uses {name!r}, which CEL does not know{place}"
        return foreign_fault(name) or ExpressionFault("E105", what, did_you_mean(name, _FUNCTIONS, "functions"))
    if "has()" in message:
        return ExpressionFault("E105", f"asks has() of what is no field of an object{place}", "write has(payload.name)")
    select = _SELECT.search(message)
    if select is not None:
        return ExpressionFault("E105", f"reads a field of {say_type(select.group(1))}{place}", "use the value itself")
    return ExpressionFault("E105", f"is not valid CEL{place}: {message.splitlines()[0][:200]}", _SEE)


def _overload_fault(symbol: str, kinds: list[str], source: str, at: int) -> ExpressionFault:
    operator = _operator(symbol)
    sides = _sides(source, at) if len(kinds) == 2 else None
    shown = f": {source[sides[0] : sides[3]].strip()[:80]}" if sides is not None else ""
    left, right = ("", "") if sides is None else (source[sides[0] : sides[1]], source[sides[2] : sides[3]])
    what = f"applies {operator!r} to {' and '.join(map(say_type, kinds))} at character {at + 1}{shown}"
    if operator in _LOGIC:
        return ExpressionFault("E105", what, f"{operator} is for what is true or false: compare the value with another")
    return ExpressionFault("E105", what, _mix_fix(kinds, left.strip(), right.strip()))


def _operator(symbol: str) -> str:
    return symbol.replace("_?_:_", "?:").replace("_", "").replace("@", "")


def _split(kinds: str) -> list[str]:
    """The types in a list of types, the commas in brackets left alone."""
    return [each.strip() for each in re.split(r",(?![^()]*\))", kinds)]


def _sides(source: str, at: int) -> tuple[int, int, int, int] | None:
    """Where the operands left and right of the operator at `at` begin and end; None when it has not both."""
    found = tokens(source)
    here = next((n for n, token in enumerate(found) if token.start == at and token.text not in "([{"), None)
    if here is None:
        return None
    depth = found[here].depth

    def ends(token: Token) -> bool:
        stop = token.kind != "string" and token.text in ("&&", "||", "?", ":", ",")
        return token.depth < depth or (token.depth == depth and stop)

    first, last = here, here
    while first > 0 and not ends(found[first - 1]):
        first -= 1
    while last + 1 < len(found) and not ends(found[last + 1]):
        last += 1
    if here in (first, last):
        return None
    return found[first].start, found[here].start, found[here].end, found[last].end


def _mix_fix(kinds: list[str], left: str, right: str) -> str:
    if set(kinds) == {"double", "int"}:
        whole, other = (left, right) if kinds[0] == "int" else (right, left)
        if whole.isdecimal() or not whole:
            return f"write whole numbers with a point ({whole or '85'}.0)"
        if other.endswith(".0") and other[:-2].isdecimal():
            return f"write {other[:-2]} without a point, or double({whole})"
        return f"convert the whole number: double({whole})"
    if "string" in kinds and len(set(kinds)) > 1:
        text, other = (left, right) if kinds[0] == "string" else (right, left)
        if text[1:-1].replace(".", "", 1).isdecimal() and text[:1] in "'\"":
            return f"write the number without quotes: {text[1:-1]}" + ("" if "." in text or "int" in kinds else ".0")
        return "write text in quotes, or convert it with double(field), int(field) or string(field)"
    if "bool" in kinds:
        return "what is true or false stands alone, or with ! before it"
    if "null_type" in kinds:
        return "this field is never null; leave the comparison out"
    return "compare values of the same type"


def say_type(name: str) -> str:
    """A CEL type, as a sentence says it."""
    words = {
        "double": "a decimal number (double)",
        "int": "a whole number (int)",
        "int64": "a whole number (int)",
        "string": "text (string)",
        "bool": "true or false (bool)",
        "null_type": "null",
        "null": "null",
        "google.protobuf.duration": "a duration",
        "google.protobuf.timestamp": "a time (timestamp)",
        "map": "an object",
        "list": "a list",
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
    reason = re.sub(r"\s*\[[A-Z_]+\]$", "", reason)
    index = _INDEX.search(reason)
    if index is not None:
        return f"a list of {index.group(2)} has no element {index.group(1)}"
    overload = _NO_OVERLOAD.search(reason)
    if overload is not None:
        owner, symbol, others = overload.groups(default="")
        kinds = [kind for kind in (owner, *_split(others)) if kind]
        return f"{_operator(symbol)!r} has no meaning for {' and '.join(map(say_type, kinds))}"
    return reason[:200]

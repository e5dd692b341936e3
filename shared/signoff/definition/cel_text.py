"""CEL source as tokens: which names it uses, where it splits, and how much work it could ask for.

The CEL library compiles and evaluates; it gives no syntax tree. What has to be known beforehand (the names for a
"did you mean", the disjuncts for the why-sentence, loops whose work would have no bound) is read from the tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

MAX_EXPRESSION = 2_000
"""Characters in one expression: a longer one belongs into a step, where it can be tested."""

LOOPS = frozenset({"all", "exists", "exists_one", "map", "filter"})
MAX_LOOPS = 4
CONSTANTS = frozenset({"true", "false", "null"})
RESERVED = frozenset(
    [
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "in",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)
"""Words that CEL keeps for itself; a field of such a name is reached as `payload["name"]`."""
TYPE_NAMES = frozenset({"bool", "bytes", "double", "dyn", "int", "list", "map", "null_type", "string", "type", "uint"})
UNDECLARABLE = RESERVED | TYPE_NAMES | CONSTANTS
CEL_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|//[^\n]*)
  | (?P<string>(?:[rRbB]{0,2})(?:\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}
        |"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
  | (?P<number>0[xX][0-9a-fA-F]+[uU]?|(?:\d+\.\d+|\.\d+|\d+)(?:[eE][+-]?\d+)?[uU]?)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<op>\|\||&&|==|!=|<=|>=|.)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Token:
    """One token; `depth` counts the brackets around it, a bracket itself being outside of itself."""

    kind: Literal["string", "number", "name", "op"]
    text: str
    start: int
    end: int
    depth: int


@dataclass(frozen=True, slots=True)
class Use:
    """One use of a name: `path` is the name and the plain fields after it; `asked` when `has()` asks for it."""

    path: tuple[str, ...]
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Work:
    """What the loops and joins of an expression could ask for; see `conditions.Expression` for the sum.

    `wanders` says that a loop's body names something other than its own variable.
    """

    loops: int
    maps: int
    joins: int
    scans: int
    wanders: bool
    fault: str | None


@lru_cache(maxsize=256)
def tokens(source: str) -> tuple[Token, ...]:
    """The tokens of `source`. Never fails: what is not CEL is for the compiler to refuse."""
    return tuple(scan(source))


def scan(source: str, start: int = 0) -> Iterator[Token]:
    """The tokens of `source` from `start` on, one at a time."""
    depth = 0
    for found in _TOKEN.finditer(source, start):
        kind = found.lastgroup
        text = found.group()
        if kind == "space":
            continue
        if kind == "op" and text in ")]}":
            depth = max(0, depth - 1)
        yield Token(kind or "op", text, found.start(), found.end(), depth)  # type: ignore[arg-type]
        if kind == "op" and text in "([{":
            depth += 1


def disjuncts(source: str) -> list[str]:
    """The parts of `a || b || c`, or the whole where it is no plain disjunction."""
    found = tokens(source)
    top = [token for token in found if token.depth == 0]
    if any(token.text in ("?", ":") for token in top if token.kind == "op"):
        return [source.strip()]
    cuts = [token for token in top if token.kind == "op" and token.text == "||"]
    parts, start = [], 0
    for cut in cuts:
        parts.append(source[start : cut.start].strip())
        start = cut.end
    parts.append(source[start:].strip())
    return [part for part in parts if part]


def uses(source: str) -> list[Use]:
    """Every free name in `source` with the plain path after it, functions and loop variables left out."""
    found = tokens(source)
    bound = _loop_variables(found)
    out: list[Use] = []
    for at, token in enumerate(found):
        if token.kind != "name" or token.text in CONSTANTS or token.text in RESERVED:
            continue
        before = found[at - 1] if at else None
        after = found[at + 1] if at + 1 < len(found) else None
        if before is not None and before.text == "." and not _leads(found, at - 1):
            continue
        if after is not None and after.text == "(":
            continue
        if any(start <= token.start < end and token.text == name for name, start, end in bound):
            continue
        presence = at >= 2 and before is not None and before.text == "(" and found[at - 2].text == "has"
        out.append(Use(_path_from(found, at), presence))
    return out


def field_path(source: str) -> tuple[str | int, ...] | None:
    """The path when `source` is nothing but one (`a`, `a.b`, `payload["x y"]`, `items[0].name`), else None."""
    found = tokens(source)
    if not found or found[0].kind != "name" or found[0].text in CONSTANTS | RESERVED:
        return None
    path: list[str | int] = [found[0].text]
    at = 1
    while at < len(found):
        rest = found[at : at + 3]
        if len(rest) >= 2 and rest[0].text == "." and rest[1].kind == "name":
            path.append(rest[1].text)
            at += 2
        elif len(rest) == 3 and rest[0].text == "[" and rest[2].text == "]":
            key = _literal(rest[1])
            if key is None:
                return None
            path.append(key)
            at += 3
        else:
            return None
    return tuple(path)


def patterns_in(source: str) -> list[str]:
    """The regular expressions that `matches` is given as plain texts."""
    found = tokens(source)
    out = []
    for at, token in enumerate(found[:-1]):
        if token.kind != "name" or token.text != "matches" or found[at + 1].text != "(":
            continue
        depth = found[at + 1].depth
        end = next((n for n in range(at + 2, len(found)) if found[n].text == ")" and found[n].depth == depth), 0)
        pattern = _literal(found[end - 1]) if end else None
        if isinstance(pattern, str) and found[end - 2].text in ("(", ","):
            out.append(pattern)
    return out


def work_of(source: str) -> Work:
    """How an expression's work grows with its input, and the fault where nothing would bound it.

    CEL's own limit counts iterations but not what each one builds: `[s].map(a, a + a).map(a, a + a)…` doubles a text
    thirty times over. So a loop may build nothing: no joining by `+`, no list or map made of anything but constants,
    and one `map` in all.
    """
    found = tokens(source)
    spans = list(_loop_spans(found))
    maps = sum(1 for name, _, _ in spans if name == "map")
    bound = _loop_variables(found)
    joins = sum(1 for token in found if token.kind == "op" and token.text in "+[{")
    scans = sum(1 for token in found if token.text in ("==", "!=", "in") or token.text == "(")
    fault = None
    if len(spans) > MAX_LOOPS:
        fault = f"has {len(spans)} loops; {MAX_LOOPS} are allowed"
    elif maps > 1:
        fault = "has more than one map()"
    for _, first, last in spans:
        fault = fault or _builds(found[first:last])
    return Work(len(spans), maps, joins, scans, _wanders(found, bound), fault)


def _builds(body: tuple[Token, ...]) -> str | None:
    for at, token in enumerate(body):
        if token.kind != "op":
            continue
        if token.text == "+":
            return "joins with + inside a loop"
        is_literal = token.text in "[{" and (
            at == 0 or body[at - 1].text in RESERVED or not (body[at - 1].kind == "name" or body[at - 1].text in ")]")
        )
        if is_literal:
            closing = next(
                (n for n in range(at + 1, len(body)) if body[n].depth == token.depth and body[n].text in "]}"),
                len(body),
            )
            if any(inner.kind == "name" and inner.text not in CONSTANTS for inner in body[at:closing]):
                return "builds a list or map inside a loop"
    return None


def _wanders(found: tuple[Token, ...], bound: list[tuple[str, int, int]]) -> bool:
    for at, token in enumerate(found):
        if token.kind != "name" or token.text in CONSTANTS | RESERVED:
            continue
        around = [span for span in bound if span[1] <= token.start < span[2]]
        if not around or max(around, key=lambda span: span[1])[0] == token.text:
            continue
        follows_dot = at > 0 and found[at - 1].text == "."
        is_call = at + 1 < len(found) and found[at + 1].text == "("
        if not follows_dot and not is_call:
            return True
    return False


def _leads(found: tuple[Token, ...], dot: int) -> bool:
    """Whether the dot at this place leads a name (`.a`) and selects nothing."""
    if dot == 0:
        return True
    before = found[dot - 1]
    return before.kind == "op" and before.text not in ")]}"


def _path_from(found: tuple[Token, ...], at: int) -> tuple[str, ...]:
    path = [found[at].text]
    at += 1
    while at + 1 < len(found):
        if found[at].text == "." and found[at + 1].kind == "name":
            if at + 2 < len(found) and found[at + 2].text == "(":
                break
            path.append(found[at + 1].text)
            at += 2
        elif found[at].text == "[" and at + 2 < len(found) and found[at + 2].text == "]":
            key = _literal(found[at + 1])
            if not isinstance(key, str):
                break
            path.append(key)
            at += 3
        else:
            break
    return tuple(path)


def _literal(token: Token) -> str | int | None:
    if token.kind == "string" and "\\" not in token.text and token.text[0] in "\"'":
        return token.text.strip(token.text[0])
    if token.kind == "number" and token.text.isdecimal() and len(token.text) < 10:
        return int(token.text)
    return None


def _loop_spans(found: tuple[Token, ...]) -> Iterator[tuple[str, int, int]]:
    """Each loop's name and the token range between its brackets."""
    for at in range(1, len(found) - 1):
        if found[at].text in LOOPS and found[at - 1].text == "." and found[at + 1].text == "(":
            depth = found[at + 1].depth
            last = next(
                (n for n in range(at + 2, len(found)) if found[n].text == ")" and found[n].depth == depth),
                len(found),
            )
            if last > at + 2:
                yield found[at].text, at + 2, last


def _loop_variables(found: tuple[Token, ...]) -> list[tuple[str, int, int]]:
    """Each loop's variable and the range of the source in which it is bound."""
    out = []
    for _, first, last in _loop_spans(found):
        end = found[last].start if last < len(found) else found[-1].end
        out.append((found[first].text, found[first].start, end))
    return out

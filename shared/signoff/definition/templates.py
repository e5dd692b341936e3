"""Texts with CEL between braces: `Refund {amount} for {order_id}`; `{{` and `}}` are plain braces.

A template is checked when it is defined and never fails when it is rendered: a part that has no value shows its
source as a mark, `⟨amount?⟩`, and the rest stays readable.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from signoff.canonical import Json
from signoff.definition.cel_faults import ExpressionFault
from signoff.definition.cel_scope import PAYLOAD, Scope
from signoff.definition.cel_text import field_path, scan
from signoff.definition.conditions import Expression, compile_expression
from signoff.durations import format_duration

MAX_VALUE = 200
"""Characters that one value may fill."""
MAX_RENDERED = 1_000
"""Characters of a rendered text."""
MAX_TEMPLATE = 4_000
MAX_PARTS = 50
_NOTHING = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A template filled in. `complete` is false when a part had no value; `value` is the raw value of a lone part."""

    text: str
    complete: bool
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    expression: Expression
    path: tuple[str | int, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Template:
    """A compiled template: literal texts and expressions in turn."""

    source: str
    pieces: tuple[str | _Part, ...]

    @property
    def constant(self) -> bool:
        """Whether nothing in it depends on the payload."""
        return all(isinstance(piece, str) for piece in self.pieces)

    @property
    def lone_kind(self) -> str | None:
        """CEL's name for the type of what it gives, where it is one expression and nothing else."""
        match self.pieces:
            case (_Part(expression=expression),):
                return expression.kind
        return None

    def render(self, payload: Json) -> str:
        """The text for `payload`; never raises."""
        return self.fill(payload).text

    def fill(self, payload: Json) -> Rendered:
        """The text for `payload` and whether every part had a value; never raises."""
        out, complete, value = [], True, None
        for piece in self.pieces:
            if isinstance(piece, str):
                out.append(piece)
                continue
            value = _value_of(piece, payload)
            if value is _NOTHING:
                complete = False
                out.append(f"⟨{_cut(piece.expression.source.strip(), 60)}?⟩")
            else:
                out.append(_cut(show(value), MAX_VALUE))
        lone = len(self.pieces) == 1 and complete
        return Rendered(text=_cut("".join(out), MAX_RENDERED), complete=complete, value=value if lone else None)


def compile_template(source: str, scope: Scope) -> Template:
    """`source` with every expression in it compiled. Raises ExpressionFault where one cannot be."""
    if len(source) > MAX_TEMPLATE:
        raise ExpressionFault("E116", f"has {len(source)} characters; {MAX_TEMPLATE} are allowed", "shorten it")
    pieces: list[str | _Part] = []
    faults: list[ExpressionFault] = []
    for is_code, text in split(source):
        if is_code:
            try:
                pieces.append(_Part(expression=compile_expression(text, scope), path=field_path(text)))
            except ExpressionFault as fault:
                faults.append(fault)
        elif text:
            pieces.append(text)
    if faults:
        raise ExpressionFault.joined(faults)
    return Template(source=source, pieces=tuple(pieces))


def is_template(source: str) -> bool:
    """Whether a text has braces, so that it is to be read as a template."""
    return "{" in source or "}" in source


def split(source: str) -> list[tuple[bool, str]]:
    """Texts (False) and expressions (True) in turn. Raises ExpressionFault for unmatched braces."""
    out: list[tuple[bool, str]] = []
    text: list[str] = []
    at = 0
    while at < len(source):
        char = source[at]
        if source[at : at + 2] in ("{{", "}}"):
            text.append(char)
            at += 2
        elif char == "}":
            raise ExpressionFault("E107", f"has a }} at character {at + 1} that nothing opened", "write }} for a brace")
        elif char == "{":
            end = _closing(source, at)
            if end is None:
                raise ExpressionFault(
                    "E107",
                    f"has a {{ at character {at + 1} that is never closed",
                    "write {{ for a plain brace",
                )
            out += [(False, "".join(text)), (True, source[at + 1 : end])]
            if len(out) > 2 * MAX_PARTS:
                raise ExpressionFault("E116", f"has more than {MAX_PARTS} expressions", "compute the text in a step")
            text = []
            at = end + 1
        else:
            text.append(char)
            at += 1
    out.append((False, "".join(text)))
    return out


def _closing(source: str, opening: int) -> int | None:
    """Where the brace opened at `opening` closes; braces inside of CEL texts and maps are not it."""
    for token in scan(source, opening):
        if token.kind == "op" and token.text == "}" and token.depth == 0:
            return token.start
    return None


def look_up(payload: Json, path: tuple[str | int, ...]) -> Any:
    """The value at a plain path, or `MISSING` (tested by `is_missing`)."""
    found = payload
    if path and path[0] == PAYLOAD and not (isinstance(payload, dict) and PAYLOAD in payload):
        path = path[1:]
    for part in path:
        match found:
            case dict() if part in found:
                found = found[part]
            case list() if isinstance(part, int) and part < len(found):
                found = found[part]
            case _:
                return _NOTHING
    return found


def is_missing(value: Any) -> bool:
    """Whether `look_up` found nothing."""
    return value is _NOTHING


def show(value: Any) -> str:
    """A value as a person reads it: a decimal string as it is, a list by commas, null as `none`."""
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case float() if not math.isfinite(value):
            return str(value)
        case int() | float():
            return repr(value)
        case timedelta():
            ms = round(value.total_seconds() * 1000)
            return format_duration(ms) if ms >= 0 else f"-{format_duration(-ms)}"
        case datetime():
            return value.isoformat()
        case list() if all(isinstance(item, (str, int, float)) for item in value[:MAX_VALUE]):
            return ", ".join(show(item) for item in value[:MAX_VALUE])
    try:
        return orjson.dumps(value).decode()
    except (TypeError, ValueError):
        return f"({type(value).__name__})"


def _value_of(part: _Part, payload: Json) -> Any:
    # A plain field is shown as it stands in the payload: CEL would make 640.0 of the decimal "640.00".
    if part.path is not None:
        return look_up(payload, part.path)
    found = part.expression.evaluate(payload)
    return _NOTHING if found.error is not None else found.value


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"

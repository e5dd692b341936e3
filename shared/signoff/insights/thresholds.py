"""The number that a gate's condition compares its score with, and the same condition with another number.

Only what is certain is taken: one comparison of the score's field with a number, wherever it stands between `||`,
`&&`, `!`, `?:` and brackets. Arithmetic, loops and a second threshold are refused with the reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

from signoff.definition.cel_faults import ExpressionFault
from signoff.definition.cel_scope import PAYLOAD, Scope
from signoff.definition.cel_text import Token, field_path, tokens
from signoff.definition.conditions import Expression, compile_expression
from signoff.definition.fields import split_path
from signoff.insights.whatif import Move

MAX_THRESHOLD = 10**12
MAX_PLACES = 12
_FLIPPED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_NUMBER = re.compile(r"-?\s*(0[xX][0-9a-fA-F]+|(?:\d+\.\d+|\.\d+|\d+)(?:[eE][+-]?\d+)?)([uU]?)")
_DOUBLE = re.compile(r"double\s*\((.*)\)\s*", re.DOTALL)
_EDGES = frozenset({"||", "&&", "?", ":", "!"})


class NoThreshold(Exception):  # an answer for the reader, not an error in the program
    """Why there is no what-if: a sentence for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """One comparison of the score with a number; `operator` reads with the score on the left."""

    source: str
    field: str
    operator: str
    value: Decimal
    literal: str
    start: int
    end: int

    def rewritten(self, value: Decimal) -> str:
        """The condition with `value` for its number."""
        return self.source[: self.start] + _written(value, self.literal) + self.source[self.end :]

    def moved(self, value: Decimal) -> Move:
        """Where the score has to lie for `value` to make a difference."""
        ends = sorted((float(self.value), float(value)))
        return Move(score=split_path(self.field), low=ends[0], high=ends[1])

    def compiled(self, value: Decimal, scope: Scope) -> Expression:
        """The condition with `value`, ready to be evaluated. Raises NoThreshold where that is no valid condition."""
        try:
            return compile_expression(self.rewritten(value), scope, condition=True)
        except ExpressionFault as fault:
            whole = value != value.to_integral_value() and "." not in self.literal
            why = f"{self.field} is a whole number here, so the threshold is one too" if whole else fault.what
            raise NoThreshold(why) from fault


def find_threshold(condition: str | None, score: str | None) -> Threshold:
    """The one comparison of the field `score` with a number in `condition`. Raises NoThreshold."""
    if score is None:
        raise NoThreshold("This gate names no score, so there is no threshold to move.")
    if condition is None:
        raise NoThreshold("This gate has no condition: every run is reviewed here.")
    found = _comparisons(condition, score)
    if not found:
        raise NoThreshold(f"The condition does not compare {score} with a number in a way that can be moved.")
    if len(found) > 1:
        raise NoThreshold(f"The condition compares {score} with a number in {len(found)} places; one can be moved.")
    return found[0]


def read_threshold(text: str) -> Decimal | None:
    """A threshold as somebody typed it; None for what is no number, or has more digits than make sense."""
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        return None
    if not value.is_finite() or abs(value) > MAX_THRESHOLD:
        return None
    exponent = value.normalize().as_tuple().exponent
    return value if isinstance(exponent, int) and exponent >= -MAX_PLACES else None


def show_threshold(value: Decimal) -> str:
    """A threshold as people write it: no exponent, no zeros that say nothing."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _written(value: Decimal, literal: str) -> str:
    text = show_threshold(value)
    if text == "-0":
        text = "0"
    if "." in text:
        return text
    if literal[-1:] in "uU":
        return text + "u"
    is_hex = literal.lstrip("- ").lower().startswith("0x")
    return f"{text}.0" if not is_hex and re.search(r"[.eE]", literal) else text


def _comparisons(source: str, score: str) -> list[Threshold]:
    found = tokens(source)
    path = split_path(score)
    out = []
    for at, token in enumerate(found):
        if token.kind != "op" or token.text not in _FLIPPED or not _in_plain_brackets(found, at):
            continue
        left, right = _operand(found, at, -1), _operand(found, at, 1)
        if left is None or right is None:
            continue
        for name, number, operator in ((left, right, token.text), (right, left, _FLIPPED[token.text])):
            value = _number(source[number[0] : number[1]])
            if value is not None and _names(source[name[0] : name[1]], path):
                out.append(
                    Threshold(
                        source=source,
                        field=score,
                        operator=operator,
                        value=value,
                        literal=source[number[0] : number[1]],
                        start=number[0],
                        end=number[1],
                    )
                )
    return out


def _operand(found: tuple[Token, ...], at: int, step: int) -> tuple[int, int] | None:
    """Where the operand beside the comparison starts and ends; None where there is nothing."""
    depth, last, cursor = found[at].depth, at, at + step
    while 0 <= cursor < len(found):
        token = found[cursor]
        if token.depth < depth or (token.depth == depth and token.kind == "op" and token.text in _EDGES):
            break
        last = cursor
        cursor += step
    if last == at:
        return None
    first, final = sorted((at + step, last))
    return found[first].start, found[final].end


def _in_plain_brackets(found: tuple[Token, ...], at: int) -> bool:
    """Whether all brackets around this token only group: no call, no loop, no list, no map."""
    depth = found[at].depth
    for cursor in range(at - 1, -1, -1):
        token = found[cursor]
        if token.kind == "op" and token.text in "([{" and token.depth == depth - 1:
            before = found[cursor - 1] if cursor else None
            if token.text != "(" or (before is not None and before.kind == "name"):
                return False
            depth -= 1
    return True


def _names(text: str, path: tuple[str, ...]) -> bool:
    inner = _DOUBLE.fullmatch(text.strip())
    found = field_path(inner.group(1) if inner else text)
    return found is not None and found in (path, (PAYLOAD, *path))


def _number(text: str) -> Decimal | None:
    found = _NUMBER.fullmatch(text.strip())
    if found is None:
        return None
    digits = found.group(1)
    value = Decimal(int(digits, 16)) if digits.lower().startswith("0x") else Decimal(digits)
    return -value if text.strip().startswith("-") else value

"""Arithmetic that comes to no number is an error: `0.0 / 0.0 > 1.0` would be false, and false lets a run pass.

CEL follows IEEE 754, where a division by zero and an overflow go on as infinity and NaN, and a comparison with NaN is
false. Nothing in a payload is NaN, so it can only come out of arithmetic or of `double("nan")`. Each such operand
is put through a list of one that keeps it only when it is finite, and whose first element is then missing:

    a / b > 0.5    becomes    [a / b].filter(…)[0] > 0.5

The operand is evaluated once, keeps its type, and the text grows by a constant for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from signoff.definition.cel_text import Token, tokens

VARIABLE: Final = "signoff_finite"
_FINITE = (
    f"].filter({VARIABLE}, {VARIABLE} == {VARIABLE}"
    f" && dyn({VARIABLE}) != dyn(1.0 / 0.0) && dyn({VARIABLE}) != dyn(-1.0 / 0.0))[0]"
)
_ARITHMETIC = frozenset("+-*/")
_BETWEEN = frozenset({"==", "!=", "<", "<=", ">", ">=", "&&", "||", "?", ":", ",", "in"})
_CLOSING = {"(": ")", "[": "]", "{": "}"}


def guarded(source: str) -> str:
    """`source`, a valid expression, with every operand that could come to no number guarded; else as it is."""
    found = tokens(source)
    text = " ".join(_written(found))
    return source if VARIABLE not in text else text


def found_no_number(message: str) -> bool:
    """Whether CEL's message about a guarded expression says that a guard was left empty."""
    return "index=0 size=0" in message


def _written(found: Sequence[Token]) -> Iterator[str]:
    """The tokens anew; each operand between two comparisons, commas or brackets is guarded as a whole."""
    start = 0
    at = 0
    while at <= len(found):
        if at == len(found) or (found[at].text in _BETWEEN and found[at].kind != "string"):
            yield from _operand(found[start:at])
            if at < len(found):
                yield found[at].text
            start = at + 1
        elif found[at].kind == "op" and found[at].text in _CLOSING:
            at = _closing(found, at)
        at += 1


def _operand(found: Sequence[Token]) -> Iterator[str]:
    risky = _may_be_no_number(found)
    if risky:
        yield "["
    at = 0
    while at < len(found):
        token = found[at]
        yield token.text
        if token.kind == "op" and token.text in _CLOSING:
            end = _closing(found, at)
            yield from _written(found[at + 1 : end])
            yield from (closing.text for closing in found[end : end + 1])
            at = end
        at += 1
    if risky:
        yield _FINITE


def _may_be_no_number(found: Sequence[Token]) -> bool:
    """Whether the operand computes something itself, outside of its own brackets."""
    at = 0
    while at < len(found):
        token = found[at]
        if token.kind == "op" and token.text in _ARITHMETIC and (at > 0 or token.text != "-"):
            return True
        if token.kind == "name" and token.text == "double":
            return True
        if token.kind == "op" and token.text in _CLOSING:
            at = _closing(found, at)
        at += 1
    return False


def _closing(found: Sequence[Token], opening: int) -> int:
    depth = found[opening].depth
    for at in range(opening + 1, len(found)):
        if found[at].depth == depth and found[at].kind == "op" and found[at].text in ")]}":
            return at
    return len(found)

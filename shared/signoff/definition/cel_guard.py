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
_OPENING = frozenset("([{")


def guarded(source: str) -> str:
    """`source`, a valid expression, with every operand that could come to no number guarded; else as it is."""
    found = tokens(source)
    text = " ".join(_written(found))
    return source if VARIABLE not in text else text


def found_no_number(message: str) -> bool:
    """Whether CEL's message about a guarded expression says that a guard was left empty."""
    return "index=0 size=0" in message


def _written(found: Sequence[Token], *, covered: bool = False) -> Iterator[str]:
    """The tokens anew; each operand between two comparisons, commas or brackets is guarded as a whole.

    `covered` says that a guard outside sees whatever this comes to.
    """
    cuts = [at for at, token in _outside_brackets(found) if token.text in _BETWEEN and token.kind != "string"]
    start = 0
    for cut in (*cuts, len(found)):
        yield from _operand(found[start:cut], covered=covered and not cuts)
        yield from (between.text for between in found[cut : cut + 1])
        start = cut + 1


def _operand(found: Sequence[Token], *, covered: bool) -> Iterator[str]:
    own = [token for _, token in _outside_brackets(found)]
    risky = not covered and _may_be_no_number(own)
    # NaN and infinity stay what they are through + - and *; a division by infinity is zero again.
    covers = (risky or covered) and not any(token.kind == "op" and token.text == "/" for token in own)
    if risky:
        yield "["
    for at, token in _outside_brackets(found):
        yield token.text
        if token.kind == "op" and token.text in _OPENING:
            end = _closing(found, at)
            is_group = token.text == "(" and (
                at == 0 or (found[at - 1].kind == "op" and found[at - 1].text not in ")]}")
            )
            yield from _written(found[at + 1 : end], covered=covers and is_group)
    if risky:
        yield _FINITE


def _outside_brackets(found: Sequence[Token]) -> Iterator[tuple[int, Token]]:
    """The tokens that are in no bracket, and the brackets themselves."""
    at = 0
    while at < len(found):
        yield at, found[at]
        is_opening = found[at].kind == "op" and found[at].text in _OPENING
        at = _closing(found, at) if is_opening else at + 1


def _may_be_no_number(own: Sequence[Token]) -> bool:
    """Whether an operand computes something itself, outside of its brackets."""
    for at, token in enumerate(own):
        if token.kind == "op" and token.text in _ARITHMETIC and (at > 0 or token.text != "-"):
            return True
        if token.kind == "name" and token.text == "double":
            return True
    return False


def _closing(found: Sequence[Token], opening: int) -> int:
    depth = found[opening].depth
    for at in range(opening + 1, len(found)):
        if found[at].depth == depth and found[at].kind == "op" and found[at].text in ")]}":
            return at
    return len(found)

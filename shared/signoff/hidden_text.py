"""Characters that can't be seen: whoever decides on a text has to see that it has some.

Direction marks turn words around, zero-width and tag characters carry text that only a machine reads, and a Hangul
filler is a blank that is a letter. In a page emoji lose their joiners by this, which is the smaller evil.
"""

from __future__ import annotations

import re

INVISIBLE = (
    "\x7f-\x9f"  # DEL and the C1 controls, some of which are escape sequences of one character
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
"""Part of a character class of a regular expression, without the controls below the blank."""

_JOINERS = "\u200c\u200d"
"""Some scripts are not written without them: a terminal leaves them. A page marks them, for they can carry text too."""

_HIDDEN_IN_LINES = re.compile(f"[\x00-\x08\x0b\x0c\x0e-\x1f{INVISIBLE}{_JOINERS}]")


def code_point(character: str) -> str:
    """How a character is named: `U+202E`."""
    return f"U+{ord(character):04X}"


def split_hidden(text: str) -> list[tuple[str, bool]]:
    """`text` in pieces, each with whether it is one hidden character; line ends and tabs are not hidden."""
    pieces: list[tuple[str, bool]] = []
    at = 0
    for found in _HIDDEN_IN_LINES.finditer(text):
        if found.start() > at:
            pieces.append((text[at : found.start()], False))
        pieces.append((found.group(), True))
        at = found.end()
    if at < len(text):
        pieces.append((text[at:], False))
    return pieces


def shown(text: str) -> str:
    """`text` with each hidden character named in its place: `⟦U+202E⟧`."""
    return "".join(f"⟦{code_point(piece)}⟧" if hidden else piece for piece, hidden in split_hidden(text))

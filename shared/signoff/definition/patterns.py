"""Regular expressions in time linear in the text: RE2, by way of CEL, which brings it."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def _pattern_program() -> Any:
    from cel_expr_python import cel

    variables = {"text": cel.Type.STRING, "pattern": cel.Type.STRING}
    return cel.NewEnv(variables=variables).compile("text.matches(pattern)")


def matches(pattern: str, text: str) -> bool | None:
    """Whether `pattern` is found in `text`, in time linear in it (RE2, by way of CEL); None for a bad pattern."""
    from cel_expr_python import cel

    try:
        found = _pattern_program().eval(data={"text": text, "pattern": pattern})
    except RuntimeError:
        return None
    return bool(found.value()) if found.type() == cel.Type.BOOL else None

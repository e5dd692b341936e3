"""Guards taken out of the code while it runs, to see that a test notices.

A test that can't fail proves nothing: for each promise there is a mutant that breaks it, and the check that holds the
promise has to catch the mutant.
"""

from __future__ import annotations

import inspect
import textwrap
from types import FunctionType
from typing import Any

import pytest


def mutate(monkeypatch: pytest.MonkeyPatch, function: Any, old: str, new: str) -> None:
    """Replace one piece of a function's source, for everybody who has imported it.

    The piece has to be there exactly once: a mutant of code that has moved on would prove nothing.
    """
    assert isinstance(function, FunctionType)
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1, f"{function.__qualname__} has {source.count(old)} times {old!r}"
    # Decorators have done their work already; only the body is exchanged.
    source = source[source.index("def ") :].replace(old, new)
    made: dict[str, Any] = {}
    # The file's own future import would be missed: annotations are not evaluated there.
    exec(compile("from __future__ import annotations\n" + source, f"<mutant {function.__qualname__}>", "exec"),
         function.__globals__, made)  # fmt: skip
    monkeypatch.setattr(function, "__code__", made[function.__name__].__code__)

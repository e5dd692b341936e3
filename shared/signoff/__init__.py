"""Signoff runs workflows on Celery and stops them exactly where a person must decide."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

    from signoff.definition.authoring import Feedback, Gate, Retry, RunContext, Workflow, step

    testing: ModuleType

__all__ = ["Feedback", "Gate", "Retry", "RunContext", "Workflow", "step", "testing"]


def __getattr__(name: str) -> Any:
    # The API, the command line and every module of ours import this package too. The compiler behind these names costs
    # a quarter of a second, so it is loaded by whoever asks for it.
    if name == "testing":
        return importlib.import_module("signoff.testing")
    if name in __all__:
        found = getattr(importlib.import_module("signoff.definition.authoring"), name)
        globals()[name] = found
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

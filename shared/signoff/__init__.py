"""Signoff runs workflows on Celery and stops them exactly where a person must decide."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from signoff.definition.authoring import Feedback, Gate, Retry, RunContext, Workflow, step

if TYPE_CHECKING:
    from types import ModuleType

    testing: ModuleType

__all__ = ["Feedback", "Gate", "Retry", "RunContext", "Workflow", "step", "testing"]


def __getattr__(name: str) -> Any:
    # Workers and the API import this package too; what only tests need is loaded when it is asked for.
    if name == "testing":
        return importlib.import_module("signoff.testing")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

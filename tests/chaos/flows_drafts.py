"""Workflows in which what is shown changes while somebody looks at it: by another draft, or by somebody's edit."""

from __future__ import annotations

from typing import Any

from signoff import Feedback, Gate, Workflow, step
from tests.chaos.flows import note, pay

Value = dict[str, Any]


@step
def draft(value: Value, *, feedback: Feedback | None = None) -> Value:
    """With the amount that the reviewer has asked for; without one it is the same once more, to the last byte."""
    if feedback is not None and feedback.note and feedback.note.isdigit():
        return value | {"amount": int(feedback.note)}
    return value


_GATE: dict[str, Any] = {"reviewers": "leads", "editable": ["amount"]}

drafted = Workflow(
    "drafted", [draft, Gate("check", options=["approve", "reject", "request_changes"], **_GATE), pay, note]
)
"""Whoever asks for changes is shown another draft."""

paired = Workflow("paired", [draft, Gate("check", approvals=2, **_GATE), pay, note])
"""What one of the two edits is shown to both again."""

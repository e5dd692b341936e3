"""Steps for the acceptance tests.

What a test tells a step, and what it learns of it, goes through files in the folder that the value names as `folder`:
a step that waits does so until the file `go` is there.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from signoff import Feedback, Gate, RunContext, Workflow, step

LONGEST_SECONDS = 60.0


def write(value: Any, name: str, line: object) -> None:
    """Add a line to a file of the test's."""
    with (Path(value["folder"]) / name).open("a") as file:
        file.write(f"{line}\n")


def wait_for_go(value: Any) -> None:
    """Return once the test says so."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while not (Path(value["folder"]) / "go").exists():
        if time.monotonic() > deadline:
            raise TimeoutError("the test never said go")
        time.sleep(0.02)


@step
def look(value: dict[str, Any]) -> dict[str, Any]:
    """A step that does nothing."""
    return value


@step
def slow(value: dict[str, Any], *, run: RunContext) -> dict[str, Any]:
    """Say which process works on it, then wait for `go`."""
    write(value, "slow", f"{os.getpid()} {run.attempt}")
    wait_for_go(value)
    return value


@step(irreversible=True)
def pay(value: dict[str, Any], *, idempotency_key: str) -> dict[str, Any]:
    """An effect outside, under a key that a receiver could tell a second try by; it waits for `go` afterwards."""
    write(value, "paid", idempotency_key)
    wait_for_go(value)
    return {"folder": value["folder"], "key": idempotency_key}


@step(irreversible=True)
def pay_blindly(value: dict[str, Any]) -> dict[str, Any]:
    """An effect outside that nothing can tell a second try of; it waits for `go` afterwards."""
    write(value, "paid", "blindly")
    wait_for_go(value)
    return value


@step
def unlucky(value: dict[str, Any], *, run: RunContext) -> dict[str, Any]:
    """Fails at the first try and succeeds at the second."""
    if run.attempt == 1:
        raise ConnectionError("the first try never works")
    return value


@step
def broken(value: dict[str, Any]) -> dict[str, Any]:
    """Fails until the file `mended` is there."""
    if not (Path(value["folder"]) / "mended").exists():
        raise RuntimeError("it is broken")
    return value


@step
def endless(value: dict[str, Any]) -> dict[str, Any]:
    """Takes longer than it may."""
    time.sleep(LONGEST_SECONDS)
    return value


class Draft(BaseModel):
    """What the typed workflow shows at its gate."""

    text: str
    words: int = Field(ge=1)


@step
def compose(value: dict[str, Any], *, feedback: Feedback | None = None) -> Draft:
    """A draft; another one where a reviewer asked for it."""
    text = value["text"] if feedback is None else f"{value['text']} {feedback.note}"
    return Draft(text=text, words=len(text.split()))


@step
def lie(value: dict[str, Any]) -> Draft:
    """Returns something else than it says."""
    return {"text": value["text"], "words": 0}  # type: ignore[return-value]


@step
def undo(value: dict[str, Any], *, feedback: Feedback) -> dict[str, Any]:
    """Make good what a late review refused."""
    return {"undone": value, "because": feedback.note}


letters = Workflow(
    "letters",
    [
        compose,
        Gate(
            "read-letter",
            reviewers="support-leads",
            title="A letter of {words} words",
            review_if="words > 2",
            recommend="text",
            editable=["text", "words"],
            options=["approve", "reject", "request_changes"],
        ),
    ],
)

lies = Workflow("lies", [lie])

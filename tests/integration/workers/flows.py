"""Steps for workers under test.

What a test tells a step, and what it learns of it, goes through files in the folder that the value names: a step that
waits does so until the file `go` is there.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from signoff import Gate, Retry, RunContext, Workflow, step

LONGEST_SECONDS = 60.0
SLEEP_SECONDS = 4.0

Value = dict[str, Any]


def write(value: Value, name: str, line: object) -> None:
    """Add a line to a file of the test's; one write, so that lines of several processes don't mix."""
    with (Path(value["folder"]) / name).open("a") as file:
        file.write(f"{line}\n")


def wait_for(value: Value, name: str) -> None:
    """Return once the test says so."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while not (Path(value["folder"]) / name).exists():
        if time.monotonic() > deadline:
            raise TimeoutError("the test never said so")
        time.sleep(0.01)


@step
def first(value: Value) -> Value:
    """Say that it ran."""
    write(value, "first", value.get("at"))
    return value


@step
def second(value: Value) -> Value:
    """The same, after it."""
    write(value, "second", value.get("at"))
    return value


@step
def after(value: Value) -> Value:
    """What is only done once somebody has approved."""
    write(value, "after", value.get("at"))
    return value


@step
def slow(value: Value, *, run: RunContext) -> Value:
    """Say which process works on it, then wait for `go`."""
    write(value, "begun", f"{os.getpid()} {run.attempt}")
    wait_for(value, "go")
    return value


@step(irreversible=True)
def pay(value: Value, *, idempotency_key: str) -> Value:
    """An effect outside under a key; it waits for `go` afterwards."""
    write(value, "paid", f"{os.getpid()} {idempotency_key}")
    wait_for(value, "go")
    return value


@step(irreversible=True)
def pay_blindly(value: Value) -> Value:
    """An effect outside that nothing can tell a second try of; it waits for `go` afterwards."""
    write(value, "paid", f"{os.getpid()} blindly")
    wait_for(value, "go")
    return value


@step(retry=Retry(attempts=3, backoff="0.4s", factor=2.0, jitter=0.0))
def unlucky(value: Value, *, run: RunContext) -> Value:
    """Fails at the first two tries, each of which says when it was."""
    write(value, "tried", time.time())
    if run.attempt < 3:
        raise ConnectionError("not yet")
    return value


@step(timeout="0.5s", retry=Retry(attempts=1))
def asleep(value: Value) -> Value:
    """Is in one system call for longer than it may."""
    write(value, "begun", os.getpid())
    time.sleep(SLEEP_SECONDS)
    return value


@step(timeout="0.5s", retry=Retry(attempts=1))
def deaf(value: Value) -> Value:
    """Takes whatever is raised in it for a reason to go on."""
    write(value, "begun", os.getpid())
    while not (Path(value["folder"]) / "go").exists():
        with suppress(BaseException):
            wait_for(value, "go")
    write(value, "ended", os.getpid())
    return value


@step(timeout="0.5s", retry=Retry(attempts=1))
def looping(value: Value) -> Value:
    """Is at work in Python for longer than it may."""
    wait_for(value, "never")
    return value


@step(inline=False)
def meet(value: Value) -> Value:
    """Say that it is here, and leave once so many are here at once."""
    write(value, "here", f"{os.getpid()} {threading.get_ident()}")
    wait_for(value, "go")
    return value


@step(queue="llm")
def ask(value: Value) -> Value:
    """A step of another queue."""
    write(value, "asked", os.getpid())
    return value


parking = Workflow("parking", [first, second, Gate("check", reviewers="leads"), after])
fleeting = Workflow("fleeting", [first, Gate("check", reviewers="leads", due="1s", on_timeout="reject"), after])
noted = Workflow("noted", [first])
stopped = Workflow("stopped", [slow, after])
paid = Workflow("paid", [pay])
paid_blindly = Workflow("paid-blindly", [pay_blindly])
retried = Workflow("retried", [unlucky])
sleeping = Workflow("sleeping", [asleep])
hearing = Workflow("hearing", [deaf])
looped = Workflow("looped", [looping])
met = Workflow("met", [meet])
asked = Workflow("asked", [first, ask, second])

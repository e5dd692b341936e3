"""Failpoints: named places in the code where a test can let a process die, stand still, stumble or dawdle.

A name is `transition.step`: the point stands before or after that step of that transition. All are off, and cost one
look at a global, until an entry point calls `arm` with the folder that `SIGNOFF_FAILPOINTS` names; a setting that is
refused outside of tests.

Whoever tests arms a point by writing the file of its name into that folder: `ACTION N`. The Nth process that comes by,
whichever it is, acts once. Before that the file becomes `NAME.fired`, with the process id and the time inside, so that
the test knows that it did happen.

- `kill`: SIGKILL to this process.
- `kill_group`: SIGKILL to all of its process group: a worker with its pool, an API with its workers.
- `freeze`: SIGSTOP to this process; somebody else has to wake it.
- `raise`: `FailpointReached`, as if the code had a bug.
- `sleep=SECONDS`: so long, then on.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from pathlib import Path

_folder: Path | None = None


class FailpointReached(RuntimeError):
    """What `raise` raises; no code of ours expects it."""


def arm(folder: Path | None) -> None:
    """Look into this folder at every point from now on, in this process and those it forks; None switches it off."""
    global _folder  # noqa: PLW0603  # one switch a process, read on the hottest paths
    _folder = folder


def hit(name: str) -> None:
    """The code is at this point."""
    if _folder is not None:
        _reach(_folder, name)


def _reach(folder: Path, name: str) -> None:
    action = _take(folder / name)
    if action is None:
        return
    match action.partition("="):
        case ("kill", _, _):
            os.kill(os.getpid(), signal.SIGKILL)
        case ("kill_group", _, _):
            os.killpg(os.getpgid(0), signal.SIGKILL)
        case ("freeze", _, _):
            os.kill(os.getpid(), signal.SIGSTOP)
        case ("raise", _, _):
            raise FailpointReached(name)
        case ("sleep", _, seconds):
            time.sleep(float(seconds))
        case _:
            raise ValueError(f"failpoint {name}: {action!r} is no action")


def _take(path: Path) -> str | None:
    """The action when it is this process's turn, which is nobody else's then."""
    try:
        file = path.open("r+")
    except FileNotFoundError:
        return None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        words = file.read().split()
        if len(words) != 2:  # somebody took it while this process waited for the lock
            return None
        action, left = words[0], int(words[1]) - 1
        file.seek(0)
        file.truncate()
        if left > 0:
            file.write(f"{action} {left}")
            return None
        file.write(f"{os.getpid()} {time.time()} fired")
        file.flush()
        path.rename(f"{path}.fired")
    return action

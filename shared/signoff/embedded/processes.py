"""Child processes that do not outlive the one that started them.

Each child is a session of its own, so that ^C in a terminal reaches the supervisor alone and it decides the
order of stopping. On Linux the kernel signals a child whose parent died (`PR_SET_PDEATHSIG`), even by
SIGKILL. Elsewhere nothing does that, so whoever starts again looks for what was left behind.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from signoff.errors import Unavailable

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_POLL_SECONDS = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that is our child. `url` is how clients reach it; `stop_signal` is what ends it cleanly."""

    name: str
    process: subprocess.Popen[bytes]
    url: str
    stop_signal: signal.Signals

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self, seconds: float = 10.0) -> int:
        """End it cleanly, or by SIGKILL after `seconds`. Returns its exit code; twice is harmless."""
        return stop(self.process, self.stop_signal, seconds)


def launch(
    command: Sequence[str | Path],
    *,
    output: int | IO[bytes],
    stdin: int = subprocess.DEVNULL,
    death_signal: signal.Signals = signal.SIGTERM,
    env: Mapping[str, str] | None = None,
    user_id: int | None = None,
    group_id: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start `command` in its own session, its two output streams going to `output`.

    `death_signal` is what it gets when this process dies. The kernel counts the thread that called as the
    parent, so call from one that lives as long as the child should. Raises Unavailable when the program can't
    be started.
    """
    parent = os.getpid()

    def die_with_parent() -> None:
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, int(death_signal))
            if os.getppid() != parent:  # it died between the fork and the call above
                os._exit(1)

    try:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=None if env is None else dict(env),
            user=user_id,
            group=group_id,
            extra_groups=None if user_id is None else [],
            preexec_fn=die_with_parent,  # noqa: PLW1509 - two system calls, and nothing else can set it before exec
        )
    except OSError as error:
        raise Unavailable(f"{command[0]} could not be started: {error}") from error


def stop(process: subprocess.Popen[bytes], with_signal: signal.Signals, seconds: float) -> int:
    """Ask the child to end, kill it after `seconds`, and kill what it left in its session's group."""
    if process.poll() is None:
        process.send_signal(with_signal)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    code = process.wait()
    kill_group(process)
    return code


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what a dead child left behind in its process group, such as the workers of a killed gunicorn."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        # macOS says EPERM for a group that has only zombies.
        return


def wait_until(
    ready: Callable[[], bool],
    process: subprocess.Popen[bytes],
    *,
    seconds: float,
    canceled: Callable[[], bool] | None = None,
) -> bool:
    """Whether `ready()` came true before the child ended, `seconds` passed or `canceled()` came true."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline or (canceled is not None and canceled()):
            return False
        try:
            process.wait(_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        return False
    return True


def command_of(pid: int) -> str | None:
    """The command line of a living process, its words joined by blanks; None when there is none (or a
    zombie).
    """
    if pid <= 0:
        return None
    found = Path(f"/proc/{pid}/cmdline")
    try:
        return found.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip() or None
    except FileNotFoundError:
        if Path("/proc/self/cmdline").exists():
            return None
    except OSError:
        return None
    return _listed_by_ps(pid, "-ww") or None


def environment_has(pid: int, entry: str) -> bool:
    """Whether the living process was started with `entry` (`NAME=VALUE`) in its environment."""
    try:
        return entry.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        if Path("/proc/self/environ").exists():
            return False
    return entry in _listed_by_ps(pid, "-Eww").split()


def _listed_by_ps(pid: int, option: str) -> str:
    try:
        listed = subprocess.run(
            ["ps", option, "-o", "command=", "-p", str(pid)],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return listed.stdout.strip()


def end_leftover(
    pid: int, still_it: Callable[[int], bool], with_signal: signal.Signals, *, seconds: float = 10.0
) -> bool:
    """End a process of an earlier, killed supervisor, while `still_it(pid)` says that the number is still
    its.

    It isn't our child, so its end is seen by looking. Returns whether nothing of it is left.
    """
    deadline = time.monotonic() + seconds
    sent = False
    while still_it(pid):
        try:
            if not sent:
                os.kill(pid, with_signal)
                sent = True
            elif time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                deadline += seconds
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        time.sleep(_POLL_SECONDS)
    return True

"""Keeps a handful of child processes running, shows what they write, and stops them in order.

One thread does it all: it waits for output, for the end of a child and for signals at once, so no child can
be lost between two of them, and the kernel's tie of a child to the thread that started it holds as long as we
live.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import TypeAlias

from signoff.embedded.child_log import ChildLog
from signoff.embedded.processes import kill_group
from signoff.embedded.terminal import Terminal
from signoff.errors import SignoffError, Unavailable

MAX_FAILURES = 5
FAILURE_WINDOW_SECONDS = 10.0
"""A child that ends this often within this time is broken, and starting it again would only hide why."""

FIRST_BACKOFF_SECONDS = 0.2
LONGEST_BACKOFF_SECONDS = 5.0

IMPATIENCE_SECONDS = 1.0
"""A ^C this long after the first kills what is left. Before that it is the same one again: `make` passes
signals on that its children got already."""

_READ_BYTES = 65_536
_LONGEST_WAIT_SECONDS = 1.0
_Handler: TypeAlias = signal.Handlers | Callable[[int, FrameType | None], object] | int | None
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(Exception):
    """^C, SIGTERM or SIGHUP came: everything is to be stopped, and that is no failure."""


class ChildBroken(SignoffError):
    """A child ended again and again."""

    code = "child_broken"

    def __init__(self, name: str, tail: Iterable[str], log: Path) -> None:
        self.name = name
        self.tail = tuple(tail)
        super().__init__(f"{name} ended {MAX_FAILURES} times within {FAILURE_WINDOW_SECONDS:.0f} s", fix=f"read {log}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """How to start one child (given the file descriptor for its output) and how to stop it."""

    name: str
    spawn: Callable[[int], subprocess.Popen[bytes]]
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0
    stop_rank: int = 0
    """Those of lower rank are stopped first."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Running:
    child: Child
    log: ChildLog
    log_path: Path
    process: subprocess.Popen[bytes] | None = None
    output: int | None = None
    failures: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_FAILURES))
    restart_at: float | None = None


class Supervisor:
    """Use it in a `with`: it takes over SIGINT, SIGTERM, SIGHUP and SIGCHLD of the main thread, and gives
    them back.

    `on_change`, once set, is called with the process ids by name after each restart.
    """

    def __init__(self, *, logs: Path, terminal: Terminal) -> None:
        logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.on_change: Callable[[Mapping[str, int]], None] | None = None
        self._logs = logs
        self._terminal = terminal
        self._running: dict[str, _Running] = {}
        self._selector = selectors.DefaultSelector()
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._stop_requested_at: float | None = None
        self._impatient = False
        self._previous: dict[signal.Signals, _Handler] = {}

    def __enter__(self) -> Supervisor:
        for end in (self._wake_receiver, self._wake_sender):
            end.setblocking(False)
        self._selector.register(self._wake_receiver, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._wake_sender.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            self._previous[number] = signal.signal(number, self._request_stop)
        self._previous[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_all()
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        self._selector.close()
        for end in (self._wake_receiver, self._wake_sender):
            end.close()
        for running in self._running.values():
            running.log.close()

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of the children that live, by name."""
        return {name: found.process.pid for name, found in self._running.items() if found.process is not None}

    @property
    def stop_requested(self) -> bool:
        return self._stop_requested_at is not None

    def start(self, child: Child) -> None:
        """Start a child and look after it from now on."""
        path = self._logs / f"{child.name}.log"
        running = _Running(child=child, log=ChildLog(path), log_path=path)
        self._running[child.name] = running
        self._spawn(running)

    def tail(self, name: str) -> tuple[str, ...]:
        """The last lines of a child's output."""
        return self._running[name].log.tail

    def run(self, *, until: Callable[[], bool] | None = None, seconds: float | None = None) -> None:
        """Look after the children, forever or until `until()`, which is asked at least each 25 ms.

        Raises StopRequested on a signal, ChildBroken when a child keeps ending, Unavailable when `seconds`
        passed.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            if self.stop_requested:
                raise StopRequested
            if until is not None and until():
                return
            if deadline is not None and time.monotonic() > deadline:
                raise Unavailable(f"not ready within {seconds:.0f} s", fix=f"read the logs in {self._logs}")
            self.turn(_LONGEST_WAIT_SECONDS if until is None else 0.025)

    def turn(self, seconds: float) -> None:
        """One round: take what children wrote, notice which ended, start those whose time has come."""
        now = time.monotonic()
        due = [found.restart_at for found in self._running.values() if found.restart_at is not None]
        self._read_once(max(0.0, min([seconds, *(moment - now for moment in due)])))
        for running in self._running.values():
            if running.process is not None and running.process.poll() is not None:
                self._note_end(running)
            elif running.restart_at is not None and running.restart_at <= time.monotonic():
                self._restart(running)

    def stop_all(self) -> None:
        """Stop the children by rank: its signal, its time, then SIGKILL; at once on a second ^C."""
        for running in sorted(self._running.values(), key=lambda found: found.child.stop_rank):
            running.restart_at = None
            process = running.process
            if process is None:
                continue
            process.send_signal(running.child.stop_signal)
            deadline = time.monotonic() + running.child.stop_seconds
            while process.poll() is None:
                if time.monotonic() > deadline or self._impatient:
                    self._warn(f"{running.child.name} did not end in time and is killed")
                    process.kill()
                    process.wait()
                else:
                    self._read_once(0.05)
            kill_group(process)
            self._drain(running)
            running.process = None

    def _spawn(self, running: _Running) -> None:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        try:
            running.process = running.child.spawn(writing)
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        running.output = reading
        self._selector.register(reading, selectors.EVENT_READ, running)

    def _read_once(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            if isinstance(key.data, _Running):
                self._take_output(key.data)
            else:
                with suppress(BlockingIOError):
                    self._wake_receiver.recv(4096)

    def _take_output(self, running: _Running) -> bool:
        """Read once; whether there may be more."""
        if running.output is None:
            return False
        try:
            received = os.read(running.output, _READ_BYTES)
        except BlockingIOError:
            return False
        if not received:
            self._selector.unregister(running.output)
            os.close(running.output)
            running.output = None
            return False
        for line in running.log.feed(received):
            self._terminal.child_line(running.child.name, line)
        return True

    def _drain(self, running: _Running) -> None:
        """Take what a dead child wrote last. A grandchild that still holds the pipe is not waited for."""
        while self._take_output(running):
            pass
        if running.output is not None:
            self._selector.unregister(running.output)
            os.close(running.output)
            running.output = None
        for line in running.log.finish_line():
            self._terminal.child_line(running.child.name, line)

    def _note_end(self, running: _Running) -> None:
        process, running.process = running.process, None
        assert process is not None
        kill_group(process)
        self._drain(running)
        self._fail(running, _describe_end(process.returncode))

    def _fail(self, running: _Running, how: str) -> None:
        if self.stop_requested:
            return
        now = time.monotonic()
        running.failures.append(now)
        recent = sum(1 for moment in running.failures if now - moment <= FAILURE_WINDOW_SECONDS)
        if recent >= MAX_FAILURES:
            raise ChildBroken(running.child.name, running.log.tail, running.log_path)
        wait = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2 ** (recent - 1))
        running.restart_at = now + wait
        self._warn(f"{running.child.name} {how}; it is started again in {wait:.1f} s")

    def _restart(self, running: _Running) -> None:
        running.restart_at = None
        try:
            self._spawn(running)
        except SignoffError as error:
            self._fail(running, f"could not be started: {error.detail}")
            return
        assert running.process is not None
        self._warn(f"{running.child.name} was started again as process {running.process.pid}")
        if self.on_change is not None:
            self.on_change(self.pids)

    def _warn(self, sentence: str) -> None:
        self._terminal.say(sentence, style="yellow")

    def _request_stop(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._stop_requested_at is None:
            self._stop_requested_at = now
        elif number == signal.SIGINT and now - self._stop_requested_at > IMPATIENCE_SECONDS:
            self._impatient = True


def _describe_end(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"

"""Stopping a worker: begin nothing new, wait for the steps in hand, and not a moment longer.

Celery's soft shutdown sleeps for its whole time, because a pool's parent that is stopping no longer hears its children.
So each process of the pool holds a lock on a file of ours while it is at a step. The kernel lets go of it when the
process dies, and the parent can ask for it at any time.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from celery.apps.worker import Worker

from signoff.engine.execution import LET_GO_SECONDS

log = structlog.get_logger(__name__)

_STOPPING = b"1"
_LOOK_SECONDS = 0.02


class InHand:
    """What the processes of one worker are at. Made before any fork; the file has no name and goes with the last."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the process
        self.mark = secrets.token_hex(4)
        """The end of the names of all its processes: ids come again, on a machine and in containers beside it."""
        self._count = 0
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go of the file; a worker process keeps it to its end."""
        self._file.close()

    @property
    def stopping(self) -> bool:
        """Whether this worker has been told to stop, in whichever of its processes one asks."""
        return os.pread(self._file.fileno(), 1, 0) == _STOPPING

    def stop(self) -> None:
        """Begin nothing new, in any process."""
        os.pwrite(self._file.fileno(), _STOPPING, 0)

    def end_after(self, seconds: float, let_go: Callable[[], None]) -> None:
        """End this process then, whatever it is at: a thread can't be killed, and its lease passes the run on.

        `let_go` is called first, and not waited for when it takes long.
        """
        timer = threading.Timer(seconds, self._end, (seconds, let_go))
        timer.daemon = True
        timer.start()

    def _end(self, seconds: float, let_go: Callable[[], None]) -> None:
        log.warning("stopped_mid_step", seconds=seconds)
        asking = threading.Thread(target=let_go, daemon=True)
        asking.start()
        asking.join(LET_GO_SECONDS / 2)
        os._exit(0)

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Meanwhile this process is at a step. Ask for `stopping` inside, and no step is begun behind the parent."""
        with self._lock:
            if self._count == 0:
                fcntl.lockf(self._file, fcntl.LOCK_SH)
            self._count += 1
        try:
            yield
        finally:
            with self._lock:
                self._count -= 1
                if self._count == 0:
                    fcntl.lockf(self._file, fcntl.LOCK_UN)

    def anything(self) -> bool:
        """Whether any process is at a step. The lock is of the process, so its own steps are counted."""
        if self._count:
            return True
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        fcntl.lockf(self._file, fcntl.LOCK_UN)
        return False


class StoppingWorker(Worker):
    """Celery's worker, whose soft shutdown ends with the last step."""

    in_hand: InHand
    cut_off = False
    """Whether it was stopped in the middle of a step."""

    def wait_for_soft_shutdown(self) -> bool:
        """Wait, in the handler of the signal, until no step is in hand or the time is up; answers which."""
        self.in_hand.stop()
        seconds = self.app.conf.worker_soft_shutdown_timeout
        deadline = time.monotonic() + seconds
        while self.in_hand.anything():
            if time.monotonic() > deadline:
                log.warning("stopped_mid_step", seconds=seconds)
                self.cut_off = True
                return False
            time.sleep(_LOOK_SECONDS)
        return True

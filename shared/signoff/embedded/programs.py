"""Our own processes, as `signoff dev` runs them."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass

_WORKER_STOP_SECONDS = 25.0  # the soft shutdown's 20, and what Celery needs around it


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One of our own processes: what it imports, then the module it is with its arguments.

    `death_signal` is what it gets when the supervisor is killed. One that `marks_ready` writes its process id into
    the file that `SIGNOFF_READY_FILE` names, once it is at work. One that `begins_last` is held back until the others
    are at work: nobody waits for the first sweep, and its imports would only keep them from the processor.
    """

    imports: tuple[str, ...]
    command: tuple[str, ...]
    stop_rank: int
    stop_seconds: float = 10.0
    death_signal: signal.Signals = signal.SIGKILL
    marks_ready: bool = False
    begins_last: bool = False


# What Celery imports only when a worker starts. Our own module comes before it, for it sets how Celery takes signals.
_WORKER_IMPORTS = (
    "celery.apps.worker",
    "celery.worker.consumer",
    "celery.concurrency.prefork",
    "kombu.transport.redis",
)

PROGRAMS: Mapping[str, Program] = {
    "worker": Program(
        imports=("signoff_workers.__main__", "signoff_workers.worker", *_WORKER_IMPORTS),
        command=("signoff_workers", "worker"),
        stop_rank=2,
        stop_seconds=_WORKER_STOP_SECONDS,
        marks_ready=True,
    ),
    "api": Program(
        imports=("signoff_api.__main__", "signoff_api.wsgi"),
        command=("signoff_api",),
        stop_rank=1,
        death_signal=signal.SIGTERM,  # it takes its own workers with it
    ),
    "beat": Program(
        imports=(),
        command=("signoff_workers", "beat"),
        stop_rank=0,
        begins_last=True,
    ),
}
"""Killing worker and beat outright is safe, whatever they are doing: the database is the queue of record."""

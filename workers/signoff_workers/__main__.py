"""`python -m signoff_workers worker|beat|health`: the entry points of this package.

Each imports only what it needs: a beat or a probe that loads the engine would take a second to say nothing.
"""

from __future__ import annotations

import os
import sys

# A pool of processes is stopped by Celery's soft shutdown: finish what runs, within a bound, then kill. Celery reads
# this when it is imported. Threads can't be killed and a solo pool has nobody to wait: they get its plain shutdown.
if os.environ.get("SIGNOFF_POOL", "prefork") == "prefork":
    os.environ.setdefault("REMAP_SIGTERM", "SIGQUIT")

from signoff import failpoints
from signoff.errors import SignoffError
from signoff.logs import configure_logs
from signoff.settings import Settings, load_settings

COMMANDS = ("worker", "beat", "health")


def main(arguments: list[str]) -> int:
    """Run one of the processes until it is told to stop; answers its exit code."""
    if len(arguments) != 1 or arguments[0] not in COMMANDS:
        sys.stderr.write(f"usage: python -m signoff_workers {'|'.join(COMMANDS)}\n")
        return 2
    try:
        settings = load_settings()
        configure_logs(settings, process=arguments[0])
        failpoints.arm(settings.failpoints)
        return _run(arguments[0], settings)
    except SignoffError as error:
        sys.stderr.write(f"{error.code}: {error.detail}\n")
        if error.fix:
            sys.stderr.write(f"  {error.fix}\n")
        return 1


def _run(command: str, settings: Settings) -> int:
    if command == "worker":
        from signoff_workers.worker import run_worker

        return run_worker(settings)
    if command == "beat":
        from signoff_workers.beat import run_beat

        return run_beat(settings)
    from signoff_workers.health import run_health

    return run_health(settings)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

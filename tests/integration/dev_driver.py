"""Runs `run_dev` with fake children: `python -m tests.integration.dev_driver HOME [NAME=VALUE …]`.

NAME is `port`, `default_port`, `worker` (the role of the fake), `servers` (`embedded` for real PostgreSQL and
broker with migrations and identities, else none), `orphans` (`survive` as where the kernel doesn't end the
children of a killed process).
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from signoff.embedded import processes
from signoff.embedded.dev import DevOptions, run_dev
from signoff.embedded.programs import Program

_FAKE = "tests.integration.fake_children"


def main(home: str, *settings: str) -> int:
    given = dict(setting.split("=", 1) for setting in settings)
    worker = given.get("worker", "worker")
    if given.get("orphans") == "survive":
        processes._LIBC = None
    options = DevOptions(
        home=Path(home),
        port=None if "default_port" in given else int(given.get("port", "0")),
        default_port=int(given.get("default_port", "8400")),
        programs={
            "worker": Program(imports=(), command=(_FAKE, worker), stop_rank=2, stop_seconds=0.2, marks_ready=True),
            "api": Program(imports=(), command=(_FAKE, "api"), stop_rank=1, death_signal=signal.SIGTERM),
            "beat": Program(imports=(), command=(_FAKE, "beat"), stop_rank=0),
        },
    )
    if given.get("servers") == "embedded":
        return run_dev(options)
    return run_dev(
        DevOptions(
            home=options.home,
            port=options.port,
            default_port=options.default_port,
            programs=options.programs,
            database_url="postgresql://elsewhere/signoff",
            broker_url="redis://elsewhere/0",
            prepare=lambda _url, _home: {"ana": "so_fake"},
            link=lambda _url, _api: None,
        )
    )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

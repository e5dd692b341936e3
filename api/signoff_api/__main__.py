"""`python -m signoff_api`: the API under gunicorn, by the settings of the environment."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from typing import Any

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
from prometheus_client import values

from signoff.errors import ConfigurationError
from signoff.settings import Settings, load_settings
from signoff_api import wsgi
from signoff_api.server_log import ServerLog
from signoff_api.worker import worker_class

GRACEFUL_SECONDS = 20
KEEP_ALIVE_SECONDS = 5
_MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """Gunicorn with our settings: modules are loaded before the fork, to share them, the app is built after."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        for name, value in gunicorn_settings(self._settings).items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return wsgi.create(self._settings)


def gunicorn_settings(settings: Settings) -> dict[str, Any]:
    """What gunicorn is told."""
    return {
        "bind": [f"{settings.api_host}:{settings.api_port}"],
        "worker_class": worker_class(read_seconds=settings.api_read_seconds, write_seconds=settings.api_write_seconds),
        "workers": settings.api_workers,
        "threads": settings.api_threads,
        "graceful_timeout": GRACEFUL_SECONDS,
        "timeout": 60,
        "keepalive": KEEP_ALIVE_SECONDS,
        # A control socket is one more way in that nobody here needs.
        "control_socket_disable": True,
        "logger_class": ServerLog,
        "limit_request_line": 8190,
        "limit_request_fields": 100,
        "proc_name": "signoff-api",
        "child_exit": _forget_process,
    }


def main() -> int:
    """Serve until told to stop; answers the exit code."""
    try:
        settings = load_settings()
        settings.require_database_url()
        settings.require_broker_url()
    except ConfigurationError as error:
        sys.stderr.write(f"{error.code}: {error.detail}\n" + (f"  {error.fix}\n" if error.fix else ""))
        return 1
    owner, own_directory = os.getpid(), share_metrics(settings)
    try:
        Server(settings).run()
    finally:
        # A worker that ends comes by here as well: gunicorn forks it from within `run`.
        if own_directory is not None and os.getpid() == owner:
            shutil.rmtree(own_directory, ignore_errors=True)
    return 0


def share_metrics(settings: Settings) -> str | None:
    """Let several processes count together in a directory, which is theirs to remove unless it is None."""
    if settings.api_workers == 1 or _MULTIPROCESS in os.environ:
        return None
    made = tempfile.mkdtemp(prefix="signoff-metrics-")
    os.environ[_MULTIPROCESS] = made
    # The client library reads the variable when it is loaded, which may have been before now.
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]
    return made


def _forget_process(_server: object, worker: Any) -> None:
    if _MULTIPROCESS in os.environ:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    sys.exit(main())

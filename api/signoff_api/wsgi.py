"""The app for a WSGI server: `gunicorn 'signoff_api.wsgi:create()'`, or `python -m signoff_api`."""

from __future__ import annotations

from flask import Flask

from signoff import failpoints
from signoff.engine import build_engine
from signoff.logs import configure_logs
from signoff.settings import Settings, load_settings
from signoff_api.app import create_app


def create(settings: Settings | None = None) -> Flask:
    """The app by the settings of the environment.

    Call it in the process that serves, after the fork: it builds the pool and the publisher. Raises
    ConfigurationError.
    """
    settings = settings or load_settings()
    configure_logs(settings, process="api")
    failpoints.arm(settings.failpoints)
    return create_app(build_engine(settings), settings)

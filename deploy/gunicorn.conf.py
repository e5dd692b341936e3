"""The API under gunicorn, by the same settings as `signoff api`: every SIGNOFF_API_* variable of the environment.

    gunicorn --config deploy/gunicorn.conf.py

What is decided for you stands in `signoff_api.__main__`: threads in each process, a graceful stop of 20 seconds, bounds
on how long a request may take to arrive, and no control socket. To change one, assign it at the end of this file.
"""

import shutil
import sys

from signoff.errors import ConfigurationError
from signoff.settings import load_settings
from signoff_api.__main__ import gunicorn_settings, share_metrics

try:
    _settings = load_settings()
    _settings.require_database_url()
    _settings.require_broker_url()
except ConfigurationError as error:
    sys.exit(f"{error.code}: {error.detail}\n  {error.fix}")

wsgi_app = "signoff_api.wsgi:create()"
globals().update(gunicorn_settings(_settings))

_metrics = share_metrics(_settings)


def on_exit(_server):
    """Remove the directory in which the processes counted together."""
    if _metrics is not None:
        shutil.rmtree(_metrics, ignore_errors=True)

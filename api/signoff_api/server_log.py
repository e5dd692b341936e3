"""What gunicorn itself logs, without what opens anything.

It quotes requests that it can't make out and requests that break: an address may be a link or a callback.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from gunicorn.glogging import Logger  # type: ignore[import-untyped]

from signoff.logs import without_tokens

_PLACE = re.compile(r"((?:sign-in|callbacks|/l)/+)[^\s'\"?#]+", re.IGNORECASE)


class ServerLog(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Gunicorn's logger."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in (*self.error_log.handlers, *self.access_log.handlers):
            handler.setFormatter(_Redacting(handler.formatter or logging.Formatter()))


class _Redacting(logging.Formatter):
    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        return without_tokens(_PLACE.sub(r"\1…", self._inner.format(record)))

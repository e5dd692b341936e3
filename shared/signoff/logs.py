"""Logs: one line an event, for people in a terminal and as JSON for machines."""

from __future__ import annotations

import logging
import re
import sys

import structlog

from signoff.settings import Settings

_TOKEN = re.compile(r"\b(s[olc](?:_|%5f)[a-z2-7]{8})(?:_|%5f)[\w%-]+", re.IGNORECASE | re.ASCII)


def without_tokens(text: str) -> str:
    """The same with every API key, link and callback named by its prefix alone.

    Nothing of ours puts one into a log. Others may: an exception that names an address, a server that quotes a request.
    """
    return _TOKEN.sub(r"\1_…", text)


class _Formatter(structlog.stdlib.ProcessorFormatter):
    def format(self, record: logging.LogRecord) -> str:
        return without_tokens(super().format(record))


def configure_logs(settings: Settings, *, process: str) -> None:
    """Send structlog and the standard library's logging to standard error in one form."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_json
        # The plain formatter, because the default one loads rich, which costs every process a tenth of a second.
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[
            # First, so that what nobody wants to read costs next to nothing.
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        _Formatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    for noisy in ("celery.worker.strategy", "celery.app.trace", "kombu", "amqp", "celery.beat"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    structlog.contextvars.bind_contextvars(process=process)

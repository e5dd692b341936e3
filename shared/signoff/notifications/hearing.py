"""What Apprise says while it works: kept out of the log, because it may name what a URL holds.

It says why something was not taken only there, so who sends listens to it, and takes the secrets out.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

MAX_SAID = 300
MASK = "****"
_SPEAKERS = ("apprise", "urllib3", "requests")


class _Listener(logging.Handler):
    """Keeps what the current thread's services say, while somebody listens."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.current = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        lines: list[str] | None = getattr(self.current, "lines", None)
        if lines is not None:
            lines.append(record.getMessage())


_listener = _Listener()


def keep_quiet() -> None:
    """From now on nothing that Apprise, or what it calls services by, says goes to the log, at whatever level."""
    for name in _SPEAKERS:
        speaker = logging.getLogger(name)
        speaker.propagate = False
        if _listener not in speaker.handlers:
            speaker.handlers[:] = [_listener]
        # What they say below that has whole addresses, with the tokens in them.
        speaker.setLevel(logging.WARNING)


@contextmanager
def hearing() -> Iterator[list[str]]:
    """Listen to this thread's warnings; they are in the list as they come."""
    lines: list[str] = []
    _listener.current.lines = lines
    try:
        yield lines
    finally:
        del _listener.current.lines


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """`text` on one line, short, with `secrets` taken out of it."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    return " ".join(text.split())[:MAX_SAID]

"""Asking for signs of life without being held up by the dead."""

from __future__ import annotations

import threading
from collections.abc import Callable

from signoff.errors import Unavailable

PROBE_SECONDS = 2.0
"""How long an answer may take: health that is known only later is no health."""


class Probe:
    """Asks `ping`, one question at a time: whoever comes while one is open waits for the same answer.

    What hangs is left to the time limit of its own and holds one thread, however often it is asked.
    """

    def __init__(self, ping: Callable[[], None], *, seconds: float = PROBE_SECONDS) -> None:
        self._ping = ping
        self._seconds = seconds
        self._lock = threading.Lock()
        self._round: _Round | None = None

    def answers(self) -> bool:
        """Whether it answers in time."""
        with self._lock:
            if self._round is None or not self._round.is_alive():
                self._round = _Round(self._ping)
                self._round.start()
            asked = self._round
        asked.join(self._seconds)
        return asked.answered


class _Round(threading.Thread):
    def __init__(self, ping: Callable[[], None]) -> None:
        super().__init__(name="signoff-probe", daemon=True)
        self._ping = ping
        self.answered = False

    def run(self) -> None:
        try:
            self._ping()
        except Unavailable:
            return
        self.answered = True

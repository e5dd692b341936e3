"""Sweeps leave room for steps: their queue is served first, and one that takes long must not be all that is done."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Rest:
    """After a sweep this process takes none for as long as that one took, so that half its time is for steps.

    Beat sends a sweep at every interval, whether or not the last one has ended. On a machine where one takes longer
    than that, there would always be another in the queue, and no run would be picked up.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until = 0.0
        self._at_it = False

    @contextmanager
    def working(self) -> Iterator[bool]:
        """Whether to do it now; not while another thread does, nor while it is time for something else."""
        with self._lock:
            began = time.monotonic()
            may = not self._at_it and began >= self._until
            self._at_it = self._at_it or may
        try:
            yield may
        finally:
            if may:
                with self._lock:
                    now = time.monotonic()
                    self._until = now + (now - began)
                    self._at_it = False

"""Keys that were valid a moment ago, for operations that read their caller again in the statement that writes.

Such an operation is answered only if the database still says of the key what it said then, or after it has been asked
anew. So nothing rests on what is kept here but the time of one statement. Keys are not kept, only their digests.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from signoff.identity import Principal

RECENT_SECONDS = 5.0
MAX_RECENT = 1_000


class RecentCallers:
    """Who was let in by which key within the last seconds, in this process. Safe to share between threads."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._callers: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()

    def find(self, key: str) -> Principal | None:
        """Whom the key let in a moment ago, if it did."""
        found = self._callers.get(_digest(key))
        return None if found is None or self._now() >= found[0] else found[1]

    def keep(self, key: str, caller: Principal) -> None:
        """The database has just let the caller in by this key."""
        digest = _digest(key)
        with self._lock:
            self._callers.pop(digest, None)
            self._callers[digest] = (self._now() + RECENT_SECONDS, caller)
            while len(self._callers) > MAX_RECENT:
                self._callers.popitem(last=False)

    def forget(self, key: str) -> None:
        """The key opens nothing, or not what it did."""
        with self._lock:
            self._callers.pop(_digest(key), None)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()

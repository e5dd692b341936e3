"""The database's clock, which is the only one that counts, between two words from it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseClock:
    """The database's clock as this process last heard of it, carried on by its own monotonic one.

    Never ahead of the database: the moment was read there before the answer set out.
    """

    heard: datetime
    at: float

    @classmethod
    def of(cls, heard: datetime) -> DatabaseClock:
        """The clock that has just said this."""
        return cls(heard=heard, at=time.monotonic())

    def now(self) -> datetime:
        """What it says now, or said a moment ago."""
        return self.heard + timedelta(seconds=self.age())

    def age(self) -> float:
        """Seconds since it was heard of."""
        return time.monotonic() - self.at

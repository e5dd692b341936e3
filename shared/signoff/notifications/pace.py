"""How fast a channel is told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """`burst` messages one by one within `window_seconds`; more are a digest, one in that time."""

    burst: int
    window_seconds: float

"""A workflow whose runs are parked for a year and longer, and have no effect outside."""

from __future__ import annotations

from signoff import Gate, Workflow
from tests.chaos.flows import note, prepare

KEEPERS = "keepers"

parking = Workflow("parking", [prepare, Gate("hold", reviewers=KEEPERS, due="400d"), note])
"""Asks `keepers`, and is overdue after 400 days: so long, each of its human tasks has a moment to wake at."""

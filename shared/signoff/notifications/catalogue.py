"""What people are told of, and which of it asks them for something."""

from __future__ import annotations

from signoff.model import EventType

NOTIFIED: tuple[EventType, ...] = (
    EventType.GATE_OPENED,
    EventType.GATE_REVISED,
    EventType.HUMAN_TASK_ASSIGNED,
    EventType.GATE_REMINDED,
    EventType.GATE_ESCALATED,
    EventType.GATE_TIMED_OUT,
    EventType.GATE_DECIDED,
    EventType.RUN_CANCELED,
)
"""The events a channel can ask for."""

NOTIFIED_NAMES = frozenset(str(each) for each in NOTIFIED)

ASKING = frozenset(
    {
        EventType.GATE_OPENED,
        EventType.GATE_REVISED,
        EventType.HUMAN_TASK_ASSIGNED,
        EventType.GATE_REMINDED,
        EventType.GATE_ESCALATED,
    }
)
"""Those that ask for a decision: who may not give it is not asked, and who is asked too late is told that it is."""

TEST = "notification.test"
"""What is sent by hand to try a channel; it is about no run."""


def unknown_events(names: tuple[str, ...]) -> list[str]:
    """Those of `names` that no channel can ask for."""
    return [name for name in names if name not in NOTIFIED_NAMES]

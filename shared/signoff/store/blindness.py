"""What a blind gate keeps from those who may still decide it: what others said, and which of them edited what it shows.

That somebody has decided is no secret, and neither is the edited payload: everybody has to judge it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from signoff.identity import Principal
from signoff.model import SOMEBODY, EventType
from signoff.store.queries_human_task_views import HumanTaskView
from signoff.store.queries_runs import EventView

_KEPT = ("decision_id", "human_task_id", "gate", "revision")


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    """`decisions` by their ids; `editors` are the human task and the person of each edit. False when it is nothing."""

    decisions: frozenset[str] = frozenset()
    editors: frozenset[tuple[str, str]] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.decisions)

    def edited(self, human_task_id: object, person_id: object) -> bool:
        """Whether it is not to be told that this person edited there."""
        return (str(human_task_id), str(person_id)) in self.editors

    def known(self, event: EventView) -> EventView:
        """The event as it may be shown: the same object where nothing is kept back."""
        # Somebody may have changed what was written, and the page that shows it must still be there.
        if not self or not isinstance(event.data, dict) or not isinstance(event.actor, dict):
            return event
        says = str(event.data.get("decision_id")) in self.decisions
        names = (says or event.type == EventType.GATE_REVISED) and self.edited(
            event.data.get("human_task_id"), event.actor.get("id")
        )
        if says:
            event = replace(event, data={key: event.data[key] for key in _KEPT if key in event.data})
        return replace(event, actor=SOMEBODY.to_json()) if names else event


def withheld_from(views: Iterable[HumanTaskView], viewer: Principal) -> Withheld:
    """What blind gates keep from the viewer of what has been said on these human tasks."""
    decisions: set[str] = set()
    editors: set[tuple[str, str]] = set()
    for view in views:
        shown = {said.id for said in view.for_viewer(viewer).decisions}
        for said in view.decisions:
            if said.id not in shown:
                decisions.add(str(said.id))
                if said.patch:
                    editors.add((str(view.row.id), said.by["id"]))
    return Withheld(decisions=frozenset(decisions), editors=frozenset(editors))

"""A gate as its author writes it; nothing is checked here, `Workflow` reports every fault at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

KEYS: Final = (
    "reviewers",
    "title",
    "review_if",
    "sample",
    "recommend",
    "score",
    "editable",
    "options",
    "consequences",
    "due",
    "remind",
    "escalate",
    "reroute",
    "on_timeout",
    "on_reject",
    "on",
    "approvals",
    "reject_after",
    "priority",
    "form",
    "require_note",
    "four_eyes",
    "authority",
    "above",
    "grace",
    "bulk",
    "blind",
    "assign",
    "not_before",
    "calendar",
    "mode",
)
"""Every key of a gate besides its name and `on_<option>`."""


class Gate:
    """The place in a workflow where a person may have to decide, and the policy that says when and who.

    - `reviewers`: a group, `user:name`, or a list of them; may be CEL templates.
    - `title`, `consequences` (option → text): templates over the payload, `{amount}`.
    - `review_if`: a condition in CEL; without it every run is reviewed. `sample`: the share of what the condition
      would let pass that is reviewed all the same, 0 to 1.
    - `recommend`, `score`: fields shown as the recommendation and its confidence. `editable`: fields a reviewer may
      change.
    - `options`: `approve`, `reject`, `request_changes` and the gate's own names; default approve and reject.
    - `on_reject`, `on_<option>`, `on={option: …}`: a step, a gate, a list (a branch that then ends the run), or
      `"fail"`, `"cancel"`, `"continue"`. `on_timeout`: the same, or an option.
    - `due`: a duration (`4h`) or a template that gives one. `remind`: durations; `escalate`, `reroute`: pairs
      of a duration and reviewers, counted from the opening. `calendar`: the working hours they are counted in,
      `{"hours": "09:00-17:00", "days": "mon-fri", "zone": "Europe/Berlin", "holidays": "DE-BE"}`; `1d` is then a
      working day.
    - `approvals`: how many distinct people must approve; `reject_after`: how many must reject (1).
    - `form`: a JSON Schema or pydantic model for what the reviewer fills in, added to the payload under the gate's
      name. `require_note`: options that need a note (default reject and request_changes), or True or False.
    - `authority` (False): who approves has to have a limit of authority that admits the payload; `above`: whom it is
      put before as well where nobody who is asked has one, written as `reviewers` are.
    - `four_eyes` (True): who started the run may not decide. `grace`: a decision can be taken back that long.
      `bulk`: may be approved many at once. `blind`: others' decisions stay hidden until one's own. `assign`: a
      person, or `round_robin`, which gives each to whom of the reviewers has the fewest. `priority`: 0 to 100.
      `not_before`: the least time before a decision.
    - `mode`: `"before"` stops the run; `"after"` lets it go on and is reviewed beside it.
    """

    def __init__(
        self,
        name: str,
        *,
        reviewers: str | Sequence[str] | None = None,
        title: str | None = None,
        review_if: str | None = None,
        sample: float = 0.0,
        recommend: str | None = None,
        score: str | None = None,
        editable: Sequence[str] = (),
        options: Sequence[str] | None = None,
        consequences: Mapping[str, str] | None = None,
        due: str | None = None,
        remind: str | Sequence[str] = (),
        escalate: Sequence[Any] = (),
        reroute: Sequence[Any] = (),
        on_timeout: Any = None,
        on_reject: Any = None,
        on: Mapping[str, Any] | None = None,
        approvals: int = 1,
        reject_after: int = 1,
        priority: int = 50,
        form: Any = None,
        require_note: bool | Sequence[str] | None = None,
        four_eyes: bool = True,
        authority: bool = False,
        above: str | Sequence[str] | None = None,
        grace: str | None = None,
        bulk: bool = False,
        blind: bool = False,
        assign: str | None = None,
        not_before: str | None = None,
        calendar: Mapping[str, Any] | None = None,
        mode: str = "before",
        **routes: Any,
    ) -> None:
        given = locals()
        self.name = name
        self.values: dict[str, Any] = {key: given[key] for key in KEYS}
        self.others: dict[str, Any] = dict(routes)

    def __repr__(self) -> str:
        return f"Gate({self.name!r})"

    @property
    def routes(self) -> dict[str, Any]:
        """What was written for each option, from `on_reject`, `on_<option>` and `on`."""
        found = {key.removeprefix("on_"): to for key, to in self.others.items() if key.startswith("on_")}
        if self.values["on_reject"] is not None:
            found["reject"] = self.values["on_reject"]
        on = self.values["on"]
        if isinstance(on, Mapping):
            found |= {str(option): to for option, to in on.items()}
        return found

    @property
    def unknown_keys(self) -> list[str]:
        """Keyword arguments that mean nothing."""
        return [key for key in self.others if not key.startswith("on_")]

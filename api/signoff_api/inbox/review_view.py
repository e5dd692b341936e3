"""What the Review screen shows of one human task: evidence, draft, what changed, what each option leads to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

from signoff.authorization import Action, authorize
from signoff.canonical import Json
from signoff.definition.graph import End, GateNode, Goto, Graph, TakeOption
from signoff.definition.json_types import deref
from signoff.definition.policy import rules_for
from signoff.errors import FieldError, Forbidden, NotFound
from signoff.identity import Principal
from signoff.model import TaskState
from signoff.store.queries_human_task_views import DecisionView, HumanTaskView
from signoff.transitions.edits import merge_patch
from signoff.transitions.revisions import Revision
from signoff.transitions.runs import until_gate
from signoff_api.inbox.differences import Difference, differences
from signoff_api.inbox.fields import FormField, editable_fields, form_fields, line_ends, patch_of, schema_at
from signoff_api.inbox.text import MAX_SHOWN, count_hidden, json_plain

REASONS = ("wrong amount", "missing evidence", "policy", "tone", "duplicate", "fraud")
"""Reasons that can be chosen instead of typed; whatever a draft says, it does not choose their words."""

WITHOUT_EDIT = ("reject", "request_changes")
_KEYS = {"approve": "a", "reject": "r", "request_changes": "q"}
_LABELS = {"approve": "Approve", "reject": "Reject", "request_changes": "Ask for changes"}
_TONES = {"approve": "good", "reject": "bad", "request_changes": "warn"}
_ENDINGS = {"completed": "The run ends.", "failed": "The run fails.", "canceled": "The run is canceled."}
_ICONS = {"approve": "check", "reject": "cross", "request_changes": "back"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """What somebody has typed and not yet said; it survives every answer but the one that records it."""

    decision: str = ""
    note: str = ""
    reason: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    seen_sha256: str = ""
    reading_ms: int | None = None

    @property
    def anything(self) -> bool:
        return bool(self.note or self.reason or self.fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One option as a button: what it is called, and what it leads to."""

    name: str
    label: str
    tone: str
    icon: str
    key: str
    consequence: str
    irreversible: bool
    wants_note: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One field of the payload: as text, or as a field of the form where it may be edited."""

    path: str
    label: str
    value: Json
    editable: tuple[FormField, ...] = ()
    recommended: bool = False
    markdown: bool = False
    changed: tuple[Difference, ...] = ()
    hidden: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one revision changed in the one before."""

    number: int
    at: datetime
    by: str
    fields: tuple[Difference, ...]


def patch_typed(view: HumanTaskView, typed: Typed) -> tuple[dict[str, Any] | None, list[FieldError]]:
    """The merge patch of what was typed; a refusal takes no edit, so what was typed is left out of one."""
    if typed.decision in WITHOUT_EDIT:
        return None, []
    fields = editable_fields(view.gate.payload_schema, view.row.payload, view.gate.editable)
    patch, errors = patch_of(fields, typed.fields)
    if view.gate.form is not None:
        filled, wrong = patch_of(form_fields(view.gate.form, view.gate.name), typed.fields)
        patch |= {view.gate.name: filled.get(view.gate.name, {})}
        errors += wrong
    return patch or None, errors


def choices(view: HumanTaskView, typed: Typed) -> list[Choice]:
    """The options of the gate in its order. What they lead to is said of the payload as it has been edited."""
    gate = view.gate
    patch, errors = patch_typed(view, typed)
    edited = merge_patch(view.row.payload, patch) if patch is not None and not errors else view.row.payload
    rules = rules_for(view.graph, gate.name)
    says, unedited = rules.consequences(edited), rules.consequences(view.row.payload)
    return [
        Choice(
            name=option,
            label=_LABELS.get(option, option.replace("_", " ").capitalize()),
            tone=_TONES.get(option, "accent"),
            icon=_ICONS.get(option, "dot"),
            key=_KEYS.get(option, ""),
            consequence=(unedited if option in WITHOUT_EDIT else says).get(option)
            or leads_to(view.graph, gate, option),
            irreversible=_is_irreversible(view.graph, gate, option),
            wants_note=option in gate.require_note,
        )
        for option in gate.options
    ]


def leads_to(graph: Graph, gate: GateNode, option: str) -> str:
    """What an option leads to, from the graph, where the gate has no words of its own for it."""
    if option == "request_changes" and gate.changes_to is not None:
        return f"Goes back to {gate.changes_to} for a new version."
    target = gate.routes.get(option)
    match target:
        case Goto(node=node):
            if gate.mode == "after":
                return f"Starts {node}." if node != gate.next else "Closes this review."
            return f"The run goes on with {node}."
        case End(status=status):
            if gate.mode == "after":
                return "Closes this review."
            return _ENDINGS[status]
        case TakeOption() | None:
            if gate.mode == "after":
                return "Closes this review."
            return f"The run goes on with {gate.next}." if gate.next and gate.next in graph.nodes else "The run ends."


def refusal(view: HumanTaskView, viewer: Principal, now: datetime) -> str | None:
    """Why this person can't decide on it now, in words; None when they can. The rules are the engine's own."""
    row = view.row
    try:
        authorize(viewer, Action.DECIDE, view.facts_for(viewer))
    except (Forbidden, NotFound) as error:
        return error.detail
    if row.state != TaskState.OPEN:
        return None
    if row.pending is not None:
        return "It is decided; its grace runs."
    if row.not_before is not None and now < row.not_before:
        return "This gate takes no decision yet."
    if any(_counts(said, view) and said.by["id"] == str(viewer.id) for said in view.decisions):
        return "You have decided on this revision. Another candidate has to decide now."
    return None


def draft(view: HumanTaskView, typed: Typed, changed: Sequence[Difference]) -> list[Shown]:
    """The payload field by field; what may be edited as fields that hold what was typed."""
    payload, gate = view.row.payload, view.gate
    schema = gate.payload_schema
    if not isinstance(payload, dict):
        return [Shown(path="", label="Payload", value=payload, hidden=_hidden_in(payload))]
    found: list[Shown] = []
    fields = with_typed(editable_fields(schema, payload, gate.editable), typed)
    names = [*payload, *(each.path[0] for each in fields if each.path[0] not in payload)]
    for name in dict.fromkeys(names):
        value = payload.get(name)
        declared = deref(schema_at(schema, (name,)), dict(schema or {}))
        found.append(
            Shown(
                path=name,
                label=str(declared.get("title") or name.replace("_", " ").capitalize()),
                value=value,
                editable=tuple(each for each in fields if each.path[0] == name),
                recommended=gate.recommend is not None and gate.recommend.split(".")[0] == name,
                markdown=declared.get("contentMediaType") == "text/markdown" and isinstance(value, str),
                changed=tuple(each for each in changed if each.name == name),
                hidden=_hidden_in(value),
            )
        )
    return found


def extra_form(view: HumanTaskView, typed: Typed) -> list[FormField]:
    """The fields of the gate's own form."""
    return with_typed(form_fields(view.gate.form, view.gate.name), typed)


def with_typed(fields: Sequence[FormField], typed: Typed) -> list[FormField]:
    """The same fields, with what was typed into them."""
    return [replace(each, value=typed.fields.get(each.name, each.value)) for each in fields]


def evidence(view: HumanTaskView) -> list[tuple[str, Json]]:
    """What led here: the run's input and each earlier output that is not the draft itself."""
    context = view.context
    if context is None:
        return []
    found: list[tuple[str, Json]] = [("Run input", context.input)]
    found += [(name, value) for name, value in context.outputs.items() if value != view.row.payload]
    return found


def changes(view: HumanTaskView, shown: Sequence[Revision]) -> list[Change]:
    """What each revision changed, newest first. Who edited at a blind gate is told with what they said, not before."""
    known = {said.by["id"]: said.by["name"] for said in view.decisions}
    found = [
        Change(
            number=after.number,
            at=after.at,
            by="a new draft" if after.by.type == "system" else known.get(after.by.id, "a reviewer"),
            fields=tuple(differences(before.payload, after.payload)),
        )
        for before, after in pairwise(shown)
    ]
    return found[::-1]


def history(view: HumanTaskView) -> list[dict[str, Any]]:
    """Decisions and comments in the order of time."""
    said = [{"kind": "decision", "at": each.at, "by": each.by["name"], "said": each} for each in view.decisions]
    said += [{"kind": "comment", "at": each.at, "by": each.by["name"], "text": each.text} for each in view.comments]
    return sorted(said, key=lambda entry: entry["at"])


def edits(said: DecisionView, payload: Json) -> list[Difference]:
    """What a decision changed in the payload that it was made on."""
    return differences(payload, merge_patch(payload, said.patch)) if isinstance(said.patch, dict) else []


def errors_by_field(errors: Sequence[FieldError], names: Collection[str]) -> dict[str, str]:
    """What is wrong, by the name of the form's field; what belongs to none of these is under the empty name."""
    found: dict[str, str] = {}
    for error in errors:
        parts = error.path.split("/")[1:]
        if parts[:1] == ["patch"] and len(parts) > 1:
            name = "edit." + ".".join(part.replace("~1", "/").replace("~0", "~") for part in parts[1:])
            # An entry of a list, say, is edited in the field that holds all of it.
            while name and name not in names:
                name = name.rpartition(".")[0]
        else:
            name = "note" if parts == ["note"] else ""
        text = error.message + (f" ({error.fix})" if error.fix else "")
        found[name] = f"{found[name]}; {text}" if name in found else text
    return found


def too_long(value: Json) -> bool:
    """Whether a text is cut on the page."""
    return isinstance(value, str) and len(value) > MAX_SHOWN


def touched(typed: Typed, view: HumanTaskView, shown: Sequence[Revision]) -> Typed:
    """The same without the fields that hold what the revision shown, or one since, has in them.

    A browser sends all fields. Without this the old draft's values would come back as edits of the new one.
    """
    seen = next((each for each in shown if each.payload_sha256 == typed.seen_sha256), None)
    if seen is None or not typed.fields:
        return typed
    held: dict[str, set[str]] = {}
    for revision in shown:
        if revision.number >= seen.number:
            for each in editable_fields(view.gate.payload_schema, revision.payload, view.gate.editable):
                held.setdefault(each.name, set()).add(line_ends(each.value))
    kept = {name: text for name, text in typed.fields.items() if line_ends(text) not in held.get(name, ())}
    return replace(typed, fields=kept)


def _hidden_in(value: Json) -> int:
    return count_hidden(value if isinstance(value, str) else json_plain(value))


def _counts(said: DecisionView, view: HumanTaskView) -> bool:
    return said.revision == view.row.revision and not said.withdrawn


def _is_irreversible(graph: Graph, gate: GateNode, option: str) -> bool:
    """Whether the option leads to a step that can't be undone before anybody is asked again."""
    if option == "request_changes":
        return False
    target = gate.routes.get(option)
    if isinstance(target, End):
        return False
    name = target.node if isinstance(target, Goto) else gate.next
    if gate.mode == "after" and name == gate.next:
        return False
    return name is not None and any(step.irreversible for step in until_gate(graph, name))

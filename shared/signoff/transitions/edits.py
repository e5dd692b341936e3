"""What a decision may carry: the option itself, the note a gate demands, an edit of the payload, a filled-in form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from signoff.canonical import Json, canonical
from signoff.definition.fields import split_path
from signoff.definition.graph import GateNode
from signoff.definition.schemas import validate
from signoff.errors import FieldError, InvalidInput
from signoff.model import HumanTask

if TYPE_CHECKING:
    from signoff.transitions.decisions import DecisionRequest

_WITHOUT_EDIT = ("reject", "request_changes")


def merge_patch(target: Json, patch: Json) -> Json:
    """`patch` applied to `target` as RFC 7386 says: objects merge, null removes, anything else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def reject_bad_form(gate: GateNode, request: DecisionRequest) -> None:
    """Raise InvalidInput for an option the gate does not have, or a note it asks for and does not get."""
    if request.decision not in gate.options:
        _refuse(
            "/decision",
            f"this gate has no option {request.decision!r}",
            f"use one of: {', '.join(gate.options)}",
        )
    if request.decision in gate.require_note and not (request.note or "").strip():
        _refuse("/note", f"this gate wants a note with {request.decision!r}", "say why in a sentence")


def edited_payload(gate: GateNode, task: HumanTask, option: str, patch: Json | None) -> Json | None:
    """The payload with the reviewer's edits and form, or None when they leave it as it was shown.

    Raises InvalidInput naming each field that may not be edited, or that the edit breaks.
    """
    if option in _WITHOUT_EDIT:
        if patch is not None:
            _refuse("/patch", f"{option!r} takes no edit", "leave patch out, or approve with the edit")
        return None
    if patch is None:
        patch = {}
    if not isinstance(patch, dict):
        _refuse("/patch", "a patch is a JSON object", 'send the fields to change, e.g. {"amount": "40.00"}')
    errors = [*_not_editable(gate, patch), *_bad_form(gate, patch)]
    if errors:
        raise InvalidInput(errors=errors)
    if not patch:
        return None
    if not isinstance(task.payload, dict):
        # A merge would put the form or the field in the payload's place, and what was approved would be gone.
        _refuse("/patch", "the payload is no object, so nothing can be added to it", "reject, or let the step give one")
    merged = merge_patch(task.payload, patch)
    shown = {key: value for key, value in merged.items() if gate.form is None or key != gate.name}
    errors = [
        FieldError(path=f"/patch{error.path}", message=error.message, fix=error.fix)
        for error in validate(gate.payload_schema, shown)
    ]
    if errors:
        raise InvalidInput(errors=errors)
    return None if _is_same(merged, task.payload) else merged


def _is_same(one: Json, other: Json) -> bool:
    """Whether these are the same JSON: to Python true is 1, and what a reviewer made of one would be lost."""
    try:
        return canonical(one) == canonical(other)
    except (ValueError, TypeError, RecursionError):
        return False


def _not_editable(gate: GateNode, patch: Mapping[str, Any]) -> Iterator[FieldError]:
    allowed = ", ".join(gate.editable) or "none"
    editable = [split_path(name) for name in gate.editable]
    for path in _leaves(patch):
        if gate.form is not None and path[0] == gate.name:
            continue
        if not any(path[: len(name)] == name for name in editable):
            pointer = "/".join(part.replace("~", "~0").replace("/", "~1") for part in path)
            yield FieldError(
                path=f"/patch/{pointer}",
                message="this field is not editable at this gate",
                fix=f"editable fields: {allowed}",
            )


def _bad_form(gate: GateNode, patch: Mapping[str, Any]) -> Iterator[FieldError]:
    if gate.form is None:
        return
    if gate.name not in patch:
        yield FieldError(
            path=f"/patch/{gate.name}",
            message="this gate has a form to fill in",
            fix=f"send the form's fields as patch[{gate.name!r}]",
        )
        return
    for error in validate(gate.form, patch[gate.name]):
        yield FieldError(path=f"/patch/{gate.name}{error.path}", message=error.message, fix=error.fix)


def _leaves(patch: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in patch.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key)


def _refuse(path: str, message: str, fix: str) -> None:
    raise InvalidInput(errors=[FieldError(path=path, message=message, fix=fix)])

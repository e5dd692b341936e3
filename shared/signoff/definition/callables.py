"""Calling a step's function: JSON in, typed arguments, JSON out, and every mismatch named by its path.

Workers run user code through here; nothing in this module touches a database, a broker or a clock.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from signoff.canonical import Json
from signoff.definition.context import Feedback, RunContext
from signoff.definition.faults import did_you_mean
from signoff.definition.json_types import json_fault, pointer
from signoff.definition.steps import MISSING, Parameter, StepDef, step_definition
from signoff.errors import StepError

_MAX_ERRORS = 5
_MAX_MESSAGE = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A step's arguments, validated: `args` is its value (or nothing), `kwargs` what it takes by name."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


def resolve(ref: str) -> StepDef:
    """The step that `module:function` names, its module imported.

    Raises StepError `step_not_found` with the reason: no such module, no such name in it, not a step, or an error
    while the module was imported.
    """
    module_name, colon, qualname = ref.partition(":")
    if not colon or not module_name or not qualname:
        raise _not_found(f"{ref!r} is not a reference to a step", "write it as module:function")
    if "<locals>" in qualname or module_name == "__main__":
        raise _not_found(f"{ref!r} names a function that only its own process can see", "move it into a module")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise _not_found(
                f"there is no module {error.name!r} for step {ref!r}",
                "install it where workers run, or start them in the folder that has it",
            ) from error
        raise _not_found(f"importing {module_name!r} for step {ref!r} failed: {error}") from error
    except Exception as error:  # user code runs on import and may raise anything
        raise _not_found(
            f"importing {module_name!r} for step {ref!r} failed: {type(error).__name__}: {error}"
        ) from error
    module = found
    for name in qualname.split("."):
        found = getattr(found, name, None)
    if found is None:
        steps = [name for name, value in vars(module).items() if step_definition(value) is not None]
        fix = did_you_mean(qualname, steps, "its steps") or "was the step renamed? deploy it again"
        raise _not_found(f"module {module_name!r} has no {qualname!r}", fix)
    definition = step_definition(found)
    if definition is None:
        raise _not_found(f"{ref!r} is not a step", "decorate it with @step")
    return definition


def bind(definition: StepDef, value: Json, available: Mapping[str, Any]) -> Bound:
    """The arguments for one call.

    `value` is the output of the step before, as JSON. `available` has what may be filled by name: `input` and earlier
    steps' outputs as JSON, `feedback` (a Feedback, its JSON form or None), `idempotency_key`, `run`. Raises StepError
    `input_invalid` with the path of each bad field.
    """
    signature = definition.signature
    if signature is None or definition.function is None:
        raise _not_found(f"step {definition.name!r} has no function at hand", "resolve its reference first")
    args: tuple[Any, ...] = ()
    if signature.value is not None:
        args = (load_argument(signature.value.annotation, value, where=f"the input of step {definition.name!r}"),)
    kwargs = {}
    for parameter in signature.keywords:
        if available.get(parameter.name) is not None or (
            parameter.name in available and not parameter.required and parameter.name not in ("feedback",)
        ):
            kwargs[parameter.name] = _keyword(definition, parameter, available[parameter.name])
        elif parameter.required:
            kwargs[parameter.name] = _absent(definition, parameter, available)
    return Bound(args=args, kwargs=kwargs)


def call(definition: StepDef, value: Json, available: Mapping[str, Any]) -> Json:
    """Run the step once: bind, call, dump. What the function itself raises goes through untouched."""
    bound = bind(definition, value, available)
    assert definition.function is not None  # bind refuses a definition without one
    return dump(definition, definition.function(*bound.args, **bound.kwargs))


def dump(definition: StepDef, result: Any) -> Json:
    """What a step returned, as JSON. Raises StepError `output_invalid` with the path of each bad field."""
    signature = definition.signature
    annotation = MISSING if signature is None else signature.returns
    return dump_result(annotation, result, where=f"the output of step {definition.name!r}")


def load_argument(annotation: Any, value: Json, *, where: str = "the input") -> Any:
    """A JSON value as the annotated type; as it is without an annotation. Raises StepError `input_invalid`."""
    if annotation is MISSING or annotation is Any:
        return value
    try:
        # JSON rules, not Python's: a strict model takes a date as a string here and nowhere else.
        return _adapter(annotation).validate_json(orjson.dumps(value))
    except TypeError as error:  # orjson's: what was read from storage is JSON, what a test passes may not be
        raise StepError(f"{where} is not JSON: {error}", code="input_invalid") from error
    except ValidationError as error:
        raise StepError(f"{where} does not fit {_name(annotation)}: {_say(error)}", code="input_invalid") from error


def dump_result(annotation: Any, value: Any, *, where: str = "the output") -> Json:
    """A returned value as JSON: validated against its annotation, models and decimals in their JSON form.

    Raises StepError `output_invalid` for what does not fit, and for what JSON can't hold: NaN, infinities, integers
    beyond 2^53 - 1, keys that are not strings, lone surrogates, nesting deeper than 64.
    """
    try:
        adapter = _adapter(Any if annotation is MISSING else annotation)
        checked = adapter.validate_python(value)
        found = adapter.dump_python(checked, mode="json", by_alias=True, warnings="error")
        # Where a type says Any, pydantic makes null of NaN: what was lost shows in the Python form.
        lost = _not_finite(adapter.dump_python(checked, by_alias=True)) if _has_null(found) else None
    except ValidationError as error:
        raise StepError(f"{where} does not fit {_name(annotation)}: {_say(error)}", code="output_invalid") from error
    except (PydanticSerializationError, ValueError, RecursionError, TypeError) as error:
        reason = str(error).splitlines()[0][:_MAX_MESSAGE] if str(error) else type(error).__name__
        raise StepError(f"{where} has no JSON form: {reason}", code="output_invalid") from error
    broken = json_fault(found) or lost or _key_fault(value)
    if broken is not None:
        raise StepError(f"{where} is not JSON: {broken[0] or 'it'} {broken[1]}", code="output_invalid")
    return found


def _has_null(value: Json) -> bool:
    if isinstance(value, dict):
        return any(_has_null(inner) for inner in value.values())
    return any(_has_null(inner) for inner in value) if isinstance(value, list) else value is None


def _not_finite(value: Any) -> tuple[str, str] | None:
    """Where a number is NaN or infinite, in a value as Python holds it."""
    if isinstance(value, float) and not math.isfinite(value):
        return "", f"is {value}, which JSON cannot hold"
    inside: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, Mapping):
        inside = ((str(key), inner) for key, inner in value.items())
    elif isinstance(value, (list, tuple, set, frozenset)):
        inside = enumerate(value)
    for part, inner in inside:
        found = _not_finite(inner)
        if found is not None:
            return pointer((part,)) + found[0], found[1]
    return None


def _key_fault(value: Any) -> tuple[str, str] | None:
    """Keys that were no strings before pydantic made strings of them: `{1: …}` would come back as `{"1": …}`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                return "", f"has the key {key!r}, which is not a string"
            found = _key_fault(inner)
            if found is not None:
                return pointer((key,)) + found[0], found[1]
    elif isinstance(value, (list, tuple)):
        for at, inner in enumerate(value):
            found = _key_fault(inner)
            if found is not None:
                return pointer((at,)) + found[0], found[1]
    return None


def _keyword(definition: StepDef, parameter: Parameter, value: Any) -> Any:
    match parameter.name:
        case "feedback":
            return value if isinstance(value, Feedback) else Feedback.from_json(value)
        case "run" | "idempotency_key":
            assert parameter.name == "idempotency_key" or isinstance(value, RunContext)  # the engine's own
            return value
    where = f"parameter {parameter.name!r} of step {definition.name!r}"
    return load_argument(parameter.annotation, value, where=where)


def _absent(definition: StepDef, parameter: Parameter, available: Mapping[str, Any]) -> Any:
    if parameter.name in available and parameter.name not in ("feedback", "idempotency_key", "run"):
        return _keyword(definition, parameter, available[parameter.name])
    if parameter.name == "feedback" and admits_none(parameter.annotation):
        return None
    raise StepError(
        f"step {definition.name!r} asks for {parameter.name!r}, and there is none here",
        code="input_invalid",
        fix=f"give the parameter a default: {parameter.name} = None",
    )


def admits_none(annotation: Any) -> bool:
    """Whether a parameter annotated so may be None."""
    if get_origin(annotation) is Annotated:
        return admits_none(get_args(annotation)[0])
    return annotation is MISSING or annotation is None or NoneType in getattr(annotation, "__args__", ())


def _adapter(annotation: Any) -> TypeAdapter[Any]:
    try:
        return _cached_adapter(annotation)
    except TypeError:  # an annotation that cannot be hashed
        return TypeAdapter(annotation)


@lru_cache(maxsize=512)
def _cached_adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation)


def _say(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    shown = [f"{pointer(each['loc']) or 'the value'}: {each['msg']}"[:_MAX_MESSAGE] for each in found[:_MAX_ERRORS]]
    more = f" (and {len(found) - _MAX_ERRORS} more)" if len(found) > _MAX_ERRORS else ""
    return "; ".join(shown) + more


def _name(annotation: Any) -> str:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation.__name__
    return getattr(annotation, "__name__", None) or str(annotation).replace("typing.", "")


def _not_found(detail: str, fix: str | None = None) -> StepError:
    return StepError(detail, code="step_not_found", fix=fix)

"""Calling the steps of a test's run, exactly as a worker calls them, or the functions that stand in for them."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import structlog

from signoff.canonical import Json
from signoff.definition.callables import call, resolve
from signoff.definition.context import RunContext
from signoff.definition.faults import did_you_mean
from signoff.definition.graph import Graph, StepNode
from signoff.definition.steps import MISSING, Parameter, Signature, StepDef
from signoff.errors import FieldError, InvalidInput, StepError, Unavailable
from signoff.model import RunState
from signoff.transitions.steps import Failure

log = structlog.get_logger("signoff.testing")


@dataclass(frozen=True, kw_only=True)
class StandIn(StepDef):
    """A function that runs instead of a step: what its annotations leave open, and what it returns, is the step's."""

    real: StepDef

    @cached_property
    def signature(self) -> Signature | None:
        own = StepDef(name=self.name, ref=self.ref, function=self.function).signature
        real = self.real.signature
        if own is None or real is None:
            return own
        known = {parameter.name: parameter.annotation for parameter in real.keywords}
        value = own.value
        if value is not None and value.annotation is MISSING and real.value is not None:
            value = replace(value, annotation=real.value.annotation)
        keywords = tuple(_annotated(parameter, known) for parameter in own.keywords)
        return replace(own, value=value, keywords=keywords, returns=real.returns)


class Steps:
    """The functions behind a graph's steps: the workflow's own, those its references name, or a test's stand-ins."""

    def __init__(
        self,
        graph: Graph,
        definitions: Mapping[str, StepDef] | None,
        stand_ins: Mapping[str, Callable[..., Any]],
    ) -> None:
        self._definitions = definitions
        self._stand_ins: dict[str, StandIn] = {}
        errors = [error for name, function in stand_ins.items() if (error := _misfit(graph, name, function))]
        if errors:
            raise InvalidInput(errors=errors)
        for name, given in stand_ins.items():
            node = graph.step(name)
            real = self._real(node, needed=False)
            self._stand_ins[name] = StandIn(name=name, ref=node.ref, function=_function(given), real=real)

    def attempt(self, node: StepNode, state: RunState, key: str, available: Mapping[str, Json]) -> Json | Failure:
        """One try: what the step returned, or why it failed. `available` has the input and the earlier outputs."""
        try:
            definition = self._stand_ins.get(node.name) or self._real(node)
            return call(definition, state.value, _keywords(definition, node, state, key, available))
        except StepError as error:
            return failure_of(error, retryable=False)
        except Unavailable as error:
            return failure_of(error, retryable=True)
        except Exception as error:  # noqa: BLE001  # as in a worker: whatever a step raises is that step's failure
            message = f"{type(error).__name__}: {error}"
            return Failure(code="step_raised", message=message, trace=traceback.format_exc())

    def _real(self, node: StepNode, *, needed: bool = True) -> StepDef:
        if self._definitions is not None:
            return self._definitions[node.name]
        try:
            return resolve(node.ref)
        except StepError:
            if needed:
                raise
            # A stand-in may replace a step that is not installed here: then nothing is known of its types.
            return StepDef(name=node.name, ref=node.ref)


def failure_of(error: StepError | Unavailable, *, retryable: bool) -> Failure:
    """The failure that a worker makes of an error the engine knows."""
    message = f"{error.detail} ({error.fix})" if error.fix else error.detail
    return Failure(code=error.code, message=message, retryable=retryable)


def _keywords(
    definition: StepDef, node: StepNode, state: RunState, key: str, available: Mapping[str, Json]
) -> dict[str, object]:
    names = set(definition.takes_names or ())
    values: dict[str, object] = {name: value for name, value in available.items() if name in names}
    if "feedback" in names and state.feedback is not None:
        values["feedback"] = state.feedback
    if "idempotency_key" in names:
        values["idempotency_key"] = key
    if "run" in names:
        values["run"] = RunContext(
            run_id=state.run_id,
            workflow=state.workflow,
            version=state.version,
            step=node.name,
            attempt=state.attempt,
            labels=state.labels,
            logger=log.bind(run_id=str(state.run_id), step=node.name),
        )
    return values


def _function(given: Any) -> Callable[..., Any]:
    """What has annotations: a function as it is, of an object that can be called its method."""
    found: Callable[..., Any] = given if inspect.isroutine(given) else given.__call__
    return found


def _annotated(parameter: Parameter, known: Mapping[str, Any]) -> Parameter:
    if parameter.annotation is not MISSING:
        return parameter
    return replace(parameter, annotation=known.get(parameter.name, MISSING))


def _misfit(graph: Graph, name: str, function: object) -> FieldError | None:
    """Why `function` can't stand in for the step of this name; None when it can."""
    path = f"/steps/{name}"
    known = [node.name for node in graph.nodes.values() if isinstance(node, StepNode)]
    if name not in known:
        return FieldError(path=path, message="the workflow has no such step", fix=did_you_mean(name, known, "steps"))
    if not callable(function):
        return FieldError(path=path, message=f"{function!r} is no function", fix="give a function")
    signature = StepDef(name=name, ref=name, function=_function(function)).signature
    for what, fix in signature.problems if signature is not None else ():
        return FieldError(path=path, message=f"the function {what}", fix=fix)
    return None

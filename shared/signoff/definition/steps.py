"""The `step` decorator: a function stays an ordinary function, and learns what a workflow has to know of it."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, TypeVar, overload

from signoff.definition.graph import Schema

F = TypeVar("F", bound=Callable[..., Any])

ATTRIBUTE = "__signoff_step__"
SPECIAL = ("input", "feedback", "idempotency_key", "run")
"""Keyword-only parameters with a meaning of their own; any other is the name of an earlier step."""


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
"""No annotation: a value is passed on as it is."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a step is tried: `backoff * factor^(n-1)` between tries, at most `max_backoff`, with jitter.

    `backoff` and `max_backoff` are durations like `2s`; `jitter` is the share of the wait drawn at random.
    """

    attempts: int = 3
    backoff: str = "1s"
    factor: float = 2.0
    max_backoff: str = "60s"
    jitter: float = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a step function."""

    name: str
    annotation: Any
    required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A step function's parameters: the value it takes, what is filled by name, and what it returns.

    `problems` are (what, fix) pairs for what nothing can fill.
    """

    value: Parameter | None
    keywords: tuple[Parameter, ...]
    returns: Any
    problems: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class StepDef:
    """What is known of a step: its function, its reference `module:function` and its options as written.

    An option that is None was not given. `takes`, `input_schema` and `output_schema` are what a document says
    of a function that is not loaded; a loaded function speaks for itself.
    """

    name: str
    ref: str
    function: Callable[..., Any] | None = None
    queue: str | None = None
    retry: Retry | None = None
    timeout: str | None = None
    irreversible: bool = False
    inline: bool = True
    takes: tuple[str, ...] | None = None
    input_schema: Schema | None = None
    output_schema: Schema | None = None
    local_names: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def signature(self) -> Signature | None:
        """The function's signature, None when there is no function at hand."""
        return None if self.function is None else _analyse(self.function, self.local_names)

    @property
    def takes_names(self) -> tuple[str, ...] | None:
        """The names of its keyword-only parameters, None when they are unknown."""
        if self.signature is None:
            return self.takes
        return tuple(parameter.name for parameter in self.signature.keywords)


@overload
def step(function: F, /) -> F: ...


@overload
def step(
    *,
    name: str | None = None,
    queue: str | None = None,
    retry: Retry | None = None,
    timeout: str | None = None,
    irreversible: bool = False,
    inline: bool = True,
) -> Callable[[F], F]: ...


def step(
    function: F | None = None,
    /,
    *,
    name: str | None = None,
    queue: str | None = None,
    retry: Retry | None = None,
    timeout: str | None = None,
    irreversible: bool = False,
    inline: bool = True,
) -> F | Callable[[F], F]:
    """Make a function a step of workflows; it stays the same, ordinary function.

    `queue` names the queue it runs on, `retry` how often it is tried, `timeout` how long one try may take (`60s`).
    `irreversible` marks an effect that can't be undone: ask for `idempotency_key` then, and put a gate before it.
    `inline=False` gives each run of the step a message of its own. Wrong options are reported by `Workflow`.
    """
    frame = sys._getframe(1)  # only for the local names that annotations may use

    def decorate(target: F) -> F:
        qualname = getattr(target, "__qualname__", "")
        definition = StepDef(
            name=name if name is not None else getattr(target, "__name__", ""),
            ref=f"{getattr(target, '__module__', '')}:{qualname}",
            function=target,
            queue=queue,
            retry=retry,
            timeout=timeout,
            irreversible=irreversible,
            inline=inline,
            local_names=local_names if "<locals>" in qualname else {},
        )
        setattr(target, ATTRIBUTE, definition)
        return target

    local_names = dict(frame.f_locals) if "<module>" not in frame.f_code.co_name else {}
    del frame
    return decorate if function is None else decorate(function)


def step_definition(function: object) -> StepDef | None:
    """What `@step` noted of a function, None when it is not a step."""
    found = getattr(function, ATTRIBUTE, None)
    return found if isinstance(found, StepDef) else None


def _analyse(function: Callable[..., Any], local_names: Mapping[str, Any]) -> Signature:
    problems: list[tuple[str, str]] = []
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return Signature(
            value=None,
            keywords=(),
            returns=MISSING,
            problems=(("its signature cannot be read", "write a plain function"),),
        )
    annotations = _annotations(function, local_names, problems)
    positional, keywords = [], []
    for parameter in parameters:
        found = Parameter(
            name=parameter.name,
            annotation=annotations.get(parameter.name, MISSING),
            required=parameter.default is inspect.Parameter.empty,
        )
        match parameter.kind:
            case inspect.Parameter.KEYWORD_ONLY:
                keywords.append(found)
            case inspect.Parameter.POSITIONAL_ONLY | inspect.Parameter.POSITIONAL_OR_KEYWORD:
                positional.append(found)
            case inspect.Parameter.VAR_POSITIONAL | inspect.Parameter.VAR_KEYWORD:
                stars = "*" if parameter.kind is inspect.Parameter.VAR_POSITIONAL else "**"
                problems.append((f"takes {stars}{parameter.name}", "name each parameter"))
    for extra in positional[1:]:
        problems.append(
            (
                f"has a second positional parameter {extra.name!r}",
                "put a * before it, so that it is filled by name",
            )
        )
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        problems.append(("is async", "write a plain function; call asyncio.run inside where you need it"))
    elif inspect.isgeneratorfunction(function):
        problems.append(("is a generator", "return one value"))
    return Signature(
        value=positional[0] if positional else None,
        keywords=tuple(keywords),
        returns=annotations.get("return", MISSING),
        problems=tuple(problems),
    )


def _annotations(
    function: Callable[..., Any], local_names: Mapping[str, Any], problems: list[tuple[str, str]]
) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, localns=dict(local_names) or None, include_extras=True)
    except Exception as error:  # noqa: BLE001  # an annotation is any expression of the user's
        problems.append((f"has an annotation that cannot be read: {str(error)[:200]}", "import the name it uses"))
        return {}

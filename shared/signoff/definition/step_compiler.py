"""A step as decorated or written, checked and made into a node of the graph."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from signoff.definition.callables import admits_none
from signoff.definition.context import Feedback, RunContext
from signoff.definition.faults import FaultLog, did_you_mean
from signoff.definition.graph import DEFAULT_QUEUE, RetryPolicy, Schema, StepNode
from signoff.definition.reading import (
    MAX_ATTEMPTS,
    MAX_STEP_TIME_MS,
    QUEUE_NAME,
    RESERVED_QUEUES,
    Reader,
)
from signoff.definition.schemas import check_schema, schema_of
from signoff.definition.steps import MISSING, SPECIAL, Retry, StepDef

MAX_BACKOFF_MS = 24 * 3_600_000
_NO_RETRY = Retry(attempts=1)
_FILLED: Mapping[str, type] = {"feedback": Feedback, "idempotency_key": str, "run": RunContext}
"""What the engine fills the parameters of its own with."""


class StepCompiler:
    """Reads one step's options and types; faults are noted as they are found."""

    def __init__(self, definition: StepDef, faults: FaultLog) -> None:
        self.definition = definition
        self.signature = definition.signature
        options = {key: getattr(definition, key) for key in ("queue", "timeout", "irreversible", "inline")}
        self.read = Reader(options, f"step {definition.name!r}", faults)
        self.input_schema = self._schema("input", definition.input_schema)
        self.output_schema = self._schema("output", definition.output_schema)

    def build(self, following: str | None) -> StepNode:
        """The node; faults are noted and replaced by something harmless."""
        definition, read = self.definition, self.read
        self._check_function()
        takes = definition.takes_names
        irreversible = read.flag("irreversible", False)
        keyed = takes is not None and "idempotency_key" in takes
        retry = definition.retry
        if retry is None:
            retry = _NO_RETRY if irreversible and not keyed else Retry()
        policy = self._retry(retry)
        if irreversible and takes is not None and not keyed and policy.attempts > 1:
            read.fault(
                "W202",
                f"is irreversible, is tried {policy.attempts} times and takes no idempotency key",
                "add a parameter idempotency_key: str and pass it on, or set retry=Retry(1)",
            )
        return StepNode(
            name=definition.name,
            ref=definition.ref,
            next=following,
            queue=self._queue(),
            retry=policy,
            timeout_ms=read.duration("timeout", most=MAX_STEP_TIME_MS),
            irreversible=irreversible,
            inline=read.flag("inline", True),
            takes=takes,
            input_schema=self.input_schema,
            output_schema=self.output_schema,
        )

    def check_keywords(self, known: Mapping[str, Any], later: Collection[str]) -> None:
        """That something can fill each keyword-only parameter: `known` names come before, `later` may have run."""
        if self.signature is None:
            for name in self.definition.takes or ():
                self._check_keyword(name, True, known, later)
            return
        for parameter in self.signature.keywords:
            self._check_keyword(parameter.name, parameter.required, known, later)
            kind = _FILLED.get(parameter.name)
            if kind is not None and not _admits(parameter.annotation, kind):
                what = f"parameter {parameter.name!r} is filled with a {kind.__name__}, which its annotation is not"
                self.read.fault("E123", what, f"write {parameter.name}: {kind.__name__}")

    def check_feedback(self) -> None:
        """That it can do without feedback: a run gets here by an approval, or before any gate."""
        for parameter in self.signature.keywords if self.signature is not None else ():
            if parameter.name == "feedback" and parameter.required and not admits_none(parameter.annotation):
                self.read.fault(
                    "E123",
                    "parameter 'feedback' has no default, and a run that nobody sent back has none",
                    "write feedback: Feedback | None = None",
                )

    def keyword_schemas(self) -> Iterator[tuple[str, Schema | None]]:
        """Each parameter filled with JSON and the schema of its annotation."""
        for parameter in self.signature.keywords if self.signature is not None else ():
            if parameter.name in SPECIAL[1:] or parameter.annotation is MISSING:
                continue
            yield parameter.name, self._of(f"parameter {parameter.name!r}", parameter.annotation, "validation")

    def _check_keyword(self, name: str, required: bool, known: Mapping[str, Any], later: Collection[str]) -> None:
        if name in SPECIAL or name in known or (name in later and not required):
            return
        if name in later:
            self.read.fault("E123", f"parameter {name!r} is a later step's output", f"give it a default: {name} = None")
            return
        fix = did_you_mean(name, [*SPECIAL, *(other for other in known if other != "input")], "known names")
        self.read.fault("E123", f"parameter {name!r} is the name of nothing that comes before", fix)

    def _check_function(self) -> None:
        definition, read = self.definition, self.read
        for what, fix in self.signature.problems if self.signature is not None else ():
            read.fault("E123", what, fix)
        if definition.function is not None and ("<" in definition.ref or definition.ref.startswith("__main__:")):
            read.fault(
                "W203",
                f"{definition.ref} cannot be found from another process, so only signoff.testing can run it",
                "define the function at the top of a module that workers can import",
            )
        if definition.ref.count(":") != 1 or not all(definition.ref.split(":")) or len(definition.ref) > 300:
            read.fault("E124", f"{definition.ref[:100]!r} is no reference to a function", "write module:function")

    def _queue(self) -> str:
        queue = self.read.text("queue", 63)
        if queue is None:
            return DEFAULT_QUEUE
        if QUEUE_NAME.fullmatch(queue) is None or queue in RESERVED_QUEUES:
            fix = f"use a-z, 0-9, _ and -; {', '.join(RESERVED_QUEUES)} are the engine's own"
            self.read.fault("E101", f"queue {queue!r} is not allowed", fix)
            return DEFAULT_QUEUE
        return queue

    def _retry(self, retry: Any) -> RetryPolicy:
        if not isinstance(retry, Retry):
            self.read.fault("E103", f"retry is {type(retry).__name__}", "write retry=Retry(attempts=5)")
            retry = Retry()
        values = {key: getattr(retry, key) for key in Retry.__slots__}
        read = Reader(values, self.read.where, self.read.faults)
        return RetryPolicy(
            attempts=read.integer("attempts", 3, 1, MAX_ATTEMPTS),
            backoff_ms=read.duration("backoff", least=0, most=MAX_BACKOFF_MS) or 0,
            factor=read.number("factor", 2.0, 1.0, 10.0),
            max_backoff_ms=read.duration("max_backoff", least=0, most=MAX_BACKOFF_MS) or 0,
            jitter=read.number("jitter", 0.2, 0.0, 1.0),
        )

    def _schema(self, key: Literal["input", "output"], given: Schema | None) -> Schema | None:
        if given is not None:
            problems = check_schema(given)
            for problem in problems:
                self.read.fault("E122", f"{key}: {problem}", "write a JSON Schema, draft 2020-12")
            return None if problems else dict(given)
        if self.signature is None:
            return None
        if key == "output":
            return self._of("its return annotation", self.signature.returns, "serialization")
        value = self.signature.value
        return None if value is None else self._of(f"parameter {value.name!r}", value.annotation, "validation")

    def _of(self, what: str, annotation: Any, mode: Literal["validation", "serialization"]) -> Schema | None:
        if annotation is MISSING:
            return None
        try:
            # A type that admits everything says nothing: no schema.
            return schema_of(annotation, mode) or None
        except ValueError as error:
            self.read.fault("E128", f"{what} has no JSON form: {error}", "use a pydantic model or JSON types")
            return None


def _admits(annotation: Any, kind: type) -> bool:
    """Whether a parameter annotated so may be given a `kind`; True wherever that is not sure."""
    while hasattr(annotation, "__supertype__"):
        annotation = annotation.__supertype__
    if get_origin(annotation) is Annotated:
        return _admits(get_args(annotation)[0], kind)
    if get_origin(annotation) in (Union, UnionType):
        return any(_admits(each, kind) for each in get_args(annotation))
    plain = get_origin(annotation) or annotation
    if plain is Any or not isinstance(plain, type):
        return True
    return issubclass(kind, plain) or issubclass(plain, kind)


def merged_retry(given: Mapping[str, Any], base: Retry | None, where: str, faults: FaultLog) -> Retry:
    """A document's retry mapping laid over the decorator's, or over the default."""
    known: Sequence[str] = Retry.__slots__
    for key in given:
        if key not in known:
            faults.add("E103", where, f"retry has the unknown key {key!r}", did_you_mean(str(key), known, "keys"))
    values = {key: getattr(base or Retry(), key) for key in known}
    return Retry(**(values | {key: given[key] for key in known if key in given}))

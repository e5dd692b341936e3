"""Workflows in Python: `Workflow("refund", [analyse, draft, Gate(...), pay])`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from signoff.definition.compiler import compile_workflow
from signoff.definition.context import Feedback, RunContext
from signoff.definition.faults import DefinitionError, Fault
from signoff.definition.gates import Gate
from signoff.definition.graph import Graph
from signoff.definition.steps import Retry, StepDef, step, step_definition

__all__ = [
    "DefinitionError",
    "Fault",
    "Feedback",
    "Gate",
    "Retry",
    "RunContext",
    "StepDef",
    "Workflow",
    "step",
    "step_definition",
]


class Workflow:
    """A named list of steps and gates, compiled and checked when it is built.

    `name` is the workflow's name, `steps` the list. `input` is a type or a JSON Schema for the run's input; without it
    the first step's annotation is used. Raises DefinitionError with every fault at once.

    `graph` is the compiled version, `warnings` what is allowed and doubtful, `steps` the definitions by node name.
    """

    name: str
    graph: Graph
    warnings: tuple[Fault, ...]
    steps: Mapping[str, StepDef]

    def __init__(self, name: str, steps: Sequence[Any], *, input: Any = None, description: str = "") -> None:
        compiled = compile_workflow(name, steps, input=input, description=description)
        self.name = name
        self.graph = compiled.graph
        self.warnings = compiled.warnings
        self.steps = compiled.steps

    def __repr__(self) -> str:
        return f"Workflow({self.name!r}, {len(self.graph.nodes)} nodes)"

"""Finding workflows in Python modules and YAML files. Only workers and the command line do this, never the API."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from signoff.definition.authoring import Workflow
from signoff.definition.callables import resolve
from signoff.definition.document import compile_document, parse_yaml
from signoff.definition.faults import Fault
from signoff.definition.graph import Graph
from signoff.errors import ConfigurationError

YAML_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A workflow that was found, what its checks warn of, and where it came from."""

    graph: Graph
    warnings: tuple[Fault, ...]
    source: str


def load_workflows(sources: Iterable[str]) -> list[Loaded]:
    """The workflows of modules (`support.refunds`), Python files and YAML files, in the order they are named.

    The current directory is importable, as it is for `python -m`. Raises ConfigurationError for a source that can't
    be read, DefinitionError for workflows with faults.
    """
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    found: list[Loaded] = []
    for source in sources:
        try:
            found += _load_yaml(Path(source)) if source.endswith(YAML_SUFFIXES) else _load_python(source)
        except Exception as error:
            # Of several sources, a fault or whatever a module raises must say which it was.
            error.add_note(f"while loading {source}")
            raise
    return found


def _load_yaml(path: Path) -> list[Loaded]:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"can't read {path}: {error.strerror}") from error
    _make_importable(path.parent)
    compiled = compile_document(parse_yaml(text), resolve)
    return [Loaded(graph=compiled.graph, warnings=tuple(compiled.warnings), source=str(path))]


def _load_python(source: str) -> list[Loaded]:
    module = _import(source)
    workflows = {id(item): item for item in vars(module).values() if isinstance(item, Workflow)}
    if not workflows:
        raise ConfigurationError(f"{source} has no Workflow", fix="assign one to a name in the module")
    return [
        Loaded(graph=workflow.graph, warnings=tuple(workflow.warnings), source=source)
        for workflow in workflows.values()
    ]


def _import(source: str) -> ModuleType:
    name = source
    if source.endswith(".py"):
        path = Path(source)
        if not path.is_file():
            raise ConfigurationError(f"there is no file {source}")
        _make_importable(path.parent)
        name = path.stem
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigurationError(
                f"there is no module {name!r}", fix="run in the folder that holds it, or set PYTHONPATH"
            ) from error
        raise
    imported = getattr(module, "__file__", None)
    if source.endswith(".py") and (imported is None or not Path(source).samefile(imported)):
        # Python knows one module of a name; a worker would run the other one's steps.
        raise ConfigurationError(
            f"{source} can't be imported as {name!r}: that is {imported or 'a module of Python itself'}",
            fix="give the file another name",
        )
    return module


def _make_importable(folder: Path) -> None:
    resolved = str(folder.resolve())
    if resolved not in sys.path:
        sys.path.insert(0, resolved)

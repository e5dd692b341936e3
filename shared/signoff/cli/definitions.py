"""`signoff check`, `deploy` and `graph`: workflow definitions."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from signoff.cli.options import Api, As, AsJson, Key
from signoff.cli.output import Output, grid
from signoff.cli.text import visible, visible_lines
from signoff.errors import ConfigurationError, SignoffError

if TYPE_CHECKING:
    from signoff.definition.faults import Fault
    from signoff.definition.graph import Graph
    from signoff.loading import Loaded
    from signoff.store.versions import Registered

_PANEL = "Definitions"
_FILES = (".py", ".yaml", ".yml")

Sources = Annotated[list[str], typer.Argument(metavar="FILE|MODULE…", help="Python files or modules, YAML files.")]
Strict = Annotated[bool, typer.Option("--strict", help="Warnings are refused as well.")]


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel=_PANEL)(check)
    app.command(rich_help_panel=_PANEL)(deploy)
    app.command(rich_help_panel=_PANEL)(graph)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What was found in one source: its workflows, or the error that kept them from being read."""

    source: str
    loaded: Sequence[Loaded] = ()
    error: SignoffError | None = None

    @property
    def faults(self) -> tuple[Fault, ...]:
        """All of them, warnings too."""
        found = tuple(getattr(self.error, "faults", ()))
        return found + tuple(fault for item in self.loaded for fault in item.warnings)


class ImportFailed(SignoffError):
    """The module raised an error while it was imported."""

    code = "import_failed"


class NotDeployed(SignoffError):
    """Nothing was deployed: there are faults."""

    code = "definition"

    def __init__(self, entries: Sequence[dict[str, Any]]) -> None:
        super().__init__(fix="correct what is listed above and deploy again")
        self.problem = {"code": self.code, "detail": self.detail, "faults": list(entries)}


def check(sources: Sources, strict: Strict = False, as_json: AsJson = False) -> None:
    """Check workflows and list every fault. Needs no server. Exit code 1 when something is refused."""
    output = Output(as_json=as_json)
    checked = [load(source) for source in sources]
    if as_json:
        output.json([entry for each in checked for entry in _entries(each)])
    else:
        for each in checked:
            _show(output, each)
    if _refused(checked, strict=strict):
        raise typer.Exit(1)


def deploy(sources: Sources, strict: Strict = False, as_json: AsJson = False) -> None:
    """Register workflows as versions, in the database.

    Unchanged content is the version it already was. With a fault in one source, nothing is registered.
    """
    from signoff.cli.direct import opened_engine

    output = Output(as_json=as_json)
    checked = [load(source) for source in sources]
    if _refused(checked, strict=strict):
        if not as_json:
            for each in checked:
                _show(output, each, stderr=True)
        raise NotDeployed([entry for each in checked for entry in _entries(each)])
    with opened_engine() as engine:
        actor = _actor()
        done = [(item, engine.register(item.graph, by=actor)) for each in checked for item in each.loaded]
    if as_json:
        output.json([_deployed(item, registered) for item, registered in done])
        return
    rows = grid()
    for item, registered in done:
        state = "new" if registered.created else "unchanged"
        rows.add_row(
            visible(registered.workflow), f"v{registered.number}", state, registered.sha256[:12], visible(item.source)
        )
    output.show(rows)
    for item, registered in done:
        if registered.number < registered.newest:
            output.note(f"{registered.workflow}: runs begin with v{registered.newest}, which is newer", style="yellow")
        for fault in item.warnings:
            output.note(str(fault), style="yellow")


def graph(
    source: Annotated[str, typer.Argument(metavar="FILE|MODULE|WORKFLOW", help="A file, a module or a deployed one.")],
    *,
    version: Annotated[int | None, typer.Option(min=1, help="This version of a deployed workflow.")] = None,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="As a Mermaid flowchart.")] = False,
    dot: Annotated[bool, typer.Option("--dot", help="As a Graphviz digraph.")] = False,
    as_json: AsJson = False,
    api: Api = None,
    key: Key = None,
    as_: As = None,
) -> None:
    """Draw a workflow. With --json its canonical graph, whose SHA-256 is the version's id."""
    from signoff.cli import drawing

    output = Output(as_json=as_json)
    found = _local(source) if version is None else None
    if found is None:
        found = [_deployed_graph(source, version, api, key, as_)]
    if as_json:
        output.json(found[0].to_json() if len(found) == 1 else [each.to_json() for each in found])
        return
    for at, each in enumerate(found):
        if mermaid or dot:
            output.line(drawing.mermaid(each) if mermaid else drawing.dot(each))
            continue
        if at:
            output.line("")
        for text in drawing.draw(each):
            output.show(text)


def load(source: str) -> Checked:
    """The workflows of one source, or why there are none. What the user's code prints goes to standard error."""
    from signoff.loading import load_workflows

    try:
        with redirect_stdout(sys.stderr):
            return Checked(source=source, loaded=load_workflows([source]))
    except SignoffError as error:
        return Checked(source=source, error=error)
    except Exception as error:  # noqa: BLE001 - whatever user code raises when it is imported is a finding
        return Checked(source=source, error=_import_failed(source, error))


def _import_failed(source: str, error: Exception) -> ImportFailed:
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    place = f" at {own[-1].filename}:{own[-1].lineno}" if own else ""
    return ImportFailed(f"{source}: {type(error).__name__}: {error}{place}", fix="see that it can be imported")


def _refused(checked: Iterable[Checked], *, strict: bool) -> bool:
    return any(each.error is not None or (strict and each.faults) for each in checked)


def _entries(checked: Checked) -> list[dict[str, Any]]:
    """One entry a fault, and one for an error that is no fault of a definition."""
    entries = [{"source": checked.source, **fault.to_json()} for fault in checked.faults]
    if checked.error is not None and not entries:
        error = checked.error
        entry = {"code": error.code, "where": checked.source, "what": error.detail, "fix": error.fix or ""}
        entries.append({"source": checked.source, **entry, "severity": "error"})
    return entries


def _show(output: Output, checked: Checked, *, stderr: bool = False) -> None:
    from rich.text import Text

    console = output.errors if stderr else output.console
    for item in checked.loaded:
        nodes = len(item.graph.nodes)
        counted = "1 node" if nodes == 1 else f"{nodes} nodes"
        sign = ("✓ ", "green") if not item.warnings else ("! ", "yellow")
        said = f"{visible(item.graph.workflow)}  {counted}  {item.graph.sha256[:12]}"
        console.print(Text.assemble(sign, said, (f"  {visible(checked.source)}", "dim")), soft_wrap=True)
    if checked.error is not None:
        console.print(Text.assemble(("✗ ", "red"), visible(checked.source)), soft_wrap=True)
    for fault in checked.faults:
        style = "yellow" if fault.severity == "warning" else "red"
        console.print(
            Text.assemble((f"  {fault.code} ", style), f"{visible(fault.where)}: {visible(fault.what)}"), soft_wrap=True
        )
        if fault.fix:
            console.print(Text(f"       {visible(fault.fix)}", style="dim"), soft_wrap=True)
    if checked.error is not None and not getattr(checked.error, "faults", ()):
        code = f"  {checked.error.code} "
        console.print(Text.assemble((code, "red"), visible_lines(checked.error.detail)), soft_wrap=True)
        if checked.error.fix:
            console.print(Text(f"       {visible(checked.error.fix)}", style="dim"), soft_wrap=True)


def _deployed(item: Loaded, registered: Registered) -> dict[str, Any]:
    return {
        "workflow": registered.workflow,
        "version": registered.number,
        "sha256": registered.sha256,
        "new": registered.created,
        "newest": registered.newest,
        "source": item.source,
        "warnings": [fault.to_json() for fault in item.warnings],
    }


def _actor() -> Any:
    """Who deploys, as far as anybody can tell from a shell: a system account, not an authenticated person."""
    import getpass

    from signoff.model import Actor

    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = "unknown"
    return Actor(type="system", id="command-line", name=name)


def _local(source: str) -> list[Graph] | None:
    """The graphs of a file or a module; None when `source` is neither, and so may be a deployed workflow."""
    from importlib.util import find_spec

    if not source.endswith(_FILES):
        sys.path.insert(0, "")
        try:
            if find_spec(source) is None:
                return None
        except (ImportError, ValueError):
            return None
    checked = load(source)
    if isinstance(checked.error, ConfigurationError) and not source.endswith(_FILES):
        return None
    if checked.error is not None:
        raise checked.error
    return [item.graph for item in checked.loaded]


def _deployed_graph(name: str, version: int | None, api: str | None, key: str | None, as_: str | None) -> Graph:
    from signoff.cli.client import path
    from signoff.cli.target import find_target
    from signoff.definition.graph import Graph

    segments = ("workflows", name) if version is None else ("workflows", name, "versions", version)
    with find_target(api, key, as_, default="admin").client() as client:
        found = client.get(path(*segments))
    return Graph.from_json(found["graph"])

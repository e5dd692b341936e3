"""Workflows in modules and files: all that are there, nothing of what is faulty, and never another one's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from signoff.definition.faults import DefinitionError
from signoff.errors import ConfigurationError
from signoff.loading import load_workflows

WORKFLOW = """
from signoff import Gate, Workflow, step

@step
def send(value: dict[str, int]) -> dict[str, int]:
    return value

{name} = Workflow("{name}", [Gate("ok", reviewers="leads"), send])
"""

YAML = """
workflow: {name}
steps:
  - gate: ok
    reviewers: leads
"""


@pytest.fixture(autouse=True)
def _clean_imports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Leave no module and no folder of a test to the next one."""
    known = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    yield
    for name in sys.modules.keys() - known:
        del sys.modules[name]


def _write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def _names(*sources: str) -> list[str]:
    return [loaded.graph.workflow for loaded in load_workflows(sources)]


def test_a_module_is_found_in_the_current_folder_by_its_name(tmp_path: Path) -> None:
    _write(tmp_path / "loading_here.py", WORKFLOW.format(name="here"))
    (loaded,) = load_workflows(["loading_here"])
    assert (loaded.graph.workflow, loaded.source) == ("here", "loading_here")
    assert loaded.graph.nodes["send"].ref == "loading_here:send"  # type: ignore[union-attr]


def test_a_module_of_a_package_is_found_by_its_dotted_name(tmp_path: Path) -> None:
    _write(tmp_path / "loading_pack" / "__init__.py", "")
    _write(tmp_path / "loading_pack" / "inner.py", WORKFLOW.format(name="inner"))
    assert _names("loading_pack.inner") == ["inner"]


def test_a_file_is_found_wherever_it_is_and_may_import_its_neighbours(tmp_path: Path) -> None:
    text = "from loading_neighbour import NAME\n" + WORKFLOW.format(name="far")
    source = _write(tmp_path / "elsewhere" / "loading_far.py", text)
    _write(tmp_path / "elsewhere" / "loading_neighbour.py", "NAME = 'x'")
    assert _names(source) == ["far"]


def test_sources_come_in_the_order_they_are_named_and_each_workflow_once(tmp_path: Path) -> None:
    text = WORKFLOW.format(name="one") + WORKFLOW.format(name="two").split("\n", 7)[7] + "\nalias = one\n"
    python = _write(tmp_path / "loading_many.py", text)
    yaml = _write(tmp_path / "many.yaml", YAML.format(name="three"))
    assert _names(yaml, python) == ["three", "one", "two"]
    assert _names("loading_many", yaml) == ["one", "two", "three"]


@pytest.mark.parametrize("suffix", [".yaml", ".yml"])
def test_a_yaml_file_is_a_workflow(tmp_path: Path, suffix: str) -> None:
    assert _names(_write(tmp_path / f"flow{suffix}", YAML.format(name="flow"))) == ["flow"]


# What is refused --------------------------------------------------------------------------------------------------


def test_a_faulty_file_is_refused_whole_with_all_its_faults(tmp_path: Path) -> None:
    text = (
        "workflow: faulty\nsteps:\n  - gate: ok\n    reviewers: leads\n    due: soon\n    colour: red\n  - gate: ok\n"
    )
    with pytest.raises(DefinitionError) as caught:
        load_workflows([_write(tmp_path / "faulty.yaml", text)])
    said = str(caught.value)
    assert "soon" in said
    assert "colour" in said
    assert len({fault.code for fault in caught.value.faults}) >= 2
    assert any("faulty.yaml" in note for note in caught.value.__notes__)


def test_one_faulty_source_of_several_lets_none_through(tmp_path: Path) -> None:
    good = _write(tmp_path / "good.yaml", YAML.format(name="good"))
    bad = _write(tmp_path / "bad.yaml", "workflow: bad\nsteps: []\n")
    with pytest.raises(DefinitionError):
        load_workflows([good, bad])


@pytest.mark.parametrize("text", ["", "- 1", "workflow: [", "a: &a [*a]", "\x00", "%"])
def test_what_is_no_definition_is_a_fault_and_no_crash(tmp_path: Path, text: str) -> None:
    with pytest.raises(DefinitionError):
        load_workflows([_write(tmp_path / "odd.yaml", text)])


RAISING = {
    "raise RuntimeError('at import')": RuntimeError,
    "def broken(:": SyntaxError,
    "import nowhere_at_all": ModuleNotFoundError,
}


@pytest.mark.parametrize(("text", "kind"), RAISING.items())
def test_a_module_that_raises_is_named_with_what_it_raised(tmp_path: Path, text: str, kind: type[Exception]) -> None:
    source = _write(tmp_path / "loading_raises.py", text)
    with pytest.raises(kind) as caught:
        load_workflows([source])
    assert any("loading_raises.py" in note for note in caught.value.__notes__)
    _write(tmp_path / "loading_raises.py", WORKFLOW.format(name="mended") + "# longer now, so that it is read anew\n")
    assert _names(source) == ["mended"], "a failed import leaves nothing behind"


@pytest.mark.parametrize("source", ["loading_nowhere", "nowhere.py", "nowhere.yaml", "os.nowhere", "loading_a.b.c"])
def test_what_is_not_there_is_said_with_its_name(source: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_workflows([source])
    assert source.partition(".")[0] in caught.value.detail


def test_a_module_without_a_workflow_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="has no Workflow"):
        load_workflows([_write(tmp_path / "loading_empty.py", "x = 1")])


@pytest.mark.parametrize("name", ["loading_twin.py", "json.py"])
def test_a_file_never_stands_for_another_of_its_name(tmp_path: Path, name: str) -> None:
    first = _write(tmp_path / "a" / name, WORKFLOW.format(name="first"))
    second = _write(tmp_path / "b" / name, WORKFLOW.format(name="second"))
    if name != "json.py":
        assert _names(first) == ["first"]
    with pytest.raises(ConfigurationError) as caught:
        load_workflows([second])
    assert name.removesuffix(".py") in caught.value.detail
    assert caught.value.fix

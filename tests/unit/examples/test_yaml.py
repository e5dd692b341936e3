"""Every example is there in Python and in YAML, and both are the same workflow."""

from __future__ import annotations

from pathlib import Path

import pytest

from signoff.canonical import canonical
from signoff.loading import load_workflows

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@pytest.mark.parametrize("name", ["refund", "loan", "publish"])
def test_python_and_yaml_compile_to_the_same_graph(name: str) -> None:
    (from_python,) = load_workflows([name])
    (from_yaml,) = load_workflows([str(EXAMPLES / f"{name}.yaml")])
    assert canonical(from_python.graph.to_json()) == canonical(from_yaml.graph.to_json())
    assert from_python.graph.sha256 == from_yaml.graph.sha256


@pytest.mark.parametrize("name", ["refund", "loan", "publish"])
def test_an_example_warns_of_nothing(name: str) -> None:
    loaded = load_workflows([name, str(EXAMPLES / f"{name}.yaml")])
    assert [one.warnings for one in loaded] == [(), ()]


@pytest.mark.parametrize("name", ["refund", "loan", "publish"])
def test_steps_are_found_where_a_worker_looks_for_them(name: str) -> None:
    (loaded,) = load_workflows([name])
    refs = {node.ref for node in loaded.graph.nodes.values() if node.kind == "step"}
    assert {ref.partition(":")[0] for ref in refs} == {name}

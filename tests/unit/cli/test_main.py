"""The command line itself: help, usage, and how quickly it is there."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner, Result

from signoff.cli.main import app
from signoff.cli.runs import labels, moment, read_json
from signoff.errors import InvalidInput, MalformedInput, SignoffError

COMMANDS = [
    "dev", "worker", "beat", "api", "check", "deploy", "graph", "run", "runs", "show", "cancel", "retry", "inbox",
    "decide", "doctor", "audit", "db", "principal", "key",
]  # fmt: skip


def signoff(*arguments: str, **options: object) -> Result:
    return CliRunner().invoke(app, list(arguments), **options)  # type: ignore[arg-type]


def test_the_help_names_every_command_and_the_exit_codes() -> None:
    result = signoff("-h")

    assert result.exit_code == 0
    for command in COMMANDS:
        assert f"\n  {command} " in result.stdout
    assert "3 the run is" in result.stdout


def test_every_command_has_help_by_either_name(capsys: pytest.CaptureFixture[str]) -> None:
    group = get_command(app)
    root = group.make_context("signoff", ["runs"])
    for name in COMMANDS:
        for flag in ("-h", "--help"):
            with pytest.raises(typer.Exit):
                group.commands[name].make_context(name, [flag], parent=root)  # type: ignore[attr-defined]
            assert f"Usage: signoff {name} " in capsys.readouterr().out


def test_every_command_but_the_processes_can_speak_json() -> None:
    commands = dict(get_command(app).commands)  # type: ignore[attr-defined]
    for name in ("dev", "worker", "beat", "api"):
        del commands[name]
    for group in [name for name, command in commands.items() if hasattr(command, "commands")]:
        commands |= {f"{group} {name}": command for name, command in commands.pop(group).commands.items()}
    for name, command in commands.items():
        assert any("--json" in parameter.opts for parameter in command.params), name


def test_the_version_is_that_of_the_distribution() -> None:
    assert signoff("--version").stdout.startswith("signoff ")


def test_the_help_loads_nothing_that_is_slow() -> None:
    # What a start costs is what it imports; time itself depends on whatever else the machine is doing.
    heavy = ["alembic", "celery", "cel_expr_python", "flask", "jsonschema", "kombu", "psycopg", "pydantic", "redis"]
    heavy += [
        "rich.markdown",
        "sqlalchemy",
        "signoff.definition.compiler",
        "signoff.settings",
        "signoff.store.database",
    ]
    code = (
        "import sys; from typer.testing import CliRunner; from signoff.cli.main import app;"
        " assert CliRunner().invoke(app, ['--help']).exit_code == 0; import json; print(json.dumps(list(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert set(heavy).isdisjoint(json.loads(done.stdout))


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["runs", "--nonsense"],
        ["runs", "--status", "sleeping"],
        ["runs", "--limit", "0"],
        ["run", "refund"],
        ["cancel", "x"],
        ["worker", "--pool", "gevent"],
        ["worker", "--concurrency", "0"],
        ["dev", "--port", "70000"],
        ["inbox", "--state", "closed"],
        ["key", "create"],
        ["key", "create", "ana", "--admin", "ana"],
        ["key", "create", "ana", "--expires", "soon"],
        ["run", "refund", "{}", "--label", "team"],
        ["runs", "--since", "yesterday"],
    ],
)
def test_wrong_usage_is_exit_code_2_and_leaves_standard_output_alone(arguments: list[str]) -> None:
    result = signoff(*arguments)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr != ""


def test_with_json_an_error_is_one_object_on_standard_error(tmp_path: object) -> None:
    result = signoff("runs", "--json", env={"SIGNOFF_HOME": str(tmp_path), "SIGNOFF_API_URL": ""})

    assert result.exit_code == 1
    assert result.stdout == ""
    assert json.loads(result.stderr)["code"] == "no_api"


class TestArguments:
    def test_json_comes_from_the_argument_a_file_or_standard_input(self, tmp_path: object) -> None:
        file = f"{tmp_path}/input.json"
        with open(file, "w") as opened:
            opened.write('{"a": "ü"}')

        assert read_json('{"a": 1}') == {"a": 1}
        assert read_json(f"@{file}") == {"a": "ü"}

    @pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', "{", "NaN", "1e999", ""])
    def test_what_is_not_strict_json_is_refused(self, text: str) -> None:
        with pytest.raises(MalformedInput):
            read_json(text)

    def test_a_file_that_is_not_there_is_named(self) -> None:
        with pytest.raises(InvalidInput, match="no-such-file"):
            read_json("@/no-such-file")

    def test_labels_are_key_and_value(self) -> None:
        assert labels(["team=eu", "empty=", "x=a=b"]) == {"team": "eu", "empty": "", "x": "a=b"}

    def test_a_moment_is_a_timestamp_or_a_duration_from_now(self) -> None:
        assert moment("2026-01-31T13:00:00+01:00", past=True) == "2026-01-31T12:00:00.000000Z"
        assert moment("2h", past=True) < moment("1h", past=True) < moment("1h", past=False) < moment("2h", past=False)
        with pytest.raises(SignoffError, match="yesterday"):
            moment("yesterday", past=True)

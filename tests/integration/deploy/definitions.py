"""What deploy/ says, read the way Docker and systemd read it, so that tests can run the very commands."""

from __future__ import annotations

import configparser
import json
import os
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
PROGRAMS_OF_THE_IMAGE = "/opt/signoff/bin"
OURS = ("migrate", "api", "worker", "beat")
"""The services of compose.yaml that run our image."""


def compose() -> dict[str, Any]:
    """compose.yaml with its merged keys."""
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return found


def service(name: str) -> dict[str, Any]:
    found: dict[str, Any] = compose()["services"][name]
    return found


def dockerfile() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile as (NAME, rest), continued lines joined."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines)]


def final_stage() -> list[tuple[str, str]]:
    """The instructions after the last FROM: what the image is."""
    found = dockerfile()
    last = max(at for at, (name, _) in enumerate(found) if name == "FROM")
    return found[last:]


def copied() -> dict[str, Path]:
    """Where in the image a file of this project is, and where it is here."""
    pairs = [rest.split() for name, rest in final_stage() if name == "COPY" and not rest.startswith("--from")]
    return {to: ROOT / source for source, to in pairs}


def command_of_the_image() -> list[str]:
    """What the image runs when it is told nothing."""
    found: list[str] = json.loads(next(rest for name, rest in final_stage() if name == "CMD"))
    return found


def unit(path: Path) -> dict[str, dict[str, list[str]]]:
    """A systemd unit; a key may be there several times."""
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",), dict_type=_Gathering)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's keys have capitals
    parser.read(path)
    return {name: {key: value.split("\n") for key, value in parser[name].items()} for name in parser.sections()}


class _Gathering(dict):  # type: ignore[type-arg]
    """Keeps what a key said before when it is said again, as systemd does for the keys used here."""

    def __setitem__(self, key: Any, value: Any) -> None:
        if key in self and isinstance(value, list) and isinstance(self[key], list):
            value = self[key] + value
        super().__setitem__(key, value)


def exec_start(path: Path) -> list[str]:
    """The command of a unit, as words."""
    (line,) = unit(path)["Service"]["ExecStart"]
    return shlex.split(line)


def environment_file() -> dict[str, str]:
    """signoff.env.example as Docker and systemd read it: NAME=value, nothing expanded."""
    lines = (DEPLOY / "signoff.env.example").read_text().splitlines()
    pairs = [(line.split("=", 1)[0], line.split("=", 1)[1]) for line in lines if line.strip() and line[0] != "#"]
    return dict(pairs)


def project() -> dict[str, Any]:
    """What pyproject.toml says of the distribution."""
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return found


def entry_points() -> dict[str, str]:
    """The scripts that are on PATH in the image: ours, and those of what it installs."""
    found = dict(project()["scripts"])
    for point in distribution("gunicorn").entry_points:
        if point.group == "console_scripts":
            found[point.name] = point.value
    return found


def programs(folder: Path) -> Path:
    """A folder like /opt/signoff/bin: the scripts that an installation makes, on this interpreter."""
    folder.mkdir(parents=True, exist_ok=True)
    _script(folder / "python", f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    for name, target in entry_points().items():
        module, _, function = target.partition(":")
        code = f"import sys\nfrom {module} import {function}\nsys.exit({function}())\n"
        _script(folder / name, f"#!{sys.executable}\n{code}")
    return folder


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


class Host:
    """Where the commands run: a folder of programs, an environment, and nothing inherited but what Python needs."""

    def __init__(self, folder: Path, changes: Mapping[str, str]) -> None:
        self.folder = folder
        self.programs = programs(folder / "bin")
        self.environment = {
            "PATH": f"{self.programs}{os.pathsep}/usr/bin{os.pathsep}/bin",
            "HOME": str(folder),
            **{name: os.environ[name] for name in ("PYTHONPATH", "TMPDIR") if name in os.environ},
            **environment_file(),
            **changes,
        }

    @property
    def port(self) -> str:
        return self.environment["SIGNOFF_API_PORT"]

    def here(self, command: Sequence[str]) -> list[str]:
        """A command of the image with the paths and the port that are here in place of those there."""
        places = {path: str(source) for path, source in copied().items()}
        words = [places.get(word, word) for word in command]
        return [
            word.replace(f"{PROGRAMS_OF_THE_IMAGE}/", f"{self.programs}/").replace(":8400", f":{self.port}")
            for word in words
        ]

    def run(self, command: Sequence[str], **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.here(command),
            capture_output=True,
            text=True,
            timeout=60,
            cwd=ROOT / "examples",
            env=self.environment | settings,
            check=False,
        )

    @contextmanager
    def running(self, name: str, command: Sequence[str], **settings: str) -> Iterator[subprocess.Popen[bytes]]:
        """A command that runs meanwhile. It has to end by itself on SIGTERM, as Docker and systemd ask it to."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                self.here(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT / "examples",
                env=self.environment | settings,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            try:
                code = process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()
                raise
        assert code == 0, f"{name} ended with {code}: {self.log(name)}"

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

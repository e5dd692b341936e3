"""A running API, and the command line against it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from signoff.cli.main import app

COMMAND = (sys.executable, "-c", "import sys; sys.argv[0] = 'signoff'; from signoff.cli.main import run; run()")
"""`signoff`, whether or not it is installed."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Where the servers are, and how to run `signoff` against them."""

    api_url: str
    database_url: str
    broker_url: str
    home: Path
    keys: Mapping[str, str]
    log: Path

    @property
    def environment(self) -> dict[str, str]:
        """That of a terminal in which `signoff dev` runs."""
        return {"SIGNOFF_HOME": str(self.home), "COLUMNS": "100"}

    def __call__(self, *arguments: str, input: str | None = None, **environment: str) -> Result:
        """`signoff ARGUMENTS`, in this process."""
        return CliRunner().invoke(app, list(arguments), input=input, env=self.environment | environment)

    @contextmanager
    def spawned(self, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
        """`signoff ARGUMENTS`, as a process of its own that does not outlive the block."""
        with subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | self.environment | environment,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def json(self, *arguments: str) -> Any:
        """What `signoff ARGUMENTS --json` writes; it has to succeed."""
        result = self(*arguments, "--json")
        assert result.exit_code == 0, result.output
        assert result.stderr == ""
        return json.loads(result.stdout)

    def start(self, amount: str = "640", text: str = "A-1", *more: str) -> dict[str, Any]:
        """A run of `expense`, parked at its gate."""
        found: dict[str, Any] = self.json("run", "expense", json.dumps({"amount": amount, "text": text}), *more)
        return found

    def human_task_of(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """The one open human task of a run."""
        (found,) = self.json("inbox", "--run", run["id"])["items"]
        return dict(found)

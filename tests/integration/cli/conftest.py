"""A real API with a database and a broker of its own, and the command line as people run it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import servers
from tests.integration.cli.stack import Stack
from tests.servers import eventually, free_port

from signoff.cli.client import Client
from signoff.embedded.dev_file import DevState, write_dev_state
from signoff.embedded.identities import seed
from signoff.embedded.processes import launch, stop
from signoff.engine import Engine, build_engine
from signoff.errors import SignoffError
from signoff.settings import Settings

EXPENSE = """
workflow: expense
input:
  type: object
  properties:
    amount: {type: string, format: decimal}
    text: {type: string}
  required: [amount, text]
steps:
  - gate: approve
    reviewers: support-leads
    title: "Pay {amount} for {text}"
    editable: [amount]
    options: [approve, reject, to_managers]
    consequences: {approve: "Pays {amount} now.", reject: "Nothing is paid."}
    due: 4h
    on_to_managers: [{gate: second-look, reviewers: support-managers}]
"""
BOOKING = """
from signoff import Retry, Workflow, step

@step(queue="books", retry=Retry(attempts=1))
def book(value: dict) -> dict:
    return value

booking = Workflow("booking", [book])
"""


@pytest.fixture(scope="session")
def stack(
    migrated_server: servers.PostgresServer, valkey_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """One API process for all tests here: each looks only at what it made itself."""
    home = tmp_path_factory.mktemp("home")
    database_url = migrated_server.create(template=servers.TEMPLATE)
    keys = seed(database_url, home)
    port, log = free_port(), home / "api.log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SIGNOFF_")} | {
        "SIGNOFF_DATABASE_URL": database_url,
        "SIGNOFF_BROKER_URL": valkey_url,
        "SIGNOFF_API_PORT": str(port),
        "SIGNOFF_API_WORKERS": "1",
    }
    api_url = f"http://127.0.0.1:{port}"
    urls = {"api_url": api_url, "database_url": database_url, "broker_url": valkey_url}
    write_dev_state(home, DevState(**urls, inbox_url=f"{api_url}/inbox", pids={}, keys=keys))
    made = Stack(**urls, home=home, keys=keys, log=log)
    with log.open("wb") as output:
        process = launch([sys.executable, "-m", "signoff_api"], output=output, env=environment)
    try:
        eventually(lambda: _ready(api_url), seconds=30, why=f"the API, see {log}")
        for name, document in (("expense.yaml", EXPENSE), ("cli_booking.py", BOOKING)):
            (home / name).write_text(document)
            result = made("deploy", str(home / name))
            assert result.exit_code == 0, result.output
        yield made
    finally:
        stop(process, signal.SIGTERM, 10)
        migrated_server.drop(database_url)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine reaches a test, and no file of it either."""
    for name in [name for name in os.environ if name.startswith("SIGNOFF_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def engine(stack: Stack) -> Iterator[Engine]:
    """An engine on the stack's database, to do what a worker would."""
    made = build_engine(Settings(database_url=stack.database_url, broker_url=stack.broker_url), pool_size=2)
    yield made
    made.close()


def _ready(api_url: str) -> bool:
    try:
        with Client(api_url, None) as client:
            return bool(client.get("/readyz"))
    except SignoffError:
        return False

"""A file of applications becomes runs, through the API over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.serving import make_server

import loan_batch
from loan import loan
from signoff.engine import Engine, build_engine
from signoff.model import SYSTEM
from signoff.settings import Settings
from signoff.store.identity import create_api_key, create_principal
from signoff_api.app import create_app

GOOD = "A14 12 A34 A43 2400 A65 A75 2 A93 A101 3 A121 40 A143 A152 2 A173 1 A192 A201 1"
BAD = "A11 36 A32 A40 9000 A61 A72 4 A92 A101 2 A124 23 A141 A151 1 A172 1 A191 A201 2"


@pytest.fixture
def engine(database_url: str, broker_url: str) -> Iterator[Engine]:
    built = build_engine(Settings(database_url=database_url, broker_url=broker_url), pool_size=4)
    yield built
    built.close()


@pytest.fixture
def api(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an API that knows the workflow; a requester's key is in the environment."""
    engine.register(loan.graph, by=SYSTEM)
    create_principal(engine.database, name="requester", kind="service", roles=["requester"])
    monkeypatch.setenv("SIGNOFF_API_KEY", create_api_key(engine.database, "requester"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = make_server("127.0.0.1", 0, create_app(engine, engine.settings), threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def runs_of(engine: Engine) -> int:
    with engine.database.transaction() as cursor:
        cursor.execute("SELECT count(*) FROM runs")
        (count,) = cursor.fetchone() or (0,)
    return int(count)


def test_each_application_becomes_one_run_however_often_the_file_is_sent(
    engine: Engine, api: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "applications.data"
    file.write_text(f"{GOOD}\n{BAD}\n{GOOD}\n")
    assert loan_batch.main([str(file), "--api", api, "--limit", "2"]) == 0
    assert "started 2 runs" in capsys.readouterr().out
    assert runs_of(engine) == 2
    assert loan_batch.main([str(file), "--api", api]) == 0
    assert runs_of(engine) == 3


def test_a_refusal_of_the_api_is_shown_with_what_was_started(
    engine: Engine, api: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "applications.data"
    file.write_text(f"{GOOD}\n")
    assert loan_batch.main([str(file), "--api", api, "--key", "wrong"]) == 1
    told = capsys.readouterr().err
    assert "answered 401" in told
    assert "0 of 1 were started" in told
    assert runs_of(engine) == 0

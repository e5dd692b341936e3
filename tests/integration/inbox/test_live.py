"""Live pages by the real server: who is told what and how soon, how many may listen, and how it all ends."""

from __future__ import annotations

import re
import signal
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from tests.integration.inbox.live_site import STREAMS, Reader, Site, serve
from tests.servers import PostgresServer, eventually

from signoff.store.sessions import end_session, start_session

pytestmark = pytest.mark.long

ENDS_SECONDS = 4
"""How long the end of the server may take on a busy machine; it takes a second, and 20 where it waits for streams."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, module_database_url: str, valkey_url: str) -> Iterator[Site]:
    with serve(tmp_path_factory.mktemp("live"), module_database_url, valkey_url) as site:
        yield site


@pytest.fixture
def site(server: Site) -> Iterator[Site]:
    yield server
    server.hang_up()


@pytest.mark.parametrize("path", ["/live", "/live/changes"])
def test_nobody_is_told_anything_without_a_session(site: Site, path: str) -> None:
    status, text = site.get(path, None)
    assert status == 303
    assert "event:" not in text


def test_a_change_is_told_within_two_looks(site: Site, record_property: pytest.RecordProperty) -> None:
    reader = site.listen("ana")
    reader.until("ready")
    committed: dict[UUID, float] = {}

    def write() -> None:
        # More than a second of them, so that they fall on every moment between two looks.
        ends = time.monotonic() + 3
        while time.monotonic() < ends and len(committed) < 400:
            task = site.start()
            committed[task] = time.monotonic()

    writer = threading.Thread(target=write)
    writer.start()
    told: dict[UUID, float] = {}
    for event in reader:
        told |= dict.fromkeys(event.ids, time.monotonic())
        if not writer.is_alive() and told.keys() >= committed.keys():
            break
    writer.join()
    took = sorted(told[task] - committed[task] for task in committed)
    p50, p95 = statistics.median(took), took[int(len(took) * 0.95)]
    record_property("latency", f"n={len(took)} p50={p50:.3f} p95={p95:.3f} max={took[-1]:.3f}")
    print(f"latency of {len(took)} changes: p50 {p50:.3f} s, p95 {p95:.3f} s, max {took[-1]:.3f} s")
    assert p95 < 2, took


def test_each_is_told_what_they_see_and_the_stream_has_ids_alone(site: Site) -> None:
    readers = {name: site.listen(name) for name in ("ana", "max", "zoe", "req")}
    for reader in readers.values():
        reader.until("ready")
    lead, manager = site.start("to-leads"), site.start("to-managers")
    told = {name: {i for event in reader.until(manager) for i in event.ids} for name, reader in readers.items()
            if name != "ana"}  # fmt: skip
    last = site.start("to-leads")
    told["ana"] = {i for event in readers["ana"].until(last) for i in event.ids}
    assert lead in told["ana"]
    assert manager not in told["ana"]
    assert lead not in told["max"]
    assert {lead, manager} <= told["zoe"] & told["req"]
    line = (
        rb"retry: \d+|event: (ready|changed|refetch)|id: [\w-]+|: still here|"
        rb'data: \{("ids":\[("[0-9a-f-]{36}",?)+\])?\}|'
    )
    for reader in readers.values():
        assert all(re.fullmatch(line, each) for each in reader.raw.split(b"\n")), reader.raw
        assert reader.headers["Content-Type"].startswith("text/event-stream")
        assert reader.headers["Cache-Control"] == "no-store"


def test_who_loses_sight_of_it_is_told_so(site: Site) -> None:
    ana, sam, boss = site.listen("ana"), site.listen("sam"), site.listen("max")
    moving = site.start("moves-on")
    for reader in (ana, sam):
        reader.until(moving)
    eventually(lambda: site.engine.sweep().human_tasks, why="the gate asks the managers instead")
    for reader in (ana, sam, boss):
        assert moving in reader.until(moving)[-1].ids


def test_there_are_only_so_many_streams_and_the_rest_is_served(site: Site) -> None:
    readers = [site.listen("ana") for _ in range(STREAMS)]
    refused = site.ask("ana")
    assert (refused.status, refused.headers["Retry-After"]) == (503, "30")
    for _ in range(3):
        assert site.get("/readyz", None)[0] == 200
        assert site.get("/live/changes", "ana")[0] == 200
    readers[0].close()
    begun = time.monotonic()
    site.listen("ana")
    assert time.monotonic() - begun < 3, "who hangs up makes room for another"


def test_asking_only_for_the_head_takes_no_place(site: Site) -> None:
    for _ in range(STREAMS + 1):
        assert site.get("/live", "ana", "HEAD")[0] == 200
    assert site.listen("ana").status == 200


def test_a_stream_goes_on_where_the_last_one_ended(site: Site) -> None:
    first = site.listen("ana")
    cursor = first.until("ready")[-1].cursor
    assert cursor is not None
    first.close()
    missed = site.start()
    assert missed in site.listen("ana", **{"Last-Event-ID": cursor}).until(missed)[-1].ids
    assert missed in site.listen("ana", f"?since={cursor}").until(missed)[-1].ids


@pytest.mark.parametrize("cursor", ["nonsense", "W10"])
def test_a_stream_that_can_not_go_on_says_so(site: Site, cursor: str) -> None:
    seen = site.listen("ana", **{"Last-Event-ID": cursor}).until("refetch")
    assert [event.kind for event in seen] == ["ready", "refetch"]
    assert seen[-1].cursor is not None


def test_the_cursor_of_another_person_is_of_no_use(site: Site) -> None:
    cursor = site.listen("zoe").until("ready")[-1].cursor
    assert cursor is not None
    seen = site.listen("ana", **{"Last-Event-ID": cursor}).until("refetch")
    assert not any(event.ids for event in seen)


def test_changes_can_be_asked_for(site: Site) -> None:
    status, first = site.get("/live/changes", "max")
    assert (status, first["ids"], first["refetch"]) == (200, [], False)
    lead, manager = site.start("to-leads"), site.start("to-managers")
    found = site.get(f"/live/changes?since={first['cursor']}", "max")[1]
    assert str(manager) in found["ids"]
    assert str(lead) not in found["ids"]
    assert found.keys() == {"ids", "refetch", "cursor"}
    assert site.get(f"/live/changes?since={found['cursor']}", "sam")[1]["refetch"], "a cursor is its owner's"
    status, text = site.get("/live/changes?since=nonsense", "max")
    assert status == 422
    assert "?since" in text


def test_a_session_that_has_ended_is_told_nothing_more(site: Site) -> None:
    database = site.engine.database
    token = start_session(database, site.people["ana"], hours=1, user_agent="", key=None)
    reader = site.listen(token)
    reader.until("ready")
    end_session(database, token)
    after = site.start()
    rest = list(reader)
    assert not any(after in event.ids for event in rest)


def test_a_reader_that_does_not_read_is_told_to_read_all_again(site: Site) -> None:
    with socket.socket() as slow:
        # As small as the system lets them be, so that little fills what lies between.
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        slow.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        slow.connect(("127.0.0.1", site.port))
        slow.sendall(
            b"GET /live HTTP/1.1\r\nHost: x\r\nCookie: signoff_session=%b\r\n\r\n" % site.tokens["ana"].encode()
        )
        with site.engine.database.autocommit() as cursor:
            witness = site.listen("ana")
            for _turn in range(12):
                cursor.execute(
                    "INSERT INTO human_tasks SELECT (jsonb_populate_record(h, jsonb_build_object('id',"
                    " gen_random_uuid(), 'changed_at', clock_timestamp()))).* FROM human_tasks h,"
                    " generate_series(1, 400) WHERE h.id = %s",
                    (site.start(),),
                )
                last = site.start()
                # On a busy machine the witness, too, may be behind for a moment.
                witness.until(last, "refetch")
        received = b""
        slow.settimeout(10)
        while b"event: refetch" not in received:
            received += slow.recv(4096)
        assert b"event: changed" in received
    assert site.get("/readyz", None)[0] == 200


def test_a_database_that_goes_away_and_comes_back(
    tmp_path: Path, postgres_server: PostgresServer, database_url: str, broker_url: str
) -> None:
    name = str(psycopg.conninfo.conninfo_to_dict(database_url)["dbname"])
    admits = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    with serve(tmp_path, database_url, broker_url) as site:
        reader = site.listen("ana")
        reader.until("ready")
        site.engine.database.close()
        with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as root:
            root.execute(admits.format(sql.Identifier(name), sql.SQL("false")))
            try:
                root.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
                eventually(lambda: "live_database_away" in site.log.read_text(), why="the poller has noticed")
                assert site.get("/live/changes", "ana")[0] == 503
                assert site.ask("ana").status == 503
            finally:
                root.execute(admits.format(sql.Identifier(name), sql.SQL("true")))
        reader.until("refetch")
        again = site.start()
        assert again in reader.until(again)[-1].ids


@pytest.fixture
def quiet_site(tmp_path: Path, database_url: str, broker_url: str) -> Iterator[Site]:
    """A site of the test's own: nobody is told to read all again because of what another test has just written."""
    with serve(tmp_path, database_url, broker_url) as site:
        yield site


def test_twenty_people_listen_at_once_by_streams_and_by_asking(quiet_site: Site) -> None:
    site = quiet_site
    wanted: list[UUID] = []
    heard: list[str] = []
    cursors = [site.get("/live/changes", "ana")[1]["cursor"] for _ in range(20 - STREAMS)]
    readers = [site.listen("ana") for _ in range(STREAMS)]
    told = threading.Event()

    def listen(reader: Reader) -> None:
        assert told.wait(30)
        reader.until(wanted[0])
        heard.append("stream")

    def ask(cursor: str) -> None:
        refused = Reader(site.port, site.tokens["ana"])
        refused.close()
        assert refused.status == 503
        assert told.wait(30)
        eventually(lambda: str(wanted[0]) in site.get(f"/live/changes?since={cursor}", "ana")[1]["ids"], seconds=20)
        heard.append("asked")

    threads = [threading.Thread(target=listen, args=[reader]) for reader in readers]
    threads += [threading.Thread(target=ask, args=[cursor]) for cursor in cursors]
    for thread in threads:
        thread.start()
    wanted.append(site.start())
    told.set()
    for thread in threads:
        thread.join(30)
    assert sorted(heard) == ["asked"] * (20 - STREAMS) + ["stream"] * STREAMS


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGQUIT])
def test_the_server_ends_at_once_with_streams_that_are_open(
    tmp_path: Path, database_url: str, broker_url: str, stop: signal.Signals
) -> None:
    with serve(tmp_path, database_url, broker_url) as site:
        for _ in range(STREAMS):
            site.listen("ana").until("ready")
        begun = time.monotonic()
        site.process.send_signal(stop)
        with suppress(OSError):
            # Nobody hangs up: all of them wait for what comes.
            for reader in site.readers:
                assert [event for event in reader if event.ids] == []
        assert site.process.wait(timeout=20) == 0
        took = time.monotonic() - begun
        print(f"ended after {took:.2f} s")
        assert took < ENDS_SECONDS

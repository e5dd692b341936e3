"""The suite's own parts do what its scenarios rely on: a harness that sees nothing would pass everything."""

from __future__ import annotations

import importlib.util
import re
import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.chaos.guards import MUTANTS
from tests.chaos.oracle import Judgement, check_effects
from tests.chaos.proxy import Proxy
from tests.chaos.receiver import SCHEMA, Ledger, ReceiverServer
from tests.chaos.registry import Tier, scenarios
from tests.chaos.scenarios.p01_crashes import POINTS
from tests.chaos.workload import Item, Wish, items
from tests.servers import eventually

ROOT = Path(__file__).parents[2]
SOURCES = [path for part in ("shared", "workers", "api") for path in (ROOT / part).rglob("*.py")]
HIT = re.compile(r"""\bhit\(\s*"([^"]+)"|\bpartial\(hit, "([^"]+)"\)""")


def failpoints() -> list[str]:
    """The names of all failpoints in the product, as often as each is there."""
    return [first or second for path in SOURCES for first, second in HIT.findall(path.read_text())]


def test_a_process_dies_at_every_failpoint_there_is() -> None:
    named = failpoints()
    assert len(named) == len(set(named)), "one name, one place"
    assert set(named) == {point.name for point in POINTS}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_still_finds_its_guard(name: str) -> None:
    mutant = MUTANTS[name]
    found = importlib.util.find_spec(mutant.module)
    assert found is not None
    assert found.origin is not None
    source = Path(found.origin).read_text()
    assert mutant.applied(source) != source


def test_every_promise_that_is_played_has_a_mutant_and_all_tiers() -> None:
    played = {tier: {one.promise for one in scenarios(tier=tier)} for tier in Tier}
    assert played[Tier.LONG] == {mutant.promise for mutant in MUTANTS.values()}
    assert played[Tier.CI] == played[Tier.LONG]
    assert played[Tier.SLICE] <= played[Tier.CI]


def test_the_plan_is_that_of_its_seed_and_pays_what_was_approved() -> None:
    plan = items(7, 200)
    assert plan == items(7, 200) != items(8, 200)
    assert {item.wish for item in plan} == set(Wish)
    for item in plan:
        assert (item.paid is None) == (item.end[1] != "approved")


# The receiver -----------------------------------------------------------------------------------------------------


def test_who_dies_in_the_middle_of_asking_has_asked_for_nothing(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite"
    server = ReceiverServer(ledger, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        for said in (b'{"paid"', b'{"paid": 7}'):
            with socket.create_connection(server.server_address[:2], timeout=5) as client:
                client.sendall(b"POST /effects HTTP/1.1\r\nIdempotency-Key: k\r\nContent-Length: 11\r\n\r\n" + said)
                client.shutdown(socket.SHUT_WR)
                while client.recv(4096):
                    pass
        assert [effect.body for effect in Ledger(ledger).effects()] == [{"paid": 7}]
    finally:
        server.shutdown()
        server.server_close()


# The receiver's books against the plan --------------------------------------------------------------------------------

PLAN = {
    1: Item(number=1, wish=Wish.APPROVE, amount=10, edited=11),
    2: Item(number=2, wish=Wish.EDIT, amount=20, edited=21),
    3: Item(number=3, wish=Wish.REJECT, amount=30, edited=31),
}
GOOD = [("a", '{"item": 1, "amount": 10}'), ("b", '{"item": 2, "amount": 21}')]


def judged(tmp_path: Path, *asked: tuple[str, str]) -> Judgement:
    """What the oracle says of a receiver that was asked for this."""
    path = tmp_path / "ledger.sqlite"
    with sqlite3.connect(path) as books:
        books.executescript(SCHEMA)
        for key, body in asked:
            books.execute("INSERT INTO deliveries (key, body, at) VALUES (?, ?, 0)", (key, body))
            books.execute("INSERT OR IGNORE INTO effects VALUES (?, ?, 0)", (key, body))
    books.close()
    found = Judgement()
    plant: Any = SimpleNamespace(ledger=Ledger(path))
    check_effects(plant, PLAN, found)
    return found


def test_what_was_approved_and_paid_once_is_all_right_also_when_it_was_asked_twice(tmp_path: Path) -> None:
    assert judged(tmp_path, *GOOD, GOOD[0]).ok


def test_an_effect_that_is_missing_is_lost(tmp_path: Path) -> None:
    assert judged(tmp_path, GOOD[0]).lost == ["item 2 was approved and never paid"]


def test_an_effect_under_a_second_key_is_doubled(tmp_path: Path) -> None:
    assert judged(tmp_path, *GOOD, ("c", GOOD[0][1])).doubled == ["item 1 was paid 2 times"]


def test_an_effect_that_nobody_approved_is_wrong(tmp_path: Path) -> None:
    assert judged(tmp_path, *GOOD, ("c", '{"item": 3, "amount": 30}')).wrong
    assert judged(tmp_path, GOOD[0], ("b", '{"item": 2, "amount": 20}')).wrong, "the amount before it was edited"
    assert judged(tmp_path, *GOOD, ("a", '{"item": 1, "amount": 9}')).wrong, "the same key for something else"


# Wires ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that says what it hears."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(client,), daemon=True).start()

    def answer(client: socket.socket) -> None:
        with client:
            try:
                while piece := client.recv(1024):
                    client.sendall(piece)
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    yield listening.getsockname()[1]
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


@pytest.fixture
def wire(echo: int) -> Iterator[Proxy]:
    made = Proxy(("127.0.0.1", echo))
    yield made
    made.close()


def said(client: socket.socket, what: bytes) -> bytes:
    client.sendall(what)
    return client.recv(1024)


def test_a_wire_that_is_cut_resets_who_was_there_and_serves_who_comes(wire: Proxy) -> None:
    with socket.create_connection(("127.0.0.1", wire.port), timeout=5) as client:
        assert said(client, b"one") == b"one"
        assert wire.cut() == 1
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with socket.create_connection(("127.0.0.1", wire.port), timeout=5) as client:
        assert said(client, b"two") == b"two"


def test_an_unplugged_wire_refuses_until_it_is_plugged_in(wire: Proxy) -> None:
    wire.unplug()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", wire.port), timeout=5)
    wire.plug_in()
    with socket.create_connection(("127.0.0.1", wire.port), timeout=5) as client:
        assert said(client, b"three") == b"three"


def test_a_silent_wire_takes_everything_and_gives_nothing(wire: Proxy) -> None:
    with socket.create_connection(("127.0.0.1", wire.port), timeout=5) as client:
        assert said(client, b"four") == b"four"
        assert wire.fall_silent() == 1
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            said(client, b"five")
        wire.speak()
        client.settimeout(5)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        eventually(lambda: wire.connections == 0, why="it is forgotten")

"""What runs out: connections of the product's own pools, the server's connections, its disk, and everybody's patience
with a lock.

Each fault counts once a client was told 503 for it. What clients are told meanwhile is noted with all other answers.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from tests.chaos.client import Answers
from tests.chaos.faults import Faults
from tests.chaos.plant import Plant, wait_for

STATEMENT_SECONDS = 2.0
POOL_SECONDS = 1.0
ANSWER_SECONDS = 10.0
"""Nobody waits longer for an answer, with a few others before them in the queue of the API's threads."""
GIVE_UP_SECONDS = 15.0
SETTINGS = {
    "SIGNOFF_POOL_SIZE": "2",
    "SIGNOFF_POOL_TIMEOUT_SECONDS": str(POOL_SECONDS),
    "SIGNOFF_STATEMENT_TIMEOUT_SECONDS": str(STATEMENT_SECONDS),
}
DISK_MEGABYTES = 64
GROWING = ("events", "runs", "human_tasks", "decisions", "idempotency_keys")
FULL = "No space left on device"
ON_DISK_SECONDS = 15.0
LOG_MEGABYTES = 512
SEGMENTS = 40
"""More than PostgreSQL keeps ready for reuse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a client was answered, and after how long; status 0 is nothing at all."""

    path: str
    status: int
    seconds: float


@dataclass(kw_only=True)
class Exhaustion(Faults):
    """These faults beside the others. `slow` are answers that came later than anybody should wait."""

    answers: Answers
    disk: Path | None = None
    """A small file system with the tables that grow, or with the log; None where there may be none."""
    slow: list[str] = field(default_factory=list)

    def exhaust_pool(self) -> bool:
        """Every connection of the API waits for a table; whoever wants no part of it gets no connection."""
        asked = [("GET", "/human-tasks?limit=1")] * 16 + [("GET", "/workflows")] * 12
        with self._held("LOCK TABLE human_tasks IN ACCESS EXCLUSIVE MODE"):
            told = self._ask(asked)
        return self._seen("exhaust_pool", any(each.status == 503 and each.path == "/workflows" for each in told))

    def pile_up_locks(self) -> bool:
        """Somebody outside keeps the rows of all runs that wait for a person, and many come to claim them."""
        wait_for(self._waiting, seconds=5.0)
        found = self._waiting()
        with self._held("SELECT 1 FROM runs WHERE status = 'waiting' FOR UPDATE"):
            told = self._ask([("PUT", f"/human-tasks/{task}/claim") for task in found * 8])
        return self._seen("pile_up_locks", any(each.status == 503 for each in told))

    def take_connections(self) -> bool:
        """Others have every connection that the server has room for, and ours are cut."""
        with contextlib.ExitStack() as others:
            for _ in range(1_000):
                try:
                    others.enter_context(contextlib.closing(psycopg.connect(self.plant.direct_url)))
                except psycopg.OperationalError:
                    break
            self.plant.database_wire.cut()
            # What ours free is taken as well, before they come back for it.
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    others.enter_context(contextlib.closing(psycopg.connect(self.plant.direct_url)))
            told = self._ask([("GET", "/workflows")] * 8)
        return self._seen("take_connections", any(each.status == 503 for each in told))

    def fill_disk(self) -> bool:
        """The file system with the tables is full until the server has said so, and a client was told 503."""
        if self.disk is None:
            return False
        filler, log = self.disk / "filler", self.plant.postgres.home / "postgres.log"
        before, told_before = log.read_text(errors="replace").count(FULL), self.answers.statuses[503]
        try:
            _fill(filler)
            seen = wait_for(
                lambda: (
                    log.read_text(errors="replace").count(FULL) > before and self.answers.statuses[503] > told_before
                ),
                seconds=ON_DISK_SECONDS,
            )
        finally:
            filler.unlink(missing_ok=True)
        return self._seen("fill_disk", seen)

    def fill_log(self) -> bool:
        """The disk of PostgreSQL's write-ahead log is full: the server stops in the midst of a commit, and can't come
        back before there is room.
        """
        assert self.disk is not None
        server, filler = self.plant.postgres, self.disk / "filler"
        log = server.home / "postgres.log"
        before, told_before = log.read_text(errors="replace").count(FULL), self.answers.statuses[503]

        def seen() -> bool:
            full = log.read_text(errors="replace").count(FULL) > before
            return full and self.answers.statuses[503] > told_before

        try:
            _fill(filler)
            with contextlib.suppress(psycopg.Error), psycopg.connect(self.plant.direct_url, autocommit=True) as ours:
                for _ in range(SEGMENTS):
                    ours.execute("SELECT pg_logical_emit_message(false, 'chaos', repeat('x', 1000)), pg_switch_wal()")
            found = wait_for(seen, seconds=ON_DISK_SECONDS)
        finally:
            filler.unlink(missing_ok=True)
        assert server.server is not None
        if not wait_for(lambda: _takes_connections(self.plant), seconds=1.0):
            # It has given up, and is started again by whoever sees to services.
            server.stop()
            server.start()
        return self._seen("fill_log", found)

    # ------------------------------------------------------------------------------------------------------------------

    def _waiting(self) -> list[str]:
        rows = self.plant.rows(
            "SELECT t.id::text FROM human_tasks t JOIN runs r ON r.id = t.run_id"
            " WHERE t.state = 'open' AND r.status = 'waiting' LIMIT 3"
        )
        return [row[0] for row in rows]

    @contextlib.contextmanager
    def _held(self, statement: str) -> Iterator[None]:
        """Somebody who has nothing to do with us holds a lock."""
        with psycopg.connect(self.plant.direct_url) as connection:
            connection.execute(statement)  # type: ignore[call-overload]
            try:
                yield
            finally:
                connection.rollback()

    def _ask(self, asked: Sequence[tuple[str, str]]) -> list[Told]:
        """All of these at once, each once; until all are answered, or nobody would wait any more."""
        told: list[Told] = []

        def ask(method: str, path: str) -> None:
            told.append(self._ask_one(method, path))

        threads = [threading.Thread(target=ask, args=each, daemon=True) for each in asked]
        for thread in threads:
            thread.start()
        give_up = time.monotonic() + GIVE_UP_SECONDS
        for thread in threads:
            thread.join(max(0.0, give_up - time.monotonic()))
        if len(told) < len(threads):
            self.slow.append(
                f"{len(threads) - len(told)} of {len(threads)} requests had no answer for {GIVE_UP_SECONDS:g} s"
            )
        self.slow += [f"{each}" for each in told if each.seconds > ANSWER_SECONDS]
        return list(told)

    def _ask_one(self, method: str, path: str) -> Told:
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.plant.api_port, timeout=30)
        headers = {"Authorization": f"Bearer {self.plant.keys['ana']}", "Content-Type": "application/json"}
        try:
            connection.request(method, f"/api/v1{path}", None if method == "GET" else json.dumps({}), headers)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.answers.note_broken(f"{method} {path}", error)
            return Told(path=path, status=0, seconds=time.monotonic() - began)
        finally:
            connection.close()
        self.answers.note(f"{method} {path}", response.status, response.headers.get("Content-Type", ""), body)
        return Told(path=path, status=response.status, seconds=time.monotonic() - began)


def _fill(filler: Path) -> None:
    """Until there is no room, and then every page that is left."""
    for mode, piece in (("wb", 65536), ("ab", 4096)):
        with filler.open(mode, buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * piece)


def _takes_connections(plant: Plant) -> bool:
    try:
        psycopg.connect(plant.direct_url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


@contextlib.contextmanager
def small_disk(plant: Plant) -> Iterator[Path | None]:
    """A file system of few megabytes with the tables that grow; None where nobody may mount one. It is undone."""
    with _mounted(plant, DISK_MEGABYTES) as folder:
        if folder is None:
            yield None
            return
        try:
            _execute(plant, sql.SQL("CREATE TABLESPACE small LOCATION {}").format(str(folder)))
            _move_tables(plant, "small")
            yield folder
        finally:
            # Also when the scenario has failed: who judges it reads these tables.
            with contextlib.suppress(psycopg.Error):
                _move_tables(plant, "pg_default")
                _execute(plant, sql.SQL("DROP TABLESPACE small"))


@contextlib.contextmanager
def small_log(plant: Plant) -> Iterator[Path | None]:
    """The same with the server's write-ahead log, which is moved there and back while the server stands still."""
    with _mounted(plant, LOG_MEGABYTES) as folder:
        if folder is None:
            yield None
            return
        place = plant.postgres.home / "postgres" / "pg_wal"
        plant.postgres.stop()
        shutil.copytree(place, folder / "pg_wal")
        _give_to_owner(place, folder / "pg_wal")
        shutil.rmtree(place)
        place.symlink_to(folder / "pg_wal")
        plant.postgres.start()
        try:
            yield folder
        finally:
            with contextlib.suppress(ProcessLookupError):
                plant.postgres.stop()
            place.unlink()
            shutil.copytree(folder / "pg_wal", place)
            _give_to_owner(folder / "pg_wal", place)
            plant.postgres.start()


def _give_to_owner(model: Path, made: Path) -> None:
    owner = model.stat()
    for path in (made, *made.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)


@contextlib.contextmanager
def _mounted(plant: Plant, megabytes: int) -> Iterator[Path | None]:
    """A small file system that belongs to PostgreSQL; None where nobody may mount one."""
    assert plant.postgres.server is not None
    owner = os.stat(f"/proc/{plant.postgres.server.pid}")
    folder = Path(tempfile.mkdtemp(prefix="signoff-chaos-disk-", dir="/var/tmp"))  # PostgreSQL gets there
    folder.chmod(0o755)
    options = f"size={megabytes}m,uid={owner.st_uid},gid={owner.st_gid},mode=700"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "signoff-chaos", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        folder.rmdir()
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)
        folder.rmdir()


def _move_tables(plant: Plant, space: str) -> None:
    for table in GROWING:
        _execute(
            plant,
            sql.SQL("ALTER TABLE {} SET TABLESPACE {}").format(sql.Identifier(table), sql.Identifier(space)),
        )


def _execute(plant: Plant, statement: sql.Composed | sql.SQL) -> None:
    with psycopg.connect(plant.direct_url, autocommit=True) as connection:
        connection.execute(statement)

"""How long the pages and the API take beside how many human tasks are open: `python -m tests.bench.pages`."""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlencode

from signoff.engine import build_engine
from signoff.settings import Settings
from signoff.store.identity import create_api_key, create_principal
from tests import servers
from tests.bench.pages_seed import seed
from tests.bench.stack import ROOT, process

GROUPS = {"lead": ["support-leads"], "fraud": ["fraud"], "admin": []}
"""Whose lists are asked for: a member of the largest group, one of the smallest, and who sees everything."""

WARM_UP = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Milliseconds of one request, over so many."""

    name: str
    p50_ms: float
    p95_ms: float
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstLoad:
    """What a browser that comes for the first time fetches: the page and what it names, as sent and unpacked."""

    requests: int
    bytes_sent: int
    bytes_unpacked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A running API."""

    port: int
    keys: dict[str, str]
    database_url: str


class Client:
    """Somebody on one connection: a browser that has signed in, and a program with a key."""

    def __init__(self, site: Site, name: str) -> None:
        self._connection = HTTPConnection("127.0.0.1", site.port, timeout=60)
        self._key = site.keys[name]
        self._cookie = ""
        self._sign_in()

    def page(self, path: str, **headers: str) -> bytes:
        """A page that was answered with 200, as it was sent."""
        return self._ask("GET", path, headers={"Cookie": self._cookie, **headers})[1]

    def api(self, method: str, path: str, body: object = None, status: int = 200) -> bytes:
        headers = {"Authorization": f"Bearer {self._key}"}
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body), "application/json"
        return self._ask(method, f"/api/v1{path}", data, headers, status)[1]

    def _sign_in(self) -> None:
        response, form = self._ask("GET", "/sign-in")
        token = re.search(rb'name="csrf" value="([0-9a-f]+)"', form)
        assert token is not None
        cookie = response.headers["Set-Cookie"].partition(";")[0]
        body = urlencode({"csrf": token[1].decode(), "key": self._key, "next": ""})
        headers = {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"}
        response, _ = self._ask("POST", "/sign-in", body, headers, 303)
        cookies = response.headers.get_all("Set-Cookie") or []
        self._cookie = next(each for each in cookies if each.startswith("signoff_session=")).partition(";")[0]

    def _ask(
        self, method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None, status: int = 200
    ) -> tuple[HTTPResponse, bytes]:
        self._connection.request(method, path, body, headers or {})
        response = self._connection.getresponse()
        data = response.read()
        if response.status != status:
            raise SystemExit(f"{method} {path} was answered {response.status}: {data[:500]!r}")
        return response, data


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    figures: dict[int, list[Figure]] = {}
    load: FirstLoad | None = None
    with tempfile.TemporaryDirectory(prefix="signoff-bench-") as folder, contextlib.ExitStack() as undo:
        postgres = undo.enter_context(servers.postgres(Path(folder) / "pg"))
        postgres.migrate_template()
        broker_url = undo.enter_context(servers.valkey(Path(folder) / "vk"))
        for count in options.counts:
            database_url = postgres.create(template=servers.TEMPLATE)
            with site(Path(folder), database_url, broker_url, count) as running:
                figures[count] = measure(running, options.samples)
                load = load or first_load(Client(running, "lead"))
                if options.hold:
                    _say(f"holding: {database_url}")
                    sys.stdin.read()
    _report(options, figures, load)
    return 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pages", description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[100, 100_000], help="open human tasks")
    parser.add_argument("--samples", type=int, default=40, help="requests of one measurement")
    parser.add_argument("--hold", action="store_true", help="keep each database until standard input ends")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    return parser.parse_args(arguments)


@contextlib.contextmanager
def site(folder: Path, database_url: str, broker_url: str, count: int) -> Iterator[Site]:
    """The API on a database with so many open human tasks."""
    settings = Settings(database_url=database_url, broker_url=broker_url)  # type: ignore[arg-type]
    engine = build_engine(settings)
    try:
        requester = create_principal(engine.database, name="portal", kind="service", roles=["requester"])
        people = {
            name: create_principal(
                engine.database,
                name=name,
                kind="user",
                groups=groups,
                roles=["admin" if name == "admin" else "reviewer"],
            )
            for name, groups in GROUPS.items()
        }
        began = time.perf_counter()
        others = tuple(f"person-{number}" for number in range(30))
        seed(engine, count, requester=requester, reviewer=people["lead"], people=(*others, "lead"))
        _say(f"{count} open human tasks, seeded in {time.perf_counter() - began:.1f} s")
        keys = {name: create_api_key(engine.database, name) for name in people}
    finally:
        engine.close()
    port = servers.free_port()
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "SIGNOFF_DATABASE_URL": database_url,
        "SIGNOFF_BROKER_URL": broker_url,
        "SIGNOFF_API_PORT": str(port),
        "SIGNOFF_LOG_LEVEL": "WARNING",
        "SIGNOFF_HOME": str(folder / "home"),
    }
    with process([sys.executable, "-m", "signoff_api"], environment, folder / f"api-{count}.log"):
        servers.eventually(lambda: _ready(port), seconds=30, why="the API did not start")
        yield Site(port=port, keys=keys, database_url=database_url)


def measure(running: Site, samples: int) -> list[Figure]:
    """Every request that a person's day is made of, one after the other on one connection."""
    found = [figure for name in GROUPS for figure in _of(name, Client(running, name), samples)]
    return [*found, _decisions(running, min(samples, 25))]


def _of(name: str, client: Client, samples: int) -> Iterator[Figure]:
    items = json.loads(client.api("GET", "/human-tasks?limit=50&sort=created_at"))["items"]
    some = items[len(items) // 2]
    order = some["title"].rpartition(" ")[2]
    paths = {
        "team": "/inbox",
        "mine": "/inbox?view=mine",
        "overdue": "/inbox?view=overdue",
        "done": "/inbox?view=done",
        "team by priority": "/inbox?sort=priority",
        "team oldest first": "/inbox?sort=created_at",
        "team of a gate": "/inbox?workflow=claim&gate=approve-claim",
        "search, many": "/inbox?q=refund",
        "search, one": f"/inbox?q={order}",
        "search, none": "/inbox?q=nothing+like+it",
        "counts": "/inbox/counts",
        "review": f"/inbox/{some['id']}",
    }
    if name == "admin":
        paths |= {"all": "/inbox?view=all", "all, search, none": "/inbox?view=all&q=nothing+like+it"}
    for what, path in paths.items():
        yield _measured(f"{name}: GET /inbox {what}", partial(client.page, path), samples)
    for path in ("/human-tasks", "/human-tasks?assignee=me"):
        yield _measured(f"{name}: GET /api/v1{path}", partial(client.api, "GET", path), samples)


def first_load(client: Client) -> FirstLoad:
    """The inbox and every file that its head names."""
    sent = [client.page("/inbox", **{"Accept-Encoding": "gzip"})]
    page = sent[0] if not sent[0].startswith(b"\x1f\x8b") else gzip.decompress(sent[0])
    unpacked = [page]
    for path in re.findall(r'(?:href|src)="(/assets/[^"]+)"', page.decode()):
        sent.append(client.page(path, **{"Accept-Encoding": "gzip"}))
        unpacked.append(gzip.decompress(sent[-1]) if sent[-1].startswith(b"\x1f\x8b") else sent[-1])
    return FirstLoad(requests=len(sent), bytes_sent=sum(map(len, sent)), bytes_unpacked=sum(map(len, unpacked)))


def _decisions(running: Site, samples: int) -> Figure:
    client = Client(running, "lead")
    items = json.loads(client.api("GET", "/human-tasks?limit=200&sort=created_at&assignee=none&candidate=me"))["items"]
    waiting = iter(items)

    def decide() -> None:
        task = next(waiting)
        said = {"decision": "approve", "payload_sha256": task["payload_sha256"]}
        client.api("POST", f"/human-tasks/{task['id']}/decisions", said, 201)

    return _measured("POST a decision", decide, min(samples, len(items) - WARM_UP))


def _measured(name: str, call: Callable[[], object], samples: int) -> Figure:
    taken = []
    for sample in range(samples + WARM_UP):
        began = time.perf_counter()
        call()
        if sample >= WARM_UP:  # the first ones warm caches and prepared statements
            taken.append((time.perf_counter() - began) * 1000)
    cuts = statistics.quantiles(taken, n=20, method="inclusive")
    return Figure(name=name, p50_ms=statistics.median(taken), p95_ms=cuts[18], samples=samples)


def _ready(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _report(options: argparse.Namespace, figures: dict[int, list[Figure]], load: FirstLoad | None) -> None:
    _say(f"\n{'ms, p50 / p95':48}" + "".join(f"{count:>20,}" for count in figures))
    for rows in zip(*figures.values(), strict=True):
        _say(f"{rows[0].name:48}" + "".join(f"{each.p50_ms:11.1f} /{each.p95_ms:7.1f}" for each in rows))
    if load is not None:
        _say(
            f"\nfirst load of /inbox: {load.requests} requests, {load.bytes_sent:,} bytes sent,"
            f" {load.bytes_unpacked:,} unpacked"
        )
    if options.json:
        written = {str(count): [asdict(each) for each in rows] for count, rows in figures.items()}
        told = {"figures": written, "first_load": asdict(load) if load else None}
        options.json.write_text(json.dumps(told, indent=2) + "\n")


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

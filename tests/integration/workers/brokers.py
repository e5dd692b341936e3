"""Both kinds of broker in one form: what each holds, and how it is emptied, killed and started again."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import kombu
import redis
from tests import servers
from tests.servers import eventually

from signoff.embedded.broker import start_broker
from signoff.embedded.places import prepare_home, socket_directory
from signoff.embedded.postgres import start_postgres
from signoff.embedded.processes import Server
from signoff.store.migrations import upgrade


class Broker(Protocol):
    """A broker that the test may do anything to, as long as it runs again in the end."""

    @property
    def url(self) -> str: ...

    def held(self) -> dict[str, int]:
        """How many messages each queue holds, those that were delivered and not acknowledged too."""

    def empty(self) -> None:
        """Lose everything that is in it."""

    def kill(self) -> None: ...

    def start(self) -> None: ...


@dataclass(kw_only=True)
class Valkey:
    """A Valkey on a Unix socket, which is the same after a restart."""

    home: Path
    sockets: Path
    server: Server | None = None

    @property
    def url(self) -> str:
        assert self.server is not None
        return self.server.url

    def held(self) -> dict[str, int]:
        with redis.Redis(unix_socket_path=str(self.sockets / "broker.sock"), decode_responses=True) as client:
            queues = {key: client.llen(key) for key in client.scan_iter() if client.type(key) == "list"}
            return queues | {"unacked": client.hlen("unacked")}

    def empty(self) -> None:
        servers.flush(self.url)

    def kill(self) -> None:
        assert self.server is not None
        self.server.process.kill()
        self.server.process.wait()

    def start(self) -> None:
        with (self.home / "broker.log").open("ab") as log:
            self.server = start_broker(self.home, self.sockets, log)


@dataclass(kw_only=True)
class Rabbit:
    """The RabbitMQ of this pytest process."""

    server: servers.RabbitServer

    @property
    def url(self) -> str:
        return self.server.url

    def held(self) -> dict[str, int]:
        return self.server.queues()

    def empty(self) -> None:
        with kombu.Connection(self.url) as connection, connection.channel() as channel:
            for name in self.held():
                channel.queue_purge(name)

    def delete_queues(self) -> None:
        """The queues are gone, and with them the consumers that hang on them."""
        with kombu.Connection(self.url) as connection, connection.channel() as channel:
            for name in self.held():
                channel.queue_delete(name)

    def kill(self) -> None:
        eventually(self._all_on_disk, seconds=10, why="the node has written down which queues it has")
        self.server.kill()

    def _all_on_disk(self) -> bool:
        """A node that dies within seconds of making a quorum queue has half of it afterwards, for good."""
        (directory,) = self.server.folder.glob("mnesia/*/quorum/*/names.dets")
        stored = directory.read_bytes()
        return all(f"_{name}".encode() in stored for name in self.held())

    def start(self) -> None:
        self.server.start()


@contextmanager
def valkey(folder: Path) -> Iterator[Valkey]:
    """A Valkey of one's own."""
    home = prepare_home(folder)
    broker = Valkey(home=home, sockets=socket_directory(home))
    broker.start()
    try:
        yield broker
    finally:
        assert broker.server is not None
        broker.server.stop()
        servers.remove_outside(home, broker.sockets)


@contextmanager
def rabbit(server: servers.RabbitServer) -> Iterator[Rabbit]:
    """The shared RabbitMQ, without anything of ours in it before and afterwards."""
    broker = Rabbit(server=server)
    broker.delete_queues()
    yield broker
    broker.delete_queues()


@dataclass(kw_only=True)
class Postgres:
    """A PostgreSQL that may be stopped and started again in the same place."""

    home: Path
    sockets: Path
    server: Server | None = None

    def start(self) -> None:
        with (self.home / "postgres.log").open("ab") as log:
            self.server = start_postgres(self.home, self.sockets, log)

    def stop(self) -> None:
        """At once, whoever is connected: what was committed is there after the next start."""
        assert self.server is not None
        self.server.process.send_signal(signal.SIGQUIT)
        self.server.process.wait(30)

    def migrated(self) -> str:
        """The URL of a new database with our tables."""
        assert self.server is not None
        sockets = Path(self.server.url.partition("host=")[2])
        url = servers.PostgresServer(sockets=sockets, pid=self.server.pid).create()
        upgrade(url)
        return url

    def close(self) -> None:
        if self.server is not None:
            self.server.stop()
        servers.remove_outside(self.home, self.sockets)

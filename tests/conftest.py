"""Fixtures that start real servers: one set a pytest process, one database a test.

`database_url` is a fresh, migrated database; `broker_url` an emptied Valkey; `rabbitmq_url` an emptied
RabbitMQ virtual host. Nothing is shared between tests but the servers themselves.
"""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis
import pytest

from tests import servers

# Time limits of single examples fail on a busy machine, and for nothing that is wrong.
hypothesis.settings.register_profile("signoff", deadline=None)
hypothesis.settings.load_profile("signoff")


@pytest.hookimpl(tryfirst=True)  # before xdist, which reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With xdist, give all RabbitMQ tests to one process: it takes ten seconds to start, and much memory."""
    for item in items:
        if item.get_closest_marker("rabbitmq") is not None:
            item.add_marker(pytest.mark.xdist_group("rabbitmq"))


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.PostgresServer]:
    """A PostgreSQL without any database of ours."""
    with servers.postgres(tmp_path_factory.mktemp("pg")) as server:
        yield server


@pytest.fixture(scope="session")
def migrated_server(postgres_server: servers.PostgresServer) -> servers.PostgresServer:
    """The same server, once it has the migrated template."""
    postgres_server.migrate_template()
    return postgres_server


@pytest.fixture
def database_url(migrated_server: servers.PostgresServer) -> Iterator[str]:
    """The URL of a migrated database that this test has for itself."""
    url = migrated_server.create(template=servers.TEMPLATE)
    yield url
    migrated_server.drop(url)


@pytest.fixture(scope="module")
def module_database_url(migrated_server: servers.PostgresServer) -> Iterator[str]:
    """The same for the tests of one module, which then share what they write."""
    url = migrated_server.create(template=servers.TEMPLATE)
    yield url
    migrated_server.drop(url)


@pytest.fixture
def empty_database_url(postgres_server: servers.PostgresServer) -> Iterator[str]:
    """The URL of a database in which no migration has run."""
    url = postgres_server.create()
    yield url
    postgres_server.drop(url)


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Valkey on a Unix socket, with whatever the tests before left in it."""
    with servers.valkey(tmp_path_factory.mktemp("vk")) as url:
        yield url


@pytest.fixture
def broker_url(valkey_url: str) -> str:
    """The same, emptied for this test."""
    servers.flush(valkey_url)
    return valkey_url


@pytest.fixture(scope="session")
def valkey_tcp_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Valkey on a loopback port."""
    with servers.valkey_tcp(tmp_path_factory.mktemp("vk-tcp")) as url:
        yield url


@pytest.fixture(scope="session")
def rabbitmq_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.RabbitServer]:
    """A RabbitMQ on a loopback port; tests that use it carry the mark `rabbitmq`, and leave it running."""
    program = servers.rabbitmq_program()
    if program is None:
        missing = "RabbitMQ is not installed: apt-get install rabbitmq-server"
        if servers.under_ci():
            pytest.fail(missing)
        pytest.skip(missing)
    with servers.rabbitmq(tmp_path_factory.mktemp("mq"), program) as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq_url(rabbitmq_server: servers.RabbitServer) -> str:
    """Its URL, with whatever queues the tests before left in it."""
    return rabbitmq_server.url

"""Messages on a real broker: what is pushed straight is what the transport would have sent, also after a break."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import redis
from kombu import Connection
from tests import servers

from signoff import broker
from signoff.broker import BrokerPublisher

RUN = UUID("01a20325-e2e6-7226-8f16-e66302473ccc")
OTHER = UUID("01a20325-e2e6-7226-8f16-e66302473ccd")
QUEUE = "signoff.default"
_IDS = ("correlation_id", "delivery_tag", "id", "root_id")


@pytest.fixture
def publisher(valkey_url: str) -> Iterator[BrokerPublisher]:
    servers.flush(valkey_url)
    made = BrokerPublisher(valkey_url)
    yield made
    made.close()


def test_what_is_pushed_straight_is_what_the_transport_sends(
    publisher: BrokerPublisher, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.publish_all([(RUN, 7, QUEUE)])
    (pushed,) = _waiting(valkey_url, QUEUE)
    monkeypatch.setattr(broker, "_pushed", lambda *_: False)
    publisher.publish_all([(RUN, 7, QUEUE)])
    sent, _ = _waiting(valkey_url, QUEUE)
    assert _without_ids(pushed) == _without_ids(sent)
    assert _without_ids(pushed)["headers"]["task"] == broker.EXECUTE


def test_a_worker_reads_messages_of_several_queues_in_the_order_sent(
    publisher: BrokerPublisher, valkey_url: str
) -> None:
    assert publisher.publish_all([(RUN, 1, QUEUE), (RUN, 2, "signoff.llm"), (OTHER, 3, QUEUE)])
    with Connection(valkey_url) as connection:
        queue = connection.SimpleQueue(QUEUE)
        read = [queue.get(timeout=5).payload[0] for _ in range(2)]
    assert read == [[str(RUN), 1], [str(OTHER), 3]]
    assert len(_waiting(valkey_url, "signoff.llm")) == 1


def test_a_message_is_sent_over_a_connection_that_the_broker_has_closed(
    publisher: BrokerPublisher, valkey_url: str
) -> None:
    publisher.publish_all([(RUN, 1, QUEUE)])
    with _client(valkey_url) as client:
        client.client_kill_filter(skipme=True)
    assert publisher.publish_all([(RUN, 2, QUEUE)])
    assert len(_waiting(valkey_url, QUEUE)) == 2


def test_a_message_whose_push_breaks_off_is_sent_by_the_transport(
    publisher: BrokerPublisher, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks_off(*_: object) -> bytes:
        monkeypatch.undo()
        return b"*1\r\n$7\r\nUNKNOWN\r\n"

    monkeypatch.setattr(broker, "_command", breaks_off)
    assert publisher.publish_all([(RUN, 1, QUEUE)])
    assert len(_waiting(valkey_url, QUEUE)) == 1


def _client(url: str) -> redis.Redis:
    return redis.Redis(unix_socket_path=url.removeprefix("redis+socket://").partition("?")[0])


def _waiting(url: str, queue: str) -> list[dict[str, Any]]:
    with _client(url) as client:
        return [json.loads(each) for each in client.lrange(queue, 0, -1)]


def _without_ids(message: dict[str, Any]) -> dict[str, Any]:
    return {
        **message,
        "headers": {name: value for name, value in message["headers"].items() if name not in _IDS},
        "properties": {name: value for name, value in message["properties"].items() if name not in _IDS},
        "body": broker.base64.b64decode(message["body"]).replace(b" ", b""),
    }

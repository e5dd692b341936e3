"""What a broker's client is told, and what a message is."""

from __future__ import annotations

import json
import socket
import time
from uuid import UUID

import pytest
from kombu import Connection

from signoff.broker import CONNECT_AT_ONCE, BrokerPublisher, _message, queue_name, transport_options
from signoff.errors import Unavailable
from signoff.settings import Settings
from signoff_workers.app import celery_queues, make_app

RUN = UUID("01a20325-e2e6-7226-8f16-e66302473ccc")
REDIS_URLS = [
    "redis://broker:6379/0",
    "rediss://user:secret@broker:6380/1?ssl_cert_reqs=required",
    "redis+socket:///run/broker.sock?virtual_host=0",
]
AMQP_URLS = ["amqp://user:secret@broker//", "amqps://broker/signoff", "pyamqp://broker//"]


@pytest.mark.parametrize("url", REDIS_URLS)
def test_a_redis_protocol_broker_keeps_no_copy_of_what_was_delivered_and_serves_queues_in_order(url: str) -> None:
    options = transport_options(url)
    assert options["ack_emulation"] is False
    assert options["queue_order_strategy"] == "priority"
    assert 0 < options["socket_connect_timeout"] <= options["socket_timeout"] <= 10
    assert options["socket_keepalive"] is True
    assert "visibility_timeout" not in options


@pytest.mark.parametrize("url", AMQP_URLS)
def test_rabbitmq_is_given_up_after_a_time_as_well(url: str) -> None:
    options = transport_options(url)
    assert options.keys() == {"confirm_publish", "connect_timeout", "read_timeout", "write_timeout"}
    assert all(0 < options[name] <= 10 for name in ("connect_timeout", "read_timeout", "write_timeout"))


@pytest.mark.parametrize(
    ("url", "driver"),
    [(url, "redis") for url in REDIS_URLS] + [(url, "amqp") for url in (AMQP_URLS[0], AMQP_URLS[1], AMQP_URLS[2])],
)
def test_every_url_that_is_documented_has_a_transport_that_takes_these_options(url: str, driver: str) -> None:
    with Connection(url, transport_options=transport_options(url) | CONNECT_AT_ONCE) as connection:
        assert connection.transport.driver_type == driver


def test_a_continuation_of_the_default_queue_has_a_queue_of_its_own() -> None:
    assert queue_name("default") == "signoff.default"
    assert queue_name("default", resumes=True) == "signoff.resume"
    assert queue_name("llm") == "signoff.llm"
    # Whoever serves only `llm` has to get its continuations too.
    assert queue_name("llm", resumes=True) == "signoff.llm"


def test_continuations_and_sweeps_are_served_before_new_runs() -> None:
    names = [queue.name for queue in celery_queues(["default", "llm", "default"])]
    assert names == ["signoff.resume", "signoff.control", "signoff.default", "signoff.llm", "signoff.notify"]
    assert [queue.name for queue in celery_queues(["llm"])] == ["signoff.llm"]
    assert [queue.name for queue in celery_queues(["notify"])] == ["signoff.notify"]


def test_rabbitmq_keeps_its_queues_on_several_nodes_and_on_disk() -> None:
    for queue in celery_queues(["default", "llm"]):
        assert queue.durable
        assert queue.queue_arguments == {"x-queue-type": "quorum"}
        # By the default exchange, so that a message needs no binding to arrive.
        assert (queue.exchange.name, queue.routing_key) == ("", queue.name)


def test_a_message_is_two_ids_and_never_waits_for_a_moment() -> None:
    body, headers, properties = _message("signoff.execute", [str(RUN), 3])

    arguments, keywords, chained = json.loads(json.dumps(body))
    assert arguments == ["01a20325-e2e6-7226-8f16-e66302473ccc", 3]
    assert keywords == {}
    assert set(chained.values()) == {None}
    assert (headers["task"], headers["eta"], headers["expires"], headers["retries"]) == (
        "signoff.execute",
        None,
        None,
        0,
    )
    assert headers["ignore_result"] is True
    assert properties == {"correlation_id": headers["id"]}
    assert len(json.dumps([body, headers, properties])) < 800


def test_celery_is_told_to_move_json_and_to_remember_nothing() -> None:
    conf = make_app(Settings(broker_url="redis://broker:6379/0")).conf
    assert (conf.task_serializer, conf.accept_content) == ("json", ["json"])
    assert (conf.task_ignore_result, conf.result_backend) == (True, None)
    assert conf.task_acks_late
    assert conf.task_reject_on_worker_lost
    assert conf.worker_prefetch_multiplier == 1
    assert not conf.worker_send_task_events
    assert not conf.worker_enable_remote_control
    assert conf.broker_channel_error_retry
    assert conf.broker_connection_max_retries is None
    assert not conf.task_create_missing_queues
    # A sweep that nobody took is no use once the next ones have come.
    assert 0 < conf.beat_schedule["sweep"]["options"]["expires"] <= 10


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_refuses_costs_a_sender_no_time_and_raises_nothing(scheme: str) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        publisher = BrokerPublisher(f"{scheme}://127.0.0.1:{nobody.getsockname()[1]}//")
        before = time.monotonic()

        assert not publisher.publish_all([(RUN, 1, "signoff.default")])
        assert publisher.backlog("signoff.default") == 0

        assert time.monotonic() - before < 1
        with pytest.raises(Unavailable):
            publisher.ping()
        publisher.close()


def test_after_a_failed_send_the_next_ones_are_left_to_the_sweep() -> None:
    # It takes connections and never answers: each send would wait for its whole timeout.
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        publisher = BrokerPublisher(f"redis://127.0.0.1:{deaf.getsockname()[1]}/0")
        publisher._paused_until = time.monotonic() + 60
        before = time.monotonic()

        assert not publisher.publish_all([(RUN, 1, "signoff.default")])

        assert time.monotonic() - before < 1
        publisher.close()

"""Messages: their queues, their form, and how they are sent.

A message is a hint that a run may be picked up; the run's row is what counts. So sending never raises: what could not
be sent is sent again by the sweep.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any, Protocol
from uuid import UUID

import orjson
import structlog
from kombu import Connection
from kombu.exceptions import KombuError
from kombu.pools import ProducerPool

from signoff.errors import Unavailable
from signoff.ids import new_id

QUEUE_PREFIX = "signoff."
RESUME_QUEUE = "signoff.resume"
CONTROL_QUEUE = "signoff.control"
NOTIFY_QUEUE = "signoff.notify"
EXECUTE = "signoff.execute"
SWEEP = "signoff.sweep"
NOTIFY = "signoff.notify"
NOTIFY_CHANNEL = "signoff.notify_channel"

PAUSE_SECONDS = 2.0
"""After a failed send no other is tried for this long, so that requests don't queue up behind a dead broker."""

SEND_SECONDS = 2
"""Longest wait for a broker that says nothing: a message is a hint, and somebody waits for the answer behind it."""

CONNECT_AT_ONCE: dict[str, Any] = {"max_retries": 0, "interval_start": 0, "interval_step": 0, "interval_max": 0}
"""By itself kombu would go on trying to connect to a broker that refuses, while a request waits for it."""

log = structlog.get_logger(__name__)


def queue_name(queue: str, *, resumes: bool = False) -> str:
    """The broker's name of a step's queue. Continuations of decisions have one of their own, served first."""
    return RESUME_QUEUE if resumes and queue == "default" else QUEUE_PREFIX + queue


def transport_options(broker_url: str) -> dict[str, Any]:
    """What the broker's client is told; the measurements behind it are in docs/performance.md.

    Without ack emulation a killed worker's prefetched messages are lost, which is harmless here and only here: the
    database is the queue of record, and the sweep sends them again.
    """
    if broker_url.startswith(("amqp", "pyamqp")):
        return {"confirm_publish": False, "connect_timeout": 5, "read_timeout": 10, "write_timeout": 10}
    return {
        "ack_emulation": False,
        "queue_order_strategy": "priority",
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 25,
    }


def _sending_options(broker_url: str) -> dict[str, Any]:
    """Those of `transport_options`, with the patience of who only sends."""
    options = transport_options(broker_url)
    return options | {name: SEND_SECONDS for name in options if name.endswith("timeout")} | CONNECT_AT_ONCE


class Publisher(Protocol):
    """Sends the hint that a run may be picked up."""

    def publish_all(self, messages: Iterable[tuple[UUID, int, str]]) -> bool:
        """Send (run, epoch, queue) of each; a broker that is away is no error. Whether the broker took them all."""

    def backlog(self, queue: str) -> int:
        """How many messages wait in the queue; 0 when that can't be learned."""

    def ping(self) -> None:
        """Raises Unavailable when the broker can't be reached."""

    def close(self) -> None:
        """Give the connections back."""


class BrokerPublisher:
    """Publishes through a pool of kombu producers. Nothing is connected before the first message (fork-safe)."""

    def __init__(self, broker_url: str, *, limit: int = 10) -> None:
        self._connection = Connection(
            broker_url,
            transport_options=_sending_options(broker_url),
            connect_timeout=SEND_SECONDS,
            heartbeat=0,
        )
        self._failures = _failures_of(self._connection)
        self._connections = self._connection.Pool(limit=limit)
        self._producers: Any = ProducerPool(self._connections, limit=limit)
        self._paused_until = 0.0
        self._lock = threading.Lock()

    def publish_all(self, messages: Iterable[tuple[UUID, int, str]]) -> bool:
        # It stops at the first failure, because the rest would fail as well.
        if time.monotonic() < self._paused_until:
            return False
        hints = list(messages)
        try:
            with self._producers.acquire(block=True, timeout=5) as producer:
                if _pushed(producer.channel, hints):
                    return True
                for run_id, epoch, queue in hints:
                    body, headers, properties = _message(EXECUTE, [str(run_id), epoch])
                    producer.publish(
                        body,
                        exchange="",
                        routing_key=queue,
                        headers=headers,
                        serializer="json",
                        delivery_mode=2,
                        retry=False,
                        **properties,
                    )
        except self._failures as error:
            with self._lock:
                self._paused_until = time.monotonic() + PAUSE_SECONDS
            log.warning("message_not_sent", error=repr(error), pause_seconds=PAUSE_SECONDS)
            return False
        return True

    def backlog(self, queue: str) -> int:
        if time.monotonic() < self._paused_until:
            return 0
        try:
            with self._producers.acquire(block=True, timeout=5) as producer:
                waiting: int = producer.channel.queue_declare(queue, passive=True).message_count
                return waiting
        except self._failures:
            # A queue that is not there has no backlog, and one that can't be asked must not stop a resend.
            return 0

    def ping(self) -> None:
        connection = self._connection.clone()
        try:
            connection.ensure_connection(max_retries=0, timeout=2)
            if connection.transport.driver_type == "redis":
                channel: Any = connection.default_channel
                channel.client.ping()
        except self._failures as error:
            raise Unavailable("the broker is not reachable") from error
        finally:
            connection.release()

    def close(self) -> None:
        # A producer that is closed only gives its connection back to the pool of those.
        self._producers.force_close_all()
        self._connections.force_close_all()
        self._connection.release()


def _failures_of(connection: Connection) -> tuple[type[Exception], ...]:
    """Everything this transport raises when the broker is away or goes away."""
    own: Any = (*connection.connection_errors, *connection.channel_errors)
    return (KombuError, OSError, *own)


def _pushed(channel: Any, hints: Sequence[tuple[UUID, int, str]]) -> bool:
    """Send straight to the lists of a Redis broker, in one round trip; False, where that can't be done or broke off.

    The transport makes a client of two dozen tables for each message, which costs more than all the rest of sending.
    What was sent before it broke off may be sent once more.
    """
    pool = getattr(channel, "pool", None)
    if pool is None or not hasattr(pool, "get_connection") or getattr(channel, "global_keyprefix", None):
        return False
    from redis.exceptions import RedisError, TimeoutError  # there only with this broker

    lists: dict[str, list[bytes]] = {}
    for run_id, epoch, queue in hints:
        lists.setdefault(queue, []).append(_envelope(queue, _message(EXECUTE, [str(run_id), epoch])))
    connection = pool.get_connection()
    try:
        connection.send_packed_command(
            [b"".join(_command(b"LPUSH", queue.encode(), *bodies) for queue, bodies in lists.items())]
        )
        for _ in lists:
            connection.read_response()
    except TimeoutError:
        # Who says nothing now is not asked a second time while somebody waits for an answer.
        connection.disconnect()
        raise
    except (RedisError, OSError):
        # Most likely a connection of before the broker's restart; the transport makes a new one, or says what is wrong.
        connection.disconnect()
        return False
    except BaseException:
        connection.disconnect()
        raise
    finally:
        pool.release(connection)
    return True


def _command(*words: bytes) -> bytes:
    """A command of the Redis protocol."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def _envelope(queue: str, message: tuple[Any, dict[str, Any], dict[str, Any]]) -> bytes:
    """A message as it lies in a list of the broker: what the transport makes of it. A test holds the two equal."""
    body, headers, properties = message
    return orjson.dumps(
        {
            "body": base64.b64encode(orjson.dumps(body)).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": headers,
            "properties": properties
            | {
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": queue},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": properties["correlation_id"],
            },
        }
    )


def _message(name: str, arguments: list[Any]) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """A message of Celery's protocol, version 2, as a Celery worker reads it."""
    message_id = str(new_id())
    headers = {
        "lang": "py",
        "task": name,
        "id": message_id,
        "root_id": message_id,
        "parent_id": None,
        "group": None,
        "retries": 0,
        "eta": None,
        "expires": None,
        "timelimit": [None, None],
        "argsrepr": repr(arguments),
        "kwargsrepr": "{}",
        "origin": "signoff",
        "ignore_result": True,
    }
    body: tuple[Any, ...] = (arguments, {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None})
    return body, headers, {"correlation_id": message_id}

"""The part of a Celery worker that reads from the broker, without what we never use of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from celery import Celery
from celery.worker.consumer import Consumer
from celery.worker.request import Request
from celery.worker.strategy import default

from signoff.failpoints import hit
from signoff_workers.taken import Taken

log = structlog.get_logger(__name__)

_DELAYED_DELIVERY = "celery.worker.consumer.delayed_delivery:DelayedDelivery"


class PlainConsumer(Consumer):
    """Celery's consumer without delayed delivery.

    For messages with an `eta`, of which we send none, Celery makes 28 exchanges and queues beside our quorum queues,
    binds each of ours to them, and warns at every connect that it can't.
    """

    class Blueprint(Consumer.Blueprint):  # type: ignore[misc, valid-type]  # a class there, a variable in its stubs
        """The same steps but that one."""

        default_steps = [step for step in Consumer.Blueprint.default_steps if step != _DELAYED_DELIVERY]  # noqa: RUF012


def passing_over(taken: Taken) -> Callable[..., Callable[..., None]]:
    """A strategy for Celery: messages whose run is taken are acknowledged here, and never reach the pool."""

    def strategy(task: Any, app: Celery, consumer: Any, **options: Any) -> Callable[..., None]:
        hand_on = default(task, app, consumer, **options)

        def on_message(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any, **more: Any) -> None:
            if taken.has(message.headers.get("argsrepr", "")):
                message.ack_log_error(log, consumer.connection_errors)
            else:
                hand_on(message, body, ack, reject, callbacks, **more)

        return on_message

    return strategy


class Acknowledged(Request):
    """A message in hand whose acknowledgement, which the parent of a pool sends, has failpoints around it."""

    def acknowledge(self) -> None:
        hit("acknowledge.before")
        super().acknowledge()
        hit("acknowledge.after")

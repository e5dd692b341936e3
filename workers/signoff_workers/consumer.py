"""The part of a Celery worker that reads from the broker, without what we never use of it."""

from __future__ import annotations

from celery.worker.consumer import Consumer
from celery.worker.request import Request

from signoff.failpoints import hit

_DELAYED_DELIVERY = "celery.worker.consumer.delayed_delivery:DelayedDelivery"


class PlainConsumer(Consumer):
    """Celery's consumer without delayed delivery.

    For messages with an `eta`, of which we send none, Celery makes 28 exchanges and queues beside our quorum queues,
    binds each of ours to them, and warns at every connect that it can't.
    """

    class Blueprint(Consumer.Blueprint):  # type: ignore[misc, valid-type]  # a class there, a variable in its stubs
        """The same steps but that one."""

        default_steps = [step for step in Consumer.Blueprint.default_steps if step != _DELAYED_DELIVERY]  # noqa: RUF012


class Acknowledged(Request):
    """A message in hand whose acknowledgement, which the parent of a pool sends, has failpoints around it."""

    def acknowledge(self) -> None:
        hit("acknowledge.before")
        super().acknowledge()
        hit("acknowledge.after")

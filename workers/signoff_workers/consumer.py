"""The part of a Celery worker that reads from the broker, without what we never use of it."""

from __future__ import annotations

from celery.worker.consumer import Consumer

_DELAYED_DELIVERY = "celery.worker.consumer.delayed_delivery:DelayedDelivery"


class PlainConsumer(Consumer):
    """Celery's consumer without delayed delivery.

    For messages with an `eta`, of which we send none, Celery makes 28 exchanges and queues beside our quorum queues,
    binds each of ours to them, and warns at every connect that it can't.
    """

    class Blueprint(Consumer.Blueprint):  # type: ignore[misc, valid-type]  # a class there, a variable in its stubs
        """The same steps but that one."""

        default_steps = [step for step in Consumer.Blueprint.default_steps if step != _DELAYED_DELIVERY]  # noqa: RUF012

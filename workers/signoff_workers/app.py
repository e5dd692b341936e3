"""The Celery application: JSON and ids only, no result backend, no eta. Celery moves messages; the database decides."""

from __future__ import annotations

from collections.abc import Iterable

from celery import Celery
from kombu import Exchange, Queue

from signoff.broker import CONTROL_QUEUE, NOTIFY_QUEUE, RESUME_QUEUE, SWEEP, queue_name, transport_options
from signoff.settings import Settings

SWEEP_EXPIRES_FACTOR = 5
"""A sweep that waited for this many intervals is dropped: the ones after it do the same work."""


def make_app(settings: Settings, queues: Iterable[str] = ("default",)) -> Celery:
    """The application for a worker that serves `queues` (and the continuations and sweeps that go with `default`)."""
    broker_url = settings.require_broker_url()
    app = Celery("signoff", broker=broker_url, set_as_current=True)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        result_backend=None,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_send_task_events=False,
        task_send_sent_event=False,
        worker_enable_remote_control=False,
        worker_consumer="signoff_workers.consumer:PlainConsumer",
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_soft_shutdown_timeout=settings.soft_shutdown_seconds,
        worker_enable_soft_shutdown_on_idle=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_retry=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=5,
        # A queue that was deleted, a server that was made a replica: connect again instead of ending the process.
        broker_channel_error_retry=True,
        broker_transport_options=transport_options(broker_url),
        broker_heartbeat=10,
        task_default_queue=queue_name("default"),
        task_queues=celery_queues(queues),
        task_create_missing_queues=False,
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_step": 0.2},
        beat_schedule={
            "sweep": {
                "task": SWEEP,
                "schedule": settings.sweep_seconds,
                "options": {
                    "queue": CONTROL_QUEUE,
                    "expires": max(1.0, settings.sweep_seconds * SWEEP_EXPIRES_FACTOR),
                },
            }
        },
        beat_max_loop_interval=max(0.05, settings.sweep_seconds),
    )
    return app


def celery_queues(queues: Iterable[str]) -> list[Queue]:
    """The broker's queues for these queues of steps, in the order in which they are served.

    Continuations of decisions come first: a person has just acted. Sweeps come next, because they are few and
    everything late hangs on them.
    """
    names = list(dict.fromkeys(queues))
    wanted = [RESUME_QUEUE, CONTROL_QUEUE] if "default" in names else []
    wanted += [queue_name(name) for name in names]
    # Last: nobody waits for a webhook as one does for the next step.
    wanted += [NOTIFY_QUEUE] if "default" in names and NOTIFY_QUEUE not in wanted else []
    return [
        Queue(
            name,
            exchange=Exchange(""),
            routing_key=name,
            durable=True,
            queue_arguments={"x-queue-type": "quorum"},
        )
        for name in wanted
    ]

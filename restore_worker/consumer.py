"""The part of a worker that takes messages; it outlives a restart of Redis, and keeps passwords, not messages."""

from __future__ import annotations

from contextlib import suppress
from queue import Empty
from typing import Any

from celery.worker import consumer, state

# Redis answers a second after the question at the latest.
_ANSWER_SECONDS = 2.0

# What a worker tells of its connection to whoever asks, Flower above all.
_TOLD = ("transport", "hostname", "port", "virtual_host", "userid")


class Consumer(consumer.Consumer):  # type: ignore[misc]  # Celery has no types
    """Goes on where Celery's own would end the worker: Redis is lost while tasks run.

    Kombu 5.7 closes a channel only after it has read the answer that it waits for. None comes from a lost
    connection, so the channel stays open, but without what it takes to close it later or to acknowledge.
    """

    class Blueprint(consumer.Consumer.Blueprint):  # type: ignore[misc]  # the same
        """Leaves out of what a worker tells of itself its connection's options: they may hold passwords."""

        def info(self, parent: Consumer) -> dict[str, Any]:
            """Return what `celery inspect stats` and Flower show."""
            told: dict[str, Any] = super().info(parent)
            broker = told["broker"]
            if isinstance(broker, dict):
                told["broker"] = {name: broker[name] for name in _TOLD if name in broker}
            return told

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Close what is left of the connection."""
        self.connection.default_channel._in_poll = None  # noqa: SLF001 - there is no other way to stop waiting
        super().on_connection_error_after_connected(exc)

    def stop(self) -> None:
        """Take no more messages, and give back to the queue what no task has begun with.

        Celery would do that when the connection is closed: after the last task has ended.
        """
        waiting = {*state.reserved_requests, *state.scheduled_requests} - {*state.active_requests}
        super().stop()
        channel = self.connection and self.connection.default_channel
        with suppress(Empty, *self.connection_errors):
            for request in waiting:
                if not request.acknowledged:
                    request.message.reject(requeue=True)
            # Redis may give one for the last question.
            if channel and channel._in_poll and channel.client.connection.can_read(_ANSWER_SECONDS):  # noqa: SLF001 - there is no other way to know
                channel._brpop_read()  # noqa: SLF001 - there is no other way to read it

"""The part of a worker that takes messages, made to outlive a restart of Redis."""

from __future__ import annotations

from celery.worker import consumer


class Consumer(consumer.Consumer):  # type: ignore[misc]  # Celery has no types
    """Goes on where Celery's own would end the worker: Redis is lost while tasks run.

    Kombu 5.7 closes a channel only after it has read the answer that it waits for. None comes from a lost
    connection, so the channel stays open, but without what it takes to close it later or to acknowledge.
    """

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Close what is left of the connection."""
        self.connection.default_channel._in_poll = None  # noqa: SLF001 - there is no other way to stop waiting
        super().on_connection_error_after_connected(exc)

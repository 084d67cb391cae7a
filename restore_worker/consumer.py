"""The part of a worker that takes messages; it outlives a restart of Redis, and keeps its passwords to itself."""

from __future__ import annotations

from typing import Any

from celery.worker import consumer

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

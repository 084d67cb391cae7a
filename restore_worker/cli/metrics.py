"""`metrics`: what Prometheus asks for."""

from __future__ import annotations

import argparse
import logging
import signal
import threading
import time

from restore_worker import settings
from restore_worker.cli.arguments import CommandWithExample
from restore_worker.errors import RestoreError

logger = logging.getLogger(__name__)

_HOST, _PORT = "127.0.0.1", 9809


class Metrics(CommandWithExample):
    """Serve metrics to Prometheus, until Ctrl-C.

    One such process is enough, however many workers there are: it counts what
    happens from the ledger. Alert rules and a Grafana dashboard are in deploy/.
    """

    example = "restore-worker metrics --address 0.0.0.0"

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the address."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--address", default=_HOST, help=f"default: {_HOST}")
        parser.add_argument("--port", type=int, default=_PORT, help=f"default: {_PORT}")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Serve until a signal comes."""
        from prometheus_client import CollectorRegistry, start_http_server

        from restore_worker import canvas
        from restore_worker.app import app
        from restore_worker.entries import Priority
        from restore_worker.ledger import connect
        from restore_worker.metrics import QueueLook, RestoreMetrics
        from restore_worker.redis_client import open_client
        from restore_worker.redis_state import waiting

        current = settings.load()
        ledger, client = connect(current), open_client(current.redis_address(), retries=4)

        def look(queue: str) -> QueueLook:
            # Only the messages of resources tell when they were sent.
            first = filter(None, (canvas.oldest(app, queue, priority) for priority in Priority))
            sent = min(filter(None, (float(ledger.sent(*each)) for each in first)), default=None)
            return QueueLook(waiting(client, queue), None if sent is None else time.time() - sent)

        registry = CollectorRegistry()
        registry.register(RestoreMetrics(ledger, look))
        try:
            server, thread = start_http_server(parsed_args.port, parsed_args.address, registry)
        except OSError as error:
            where = f"{parsed_args.address}:{parsed_args.port}"
            raise RestoreError(f"{where} cannot be had ({error.strerror}): name another --port") from None
        ended = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        self.app.stdout.write(f"metrics: http://{parsed_args.address}:{parsed_args.port}/metrics\n")
        self.app.stdout.flush()
        try:
            ended.wait()
        finally:
            server.shutdown()
            thread.join()

"""A way to Redis on which answers are lost: what was asked is done, and the connection breaks before it is told."""

from __future__ import annotations

import selectors
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass
class LossyRedis:
    """Another address of a Redis.

    loses: the next request that has these bytes gets no answer; empty again once that has happened.
    """

    url: str = ""
    loses: bytes = b""


@contextmanager
def lossy_redis(url: str) -> Iterator[LossyRedis]:
    """Serve it on a free port as long as the block runs."""
    parts = urlsplit(url)
    lossy = LossyRedis()
    fields = {"lossy": lossy, "upstream": (parts.hostname, parts.port)}
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), type("Way", (_Way,), fields)) as server:
        server.daemon_threads = True
        lossy.url = url.replace(f":{parts.port}", f":{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield lossy
        finally:
            server.shutdown()
            thread.join()


class _Way(socketserver.BaseRequestHandler):
    lossy: LossyRedis
    upstream: tuple[str, int]

    def handle(self) -> None:
        with (
            suppress(OSError),
            socket.create_connection(self.upstream) as there,
            selectors.DefaultSelector() as selector,
        ):
            selector.register(self.request, selectors.EVENT_READ, there)
            selector.register(there, selectors.EVENT_READ, self.request)
            while True:
                for key, _ in selector.select():
                    data = key.fileobj.recv(1 << 20)  # type: ignore[union-attr]  # it is a socket
                    if not data:
                        return
                    key.data.sendall(data)
                    if key.data is there and self.lossy.loses and self.lossy.loses in data:
                        self.lossy.loses = b""
                        # Done, that is: there is an answer.
                        there.recv(1)
                        return

"""A real HTTP server that is told of restores, and fails when it shall."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Receiver:
    """What was posted. answers: what the next ones get; 204 once there are none left; None: no answer at all."""

    url: str
    answers: list[int | None] = field(default_factory=list)
    posts: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)


@contextmanager
def receiver(*answers: int | None) -> Iterator[Receiver]:
    """Run it until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.posts.append((dict(self.headers), body))
            answer = found.answers.pop(0) if found.answers else 204
            if answer is not None:
                self.send_response(answer)
                self.send_header("location", f"{found.url}/elsewhere")
                self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Receiver(f"http://127.0.0.1:{server.server_port}/services/s3cr3t-path", list(answers))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

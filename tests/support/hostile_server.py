"""A server of S3 and Swift that knows both protocols and keeps neither."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Yields the raw bytes of an answer, status line first; takes the method.
Answer = Callable[[str], Iterable[bytes]]
_S3_PAGE = """<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>{more}</IsTruncated>
<NextContinuationToken>next</NextContinuationToken>{names}</ListBucketResult>"""


def answer(*headers: str) -> bytes:
    """Return the head of an answer, of one that says nothing of its end unless ``headers`` do."""
    return "\r\n".join(("HTTP/1.1 200 OK", "Connection: close", *headers, "", "")).encode()


class _Server(ThreadingHTTPServer):
    def __init__(self, objects: Answer, pages: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.objects = objects
        self.pages = pages
        self.turned = 0


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        with suppress(BrokenPipeError, ConnectionResetError):
            if path.startswith("/auth/"):
                self._send(b"", f"X-Storage-Url: {self.server.url}/v1/AUTH_karbor", "X-Auth-Token: token")
            elif "list-type" in query or "format=json" in query:
                self._send(_page(self.server, query))
            else:
                for piece in self.server.objects(self.command):
                    self.connection.sendall(piece)
                # Else what was sent is lost where somebody does not read it.
                self.connection.shutdown(socket.SHUT_WR)
        self.close_connection = True

    do_HEAD = do_GET  # noqa: N815 - the name is http.server's

    def _send(self, body: bytes, *headers: str) -> None:
        self.connection.sendall(answer(*headers, f"Content-Length: {len(body)}") + body)

    def log_message(self, *_: object) -> None:
        pass


def _page(server: _Server, query: str) -> bytes:
    """Return the only page of folders, or the next page of names."""
    folders, s3 = "delimiter=%2F" in query, "list-type" in query
    server.turned = server.turned + 1 if "token" in query or "marker" in query else 1
    pages = 1 if folders else server.pages
    name = "/checkpoints/" if folders else f"/checkpoints/c/data_{server.turned}"
    if not s3:
        return json.dumps([{"subdir" if folders else "name": name}] if server.turned <= pages else []).encode()
    found = f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>"
    if not folders:
        found = f"<Contents><Key>{name}</Key></Contents>"
    return _S3_PAGE.format(more=str(server.turned < pages).lower(), names=found).encode()


@contextmanager
def hostile_server(objects: Answer, *, pages: int = 1) -> Iterator[str]:
    """Run the server; its URL. Everybody may log in.

    objects: how it answers for every object.
    pages: of one name each, that a listing has.
    """
    with _Server(objects, pages) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server.url
        server.shutdown()
        thread.join()

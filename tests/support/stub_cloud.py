"""The few calls of Glance, Cinder and Neutron that direct builders make, answered over HTTP on loopback.

The real openstacksdk talks to it. It knows nothing of quotas, policies or time: a test says what happens.
"""

from __future__ import annotations

import ast
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from openstack.connection import Connection

Thing = dict[str, Any]


@dataclass
class StubCloud:
    """What is in the cloud, by id, and what was asked of it.

    received: bytes of each upload that came in, complete or not.
    corrupts: Glance stores other bytes than it gets.
    refuses_uploads: Glance has no space left.
    volume_status: of a new volume.
    """

    url: str = ""
    images: dict[str, Thing] = field(default_factory=dict)
    volumes: dict[str, Thing] = field(default_factory=dict)
    backups: dict[str, Thing] = field(default_factory=dict)
    floating_ips: dict[str, Thing] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    received: list[int] = field(default_factory=list)
    corrupts: bool = False
    refuses_uploads: bool = False
    volume_status: str = "available"
    volume_microversion: str = "3.71"
    _serial: int = 0

    def connect(self) -> Connection:
        """Return openstacksdk's connection to it."""
        return Connection(
            auth_type="none",
            auth={"endpoint": self.url},
            image_endpoint_override=f"{self.url}/image/v2",
            block_storage_endpoint_override=f"{self.url}/volume/v3",
            network_endpoint_override=f"{self.url}/network/v2.0",
            block_storage_api_version="3",
        )

    def new_id(self) -> str:
        """Return an id that nothing has yet."""
        self._serial += 1
        return f"physical-{self._serial}"

    def store(self, image_id: str, data: bytes) -> None:
        """Make the image active with its bytes."""
        data = data + b"!" if self.corrupts else data
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
        self.images[image_id] |= {"status": "active", "checksum": digest, "size": len(data)}


@contextmanager
def stub_cloud() -> Iterator[StubCloud]:
    """Serve an empty cloud on a free port as long as the block runs."""
    cloud = StubCloud()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"cloud": cloud}))
    cloud.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield cloud
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cloud: StubCloud

    def log_message(self, *_: Any) -> None:
        """Keep stderr for the tests."""

    def do_GET(self) -> None:
        parts, query = self._target()
        match parts:
            case ["image", "v2"] | ["volume", "v3"] | ["network", "v2.0"]:
                self._send(200, {"version": self._version(*parts)})
            case ["image", "v2", "images"]:
                wanted = set(query.get("tag", []))
                found = [image for image in self.cloud.images.values() if wanted <= set(image["tags"])]
                self._send(200, {"images": found})
            case ["volume", "v3", "volumes", "detail"]:
                mark = ast.literal_eval(query.get("metadata", ["{}"])[0])
                found = [each for each in self.cloud.volumes.values() if mark.items() <= each["metadata"].items()]
                self._send(200, {"volumes": found})
            case ["network", "v2.0", "floatingips"]:
                (address,) = query["floating_ip_address"]
                found = [ip for ip in self.cloud.floating_ips.values() if ip["floating_ip_address"] == address]
                self._send(200, {"floatingips": found})
            case ["image", "v2", "images", image_id]:
                self._show(self.cloud.images, image_id)
            case ["volume", "v3", "volumes", volume_id]:
                self._show(self.cloud.volumes, volume_id, "volume")
            case ["volume", "v3", "backups", backup_id]:
                self._show(self.cloud.backups, backup_id, "backup")
            case _:
                self._send(404, {})

    def do_POST(self) -> None:
        parts, _ = self._target()
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        match parts:
            case ["image", "v2", "images"]:
                image = {"id": self.cloud.new_id(), "status": "queued", "checksum": None, **body}
                self.cloud.images[image["id"]] = image
                self._send(201, image)
            case ["volume", "v3", "volumes"]:
                volume = {
                    "id": self.cloud.new_id(),
                    "status": self.cloud.volume_status,
                    "bootable": "false",
                    **body["volume"],
                }
                self.cloud.volumes[volume["id"]] = volume
                self._send(202, {"volume": volume})
            case ["volume", "v3", "volumes", volume_id, "action"]:
                flag = body["os-set_bootable"]["bootable"]
                self.cloud.volumes[volume_id]["bootable"] = str(flag).lower()
                self._send(200, {})

    def do_PUT(self) -> None:
        parts, _ = self._target()
        data = self._chunked_body()
        self.cloud.received.append(-1 if data is None else len(data))
        if data is not None and self.cloud.refuses_uploads:
            self._send(413, {"message": "no space left"})
        elif data is not None:
            self.cloud.store(parts[3], data)
            self._send(204, None)

    def do_DELETE(self) -> None:
        parts, _ = self._target()
        things = self.cloud.images if parts[0] == "image" else self.cloud.volumes
        gone = things.pop(parts[3], None)
        self._send(404 if gone is None else 204, {} if gone is None else None)

    def _target(self) -> tuple[list[str], dict[str, list[str]]]:
        url = urlsplit(self.path)
        self.cloud.calls.append(f"{self.command} {url.path}")
        return url.path.strip("/").split("/"), parse_qs(url.query)

    def _version(self, service: str, version: str) -> Thing:
        latest = {"version": self.cloud.volume_microversion, "min_version": "3.0"} if service == "volume" else {}
        href = f"{self.cloud.url}/{service}/{version}/"
        name = f"{version}.0" if "." not in version else version
        return {"id": name, "status": "CURRENT", "links": [{"rel": "self", "href": href}], **latest}

    def _show(self, things: dict[str, Thing], thing_id: str, envelope: str | None = None) -> None:
        thing = things.get(thing_id)
        if thing is None:
            self._send(404, {})
        else:
            self._send(200, {envelope: thing} if envelope else thing)

    def _chunked_body(self) -> bytes | None:
        """Return the body, None if the sender hung up before its end."""
        data = b""
        while size := int(self.rfile.readline().strip() or b"-1", 16):
            if size < 0:
                self.close_connection = True
                return None
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _send(self, status: int, body: Any) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

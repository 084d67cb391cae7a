"""The few calls that checks and direct builders of the plugins make, answered over HTTP on loopback.

The real openstacksdk talks to it. It knows nothing of quotas, policies or time: a test says what happens.
"""

from __future__ import annotations

import ast
import hashlib
import json
import threading
from base64 import b64decode, b64encode
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

    usage: what Glance tells of its limits; None if it is too old for that.
    quotas: what the services tell of quotas, by service, as they tell it; None if they tell this user nothing.
    messages: what Cinder tells of a volume, by its id.
    received: bytes of each upload that came in, complete or not.
    corrupts: Glance stores other bytes than it gets.
    refuses_uploads: the status with which Glance refuses an upload, after its last byte.
    chunks: sizes of the parts in which uploads came in.
    volume_status: of a new volume.
    others: what services without tables of their own answer, by path, such as ``database/v1.0/flavors``.
    keeps: volumes that are deleted stay a while.
    may_import: the user may import and export records of backups.
    imports: the status of a backup after the import.
    """

    url: str = ""
    images: dict[str, Thing] = field(default_factory=dict)
    volumes: dict[str, Thing] = field(default_factory=dict)
    backups: dict[str, Thing] = field(default_factory=dict)
    snapshots: dict[str, Thing] = field(default_factory=dict)
    volume_types: dict[str, Thing] = field(default_factory=dict)
    networks: dict[str, Thing] = field(default_factory=dict)
    subnets: dict[str, Thing] = field(default_factory=dict)
    ports: dict[str, Thing] = field(default_factory=dict)
    groups: dict[str, Thing] = field(default_factory=dict)
    floating_ips: dict[str, Thing] = field(default_factory=dict)
    flavors: dict[str, Thing] = field(default_factory=dict)
    key_pairs: list[str] = field(default_factory=list)
    zones: dict[str, bool] = field(default_factory=dict)
    others: dict[str, Thing] = field(default_factory=dict)
    usage: Thing | None = None
    quotas: dict[str, Thing] | None = field(default_factory=dict)
    messages: dict[str, list[str]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    received: list[int] = field(default_factory=list)
    corrupts: bool = False
    refuses_uploads: int | None = None
    chunks: list[int] = field(default_factory=list)
    volume_status: str = "available"
    keeps: bool = False
    may_import: bool = True
    imports: str = "available"
    volume_microversion: str = "3.71"
    _serial: int = 0
    _connection: Connection | None = None

    def connect(self) -> Connection:
        """Return openstacksdk's connection to it, always the same: to make one takes long."""
        if self._connection is None:
            self._connection = Connection(
                auth_type="none",
                auth={"endpoint": self.url},
                image_endpoint_override=f"{self.url}/image/v2",
                block_storage_endpoint_override=f"{self.url}/volume/v3",
                network_endpoint_override=f"{self.url}/network/v2.0",
                compute_endpoint_override=f"{self.url}/compute/v2.1",
                shared_file_system_endpoint_override=f"{self.url}/share/v2",
                database_endpoint_override=f"{self.url}/database/v1.0",
                block_storage_api_version="3",
            )
        return self._connection

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
    # An answer in one packet: in two the kernel would wait in between.
    wbufsize = 65536
    cloud: StubCloud

    def log_message(self, *_: Any) -> None:
        """Keep stderr for the tests."""

    def do_GET(self) -> None:
        parts, query = self._target()
        match parts:
            case [service, version]:
                self._send(200, {"version": self._version(service, version)})
            case ["image", *rest]:
                self._get_image(rest[1:], query)
            case ["volume", _, "os-quota-sets", _]:
                self._send_quotas("volume", "quota_set")
            case ["volume", _, "types", "default"]:
                defaults = [each for each in self.cloud.volume_types.values() if each.get("default")]
                self._show(dict(zip(["default"], defaults, strict=False)), "default", "volume_type")
            case ["volume", *rest]:
                self._get_volume(rest[1:], query)
            case ["network", _, "quotas", _, "details"]:
                self._send_quotas("network", "quota")
            case ["network", _, kind]:
                self._list(kind.replace("-", "_"), self._neutron[kind], query)
            case ["compute", _, *rest]:
                self._get_compute(rest)
            case ["share" | "database", *_] if "/".join(parts) in self.cloud.others:
                self._send(200, self.cloud.others["/".join(parts)])
            case _:
                self._send(404, {})

    def _get_compute(self, parts: list[str]) -> None:
        match parts:
            case ["flavors", "detail"]:
                self._list("flavors", self.cloud.flavors, {})
            case ["os-keypairs"]:
                pairs = [{"keypair": {"name": name}} for name in self.cloud.key_pairs]
                self._send(200, {"keypairs": pairs})
            case ["os-keypairs", name] if name in self.cloud.key_pairs:
                self._send(200, {"keypair": {"name": name}})
            case ["limits"]:
                self._send_quotas("compute", "limits")
            case ["os-availability-zone"]:
                self._send_zones()
            case _:
                self._send(404, {})

    @property
    def _neutron(self) -> dict[str, dict[str, Thing]]:
        cloud = self.cloud
        return {
            "networks": cloud.networks,
            "subnets": cloud.subnets,
            "ports": cloud.ports,
            "security-groups": cloud.groups,
            "floatingips": cloud.floating_ips,
        }

    def _get_image(self, parts: list[str], query: dict[str, list[str]]) -> None:
        match parts:
            case ["images"]:
                wanted = set(query.get("tag", []))
                found = [image for image in self.cloud.images.values() if wanted <= set(image["tags"])]
                self._send(200, {"images": found})
            case ["images", image_id]:
                self._show(self.cloud.images, image_id)
            case ["info", "usage"] if self.cloud.usage is not None:
                self._send(200, {"usage": self.cloud.usage})
            case _:
                self._send(404, {})

    def _get_volume(self, parts: list[str], query: dict[str, list[str]]) -> None:
        match parts:
            case ["volumes", "detail"]:
                mark = ast.literal_eval(query.get("metadata", ["{}"])[0])
                names = query.get("name")
                found = [
                    each
                    for each in self.cloud.volumes.values()
                    if mark.items() <= each["metadata"].items() and (names is None or each["name"] in names)
                ]
                self._send(200, {"volumes": found})
            case ["volumes", volume_id]:
                self._show(self.cloud.volumes, volume_id, "volume")
            case ["backups", *rest]:
                self._get_backup(rest, query)
            case ["snapshots", "detail"]:
                self._list("snapshots", self.cloud.snapshots, query)
            case ["snapshots", snapshot_id]:
                self._show(self.cloud.snapshots, snapshot_id, "snapshot")
            case ["types"]:
                self._list("volume_types", self.cloud.volume_types, {})
            case ["os-availability-zone"]:
                self._send_zones()
            case ["messages"]:
                told = self.cloud.messages.get(query["resource_uuid"][0], [])
                self._send(200, {"messages": [{"user_message": text} for text in told]})
            case _:
                self._send(404, {})

    def _list(self, envelope: str, things: dict[str, Thing], query: dict[str, list[str]]) -> None:
        """Send what has the values that the query names; what a thing lacks is not compared."""
        found = [
            thing
            for thing in things.values()
            if all(thing.get(name, value) == value for name, (value, *_) in query.items())
        ]
        self._send(200, {envelope: found})

    def _send_quotas(self, service: str, envelope: str) -> None:
        quotas = self.cloud.quotas
        self._send(403 if quotas is None else 200, {envelope: (quotas or {}).get(service, {})})

    def _send_zones(self) -> None:
        zones = [
            {"zoneName": name, "zoneState": {"available": available}}
            for name, available in self.cloud.zones.items()
        ]
        self._send(200, {"availabilityZoneInfo": zones})

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
                backup = self.cloud.backups.get(volume.get("backup_id", ""), {})
                # Cinder restores what metadata the backup has instead of those that were given.
                volume["metadata"] = backup.get("metadata") or volume["metadata"]
                self.cloud.volumes[volume["id"]] = volume
                self._send(202, {"volume": volume})
            case ["compute", _, "os-keypairs"] if body["keypair"]["name"] in self.cloud.key_pairs:
                self._send(409, {})
            case ["compute", _, "os-keypairs"]:
                self.cloud.key_pairs.append(body["keypair"]["name"])
                self._send(201, body)
            case ["volume", "v3", "backups", "import_record"]:
                self._import_backup(body["backup-record"]["backup_url"])
            case ["volume", "v3", "volumes", volume_id, "metadata"]:
                self.cloud.volumes[volume_id]["metadata"] |= body["metadata"]
                self._send(200, body)
            case ["volume", "v3", "volumes", volume_id, "action"]:
                flag = body["os-set_bootable"]["bootable"]
                self.cloud.volumes[volume_id]["bootable"] = str(flag).lower()
                self._send(200, {})

    def _get_backup(self, parts: list[str], query: dict[str, list[str]]) -> None:
        match parts:
            case ["detail"]:
                self._list("backups", self.cloud.backups, query)
            case [backup_id]:
                self._show(self.cloud.backups, backup_id, "backup")
            case [backup_id, "export_record"]:
                self._export_backup(backup_id)

    def _export_backup(self, backup_id: str) -> None:
        if self.cloud.may_import and (backup := self.cloud.backups.get(backup_id)):
            url = b64encode(json.dumps(backup).encode()).decode()
            self._send(200, {"backup-record": {"backup_service": backup["service"], "backup_url": url}})
        else:
            self._send(404 if self.cloud.may_import else 403, {})

    def _import_backup(self, url: str) -> None:
        record = json.loads(b64decode(url))
        if not self.cloud.may_import:
            self._send(403, {"forbidden": {"message": "Policy doesn't allow backup:backup-import"}})
        elif "id" not in record or record["id"] in self.cloud.backups:
            self._send(400, {"badRequest": {"message": "Invalid backup"}})
        else:
            backup = {**record, "status": self.cloud.imports, "fail_reason": "no such service"}
            self.cloud.backups[record["id"]] = backup
            self._send(201, {"backup": {"id": record["id"]}})

    def do_PUT(self) -> None:
        parts, _ = self._target()
        if parts[0] == "volume":
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.cloud.volumes[parts[3]] |= body["volume"]
            self._send(200, {"volume": self.cloud.volumes[parts[3]]})
            return
        data = self._chunked_body()
        self.cloud.received.append(-1 if data is None else len(data))
        if data is not None and self.cloud.refuses_uploads:
            self._send(self.cloud.refuses_uploads, {"message": "no space left"})
        elif data is not None:
            self.cloud.store(parts[3], data)
            self._send(204, None)

    def do_DELETE(self) -> None:
        parts, _ = self._target()
        if parts[0] == "compute":
            there = parts[3] in self.cloud.key_pairs
            self.cloud.key_pairs = [each for each in self.cloud.key_pairs if each != parts[3]]
            self._send(204 if there else 404, None if there else {})
            return
        if parts[0] in ("share", "database"):
            self._send(404 if self.cloud.others.pop("/".join(parts), None) is None else 202, {})
            return
        things = self.cloud.images if parts[0] == "image" else self.cloud.volumes
        if self.cloud.keeps and parts[0] == "volume":
            things[parts[3]]["status"] = "deleting"
            self._send(202, None)
            return
        gone = things.pop(parts[3], None)
        self._send(404 if gone is None else 204, {} if gone is None else None)

    def _target(self) -> tuple[list[str], dict[str, list[str]]]:
        url = urlsplit(self.path)
        self.cloud.calls.append(f"{self.command} {url.path}")
        return url.path.strip("/").split("/"), parse_qs(url.query)

    def _version(self, service: str, version: str) -> Thing:
        newest = {
            "volume": ("3.0", self.cloud.volume_microversion),
            "compute": ("2.1", "2.90"),
            "share": ("2.0", "2.90"),
        }
        lowest, highest = newest.get(service, ("", ""))
        latest = {"version": highest, "min_version": lowest} if highest else {}
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
            self.cloud.chunks.append(size)
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

"""OpenStack Swift itself, small: ``python -m tests.support.swift_server DIRECTORY``.

Proxy with tempauth, account, container and object server (Swift's in-memory one, which needs no extended
attributes) run in this one process on free ports of the loopback. When they answer, the line ``ready at URL`` is
printed, with the URL to log in at. Run it as a program only: Swift patches the socket module.
"""

import base64
import sys
from pathlib import Path

import eventlet
from swift.common import utils
from swift.common.ring import RingBuilder
from swift.common.storage_policy import reload_storage_policies
from swift.common.wsgi import SwiftHttpProtocol, loadapp

# What a listing returns at most: small, so that few objects make several pages.
LISTING_LIMIT = 5

SWIFT_CONF = f"""
[swift-hash]
swift_hash_path_suffix = restore
[swift-constraints]
container_listing_limit = {LISTING_LIMIT}
"""

SERVER_CONF = """
[DEFAULT]
swift_dir = {directory}
devices = {directory}
mount_check = false
fallocate_reserve = 0
[app:main]
use = egg:swift#{app}
"""

# `reader` may do what the container's read list allows and nothing else.
PROXY_CONF = """
[DEFAULT]
swift_dir = {directory}
[pipeline:main]
pipeline = catch_errors tempauth proxy-server
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:tempauth]
use = egg:swift#tempauth
user_karbor_writer = secret .admin
user_karbor_reader = secret
user_karbor_stranger = secret
fernet_key_1 = {fernet_key}
active_fernet_key_id = 1
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
"""


def write_ring(directory: Path, name: str, port: int) -> None:
    builder = RingBuilder(part_power=1, replicas=1, min_part_hours=0)
    builder.add_dev({"region": 1, "zone": 1, "weight": 1, "ip": "127.0.0.1", "port": port, "device": "disk"})
    builder.rebalance()
    builder.get_ring().save(str(directory / f"{name}.ring.gz"))


def serve(directory: Path, name: str, conf: str, listener: eventlet.greenio.GreenSocket) -> None:
    path = directory / f"{name}-server.conf"
    path.write_text(conf, encoding="utf-8")
    app = loadapp(str(path))
    eventlet.spawn(eventlet.wsgi.server, listener, app, utils.NullLogger(), protocol=SwiftHttpProtocol)


def main(directory: Path) -> None:
    utils.eventlet_monkey_patch()
    (directory / "disk").mkdir()
    (directory / "swift.conf").write_text(SWIFT_CONF, encoding="utf-8")
    utils.set_swift_dir(str(directory))
    from swift.common import constraints

    constraints.reload_constraints()
    reload_storage_policies()
    listeners = {name: eventlet.listen(("127.0.0.1", 0)) for name in ("account", "container", "object", "proxy")}
    for name in ("account", "container", "object"):
        write_ring(directory, name, listeners[name].getsockname()[1])
    for name, app in (("account", "account"), ("container", "container"), ("object", "mem_object")):
        serve(directory, name, SERVER_CONF.format(directory=directory, app=app), listeners[name])
    fernet_key = base64.urlsafe_b64encode(bytes(32)).decode()
    serve(directory, "proxy", PROXY_CONF.format(directory=directory, fernet_key=fernet_key), listeners["proxy"])
    port = listeners["proxy"].getsockname()[1]
    print(f"ready at http://127.0.0.1:{port}/auth/v1.0", flush=True)  # noqa: T201 - for who started us
    eventlet.event.Event().wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""What a worker process is like while it builds on a cloud: how much memory it takes, and what it lets nobody see."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path

import pytest
import redis

from restore_worker.states import RestoreState
from tests.cloud.restoring import Restoring, reach
from tests.support import banks
from tests.support.processes import Program

GIB = 2**30
# What a worker may need beyond what it had before, for an image of any size, in bytes.
ALLOWED = 64 * 2**20
# How Keystone's tokens begin.
TOKEN = "gAAAAA"


def memory(program: Program) -> int:
    """Return the resident bytes of a worker."""
    status = Path(f"/proc/{program.process.pid}/status").read_text()
    (line,) = (each for each in status.splitlines() if each.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


@pytest.fixture
def large(restoring: Restoring):
    """Give a small application whose image has 2 GiB, and the bank that it is in: files with holes."""
    application = restoring.small(image_bytes=2 * 65536)
    bank = restoring.folder / "large"
    folder = banks.write(application.checkpoint, bank)
    for chunk in ("data_1", "data_2"):
        file = folder / banks.data_of(application.image, chunk)
        file.write_bytes(b"")
        with file.open("r+b") as opened:
            opened.truncate(GIB)
    digest = hashlib.md5(usedforsecurity=False)
    for _ in range(2 * GIB // 2**20):
        digest.update(bytes(2**20))
    path = folder / banks.data_of(application.image, "metadata")
    metadata = json.loads(path.read_text())
    metadata["image_metadata"]["checksum"] = digest.hexdigest()
    path.write_text(json.dumps(metadata))
    return application, bank


def test_an_image_of_2_gib_takes_no_more_memory_than_any(worker, restoring: Restoring, large) -> None:
    application, bank = large
    program = worker(options=["--beat"], concurrency=1)
    # What is loaded once for any upload is loaded by a small one.
    small = restoring.small()
    reach(restoring.submit(small, resources=[small.image]), RestoreState.COMPLETE)
    before = most = memory(program)
    measured = threading.Event()

    def measure() -> None:
        nonlocal most
        while not measured.wait(0.05):
            most = max(most, memory(program))

    thread = threading.Thread(target=measure, daemon=True)
    thread.start()
    try:
        submitted = restoring.restore(application.checkpoint.id, bank=bank, resources=[application.image])
        reach(submitted, RestoreState.COMPLETE)
    finally:
        measured.set()
        thread.join()
    (image,) = restoring.images(submitted)
    assert image.size == 2 * GIB
    assert most - before < ALLOWED


def test_no_token_leaves_a_worker(worker, restoring: Restoring, redis_url: str) -> None:
    program = worker(options=["--beat"])
    submitted = restoring.submit(restoring.small())
    reach(submitted, RestoreState.COMPLETE)
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        kept = [repr(_value(client, key)) for key in client.scan_iter()]
    assert any("OS::Nova::Server" in each for each in kept)
    assert not [each[:80] for each in kept if TOKEN in each]
    assert TOKEN not in program.output


def _value(client: redis.Redis, key: str) -> object:
    readers = {
        "string": client.get,
        "hash": client.hgetall,
        "stream": client.xrange,
        "set": client.smembers,
        "list": lambda name: client.lrange(name, 0, -1),
        "zset": lambda name: client.zrange(name, 0, -1),
    }
    kind = client.type(key)
    # Celery's locks end by themselves.
    return readers[kind](key) if kind != "none" else None

"""Starting and stopping services as processes that outlive whoever starts them."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from tests.cloud.openstack_cloud.services import Service, environment
from tests.cloud.openstack_cloud.site import IP, Site, SiteError


def start(site: Site, service: Service) -> None:
    """Start a service, unless it runs."""
    if pid(site, service.name):
        return
    with log(site, service.name).open("ab") as output:
        process = subprocess.Popen(
            service.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment(site) | service.environment,
            cwd=site.home,
            start_new_session=True,
        )
    process.returncode = 0  # Python would complain of a child that runs on
    _pid_file(site, service.name).write_text(f"{process.pid} {_born(process.pid)}\n")


def stop(site: Site, names: Sequence[str], seconds: float) -> None:
    """Ask services to end, and kill them and their children once time is up."""
    pids = [number for name in names if (number := pid(site, name))]
    for number in pids:
        os.kill(number, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(map(_born, pids)):
        time.sleep(0.1)
    for number in pids:
        with suppress(ProcessLookupError):
            os.killpg(number, signal.SIGKILL)
    for name in names:
        _pid_file(site, name).unlink(missing_ok=True)


def send(site: Site, names: Sequence[str], number: signal.Signals) -> None:
    """Send a signal to services and their children; those that do not run are left out."""
    for name in names:
        if found := pid(site, name):
            os.killpg(found, number)


def wait_for_answers(site: Site, services: Sequence[Service], seconds: float = 300) -> None:
    """Return once all services answer; SiteError if one ends, or once time is up."""
    deadline = time.monotonic() + seconds
    for service in services:
        while not answers(site, service):
            if not pid(site, service.name):
                raise SiteError(f"{service.name} ended: see {log(site, service.name)}")
            if time.monotonic() > deadline:
                raise SiteError(f"{service.name} does not answer: see {log(site, service.name)}")
            time.sleep(0.3)


def answers(site: Site, service: Service) -> bool:
    """Return whether a service runs and, if it listens, answers."""
    if not pid(site, service.name):
        return False
    if service.port is None:
        return True
    try:
        return _answers_http(service.port) if service.http else _listens(service.port)
    except (OSError, HTTPException):
        return False


def _answers_http(port: int) -> bool:
    connection = HTTPConnection(IP, port, timeout=20)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status < 500
    finally:
        connection.close()


def _listens(port: int) -> bool:
    socket.create_connection((IP, port), timeout=2).close()
    return True


def started(site: Site, name: str) -> float:
    """Return when a service was started, in seconds since 1970."""
    return _pid_file(site, name).stat().st_mtime


def pid(site: Site, name: str) -> int | None:
    """Return the process of a service; None if it does not run."""
    try:
        number, born = _pid_file(site, name).read_text().split()
    except FileNotFoundError:
        return None
    return int(number) if _born(int(number)) == born else None


def log(site: Site, name: str) -> Path:
    """Return the file with all that a service prints."""
    return site.log / f"{name}.log"


def memory(session: int) -> int:
    """Return the memory of a service and its children in MiB, what they share with others in parts (PSS)."""
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.getsid(int(process.name)) == session:
                rollup = (process / "smaps_rollup").read_text()
                total += int(re.findall(r"^Pss: *(\d+) kB", rollup, re.MULTILINE)[0])
    return total >> 10


def _pid_file(site: Site, name: str) -> Path:
    return site.run / f"{name}.pid"


def _born(number: int) -> str:
    """Return when a process was started, in ticks: with its number that names it for good. Empty if it is no more."""
    try:
        state, *rest = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    # While one of its threads still ends, a dead process may hold its port.
    return "" if state == "Z" and int(rest[16]) < 2 else rest[18]

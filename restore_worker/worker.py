"""What a worker process has one of, whatever the task: settings, ledger, leases, attempts, open banks."""

from __future__ import annotations

import functools
import os

from restore_worker import ledger, settings
from restore_worker.bank import Bank, open_bank
from restore_worker.lease import LeaseKeeper
from restore_worker.stopping import Attempts


@functools.cache
def current_settings() -> settings.Settings:
    """Return the settings that the process began with."""
    return settings.load()


@functools.cache
def current_ledger() -> ledger.Ledger:
    """Return the ledger, whose calls are repeated while Redis is restarted."""
    return ledger.connect(current_settings())


@functools.cache
def leases() -> LeaseKeeper:
    """Return the keeper of the leases of this process's tasks."""
    return LeaseKeeper(current_ledger(), current_settings().lease_seconds)


@functools.cache
def attempts() -> Attempts:
    """Return the attempts at resources that this process makes."""
    return Attempts()


def bank_of(url: str) -> Bank:
    """Return this process's bank of a URL."""
    return _bank(url, os.getpid())


@functools.lru_cache(maxsize=16)
def _bank(url: str, process: int) -> Bank:  # noqa: ARG001 - a connection is not shared with the pool's children
    return open_bank(url)


def name() -> str:
    """Return what this worker is called where a user must find it: its machine and process."""
    return f"{os.uname().nodename}, process {os.getpid()}"

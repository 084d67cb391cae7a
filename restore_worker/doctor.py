"""Whether all is there that restores need: what `restore-worker doctor` looks at."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from restore_worker import cloud, registry
from restore_worker.bank import open_bank
from restore_worker.crew import check_redis
from restore_worker.diagnosis import Check, Diagnosis, Health, within
from restore_worker.errors import CloudUnavailableError, RestoreError
from restore_worker.settings import Settings

# Within these everybody who is there has answered, also a cloud that is asked several times.
_SECONDS = 45.0


def examine(
    current: Settings, *, bank: str | None = None, cloud_name: str | None = None, seconds: float = _SECONDS
) -> list[Diagnosis]:
    """Look at everything and return what was found.

    bank: directory or URL, by default that of the settings.
    cloud_name: in clouds.yaml, by default that of the settings, or else all that are there.
    seconds: in which every check must end.
    """
    checks: dict[str, Check] = {
        "redis": lambda: check_redis(current),
        "plugins": _check_plugins,
        "bank": lambda: _check_bank(bank or current.bank),
    }
    named = cloud_name or current.cloud
    try:
        names = [named] if named else cloud.names()
    except RestoreError as error:
        broken = Diagnosis("clouds", Health.WRONG, str(error), "correct clouds.yaml")
        checks["clouds"] = lambda: [broken]
    else:
        checks |= {f"cloud {name}": functools.partial(_check_cloud, name) for name in names}
        if not names:
            checks["clouds"] = lambda: [
                Diagnosis("clouds", Health.UNKNOWN, "there is none in a clouds.yaml that can be read")
            ]
    return within(seconds, checks)


def _check_plugins() -> Iterator[Diagnosis]:
    try:
        types = registry.installed().types
    except RestoreError as error:
        yield Diagnosis("plugins", Health.WRONG, str(error), "mend or uninstall it")
        return
    if types:
        yield Diagnosis("plugins", Health.OK, f"for {', '.join(types)}")
    else:
        yield Diagnosis("plugins", Health.WRONG, "there is none", "install restore-worker again")


def _check_bank(url: str | None) -> Iterator[Diagnosis]:
    if not url:
        yield Diagnosis("bank", Health.UNKNOWN, "none is named: give --bank, or set RESTORE_BANK")
        return
    try:
        bank = open_bank(url)
        checkpoints = sum(1 for _ in bank.folders("checkpoints"))
    except RestoreError as error:
        yield Diagnosis("bank", Health.WRONG, str(error), "correct --bank or RESTORE_BANK, or mount the bank here")
        return
    if checkpoints:
        yield Diagnosis("bank", Health.OK, f"{checkpoints} checkpoints in {bank.url}")
    else:
        yield Diagnosis("bank", Health.WARNING, f"no checkpoint in {bank.url}", "see whether it is the right one")


def _check_cloud(name: str) -> Iterator[Diagnosis]:
    from restore_worker.stack import Heat

    subject = f"cloud {name}"
    try:
        identity = cloud.identity(name)
        cloud.check_credentials(name)
        # What it answers is no matter.
        Heat(name).ours(["restore"])
    except CloudUnavailableError as error:
        mend = "see whether this machine reaches it, and auth_url in clouds.yaml"
        yield Diagnosis(subject, Health.WRONG, str(error), mend)
    except RestoreError as error:
        yield Diagnosis(
            subject, Health.WRONG, str(error), "correct its entry in clouds.yaml, or OS_CLOUD or --cloud"
        )
    else:
        yield Diagnosis(subject, Health.OK, f"{identity}; Heat answers")

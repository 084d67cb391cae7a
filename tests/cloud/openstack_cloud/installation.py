"""What the cloud is made of: Debian packages, and a Python environment that its sites share."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.cloud.openstack_cloud.site import ROOT, SiteError

# A command of each; that of RabbitMQ is none that other programs in Erlang bring.
_PACKAGES = {
    "rabbitmq-server": "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "mariadb-server": "mariadbd",
    "qemu-utils": "qemu-img",
    "build-essential": "gcc",
}
_REQUIREMENTS = ROOT / "tests" / "cloud" / "requirements.txt"
_log = logging.getLogger(__name__)


def install(venv: Path) -> None:
    """Install what is missing; SiteError if that fails."""
    _install_packages()
    wanted, stamp = _REQUIREMENTS.read_text(), venv / "installed.txt"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    _log.info("installing OpenStack into %s (two minutes) ...", venv)
    pip = [str(venv / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    _run([sys.executable, "-m", "venv", str(venv)])
    _run([*pip, "--require-hashes", "-r", str(_REQUIREMENTS)])
    stamp.write_text(wanted)


def _install_packages() -> None:
    # Debian keeps servers out of the PATH of ordinary users.
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [package for package, command in _PACKAGES.items() if not shutil.which(command, path=path)]
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        missing.append(f"python{sys.version_info.major}.{sys.version_info.minor}-dev")
    if missing:
        _log.info("installing %s ...", ", ".join(missing))
        root = [] if os.geteuid() == 0 else ["sudo"]
        _run([*root, "sh", str(Path(__file__).with_name("debian.sh")), *missing])


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError) as fault:
        raise SiteError(f"{' '.join(command)} failed: {fault}") from fault

"""Where a site of the test cloud lives: its folders, its ports, its addresses."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

IP = "127.0.0.1"
PASSWORD = "cloud"  # of every account: nothing listens beyond this machine
ROOT = Path(__file__).parents[3]
# Those of clients are the well-known ones. All, also the second site's, lie below those that the kernel gives out.
_PORTS = {
    "mysql": 6306,
    "epmd": 6369,
    "rabbit": 6672,
    "rabbit-nodes": 6673,
    "keystone": 5000,
    "glance": 9292,
    "cinder": 8776,
    "neutron": 9696,
    "placement": 8778,
    "nova": 8774,
    "manila": 8786,
    "heat": 8004,
    "heat-cfn": 8000,
}
_SITES = {"one": ("RegionOne", 0), "two": ("RegionTwo", 10000)}


class SiteError(RuntimeError):
    """The test cloud does not do what it should; the message names the log to read."""


def user() -> str:
    """Return the name of the user who runs it all."""
    return pwd.getpwuid(os.getuid()).pw_name


def state() -> Path:
    """Return the folder of all state: CLOUD_HOME, or .cloud in the checkout."""
    return Path(os.environ.get("CLOUD_HOME") or ROOT / ".cloud").absolute()


def clouds_yaml() -> Path:
    """Return the file that names the clouds of all sites."""
    return state() / "clouds.yaml"


@dataclass(frozen=True)
class Site:
    """One control plane; those of different names share nothing but the Python environment."""

    name: str
    region: str
    shift: int  # added to each port
    home: Path
    venv: Path

    @classmethod
    def named(cls, name: str) -> Site:
        """Return the site `one` or `two`, as CLOUD_HOME, CLOUD_VENV and CLOUD_SHIFT have it."""
        region, shift = _SITES[name]
        venv = Path(os.environ.get("CLOUD_VENV") or state() / "venv").absolute()
        return cls(name, region, shift + int(os.environ.get("CLOUD_SHIFT") or 0), state() / name, venv)

    @classmethod
    def all(cls) -> list[Site]:
        """Return all sites, whether they run or not."""
        return [cls.named(name) for name in _SITES]

    @property
    def bin(self) -> Path:
        """Where the commands of OpenStack are."""
        return self.venv / "bin"

    @property
    def etc(self) -> Path:
        """Configuration, by component."""
        return self.home / "etc"

    @property
    def data(self) -> Path:
        """What the components keep, by component."""
        return self.home / "data"

    @property
    def log(self) -> Path:
        """What the services print, by service, and the output of what was run once."""
        return self.home / "log"

    @property
    def run(self) -> Path:
        """Process ids, by service."""
        return self.home / "run"

    def conf(self, component: str) -> Path:
        """Return the configuration file of an OpenStack component."""
        return self.etc / component / ("glance-api.conf" if component == "glance" else f"{component}.conf")

    @property
    def backups(self) -> Path:
        """Where Cinder keeps backups: one store for all sites, as a Swift or NFS that both of two clouds reach."""
        return Site.named("one").data / "cinder" / "backups"

    def port(self, name: str) -> int:
        """Return the port of a component, such as heat."""
        return _PORTS[name] + self.shift

    def url(self, component: str, path: str = "") -> str:
        """Return the address of a component's API."""
        return f"http://{IP}:{self.port(component)}{path}"

    def cloud(self, account: str) -> str:
        """Return what clouds.yaml calls an account here: `demo`, `demo-two`."""
        return account if self.name == "one" else f"{account}-{self.name}"

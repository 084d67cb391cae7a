"""Which processes make a site, and how each is run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.cloud.openstack_cloud.backends import rabbit_environment
from tests.cloud.openstack_cloud.components import COMPONENTS
from tests.cloud.openstack_cloud.site import IP, Site

BACKENDS = ("mysql", "epmd", "rabbit")
_DRIVERS = Path(__file__).with_name("drivers")


@dataclass(frozen=True)
class Service:
    """One process."""

    name: str  # heat-engine
    component: str  # heat: its configuration file
    command: list[str]
    port: int | None = None  # where it listens once it is up
    http: bool = False
    environment: dict[str, str] = field(default_factory=dict)  # besides that of all


def services(site: Site) -> dict[str, Service]:
    """Return all services by name, in the order in which they start."""
    return {service.name: service for service in (*_backends(site), *_components(site))}


def environment(site: Site) -> dict[str, str]:
    """Return the variables of all that is run for a site; nothing of the caller's but the PATH."""
    etc = {f"OS_{name.upper()}_CONFIG_DIR": str(site.etc / name) for name in COMPONENTS}
    return etc | {
        # Nova's API takes the first of these for its paste file.
        "OS_NOVA_CONFIG_FILES": f"{site.venv}/etc/nova/api-paste.ini;nova.conf",
        "OS_NEUTRON_CONFIG_FILES": "neutron.conf",
        "PATH": f"{site.bin}:{_DRIVERS}/bin:{os.environ['PATH']}:/usr/sbin:/sbin",
        "HOME": str(site.home),
        "LANG": "C.UTF-8",
        "VIRTUAL_ENV": str(site.venv),
        "PYTHONPATH": str(_DRIVERS),
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore",
        "MALLOC_ARENA_MAX": "2",  # dozens of threads would keep a heap each
    }


def _backends(site: Site) -> Iterator[Service]:
    rabbit = rabbit_environment(site)
    # A server of ours rather than the daemon that RabbitMQ would leave behind.
    epmd, nodes = ["epmd", "-port", rabbit["ERL_EPMD_PORT"], "-address", IP], site.port("epmd")
    yield Service("mysql", "mysql", ["mariadbd", f"--defaults-file={site.etc}/mysql.cnf"], site.port("mysql"))
    yield Service("epmd", "rabbit", epmd, nodes)
    # The one in /usr/sbin changes to the user and the folders of the Debian package.
    server = ["/usr/lib/rabbitmq/bin/rabbitmq-server"]
    yield Service("rabbit", "rabbit", server, site.port("rabbit"), environment=rabbit)


def _components(site: Site) -> Iterator[Service]:
    yield _api(site, "keystone", "keystone", "keystone.wsgi.api", threads=6)
    yield _api(site, "glance", "glance", "glance.wsgi.api")
    yield _api(site, "neutron", "neutron", "neutron.wsgi.api")
    yield _api(site, "cinder-api", "cinder", "cinder.wsgi.api")
    yield from (_background(site, "cinder", name) for name in ("scheduler", "volume", "backup"))
    yield _api(site, "placement", "placement", "placement.wsgi.api")
    yield _api(site, "nova-api", "nova", "nova.wsgi.osapi_compute")
    yield from (_background(site, "nova", name) for name in ("conductor", "scheduler", "compute"))
    yield _api(site, "manila-api", "manila", "manila.wsgi.api")
    yield from (_background(site, "manila", name) for name in ("scheduler", "share"))
    yield _api(site, "heat-api", "heat", "heat.wsgi.api")
    yield _background(site, "heat", "engine")


def _background(site: Site, component: str, name: str) -> Service:
    """Return a service that talks to its API through RabbitMQ alone."""
    file = str(site.conf(component))
    return Service(f"{component}-{name}", component, [f"{site.bin}/{component}-{name}", "--config-file", file])


def _api(site: Site, name: str, component: str, module: str, threads: int = 4) -> Service:
    """Return an API. Cinder's, Manila's and Heat's take their file from the arguments, the others from the environment."""
    port = site.port(component)
    command = [f"{site.bin}/uwsgi", "--http-socket", f"{IP}:{port}", "--module", f"{module}:application"]
    command += ["--virtualenv", str(site.venv), "--processes", "1", "--threads", str(threads), "--enable-threads"]
    command += ["--need-app", "--die-on-term", "--buffer-size", "65535", "--add-header", "Connection: close"]
    command += ["--http-timeout", "300", "--socket-timeout", "300", "--disable-logging"]
    # Refuses uploads to Glance in chunks of a MiB unless told.
    command += ["--chunked-input-limit", str(2 << 20)]
    if component in ("cinder", "manila", "heat"):
        command += ["--pyargv", f"--config-file {site.conf(component)}"]
    return Service(name, component, command, port, http=True)

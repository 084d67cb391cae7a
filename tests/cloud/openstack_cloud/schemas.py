"""The components' data bases: made when a site is brought up for the first time."""

from __future__ import annotations

import grp
import logging
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from tests.cloud.openstack_cloud.components import database
from tests.cloud.openstack_cloud.services import environment
from tests.cloud.openstack_cloud.site import PASSWORD, Site, SiteError, user

_DATABASES = (
    "keystone",
    "glance",
    "neutron",
    "cinder",
    "nova",
    "nova_api",
    "nova_cell0",
    "placement",
    "manila",
    "heat",
)
_log = logging.getLogger(__name__)


def install_mysql(site: Site) -> None:
    """Make the data folder of a MariaDB that does not run yet."""
    options = [f"--defaults-file={site.etc}/mysql.cnf", f"--user={user()}", f"--datadir={site.data}/mysql"]
    options += ["--auth-root-authentication-method=normal", "--skip-test-db"]
    _once(site, "mysql", [["mariadb-install-db", *options]])


def migrate(site: Site) -> None:
    """Make all data bases, with their tables and what their components want in them; MariaDB has to run."""
    sql = "".join(f"CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8;" for name in _DATABASES)
    sql += f"CREATE USER IF NOT EXISTS 'cloud'@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO 'cloud'@'%';"
    _once(site, "databases", [["mariadb", "--no-defaults", "-uroot", f"-S{site.run}/mysql.sock", "-e", sql]])
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda each: _once(site, *each), _migrations(site).items()))


def _migrations(site: Site) -> dict[str, list[list[str]]]:
    """Return the commands by component; those that take longest come first."""

    def manage(component: str, *commands: str, program: str = "") -> list[list[str]]:
        start = [str(site.bin / (program or f"{component}-manage")), "--config-file", str(site.conf(component))]
        return [[*start, *command.split()] for command in commands]

    cells = f"cell_v2 map_cell0 --database_connection {database(site, 'nova_cell0')}"
    return {
        "neutron": manage("neutron", "upgrade heads", program="neutron-db-manage"),
        "nova": manage("nova", "api_db sync", cells, "db sync", "cell_v2 create_cell --name cell1"),
        "keystone": manage("keystone", *_keystone_commands(site)),
        "cinder": manage("cinder", "db sync"),
        "glance": manage("glance", "db_sync"),
        "heat": manage("heat", "db_sync"),
        "manila": manage("manila", "db sync"),
        "placement": manage("placement", "db sync"),
    }


def _keystone_commands(site: Site) -> list[str]:
    for keys in ("fernet", "credential"):
        (site.etc / "keystone" / keys).mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = f"--keystone-user {user()} --keystone-group {grp.getgrgid(os.getgid()).gr_name}"
    url = site.url("keystone", "/v3")
    urls = " ".join(f"--bootstrap-{interface}-url {url}" for interface in ("public", "internal", "admin"))
    return [
        "db_sync",
        f"fernet_setup {owner}",
        f"credential_setup {owner}",
        f"bootstrap --bootstrap-password {PASSWORD} --bootstrap-region-id {site.region} {urls}",
    ]


def _once(site: Site, name: str, commands: list[list[str]]) -> None:
    """Run commands, unless they all went well before."""
    done = site.home / "done" / name
    if done.exists():
        return
    begun = time.monotonic()
    log = site.log / f"setup-{name}.log"
    with log.open("ab") as output:
        for command in commands:
            ended = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment(site),
                cwd=site.home,
                check=False,
            )
            if ended.returncode:
                raise SiteError(f"{' '.join(command)} failed: see {log}")
    done.parent.mkdir(exist_ok=True)
    done.touch()
    _log.info("  data of %s made in %.0f s", name, time.monotonic() - begun)

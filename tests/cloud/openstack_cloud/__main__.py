"""The command line: see ../README.md."""

from __future__ import annotations

import argparse
import logging
import sys

from tests.cloud.openstack_cloud.cloud import Cloud
from tests.cloud.openstack_cloud.site import Site, SiteError


def main() -> str | int:
    """Do what the arguments say; the exit code, or what went wrong."""
    sites = {site.name: site for site in Site.all()}
    parser = argparse.ArgumentParser(prog="openstack_cloud", description="A real, small OpenStack on 127.0.0.1.")
    parser.add_argument("command", choices=("up", "status", "down", "wipe"))
    parser.add_argument("--site", choices=sites, help="one unless told; down and wipe: all unless told")
    choice = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.INFO)
    everywhere = not choice.site and choice.command in ("down", "wipe")
    try:
        for cloud in map(Cloud, sites.values() if everywhere else [sites[choice.site or "one"]]):
            if choice.command == "status":
                print(cloud.report())  # noqa: T201 - this is what was asked for
                return 0 if cloud.is_up else 1
            getattr(cloud, choice.command)()
    except SiteError as fault:
        return str(fault)
    return 0


if __name__ == "__main__":
    sys.exit(main())

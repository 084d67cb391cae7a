"""The same commands under `openstack restore`: what python-openstackclient asks of its extensions.

Which commands there are, the entry points say (``openstack.restore.v1`` in pyproject.toml).
"""

from __future__ import annotations

import argparse

API_NAME = "restore"
DEFAULT_API_VERSION = "1"
API_VERSION_OPTION = "os_restore_api_version"
API_VERSIONS = {"1": "restore_worker.restore"}


def make_client(_: object) -> None:
    """Return no client: the commands go to Redis, and log in to clouds of clouds.yaml by themselves."""


def build_option_parser(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Return the parser of options for all commands, as it was: there are none of ours."""
    return parser

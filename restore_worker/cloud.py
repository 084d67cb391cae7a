"""The clouds that clouds.yaml names: connections that last as long as the process, and errors in our words."""

from __future__ import annotations

import functools
import html
import json
import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from restore_worker.errors import CloudError

if TYPE_CHECKING:
    from openstack.config import OpenStackConfig
    from openstack.connection import Connection

# By process and name: a connection's sockets are not shared with a forked child.
_connections: dict[tuple[int, str], Connection] = {}
_lock = threading.Lock()
# How those values in clouds.yaml are called that nobody else may know, such as application_credential_secret.
_SECRET = ("password", "passcode", "secret", "token", "code", "key")


@dataclass(frozen=True, slots=True)
class Identity:
    """Which cloud and project a name in clouds.yaml stands for.

    region: "" if clouds.yaml names none.
    """

    auth_url: str
    region: str
    project_id: str

    def __str__(self) -> str:
        region = f", region {self.region}" if self.region else ""
        return f"project {self.project_id} of {self.auth_url}{region}"


def check_cloud(name: str) -> None:
    """Return if clouds.yaml has a cloud of that name; it is not asked anything.

    Raises CloudError that tells which clouds there are, or that clouds.yaml cannot be read.
    """
    _config(name)


def names() -> list[str]:
    """Return the clouds of clouds.yaml, none if there is none; CloudError if it cannot be read."""
    return sorted(_read()[1])


def connect(name: str) -> Connection:
    """Return openstacksdk's connection to the cloud, always the same within a process; it asks nothing yet.

    Raises CloudError if clouds.yaml has no such cloud, or not what it takes to log in.
    """
    key = (os.getpid(), name)
    with _lock:
        if key not in _connections:
            _connections[key] = _open(name)
        return _connections[key]


def identity(name: str) -> Identity:
    """Log in and return which cloud and project the name stands for.

    Raises CloudError if the login is refused or has no project, CloudUnavailableError if the cloud is away.
    """
    connection = connect(name)
    with translated(name):
        project_id = connection.session.get_project_id()
    if project_id is None:
        raise CloudError(f"cloud {name} has no project: set project_name or project_id in its auth in clouds.yaml")
    url = urlsplit(connection.config.config["auth"]["auth_url"])
    # The same cloud, whether or not its version is named.
    path = re.sub(r"(/v[0-9.]+)?/*$", "", url.path)
    auth_url = f"{url.scheme}://{url.netloc.rpartition('@')[2].lower()}{path}"
    return Identity(auth_url, connection.config.get_region_name() or "", project_id)


def check_credentials(name: str) -> None:
    """Log in and return if Heat can act for the user, for which it makes a trust with every stack.

    Raises CloudError that tells which credentials allow it, else as `identity` does.
    """
    from keystoneauth1.access import AccessInfoV3
    from keystoneauth1.identity.base import BaseIdentityPlugin
    from openstack.exceptions import ForbiddenException, raise_from_response

    connection = connect(name)
    auth = connection.session.auth
    with translated(name):
        access = auth.get_access(connection.session) if isinstance(auth, BaseIdentityPlugin) else None
        if not isinstance(access, AccessInfoV3) or access.application_credential_id is None:
            return
        if access.application_credential["restricted"]:
            raise CloudError(
                f"cloud {name}: Heat creates no stack with the restricted application credential in clouds.yaml;"
                " name user and password there, or an unrestricted one, where Keystone lets that make trusts:"
                " openstack application credential create --unrestricted restore-worker"
            )
        query = {"trustor_user_id": access.user_id}
        try:
            raise_from_response(connection.identity.get("/OS-TRUST/trusts", params=query))
        except ForbiddenException:
            raise CloudError(
                f"cloud {name}: Heat makes a trust with every stack, and Keystone lets no application credential"
                " do so there; name user and password in clouds.yaml, or have the operator set"
                " allow_insecure_application_credential_trust_escalation in Keystone's [security_compliance]"
            ) from None


@contextmanager
def translated(cloud: str, doing: str = "") -> Iterator[None]:
    """Turn errors of the OpenStack libraries into CloudError; all others pass.

    cloud: its name in clouds.yaml.
    doing: what is being done, such as ``creating the stack restore-1``; without it the request is named.
    CloudUnavailableError means that the same call may succeed later.
    """
    from restore_worker.cloud_errors import FOREIGN, explained

    try:
        yield
    except FOREIGN as error:
        # Without its cause, which a log would show: that still has the server's words as they were.
        raise explained(cloud, doing, error, functools.partial(discreet, cloud)) from None


def discreet(name: str, words: str) -> str:
    """Return a server's words without what opens the cloud: some repeat what they were told."""
    forms = {form for each in _secrets(name) for form in (each, json.dumps(each)[1:-1], html.escape(each))}
    # One may be part of another.
    for form in sorted(forms, key=len, reverse=True):
        words = words.replace(form, "***")
    return words


def _secrets(name: str) -> set[str]:
    """Return what clouds.yaml has to log in to the cloud, and the token that it gave for it."""
    connection = _connections.get((os.getpid(), name))
    if connection is None:
        # Nothing was sent yet.
        return set()
    auth = connection.config.config.get("auth") or {}
    access = getattr(connection.session.auth, "auth_ref", None)
    found = {str(value) for key, value in auth.items() if value and key.endswith(_SECRET)}
    return found | ({access.auth_token} if access else set())


def _quoting_nothing(record: logging.LogRecord) -> bool:
    """Let openstacksdk log where clouds.yaml is broken, but not what stands there: it may be a password."""
    if isinstance(record.args, tuple):
        record.args = tuple(_place(each) if isinstance(each, Exception) else each for each in record.args)
    return True


def _place(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f"line {mark.line + 1} is broken" if mark else type(error).__name__


logging.getLogger("openstack.config").addFilter(_quoting_nothing)


def _config(name: str) -> OpenStackConfig:
    config, named = _read()
    if name not in named:
        raise CloudError(
            f"clouds.yaml has no cloud {name!r}, it names {', '.join(sorted(named)) or 'none at all'}"
        )
    return config


def _read() -> tuple[OpenStackConfig, set[str]]:
    """Return what clouds.yaml says, and which clouds it names."""
    # Slow to import, and seldom needed.
    from openstack.config import OpenStackConfig
    from openstack.exceptions import SDKException

    from restore_worker.session import CloudSession

    try:
        config = OpenStackConfig(session_constructor=CloudSession)
        known = config.get_cloud_names()
    except (SDKException, AttributeError, TypeError) as error:
        # The last two come from a `clouds:` that is no mapping.
        raise CloudError(f"clouds.yaml cannot be read: {error}") from error
    # With no clouds.yaml, openstacksdk makes up the first one, from variables like OS_AUTH_URL the second.
    return config, set(known) - {"defaults", config.envvar_key}


def _open(name: str) -> Connection:
    from openstack.connection import Connection

    config = _config(name)
    with translated(name):
        try:
            region = config.get_one(name)
        except (AttributeError, TypeError) as error:
            raise CloudError(f"clouds.yaml: what it says of cloud {name} cannot be read: {error}") from error
        # strict_proxies: a service that is away at the first call would count as absent for ever.
        return Connection(config=region, strict_proxies=True)

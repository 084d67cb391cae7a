"""The clouds that clouds.yaml names."""

from __future__ import annotations

from restore_worker.errors import CloudError


def check_cloud(name: str) -> None:
    """Return if clouds.yaml has a cloud of that name; it is not asked anything.

    Raises CloudError that tells which clouds there are, or that clouds.yaml cannot be read.
    """
    # Slow to import, and seldom needed.
    from openstack.config import OpenStackConfig
    from openstack.exceptions import SDKException

    try:
        known = OpenStackConfig().get_cloud_names()
    except (SDKException, AttributeError, TypeError) as error:
        # The last two come from a `clouds:` that is no mapping.
        raise CloudError(f"clouds.yaml cannot be read: {error}") from error
    if name not in known:
        # With no clouds.yaml, openstacksdk makes up one of this name.
        named = ", ".join(sorted(set(known) - {"defaults"})) or "none at all"
        raise CloudError(f"clouds.yaml has no cloud {name!r}, it names {named}")

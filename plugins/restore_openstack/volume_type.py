"""The type of a restored volume: as a parameter or the site map says, or else the target's default one."""

from __future__ import annotations

from typing import Any

from restore_openstack.lookups import offer, or_none, require
from restore_worker.plugin import Report, Selection, Target
from restore_worker.resource import Resource

_PARAMETER = "restore_volume_type"


def volume_type_of(volume: Resource, size: int | None, selection: Selection, report: Report) -> str | None:
    """Return the type to ask the target for, None for its default one.

    size: GiB, as far as the bank tells.
    """
    original = _original(volume, selection)
    old_type, old_size = (original.volume_type, original.size) if original else (None, None)
    mapped = selection.mapped(
        "volume_type",
        old_type,
        volume,
        "volume_type",
        properties={"size": size or old_size} if size or old_size else {},
        parameter=_PARAMETER,
    )
    if mapped is not None:
        return mapped.value
    match selection.policy("volume_type"):
        case "fail":
            report.problem("volume_type", "no rule of the site map says which type it gets", "add one")
        case "same" if old_type is None:
            report.problem(
                "volume_type",
                "the policy `same` needs its old type, which is not in the bank",
                "name the cloud it was in with --source-cloud, or add a rule to the site map",
            )
        case "same":
            return old_type
        case "default":
            selection.by_policy("volume_type", volume, "volume_type", old_type, None)
    return None


def check_volume_type(name: str | None, target: Target, report: Report) -> str | None:
    """Tell unless the target has the type; return its name, that of the default one if ``name`` is None.

    None if there is none that the user sees.
    """
    proxy = target.connection().block_storage
    if name is None:
        # Cinder knows the default one by this id.
        default = target.look("default volume type", lambda: or_none(lambda: proxy.get_type("default")))
        return default.name if default else None
    # Without "None" an admin would see but some of them; others may not say it, and Cinder ignores it.
    types = target.look("volume types", lambda: list(proxy.types(is_public="None")))
    mend = offer(_PARAMETER, (each.name for each in types), "openstack volume type list")
    found = require(name, types, "volume type", mend, _PARAMETER, report)
    return found.name if found else None


def _original(volume: Resource, selection: Selection) -> Any:
    """Return the old volume, if the cloud that it was in is named and something depends on its type."""
    source = selection.source
    if source is None or not selection.site_map.volume_type.model_fields_set:
        return None
    return source.look(
        f"volume {volume.id}", lambda: or_none(lambda: source.connection().block_storage.get_volume(volume.id))
    )

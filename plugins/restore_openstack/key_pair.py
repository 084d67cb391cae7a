"""The key pair of a restored server: one of the user who restores, or a new one of a public key that is given.

Key pairs belong to users, not to projects: those of the source are not in the bank, and may not be on the target.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from restore_openstack.lookups import offer
from restore_worker.plugin import Context, Report, Selection, Target
from restore_worker.resource import Resource
from restore_worker.template import HeatParameter, HeatTemplate, Reference

_PARAMETER = "restore_key_name"
_MADE = "key pair"


class KeyPair(NamedTuple):
    """A key pair to ask the target for, or if a public key is given to create."""

    name: str | None
    public_key: str | None = None


def key_pair_of(server: Resource, original: str | None, selection: Selection, report: Report) -> KeyPair:
    """Return the server's key pair; ``original`` is the old one's name."""
    mapped = selection.mapped("key_pair", original, server, "key_name", parameter=_PARAMETER)
    if mapped is not None:
        return KeyPair(mapped.value or None)
    if not original:
        return KeyPair(None)
    match selection.policy("key_pair"):
        case "map":
            report.problem("key_name", f"no rule of the site map speaks of key pair {original!r}", "add one")
        case "drop":
            selection.by_policy("key_pair", server, "key_name", original, None)
            return KeyPair(None)
        case "create":
            return _new(server, original, selection, report)
        case _:
            report.finding(
                "key_name",
                f"key pairs belong to users: {original!r} must be one of the user who restores",
                "restore_key_name names another one, or none if it is empty",
            )
    return KeyPair(original)


def check_key_pair(key: KeyPair, target: Target, report: Report) -> None:
    """Tell unless the user who restores has the key pair; one that is created has a name of its own."""
    if key.name is None:
        return
    if key.public_key is not None:
        target.claim("compute", "key_pairs", 1, once=key.name)
        return
    known = target.look("key pairs", lambda: list(target.connection().compute.keypairs()))
    if key.name not in [each.name for each in known]:
        choices = [*(each.name for each in known), '""']
        mend = offer(_PARAMETER, choices, "openstack keypair list")
        report.problem(
            "key_name",
            f"the user who restores has no key pair {key.name!r}",
            f"create it (openstack keypair create --public-key FILE {key.name}) or {mend}",
        )


def put_key_pair(
    server: Resource, key: KeyPair, template: HeatTemplate, context: Context
) -> Reference | str | None:
    """Return what the server's property says; a key pair of a public key is created before."""
    if key.public_key is None:
        return key.name
    # By this name it is known as the restore's, and all its servers with that key share it.
    name = f"{key.name}-{context.restore_id}"
    made = context.once(_MADE, lambda: _create(name, key.public_key or "", context), lambda: _find(name, context))
    parameter = HeatParameter(
        made,
        "OS::Nova::KeyPair",
        constraint="nova.keypair",
        description=f"Name of a key pair of the public key {key.public_key}",
        title=key.name or "",
        output=False,
    )
    original_id = f"key_pair:{server.id}"
    template.put_parameter(original_id, parameter)
    return template.get_resource_reference(original_id)


def discard_key_pair(name: str | None, context: Context) -> None:
    """Delete a key pair that `put_key_pair` made; another server of the restore may have done so."""
    if name:
        context.connection().compute.delete_keypair(name, ignore_missing=True)


def _new(server: Resource, original: str, selection: Selection, report: Report) -> KeyPair:
    public_key = selection.site_map.key_pair.public_keys.get(original)
    if public_key is None:
        report.problem(
            "key_name",
            f"the policy `create` needs a public key for {original!r}",
            "add it to `key_pair.public_keys` of the site map",
        )
    selection.by_policy("key_pair", server, "key_name", original, f"{original}, of the public key that is given")
    return KeyPair(original, public_key)


def _create(name: str, public_key: str, context: Context) -> str:
    from openstack.exceptions import ConflictException

    context.check_ours()
    # Another server of the restore may have it created.
    with suppress(ConflictException):
        context.connection().compute.create_keypair(name=name, public_key=public_key)
    return name


def _find(name: str, context: Context) -> str | None:
    return name if context.connection().compute.find_keypair(name, ignore_missing=True) else None

"""What the target has, asked once for a whole restore, and how a restore is told what it lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from restore_worker.plugin import Report, Target

if TYPE_CHECKING:
    from openstack.network.v2.network import Network
    from openstack.network.v2.security_group import SecurityGroup

T = TypeVar("T")
# So many names fit into a sentence.
_FEW = 10


def require(wanted: str, things: Iterable[T], what: str, mend: str, field: str, report: Report) -> T | None:
    """Return the one thing with that id or else name, as OpenStack looks it up; None once the report is told.

    things: with ``id`` and ``name``.
    what: a noun for them.
    mend: what the user may do, such as what `offer` is told.
    """
    found = named(wanted, things)
    if len(found) == 1:
        return found[0]
    many = f"{len(found)} {what}s named {wanted!r}" if found else f"no {what} {wanted!r}"
    report.problem(field, f"the target has {many}", mend)
    return None


def named(wanted: str, things: Iterable[T]) -> list[T]:
    """Return the thing with that id, or else all with that name."""
    known: list[Any] = list(things)
    return [each for each in known if each.id == wanted] or [each for each in known if each.name == wanted]


def offer(parameter: str, choices: Iterable[str], command: str) -> str:
    """Return what to set a parameter to: one of the choices, or where they are many, of what a command lists."""
    known = sorted(set(choices))
    listed = " or ".join(known) if 0 < len(known) <= _FEW else f"one that `{command}` lists"
    return f"set {parameter} to {listed}"


def or_none(ask: Callable[[], T]) -> T | None:
    """Return what is asked for, None if the service says that there is no such thing."""
    from openstack.exceptions import NotFoundException

    try:
        return ask()
    except NotFoundException:
        return None


def has_service(service: str, target: Target) -> bool:
    """Say whether the target's catalog has a service, by its official type."""
    connection = target.connection()
    return (
        target.look(f"endpoint of {service}", lambda: connection.config.get_session_endpoint(service)) is not None
    )


def networks(target: Target) -> Sequence[Network]:
    """Return the networks that the project sees: its own, shared and external ones."""
    return target.look("networks", lambda: list(target.connection().network.networks()))


def security_groups(target: Target, *, own: bool) -> Sequence[SecurityGroup]:
    """Return the security groups that the project sees, or only its own, without their rules."""
    connection = target.connection()
    fields = ["id", "name", "project_id"]
    groups = target.look("security groups", lambda: list(connection.network.security_groups(fields=fields)))
    return [each for each in groups if not own or each.project_id == connection.current_project_id]


def check_external_network(wanted: str, target: Target, field: str, report: Report) -> None:
    """Tell unless there is an external network with that id or name."""
    external = [each for each in networks(target) if each.is_router_external]
    choices = (f"{each.id} ({each.name})" for each in external)
    mend = offer("public_network_id of OS::Neutron::Network", choices, "openstack network list --external")
    network = require(wanted, networks(target), "network", mend, field, report)
    if network is not None and network not in external:
        report.problem(field, f"network {wanted!r} of the target is not external", mend)

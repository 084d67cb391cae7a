"""Restores of a network node alone, judged by Heat: what the servers need of it is known, but they are not built."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from restore_openstack.network import NetworkPlugin
from restore_openstack.server import ServerPlugin
from restore_worker.hot import assemble
from restore_worker.template import Fragment, HeatParameter, HeatResource, HeatTemplate, fragment_name
from tests.support import nodes
from tests.support.banks import Node
from tests.support.fakes import FakeContext, FakeSelection, Told
from tests.support.judge import judge

PROJECT_ID = "0123456789abcdef0123456789abcdef"


@dataclass(frozen=True, slots=True)
class Restored:
    """Fragments by original id, what Heat made of them (names in order of creation), and what was told."""

    fragments: Mapping[str, Fragment]
    order: list[str]
    findings: list[Told]
    problems: list[Told]

    def __contains__(self, original_id: str) -> bool:
        return original_id in self.fragments

    def properties(self, original_id: str) -> dict[str, Any]:
        """Properties of what Heat builds."""
        fragment = self.fragments[original_id]
        assert isinstance(fragment, HeatResource), fragment
        return dict(fragment.properties)

    def value(self, original_id: str) -> str | None:
        """Id of what is on the target."""
        fragment = self.fragments[original_id]
        assert isinstance(fragment, HeatParameter), fragment
        return fragment.value

    def built(self, resource_type: str = "") -> set[str]:
        """Original ids of what Heat builds, of one type or all."""
        return {
            key
            for key, fragment in self.fragments.items()
            if isinstance(fragment, HeatResource) and fragment.type.endswith(resource_type)
        }

    def ref(self, original_id: str) -> dict[str, str]:
        """What a property says to refer to it."""
        fragment = self.fragments[original_id]
        kind = "get_resource" if isinstance(fragment, HeatResource) else "get_param"
        return {kind: fragment_name(original_id, fragment)}

    def told(self, field: str) -> str:
        """The one finding about a field."""
        (text,) = [told.text for told in self.findings if told.field == field]
        return text


def restore_network(
    network: Node | None = None,
    *,
    servers: Iterable[Node] = (),
    restored: Iterable[str] | None = None,
    explicit: bool = False,
    parameters: Mapping[str, Any] | None = None,
    **topology: Any,
) -> Restored:
    """Restore a network node, or one made of ``topology`` (see `nodes.network`).

    servers: those of the checkpoint.
    restored: ids of the servers that are restored, if that is not the whole checkpoint.
    explicit: whether the network is chosen itself besides some servers.
    parameters: of the network.
    """
    node = network or nodes.network(PROJECT_ID, **topology)
    servers = list(servers)
    # The network comes with its servers, by implication; alone, it is chosen itself.
    chosen = None
    if restored is not None:
        chosen = [each.key for each in servers if each.id in set(restored)]
        if explicit or not chosen:
            chosen.append(node.key)
    plugins = [NetworkPlugin(), ServerPlugin()]
    selection = FakeSelection(plugins, [node, *servers], None, {nodes.NETWORK: parameters or {}}, chosen)
    work, report = selection.prepare(node.key)
    template = HeatTemplate()
    NetworkPlugin().restore(selection.resource(node.key), work, template, FakeContext())
    order = [name for hot in assemble(template.fragments, "a test") for name in judge(hot.text, hot.values)]
    return Restored(template.fragments, order, report.findings, report.problems)


def server(server_id: str, networks: Iterable[str] = (), **fields: Any) -> Node:
    """Return a server that needs nothing but its networks."""
    return nodes.server(server_id, boot="image", networks=list(networks), **fields)


def server_port(port_id: str, server_id: str, network_id: str, addresses: Mapping[str, str], **fields: Any) -> Any:
    """Return a port of a server; addresses: by subnet id."""
    owned = {"device_id": server_id, "device_owner": "compute:nova"}
    return nodes.port(port_id, network_id, addresses, **owned | fields)


def router_port(
    router_id: str, network_id: str, addresses: Mapping[str, str], port_id: str | None = None, **fields: Any
) -> Any:
    """Return a port that is a router's interface; addresses: by subnet id."""
    owned = {"device_id": router_id, "device_owner": "network:router_interface", "port_security_enabled": False}
    return nodes.port(port_id or f"leg-of-{router_id}-{network_id}", network_id, addresses, **owned | fields)

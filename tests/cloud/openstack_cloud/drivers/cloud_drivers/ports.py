"""A mechanism driver for Neutron's ML2: each of those in Neutron wants an agent, OVN, or hosts of certain names."""

from __future__ import annotations

from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from neutron_lib.plugins.ml2 import api


class AnyHost(api.MechanismDriver):
    """Binds every port on every host, and says that it is active."""

    def initialize(self) -> None:
        """Do nothing: there is nothing to talk to."""

    def bind_port(self, context: api.PortContext) -> None:
        """Bind the port to the first segment of its network."""
        segment = context.segments_to_bind[0]
        details = {portbindings.CAP_PORT_FILTER: True}
        context.set_binding(segment[api.ID], portbindings.VIF_TYPE_OVS, details, constants.PORT_STATUS_ACTIVE)

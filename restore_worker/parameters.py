"""What a user sets for a restore, by ``TYPE`` or ``TYPE#ID`` as in Karbor's restore requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import BaseModel, ValidationError

from restore_worker.checkpoint import first_error
from restore_worker.errors import ParameterError
from restore_worker.graph import ResourceGraph
from restore_worker.plugin import NoParameters
from restore_worker.registry import AnyPlugin, Registry
from restore_worker.resource import ResourceKey

ParameterValue = str | int | bool
# Values by name by TYPE or TYPE#ID; those of an id override those of its type.
RestoreParameters = Mapping[str, Mapping[str, ParameterValue]]
# What tells a plugin that it is about an isolated copy (`restore_worker.plugin.RestorePlugin.isolates`).
_ISOLATED = "isolated"


class ParsedParameters:
    """The parameters of each resource, as its plugin's model.

    tell: is called with (resource, field, found, mend) for each that is unusable; the id of the resource is ""
        if it is set for a whole type.
    isolated: plugins with a parameter of that name are to keep their resources apart from what lives.
    """

    def __init__(
        self,
        given: RestoreParameters,
        graph: ResourceGraph,
        registry: Registry,
        tell: Callable[[ResourceKey, str, str, str], None],
        *,
        isolated: bool = False,
    ) -> None:
        self._registry = registry
        self._tell = tell
        self._isolated = isolated
        self._known: dict[ResourceKey, BaseModel] = {}
        _check_form(given)
        types = {key.type for key in graph.nodes}
        for target, values in given.items():
            key = ResourceKey(*target.partition("#")[::2])
            plugin = registry.get(key.type)
            if key.type not in types or plugin is None:
                known = ", ".join(sorted(types & set(registry.types)))
                tell(key, "parameter", f"the checkpoint restores no such type, only {known}", "")
            elif key.id and key not in graph.nodes:
                tell(key, "parameter", "the checkpoint has no such resource", "")
            else:
                self._parse(plugin, key, {**given.get(key.type, {}), **values})

    @property
    def of_single_resources(self) -> list[ResourceKey]:
        """The resources that have parameters of their own."""
        return [key for key in self._known if key.id]

    def get(self, key: ResourceKey) -> BaseModel:
        """Return the parameters of a resource: its own over those of its type over the plugin's defaults."""
        of_type = ResourceKey(key.type, "")
        own = self._known.get(key) or self._known.get(of_type)
        if own is None:
            plugin = self._registry.get(key.type)
            if plugin is not None:
                # A parameter without a default is one that the user must set.
                self._parse(plugin, of_type, {})
                own = self._known.get(of_type)
            own = self._known.setdefault(of_type, own or NoParameters())
        return own

    def _parse(self, plugin: AnyPlugin, key: ResourceKey, values: Mapping[str, ParameterValue]) -> None:
        known = sorted(plugin.Parameters.model_fields)
        if self._isolated and _ISOLATED in known:
            values = {**values, _ISOLATED: True}
        unknown = sorted(values.keys() - set(known))
        if unknown:
            offered = ", ".join(known) or "none"
            self._tell(key, f"parameter {unknown[0]}", "there is no such parameter", f"the type's are {offered}")
            return
        try:
            self._known[key] = plugin.Parameters.model_validate(values)
        except ValidationError as error:
            name, message = first_error(error)
            self._tell(key, f"parameter {name}", message, "")


def _check_form(given: RestoreParameters) -> None:
    """Raise ParameterError unless it is texts by mapping: what Python callers give, nobody has parsed."""
    if not isinstance(given, Mapping) or not all(
        isinstance(target, str) and isinstance(values, Mapping) and all(isinstance(name, str) for name in values)
        for target, values in given.items()
    ):
        raise ParameterError(
            "parameters are values by name by TYPE or TYPE#ID, such as "
            '{"OS::Nova::Server": {"restore_flavor_id": "m1.small"}}'
        )

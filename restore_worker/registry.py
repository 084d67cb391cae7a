"""How plugins are found: by the entry-point group ``restore_worker.plugins``, one plugin a resource type."""

from __future__ import annotations

import functools
import os
from importlib.metadata import entry_points
from typing import Any

from restore_worker.errors import PluginError
from restore_worker.plugin import RestorePlugin

GROUP = "restore_worker.plugins"
AnyPlugin = RestorePlugin[Any, Any, Any]


class Registry:
    """The plugins by resource type."""

    def __init__(self, plugins: list[AnyPlugin]) -> None:
        self._by_type: dict[str, AnyPlugin] = {}
        for plugin in plugins:
            other = self._by_type.setdefault(plugin.resource_type, plugin)
            if other is not plugin:
                raise PluginError(
                    f"two plugins restore {plugin.resource_type}: {_origin(other)} and {_origin(plugin)}; "
                    "uninstall one of them"
                )

    @property
    def types(self) -> list[str]:
        """The types that can be restored, sorted."""
        return sorted(self._by_type)

    def __getitem__(self, resource_type: str) -> AnyPlugin:
        """Return the plugin of a type; PluginError if there is none here."""
        plugin = self._by_type.get(resource_type)
        if plugin is None:
            raise PluginError(
                f"this worker ({os.uname().nodename}) has no plugin for {resource_type}: install it here"
            )
        return plugin

    @property
    def limits(self) -> dict[str, int]:
        """How often resources are tried, by type, where a plugin says so."""
        own = ((each.resource_type, each.max_attempts) for each in self._by_type.values())
        return {resource_type: most for resource_type, most in own if most is not None}

    def get(self, resource_type: str) -> AnyPlugin | None:
        """Return the plugin of a type, None if nobody restores it."""
        return self._by_type.get(resource_type)


@functools.cache
def installed() -> Registry:
    """Return the plugins of all installed packages; PluginError names one that is broken."""
    plugins = []
    for entry in entry_points(group=GROUP):
        try:
            plugin = entry.load()()
            known = isinstance(plugin, RestorePlugin) and isinstance(plugin.resource_type, str)
        except Exception as error:
            raise PluginError(f"plugin {entry.name} ({entry.value}) cannot be loaded: {error!r}") from error
        if not known:
            raise PluginError(f"plugin {entry.name} ({entry.value}) is not a class derived from RestorePlugin")
        plugins.append(plugin)
    return Registry(plugins)


def _origin(plugin: AnyPlugin) -> str:
    return f"{type(plugin).__module__}.{type(plugin).__qualname__}"

"""The real Heat engine as the judge of a template, in this process and without any cloud.

Heat is asked what it asks itself: at preview (structure, parameters, references, the order of creation, every
resource's own checks) and again at create, when references have values. Only what Heat would ask a cloud is
answered for it, with yes: whether a service, an image, a flavor is there. What Heat checks by itself, such as
the form of an address, it checks here too.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import uuid
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep Heat's warnings to itself: a test run that turns warnings into errors is not about them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@_quietly()
def judge(text: str, parameters: Mapping[str, str] | None = None) -> list[str]:
    """Return the names of the template's resources in an order in which Heat would create them.

    text: a HOT, in YAML.
    parameters: values by name. A parameter without value and default gets the id of something that is there.

    Raises what Heat raises: ValueError for what is no template, a HeatException for all else. A type or
    property that Heat hides, deprecates or no longer supports is refused as StackValidationFailed.
    """
    stack = _stack(text, dict(parameters or {}))
    order = [resource.name for resource in stack.dependencies]
    stack.validate()
    for name in order:
        _create(stack[name])
        _check_support(stack[name])
    for output in stack.outputs.values():
        output.get_value()
    return order


@_quietly()
def load(text: str) -> Any:
    """Return what Heat's own loader makes of a template; ValueError if it is none."""
    _start_engine()
    from heat.common import template_format

    return template_format.parse(text)


@_quietly()
def function_names() -> frozenset[str]:
    """Return the names of the functions that templates can call, those of all versions of HOT."""
    _start_engine()
    from heat.engine.hot import template

    versions = [cls for name, cls in vars(template).items() if name.startswith("HOTemplate")]
    return frozenset(name for cls in versions for name in cls.functions | cls.condition_functions)


def _stack(text: str, parameters: dict[str, str]) -> Any:
    parsed = load(text)
    from heat.common import context
    from heat.engine import environment, stack, template

    schemata = template.Template(parsed).all_param_schemata({})
    for name, schema in schemata.items():
        if schema.required:
            parameters.setdefault(name, _made_up_id(name))
    user = context.RequestContext(username="u", user_id="u", project_id="p", auth_url="http://x", is_admin=False)
    heat_template = template.Template(parsed, env=environment.Environment({"parameters": parameters}))
    return stack.Stack(user, "judged", heat_template, stack_id="judged")


def _made_up_id(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


def _create(resource: Any) -> None:
    """Check the properties as Heat does right before it creates the resource, then let it be there."""
    from heat.engine import node_data, stk_defn

    resource.reparse(client_resolve=False)
    resource.validate_template()
    resource.resource_id = _made_up_id(resource.name)
    told = dict.fromkeys(resource.attributes_schema, "told once it is there")
    data = node_data.NodeData(
        None, resource.name, None, resource.FnGetRefId(), told, resource.CREATE, resource.COMPLETE
    )
    stk_defn.update_resource_data(resource.stack.defn, resource.name, data)


def _check_support(resource: Any) -> None:
    from heat.common import exception
    from heat.engine import support

    data = resource.t.properties(resource.properties_schema, resource.context).data
    entries = [(f"type {resource.type()}", resource.support_status), *_used(data, resource.properties_schema)]
    for entry, status in entries:
        if status.status != support.SUPPORTED:
            raise exception.StackValidationFailed(message=f"{resource.name}: {entry} is {status.status}")


def _used(
    data: Mapping[str, Any], schemata: Mapping[str, Any], where: str = "property "
) -> Iterator[tuple[str, Any]]:
    """Yield path and support status of each property in ``data``, however deep."""
    for name, value in data.items():
        schema = schemata[name]
        yield f"{where}{name}", schema.support_status
        inner = schema.schema
        if inner is None:
            continue
        items: Iterable[Any] = [value]
        if schema.type == schema.LIST:
            items, inner = value if isinstance(value, list) else (), inner["*"].schema
        for item in items:
            if isinstance(item, Mapping) and inner is not None:
                yield from _used(item, inner, f"{where}{name}.")


@functools.cache
def _start_engine() -> None:
    """Load Heat's resource types and answer with yes what it would ask a cloud; a few seconds, once."""
    from heat.db import api, models
    from heat.engine import constraints, resource, resources
    from heat.engine.clients.os import nova, trove
    from heat.engine.resources.openstack.nova import server
    from oslo_config import cfg

    # It tells each deprecated type that it loads.
    logging.getLogger("heat").setLevel(logging.ERROR)
    cfg.CONF.set_default("connection", "sqlite://", group="database")
    resources.initialise()
    models.BASE.metadata.create_all(api.context_manager.writer.get_engine())
    resource.Resource.is_service_available = classmethod(lambda *_: (True, None))
    # Constraints on the form of a value have a `validate` of their own; those that look something up inherit it.
    constraints.BaseCustomConstraint.validate = lambda _self, value, _context: value != ""
    server.Server._validate_image_flavor = lambda *_: None
    nova.NovaClientPlugin.is_version_supported = lambda *_: True
    nova.NovaClientPlugin.absolute_limits = lambda *_: {"maxServerMeta": 128}
    # Which versions a datastore has only Trove knows; that there is none without a datastore, Heat does.
    validate_datastore = trove.TroveClientPlugin.validate_datastore
    trove.TroveClientPlugin.validate_datastore = lambda self, kind, *more: (
        None if kind else validate_datastore(self, kind, *more)
    )

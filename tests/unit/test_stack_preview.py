"""What Heat has against a template: each refusal with its resource and property, and what hangs on it left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from restore_worker.hot import Hot, assemble
from restore_worker.plan import Finding, Severity
from restore_worker.stack_preview import refusals
from restore_worker.template import HeatParameter, HeatResource, HeatTemplate

KEY = "OS::Nova::KeyPair"


def hot(*, image: str | None = "image-1", spare: int = 0) -> Hot:
    """Return a network with a port and a server on it, a key pair, and an image that may be yet to be built."""
    template = HeatTemplate()
    template.put_parameter("picture", HeatParameter(image, "OS::Glance::Image", constraint="glance.image"))
    template.put_resource("net", HeatResource("OS::Neutron::Net", {"name": "lan"}))
    template.put_resource("net-2", HeatResource("OS::Neutron::Net", {"name": "lan 2"}))
    net = template.get_resource_reference("net")
    template.put_resource("port", HeatResource("OS::Neutron::Port", {"network": net}))
    server = {
        "image": template.get_resource_reference("picture"),
        "networks": [{"port": template.get_resource_reference("port")}],
    }
    template.put_resource("web", HeatResource("OS::Nova::Server", {"name": "web", **server}))
    first = [template.get_resource_reference("web")]
    template.put_resource("last", HeatResource("OS::Heat::Value", {"value": "x"}, first))
    for number in range(spare):
        template.put_resource(f"key-{number}", HeatResource(KEY, {"name": f"k{number}"}))
    (made,) = assemble(template.fragments, "a test")
    assert made is not None
    return made


class Heat:
    """Refuses the resources that it is told to, one at a time, in Heat's words."""

    def __init__(self, *words: str) -> None:
        self.words = list(words)
        self.asked: list[Mapping[str, Any]] = []

    def __call__(self, template: Mapping[str, Any]) -> str | None:
        self.asked.append(template)
        return self.words.pop(0) if self.words else None


def property_error(name: str, field: str, why: str) -> str:
    return f"Property error: : resources.{name}.properties.{field}: : {why}"


def test_a_template_that_heat_takes_has_no_findings():
    heat = Heat()
    assert list(refusals(hot(), heat)) == []
    (template,) = heat.asked
    assert set(template["resources"]) == {"net_net", "net_net-2", "port_port", "server_web", "value_last"}
    assert set(template["parameters"]) == {"p_image_picture"}


def test_each_refusal_has_its_resource_and_its_property():
    heat = Heat(
        property_error("net_net-2", "name", "Value must be short."),
        property_error("port_port", "network", "Error validating value 'lan': it is mine."),
    )
    assert list(refusals(hot(), heat)) == [
        Finding(
            Severity.ERROR, "OS::Neutron::Net", "net-2", "lan 2", "name", "Heat refuses it: Value must be short"
        ),
        Finding(
            *(Severity.ERROR, "OS::Neutron::Port", "port", "", "network"),
            "Heat refuses it: Error validating value 'lan': it is mine",
        ),
    ]
    # What needs what was refused is not asked about any more.
    assert [sorted(each["resources"]) for each in heat.asked[1:]] == [
        ["net_net", "port_port", "server_web", "value_last"],
        ["net_net"],
    ]


def test_what_hangs_on_something_that_is_yet_to_be_built_is_left_out():
    heat = Heat()
    assert list(refusals(hot(image=None), heat)) == []
    (template,) = heat.asked
    assert set(template["resources"]) == {"net_net", "net_net-2", "port_port"}
    assert template["parameters"] == {}


def test_where_heat_names_no_resource_it_is_the_stacks():
    heat = Heat("Something is odd.", "It is not asked again.")
    assert list(refusals(hot(), heat)) == [
        Finding(Severity.ERROR, "OS::Heat::Stack", "", "", "", "Heat refuses it: Something is odd")
    ]
    assert len(heat.asked) == 1


def test_heat_is_not_asked_without_end():
    names = [f"key_pair_key-{number}" for number in range(20)]
    heat = Heat(*(property_error(name, "name", "No.") for name in names))
    assert len(list(refusals(hot(spare=20), heat))) == len(heat.asked) == 10

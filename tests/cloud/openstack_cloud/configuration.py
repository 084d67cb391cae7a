"""Writing and changing the components' configuration files."""

from __future__ import annotations

import configparser

from tests.cloud.openstack_cloud.components import COMPONENTS, Sections
from tests.cloud.openstack_cloud.site import Site


def write(site: Site, component: str) -> bool:
    """Write a component's file as the site has it; whether it was another before."""
    lines = []
    for name, options in COMPONENTS[component](site).items():
        lines += [f"[{name}]", *(f"{option} = {value}" for option, value in options.items()), ""]
    file, text = site.conf(component), "\n".join(lines)
    changed = not file.exists() or file.read_text() != text
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return changed


def change(site: Site, component: str, sections: Sections) -> str:
    """Set these options in a component's file as it is; the text that it had before."""
    file = site.conf(component)
    before = file.read_text()
    # To Python's parser a section DEFAULT is another thing than to OpenStack.
    parser = configparser.RawConfigParser(default_section="")
    parser.read_string(before)
    parser.read_dict(sections)
    with file.open("w") as output:
        parser.write(output)
    return before

"""For the demonstration: `python -m tests.cloud.lost BANK` builds an application, saves it in a bank, and loses it.

`python -m tests.cloud.lost --clean` deletes all that bears its name.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import openstack

from tests.cloud import application, protect, removal
from tests.cloud.openstack_cloud.site import Site, clouds_yaml

NAME = "shop"


def lose(bank: Path) -> None:
    """Build the application, save it in the bank, and delete it; progress goes to stdout, a line a step."""
    cloud = openstack.connect(cloud="demo")
    print("an application is built on the test cloud: two networks, two servers, six volumes ...")  # noqa: T201 - it talks to people
    made = application.build(cloud, NAME, Site.named("one").data / "cinder" / "volumes")
    print("it is saved in a bank, in Karbor's format: bytes of images, Cinder backups of volumes ...")  # noqa: T201 - the same
    protect.protect(cloud, protect.Plan(NAME, made.servers, (made.loose,), made.networks), bank)
    print("and it is lost: every server, volume, network and image of it is deleted.")  # noqa: T201 - the same
    removal.lose(cloud, NAME)
    # The floating IP comes back as another address of this network.
    (bank / "public-network").write_text(cloud.network.find_network("public").id)


if __name__ == "__main__":
    os.environ["OS_CLIENT_CONFIG_FILE"] = str(clouds_yaml())
    if sys.argv[1] == "--clean":
        removal.remove(openstack.connect(cloud="demo"), NAME)
    else:
        lose(Path(sys.argv[1]))

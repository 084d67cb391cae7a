"""What each site offers: nothing that people name is called the same on both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.cloud.openstack_cloud.site import Site


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a site offers to its projects.

    volume_types: name, back end, and the only project that sees it ("" for all).
    flavors: name, shape (RAM in MiB, disk in GiB), and the same.
    external_network: name and range.
    zone, far_zone: of Nova and Cinder alike, and of Cinder alone.
    """

    volume_types: tuple[tuple[str, str, str], ...]
    default_volume_type: str
    flavors: tuple[tuple[str, Mapping[str, int], str], ...]
    external_network: tuple[str, str]
    image: str
    share_type: str
    zone: str
    far_zone: str


def _shape(vcpus: int, ram: int, disk: int) -> dict[str, int]:
    return {"vcpus": vcpus, "ram": ram, "disk": disk}


_HOLDINGS = {
    # What is for one project only makes the other project another place to restore to.
    "one": Holdings(
        volume_types=(
            ("standard", "file", ""),
            ("null", "fake", ""),
            ("premium", "file", "demo"),
            ("archive", "file", "target"),
        ),
        default_volume_type="standard",
        flavors=(
            ("m1.tiny", _shape(1, 128, 1), ""),
            ("m1.small", _shape(1, 512, 2), "demo"),
            ("t1.small", _shape(2, 1024, 4), "target"),
        ),
        external_network=("public", "203.0.113.0/24"),
        image="tiny",
        share_type="shares",
        zone="nova",
        far_zone="far",
    ),
    "two": Holdings(
        volume_types=(("bronze", "file", ""), ("silver", "file", "")),
        default_volume_type="bronze",
        flavors=(
            ("c2.small", _shape(1, 256, 2), ""),
            ("c2.medium", _shape(2, 1024, 5), ""),
            ("c2.large", _shape(8, 16384, 80), ""),
        ),
        external_network=("internet", "198.51.100.0/24"),
        image="small",
        share_type="exports",
        zone="west",
        far_zone="remote",
    ),
}


def holds(site: Site) -> Holdings:
    """Return what the site offers."""
    return _HOLDINGS[site.name]

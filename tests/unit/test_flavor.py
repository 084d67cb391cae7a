"""Which flavor a server gets on another site."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_openstack.server import ServerPlugin
from restore_worker.plan import Sites
from restore_worker.sitemap import Shape, SiteMap
from tests.support import nodes
from tests.support.fakes import FakeSelection, FakeTarget

SERVER = nodes.server("server-1", "web-1", boot="image-1", flavor="42")
SMALL = {"vcpus": 1, "ram": 2048, "disk": 20}


def flavor(name: str, vcpus: int, ram: int, disk: int, **more: Any) -> SimpleNamespace:
    return SimpleNamespace(
        **{
            "id": f"id-of-{name}",
            "name": name,
            "vcpus": vcpus,
            "ram": ram,
            "disk": disk,
            "is_disabled": False,
            **more,
        }
    )


def cloud(*flavors: SimpleNamespace) -> FakeTarget:
    return FakeTarget(SimpleNamespace(compute=SimpleNamespace(flavors=lambda **_: iter(flavors))))


TARGET = cloud(
    flavor("tiny", 1, 512, 20),
    flavor("wide", 8, 2048, 20),
    flavor("fit", 2, 3072, 20),
    flavor("off", 1, 2048, 20, is_disabled=True),
    flavor("flat", 1, 2048, 10),
    flavor("vast", 64, 262144, 2000),
)


def prepared(site_map: dict[str, Any], target=None, source=None, **parameters: str) -> tuple[Any, ...]:
    """Return the server's flavor, what is wrong with it, and the changes of it."""
    sites = Sites(SiteMap.model_validate(site_map), target, source)
    selection = FakeSelection([ServerPlugin()], [SERVER], parameters={nodes.SERVER: parameters}, sites=sites)
    work, report = selection.prepare(SERVER.key)
    problems = [each.text for each in report.problems if each.field == "flavor"]
    return work.flavor, problems, [each for each in selection.changes if each.field == "flavor"]


@pytest.mark.parametrize("site_map", [{}, {"flavor": {"policy": "same"}}, {"zone": {"default": "az"}}])
def test_without_a_rule_it_is_the_same(site_map):
    assert prepared(site_map) == ("42", [], [])


def test_a_map_knows_it_by_id_and_where_the_shape_is_known_by_name():
    source = {"flavors": {"42": {"name": "m1.small", **SMALL}}}
    by_name = {"flavor": {"map": {"m1.small": "c2.small"}}}
    assert prepared({"flavor": {"map": {"42": "c2.small"}}})[0] == "c2.small"
    assert prepared({**by_name, "source": source})[0] == "c2.small"
    assert prepared(by_name, source=cloud(flavor("m1.small", 1, 2048, 20, id="42")))[0] == "c2.small"
    assert prepared(by_name) == ("42", [], [])


def test_the_nearest_holds_what_it_had_and_is_told():
    for known in ({"source": {"flavors": {"42": SMALL}}}, {}):
        source = None if known else cloud(flavor("m1.small", 1, 2048, 20, id="42"))
        found, problems, (change,) = prepared({"flavor": {"policy": "nearest"}, **known}, TARGET, source)
        assert (found, problems) == ("fit", [])
        assert (change.before, change.after, change.rule) == ("42", "fit", "flavor.policy nearest")


def test_nearest_takes_the_flavor_of_that_id_if_nobody_knows_the_shape():
    assert prepared({"flavor": {"policy": "nearest"}}, cloud(flavor("any", 1, 1, 1, id="42"))) == ("42", [], [])


@pytest.mark.parametrize(
    ("site_map", "target", "told"),
    [
        ({"flavor": {"policy": "fail"}}, TARGET, "no rule of the site map speaks of flavor '42'"),
        ({"flavor": {"policy": "nearest"}}, None, "name it with --cloud"),
        ({"flavor": {"policy": "nearest"}}, TARGET, "add `source.flavors`"),
        (
            {"flavor": {"policy": "nearest"}, "source": {"flavors": {"42": {**SMALL, "ram": 10**6}}}},
            TARGET,
            "no flavor with 1 vCPUs, 1000000 MiB of RAM and 20 GiB of disk",
        ),
    ],
)
def test_what_no_rule_and_no_policy_can_answer_is_a_problem(site_map, target, told):
    _, (problem,), changes = prepared(site_map, target)
    assert told in problem
    assert changes == []


def test_a_parameter_goes_before_the_map_and_that_is_told():
    found, problems, (change,) = prepared({"flavor": {"default": "c2.small"}}, restore_flavor_id="mine")
    assert (found, problems) == ("mine", [])
    assert (change.after, change.rule) == ("mine", "--parameter restore_flavor_id, over flavor.default")
    assert prepared({"flavor": {"policy": "fail"}}, restore_flavor_id="mine") == ("mine", [], [])


SIZES = st.integers(0, 4)


@given(st.tuples(SIZES, SIZES, SIZES), st.lists(st.tuples(SIZES, SIZES, SIZES), max_size=8))
def test_the_nearest_is_never_smaller_and_no_other_is_between(wanted, sizes):
    shape = Shape(vcpus=wanted[0] + 1, ram=wanted[1] + 1, disk=wanted[2])
    known = [flavor(f"f{place}", vcpus + 1, ram + 1, disk) for place, (vcpus, ram, disk) in enumerate(sizes)]
    holding = [
        each for each in known if each.vcpus >= shape.vcpus and each.ram >= shape.ram and each.disk >= shape.disk
    ]
    found = shape.nearest(known)
    assert (found in holding) if holding else (found is None)
    assert not any(
        each.vcpus <= found.vcpus and each.ram <= found.ram and each.disk <= found.disk
        for each in holding
        if (each.vcpus, each.ram, each.disk) != (found.vcpus, found.ram, found.disk)
    )
    assert shape.nearest(reversed(known)) == found

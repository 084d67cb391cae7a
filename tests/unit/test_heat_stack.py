"""Stacks that Heat managed: what becomes of template and parameters, and what is told. Heat itself: tests/cloud."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_openstack import managed_stack
from restore_openstack.heat_stack import StackPlugin
from restore_openstack.image import ImagePlugin
from restore_openstack.managed_stack import Part, Stack, parts
from restore_openstack.source_template import TemplateError, read_template
from restore_worker.plan import Sites
from restore_worker.plugin import Produces
from restore_worker.resource import ResourceKey
from restore_worker.sitemap import SiteMap
from tests.support import nodes
from tests.support.banks import Node
from tests.support.fakes import FakeReport, FakeSelection, render

NODE = nodes.stack("stack-1", "shop")


def prepared(node: Node = NODE, *others: Node, site_map=None, **parameters):
    """Return what the plugin decides, what it tells, and the changes by the site map."""
    sites = {} if site_map is None else {"sites": Sites(SiteMap.model_validate(site_map))}
    plugins = [StackPlugin(), ImagePlugin()]
    selection = FakeSelection(plugins, [*others, node], {}, {nodes.STACK: parameters}, **sites)
    report = FakeReport(node.id)
    definition, given_ = selection.definition(node.key), selection.parameters(node.key)
    work = plugins[0].prepare(selection.resource(node.key), definition, given_, selection, report)
    return work, report, selection


def test_all_but_volumes_and_what_they_need_waits_until_these_are_filled():
    work, report, _ = prepared()
    assert work.stand_ins == ("OS::Cinder::VolumeAttachment", "OS::Heat::SoftwareConfig", "OS::Nova::Server")
    assert [(each.path, each.backup_id) for each in work.volumes] == [
        ("data", "backup-of-stack-1"),
        ("extra/disk", "second-of-stack-1"),
    ]
    assert (work.name, work.tags, work.timeout_mins) == ("shop", ("theirs",), 60)
    assert report.problems == []
    assert [each.field for each in report.findings] == ["parameters.password"]
    assert StackPlugin().produces(work) is Produces.PARAMETER


def test_without_anything_saved_the_stack_is_made_in_one_step():
    work, _, _ = prepared(nodes.stack("stack-1", "shop", volumes=[]))
    assert (work.stand_ins, work.volumes) == ((), ())


def test_parameters_are_mapped_by_what_they_name():
    site_map = {
        "flavor": {"map": {"m1.small": "c2.small"}},
        "key_pair": {"map": {"ops": "dr-ops"}},
        "image": {"map": {"image-1": "debian"}},
        "name": {"rules": [{"value": ".*", "to": r"dr-\g<0>"}]},
    }
    work, _, selection = prepared(site_map=site_map)
    assert work.values == {"flavor": "c2.small", "image": "debian", "key": "dr-ops"}
    assert work.name == "dr-shop"
    assert {(each.field, each.before, each.after) for each in selection.changes} == {
        ("parameters.flavor", "m1.small", "c2.small"),
        ("parameters.image", "image-1", "debian"),
        ("parameters.key", "ops", "dr-ops"),
        ("name", "shop", "dr-shop"),
    }


def test_images_of_the_checkpoint_take_the_place_of_the_old_ones():
    image = nodes.image("image-1", "golden")
    work, _, _ = prepared(NODE, image)
    assert (work.images, work.values["image"]) == (("image",), "image-1")
    saved = nodes.stack("stack-1", "shop", volumes=[{"path": "data", "image_id": "image-1"}])
    work, report, selection = prepared(saved, image)
    assert report.problems == []
    implied = StackPlugin().implied_dependencies(selection.resource(saved.key), selection)
    assert list(implied) == [ResourceKey(nodes.IMAGE, "image-1")]
    _, report, _ = prepared(saved)
    assert [(each.field, each.found) for each in report.problems] == [
        ("metadata.volumes.data", "the checkpoint has no image image-1")
    ]


def test_a_hidden_value_without_a_default_is_a_problem():
    template = nodes.MANAGED.replace(", default: none", "")
    _, report, _ = prepared(nodes.stack("stack-1", "shop", template=template))
    (problem,) = report.problems
    assert problem.field == "parameters.password"
    assert "hidden" in problem.found
    assert "default" in problem.mend


@pytest.mark.parametrize(
    ("saved", "found"),
    [
        ({"path": "data"}, "either a backup_id or an image_id"),
        ({"path": "data", "backup_id": "b", "image_id": "image-1"}, "either a backup_id or an image_id"),
    ],
)
def test_a_volume_must_have_one_source(saved, found):
    _, report, _ = prepared(nodes.stack("stack-1", "shop", volumes=[saved]))
    assert found in report.problems[0].found


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", "it is no YAML"),
        ("- a", "no heat_template_version"),
        ("AWSTemplateFormatVersion: '2010-09-09'", "only templates in HOT"),
        ("heat_template_version: '2018-08-31'\nresources: 7", "resources: "),
        ("heat_template_version: '2018-08-31'\nresources: {a: {}}", "resources.a.type"),
        ("[" * 100_000, "it is no YAML"),
    ],
)
def test_what_is_no_template_is_told(text, reason):
    with pytest.raises(TemplateError, match=reason):
        read_template(text)
    _, report, _ = prepared(nodes.stack("stack-1", "shop", template=text))
    assert reason in report.problems[0].found
    assert report.problems[0].field == "metadata.template"


def test_a_script_among_the_files_is_no_template():
    files = {"file:///boot.sh": "#!/bin/sh", "file:///disk.yaml": nodes.NESTED, "file:///odd.yaml": "[]"}
    _, report, _ = prepared(nodes.stack("stack-1", "shop", files=files))
    assert [each.field for each in report.findings if "files" in each.field] == ["metadata.files.file:///odd.yaml"]


def test_its_rendering_is_a_parameter():
    result = render(FakeSelection([StackPlugin()], [NODE], {}, {nodes.STACK: {}}))
    assert result.produced == {NODE.key: Produces.PARAMETER}
    assert result.fragments["stack-1"].value is None


@given(st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_any_template_is_read_or_refused(document):
    text = json.dumps({"heat_template_version": "2018-08-31", "resources": document, "parameters": document})
    try:
        template = read_template(text)
    except TemplateError:
        return
    assert template.of_volumes() <= template.types
    template.kinds()


def test_parts_of_nested_stacks_are_known_by_their_path(monkeypatch):
    def part(name, physical_id, stack_id):
        return {
            "resource_name": name,
            "resource_type": "OS::Cinder::Volume",
            "resource_status": "CREATE_COMPLETE",
            "physical_resource_id": physical_id,
            "links": [{"rel": "stack", "href": f"http://heat/v1/p/stacks/name/{stack_id}"}],
        }

    told = [
        part("data", "v-1", "s-1"),
        part("extra", "s-2", "s-1"),
        part("disk", "v-2", "s-2"),
        part("deeper", "s-3", "s-2"),
        part("disk", "v-3", "s-3"),
        part("empty", None, "s-1"),
    ]

    def ask(_connection, path):
        assert path == "/stacks/shop/s-1/resources?nested_depth=5"
        return json.dumps({"resources": told}).encode()

    monkeypatch.setattr(managed_stack, "_get", ask)
    found = parts(None, Stack(stack_name="shop", id="s-1", stack_status="CREATE_COMPLETE"))
    assert {path: each.physical_id for path, each in found.items()} == {
        "data": "v-1",
        "extra": "s-2",
        "extra/disk": "v-2",
        "extra/deeper": "s-3",
        "extra/deeper/disk": "v-3",
        "empty": None,
    }
    assert all(isinstance(each, Part) for each in found.values())


@pytest.mark.parametrize(
    ("status", "in_the_way"), [("CREATE_COMPLETE", True), ("DELETE_IN_PROGRESS", True), ("DELETE_COMPLETE", False)]
)
def test_a_name_is_taken_until_its_stack_is_gone(monkeypatch, status, in_the_way):
    there = {"stack": {"stack_name": "shop", "id": "s-1", "stack_status": status}}
    monkeypatch.setattr(managed_stack, "_get", lambda _connection, _path: json.dumps(there).encode())
    work, report, _ = prepared(nodes.stack("stack-1", "shop", volumes=[]))
    StackPlugin().check(
        None, work.model_copy(update={"kinds": {}}), SimpleNamespace(connection=lambda: None), report
    )
    assert [each.field for each in report.problems] == ["name"] * in_the_way

"""The published JSON Schema of site maps: editors that go by it agree with the parser."""

from __future__ import annotations

import json
from importlib.resources import files

import jsonschema
import pytest
import yaml

from restore_worker.errors import SiteMapError
from restore_worker.marked_yaml import read_yaml
from restore_worker.sitemap import read
from tests.unit.test_sitemap import BAD

SCHEMA = json.loads(files("restore_worker").joinpath("sitemap.schema.json").read_text())
GOOD = [
    "flavor: {map: {1: m1.small}, rules: [{value: a, to: b}, {when: {id: x}, to: b}], policy: nearest}\n",
    "flavor: {default: a}\nvolume_type: {policy: same}\nzone: {policy: default}\n",
    "key_pair: {policy: create, public_keys: {ops: ssh-ed25519 AAAAC3Nz+/x= a b}}\nproject: {map: {a: b}}\n",
    "fixed_ips: {policy: auto}\nmacs: {policy: new}\nfloating_ips: {policy: skip}\n",
    "source: {flavors: {1: {vcpus: 1, ram: 512, disk: 0}, 2: {name: b, vcpus: 1, ram: 1, disk: 1}}}\n",
    "$schema: x\nname: {rules: [{when: {property: {size: '20'}}, to: b}]}\nserver_group: {}\nimage: {map: {}}\n",
]
# What a schema cannot say: it sees no lines, no duplicate keys, and no patterns of Python.
BEYOND = ("pattern is broken", "`to` refers", "empty", "twice")


def judge(data):
    return jsonschema.Draft202012Validator(SCHEMA).is_valid(data)


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("content", GOOD)
def test_what_the_parser_takes_the_schema_takes(tmp_path, content):
    file = tmp_path / "site.yaml"
    file.write_text(content)
    read(file)
    assert judge(read_yaml(file).data)


@pytest.mark.parametrize("content", BAD, ids=[told[:60] for told in BAD.values()])
def test_what_the_parser_refuses_the_schema_refuses_or_is_no_matter_of_it(tmp_path, content):
    file = tmp_path / "site.yaml"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(SiteMapError) as refused:
        read(file)
    try:
        data = read_yaml(file).data
    except SiteMapError:
        return  # it is no YAML that an editor would validate
    assert not judge(data) or any(each in str(refused.value) for each in BEYOND)


@pytest.mark.parametrize("content", GOOD)
def test_pyyaml_reads_the_same(tmp_path, content):
    """Except for keys that are numbers to it, and for texts such as ``yes``."""
    file = tmp_path / "site.yaml"
    file.write_text(content)
    assert json.loads(json.dumps(yaml.safe_load(content))) == read_yaml(file).data

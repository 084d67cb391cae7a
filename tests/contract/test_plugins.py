"""Every plugin passes the published contract, and plugins that break it fail it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import types
from types import MappingProxyType

import pytest

from restore_openstack.database import DatabasePlugin
from restore_openstack.heat_stack import StackPlugin
from restore_openstack.image import ImagePlugin
from restore_openstack.network import NetworkPlugin
from restore_openstack.project import ProjectPlugin
from restore_openstack.server import ServerPlugin
from restore_openstack.share import SharePlugin
from restore_openstack.volume import VolumePlugin
from restore_worker import testing
from restore_worker.bank import open_bank
from restore_worker.plan import make_plan
from restore_worker.registry import GROUP, Registry
from restore_worker.render import render
from restore_worker.testing import PluginContract
from tests.support import bad_plugins, nodes, steps
from tests.support.bad_plugins import NotePlugin
from tests.support.banks import BankCheckpoint, Node, write
from tests.support.fakes import FakeReport, FakeTarget
from tests.support.judge import judge
from tests.support.processes import ROOT, run_cli
from tests.support.stub_cloud import stub_cloud
from tests.support.tenants import EXTERNAL_NETWORK, tenant

# The plan named the server, so that Karbor saved its attachments too.
TENANT = tenant(servers=1, seed=2, rooted=False)
TOPOLOGY = nodes.network(
    "project-1",
    networks=[nodes.net("net-1", "blue", ["subnet-1"])],
    subnets=[nodes.subnet("subnet-1", "net-1", "10.0.0.0/24", "10.0.0.1", dns_nameservers=["10.0.0.2"])],
    routers=[nodes.router("router-1", "edge", EXTERNAL_NETWORK)],
    ports=[nodes.port("port-1", "net-1", {"subnet-1": "10.0.0.5"}, security_groups=["group-1"])],
    groups=[nodes.group("group-1", "web")],
)


class OfBank(PluginContract):
    """The contract for a node of a bank that is written for each test."""

    node: Node
    written: BankCheckpoint | None = None

    @pytest.fixture(autouse=True)
    def _bank(self, tmp_path):
        write(self.written or BankCheckpoint(nodes=(self.node,)), tmp_path)
        self.bank, self.resource = str(tmp_path), self.node.id


class TestDatabase(OfBank):
    plugin = DatabasePlugin
    node = nodes.database("database-1", "ledger")


class TestImage(OfBank):
    plugin = ImagePlugin
    node = nodes.image("image-1", "ubuntu", server_id="server-1")


class TestNetwork(OfBank):
    plugin = NetworkPlugin
    node = TOPOLOGY


class TestProject(OfBank):
    plugin = ProjectPlugin
    node = nodes.project("project-1")


class TestServer(OfBank):
    plugin = ServerPlugin
    node = next(node for node in TENANT.nodes if node.type == nodes.SERVER)
    written = TENANT
    parameters = MappingProxyType({nodes.NETWORK: {"networks": "new", "public_network_id": EXTERNAL_NETWORK}})


class TestShare(OfBank):
    plugin = SharePlugin
    node = nodes.share("share-1", "reports")


class TestStack(OfBank):
    plugin = StackPlugin
    node = nodes.stack("stack-1", "shop")


class TestVolumeOfBackup(OfBank):
    plugin = VolumePlugin
    node = nodes.volume("volume-1", "data")


class TestVolumeOfBackupBuiltDirectly(OfBank):
    plugin = VolumePlugin
    node = nodes.volume("volume-1", "data")
    parameters = MappingProxyType({nodes.VOLUME: {"restore_volume_type": "ssd"}})


class TestVolumeOfSnapshot(OfBank):
    plugin = VolumePlugin
    node = nodes.volume("volume-1", "data", snapshot_id="snapshot-1", size=20)


class TestVolumeOfBytes(OfBank):
    plugin = VolumePlugin
    node = nodes.volume_image("volume-1", "golden")


class TestStranger(OfBank):
    node = Node(steps.TYPE, "s0", "step 0", None, {"seconds": 0.0, "ends": "done", "obstacle": "/"})

    @pytest.fixture(autouse=True, scope="class")
    def _installed(self, tmp_path_factory):
        with steps.installed(tmp_path_factory.mktemp("stranger") / "log"):
            from restore_stranger import StepPlugin

            type(self).plugin = StepPlugin
            yield


# Properties for the template, which the plugin makes by name of single fields.
MADE = {"NetworkPlugin.Part.properties"}


@pytest.mark.parametrize(
    "plugin",
    [DatabasePlugin, ImagePlugin, NetworkPlugin, ProjectPlugin, ServerPlugin, SharePlugin, VolumePlugin],
)
def test_work_is_made_of_declared_fields(plugin):
    """It is kept in Redis: what takes anything would carry there what a bank holds of secrets."""
    assert set(loose(plugin.Work.model_json_schema(), plugin.__name__)) <= MADE
    assert list(loose(bad_plugins.KeepsAllThereIs.Work.model_json_schema(), "Bad")) == ["Bad.rest"]


def loose(schema, where):
    """Yield the places in a JSON schema where anything may stand."""
    kinds = {"$ref", "anyOf", "allOf", "oneOf", "const", "enum", "type"}
    if not kinds & schema.keys() or schema.get("additionalProperties") is True:
        yield where
    for group in ("properties", "$defs"):
        for name, inner in schema.get(group, {}).items():
            yield from loose(inner, f"{where}.{name}")
    alone = (schema[name] for name in ("items", "additionalProperties") if isinstance(schema.get(name), dict))
    some = (inner for name in ("anyOf", "allOf", "oneOf", "prefixItems") for inner in schema.get(name, ()))
    for inner in (*alone, *some):
        yield from loose(inner, where)


# Plugins that break it

TESTS = frozenset(name.removeprefix("test_") for name in dir(PluginContract) if name.startswith("test_"))
FOUND = "it_is_found_by_its_entry_point"
MODELS = "its_attributes_are_the_right_models"
PURE = "prepare_is_pure"
WORK = "work_survives_the_way_to_a_worker"
SAME = "restore_puts_the_same_however_often_it_runs"
PRODUCES = "produces_is_what_is_put"
UNKNOWN = "an_unknown_parameter_is_refused_with_the_known_ones"
DAMAGED = "damaged_metadata_is_told_or_restored"
NOWHERE = "fields_of_the_metadata_that_nobody_asked_for_go_nowhere"
DISCARD = "discard_with_nothing_made_does_nothing"
CHECK = "check_changes_nothing"


def failures(plugin, bank) -> dict[str, str]:
    """Return what the contract says against a plugin, by the test that fails."""
    said = {}
    contract = type("TestIt", (PluginContract,), {"plugin": plugin, "bank": bank, "resource": "note-1"})
    for name in TESTS:
        try:
            getattr(contract(), f"test_{name}")()
        except Exception as error:  # noqa: BLE001 - as pytest does
            said[name] = str(error)
    return said


@pytest.fixture
def bank(tmp_path):
    note = Node("Test::Note", "note-1", "a note", None, {"text": "hello"})
    write(BankCheckpoint(nodes=(note,)), tmp_path)
    return str(tmp_path)


@pytest.mark.parametrize(
    "plugin",
    [NotePlugin, bad_plugins.LooksBeforeItDiscards, bad_plugins.ChecksWell, bad_plugins.Composite],
)
def test_a_good_plugin_passes(monkeypatch, bank, plugin):
    monkeypatch.setattr(testing, "installed", lambda: Registry([plugin()]))
    assert failures(plugin, bank) == {}


@pytest.mark.parametrize(
    ("plugin", "test", "words"),
    [
        (bad_plugins.LooseDefinition, MODELS, "Definition is"),
        (bad_plugins.LenientParameters, UNKNOWN, "takes names"),
        (bad_plugins.RandomWork, PURE, "what prepare returns differs"),
        (bad_plugins.RandomFinding, PURE, "what prepare tells differs"),
        (bad_plugins.LossyWork, WORK, "text='hello'"),
        (bad_plugins.RandomFragment, SAME, "what restore puts differs"),
        (bad_plugins.GrowingFragments, SAME, "note-11"),
        (bad_plugins.SaysParameter, PRODUCES, "Produces.PARAMETER, but restore puts {'note-1': HeatResource"),
        (bad_plugins.SaysNothing, PRODUCES, "Produces.NOTHING, but restore puts {'note-1': HeatResource"),
        (bad_plugins.PutsParameter, PRODUCES, "Produces.RESOURCE, but restore puts {'note-1': HeatParameter"),
        (bad_plugins.PutsNothing, PRODUCES, "Produces.RESOURCE, but restore puts {}"),
        (
            bad_plugins.BreaksInValidator,
            DAMAGED,
            "metadata.text is null: Test::Note 'a note' (note-1), metadata: ",
        ),
        (bad_plugins.KeepsAllThereIs, NOWHERE, "metadata: what is in an unknown field is told or kept"),
        (bad_plugins.BreaksInPrepare, DAMAGED, "metadata.text is missing: Test::Note 'a note' (note-1): "),
        (bad_plugins.BreaksInImplied, DAMAGED, "metadata.text is missing: Test::Note 'a note' (note-1): "),
        (bad_plugins.BreaksInRestore, DAMAGED, "metadata.text is missing: Test::Note 'a note' (note-1): "),
        (bad_plugins.DeletesWhatIsNot, DISCARD, "connection.image.delete_image"),
        (bad_plugins.ExpectsWhatIsNot, DISCARD, "image"),
        (bad_plugins.BuildsToDiscard, DISCARD, "Context.once"),
        (bad_plugins.ChecksByTrying, CHECK, "connection.image.post"),
        (bad_plugins.ExpectsWhatItChecks, CHECK, "'NoneType' object has no attribute 'id'"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_bad_plugin_fails_the_test_of_what_it_breaks(monkeypatch, bank, plugin, test, words):
    monkeypatch.setattr(testing, "installed", lambda: Registry([plugin()]))
    said = failures(plugin, bank)
    assert set(said) == {test}
    assert words in said[test]


def test_work_of_another_model_is_told(bank):
    assert "the sample has problems: Test::Note 'a note' (note-1)" in failures(bad_plugins.OtherWork, bank)[WORK]


def test_a_parameter_that_must_be_given_is_told(bank):
    assert "restore_text" in failures(bad_plugins.NeedyParameters, bank)[MODELS]


def test_a_plugin_without_an_entry_point_fails_that_alone(bank):
    said = failures(NotePlugin, bank)
    assert set(said) == {FOUND}
    assert GROUP in said[FOUND]


def test_a_sample_with_problems_is_told(tmp_path):
    write(BankCheckpoint(nodes=(Node("Test::Note", "note-1", "a note", None, {"text": 5}),)), tmp_path)
    assert (
        "the sample has problems: Test::Note 'a note' (note-1), metadata.text"
        in failures(NotePlugin, str(tmp_path))[PURE]
    )


# The example in the documentation

PAGE = (ROOT / "docs" / "plugins.md").read_text()
PLUGIN, TEST = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
(TOML,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
(KEY_ID,) = re.findall(r'resource = "(.*)"', TEST)
(METADATA,) = re.findall(r'`(\{"public_key".*?\})`', PAGE)
(WHEEL,) = re.findall(r"`(restore_keypair-\S+\.whl)`", PAGE)


def keys(folder):
    """Write the bank that the page speaks of."""
    key = Node("OS::Nova::KeyPair", KEY_ID, "ops", None, METADATA.encode())
    write(BankCheckpoint(nodes=(key,)), folder)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """Give the folder into which the page's package is installed, of its wheel and as pip does it, but offline."""
    source, site = (tmp_path_factory.mktemp(name) for name in ("source", "site"))
    (source / "restore_keypair.py").write_text(PLUGIN)
    (source / "pyproject.toml").write_text(TOML)
    run("pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation", ".", cwd=source)
    run("pip", "install", "--no-deps", "--no-index", "--target", str(site), WHEEL, cwd=source)
    return site


def where(site):
    """Return the variables of a process that has the package."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))}


def run(*words, cwd, **env):
    """Run a module of Python's and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_is_as_short_as_the_page_says():
    (most,) = re.findall(r"in (\d+) lines", PAGE)
    assert len([line for line in PLUGIN.splitlines() if line]) <= int(most)


def test_the_examples_own_tests_pass_once_it_is_installed(package, tmp_path):
    keys(tmp_path / "bank")
    (tmp_path / "test_keypair.py").write_text(TEST)
    options = ("-q", f"--rootdir={tmp_path}", "-c", os.devnull, "-p", "no:cacheprovider")
    assert f"{len(TESTS)} passed" in run("pytest", *options, cwd=tmp_path, **where(package))


def test_plan_finds_the_example_once_it_is_installed(package, tmp_path):
    keys(tmp_path / "bank")
    done = run_cli("plan", "latest", "--bank", str(tmp_path / "bank"), env=where(package))
    assert (done.returncode, done.stderr) == (0, "")
    assert ["OS::Nova::KeyPair", "ops", KEY_ID, "by", "Heat"] in [
        line.split() for line in done.stdout.splitlines()
    ]
    assert "user_id: key pairs belong to users" in done.stdout


def test_heat_takes_what_the_example_makes(tmp_path):
    keys(tmp_path)
    module = types.ModuleType("restore_keypair")
    exec(PLUGIN, module.__dict__)
    registry = Registry([module.KeyPairPlugin()])
    rendering = render(make_plan(open_bank(str(tmp_path)), "latest", registry=registry), registry=registry)
    assert judge(rendering.hots[0].text) == [f"key_pair_{KEY_ID}"]
    assert [finding.field for finding in rendering.findings] == ["user_id"]


def test_the_example_looks_for_a_key_pair_of_that_name(tmp_path):
    keys(tmp_path)
    module = types.ModuleType("restore_keypair")
    exec(PLUGIN, module.__dict__)
    registry = Registry([module.KeyPairPlugin()])
    (planned,) = make_plan(open_bank(str(tmp_path)), "latest", registry=registry).resources
    told = {}
    with stub_cloud() as cloud:
        for cloud.key_pairs in (["dev"], ["dev", "ops"]):
            report = FakeReport(KEY_ID)
            module.KeyPairPlugin().check(planned.resource, planned.work, FakeTarget(cloud.connect()), report)
            told[len(cloud.key_pairs)] = [each.field for each in report.problems]
    assert told == {1: [], 2: ["name"]}

"""What is restored, what comes with it, what is left out, and how it is called."""

from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from restore_worker import restore
from restore_worker.bank import open_bank
from restore_worker.choice import Choice
from restore_worker.errors import CheckpointError, ParameterError
from restore_worker.plan import make_plan
from tests.support import banks, nodes
from tests.support.banks import BankCheckpoint
from tests.support.dags import dags, graph_of, key, reachable
from tests.support.networks import server_port
from tests.support.sample_banks import WEBAPP

WEB_1 = "fc688078-ce46-423f-a950-6a47b397c96d"
DB_1 = "ece5fddb-6613-43aa-a105-110eadaa6681"
UPLOADS = "0a0ec013-db8c-4a3d-8c98-a6a91d92ff8a"
PICTURE = "fa764c51-96c8-4dd2-a403-2f9e7b7eaa06"


def chosen_of(plan):
    return {each.resource.id for each in plan.resources}


def whys(plan):
    """Return by id whether what nobody named is restored, and why."""
    return {each.id: (each.restored, each.reason) for each in plan.choice}


# The two rules


@given(dags(most=40), st.data())
def test_the_choice_is_closed_in_both_directions(dag, data):
    """Plugins may name further edges; those of a resource are seen only once it is chosen."""
    children, size = dag
    numbers = st.sets(st.integers(0, size - 1), min_size=1, max_size=4)
    resources = data.draw(st.none() | numbers)
    skip = data.draw(st.just(set()) | numbers)
    graph = graph_of(children, size)
    order = [int(found.id.removeprefix("v")) for found in graph.order()]
    pairs = data.draw(st.sets(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)), max_size=4))
    # Every edge leads to what comes earlier in an order, so that there is no cycle.
    implied = {order[later]: [order[earlier]] for earlier, later in map(sorted, pairs) if earlier < later}
    edges = {number: [*children.get(number, ()), *implied.get(number, ())] for number in range(size)}
    named = set(range(size)) if resources is None else resources
    asked = {number for number in named if not reachable(edges, [number]) & skip}

    selectors = None if resources is None else [key(number).id for number in resources]

    def settled():
        choice = Choice("c", graph, selectors, [key(number).id for number in skip])
        known = {key(parent): [key(child) for child in found] for parent, found in implied.items()}
        choice.settle(lambda: {parent: found for parent, found in known.items() if parent in choice.chosen})
        return choice

    if not asked:
        with pytest.raises(CheckpointError, match="nothing left to restore"):
            settled()
        return
    choice = settled()
    assert choice.chosen == set(map(key, reachable(edges, asked)))

    told = {(each.type, each.id): each for each in choice.preview()}
    assert {found for found, each in told.items() if each.restored} == choice.chosen - set(map(key, asked))
    wanted = set(map(key, reachable(children, named)))
    left_out = {found for found, each in told.items() if not each.restored}
    assert wanted - choice.chosen <= left_out
    assert left_out.isdisjoint(choice.chosen)
    assert {found for found in left_out if told[found].reason == "it is skipped"} == wanted & set(map(key, skip))


def test_what_is_skipped_takes_along_what_needs_it():
    plan = make_plan(open_bank(str(WEBAPP)), "latest", skip=[UPLOADS])
    assert whys(plan) == {
        UPLOADS: (False, "it is skipped"),
        WEB_1: (False, f"it needs OS::Cinder::Volume 'web-uploads' ({UPLOADS})"),
    }
    assert not {UPLOADS, WEB_1} & chosen_of(plan)
    assert len(plan.resources) == 8
    assert plan.problems == ()


def test_what_is_chosen_brings_what_it_needs_and_tells_for_whom():
    plan = make_plan(
        open_bank(str(WEBAPP)),
        "latest",
        resources=[f"OS::Nova::Server#{WEB_1}"],
        parameters={"OS::Neutron::Network": {"networks": "new"}},
    )
    needed = (True, f"OS::Nova::Server 'web-1' ({WEB_1}) needs it")
    [network] = chosen_of(plan) - {WEB_1, UPLOADS, PICTURE}
    assert whys(plan) == {UPLOADS: needed, PICTURE: needed, network: needed}


def test_what_only_the_skipped_needs_does_not_come_alone():
    plan = make_plan(
        open_bank(str(WEBAPP)),
        "latest",
        resources=[WEB_1, DB_1],
        skip=[UPLOADS],
        parameters={"OS::Neutron::Network": {"networks": "new"}},
    )
    assert DB_1 in chosen_of(plan)
    assert not {PICTURE, UPLOADS, WEB_1} & chosen_of(plan)
    assert whys(plan)[PICTURE] == (False, "only what is left out needs it")


def test_without_a_choice_nothing_is_told():
    assert make_plan(open_bank(str(WEBAPP)), "latest").choice == ()


@pytest.mark.parametrize("choice", [{"skip": ["OS::Nova::Srever"]}, {"skip": "no-such-id", "resources": [WEB_1]}])
def test_a_selector_that_matches_nothing_is_refused(choice):
    with pytest.raises(CheckpointError, match=r"has no resource '(OS::Nova::Srever|no-such-id)': give the id"):
        make_plan(open_bank(str(WEBAPP)), "latest", **choice)


def test_nothing_left_is_refused_with_the_reasons():
    with pytest.raises(CheckpointError) as caught:
        make_plan(open_bank(str(WEBAPP)), "latest", resources=[WEB_1, UPLOADS], skip=["OS::Cinder::Volume"])
    assert str(caught.value) == (
        "checkpoint 3d60acf8-b132-4930-bc5b-90294204e9f6 has nothing left to restore: "
        f"OS::Cinder::Volume 'web-uploads' ({UPLOADS}) is left out: it is skipped; OS::Nova::Server 'web-1' ({WEB_1}) "
        f"is left out: it needs OS::Cinder::Volume 'web-uploads' ({UPLOADS})"
    )


# What cannot be restored


def shop(**broken):
    """Return a checkpoint of two servers, one with a volume, in one network; broken: fields of the volume."""
    volume = replace(nodes.volume("disk", "disk"), **broken)
    web = nodes.server("web", "web", boot="picture", data_volumes=["disk"], networks=["net"])
    spare = nodes.server("spare", "spare", boot="picture", networks=["net"])
    network = nodes.network(
        "project",
        networks=[nodes.net("net", "lan")],
        subnets=[nodes.subnet("sub", "net", "10.0.0.0/24", "10.0.0.1", name="lan-4")],
        routers=[nodes.router("edge", "edge", "public")],
        groups=[nodes.group("default", "default"), nodes.group("http", "http")],
        ports=[
            server_port("web-port", "web", "net", {"sub": "10.0.0.5"}, name="eth0"),
            server_port("spare-port", "spare", "net", {"sub": "10.0.0.6"}),
        ],
    )
    picture = nodes.image("picture", "picture")
    edges = {web.key: (picture.key, volume.key), spare.key: (picture.key,)}
    return BankCheckpoint(nodes=(picture, volume, network, web, spare), edges=edges)


@pytest.mark.parametrize(
    "broken", [{"status": "error"}, {"metadata": None}, {"metadata": b"{"}, {"type": "OS::No::Such"}]
)
def test_what_is_damaged_can_be_left_out(tmp_path, broken):
    made = shop(**broken)
    if "type" in broken:
        # Nobody restores the type; it is still what the server needs.
        disk = next(node for node in made.nodes if node.id == "disk")
        made = replace(
            made, edges={key: (*found[:1], disk.key)[: len(found)] for key, found in made.edges.items()}
        )
    banks.write(made, tmp_path)
    whole = restore.plan("latest", bank=tmp_path)
    assert {problem.id for problem in whole.problems} >= {"disk"}
    rest = restore.plan("latest", bank=tmp_path, skip=["disk"])
    assert rest.problems == ()
    assert chosen_of(rest.plan) == {"picture", "project", "spare"}


def test_servers_need_the_network_that_has_their_ports(tmp_path):
    """The graph has no such edge: the plugin names it."""
    banks.write(shop(), tmp_path)
    planned = restore.plan("latest", bank=tmp_path, skip=[nodes.NETWORK]).plan
    assert chosen_of(planned) == {"picture", "disk"}
    assert whys(planned)["spare"] == (False, "it needs OS::Neutron::Network 'Network Topology' (project)")


def test_a_server_on_a_network_of_the_target_does_without_its_own(tmp_path):
    banks.write(shop(), tmp_path)
    given = {f"{nodes.SERVER}#web": {"restore_net_id": "there"}}
    planned = restore.plan("latest", bank=tmp_path, skip=[nodes.NETWORK], parameters=given).plan
    assert chosen_of(planned) == {"picture", "disk", "web"}
    assert "spare" in whys(planned)


@pytest.mark.usefixtures("redis_url")
def test_a_submitted_restore_tells_of_its_choice(tmp_path):
    banks.write(shop(), tmp_path)
    parameters = {nodes.NETWORK: {"networks": "new"}}
    submitted = restore.submit(
        "latest", bank=tmp_path, resources=[nodes.SERVER], skip=["disk"], parameters=parameters, create_stack=False
    )
    assert {(each.id, each.text) for each in submitted.findings if each.field == "choice"} == {
        ("picture", "restored, too: OS::Nova::Server 'spare' (spare) needs it"),
        ("project", "restored, too: OS::Nova::Server 'spare' (spare) needs it"),
        ("disk", "left out: it is skipped"),
        ("web", "left out: it needs OS::Cinder::Volume 'disk' (disk)"),
    }
    assert [each.node.id for each in submitted.resources][-1] == "spare"


# Names


def names_of(rendering):
    """Return the names that the template gives, by resource."""
    resources = yaml.safe_load(rendering.hots[0].text)["resources"]
    return {name: each["properties"]["name"] for name, each in resources.items() if each["properties"].get("name")}


def test_the_prefix_is_before_every_name_that_is_given(tmp_path):
    banks.write(shop(), tmp_path)
    plain = names_of(restore.plan("latest", bank=tmp_path))
    rendering = restore.plan("latest", bank=tmp_path, name_prefix="drill ")
    assert len(plain) == 9
    # A group that is not called "default" any more needs no other name.
    plain["security_group_default"] = "default"
    assert names_of(rendering) == {resource: f"drill {name}" for resource, name in plain.items()}
    assert [each.work.name for each in rendering.plan.resources if each.resource.id == "picture"] == [
        "drill picture"
    ]
    assert [each for each in rendering.findings if each.field.endswith("default.name")] == []


def test_a_name_that_the_user_gives_is_meant_so(tmp_path):
    banks.write(shop(), tmp_path)
    given = {nodes.SERVER: {"restore_name": "twin"}, nodes.VOLUME: {"restore_name": "twin"}}
    names = names_of(restore.plan("latest", bank=tmp_path, name_prefix="drill-", parameters=given))
    assert {names["server_web"], names["server_spare"], names["volume_disk"]} == {"twin"}
    assert names["net_net"] == "drill-lan"


def test_a_name_that_becomes_too_long_is_told_where_it_stands(tmp_path):
    banks.write(shop(name="d" * 200), tmp_path)
    assert restore.plan("latest", bank=tmp_path, name_prefix="p" * 55).problems == ()
    [problem] = restore.plan("latest", bank=tmp_path, name_prefix="p" * 56).problems
    assert problem[1:3] == (nodes.VOLUME, "disk")
    assert (problem.field, problem.text) == (
        "name",
        "with its prefix the name has 256 characters, more than 255: shorten the prefix by 1",
    )
    told = {each.field for each in restore.plan("latest", bank=tmp_path, name_prefix="p" * 254).problems}
    assert {
        "network_metadata.net.name",
        "port_metadata.web-port.name",
        "security-group_metadata.http.name",
    } <= told


@pytest.mark.parametrize("prefix", [" drill", "dri\x1bll", "\n", "p" * 255, "\ud800"])
def test_what_begins_no_name_is_refused(prefix):
    with pytest.raises(ParameterError, match="is not the beginning of a name"):
        restore.plan("latest", bank=WEBAPP, name_prefix=prefix)

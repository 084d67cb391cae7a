"""Networks, subnets and groups that are on the target already, and the addresses of ports that come into them."""

import pytest
import yaml

from restore_openstack.network import NetworkPlugin
from restore_openstack.server import ServerPlugin
from restore_worker import restore
from restore_worker.errors import SiteMapError
from restore_worker.hot import assemble
from restore_worker.plan import Sites
from restore_worker.sitemap import SiteMap, read
from restore_worker.template import HeatTemplate
from tests.support import banks, nodes
from tests.support.banks import BankCheckpoint
from tests.support.fakes import FakeContext, FakeReport, FakeSelection, FakeTarget, render
from tests.support.judge import judge
from tests.support.networks import PROJECT_ID, Restored, router_port, server, server_port
from tests.support.stub_cloud import stub_cloud

WEB_MAC, SPARE_MAC = "fa:16:3e:00:00:11", "fa:16:3e:00:00:12"
LEG_DB = "interface:edge:db-v4"
SERVERS = (server("web-1", ["app"], floating_ips=["203.0.113.7"]), server("db-1", ["db"]))


def shop():
    """A web and a db server in networks of their own behind one router; the web server's is dual-stack."""
    return nodes.network(
        PROJECT_ID,
        networks=[nodes.net("app", "app-net"), nodes.net("db", "db-net")],
        subnets=[
            nodes.subnet("app-v4", "app", "10.1.0.0/24", "10.1.0.1"),
            nodes.subnet("app-v6", "app", "2001:db8::/64", "2001:db8::1"),
            nodes.subnet("db-v4", "db", "10.2.0.0/24", "10.2.0.1"),
        ],
        routers=[nodes.router("edge", "edge", "public")],
        groups=[nodes.group("web", "web"), nodes.group("pg", "pg", [nodes.rule(remote_group_id="web")])],
        ports=[
            router_port("edge", "app", {"app-v4": "10.1.0.1"}),
            router_port("edge", "db", {"db-v4": "10.2.0.1"}),
            server_port(
                "web-port",
                "web-1",
                "app",
                {"app-v4": "10.1.0.5", "app-v6": "2001:db8::5"},
                security_groups=["web"],
                mac_address=WEB_MAC,
            ),
            server_port("db-port", "db-1", "db", {"db-v4": "10.2.0.5"}, security_groups=["pg"]),
            nodes.port("spare", "app", {"app-v4": "10.1.0.9"}, mac_address=SPARE_MAC),
        ],
    )


@pytest.fixture
def site(tmp_path):
    """Give a function that parses a site map."""

    def parse(text):
        file = tmp_path / "site.yaml"
        file.write_text(text)
        return read(file)

    return parse


@pytest.fixture
def target():
    """Give a cloud with a network in which the web server's IPv4 address is free, and little else fits."""
    with stub_cloud() as cloud:
        cloud.networks["lan-id"] = {"id": "lan-id", "name": "lan", "router:external": False}
        cloud.networks["out-id"] = {"id": "out-id", "name": "out", "router:external": True}
        for subnet_id, cidr in (("other", "10.9.0.0/16"), ("same", "10.1.0.0/22"), ("six", "2001:db8:9::/64")):
            cloud.subnets[subnet_id] = {
                "id": subnet_id,
                "name": subnet_id,
                "network_id": "lan-id",
                "cidr": cidr,
                "ip_version": 6 if ":" in cidr else 4,
                "enable_dhcp": True,
                "gateway_ip": None,
            }
        yield cloud


def use(cloud, address, mac="fa:16:3e:ff:ff:ff"):
    """Have a port of the target's network have an address."""
    cloud.ports["theirs"] = {
        "id": "theirs",
        "network_id": "lan-id",
        "mac_address": mac,
        "fixed_ips": [{"subnet_id": "same", "ip_address": address}],
    }


def selected(site_map=None, cloud=None, *, chosen=None, servers=SERVERS, **parameters):
    """Select the shop, or a part of it; parameters: of the network."""
    sites = Sites(site_map or SiteMap(), FakeTarget(cloud.connect()) if cloud else None)
    network = shop()
    plugins = [NetworkPlugin(), ServerPlugin()]
    keys = None if chosen is None else [each.key for each in servers if each.id in chosen]
    return FakeSelection(plugins, [network, *servers], None, {nodes.NETWORK: parameters}, keys, sites), network.key


def restored(*arguments, **choices):
    """Restore the network; Heat's own engine judges what comes of it."""
    selection, key = selected(*arguments, **choices)
    work, report = selection.prepare(key)
    template = HeatTemplate()
    NetworkPlugin().restore(selection.resource(key), work, template, FakeContext())
    (hot,) = assemble(template.fragments, "a test")
    order = judge(hot.text, hot.values) if hot else []
    return Restored(template.fragments, order, report.findings, report.problems), selection.changes, work


def changed(changes):
    return {(each.type, each.id, each.field): (each.before, each.after) for each in changes}


def subnets_of(made, port):
    return [(fixed.get("subnet"), fixed.get("ip_address")) for fixed in made.properties(port).get("fixed_ips", ())]


# What is not built


@pytest.mark.parametrize("old", ["app", "app-net"])
def test_servers_ports_are_built_on_a_mapped_network_and_nothing_else_of_it(site, old):
    made, changes, work = restored(site(f"network: {{map: {{{old}: lan}}}}"))
    assert made.value("app") == "lan"
    assert made.built() == {"db", "db-v4", "edge", LEG_DB, "web", "pg", "web-port", "db-port", "spare"}
    assert made.properties("web-port")["network"] == made.ref("app")
    assert subnets_of(made, "web-port") == [(None, "10.1.0.5"), (None, "2001:db8::5")]
    assert made.properties("web-port")["mac_address"] == WEB_MAC
    assert "no interface in network app" in made.told("router_metadata.edge")
    [change] = changes
    assert change[:6] == ("OS::Neutron::Net", "app", "app-net", "id", "app", "lan")
    assert change.rule.endswith(f"site.yaml:1 network.map.{old}")
    assert work.existing["app"].rule == change.rule
    assert made.problems == []


def test_a_router_whose_networks_are_all_there_is_not_built(site):
    made, _, work = restored(site("network: {map: {app-net: lan, db-net: lan2}}"))
    assert made.built() == {"web", "pg", "web-port", "db-port", "spare"}
    assert "it is not built" in made.told("router_metadata.edge")
    assert set(work.existing) == {"app", "db"}


def test_a_part_in_mapped_networks_needs_no_choice_of_networks(site):
    made, _, _ = restored(site("network: {map: {app-net: lan}}"), chosen=["web-1"])
    assert made.problems == []
    assert made.built() == {"web", "web-port"}
    elsewhere, _, _ = restored(site("network: {map: {db-net: lan}}"), chosen=["web-1"])
    assert [problem.field for problem in elsewhere.problems] == ["networks"]


def test_existing_networks_may_be_others(site):
    made, _, work = restored(site("network: {map: {app-net: lan}}"), chosen=["web-1"], networks="existing")
    assert made.built() == {"web-port"}
    assert {key: each.value for key, each in work.existing.items()} == {"app": "lan", "web": "web"}


def test_a_mapped_group_is_the_target_s_and_rules_refer_to_it(site):
    made, changes, _ = restored(site("security_group: {map: {web: public-web}}"))
    assert made.value("web") == "public-web"
    assert "web" not in made.built()
    assert made.properties("web-port")["security_groups"] == [made.ref("web")]
    assert {"get_param": "p_security_group_web"} in [
        rule.get("remote_group_id") for rule in made.properties("pg")["rules"]
    ]
    assert changed(changes) == {("OS::Neutron::SecurityGroup", "web", "id"): ("web", "public-web")}


def test_a_mapped_subnet_pins_where_an_address_goes(site):
    made, changes, _ = restored(site("network: {map: {app-net: lan}}\nsubnet: {map: {app-v4: other, db-v4: no}}"))
    assert subnets_of(made, "web-port") == [({"get_param": "p_subnet_app-v4"}, "10.1.0.5"), (None, "2001:db8::5")]
    assert made.value("app-v4") == "other"
    # The subnet of a network that is built comes back with it.
    assert ("OS::Neutron::Subnet", "db-v4", "id") not in changed(changes)


def test_an_external_network_is_mapped_as_a_parameter_would_do(site):
    made, changes, _ = restored(site("network: {map: {public: out}}"))
    assert made.value("public") == "out"
    assert [each for each in made.findings if "public_network_id" in each.text] == []
    assert changed(changes) == {("OS::Neutron::Net", "public", "id"): ("public", "out")}
    given, changes, _ = restored(site("network: {map: {public: out}}"), public_network_id="better")
    assert given.value("public") == "better"
    assert changes == ()


def test_names_of_parts_follow_the_site_map(site):
    made, changes, _ = restored(
        site("name: {rules: [{when: {type: OS::Neutron::Net}, value: (.*)-net, to: 'dr-\\1'}]}")
    )
    assert made.properties("app")["name"] == "dr-app"
    assert changed(changes)["OS::Neutron::Net", "db", "name"] == ("db-net", "dr-db")
    assert made.properties("edge")["name"] == "edge"


# Addresses


def test_auto_keeps_what_fits_and_is_free(site, target):
    policies = "network: {map: {app-net: lan}}\nfixed_ips: {policy: auto}\nmacs: {policy: auto}"
    made, changes, _ = restored(site(policies), target)
    assert subnets_of(made, "web-port") == [(None, "10.1.0.5"), ("six", None)]
    assert subnets_of(made, "spare") == [(None, "10.1.0.9")]
    assert made.properties("web-port")["mac_address"] == WEB_MAC
    assert "2001:db8::5 is in none of its subnets there (10.1.0.0/22, 10.9.0.0/16, 2001:db8:9::/64)" in made.told(
        "port_metadata.web-port.fixed_ips"
    )
    assert changed(changes)["OS::Neutron::Port", "web-port", "fixed_ips"] == ("2001:db8::5", "another one")
    assert next(each.rule for each in changes if each.field == "fixed_ips").endswith(
        "site.yaml:2 fixed_ips.policy auto"
    )


def test_new_addresses_wait_until_the_kept_ones_are_taken(site, target):
    use(target, "10.1.0.5")
    made, _, _ = restored(site("network: {map: {app-net: lan}}\nfixed_ips: {policy: auto}"), target)
    assert subnets_of(made, "web-port") == [("same", None), ("six", None)]
    order = [name.removeprefix("port_") for name in made.order if name.startswith("port_")]
    assert order.index("spare") < order.index("web-port")
    [between] = [name for name in made.order if name.startswith("none_")]
    assert made.fragments["web-port"].depends_on == ({"get_resource": between},)


def test_auto_gives_up_what_another_port_has(site, target):
    use(target, "10.1.0.5", WEB_MAC.upper())
    made, changes, _ = restored(site("network: {map: {app-net: lan}}"), target, fixed_ips="auto", macs="auto")
    assert subnets_of(made, "web-port") == [("same", None), ("six", None)]
    assert "mac_address" not in made.properties("web-port")
    assert made.properties("spare")["mac_address"] == SPARE_MAC
    told = [each.text for each in made.findings if each.field == "port_metadata.web-port.fixed_ips"]
    assert told[0] == "10.1.0.5 is in use by port theirs: the port gets another one"
    # A parameter is no rule of the site map.
    assert {each.field for each in changes} == {"id"}


def test_auto_knows_what_only_the_owner_of_a_network_may(site, target):
    target.networks["lan-id"]["project_id"] = "somebody"
    made, _, _ = restored(site("network: {map: {app-net: lan}}"), target, fixed_ips="auto", macs="auto")
    port = made.properties("web-port")
    assert subnets_of(made, "web-port") == [("same", None), ("six", None)]
    assert {"mac_address", "port_security_enabled"}.isdisjoint(port)
    assert any("another project's" in each.text for each in made.findings)


def test_new_addresses_are_of_the_same_versions(site, target):
    text = "network: {map: {app-net: lan}}\nfixed_ips: {policy: new}\nmacs: {policy: new}"
    made, changes, _ = restored(site(text), target)
    assert subnets_of(made, "web-port") == [("same", None), ("six", None)]
    # In a network that is built, too.
    assert subnets_of(made, "db-port") == [({"get_resource": "subnet_db-v4"}, None)]
    assert "mac_address" not in made.properties("web-port")
    assert changed(changes)["OS::Neutron::Port", "web-port", "mac_address"] == (WEB_MAC, "another one")
    assert ("OS::Neutron::Port", "leg-of-edge-db", "fixed_ips") not in changed(changes)
    assert [each for each in made.findings if "mac_address" in each.field] == []
    without, _, _ = restored(site(text))
    assert subnets_of(without, "web-port") == []


def test_auto_needs_to_see_the_target_only_where_a_network_is_there(site):
    made, _, _ = restored(site("network: {map: {app-net: lan}}\nfixed_ips: {policy: auto}"))
    assert [(each.field, "--cloud" in each.text) for each in made.problems] == [("fixed_ips", True)]
    built, _, _ = restored(site("fixed_ips: {policy: auto}\nmacs: {policy: auto}"))
    assert built.problems == []
    assert subnets_of(built, "db-port") == [({"get_resource": "subnet_db-v4"}, "10.2.0.5")]


def test_two_networks_in_one_do_not_share_an_address(site, target):
    both = "network: {map: {app-net: lan, db-net: lan}}"
    kept, _, _ = restored(site(both), target)
    assert kept.problems == []
    network = shop()
    network.metadata["port_metadata"]["db-port"]["mac_address"] = WEB_MAC
    for wish, problems in (("keep", 1), ("auto", 0)):
        sites = Sites(site(both), FakeTarget(target.connect()))
        parameters = {nodes.NETWORK: {"fixed_ips": "auto", "macs": wish}}
        selection = FakeSelection(
            [NetworkPlugin(), ServerPlugin()], [network, *SERVERS], None, parameters, None, sites
        )
        _, report = selection.prepare(network.key)
        assert len(report.problems) == problems
        assert all("that of another port of the restore" in each.text for each in report.problems)


# What the target says


def checked(work, cloud):
    report = FakeReport(PROJECT_ID)
    resource = FakeSelection([NetworkPlugin()], [shop()]).resource(shop().key)
    NetworkPlugin().check(resource, work, FakeTarget(cloud.connect()), report)
    return [(each.field, each.text) for each in report.problems]


def test_what_is_kept_must_fit_and_be_free(site, target):
    target.networks["public"] = {"id": "public", "name": "public", "router:external": True}
    use(target, "10.1.0.5", WEB_MAC)
    _, _, work = restored(site("network: {map: {app-net: lan}}"))
    told = checked(work, target)
    assert [field for field, _ in told] == ["port_metadata.web-port"] * 3
    assert told[0][1].startswith("10.1.0.5 is in use by port theirs on the target: if that is lost, ")
    assert told[1][1].startswith(f"{WEB_MAC} is in use by port theirs on the target")
    assert told[2][1] == (
        "2001:db8::5 is in no subnet of network lan on the target (10.1.0.0/22, 10.9.0.0/16, 2001:db8:9::/64): set "
        "fixed_ips to auto or new"
    )


def test_a_pinned_subnet_must_be_one_of_the_network_and_hold_the_address(site, target):
    target.networks["public"] = {"id": "public", "name": "public", "router:external": True}
    _, _, work = restored(site("network: {map: {app-net: lan}}\nsubnet: {map: {app-v4: other, app-v6: far}}"))
    target.subnets["far"] = {"id": "far", "name": "far", "network_id": "far-net", "cidr": "2001:db8::/64"}
    told = [text for field, text in checked(work, target) if field == "port_metadata.web-port"]
    assert told[0].startswith("10.1.0.5 is in no subnet of network lan on the target (10.9.0.0/16): ")
    assert told[1].startswith("subnet far is none of network lan on the target: correct ")


def test_a_mapped_network_that_is_not_there_is_told_with_its_rule(site, target):
    target.networks["public"] = {"id": "public", "name": "public", "router:external": True}
    _, _, work = restored(site("network: {map: {app-net: wan}}"))
    [(field, text)] = checked(work, target)
    assert field == "networks"
    assert text.startswith("the target has no network 'wan': name another one (")
    assert "site.yaml:1 network.map.app-net" in text


# Floating IPs


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("network: {map: {public: out}}", None),
        ("network: {map: {public: out}}\nfloating_ips: {policy: new}", "a new one of out"),
        ("floating_ips: {policy: new}", "a new one of public"),
    ],
)
def test_a_new_floating_ip_comes_from_the_network_in_the_external_one_s_place(site, text, after):
    selection, _ = selected(site(text))
    rendering = render(selection)
    external = yaml.safe_load(rendering.hot.text)["resources"]["floating_ip_floatingip_203.0.113.7"]["properties"]
    assert external["floating_network"] == (after or "out").split()[-1]
    server_1 = ("OS::Nova::Server", "web-1", "floating_ips")
    assert changed(selection.changes).get(server_1) == (after and ("203.0.113.7", after))


def test_floating_ips_are_skipped_or_used_again_by_policy(site):
    selection, _ = selected(site("floating_ips: {policy: skip}"))
    assert "floating" not in render(selection).hot.text
    assert changed(selection.changes) == {("OS::Nova::Server", "web-1", "floating_ips"): ("203.0.113.7", None)}
    selection, _ = selected(site("floating_ips: {policy: existing}"))
    assert "floating_ip_association" in render(selection).hot.text
    assert selection.changes == ()


def test_a_parameter_goes_before_the_policy(site):
    selection, _ = selected(site("floating_ips: {policy: new}"), floating_ips="skip")
    assert "floating" not in render(selection).hot.text
    assert selection.changes == ()


def test_a_group_that_only_the_target_has_may_be_called_otherwise_there(site):
    bare = server("bare", ["far"], security_groups=[{"name": "ops"}])
    selection, _ = selected(
        site("security_group: {map: {ops: operators}}\nnetwork: {map: {far: near}}"), servers=[bare]
    )
    properties = yaml.safe_load(render(selection).hot.text)["resources"]["server_bare"]["properties"]
    assert properties["security_groups"] == ["operators"]
    assert properties["networks"] == [{"network": "near"}]


def test_the_kind_of_a_segment_is_told_only_where_the_bank_has_it():
    plain, _, _ = restored()
    assert [each for each in plain.findings if "provider" in each.field] == []
    network = shop()
    network.metadata["network_metadata"]["app"] |= {"provider:network_type": "vlan", "provider:segmentation_id": 7}
    selection = FakeSelection([NetworkPlugin()], [network])
    _, report = selection.prepare(network.key)
    [text] = [each.text for each in report.findings if each.field == "network_metadata.provider:network_type"]
    assert text.startswith("it was vlan: only admins may choose it")


# Given beside the file


@pytest.fixture
def bank(tmp_path):
    made = BankCheckpoint(nodes=(nodes.image("picture"), shop(), *SERVERS))
    banks.write(made, tmp_path / "bank")
    return tmp_path / "bank"


def test_a_network_that_is_given_goes_before_the_site_map(bank, tmp_path):
    file = tmp_path / "site.yaml"
    file.write_text("network: {map: {app-net: nowhere, db-net: lan2}}")
    planned = restore.plan("latest", bank=bank, site_map=file, networks={"app-net": "lan"})
    assert planned.problems == ()
    assert {each.id: (each.after, each.rule.removeprefix(str(file))) for each in planned.plan.changes} == {
        "app": ("lan", "--network"),
        "db": ("lan2", ":1 network.map.db-net"),
    }


def test_a_network_that_nothing_is_in_is_refused(bank):
    with pytest.raises(
        SiteMapError, match=r"^--network wan: no such network is in what is restored, only app, app-net, "
    ):
        restore.plan("latest", bank=bank, networks={"wan": "lan", "app": "lan"})

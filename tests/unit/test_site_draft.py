"""The first draft of a site map: guesses, open questions, and that it is always a site map."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_worker.changes import Question
from restore_worker.checkpoint import Checkpoint, ProtectionPlan
from restore_worker.resource import Resource, ResourceKey
from restore_worker.site_draft import Asked, draft
from restore_worker.site_guesses import Guesses
from restore_worker.site_rules import Subject
from restore_worker.sitemap import SiteMap, read
from tests.support.fakes import FakeTarget

SERVER, VOLUME = "OS::Nova::Server", "OS::Cinder::Volume"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPnH0sHxkYxG7hZ2bXb0jS8kqkq0mX9XrQ8n4V1S0n4T ops"
OLD, NEW = "a" * 32, "b" * 32


def thing(name: str, thing_id: str | None = None, **more: Any) -> SimpleNamespace:
    return SimpleNamespace(name=name, id=thing_id or f"id-of-{name}", **more)


def flavor(name: str, vcpus: int, ram: int, disk: int, thing_id: str | None = None) -> SimpleNamespace:
    return thing(name, thing_id, vcpus=vcpus, ram=ram, disk=disk, is_disabled=False)


def zone(name: str) -> SimpleNamespace:
    return thing(name, state={"available": True})


def cloud(**things: list[SimpleNamespace]) -> FakeTarget:
    """Return a cloud of what its services list; zones are those of Nova and Cinder alike."""

    def service(*names: str) -> SimpleNamespace:
        return SimpleNamespace(**{name: lambda name=name, **_: iter(things.get(name, ())) for name in names})

    return FakeTarget(
        SimpleNamespace(
            current_project_id=NEW,
            compute=service("flavors", "keypairs", "server_groups", "availability_zones"),
            image=service("images"),
            network=service("networks", "subnets", "security_groups"),
            block_storage=service("types", "availability_zones"),
        )
    )


def asked(kind: Any, value: str, name: str = "web-1", resource_type: str = SERVER, **properties: Any) -> Question:
    return Question(
        kind, Subject(Resource(ResourceKey(resource_type, f"id-of-{name}"), name), (value,), properties)
    )


def checkpoint(project: str) -> Checkpoint:
    plan = ProtectionPlan(id="plan-1", name="nightly\x1b")
    return Checkpoint("c-1", "available", plan, project, "", datetime.now(UTC), {}, None)


@pytest.fixture
def drafted(tmp_path):
    """Give a function that drafts a site map, and returns its text and what our parser makes of it."""

    def call(questions, target=None, source=None, project=NEW, backups=()) -> tuple[str, SiteMap]:
        asked_for = Asked(questions, dict(backups))
        text = draft(checkpoint(project), "target", NEW, asked_for, Guesses(target or cloud(), source))
        (tmp_path / "site.yaml").write_text(text)
        return text, read(tmp_path / "site.yaml")

    return call


def commented(text: str, start: str) -> str:
    """Return the one line that is a comment and begins so."""
    (line,) = [each for each in text.splitlines() if each.strip().startswith(f"# {start}")]
    return line


TARGET = cloud(
    flavors=[flavor("m1.small", 1, 2048, 20), flavor("c2.large", 4, 8192, 80), flavor("c2.huge", 16, 65536, 80)],
    networks=[
        thing("public", is_router_external=True),
        thing("corp", is_router_external=False),
        thing("lab", is_router_external=False),
    ],
    keypairs=[thing("ops", "ops")],
    types=[thing("fast"), thing("slow")],
    images=[thing("debian-13", "image-1")],
    availability_zones=[zone("az1"), zone("az2")],
)
SOURCE = cloud(
    flavors=[
        flavor("m1.small", 1, 2048, 20, "1"),
        flavor("m1.large", 2, 8192, 80, "4"),
        flavor("x", 99, 1, 1, "9"),
    ],
    networks=[
        thing("internet", "net-1", is_router_external=True),
        thing("corp", "net-2", is_router_external=False),
        thing("old", "net-3", is_router_external=False),
    ],
    keypairs=[
        thing("mine", "mine", public_key=KEY),
        thing("odd", "odd", public_key="-----BEGIN CERTIFICATE-----"),
    ],
    images=[],
)


def test_what_is_there_by_id_or_name_is_taken(drafted):
    questions = [asked("key_pair", "ops"), asked("volume_type", "fast", "db"), asked("image", "image-1")]
    text, site_map = drafted([*questions, asked("network", "net-2")], TARGET, SOURCE)
    assert site_map.key_pair.map == {"ops": "ops"}
    assert site_map.volume_type.map == {"fast": "fast"}
    assert site_map.image.map == {"image-1": "image-1"}
    assert site_map.network.map == {"net-2": "corp"}
    assert "?" not in "".join(line for line in text.splitlines()[5:] if line.startswith("  "))


def test_flavors_are_the_same_the_nearest_or_a_question(drafted):
    questions = [
        asked("flavor", "1"),
        asked("flavor", "4", "db-1"),
        asked("flavor", "4", "db-2"),
        asked("flavor", "9"),
    ]
    text, site_map = drafted(questions, TARGET, SOURCE)
    assert site_map.flavor.map == {"1": "m1.small", "4": "c2.large"}
    assert site_map.policy("flavor") == "fail"
    assert '"4": "c2.large"  # db-1, db-2: the nearest: had 2 vCPUs, 8192 MiB, 80 GiB; has 4, 8192, 80' in text
    assert "c2.huge, c2.large, m1.small" in commented(text, '"9": "?"')
    assert site_map.source.flavors["4"].name == "m1.large"
    text, site_map = drafted(questions, TARGET)
    assert (site_map.flavor.map, site_map.source.flavors) == ({}, {})
    assert commented(text, '"4": {vcpus: ?, ram: ?, disk: ?}')


def test_records_of_backups_are_entries_or_questions(drafted):
    text, site_map = drafted(
        [asked("flavor", "1")], TARGET, SOURCE, backups={"backup-1": "cmVjb3Jk", "backup-2": None}
    )
    assert site_map.source.backups == {"backup-1": "cmVjb3Jk"}
    assert set(site_map.source.flavors) == {"1"}
    question = commented(text, '"backup-2": "?"')
    assert question.endswith("the target lacks it: `openstack volume backup record export backup-2` on its cloud")
    text, site_map = drafted([], TARGET, backups={"backup-2": None})
    assert site_map.source.backups == {}
    assert commented(text, '"backup-2": "?"')


def test_a_question_that_is_answered_where_it_stands_is_an_entry(drafted, tmp_path):
    text, _ = drafted([asked("flavor", "1"), asked("flavor", "9")], TARGET, SOURCE)
    answered = text.replace('# "9": "?"', '"9": "mine"')
    (tmp_path / "site.yaml").write_text(answered)
    assert read(tmp_path / "site.yaml").flavor.map == {"1": "m1.small", "9": "mine"}


def test_the_only_external_network_takes_the_place_of_one(drafted):
    external = {"router:external": True}
    questions = [
        asked("network", "net-1"),
        asked("network", "net-3"),
        asked("network", "net-9", "r", SERVER, **external),
    ]
    text, site_map = drafted(questions, TARGET, SOURCE)
    assert site_map.network.map == {"net-1": "public", "net-9": "public"}
    assert "the target has corp, lab, public" in commented(text, '"net-3": "?"')


def test_what_is_built_anew_is_no_question_of_the_target(drafted):
    parts = [asked("network", "net-7", "corp", "OS::Neutron::Net", **{"router:external": False})]
    parts.append(asked("security_group", "default", "default", "OS::Neutron::SecurityGroup", stateful=True))
    text, site_map = drafted(parts, cloud(networks=[thing("corp")], security_groups=[thing("default")]))
    assert (site_map.network.map, site_map.security_group.map) == ({}, {})
    assert "built anew, unless" in commented(text, '"net-7": "?"')
    assert "built anew, unless" in commented(text, '"default": "?"')


def test_a_key_pair_that_the_target_lacks_is_created_of_the_sources(drafted):
    text, site_map = drafted([asked("key_pair", "mine"), asked("key_pair", "odd")], TARGET, SOURCE)
    assert (site_map.policy("key_pair"), site_map.key_pair.public_keys) == ("create", {"mine": KEY})
    assert "the target has ops" in commented(text, '"odd": "?"')
    assert drafted([asked("key_pair", "mine")], TARGET)[1].policy("key_pair") == "map"


def test_zones_are_those_of_the_service_that_looks_for_them(drafted):
    text, site_map = drafted(
        [asked("zone", "az1"), asked("zone", "az9"), asked("zone", "az1", "v", VOLUME)], TARGET
    )
    assert (site_map.zone.map, site_map.policy("zone")) == ({"az1": "az1"}, "default")
    assert "az1, az2" in commented(text, '"az9": "?"')
    text, site_map = drafted([asked("zone", "nova")], cloud(availability_zones=[zone("nova")]))
    assert site_map.zone.map == {}
    assert "the target's only zone" in commented(text, '"nova": "?"')


def test_another_project_is_a_question(drafted):
    text, site_map = drafted([], project=OLD)
    assert site_map.project.map == {}
    assert commented(text, "project: ") == f'# project: {{map: {{"{OLD}": "{NEW}"}}}}'
    assert "project:" not in drafted([])[0]


def test_many_resources_are_counted_and_names_are_not_asked_for(drafted):
    questions = [asked("flavor", "1", f"web-{n}") for n in range(5)] + [asked("name", "web-1")]
    text, site_map = drafted(questions, TARGET, SOURCE)
    assert "# web-0, web-1, web-2 and 2 more: the target has it" in text
    assert site_map.name.map == {}


KINDS = st.sampled_from(
    ["flavor", "zone", "network", "subnet", "image", "key_pair", "security_group", "volume_type"]
)
TEXTS = st.text(min_size=1, max_size=300)


@given(st.lists(st.tuples(KINDS, TEXTS, TEXTS)), st.lists(TEXTS, max_size=3), st.booleans())
def test_whatever_is_asked_the_draft_is_a_site_map(tmp_path_factory, questions, names, has_source):
    def everything(state: Any) -> FakeTarget:
        there = [
            thing(
                name,
                vcpus=1,
                ram=1,
                disk=1,
                is_disabled=False,
                is_router_external=True,
                public_key=KEY,
                state=state,
            )
            for name in names
        ]
        lists = ("flavors", "keypairs", "networks", "subnets", "security_groups", "images", "types")
        return cloud(**dict.fromkeys((*lists, "server_groups", "availability_zones"), there))

    both = everything({"available": True})
    made = [asked(kind, value, name) for kind, value, name in questions]
    text = draft(
        checkpoint(OLD),
        "cloud",
        NEW,
        Asked(made, dict.fromkeys(names)),
        Guesses(both, both if has_source else None),
    )
    file = tmp_path_factory.getbasetemp() / "drafted.yaml"
    file.write_text(text)
    site_map = read(file)
    for question in made:
        (value,) = question.subject.values
        if len(value) <= 255 and value in names and question.kind != "zone" and names.count(value) == 1:
            assert site_map.speak(question.kind, question.subject).value == value

"""What exists on the target because of a restore, joined from what the ledger knows."""

from __future__ import annotations

import json

import pytest

from restore_worker.belongings import Belonging, belongings, titles
from restore_worker.cli.wording import owned
from restore_worker.entries import Built, StackLog
from restore_worker.states import RestoreState
from restore_worker.template import HeatParameter, HeatResource
from tests.support.ledger_twin import LedgerTwin
from tests.support.restores import begin, claim

SERVER, IMAGE, FLOATING = "OS::Nova::Server", "OS::Glance::Image", "OS::Neutron::FloatingIP"
DONE, BUSY = "CREATE_COMPLETE", "CREATE_IN_PROGRESS"
FRAGMENTS = {
    "server-1": HeatResource(SERVER, {}, title="web-1", tells=("networks",)),
    "floatingip:203.0.113.7": HeatResource(FLOATING, {}, title="of web-1", tells=("floating_ip_address",)),
    "attachment:1": HeatResource("OS::Cinder::VolumeAttachment", {}, output=False),
}
OUTPUTS = {
    "server-1": '"new-server"',
    "server-1.networks": json.dumps({"net": ["10.0.0.5", "fd00::5"], "net-id": ["10.0.0.5", "fd00::5"]}),
    "floatingip:203.0.113.7.floating_ip_address": '"198.51.100.2"',
}


class World:
    """A ledger with a restore of two resources: the first builds directly, the second is Heat's."""

    def __init__(self) -> None:
        self.ledger = LedgerTwin(lambda: 1_800_000_000.0)
        self.id = begin(self.ledger, ((), ()))

    def make(self, key: str, physical_id: str) -> None:
        claim(self.ledger, self.id, 0)
        self.ledger.note_made(self.id, 0, "t", key, physical_id)

    def settle(self, index: int, fragments) -> None:
        claim(self.ledger, self.id, index)
        self.ledger.settle(self.id, index, "t", "done", fragments=fragments)

    def create(self, *built: Built, status: str = BUSY) -> None:
        for old, new in (("restoring", "assembling"), ("assembling", "creating")):
            assert self.ledger.move(self.id, RestoreState(old), RestoreState(new))
        stacks, state = self.ledger.stacks, RestoreState.CREATING
        stacks.begin(self.id, state, "", keep=True)
        stacks.asked(self.id, state, "stack-id")
        assert stacks.observe(
            self.id, state, StackLog("stack-id", status, "as Heat says", "e1"), [], built, seen_before=""
        )

    @property
    def belongings(self) -> list[Belonging]:
        return belongings(self.ledger, self.id)


@pytest.fixture
def world():
    return World()


@pytest.fixture
def at_heat(world):
    """Give a restore whose image is built, and whose stack is to come."""
    world.make("image", "new-image")
    world.settle(0, {"id-0": HeatParameter("new-image", IMAGE)})
    world.settle(1, FRAGMENTS)
    return world


def test_there_is_nothing_before_anything_was_made(world):
    assert world.belongings == []


def test_what_is_under_way_stands_for_nothing_yet(world):
    world.make("volume", "new-volume")
    (found,) = world.belongings
    assert (found.type, found.id, found.original_id) == ("volume for Type::0", "new-volume", "")


def test_what_was_made_on_the_way_stands_for_nothing(world):
    world.make("image", "temporary")
    world.make("volume", "new-volume")
    world.settle(0, {"id-0": HeatParameter("new-volume", "OS::Cinder::Volume")})
    assert {each.id: each.original_id for each in world.belongings} == {"temporary": "", "new-volume": "id-0"}


def test_all_of_a_stack_is_told_with_the_id_that_it_stands_for_and_its_addresses(at_heat):
    at_heat.create(
        Built("server_server-1", SERVER, DONE, "", "new-server"),
        Built("floating_ip_floatingip_203.0.113.7", FLOATING, DONE, "", "new-floating"),
        Built("volume_attachment_attachment_1", "OS::Cinder::VolumeAttachment", DONE, "", "new-attachment"),
        status=DONE,
    )
    at_heat.ledger.stacks.finish(at_heat.id, RestoreState.CREATING, OUTPUTS)
    stack, *others = at_heat.belongings
    assert stack == Belonging("OS::Heat::Stack", f"restore-{at_heat.id}", "", "stack-id", DONE)
    assert {each.id: (each.title, each.original_id, each.addresses) for each in others} == {
        "new-server": ("web-1", "server-1", ("10.0.0.5", "fd00::5")),
        "new-floating": ("of web-1", "floatingip:203.0.113.7", ("198.51.100.2",)),
        "new-attachment": ("", "", ()),
        "new-image": ("näme 0", "id-0", ()),
    }


def test_people_are_shown_what_is_under_way_but_no_links():
    stack = Belonging("OS::Heat::Stack", "restore-1", "", "stack-id", BUSY)
    link = Belonging("OS::Cinder::VolumeAttachment", "", "", "new-attachment", DONE)
    unfinished = Belonging(f"image for {IMAGE}", "ubuntu", "", "new-image", "")
    shown = owned([stack, link, unfinished])
    assert [line.split()[0] for line in shown.human_readable().splitlines()] == [stack.type, "image"]
    assert [each["id"] for each in shown.machine_readable()] == [stack.id, link.id, unfinished.id]


def test_what_has_no_id_or_is_deleted_does_not_exist(at_heat):
    at_heat.create(
        Built("server_server-1", SERVER, BUSY, "", ""),
        Built("floating_ip_floatingip_203.0.113.7", FLOATING, "DELETE_COMPLETE", "", "old-floating"),
    )
    assert [each.id for each in at_heat.belongings] == ["stack-id", "new-image"]


def test_what_failed_is_told_with_its_reason(at_heat):
    at_heat.create(
        Built("server_server-1", SERVER, "CREATE_FAILED", "no host", "new-server"),
        Built("floating_ip_floatingip_203.0.113.7", FLOATING, DONE, "state changed", "new-floating"),
        status="CREATE_FAILED",
    )
    told = {each.id: each.reason for each in at_heat.belongings}
    assert told == {"stack-id": "as Heat says", "new-server": "no host", "new-floating": "", "new-image": ""}


def test_people_call_resources_by_type_and_name(at_heat):
    assert titles(at_heat.ledger, at_heat.id) == {
        "server_server-1": f"{SERVER} web-1",
        "floating_ip_floatingip_203.0.113.7": f"{FLOATING} of web-1",
        "volume_attachment_attachment_1": "OS::Cinder::VolumeAttachment attachment:1",
        "p_image_id-0": f"{IMAGE} id-0",
    }


def test_what_was_done_to_a_thing_is_no_other_thing() -> None:
    world = World()
    world.make("stack", "stack-1")
    world.make("whole stack", "stack-1")
    world.make("contents of data", "volume-1")
    world.settle(0, {"id-0": HeatParameter("stack-1", "OS::Heat::Stack", title="theirs")})
    told = [(each.original_id, each.id) for each in world.belongings]
    assert sorted(told) == [("", "volume-1"), ("id-0", "stack-1")]

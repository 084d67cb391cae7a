"""What one round of the poller asks of Heat, and how it ends what comes to no end; twins of ledger and Heat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import SimpleNamespace

import pytest

from restore_worker import poller
from restore_worker.entries import Built, stack_name
from restore_worker.errors import CloudUnavailableError, OtherCloudError
from restore_worker.stack import Stack, StackEvent
from restore_worker.states import RestoreState
from tests.support.ledger_twin import LedgerTwin
from tests.support.restores import bring

MINUTES = 10
IN_PROGRESS = "CREATE_IN_PROGRESS"


@dataclass
class Site:
    """Heat of one cloud, and what it was asked."""

    asked: Counter[str] = field(default_factory=Counter)
    away: bool = False
    stacks: dict[str, Stack] = field(default_factory=dict)
    happened: list[StackEvent] = field(default_factory=list)
    built: list[Built] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def ours(self, names: Sequence[str]) -> dict[str, Stack]:
        self.asked["stacks"] += 1
        self.names = sorted(names)
        if self.away:
            raise CloudUnavailableError("Heat does not answer")
        return {name: each for name, each in self.stacks.items() if name in names}

    def events(self, _stack_id: str, after: str = "") -> list[StackEvent]:
        self.asked["events"] += 1
        known = [number for number, each in enumerate(self.happened, 1) if each.id == after]
        return self.happened[known[0] if known else 0 :]

    def resources(self, _stack_id: str) -> list[Built]:
        self.asked["resources"] += 1
        return self.built

    def outputs(self, _stack_id: str) -> dict[str, str]:
        self.asked["outputs"] += 1
        return {}

    def cancel(self, _stack_id: str) -> None:
        self.asked["cancel"] += 1

    def fail(self, *reasons: str) -> None:
        """Let every stack fail because of resources with these reasons."""
        self.built = [
            Built(f"r{number}", "OS::Heat::None", "CREATE_FAILED", reason, "")
            for number, reason in enumerate(reasons)
        ]
        self.happened.append(StackEvent(f"event-{len(self.happened)}", "r0", "CREATE_FAILED", ""))
        self.stacks = {name: replace(each, status="CREATE_FAILED") for name, each in self.stacks.items()}


class World:
    """Clouds by name, a ledger, and a clock."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.ledger = LedgerTwin(lambda: self.now)
        self.sites = {"target": Site()}

    def creating(self) -> str:
        """Return the id of a restore for whose stack Heat was asked."""
        restore_id = bring(self.ledger, RestoreState.CREATING)
        stack = Stack(f"stack of {restore_id}", stack_name(restore_id), IN_PROGRESS, "", "t")
        self.sites["target"].stacks[stack.name] = stack
        self.ledger.stacks.begin(restore_id, RestoreState.CREATING, "", keep=True)
        self.ledger.stacks.asked(restore_id, RestoreState.CREATING, stack.id)
        return restore_id

    def compare(self, name: str, identity: str) -> None:
        """Do as `same_cloud`, for which a restore of another identity means another cloud."""
        if identity == "another":
            raise OtherCloudError(f"cloud {name} is not {identity}")

    def change(self, restore_id: str, *, cloud: str = "target", identity: str = "the one") -> None:
        """Let a restore be for another cloud."""
        restore = self.ledger._restores[restore_id]
        restore.new, restore.identity = replace(restore.new, cloud=cloud), identity

    def round(self) -> Counter[str]:
        """Poll once; return what the cloud was asked."""
        asked = self.sites["target"].asked
        asked.clear()
        assert list(poller.poll(self.ledger, MINUTES)) == []
        return Counter(asked)

    def ended(self, restore_id: str) -> tuple[RestoreState, str]:
        record = self.ledger.get(restore_id)
        return record.state, record.reason


@pytest.fixture
def world(monkeypatch):
    made = World()
    monkeypatch.setattr(poller, "Heat", made.sites.__getitem__)
    monkeypatch.setattr(poller, "same_cloud", made.compare)
    clock = SimpleNamespace(now=lambda zone: datetime.fromtimestamp(made.now, zone))
    monkeypatch.setattr(poller, "datetime", clock)
    return made


def test_all_stacks_of_a_cloud_cost_one_list_and_resources_are_asked_of_those_that_moved(world):
    site = world.sites["target"]
    for _ in range(30):
        world.creating()
    first = world.round()
    assert (first["stacks"], first["events"]) == (1, 30)
    assert world.round() == {"stacks": 1, "events": 30}
    site.happened.append(StackEvent("event-1", "server", IN_PROGRESS, ""))
    site.built = [Built("server", "OS::Nova::Server", IN_PROGRESS, "", "physical")]
    assert world.round() == {"stacks": 1, "events": 30, "resources": 30}
    assert world.round() == {"stacks": 1, "events": 30}


def test_nothing_is_asked_of_stacks_that_are_done(world):
    site = world.sites["target"]
    done = [world.creating() for _ in range(30)]
    site.stacks = {name: replace(each, status="CREATE_COMPLETE") for name, each in site.stacks.items()}
    world.round()
    assert {world.ended(each)[0] for each in done} == {RestoreState.COMPLETE}
    assert world.round() == {}
    restore_id = world.creating()
    asked = world.round()
    assert (asked["stacks"], asked["events"]) == (1, 1)
    assert site.names == [stack_name(restore_id)]


def test_a_resource_whose_id_is_not_known_yet_is_asked_for_again(world):
    site, restore_id = world.sites["target"], world.creating()
    site.happened.append(StackEvent("event-1", "server", IN_PROGRESS, ""))
    site.built = [Built("server", "OS::Nova::Server", IN_PROGRESS, "", "")]
    world.round()
    site.built = [site.built[0]._replace(physical_id="physical")]
    world.round()
    assert [each.physical_id for each in world.ledger.stacks.built(restore_id)] == ["physical"]


def test_a_stack_that_takes_too_long_is_stopped_and_has_failed(world):
    restore_id = world.creating()
    world.now += MINUTES * 60
    assert world.round()["cancel"] == 0
    world.now += 6 * 60
    assert world.round()["cancel"] == 1
    expected = f"Heat was not done with stack {stack_name(restore_id)} after 0:15:00"
    assert world.ended(restore_id) == (RestoreState.FAILED, expected)


def test_what_heat_has_begun_is_seen_to_its_end_though_the_restore_has_failed(world):
    site, restore_id = world.sites["target"], world.creating()
    server = Built("server", "OS::Nova::Server", IN_PROGRESS, "", "")
    site.happened.append(StackEvent("event-1", "server", IN_PROGRESS, ""))
    site.built = [server]
    world.now += MINUTES * 60 + 301
    world.round()
    assert world.ended(restore_id)[0] is RestoreState.FAILED
    # The stack is cancelled; the server is still being made.
    site.stacks = {name: replace(each, status="CREATE_FAILED") for name, each in site.stacks.items()}
    world.round()
    site.happened.append(StackEvent("event-2", "server", "CREATE_COMPLETE", ""))
    site.built = [server._replace(status="CREATE_COMPLETE", physical_id="physical")]
    world.round()
    assert world.ledger.stacks.built(restore_id) == site.built
    assert world.ledger.stacks.get(restore_id).status == "CREATE_FAILED"
    assert world.round() == {}


def test_what_heat_goes_on_with_after_it_was_away_is_stopped(world):
    site, restore_id = world.sites["target"], world.creating()
    site.away = True
    world.now += MINUTES * 60 + 301
    world.round()
    assert world.ended(restore_id)[0] is RestoreState.FAILED
    site.away = False
    assert world.round()["cancel"] == 1
    # Nobody asks for ever.
    site.away = True
    world.now += MINUTES * 60 + 301
    world.round()
    assert world.round() == {}


def test_a_stack_that_comes_to_no_end_is_given_up_some_day(world):
    site = world.sites["target"]
    world.creating()
    site.happened.append(StackEvent("event-1", "server", IN_PROGRESS, ""))
    site.built = [Built("server", "OS::Nova::Server", IN_PROGRESS, "", "physical")]
    world.now += MINUTES * 60 + 301
    world.round()
    site.stacks = {name: replace(each, status="CREATE_FAILED") for name, each in site.stacks.items()}
    world.now += 14 * 60
    assert world.round()["events"] == 1
    world.now += 2 * 60
    assert world.round()["events"] == 1
    assert world.round() == {}


def test_heat_is_waited_for_as_long_as_a_stack_may_take(world):
    site, restore_id = world.sites["target"], world.creating()
    site.away = True
    world.round()
    assert world.ended(restore_id)[0] is RestoreState.CREATING
    world.now += (MINUTES + 6) * 60
    world.round()
    expected = "given up after 0:15:00: Heat does not answer"
    assert world.ended(restore_id) == (RestoreState.FAILED, expected)


def test_causes_are_told_before_consequences_and_the_rest_is_counted(world):
    site, restore_id = world.sites["target"], world.creating()
    site.fail("creation aborted", *["quota\nexceeded"] * 5)
    world.round()
    state, reason = world.ended(restore_id)
    told = [f"OS::Heat::None (r{number}): quota exceeded" for number in range(1, 6)]
    assert (state, reason) == (RestoreState.FAILED, "; ".join(told) + " (and 1 more)")


def test_a_stack_that_is_cancelled_may_be_on_its_way_to_be_deleted(world):
    site, restore_id = world.sites["target"], world.creating()
    site.fail()
    site.stacks = {name: replace(each, reason="Stack CREATE cancelled") for name, each in site.stacks.items()}
    world.round()
    assert world.ended(restore_id)[0] is RestoreState.CREATING
    world.round()
    assert world.ended(restore_id) == (RestoreState.FAILED, "Stack CREATE cancelled")


def test_a_token_that_ended_is_told_with_the_setting_that_mends_it(world):
    site, restore_id = world.sites["target"], world.creating()
    site.fail("Unauthorized: expired (HTTP 401)")
    world.round()
    assert "reauthentication_auth_method = trusts in heat.conf" in world.ended(restore_id)[1]


def test_a_cloud_that_is_away_keeps_no_other_one_waiting(world):
    here, there = world.creating(), world.creating()
    world.sites["elsewhere"] = Site(away=True)
    world.change(there, cloud="elsewhere")
    site = world.sites["target"]
    site.fail("quota exceeded")
    world.round()
    assert world.ended(here)[0] is RestoreState.FAILED
    assert world.ended(there)[0] is RestoreState.CREATING


def test_a_project_that_no_restore_means_is_asked_nothing(world):
    restore_id = world.creating()
    world.change(restore_id, identity="another")
    assert world.round() == {}
    (told,) = (each for each in world.ledger.events(restore_id) if each.name == "waiting")
    assert told.details["reason"] == "cloud target is not another"


def test_restores_of_one_name_that_mean_another_cloud_keep_the_rest_not_waiting(world):
    here, there = world.creating(), world.creating()
    world.change(there, identity="another")
    world.sites["target"].fail("quota exceeded")
    assert world.round()["stacks"] == 1
    assert [world.ended(each)[0] for each in (here, there)] == [RestoreState.FAILED, RestoreState.CREATING]

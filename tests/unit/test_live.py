"""A restore on one screen, at the sizes of terminals: held against the pictures in `screens`."""

import dataclasses
import random
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from restore_worker.cli.live import Picture
from restore_worker.cli.tracking import Tracking
from restore_worker.entries import Event, Node, RestoreRecord
from restore_worker.states import RestoreState

SCREENS = Path(__file__).with_name("screens")
BEGUN = datetime(2026, 11, 1, 10, tzinfo=UTC)
KINDS = ("OS::Neutron::Network", "OS::Glance::Image", "OS::Cinder::Volume", "OS::Nova::Server")


class Story:
    """A restore of which a test tells what happened."""

    def __init__(self, size):
        chance = random.Random(1)
        kinds = [KINDS[0], *(chance.choice(KINDS[1:]) for _ in range(size - 2)), "OS::Keystone::Project"]
        self.nodes = [Node(i, kind, f"id-{i}", f"name-{i}", "restore") for i, kind in enumerate(kinds)]
        children = {
            i: [0, *(j for j in range(max(1, i - 3), i) if kinds[j] != KINDS[3])]
            for i, kind in enumerate(kinds)
            if kind == KINDS[3]
        }
        children[size - 1] = list(range(size - 1))
        self.tracking = Tracking(self.nodes, children)
        fields = dict.fromkeys((each.name for each in dataclasses.fields(RestoreRecord)), "")
        fields |= {"id": "5f0c4a9e-1b5c-4a52-9d9c-2b8a1d3c0a11", "plan": "webapp-nightly", "cloud": "target"}
        record = RestoreRecord(**fields | {"created": BEGUN, "state": RestoreState.PENDING})
        self.seconds = 0.0
        self.picture = Picture(record, self.tracking, lambda: BEGUN + timedelta(seconds=self.seconds))
        for name in ("pending", "checking", "restoring"):
            self.tell(0.5, name)

    def tell(self, after, name, index=None, /, **details):
        self.seconds += after
        moment = BEGUN + timedelta(seconds=self.seconds)
        self.tracking.take(Event(f"{self.seconds}", moment, name, index, details))

    def go_on(self, most):
        """Restore the first resources: some wait, some fail, one is tried again."""
        for index in range(most):
            self.tell(0.1, "running", index, attempt="2" if index == 6 else "1", worker="restore@vm")
            if index % 7 == 3:
                self.tell(0.1, "waiting", index, reason="volume 0f19a1aa-... is creating", seconds="3")
            elif index % 11 == 5:
                self.tell(0.3, "failed", index, reason="image 'ubuntu' needs 2048 MiB, flavor 'm1.tiny' has 512")
            elif index % 4:
                self.tell(1.5, "done", index, reason="")
        self.tell(0.1, "done", 0, reason="")

    def draw(self, width, height):
        console = Console(width=width, height=height, color_system=None)
        with console.capture() as drawn:
            console.print(self.picture)
        return "".join(line.rstrip() + "\n" for line in drawn.get().splitlines())


def early(size):
    story = Story(size)
    story.go_on(size * 2 // 3)
    return story


def nobody(size):
    story = Story(size)
    story.seconds += 30
    story.picture.complaints = ["no worker on queue restore", "no beat has run yet"]
    return story


def at_heat(size):
    story = Story(size)
    for index in range(size):
        story.tell(0.1, "running", index, attempt="1", worker="restore@vm")
        story.tell(0.4, "done", index, reason="")
    story.tell(0.1, "assembling")
    story.tell(0.1, "creating")
    story.picture.titles = {f"part_{number}": f"OS::Neutron::Port port-{number}" for number in range(size)}
    for number in range(size):
        story.tell(0.1, "stack", name=f"part_{number}", status="CREATE_IN_PROGRESS", reason="state changed")
        if number % 5 == 4:
            story.tell(0.1, "stack", name=f"part_{number}", status="CREATE_FAILED", reason="No more addresses")
        elif number % 2:
            story.tell(0.1, "stack", name=f"part_{number}", status="CREATE_COMPLETE", reason="state changed")
    return story


def failed(size):
    story = early(size)
    for index in range(size):
        if not story.tracking.resources[index].settled:
            story.tell(0.1, "skipped", index, reason="OS::Glance::Image name-5 failed")
    story.tell(0.1, "assembling")
    story.tell(0.1, "failed", reason="2 of 10 resources were not restored: OS::Glance::Image name-5")
    return story


def complete(size):
    story = at_heat(size)
    for number in range(size):
        story.tell(0.1, "stack", name=f"part_{number}", status="CREATE_COMPLETE", reason="state changed")
    story.tell(0.1, "complete")
    story.seconds += 1000
    return story


STORIES = {
    "early": (early, 10),
    "nobody": (nobody, 10),
    "many": (early, 1000),
    "heat": (at_heat, 10),
    "failed": (failed, 10),
    "complete": (complete, 10),
}


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 60)])
@pytest.mark.parametrize("name", STORIES)
def test_a_screen_is_as_it_was_looked_at(name, width, height):
    tell, size = STORIES[name]
    drawn = tell(size).draw(width, height)
    assert drawn == (SCREENS / f"{name}-{width}.txt").read_text()


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize(("width", "height"), [(20, 5), (40, 12), (80, 24), (132, 43), (200, 60)])
def test_nothing_is_wider_or_higher_than_the_terminal(name, width, height):
    tell, size = STORIES[name]
    lines = tell(size).draw(width, height).splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) < height


def test_what_steers_a_terminal_is_shown_not_done():
    story = Story(5)
    story.tell(0.1, "running", 1, attempt="1", worker="w")
    story.tell(0.1, "failed", 1, reason="\x1b[2J and [bold]markup[/]")
    drawn = story.draw(120, 24)
    assert "\\x1b[2J and [bold]markup[/]" in drawn
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", drawn)


def test_a_transfer_tells_its_bytes_while_it_runs():
    story = Story(8)
    story.tell(0.1, "running", 3, attempt="1", worker="transfer@vm")
    story.tell(5.0, "moved", 3, bytes="734003200")
    assert "734.0 MB" in story.draw(100, 30)
    story.tell(5.0, "done", 3, reason="")
    assert "734.0 MB" not in story.draw(100, 30)

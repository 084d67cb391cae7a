"""Resource graphs as pictures: what is folded, what is left out, and names that would be read as something else."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_worker.diagram import Drawn, diagram, of_graph
from restore_worker.drawing import mermaid, picture
from restore_worker.graph import ResourceGraph
from restore_worker.resource import Resource, ResourceKey
from restore_worker.states import ResourceState
from tests.support.dags import dags

SERVER, VOLUME, PROJECT = "OS::Nova::Server", "OS::Cinder::Volume", "OS::Keystone::Project"
DONE, FAILED = ResourceState.DONE, ResourceState.FAILED
SVG = "{http://www.w3.org/2000/svg}"


def texts(svg):
    return [each.text for each in ET.fromstring(svg).iter(f"{SVG}text")]


def test_a_checkpoint_is_drawn_as_its_graph_says_without_what_follows():
    server, volume, project = (
        Resource(ResourceKey(kind, kind[-3:]), name)
        for kind, name in ((SERVER, "web"), (VOLUME, "data"), (PROJECT, ""))
    )
    graph = ResourceGraph(
        {each.key: each for each in (project, server, volume)},
        {project.key: (server.key, volume.key), server.key: (volume.key,)},
    )
    found = of_graph("the checkpoint", graph)
    assert [(each.title, each.states) for each in found.boxes] == [("data", {}), ("web", {}), ("ect", {})]
    assert found.arrows == [(0, 1), (1, 2)], "that the project needs the volume follows from the server"
    assert not found.restored


@given(dags(most=30))
def test_arrows_lead_wherever_dependencies_do(graph):
    children, size = graph
    found = diagram("any", [Drawn(SERVER, f"{index}") for index in range(size)], children)
    assert len(found.boxes) == size
    assert reached(found.arrows) == reached(
        [(child, parent) for parent, below in children.items() for child in below]
    )
    assert all(
        reached([each for each in found.arrows if each != arrow]) != reached(found.arrows)
        for arrow in found.arrows
    ), "none can be left out"


def reached(arrows):
    """Return all pairs between which a way leads."""
    pairs = set(arrows)
    while more := {(a, d) for a, b in pairs for c, d in arrows if b == c} - pairs:
        pairs |= more
    return pairs


def thousand():
    kinds = [VOLUME, SERVER] * 500
    drawn = [
        Drawn(kind, f"name-{index}", FAILED if index in {300, 301} else DONE, index in {0, 1})
        for index, kind in enumerate(kinds)
    ]
    drawn.append(Drawn(PROJECT, "all", ResourceState.SKIPPED))
    children = {index: [index - 1] for index in range(1, 1000, 2)} | {1000: list(range(1000))}
    return diagram("a thousand", drawn, children)


def test_of_a_thousand_those_of_a_type_are_one_box_but_for_what_failed_and_what_all_waited_for():
    found = thousand()
    assert [(each.title, each.size) for each in found.boxes] == [
        *(("name-0", 1), ("name-1", 1), ("name-300", 1), ("name-301", 1)),
        *(("498 more resources", 498), ("498 more resources", 498), ("all", 1)),
    ]
    assert found.boxes[4].states == {DONE: 498}
    assert {(0, 1), (2, 3), (4, 5), (5, 6)} <= set(found.arrows)
    drawn = texts(picture(found, "svg"))
    assert {"name-300", "failed", "498 done", "498 more resources"} <= set(drawn)


def test_boxes_of_many_may_need_each_other():
    drawn = [Drawn(VOLUME if index % 2 else SERVER, f"{index}") for index in range(60)]
    found = diagram("to and fro", drawn, {1: [0], 4: [3]})
    assert found.arrows == [(0, 1), (1, 0)]
    assert picture(found, "svg")


def test_a_picture_is_png_or_svg_and_stderr_stays_empty(capfd):
    found = thousand()
    assert picture(found, "png").startswith(b"\x89PNG")
    assert picture(found, "svg").startswith(b"<?xml")
    assert capfd.readouterr() == ("", "")


NAMES = [
    *('<script>alert("1")</script>', "a & b &lt; c", 'say "yes"', "back\\nslash\\", "<b>html</b>", "`code`"),
    *(
        "end",
        "n0 --> n1",
        "%% no comment",
        "ünï çødé 漢字",
        "two\nlines",
        "]):::done",
        "#quot;",
        "{{x}}",
        "a" * 300,
    ),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_only_a_name(name):
    found = diagram(name, [Drawn(SERVER, name, DONE), Drawn(VOLUME, "v", DONE)], {0: [1]})
    svg = picture(found, "svg")
    shown = name.replace("\n", "\\n")
    shown = shown if len(shown) <= 28 else f"{shown[:27]}…"
    assert shown in [each.replace("\xa0", " ") for each in texts(svg)]
    assert b"<script" not in svg
    [line] = [each for each in mermaid(found).splitlines() if each.startswith("    n0[")]
    label = re.fullmatch(r'    n0\["(.*)"\]:::done', line)[1]
    first = label.split("<br/>")[0]
    assert re.sub(r"#(\d+);", lambda each: chr(int(each[1])), first) == shown
    assert not set(first) & set("<>\"'`[]{}()|\\&%")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_name_can_be_drawn(name):
    found = diagram("any", [Drawn(SERVER, name or "x", DONE)], {})
    assert len(texts(picture(found, "svg"))) >= 3
    assert len(mermaid(found).splitlines()) == 7


def test_what_the_end_had_to_wait_for_is_marked():
    found = diagram(
        "path", [Drawn(VOLUME, "v", DONE, critical=True), Drawn(SERVER, "s", DONE, critical=True)], {1: [0]}
    )
    assert "    n0 ==> n1" in mermaid(found).splitlines()
    assert b"#d9480f" in picture(found, "svg")

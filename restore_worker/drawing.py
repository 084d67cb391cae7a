"""A diagram as a file: Mermaid's text, or Graphviz's SVG and PNG."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from restore_worker.diagram import Box, Diagram
from restore_worker.errors import printable
from restore_worker.states import ResourceState


class _Shape(NamedTuple):
    """How boxes of a type look. left, right: what Mermaid has around a label."""

    graphviz: str
    left: str = "["
    right: str = "]"


class _Colours(NamedTuple):
    fill: str
    line: str


_SHAPES = {
    "OS::Nova::Server": _Shape("box"),
    "OS::Cinder::Volume": _Shape("cylinder", "[(", ")]"),
    "OS::Glance::Image": _Shape("note", "[/", "/]"),
    "OS::Neutron::Network": _Shape("hexagon", "{{", "}}"),
    "OS::Manila::Share": _Shape("folder", "[\\", "\\]"),
    "OS::Trove::Instance": _Shape("cylinder", "[(", ")]"),
    "OS::Heat::Stack": _Shape("box3d", "[[", "]]"),
    "OS::Keystone::Project": _Shape("oval", "([", "])"),
}
_OTHERS = _Shape("component", "(", ")")
_COLOURS = {
    None: _Colours("#ffffff", "#5b6470"),
    ResourceState.PLANNED: _Colours("#f3f4f6", "#8a929c"),
    ResourceState.READY: _Colours("#f3f4f6", "#8a929c"),
    ResourceState.RUNNING: _Colours("#d9e9fb", "#1565c0"),
    ResourceState.WAITING: _Colours("#fdf0cf", "#a06a00"),
    ResourceState.DONE: _Colours("#dcf1e1", "#2e7d32"),
    ResourceState.FAILED: _Colours("#fbdcda", "#b3261e"),
    ResourceState.SKIPPED: _Colours("#ece3f4", "#7b4ea3"),
}
_CRITICAL = "#d9480f"
# Characters of a title; the whole one is in the report.
_LONGEST = 28


def mermaid(diagram: Diagram) -> str:
    """Return the diagram as a flowchart for Mermaid, such as Markdown takes it between fences."""
    return "\n".join(_flowchart(diagram)) + "\n"


def picture(diagram: Diagram, form: str) -> bytes:
    """Return the diagram as a picture. form: ``svg`` or ``png``."""
    # It brings Graphviz, which nobody else needs.
    from pygraphviz import AGraph

    graph = AGraph(directed=True, strict=True)
    font = {"fontname": "Helvetica,Arial,sans-serif", "fontsize": "11"}
    heading = _plain("\n".join(filter(None, (printable(diagram.title), _legend(diagram)))))
    graph.graph_attr.update(rankdir="LR", ranksep="0.6", nodesep="0.18", pad="0.3", bgcolor="white")
    graph.graph_attr.update(label=heading, labelloc="t", dpi="144" if form == "png" else "72", **font)
    graph.node_attr.update(style="filled", margin="0.16,0.08", penwidth="1.2", **font)
    graph.edge_attr.update(color="#8a929c", arrowsize="0.7")
    for place, box in enumerate(diagram.boxes):
        colours = _COLOURS[box.state]
        emphasis = {"color": _CRITICAL, "penwidth": "3"} if box.critical else {"color": colours.line}
        label, sides = _plain("\n".join(_lines(box))), "2" if box.size > 1 else "1"
        shape = _shape(box).graphviz
        graph.add_node(place, label=label, shape=shape, fillcolor=colours.fill, peripheries=sides, **emphasis)
    for child, parent in diagram.arrows:
        emphasis = {"color": _CRITICAL, "penwidth": "2.5"} if _urgent(diagram, child, parent) else {}
        graph.add_edge(child, parent, **emphasis)
    with _hushed():
        return bytes(graph.draw(format=form, prog="dot"))


@contextmanager
def _hushed() -> Iterator[None]:
    """Keep from the terminal what Graphviz's own font library thinks of the system's configuration."""
    own = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(own, 2)
        os.close(own)
        os.close(nowhere)


def _flowchart(diagram: Diagram) -> Iterator[str]:
    yield "---"
    yield f"title: {_quoted(printable(diagram.title))}"
    yield "---"
    yield f"%% {_legend(diagram)}"
    yield "flowchart LR"
    for place, box in enumerate(diagram.boxes):
        shape = _shape(box)
        label = "<br/>".join(map(_entities, _lines(box)))
        name = "drawn" if box.state is None else box.state.value
        yield f'    n{place}{shape.left}"{label}"{shape.right}:::{name}'
        if box.critical:
            yield f"    style n{place} stroke:{_CRITICAL},stroke-width:4px"
    for child, parent in diagram.arrows:
        yield f"    n{child} {'==>' if _urgent(diagram, child, parent) else '-->'} n{parent}"
    for state in {box.state: None for box in diagram.boxes}:
        colours = _COLOURS[state]
        name = "drawn" if state is None else state.value
        yield f"    classDef {name} fill:{colours.fill},stroke:{colours.line},color:#1c2024"


def _legend(diagram: Diagram) -> str:
    told = "An arrow leads from what is restored first to what needs it."
    if any(box.critical for box in diagram.boxes):
        told += " Orange: the end had to wait for these."
    return told


def _shape(box: Box) -> _Shape:
    return _SHAPES.get(box.type, _OTHERS)


def _lines(box: Box) -> Iterator[str]:
    """Yield what stands in a box."""
    title = printable(box.title)
    yield title if len(title) <= _LONGEST else f"{title[: _LONGEST - 1]}…"
    yield printable(box.type)
    if box.size > 1 and box.states:
        yield ", ".join(f"{count} {state}" for state, count in sorted(box.states.items()))
    elif box.state is not None:
        yield box.state


def _urgent(diagram: Diagram, child: int, parent: int) -> bool:
    return diagram.boxes[child].critical and diagram.boxes[parent].critical


def _plain(text: str) -> str:
    """Return a text in which Graphviz finds nothing of its own: neither escapes nor entities."""
    return text.replace("\\", "\\\\").replace("&", "&amp;")


def _entities(text: str) -> str:
    """Return a text in which Mermaid finds nothing of its own; it writes character entities with ``#``."""
    return "".join(each if each.isalnum() or each in " .,:-_…@/" else f"#{ord(each)};" for each in text)


def _quoted(text: str) -> str:
    """Return a text as YAML has it in Mermaid's front matter."""
    return "'" + text.replace("'", "''") + "'"

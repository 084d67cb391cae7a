"""YAML of which every value is known by its line, for files that people write: strict, and small on purpose.

Scalars are what YAML 1.2 says, as editors read them: ``yes`` is a text, ``1`` a number, ``true`` a boolean. Keys
are always texts. What makes a file hard to read, or huge once it is read, is refused: a key twice, aliases, tags,
several documents, empty values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from restore_worker.errors import SiteMapError, printable

# A site map of a thousand flavors has a tenth of it.
_MOST_BYTES = 2**20
_MOST_LEVELS = 20
_MOST_DIGITS = 20

Keys = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """What a file holds.

    data: mappings, lists, texts, numbers and booleans.
    lines: by path of keys and places, from 1; that of a mapping's entry is its key's.
    """

    data: Any
    lines: dict[Keys, int]

    def line(self, path: Keys) -> int:
        """Return the line of what the path leads to, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read_yaml(file: Path) -> Document:
    """Return what the file holds; SiteMapError names file and line."""
    try:
        with file.open("rb") as stream:
            raw = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise SiteMapError(f"{_shown(file)} cannot be read: {error.strerror}") from None
    if len(raw) > _MOST_BYTES:
        raise SiteMapError(f"{_shown(file)} has more than {_MOST_BYTES} bytes: divide it")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SiteMapError(f"{_shown(file)}:{line}: it is not UTF-8: save it as such") from None
    return _parse(text, file)


def _parse(text: str, file: Path) -> Document:
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        told = ", ".join(filter(None, (error.context, error.problem)))
        raise SiteMapError(f"{_shown(file)}:{line}: {printable(told)}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SiteMapError(f"{_shown(file)}:{line}: it has a character that YAML forbids") from None
    if node is None:
        raise SiteMapError(f"{_shown(file)}:1: it is empty: leave the file out, or write a section")
    lines: dict[Keys, int] = {(): node.start_mark.line + 1}
    try:
        return Document(_value(node, (), lines), lines)
    except _Refused as refused:
        where = f"{dotted(refused.path)}: " if refused.path else ""
        raise SiteMapError(f"{_shown(file)}:{refused.line}: {where}{refused}") from None


def dotted(path: Keys) -> str:
    """Return a path as people write it: ``flavor.rules[2].to``."""
    text = "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in path)
    return printable(text.removeprefix("."))


def _shown(file: Path) -> str:
    return printable(str(file))


class _Refused(Exception):  # noqa: N818 - caught here alone, and told with the file's name
    def __init__(self, path: Keys, node: yaml.Node, message: str) -> None:
        super().__init__(message)
        self.path = path
        self.line = node.start_mark.line + 1


class _Loader(yaml.SafeLoader):
    """Composes one document, not too deep, without aliases and tags."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - as PyYAML has it
    _level = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]  # types-PyYAML has none for it
        if isinstance(event, yaml.AliasEvent):
            raise _error("aliases (*name) are not taken: write out what it stands for", event)
        if tag := getattr(event, "tag", None):
            raise _error(f"tags ({tag}) are not taken", event)
        if self._level > _MOST_LEVELS:
            raise _error(f"it has more than {_MOST_LEVELS} levels", event)
        self._level += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self._level -= 1
        return node


def _error(message: str, event: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=message, problem_mark=event.start_mark)


# The core schema of YAML 1.2; what is none of these is a text.
for _name, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(rf"(?:{_pattern})\Z"), _first)


def _value(node: yaml.Node, path: Keys, lines: dict[Keys, int]) -> Any:
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, lines)
    if isinstance(node, yaml.SequenceNode):
        for place, item in enumerate(node.value):
            lines[*path, place] = item.start_mark.line + 1
        return [_value(item, (*path, place), lines) for place, item in enumerate(node.value)]
    return _scalar(node, path)


def _mapping(node: yaml.MappingNode, path: Keys, lines: dict[Keys, int]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise _Refused(path, key_node, "a key must be a text")
        key: str = key_node.value
        if key in found:
            raise _Refused((*path, key), key_node, f"it stands there twice, first in line {lines[*path, key]}")
        lines[*path, key] = key_node.start_mark.line + 1
        found[key] = _value(value_node, (*path, key), lines)
    return found


def _scalar(node: yaml.Node, path: Keys) -> Any:
    text: str = node.value
    match node.tag.rpartition(":")[2]:
        case "null":
            raise _Refused(path, node, "it is empty: give it a value, or leave it out")
        case "bool":
            return text.lower() == "true"
        case "int" if len(text) > _MOST_DIGITS:
            raise _Refused(path, node, "the number is too large")
        case "int":
            return int(text, 0 if text.startswith(("0o", "0x")) else 10)
        case "float":
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text

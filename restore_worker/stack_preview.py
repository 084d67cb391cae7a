"""Heat's own look at a template before there is a stack: which of its resources Heat would refuse, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import yaml

from restore_worker.hot import Hot, references
from restore_worker.plan import Finding, Severity

# Heat tells one refusal at a time; after so many more would be of no more use.
_ROUNDS = 10


def refusals(hot: Hot, ask: Callable[[Mapping[str, Any]], str | None]) -> Iterator[Finding]:
    """Yield what Heat has against resources of the template, as far as their values are known already.

    ask: returns why Heat would not take a template, None if it would.
    What hangs on something that is yet to be built, or on another stack, is left out, and so is, from then on,
    what was refused.
    """
    template = yaml.load(hot.text, Loader=yaml.CSafeLoader)
    outputs = template.pop("outputs")
    originals = {each["value"].get("get_resource"): original_id for original_id, each in outputs.items()}
    template = _without(template, (*hot.open_parameters, *hot.borrowed))
    for _ in range(_ROUNDS):
        said = ask(template) if template["resources"] else None
        if said is None:
            return
        name = next((each for each in _longest_first(template["resources"]) if f"resources.{each}" in said), "")
        yield _finding(name, template["resources"].get(name, {}), originals, said)
        if not name:
            return
        template = _without(template, [name])


def _longest_first(names: Iterable[str]) -> list[str]:
    """Sort them so that none comes after its own beginning."""
    return sorted(names, key=len, reverse=True)


def _finding(name: str, entry: Mapping[str, Any], originals: Mapping[str, str], said: str) -> Finding:
    where, _, why = said.partition(f"resources.{name}") if name else ("", "", said)
    field = ""
    if why.startswith(".properties."):
        field, _, why = why.removeprefix(".properties.").partition(":")
    title = entry.get("properties", {}).get("name")
    return Finding(
        Severity.ERROR,
        entry.get("type", "OS::Heat::Stack"),
        originals.get(name, name),
        title if isinstance(title, str) else "",
        field,
        f"Heat refuses it: {' '.join(why.split()).strip(' :.') or ' '.join(where.split())}",
    )


def _without(template: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the template without these resources and parameters, and what refers to them."""
    users: dict[str, list[str]] = {}
    for name, entry in template["resources"].items():
        for target in (*(each for _, each in references(entry["properties"])), *entry.get("depends_on", ())):
            users.setdefault(target, []).append(name)
    gone: set[str] = set()
    todo = list(names)
    while todo:
        if (name := todo.pop()) not in gone:
            gone.add(name)
            todo += users.get(name, ())
    left = {
        part: {name: each for name, each in template.get(part, {}).items() if name not in gone}
        for part in ("parameters", "resources")
    }
    return {**template, **left}

"""Writes the pages that are drawn from the code: `make docs`. A test compares them with what is here."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from restore_worker.registry import installed
from restore_worker.sitemap import SiteMap
from restore_worker.states import (
    RESOURCE_TRANSITIONS,
    RESTORE_TRANSITIONS,
    VERBS,
    Already,
    Answer,
    Goes,
    Refused,
    RestoreState,
    Verb,
)

HERE = Path(__file__).parent


def not_in_the_bank() -> str:
    """Return the page that tells what no restore can bring back."""
    lines = [
        "# Not in the bank",
        "",
        (
            "Karbor did not save everything. What follows no restore can bring back as it was, by type and field; "
            "`restore-worker plan` lists the same as findings, besides those of the single resources."
        ),
    ]
    for resource_type in installed().types:
        plugin = installed().get(resource_type)
        if plugin is not None and plugin.not_in_bank:
            lines += ["", f"## {resource_type}", "", "| field | what that means |", "|---|---|"]
            lines += [f"| `{field}` | {reason} |" for field, reason in plugin.not_in_bank]
    return "\n".join(lines) + "\n"


def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """Return what a model's docstring says of its fields, in lines such as ``name: what it is``."""
    doc = re.sub(r"\n +", " ", inspect.getdoc(model) or "")
    found = dict(re.findall(r"^(\w+): (.+)$", doc, re.MULTILINE))
    return {name: found[name].removesuffix(".") for name in model.model_fields}


def parameters() -> str:
    """Return the page of all restore parameters."""
    lines = [
        "# Restore parameters",
        "",
        (
            "What a user may set, for all resources of a type or for one of them: "
            "`--parameter 'TYPE.NAME=VALUE'` or `--parameter 'TYPE#ID.NAME=VALUE'`; in Python "
            '`parameters={"TYPE": {"NAME": VALUE}, "TYPE#ID": {...}}`. Those of one resource override those of '
            "its type. The names are Karbor's where Karbor had them."
        ),
    ]
    for resource_type in installed().types:
        plugin = installed().get(resource_type)
        if plugin is None or not plugin.Parameters.model_fields:
            continue
        lines += ["", f"## {resource_type}", "", "| parameter | what it does |", "|---|---|"]
        lines += [f"| `{name}` | {told} |" for name, told in descriptions(plugin.Parameters).items()]
    return "\n".join(lines) + "\n"


def states() -> str:
    """Return the page with the state machines as Mermaid diagrams."""
    lines = ["# States", "", "Drawn from `restore_worker/states.py`, which says what each state means."]
    for title, transitions in (("A restore", RESTORE_TRANSITIONS), ("A resource", RESOURCE_TRANSITIONS)):
        lines += ["", f"## {title}", "", "```mermaid", "stateDiagram-v2"]
        lines += [f"    {old} --> {new}" for old, new in sorted(transitions)]
        lines.append("```")
    return "\n".join([*lines, *_verbs()]) + "\n"


def _verbs() -> Iterator[str]:
    """Yield what users may ask of a restore: all at a glance, then why something is refused."""
    yield from (
        "",
        "## What may be asked of a restore",
        "",
        (
            "`already`: it is so, or on its way there. Nothing happens then, and it is no error: two who ask the "
            "same, or one who asks again since no answer came, are told that it is done."
        ),
        "",
        f"| in state | {' | '.join(f'`{verb}`' for verb in Verb)} |",
        "|---|---|---|---|---|",
    )
    for state in RestoreState:
        yield f"| {state} | {' | '.join(_in_short(VERBS[verb][state]) for verb in Verb)} |"
    yield from ("", "| asked for | in states | refused, since |", "|---|---|---|")
    for verb in Verb:
        whys: dict[str, list[str]] = {}
        for state in RestoreState:
            match VERBS[verb][state]:
                case Refused(why):
                    whys.setdefault(why, []).append(state)
                case Goes(_, unless):
                    for obstacle in unless:
                        whys.setdefault(f"{obstacle} (only if that is so)", []).append(state)
        for why, states in whys.items():
            yield f"| `{verb}` | {', '.join(states)} | {why} |"


def _in_short(answer: Answer) -> str:
    match answer:
        case Already():
            return "already"
        case Refused():
            return "refused"
        case Goes(to, unless):
            return f"goes to {to}{', unless refused' if unless else ''}"


class _WithoutNulls(GenerateJsonSchema):
    """Writes what may be left out as what it is: in a file nothing is null."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Return the schema of what is not null."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Return the schema without the default: each means that nothing is said."""
        return self.generate_inner(schema["schema"])


def sitemap_schema() -> str:
    """Return the JSON Schema of site maps, for editors."""
    made = SiteMap.model_json_schema(schema_generator=_WithoutNulls)
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **made,
        "title": "Site map of restore-worker",
    }
    return json.dumps(schema, indent=2) + "\n"


PAGES = {
    "not-in-the-bank.md": not_in_the_bank,
    "parameters.md": parameters,
    "states.md": states,
    # For editors that find it in the repository, and for those that find it where the package is installed.
    "sitemap.schema.json": sitemap_schema,
    "../restore_worker/sitemap.schema.json": sitemap_schema,
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (HERE / name).write_text(page())

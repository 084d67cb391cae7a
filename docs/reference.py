"""Writes the pages that are drawn from the code: `make docs`. A test compares them with what is here."""

from __future__ import annotations

import argparse
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from restore_worker import errors as all_errors
from restore_worker.cli.main import RestoreApp
from restore_worker.registry import installed
from restore_worker.settings import Settings
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


def commands() -> str:
    """Return the page of all commands: what `restore-worker help` says of each."""
    app = RestoreApp()
    lines = [
        "# Commands",
        "",
        (
            "What `restore-worker help COMMAND` says. Exit codes: 0 done, 1 the restore or the request failed, "
            "2 wrong usage. Results go to stdout, all else to stderr."
        ),
    ]
    for name, _ in sorted(app.command_manager):
        if name in {"help", "complete"}:
            continue
        factory, _, _ = app.command_manager.find_command(name.split())
        command = factory(app, argparse.Namespace())
        parser = command.get_parser(f"restore-worker {name}")
        lines += ["", f"## {name}", "", inspect.cleandoc(parser.description), ""]
        lines += _arguments(parser)
        if epilog := getattr(command, "example", ""):
            lines += ["```", epilog, "```"]
    return "\n".join(lines).rstrip() + "\n"


def _arguments(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield a table of a command's own arguments: what argparse prints, each Python does otherwise."""
    # What cliff adds for its formatters is the same everywhere. argparse tells its groups in no public way.
    own = [group for group in parser._action_groups if "formatter" not in (group.title or "").lower()]  # noqa: SLF001
    actions = [each for group in own for each in group._group_actions if each.dest != "help"]  # noqa: SLF001
    rows = []
    for each in actions:
        names = ", ".join(f"`{name}`" for name in each.option_strings) or f"`{each.metavar or each.dest}`"
        takes = "" if each.nargs == 0 or not each.option_strings else f" {each.metavar or each.dest.upper()}"
        told = (each.help or "").replace("%(default)s", str(each.default)).replace("%%", "%").replace("|", "\\|")
        rows.append(f"| {names}{takes} | {told} |")
    if rows:
        yield from ("| argument | what |", "|---|---|", *rows, "")


def settings() -> str:
    """Return the page of all settings: the comments in the code above each."""
    source = inspect.getsource(Settings)
    told = re.findall(r"((?:^    # .*\n)+)    (\w+): ", source, re.MULTILINE)
    comments = {name: " ".join(line.strip("# ") for line in text.strip().splitlines()) for text, name in told}
    lines = [
        "# Settings",
        "",
        "Environment variables, for callers and workers alike; an empty one counts as unset. What a deployment",
        "chooses for Celery stands in `celeryconfig.py`.",
        "",
        "| variable | default | what |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        # Where `up` keeps its data is filled in from the environment.
        default = "~/.local/state/restore-worker" if name == "home" else field.default
        shown = "" if default is None else f"`{default}`"
        lines.append(f"| `{field.alias}` | {shown} | {comments.get(name, comments['webhook_url'])} |")
    return "\n".join(lines) + "\n"


def errors() -> str:
    """Return the page of all errors that are raised on purpose."""
    lines = [
        "# Errors",
        "",
        "What `restore_worker` raises on purpose, all of it a `RestoreError` whose message a user may read as it",
        "is. What is marked may pass: the same call may succeed later. What failures of restores look like, and",
        "what to do about them: [operations.md](operations.md#what-failures-look-like).",
        "",
        "| error | is a | may pass | what |",
        "|---|---|---|---|",
    ]
    for error in vars(all_errors).values():
        if not (isinstance(error, type) and issubclass(error, all_errors.RestoreError)):
            continue
        base = next(each for each in error.__bases__ if issubclass(each, Exception)).__name__
        passing = "yes" if issubclass(error, all_errors.Retriable) else ""
        what = " ".join((inspect.getdoc(error) or "").split())
        lines.append(f"| `{error.__name__}` | `{base}` | {passing} | {what} |")
    return "\n".join(lines) + "\n"


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
    "commands.md": commands,
    "errors.md": errors,
    "settings.md": settings,
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

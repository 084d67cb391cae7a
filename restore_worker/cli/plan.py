"""`plan`: what a restore would do, and everything that stands in its way."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from cliff.show import ShowOne

from restore_worker import restore
from restore_worker.changes import Change
from restore_worker.checkpoint import Checkpoint
from restore_worker.choice import Chosen
from restore_worker.cli.arguments import (
    STDOUT,
    CommandWithExample,
    add_request,
    add_source_cloud,
    templates_to_write,
)
from restore_worker.cli.wording import Shown, aligned, grouped_findings, label, moment
from restore_worker.errors import RestoreError, printable
from restore_worker.export import listed, only, write_hots
from restore_worker.hot import Hot
from restore_worker.plan import Finding, PlannedResource
from restore_worker.plugin import Produces
from restore_worker.render import Rendering

_HOW = {
    Produces.RESOURCE: "by Heat",
    Produces.PARAMETER: "built before the stack",
    Produces.NOTHING: "nothing to build",
}


class Plan(CommandWithExample, ShowOne):
    """Show what a restore would do, with its template and every problem.

    Runs in this process alone, without workers and Redis, and builds nothing.
    With --cloud the target is looked at, too: all that the restore needs and
    would not find there is told at once. Exit code 1 if there is a problem.
    """

    example = "restore-worker plan latest --bank /backups/karbor --cloud target"
    columns = ("checkpoint", "choice", "resources", "changes", "findings", "problems", "template")

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the request and the options."""
        parser = super().get_parser(prog_name)
        add_request(parser)
        add_source_cloud(parser)
        parser.add_argument(
            "--output",
            type=templates_to_write,
            metavar="FILE",
            help="write the template there, - for stdout; known values of its parameters go beside it "
            "(app.yaml: app.env.yaml); if there are several, FILE is a directory of them",
        )
        parser.add_argument(
            "--no-verify",
            action="store_false",
            dest="verify",
            help="do not read the bytes of images and volumes to compare their checksums",
        )
        parser.add_argument(
            "--isolated",
            action="store_true",
            help="plan a copy that touches nothing of what lives, as `restore-worker drill` makes it",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Sequence[Shown]]:
        """Return the sections of the plan, and write its template."""
        rendering = restore.plan(
            parsed_args.checkpoint,
            bank=parsed_args.bank,
            cloud=parsed_args.cloud,
            resources=parsed_args.resources,
            skip=parsed_args.skip,
            networks=parsed_args.networks,
            name_prefix=parsed_args.name_prefix,
            parameters=parsed_args.parameters,
            site_map=parsed_args.site_map,
            isolated=parsed_args.isolated,
            source_cloud=parsed_args.source_cloud,
            verify=parsed_args.verify,
        )
        if rendering.hots and parsed_args.output == STDOUT:
            self.app.stdout.buffer.write(only(rendering.hots).text.encode())
        elif rendering.hots and parsed_args.output:
            write_hots(rendering.hots, parsed_args.output)
        if parsed_args.output == STDOUT:
            # The template is the result; all else is talk.
            self.app.stdout = self.app.stderr
        return self.columns, (
            _checkpoint(rendering.plan.checkpoint, rendering.plan.bank.url),
            _choice(rendering.plan.choice),
            _resources(rendering.plan.resources),
            _changes(rendering.plan.changes),
            _findings(rendering.findings),
            _problems(rendering.problems),
            _template(rendering),
        )

    def produce_output(
        self, parsed_args: argparse.Namespace, column_names: Sequence[str], data: Sequence[Shown]
    ) -> int:
        """Print the sections below each other, or as the formatter does that was asked for."""
        sections = dict(zip(column_names, data, strict=True))
        if parsed_args.formatter == "table" and not parsed_args.columns:
            self.app.stdout.write("\n\n".join(filter(None, map(str, data))) + "\n")
        else:
            super().produce_output(parsed_args, column_names, data)
        if problems := sections["problems"].machine_readable():
            name = sections["checkpoint"].machine_readable()["id"]
            raise RestoreError(f"checkpoint {name} cannot be restored so (problems: {len(problems)})")
        return 0


def _checkpoint(checkpoint: Checkpoint, bank: str) -> Shown:
    machine = {
        "id": checkpoint.id,
        "plan": {"id": checkpoint.plan.id, "name": checkpoint.plan.name},
        "created": moment(checkpoint.created),
        "status": checkpoint.status,
        "project_id": checkpoint.project_id,
        "bank": bank,
    }
    plan = printable(checkpoint.plan.name or checkpoint.plan.id)
    return Shown(machine, f"Checkpoint {checkpoint.id} of plan {plan}, made {machine['created']}, in {bank}")


def _choice(choice: Sequence[Chosen]) -> Shown:
    sections = []
    for restored, heading in ((True, "Restored with what was chosen"), (False, "Left out")):
        rows = [(each.type, each.name, each.id, each.reason) for each in choice if each.restored is restored]
        sections.append(_section(f"{heading} ({len(rows)}):", aligned(rows)))
    return Shown([each._asdict() for each in choice], "\n\n".join(filter(None, sections)))


def _resources(planned: Sequence[PlannedResource]) -> Shown:
    machine = [
        {
            "type": each.resource.type,
            "id": each.resource.id,
            "name": each.resource.name,
            "produces": each.produces.value,
            "depends_on": [str(planned[child].resource.key) for child in each.children],
        }
        for each in planned
    ]
    rows = [(each.resource.type, each.resource.name, each.resource.id, _HOW[each.produces]) for each in planned]
    return Shown(machine, _section(f"Order of the restore ({len(planned)}):", aligned(rows)))


def _changes(changes: Sequence[Change]) -> Shown:
    rows = [
        (
            label(each.type, each.id, each.name),
            each.field,
            f"{_value(each.before)} -> {_value(each.after)}",
            each.rule,
        )
        for each in changes
    ]
    lines = aligned(rows) if rows else []
    return Shown([each._asdict() for each in changes], _section(f"Changed by the site map ({len(rows)}):", lines))


def _value(value: str | None) -> str:
    return "(none)" if value is None else value


def _findings(findings: Sequence[Finding]) -> Shown:
    found = grouped_findings(findings)
    heading = f"What comes back differently or not at all ({len(findings)}):"
    return Shown(found.machine_readable(), _section(heading, str(found).splitlines()))


def _problems(problems: Sequence[Finding]) -> Shown:
    lines = [printable(str(problem)) for problem in problems]
    return Shown([each._asdict() for each in problems], _section(f"Problems ({len(problems)}):", lines))


def _section(heading: str, lines: Sequence[str]) -> str:
    return "\n  ".join((heading, *lines)) if lines else ""


def _template(rendering: Rendering) -> Shown:
    hots = rendering.hots
    if not hots:
        return Shown(None, "" if rendering.problems else "No template: there is nothing for Heat to build.")
    size, resources = sum(hot.size for hot in hots), sum(hot.resources for hot in hots)
    open_parameters = list(dict.fromkeys(name for hot in hots for name in hot.open_parameters))
    lines = [f"Template: {size} bytes, resources for Heat to build: {resources}"]
    if len(hots) > 1:
        lines.append(_section(f"Too large for one stack: cut into {len(hots)}:", aligned(map(_stack, hots))))
    if open_parameters:
        lines += ["Parameters that it leaves open:", *(f"  {name}" for name in open_parameters)]
    machine = {"resources": resources, "bytes": size, "open_parameters": open_parameters}
    stacks = [
        {
            "number": hot.number,
            "resources": hot.resources,
            "bytes": hot.size,
            "waits_for": list(hot.waits_for),
            "takes_over": len(hot.borrowed),
        }
        for hot in hots
    ]
    return Shown(machine | {"stacks": stacks}, "\n".join(lines))


def _stack(hot: Hot) -> tuple[str, ...]:
    """Return what is shown of one of several stacks."""
    after = f"after {listed(hot.waits_for)}" if hot.waits_for else "at once"
    taken = f"takes over {len(hot.borrowed)} ids" if hot.borrowed else ""
    return (f"stack {hot.number}", f"{hot.resources} resources", f"{hot.size} bytes", after, taken)

"""The first draft of a site map: guesses as entries, and each open question as a comment where its answer goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import NamedTuple, get_args

import yaml

from restore_worker.changes import Question
from restore_worker.checkpoint import Checkpoint
from restore_worker.errors import printable
from restore_worker.site_guesses import Guess, Guesses
from restore_worker.site_rules import Subject
from restore_worker.sitemap import Kind

# Where nothing speaks; of other kinds there is no policy.
_POLICIES = {"flavor": "fail", "volume_type": "default", "zone": "default"}
# What has no name is not asked for: each has its own.
_KINDS = tuple(kind for kind in get_args(Kind) if kind != "name")
# So many resources fit into a comment.
_FEW = 3
# What takes more is no name of anything.
_LONGEST = 255


class Asked(NamedTuple):
    """What plugins asked for.

    backups: records of the Cinder backups that the target lacks, by id; None where nobody told one.
    """

    questions: Iterable[Question]
    backups: Mapping[str, str | None] = MappingProxyType({})


class _Line(NamedTuple):
    """An entry of a mapping. open: it stands there as a comment."""

    text: str
    open: bool


def draft(
    checkpoint: Checkpoint,
    cloud: str,
    project_id: str,
    asked_for: Asked,
    guesses: Guesses,
) -> str:
    """Return a site map for what plugins have asked of it, as YAML with comments.

    cloud, project_id: of the target.
    """
    asked: dict[Kind, dict[str, list[Subject]]] = {}
    for kind, subject in asked_for.questions:
        if subject.values and len(subject.values[0]) <= _LONGEST:
            asked.setdefault(kind, {}).setdefault(subject.values[0], []).append(subject)
    lines = list(_heading(checkpoint, cloud))
    for kind in _KINDS:
        if kind in asked:
            lines += ["", *_section(kind, asked[kind], guesses)]
    if asked.get("flavor") or asked_for.backups:
        lines += ["", *_source(asked.get("flavor", {}), asked_for.backups, guesses)]
    lines += ["", *_ending(checkpoint, project_id)]
    return "\n".join(lines) + "\n"


def _heading(checkpoint: Checkpoint, cloud: str) -> Iterator[str]:
    schema = files("restore_worker").joinpath("sitemap.schema.json")
    yield f"# yaml-language-server: $schema={printable(str(schema))}"
    plan = printable(checkpoint.plan.name or checkpoint.plan.id)
    yield f"# Drafted for checkpoint {checkpoint.id} of plan {plan}, and cloud {printable(cloud)}."
    yield '# Entries are guesses: look at each. A line with "?" is a question: answer it, and take away its #.'
    yield "# Then see what comes of it: restore-worker plan CHECKPOINT --site-map FILE --cloud NAME"
    # The one key that is there in any case: a file of comments alone would be none.
    yield "$schema: " + _quoted(str(schema))


def _section(kind: Kind, asked: Mapping[str, list[Subject]], guesses: Guesses) -> Iterator[str]:
    entries, public_keys = [], []
    for value, subjects in asked.items():
        guess = _guess(kind, subjects, guesses)
        key = guesses.public_key(subjects[0]) if kind == "key_pair" and guess.value is None else None
        if key is not None:
            public_keys.append(_Line(f"{_quoted(value)}: {_quoted(key)}  # {_whose(subjects)}", open=False))
        else:
            new = '"?"' if guess.value is None else _quoted(guess.value)
            comment = f"{_whose(subjects)}: {printable(guess.reason)}"
            entries.append(_Line(f"{_quoted(value)}: {new}  # {comment}", open=guess.value is None))
    policy = _POLICIES.get(kind)
    if kind == "key_pair":
        policy = "create" if public_keys else "map"
    yield from _mapping(kind, {"map": entries, "public_keys": public_keys}, policy)


def _guess(kind: Kind, subjects: list[Subject], guesses: Guesses) -> Guess:
    """Return the guess for one thing that several resources name; they may look in several services for it."""
    by_type = {subject.resource.type: subject for subject in subjects}
    found = [guesses.of(kind, subject) for subject in by_type.values()]
    return next((each for each in found if each.value is None), found[0])


def _source(
    asked: Mapping[str, list[Subject]], backups: Mapping[str, str | None], guesses: Guesses
) -> Iterator[str]:
    entries = []
    for value, subjects in asked.items():
        shape = guesses.shape(subjects[0])
        if shape is None:
            text = (
                f"{_quoted(value)}: {{vcpus: ?, ram: ?, disk: ?}}  # {_whose(subjects)}: MiB of RAM, GiB of disk"
            )
        else:
            named = f"name: {_quoted(shape.name)}, " if shape.name else ""
            text = f"{_quoted(value)}: {{{named}vcpus: {shape.vcpus}, ram: {shape.ram}, disk: {shape.disk}}}"
        entries.append(_Line(text, open=shape is None))
    records = []
    for backup_id, record in backups.items():
        if record is None:
            reason = (
                f"the target lacks it: `openstack volume backup record export {printable(backup_id)}` on its cloud"
            )
            records.append(_Line(f'{_quoted(backup_id)}: "?"  # {reason}', open=True))
        else:
            records.append(_Line(f"{_quoted(backup_id)}: {_quoted(record)}", open=False))
    yield "# What flavors had, for the policy `nearest`, and what the first cloud knows of its backups."
    yield "# --source-cloud tells, as long as that cloud is there; records of backups it tells its admins alone."
    yield from _mapping("source", {"flavors": entries, "backups": records}, None)


def _mapping(name: str, parts: Mapping[str, list[_Line]], policy: str | None) -> Iterator[str]:
    """Yield a section; what has only open entries is a comment as a whole."""
    filled = policy is not None or any(not line.open for lines in parts.values() for line in lines)
    yield f"{name}:" if filled else f"# {name}:"
    for part, lines in parts.items():
        if lines:
            there = any(not line.open for line in lines)
            yield f"  {part}:" if there else f"  # {part}:"
            yield from (f"    # {line.text}" if line.open else f"    {line.text}" for line in lines)
    if policy is not None:
        yield f"  policy: {policy}"


def _ending(checkpoint: Checkpoint, project_id: str) -> Iterator[str]:
    yield "# fixed_ips: {policy: keep}         # or new, auto"
    yield "# macs: {policy: keep}              # or new, auto"
    yield "# floating_ips: {policy: new}       # or existing, skip"
    if checkpoint.project_id and checkpoint.project_id != project_id:
        yield "# The checkpoint is of another project than the target: may it be restored there?"
        yield f"# project: {{map: {{{_quoted(checkpoint.project_id)}: {_quoted(project_id)}}}}}"


def _whose(subjects: list[Subject]) -> str:
    names = list(dict.fromkeys(subject.resource.name or subject.resource.id for subject in subjects))
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return printable(", ".join(names[:_FEW]) + more)


def _quoted(text: str) -> str:
    """Return a text as YAML in one line, whatever is in it."""
    dumped: str = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=float("inf"))
    return dumped.rstrip("\n")

"""Imports run one way, and what is slow to import is imported by those alone who need it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.processes import ROOT
from tests.support.sample_banks import WEBAPP

# A module imports from rows above its own, and from its own row without cycles. A package is one entry.
ROWS = (
    ("__init__",),
    ("errors", "states"),
    ("resource", "graph", "checkpoint", "template", "cut", "hot", "diagram"),
    ("marked_yaml", "site_rules", "sitemap"),
    ("redis_address", "settings", "embedded"),
    ("bank", "catalogue"),
    ("plugin", "registry", "context"),
    ("definitions", "parameters", "changes", "choice", "plan", "site_guesses", "site_draft", "render"),
    (
        "facts",
        "redis_client",
        "entries",
        "earlier",
        "ledger_reader",
        "stack_ledger",
        "recording",
        "ledger",
        "redis_state",
    ),
    ("session", "cloud_errors", "cloud", "ownership", "stack", "stack_preview", "quotas", "target", "inspection"),
    ("transport", "canvas", "app"),
    ("stopping", "lease", "worker", "building"),
    (
        "attempt",
        "belongings",
        "creation",
        "discarding",
        "drills",
        "notification",
        "stack_look",
        "poller",
        "preflight",
        "report",
        "traces",
    ),
    ("consumer", "greeting", "logs", "shutdown", "step", "tasks"),
    (
        "admission",
        "attendance",
        "crew",
        "diagnosis",
        "drawing",
        "doctor",
        "export",
        "metrics",
        "page",
        "submitted",
        "restore",
        "testing",
        "cli",
        "__main__",
    ),
)
# Distributions of others, and the engine's modules that may import them.
OWNERS = {
    ("celery", "kombu"): {
        "app",
        "canvas",
        "consumer",
        "greeting",
        "logs",
        "shutdown",
        "step",
        "tasks",
        "transport",
    },
    ("redis",): {"redis_client", "redis_state", "ledger", "ledger_reader", "recording", "stack_ledger"},
    ("openstack", "keystoneauth1", "heatclient", "requests"): {
        "session",
        "cloud_errors",
        "cloud",
        "stack",
        "bank.swift",
    },
    ("s3fs", "botocore"): {"bank.s3"},
}
# Who else may, but not at the top of the module.
LAZY = {
    ("submitted", "kombu"): "a first message that is not sent is told from a fault",
    ("attendance", "kombu"): "so is a broker that does not answer",
    ("crew", "redis"): "the type of the client, for checkers only",
    ("plugin", "openstack"): "the type of a plugin's connection, for checkers only",
    ("context", "openstack"): "the same",
    ("building", "openstack"): "the same",
    ("target", "openstack"): "the same",
    ("quotas", "openstack"): "the errors of a user who may not ask",
    ("testing", "openstack"): "the same",
    ("testing", "requests"): "the type of an answer, when a test talks to a made-up cloud",
}
FOR_PLUGINS = {
    "restore_worker.plugin",
    "restore_worker.template",
    "restore_worker.resource",
    "restore_worker.errors",
    "restore_worker.sitemap",
}


class Import(NamedTuple):
    """What is imported, as a module's full name if it is ours; lazy: inside a function, or for checkers only."""

    name: str
    lazy: bool


def modules(root: Path, package: str) -> dict[str, ast.Module]:
    """Return the modules of a package by full name."""
    paths = (root / package).rglob("*.py")
    names = {".".join(path.relative_to(root).with_suffix("").parts): path for path in paths}
    return {name.removesuffix(".__init__"): ast.parse(path.read_text()) for name, path in names.items()}


ENGINE = modules(ROOT, "restore_worker")
PLUGINS = modules(ROOT / "plugins", "restore_openstack")
OURS = ENGINE | PLUGINS


def imports(module: str) -> set[Import]:
    return {Import(name, lazy) for node, lazy in statements(OURS[module]) for name in names_of(node)}


def statements(node: ast.AST, *, lazy: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Yield all statements, with whether the mere import of the module passes them by."""
    yield node, lazy
    typing = isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    inside = lazy or typing or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    for child in ast.iter_child_nodes(node):
        yield from statements(child, lazy=inside)


def names_of(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [each.name for each in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.module, "imports name their package"
        named = {each.name: f"{node.module}.{each.name}" for each in node.names}
        return [full if full in OURS else node.module for full in named.values()]
    return []


def short(module: str) -> str:
    """Return a module of the engine as the tables call it."""
    return module.removeprefix("restore_worker").removeprefix(".") or "__init__"


def row(module: str) -> int:
    (found,) = (number for number, entries in enumerate(ROWS) if short(module).split(".")[0] in entries)
    return found


def test_the_rows_name_every_module_once():
    entries = [entry for entries in ROWS for entry in entries]
    assert sorted(entries) == sorted({short(module).split(".")[0] for module in ENGINE})


def test_the_architecture_shows_these_rows():
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text.split("\n## Where is what\n")[1].split("\n## ")[0]
    shown = [set(re.findall(r"`restore_worker/(\w+)(?:\.py)?`", line)) for line in table.splitlines()]
    assert [entries for entries in shown if entries] == [set(entries) for entries in ROWS[1:]]


@pytest.mark.parametrize("module", ENGINE)
def test_a_module_imports_from_rows_above_its_own(module):
    ours = {each.name for each in imports(module) if each.name in OURS}
    below = {name for name in ours if name in PLUGINS or row(name) > row(module)}
    assert below == set()


def test_no_modules_import_each_other_in_a_circle():
    graph = {module: {each.name for each in imports(module)} & OURS.keys() for module in OURS}
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize(("packages", "owners"), OWNERS.items(), ids=lambda each: ",".join(sorted(each)))
def test_slow_packages_are_imported_by_their_owners_alone(packages, owners):
    users = {
        (short(module), each.name.split(".")[0])
        for module in ENGINE
        for each in imports(module)
        if each.name.split(".")[0] in packages
    }
    assert {module for module, _ in users} >= owners, "the table names a module that needs it no more"
    assert {(module, package) for module, package in users if module not in owners} == {
        (module, package) for module, package in LAZY if package in packages
    }


@pytest.mark.parametrize(("module", "package"), LAZY)
def test_who_imports_lazily_does(module, package):
    found = {each.lazy for each in imports(f"restore_worker.{module}") if each.name.split(".")[0] == package}
    assert found == {True}


@pytest.mark.parametrize("module", PLUGINS)
def test_plugins_use_the_contract_alone(module):
    ours = {each.name for each in imports(module) if each.name.startswith("restore_worker")}
    assert ours <= FOR_PLUGINS


def test_planning_loads_nothing_that_it_does_not_need():
    program = """
import sys
from restore_worker import restore
print(restore.plan("latest", bank=sys.argv[1]).hots[0].resources > 0, *sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(WEBAPP)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    planned, *loaded = done.stdout.split()
    assert planned == "True"
    packages = {name.split(".")[0] for name in loaded}
    assert {"restore_worker", "restore_openstack"} <= packages
    assert packages.isdisjoint(package for packages in OWNERS for package in packages)

"""How an application is cut is found out by asking Heat, which says no more than it must; Heat is made up here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from restore_worker import inspection
from restore_worker.bank import open_bank
from restore_worker.cut import Limits
from restore_worker.hot import Hot
from restore_worker.inspection import Fit, Inspection
from restore_worker.target import TargetCloud
from restore_worker.template import Fragment, HeatResource
from tests.unit.test_cut import project


@dataclass
class MadeUpHeat:
    """Answers as `restore_worker.stack.Heat` does where stacks may be so large."""

    limits: Limits

    def smaller(self, hot: Hot) -> Limits | None:
        # As it is with real ones, the size is looked at first.
        if hot.size > self.limits.bytes:
            return Limits(hot.resources, self.limits.bytes)
        if hot.resources > self.limits.resources:
            return Limits(self.limits.resources, hot.size)
        return None

    def try_template(self, template: Mapping[str, Any], values: Mapping[str, str]) -> None:
        assert template.keys() >= {"resources"}
        assert all(isinstance(each, str) for each in values.values())


def fit(monkeypatch: pytest.MonkeyPatch, folder: Path, limits: Limits, fragments: dict[str, Fragment]):
    (folder / "checkpoints").mkdir()
    monkeypatch.setattr(inspection, "Heat", lambda _: MadeUpHeat(limits))
    looked = Inspection(TargetCloud("target", open_bank(str(folder)), "checkpoint-1"))
    return looked.check_stacks(fragments, "d"), looked.errors


@pytest.mark.parametrize(
    ("most", "found"),
    [
        (Limits(1000, 10**6), None),
        (Limits(60, 10**6), 60),
        (Limits(1000, 15_000), None),
        (Limits(25, 15_000), 25),
    ],
)
def test_templates_are_as_large_as_heat_takes_them(monkeypatch, tmp_path, most, found) -> None:
    fragments = project(servers=35)
    (limits, hots), errors = fit(monkeypatch, tmp_path, most, fragments)
    assert errors == []
    assert all(most.holds(hot.resources, hot.size) for hot in hots)
    assert (len(hots) > 1) == (limits is not None)
    assert found is None or limits.resources == found


def test_what_cannot_be_cut_is_a_problem(monkeypatch, tmp_path) -> None:
    script = HeatResource("OS::Heat::SoftwareConfig", {"config": "x" * 5000})
    fragments: dict[str, Fragment] = {"large": script, "small": HeatResource("OS::Heat::None", {})}
    found, (problem,) = fit(monkeypatch, tmp_path, Limits(100, 3000), fragments)
    assert found == Fit()
    assert problem.field == "limits"
    assert "no stack of 1 resources and 5" in problem.found
    assert "there is no way to cut it" in problem.found

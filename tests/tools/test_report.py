"""The page of a restore, as a browser shows it: of a restore that went through a real worker."""

from __future__ import annotations

import pytest

from restore_worker import restore
from tests.support import nodes, processes
from tests.support.banks import BankCheckpoint, write
from tests.support.sample_banks import WEBAPP, damaged_webapp

SITE_MAP = """\
flavor:
  map:
    "2": m1.big
"""
NAME = "<img src=x onerror=alert(1)>"


@pytest.fixture
def restored(redis_url, worker, tmp_path):
    (tmp_path / "site.yaml").write_text(SITE_MAP)
    submitted = restore.submit("latest", bank=WEBAPP, create_stack=False, site_map=tmp_path / "site.yaml")
    worker()
    assert submitted.wait(60).state == "complete"
    return submitted


def written(submitted, directory):
    file = directory / "report.html"
    processes.run_cli("report", submitted.id, "-o", str(file))
    return file


def test_all_of_a_restore_is_on_one_page_that_asks_nobody(restored, tmp_path, page):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    file = written(restored, tmp_path)
    page.goto(file.as_uri())
    assert asked == [file.as_uri()]
    assert page.title() == "Restore of webapp-nightly: complete"
    assert page.locator(".state").inner_text() == "complete"
    assert page.locator("#graph svg .node").count() == 10
    assert page.locator("#graph svg .edge").count() == 8
    assert page.locator("#timeline .lane").count() == 10
    assert page.locator("#timeline .lane .critical").count() >= 1
    assert "m1.big" in page.locator("#rules").inner_text()
    assert "site.yaml:3" in page.locator("#rules").inner_text()
    assert "OS::Cinder::Volume" in page.locator("#findings").inner_text()


@pytest.mark.parametrize("width", [390, 800, 1280])
def test_nothing_is_wider_than_the_window(restored, tmp_path, page, width):
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(written(restored, tmp_path).as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for bar in page.locator("#timeline .lane .done").all():
        lane, inner = bar.locator("..").bounding_box(), bar.bounding_box()
        assert inner["x"] + inner["width"] <= lane["x"] + lane["width"] + 4


def test_names_are_text_whatever_they_look_like(redis_url, worker, tmp_path, page):
    named = nodes.image("image-1", NAME, b"bytes")
    write(BankCheckpoint(nodes=(named,), plan_name=NAME), tmp_path / "bank" / "karbor")
    submitted = restore.submit("latest", bank=tmp_path / "bank", create_stack=False)
    worker()
    assert submitted.wait(60).state == "complete"
    page.goto(written(submitted, tmp_path).as_uri())
    assert page.locator("script").count() == 0
    assert page.locator("img").count() == 0
    assert page.locator("h1").inner_text().startswith(NAME)
    assert NAME in page.locator("#timeline").inner_text()


def test_a_failed_one_says_why_at_its_top(redis_url, worker, tmp_path, page):
    submitted = restore.submit("latest", bank=damaged_webapp(tmp_path), create_stack=False)
    worker()
    assert submitted.wait(60).state == "failed"
    page.goto(written(submitted, tmp_path).as_uri())
    assert page.locator(".state.failed").count() == 1
    assert page.locator(".reason").inner_text()
    assert page.locator("#timeline .lane .failed").count() >= 1

"""Flower in a browser, as `restore-worker flower` starts it: behind a login, it shows who does what."""

from __future__ import annotations

import re

import pytest

from restore_worker import restore
from tests.support import processes
from tests.support.processes import Program, free_port, wait_until
from tests.support.sample_banks import WEBAPP

OPTIONS = ["--task-events"]


@pytest.fixture
def flower(redis_url, tmp_path):
    """Run it; its address and the login that it shows."""
    port = free_port()
    program = Program(processes.restore_worker("flower", f"--port={port}"), tmp_path / "flower.log")
    try:
        program.wait_for("Visit me at")
        user, password = re.search(r"lets in user (\S+) with password (\S+)", program.output).groups()
        yield f"http://127.0.0.1:{port}", {"username": user, "password": password}
    finally:
        program.stop()


@pytest.fixture
def seen(flower, browser):
    """Give a page of somebody who knows the login, and its address."""
    url, login = flower
    context = browser.new_context(http_credentials=login, viewport={"width": 1280, "height": 800})
    yield context.new_page(), url
    context.close()


def test_nobody_sees_it_without_the_login(flower, browser):
    url, login = flower
    for credentials in (None, {**login, "password": "guessed"}):
        context = browser.new_context(http_credentials=credentials)
        answer = context.request.get(f"{url}/tasks")
        assert answer.status == 401
        assert "Worker" not in answer.text()
        context.close()


def test_the_tasks_of_a_restore_are_found_by_its_id(seen, worker):
    page, url = seen
    worker(options=OPTIONS)
    page.goto(url)
    page.get_by_text("worker1@").first.wait_for()
    one, other = (restore.submit("latest", bank=WEBAPP, create_stack=False, force=True) for _ in range(2))
    for each in (one, other):
        assert each.wait(60).state == "complete"
    rows = page.locator("#tasks-table tbody tr")
    shown = page.locator("#tasks-table")

    def found():
        # What it shows of tasks, it does not renew by itself.
        page.goto(f"{url}/tasks")
        page.locator("#tasks-table_filter input, .dt-search input").first.fill(one.id)
        wait_until(lambda: rows.count() and other.id not in shown.inner_text(), "its own")
        return rows.count() == shown.inner_text().count("SUCCESS") == 13

    # The check, ten resources, the template, and what finds that no stack is wanted.
    wait_until(found, "all have succeeded", 60)
    assert "restore OS::Nova::Server web-1" in shown.inner_text()
    # Ids are all that a message has.
    assert "karbor" not in page.content().lower()


def test_workers_are_seen_to_come_and_go(seen, worker):
    page, url = seen
    worker(options=OPTIONS)
    page.goto(url)
    page.get_by_text("worker1@").first.wait_for()
    second = worker(options=OPTIONS)
    page.get_by_text("worker2@").first.wait_for()

    def state_of(name):
        page.goto(url)
        page.get_by_text(name).first.wait_for()
        return page.locator("tr", has_text=name).first.inner_text()

    wait_until(lambda: "Online" in state_of("worker2@"), "the second is there")
    second.stop()
    wait_until(lambda: "Offline" in state_of("worker2@"), "the second is gone", 60)
    wait_until(lambda: "Online" in state_of("worker1@"), "the first is there as before")

import re
from pathlib import Path

import pytest

from docs.reference import HERE, PAGES
from restore_worker import canvas


@pytest.mark.parametrize("name", PAGES)
def test_page_is_as_the_code_says(name):
    assert (HERE / name).read_text() == PAGES[name](), "run `make docs`"


def test_links_between_pages_lead_somewhere():
    root = HERE.parent
    pages = [root / "README.md", root / "CHANGELOG.md", *HERE.glob("*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#]+)", page.read_text())]
    assert links
    missing = [
        f"{page.name}: {link}" for page, link in links if "://" not in link and not (page.parent / link).exists()
    ]
    assert not missing


def test_every_module_that_the_architecture_names_is_there():
    text = (HERE / "architecture.md").read_text()
    named = set(re.findall(r"`((?:restore_worker|plugins)/[\w/.]+)`", text))
    assert named
    assert [name for name in named if not (HERE.parent / name).exists()] == []
    modules = {str(path.relative_to(HERE.parent)) for path in Path(HERE.parent, "restore_worker").glob("*.py")}
    assert modules - named - {"restore_worker/__init__.py"} == set()


def test_the_architecture_names_every_task():
    text = (HERE / "architecture.md").read_text()
    for task in (
        canvas.PREFLIGHT,
        canvas.RESTORE_RESOURCE,
        canvas.ASSEMBLE,
        canvas.CREATE_STACK,
        canvas.POLL_STACKS,
        canvas.DISCARD,
        canvas.RECONCILE,
    ):
        assert f"`{task.removeprefix('restore_worker.')}`" in text

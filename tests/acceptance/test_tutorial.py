"""The commands of docs/tutorial.md, as far as they need no cloud, one after the other as a reader types them."""

from __future__ import annotations

import re
import shlex

from restore_worker import restore
from tests.support.processes import ROOT, run_cli


def test_what_the_tutorial_says_works(redis_url, worker, tmp_path, monkeypatch):
    text = (ROOT / "docs" / "tutorial.md").read_text()
    offline = text.split("\n## With a cloud\n")[0]
    blocks = re.findall(r"```console\n(.*?)```", offline, re.DOTALL)
    typed = [line for block in blocks for line in re.sub(r"\\\n +", "", block).splitlines()]
    assert len(typed) >= 8
    worker()
    ran = 0
    for line in typed:
        words = shlex.split(line.removeprefix("$ "))
        if words[0] == ".":
            continue
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            monkeypatch.setenv(name, str(ROOT / value))
            continue
        program, *arguments = words
        assert program == "restore-worker", line
        arguments = [restore.list_restores()[0].id if each == "ID" else each for each in arguments]
        # What it writes goes elsewhere.
        places = {"webapp.svg", "report.html"}
        arguments = [str(tmp_path / each) if each in places else each for each in arguments]
        ended = run_cli(*arguments)
        assert ended.returncode == 0, f"{line}\n{ended.stdout}{ended.stderr}"
        ran += 1
    assert ran >= 7
    assert (tmp_path / "webapp.svg").exists()
    assert (tmp_path / "report.html").exists()
    assert restore.list_restores()[0].state == "complete"

"""README shows what `make demo-cloud` prints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.cloud.openstack_cloud.cloud import Cloud
from tests.cloud.readme import hold, shown
from tests.support.processes import ROOT

# An application is built, saved, deleted, restored and destroyed: two minutes, more on a busy machine.
SECONDS = 900


def test_readme_shows_a_real_run(cloud: Cloud, tmp_path: Path) -> None:
    assert cloud.is_up
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "examples/demo-cloud.sh"],
        cwd=ROOT,
        env={**os.environ, "PATH": path, "TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    hold(shown("restore-worker submit latest --cloud demo "), done.stdout)

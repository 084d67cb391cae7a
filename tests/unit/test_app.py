"""What a deployment chooses for Celery, and what it cannot choose."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support.processes import ROOT

CHOSEN = """
broker_transport_options = {"visibility_timeout": 77}
result_expires = 99
task_acks_late = False
"""
NAMES = ("broker_transport_options", "result_expires", "task_acks_late", "beat_scheduler")


def settings_of(folder: Path, module: str) -> dict[str, object]:
    """Return settings of the application in a process of its own, since there is one application in each."""
    script = f"""
import json, sys
sys.path.append({str(folder)!r})
from restore_worker.app import app
print(json.dumps({{name: app.conf[name] for name in {NAMES!r}}}))
"""
    env = {
        "CELERY_CONFIG_MODULE": module,
        "RESTORE_REDIS_URL": "redis://nowhere",
        "PYTHONPATH": ":".join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_a_deployment_chooses_over_defaults_but_not_over_what_correctness_needs(tmp_path):
    (tmp_path / "chosen.py").write_text(CHOSEN)
    ours, theirs = settings_of(tmp_path, ""), settings_of(tmp_path, "chosen")
    assert ours["broker_transport_options"]["visibility_timeout"] == 3600
    assert theirs == ours | {
        "broker_transport_options": ours["broker_transport_options"] | {"visibility_timeout": 77},
        "result_expires": 99,
    }
    assert theirs["task_acks_late"] is True


def test_nobody_needs_choices_of_a_deployment(tmp_path):
    program = "from restore_worker.app import app; print(app.conf.broker_url, app.conf.result_expires)"
    # Who installed the package has no celeryconfig.py where he runs it.
    elsewhere = [each for each in sys.path if each and not Path(each, "celeryconfig.py").exists()]
    path = ":".join((str(_without_choices(tmp_path)), *elsewhere))
    env = {"RESTORE_REDIS_URL": "redis://nowhere", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["redis://nowhere:6379/0", "3600"], done.stderr


def _without_choices(folder: Path) -> Path:
    """Return a folder with the package, as a wheel has it."""
    (folder / "site").mkdir()
    (folder / "site" / "restore_worker").symlink_to(ROOT / "restore_worker")
    return folder / "site"

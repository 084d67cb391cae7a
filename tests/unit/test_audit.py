"""`make audit`: pip-audit itself, which asks a service of this test's in the place of the real one."""

import importlib.util
import json
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.processes import ROOT, free_port

SCRIPT = ROOT / ".ci" / "audit.py"
FLAW = {
    "id": "FLAW-1",
    "summary": "s",
    "affected": [
        {
            "package": {"name": "attrs", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.0"}]}],
            "versions": ["1.0"],
        }
    ],
}


@pytest.fixture
def audit(tmp_path):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"attrs==1.0 --hash=sha256:{'0' * 64}\nidna==3.0 --hash=sha256:{'0' * 64}\n")

    def run(url):
        service = ("-s", "osv", "--osv-url", url)
        return subprocess.run(
            [sys.executable, str(SCRIPT), "-r", str(requirements), *service, "--cache-dir", str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


@contextmanager
def answering(flaws):
    """Run a service that knows these flaws by package; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found = flaws.get(asked["package"]["name"], [])
            body = json.dumps({"vulns": found} if found else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_a_known_vulnerability_fails(audit):
    with answering({"attrs": [FLAW]}) as url:
        done = audit(url)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == "attrs 1.0: FLAW-1, mended in 2.0\nknown vulnerabilities of 2 packages, of 2: 1\n"


def test_none_is_known(audit):
    with answering({}) as url:
        done = audit(url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "known vulnerabilities of 2 packages, of 2: 0\n"


def test_a_service_out_of_reach_is_told_in_one_line(audit):
    done = audit(f"http://127.0.0.1:{free_port()}/")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("not audited, since the vulnerability service cannot be reached: ")
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "told"),
    [("idna===== 3.0", "contains invalid specifier at line 1"), ("idna>=3.0", "can only be used with a hashed")],
)
def test_requirements_that_cannot_be_read_are_no_lack_of_a_service(audit, tmp_path, line, told):
    (tmp_path / "requirements.txt").write_text(f"{line}\n")
    with answering({}) as url:
        done = audit(url)
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith("not audited: ")
    assert told in done.stdout
    assert done.stdout.count("\n") == 1


def test_no_answer_about_any_package_is_no_success():
    spec = importlib.util.spec_from_file_location("audit", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    silent = {"name": "idna", "skip_reason": "not found"}
    assert module.verdict([silent, silent]) == (
        False,
        ["not audited, since the vulnerability service knows none of the packages: not found"],
    )
    known = {"name": "attrs", "version": "1.0", "vulns": []}
    assert module.verdict([silent, known]) == (False, ["known vulnerabilities of 1 packages, of 2: 0"])

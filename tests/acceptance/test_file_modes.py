"""What the commands write only its owner may read, whatever the umask, and whatever the file was before."""

import os
import stat
import subprocess
from contextlib import suppress

import pytest
import redis

from restore_worker import embedded
from restore_worker.errors import RestoreError
from restore_worker.export import write_hots
from restore_worker.hot import Hot
from tests.support import processes
from tests.support.bank_servers import WEBAPP
from tests.support.processes import Program

WEB_1 = "fc688078-ce46-423f-a950-6a47b397c96d"
UMASKS = ("000", "022")
HOT = Hot("text: 1\n", {"p_image": "id"}, (), 1)


def with_umask(umask, *arguments):
    return ["sh", "-c", f'umask {umask} && exec "$@"', "sh", *processes.restore_worker(*arguments)]


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


def open_to_others(directory):
    """Return what others may do anything with in a directory, with its mode."""
    found = {}
    for path in directory.rglob("*"):
        # What Valkey only needs for a moment may be gone by now.
        with suppress(FileNotFoundError):
            found[str(path)] = mode(path)
    assert found
    return {path: oct(bits) for path, bits in found.items() if bits & 0o077}


@pytest.mark.parametrize("umask", UMASKS)
def test_all_that_up_writes(tmp_path, umask):
    home = tmp_path / "state" / "home"
    for _ in range(2):
        log = tmp_path / "up.log"
        command = with_umask(umask, "up", "--concurrency=1", f"--flower-port={processes.free_port()}")
        program = Program(command, log, {"RESTORE_HOME": str(home)}, cwd=tmp_path)
        try:
            program.wait_for("ready for restores")
            with redis.Redis.from_url(embedded.address(home)) as client:
                client.set("kept", "1")
                client.bgrewriteaof()
            assert open_to_others(tmp_path / "state") == {}
            assert program.stop() == 0
        finally:
            program.kill()
        names = {path.name for path in home.iterdir()}
        assert names >= {"up.lock", "valkey.log", "appendonlydir"}
        assert open_to_others(tmp_path / "state") == {}
        # Nothing is left elsewhere, such as beat's schedule or Flower's database.
        assert {path.name for path in tmp_path.iterdir()} == {"state", "up.log"}
        # The second time all is there, and was opened by somebody.
        for path in home.rglob("*"):
            path.chmod(mode(path) | 0o066)


@pytest.mark.parametrize("umask", UMASKS)
def test_templates_and_their_values(tmp_path, umask):
    (tmp_path / "there").mkdir()
    old = tmp_path / "old.yaml"
    for path in (old, old.with_suffix(".env.yaml"), tmp_path / "there" / "link.yaml"):
        path.write_text("old")
        path.chmod(0o666)
    (tmp_path / "link.yaml").symlink_to("there/link.yaml")
    chosen = ("--resource", WEB_1, "--parameter", "OS::Neutron::Network.networks=existing")
    for name in ("new.yaml", "old.yaml", "link.yaml"):
        command = with_umask(umask, "plan", "latest", "--bank", str(WEBAPP), *chosen, "--output", name)
        subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    written = [path for path in tmp_path.rglob("*.yaml") if not path.is_symlink()]
    assert len(written) == 6
    for path in written:
        assert path.read_text() != "old"
        assert mode(path) == 0o600, path
    assert (tmp_path / "link.yaml").is_symlink()


def test_a_link_of_another_user_is_not_followed(tmp_path, monkeypatch):
    """As it may be planted in a directory that everybody may write to, such as /tmp."""
    (tmp_path / "mine").write_text("mine")
    link = tmp_path / "app.yaml"
    link.symlink_to("mine")
    owner = os.geteuid()
    # Only root could make a link of another user.
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(RestoreError, match="another user"):
        write_hots([HOT], link)
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    file = tmp_path / "app.yaml"
    file.write_text("old")
    broken = Hot("half of a pair \ud800", {}, (), 1)
    with pytest.raises(UnicodeEncodeError):
        write_hots([broken], file)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]

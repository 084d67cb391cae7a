import os
from pathlib import Path

import pytest

from restore_worker import embedded, settings
from restore_worker.errors import RestoreError


def test_defaults_where_nothing_is_set():
    found = settings.load({"HOME": "/home/ada"})
    assert (found.bank, found.cloud, found.redis, found.concurrency) == (None, None, None, None)
    assert (found.lease_seconds, found.max_attempts, found.keep_days) == (30, 5, 30)
    assert found.stack_minutes == 240


def test_state_goes_where_the_desktop_standard_says():
    assert settings.load({"XDG_STATE_HOME": "/var/state"}).home == Path("/var/state/restore-worker")
    assert settings.load({}).home == Path.home() / ".local/state/restore-worker"


def test_an_empty_variable_is_an_unset_one():
    assert settings.load({"RESTORE_BANK": "", "RESTORE_LEASE_SECONDS": ""}) == settings.load({})


def test_a_relative_home_is_that_of_the_caller():
    assert settings.load({"RESTORE_HOME": "state"}).home == Path.cwd() / "state"


@pytest.mark.parametrize(
    "name", ["RESTORE_LEASE_SECONDS", "RESTORE_MAX_ATTEMPTS", "RESTORE_STACK_MINUTES", "RESTORE_KEEP_DAYS"]
)
@pytest.mark.parametrize("value", ["soon", "0", "-1", "1.5"])
def test_a_bad_number_is_named(name, value):
    with pytest.raises(RestoreError, match=f"environment variable {name}: .*integer|greater"):
        settings.load({name: value})


def test_all_bad_values_are_told_at_once():
    with pytest.raises(RestoreError, match=r"RESTORE_LEASE_SECONDS: .*; RESTORE_KEEP_DAYS: "):
        settings.load({"RESTORE_LEASE_SECONDS": "x", "RESTORE_KEEP_DAYS": "y"})


def test_a_refused_redis_url_is_not_shown():
    with pytest.raises(RestoreError, match="RESTORE_REDIS_URL") as caught:
        settings.load({"RESTORE_REDIS_URL": "https://me:secret@redis.example"})
    assert "secret" not in str(caught.value)


def test_without_any_redis_it_says_what_to_do(tmp_path):
    with pytest.raises(RestoreError, match=r"restore-worker up.*RESTORE_REDIS_URL"):
        settings.load({"RESTORE_HOME": str(tmp_path)}).redis_address()


def test_a_socket_that_nobody_answers_is_no_redis(tmp_path):
    (tmp_path / "valkey.sock").touch()
    assert embedded.address(tmp_path) is None


def test_one_owner_at_a_time(tmp_path):
    home = tmp_path / "state"
    with embedded.ownership(home):
        assert home.stat().st_mode & 0o777 == 0o700
        with (
            pytest.raises(RestoreError, match=f"running already in {home}, as process {os.getpid()}"),
            embedded.ownership(home),
        ):
            pass
    with embedded.ownership(home):
        pass


def test_a_directory_open_to_others_is_refused(tmp_path):
    tmp_path.chmod(0o755)
    with pytest.raises(RestoreError, match="chmod 700"), embedded.ownership(tmp_path):
        pass


def test_a_path_too_long_for_a_socket_is_refused(tmp_path):
    with pytest.raises(RestoreError, match=r"too long .*for a Unix socket"):
        embedded.command(tmp_path / ("x" * 100))

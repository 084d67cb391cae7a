"""`restore-worker sitemap draft` and `check`, and a plan by what was drafted, as a person types them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support import banks, nodes
from tests.support.stub_cloud import stub_cloud
from tests.support.stub_identity import stub_identity, write_clouds

ROUTE = {"image": "image/v2", "block_storage": "volume/v3", "network": "network/v2.0", "compute": "compute/v2.1"}


@pytest.fixture
def sites(tmp_path) -> Iterator[dict[str, object]]:
    """Have a source and a target that differ: flavors and key pairs."""
    with ExitStack() as stack:
        clouds = {name: stack.enter_context(stub_cloud()) for name in ("source", "target")}
        entries = {
            name: stack.enter_context(stub_identity()).entry(
                **{f"{service}_endpoint_override": f"{each.url}/{path}" for service, path in ROUTE.items()},
                block_storage_api_version="3",
            )
            for name, each in clouds.items()
        }
        yield {**clouds, "env": {"OS_CLIENT_CONFIG_FILE": str(write_clouds(tmp_path / "clouds.yaml", **entries))}}


def flavor(flavor_id: str, name: str, vcpus: int, ram: int, disk: int) -> dict[str, object]:
    return {"id": flavor_id, "name": name, "vcpus": vcpus, "ram": ram, "disk": disk}


@pytest.fixture
def bank(tmp_path):
    image = nodes.image("image-1", "ubuntu")
    servers = [
        nodes.server(f"server-{n}", f"web-{n}", boot="image-1", flavor=str(n), key_name="ops") for n in (1, 2)
    ]
    edges = {each.key: (image.key,) for each in servers}
    banks.write(banks.BankCheckpoint(nodes=(image, *servers), edges=edges), tmp_path / "bank" / "karbor")
    return str(tmp_path / "bank")


def test_a_draft_is_completed_checked_and_planned_by(cli, bank, sites, tmp_path):
    sites["target"].flavors = {
        "t1": flavor("t1", "c2.small", 2, 4096, 40),
        "t2": flavor("t2", "c2.tiny", 1, 512, 1),
    }
    sites["target"].key_pairs = ["ops"]
    sites["source"].flavors = {"1": flavor("1", "m1.small", 1, 2048, 20), "2": flavor("2", "m1.huge", 99, 1, 1)}
    file = tmp_path / "site.yaml"
    options = ("--bank", bank, "--cloud", "target", "--source-cloud", "source")
    done = cli("sitemap", "draft", "latest", *options, "-o", str(file), env=sites["env"])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", f"site map: {file}\n")
    drafted = file.read_text()
    assert cli("sitemap", "draft", "latest", *options, env=sites["env"]).stdout == drafted
    assert '"1": "c2.small"  # web-1: the nearest: had 1 vCPUs, 2048 MiB, 20 GiB; has 2, 4096, 40' in drafted
    assert '# "2": "?"  # web-2: had 99 vCPUs' in drafted
    assert '"ops": "ops"  # web-1, web-2: the target has it' in drafted
    checked = cli("sitemap", "check", str(file))
    assert checked.stdout == f"{file} is a site map: flavor, key_pair, source, zone\n"

    open_yet = cli("plan", "latest", "--bank", bank, "--site-map", str(file), "-f", "json")
    assert [(each["id"], each["field"]) for each in json.loads(open_yet.stdout)["problems"]] == [
        ("server-2", "flavor")
    ]
    file.write_text(drafted.replace('# "2": "?"', '"2": "c2.small"'))
    answered = cli("plan", "latest", "--bank", bank, "--site-map", str(file), "-f", "json")
    changes = json.loads(answered.stdout)["changes"]
    assert [(each["id"], each["before"], each["after"]) for each in changes if each["field"] == "flavor"] == [
        ("server-1", "1", "c2.small"),
        ("server-2", "2", "c2.small"),
    ]
    assert answered.returncode == 0


def test_the_nearest_flavor_is_chosen_when_it_is_planned(cli, bank, sites, tmp_path):
    sites["target"].flavors = {"t1": flavor("t1", "c2.small", 2, 4096, 40)}
    sites["source"].flavors = {str(n): flavor(str(n), f"m1.{n}", 1, 2048, 20) for n in (1, 2)}
    (tmp_path / "site.yaml").write_text("flavor:\n  policy: nearest\n")
    options = ("--bank", bank, "--site-map", str(tmp_path / "site.yaml"), "-f", "json", "-c", "changes")
    clouds = ("--cloud", "target", "--source-cloud", "source")
    told = json.loads(cli("plan", "latest", *options, *clouds, env=sites["env"]).stdout)["changes"]
    assert {(each["after"], each["rule"]) for each in told} == {
        ("c2.small", f"{tmp_path / 'site.yaml'}:2 flavor.policy nearest")
    }
    refused = cli("plan", "latest", "--bank", bank, "--site-map", str(tmp_path / "site.yaml"), env=sites["env"])
    assert refused.returncode == 1
    assert "name it with --cloud" in refused.stdout


def test_a_cloud_that_does_not_answer_is_told_once(cli, bank, sites, tmp_path):
    away = {"auth": {"auth_url": "http://127.0.0.1:1/v3", "username": "u", "password": "p", "project_name": "p"}}
    env = {"OS_CLIENT_CONFIG_FILE": str(write_clouds(tmp_path / "away.yaml", away=away))}
    (tmp_path / "site.yaml").write_text(
        "flavor:\n  policy: nearest\nsource:\n  flavors:\n    1: {vcpus: 1, ram: 1, disk: 1}\n"
    )
    done = cli(
        "plan", "latest", "--bank", bank, "--site-map", str(tmp_path / "site.yaml"), "--cloud", "away", env=env
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("cloud away does not answer: ")
    assert done.stderr.count("does not answer") == 1


def test_a_draft_replaces_no_file(cli, bank, sites, tmp_path):
    (tmp_path / "site.yaml").write_text("zone: {}\n")
    done = cli(
        "sitemap",
        "draft",
        "latest",
        "--bank",
        bank,
        "--cloud",
        "target",
        "-o",
        str(tmp_path / "site.yaml"),
        env=sites["env"],
    )
    assert (done.returncode, done.stderr) == (1, f"{tmp_path / 'site.yaml'} is there already: name a new file\n")
    assert (tmp_path / "site.yaml").read_text() == "zone: {}\n"


def test_a_file_that_is_no_site_map_is_told_by_line(cli, tmp_path):
    (tmp_path / "site.yaml").write_text("zone: {}\nflavour: {}\n")
    done = cli("sitemap", "check", str(tmp_path / "site.yaml"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{tmp_path / 'site.yaml'}:2: flavour: there is no such key\n"

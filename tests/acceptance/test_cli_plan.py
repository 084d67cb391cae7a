"""`restore-worker plan`, as a person types it."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from restore_worker import restore
from tests.support import banks, nodes, processes
from tests.support.sample_banks import SAMPLES, WEBAPP

WEB_1 = "fc688078-ce46-423f-a950-6a47b397c96d"
WEB_UPLOADS = "0a0ec013-db8c-4a3d-8c98-a6a91d92ff8a"
IMAGE = "fa764c51-96c8-4dd2-a403-2f9e7b7eaa06"
NO_PLUGIN = {"OS::Kubernetes::Pod"}


@pytest.fixture
def plan(cli):
    """Give a function that plans a restore from the bank of the web application."""

    def call(*options, checkpoint="latest", bank=WEBAPP, **choices):
        return cli("plan", checkpoint, "--bank", str(bank), *options, **choices)

    return call


@pytest.fixture
def bank(tmp_path):
    """Give a bank with one volume of an id with dots and a name that is no plain text."""
    banks.write(banks.BankCheckpoint(nodes=(nodes.volume("vol.v1", "Früh\x1b[2J"),)), tmp_path / "bank" / "karbor")
    return tmp_path / "bank"


def read(done):
    assert done.stderr == ""
    assert done.returncode == 0
    return json.loads(done.stdout)


def test_people_see_what_would_be_done(plan):
    done = plan()
    assert (done.returncode, done.stderr) == (0, "")
    checkpoint, order, findings, template = done.stdout.split("\n\n")
    assert checkpoint.startswith(
        "Checkpoint 3d60acf8-b132-4930-bc5b-90294204e9f6 of plan webapp-nightly, made 2020-03-05T"
    )
    rows = [line.split() for line in order.splitlines()]
    assert rows[0] == ["Order", "of", "the", "restore", "(10):"]
    assert ["OS::Nova::Server", "web-1", WEB_1, "by", "Heat"] in rows
    assert ["OS::Glance::Image", "ubuntu-18.04-web", IMAGE, "built", "before", "the", "stack"] in rows
    assert findings.startswith("What comes back differently or not at all (")
    assert "\n  OS::Nova::Server\n" in findings
    assert findings.count("user_data: ") == 1
    assert template.startswith("Template: ")
    assert f"\n  p_image_{IMAGE}" in template


def test_programs_get_one_object(plan):
    found = read(plan("-f", "json"))
    assert list(found) == ["checkpoint", "choice", "resources", "changes", "findings", "problems", "template"]
    assert (found["choice"], found["changes"]) == ([], [])
    assert found["checkpoint"]["plan"]["name"] == "webapp-nightly"
    assert found["problems"] == []
    (hot,) = restore.plan("latest", bank=WEBAPP).hots
    size = {"resources": hot.resources, "bytes": len(hot.text.encode())}
    assert found["template"] == {
        **size,
        "open_parameters": list(hot.open_parameters),
        "stacks": [{"number": 0, **size, "waits_for": [], "takes_over": 0}],
    }
    keys = [f"{each['type']}#{each['id']}" for each in found["resources"]]
    for place, each in enumerate(found["resources"]):
        assert set(each["depends_on"]) <= set(keys[:place])
    assert found["resources"][keys.index(f"OS::Nova::Server#{WEB_1}")]["produces"] == "resource"
    assert {"type": "OS::Nova::Server", "id": WEB_1, "name": "web-1", "field": "key_name"}.items() <= next(
        each for each in found["findings"] if each["id"] == WEB_1 and each["field"] == "key_name"
    ).items()


def test_one_section_alone(plan):
    assert read(plan("-f", "json", "-c", "problems")) == {"problems": []}


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_every_sample_is_planned_or_refused_with_the_reason(cli, sample, tmp_path):
    file = tmp_path / "app.yaml"
    done = cli("plan", sample.checkpoint, "--bank", str(sample.bank), "-f", "json", "--output", str(file))
    found = json.loads(done.stdout)
    unknown = {
        resource_type: count
        for resource_type, count in sample.expected["types"].items()
        if resource_type in NO_PLUGIN
    }
    assert len(found["problems"]) == sum(unknown.values())
    for problem in found["problems"]:
        assert problem["type"] in unknown
        assert problem["id"]
        assert "no plugin" in problem["found"]
    assert done.returncode == (1 if unknown else 0)
    # A volume with bytes in the bank is built before the stack: alone it leaves nothing for Heat.
    assert file.exists() == (found["template"] is not None)
    assert found["template"] is None or not unknown
    assert len(found["resources"]) == sample.expected["nodes"] - sum(unknown.values())


def test_a_problem_names_type_and_resource_to_people(cli):
    done = cli("plan", "latest", "--bank", "tests/banks/other-plugins")
    assert done.returncode == 1
    assert (
        "\n  OS::Kubernetes::Pod 'default:mysql-0' (e1934c3c-64b8-5c3b-a4e9-abb42969d412): no plugin"
        in done.stdout
    )
    assert done.stderr == "checkpoint d4555762-08fa-4e49-aa37-9c1e604cfeb1 cannot be restored so (problems: 1)\n"


# Another site


@pytest.fixture
def site_map(tmp_path):
    """Give a function that writes a site map."""

    def write(text):
        (tmp_path / "site.yaml").write_text(text)
        return str(tmp_path / "site.yaml")

    return write


def test_every_field_that_the_site_map_changes_is_told_with_its_rule(plan, site_map):
    file = site_map(f"flavor:\n  rules:\n    - when: {{id: {WEB_1}}}\n      to: c2.huge\n  default: c2.small\n")
    options = ("--site-map", file, "--parameter", "OS::Nova::Server.restore_flavor_id=tiny")
    before = read(plan("-f", "json"))
    mapped, given = read(plan("--site-map", file, "-f", "json")), read(plan(*options, "-f", "json"))
    assert mapped["findings"] == given["findings"] == before["findings"]
    change = next(each for each in mapped["changes"] if each["id"] == WEB_1)
    assert change == {
        "type": "OS::Nova::Server",
        "id": WEB_1,
        "name": "web-1",
        "field": "flavor",
        "before": change["before"],
        "after": "c2.huge",
        "rule": f"{file}:3 flavor.rules[0]",
    }
    assert {each["after"] for each in mapped["changes"]} == {"c2.huge", "c2.small"}
    assert {each["after"] for each in given["changes"]} == {"tiny"}
    sections = plan("--site-map", file).stdout.split("\n\n")
    (told,) = [
        each for each in sections if each.startswith(f"Changed by the site map ({len(mapped['changes'])}):")
    ]
    assert f"\n  OS::Nova::Server web-1  flavor  {change['before']} -> c2.huge" in told
    rule = f"--parameter restore_flavor_id, over {file}:3 flavor.rules[0]"
    assert rule in [each["rule"] for each in given["changes"]]
    assert rule in plan(*options).stdout


def test_the_template_has_what_the_site_map_says(plan, site_map):
    done = plan("--site-map", site_map("flavor: {default: c2.small}\n"), "--output", "-")
    resources = yaml.safe_load(done.stdout)["resources"].values()
    servers = [each["properties"] for each in resources if each["type"] == "OS::Nova::Server"]
    assert servers
    assert {each["flavor"] for each in servers} == {"c2.small"}


def test_a_broken_site_map_is_refused_with_file_and_line(plan, site_map):
    file = site_map("flavor:\n  map: {a: 1}\n  polizy: nearest\n")
    done = plan("--site-map", file)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"{file}:2: flavor.map.a: 1 is no text to YAML: write it in quotes\n"
        f"{file}:3: flavor.polizy: there is no such key\n"
    )


# The template


def test_the_file_has_the_bytes_of_the_template(plan, tmp_path):
    file = tmp_path / "app.yaml"
    done = plan("--output", str(file))
    (hot,) = restore.plan("latest", bank=WEBAPP).hots
    assert file.read_bytes() == hot.text.encode()
    assert f"template: {file}\n" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} <= {"app.yaml", "app.env.yaml"}


def test_known_values_are_beside_the_template(plan, tmp_path):
    file = tmp_path / "app.yaml"
    done = plan(
        "--output", str(file), "--resource", WEB_1, "--parameter", "OS::Neutron::Network.networks=existing"
    )
    environment = tmp_path / "app.env.yaml"
    assert str(environment) in done.stderr
    values = yaml.safe_load(environment.read_text())["parameters"]
    assert values
    assert set(values) <= set(yaml.safe_load(file.read_text())["parameters"])


def test_only_the_template_goes_to_stdout(tmp_path):
    done = subprocess.run(
        processes.restore_worker("plan", "latest", "--bank", str(WEBAPP), "--output", "-"),
        capture_output=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout == restore.plan("latest", bank=WEBAPP).hots[0].text.encode()
    assert done.stderr.startswith(b"Checkpoint 3d60acf8-")
    assert list(tmp_path.iterdir()) == []


def test_what_is_too_large_for_a_stack_is_shown_cut_and_written_as_several(cli, tmp_path):
    small = {"RESTORE_STACK_RESOURCES": "12"}
    folder = tmp_path / "app"
    for _ in range(2):
        done = cli("plan", "latest", "--bank", str(WEBAPP), "--output", str(folder), env=small)
        assert done.returncode == 0, done.stderr
    hots = restore.plan("latest", bank=WEBAPP).hots
    assert len(hots) == 1
    template = done.stdout.split("\n\n")[-1].splitlines()
    rows = [line.split() for line in template if line.startswith("  stack ")]
    assert template[1] == f"Too large for one stack: cut into {len(rows)}:"
    assert sum(int(row[2]) for row in rows) == hots[0].resources
    assert all(int(row[2]) <= 12 for row in rows)
    assert rows[0][6:8] == ["at", "once"]
    names = {f"stack-{number}.yaml" for number in range(1, len(rows) + 1)}
    assert names | {"README.md"} <= {each.name for each in folder.iterdir()}
    # What the file says is what there is: each parameter is a value beside it, or taken from an earlier stack.
    text = (folder / "README.md").read_text()
    for number, name in enumerate(sorted(names), 1):
        section = text.split(f"\n## {number}: ")[1].split("\n## ")[0]
        assert f"openstack stack create NAME-{number} --wait --template {name}" in section
        taken = re.findall(
            r"--parameter (\S+)=\"\$\(openstack stack output show NAME-(\d+) (\S+) -f value", section
        )
        parameters = yaml.safe_load((folder / name).read_text()).get("parameters", {})
        for parameter, other, output in taken:
            assert parameter in parameters
            assert int(other) < number
            assert output in yaml.safe_load((folder / f"stack-{other}.yaml").read_text())["outputs"]
    refused = cli("plan", "latest", "--bank", str(WEBAPP), "--output", "-", env=small)
    assert refused.returncode == 1
    assert "name a directory for them (--output DIRECTORY)" in refused.stderr


def test_a_refused_plan_leaves_the_old_file(cli, tmp_path):
    file = tmp_path / "app.yaml"
    file.write_text("old")
    assert cli("plan", "latest", "--bank", "tests/banks/other-plugins", "--output", str(file)).returncode == 1
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_and_a_device_stay_what_they_are(plan, tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.yaml"
    link.symlink_to("there/app.yaml")
    assert plan("--output", str(link)).returncode == 0
    assert link.is_symlink()
    assert (tmp_path / "there" / "app.yaml").read_text().startswith("heat_template_version")
    assert plan("--output", "/dev/null").returncode == 0
    assert not os.path.isfile("/dev/null")  # noqa: PTH113 - shorter


def test_a_place_where_no_file_can_be_is_wrong_usage(plan):
    done = plan("--output", "no/such/app.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert "argument --output: " in done.stderr


def test_a_directory_is_for_several_templates(plan, tmp_path):
    done = plan("--output", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(f"{tmp_path} is a directory, and there is one template: name a file in it\n")
    assert list(tmp_path.iterdir()) == []


def test_nothing_for_heat_to_build(plan, tmp_path):
    done = plan("--resource", IMAGE, "--output", str(tmp_path / "app.yaml"))
    assert done.returncode == 0
    assert "No template: there is nothing for Heat to build." in done.stdout
    assert list(tmp_path.iterdir()) == []


# What is asked for


def test_a_part_comes_with_what_it_needs(plan):
    part = ("--resource", f"OS::Nova::Server#{WEB_1}", "--parameter", "OS::Neutron::Network.networks=new")
    names = [each["name"] for each in read(plan("-f", "json", *part))["resources"]]
    assert sorted(names) == ["Network Topology", "ubuntu-18.04-web", "web-1", "web-uploads"]


def test_people_see_what_a_choice_brings_with_it_and_leaves_out(plan):
    part = ("--resource", "OS::Nova::Server", "--skip", WEB_UPLOADS, "--name-prefix", "copy-of-")
    networks = ("--parameter", "OS::Neutron::Network.networks=new")
    done = plan(*part, *networks)
    assert (done.returncode, done.stderr) == (0, "")
    _, added, left_out, order, *_ = done.stdout.split("\n\n")
    assert added.startswith("Restored with what was chosen (4):\n  OS::Cinder::Volume ")
    assert left_out == (
        "Left out (3):\n"
        f"  OS::Glance::Image   ubuntu-18.04-web  {IMAGE}  only what is left out needs it\n"
        f"  OS::Cinder::Volume  web-uploads       {WEB_UPLOADS}  it is skipped\n"
        f"  OS::Nova::Server    web-1             {WEB_1}  it needs OS::Cinder::Volume 'web-uploads' ({WEB_UPLOADS})"
    )
    assert order.startswith("Order of the restore (6):")
    found = read(plan("-f", "json", *part, *networks))
    assert {
        "type": "OS::Nova::Server",
        "id": WEB_1,
        "name": "web-1",
        "restored": False,
        "reason": f"it needs OS::Cinder::Volume 'web-uploads' ({WEB_UPLOADS})",
    } in found["choice"]
    assert sum(each["restored"] for each in found["choice"]) == 4


def test_nothing_left_and_an_impossible_prefix_are_one_sentence(plan):
    done = plan("--resource", WEB_1, "--skip", WEB_UPLOADS)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("checkpoint 3d60acf8-b132-4930-bc5b-90294204e9f6 has nothing left to restore: ")
    done = plan("--name-prefix", "\t")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("the name prefix '\\t' is not the beginning of a name: ")


def test_an_unknown_resource_is_answered_with_the_types_there_are(plan):
    done = plan("--resource", "OS::Nova::Srever")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no resource 'OS::Nova::Srever'" in done.stderr
    assert "OS::Nova::Server" in done.stderr


def test_parameters_of_types_and_of_resources(plan, tmp_path):
    file = tmp_path / "app.yaml"
    done = plan(
        *("--output", str(file)),
        *("--parameter", "OS::Cinder::Volume.restore_description=moved = away"),
        *("--parameter", f"OS::Cinder::Volume#{WEB_UPLOADS}.restore_name=a.b=c"),
        *("--parameter", f"OS::Cinder::Volume#{WEB_UPLOADS}.restore_size=20"),
    )
    assert done.returncode == 0
    resources = yaml.safe_load(file.read_text())["resources"]
    descriptions = {
        each["properties"].get("description") for name, each in resources.items() if name.startswith("volume_")
    }
    assert descriptions - {None} == {"moved = away"}
    # A size of its own is what Heat would ignore: that one is built before the stack.
    assert f"p_volume_{WEB_UPLOADS}" in yaml.safe_load(file.read_text())["parameters"]


def test_an_id_may_hold_dots(plan, bank, tmp_path):
    file = tmp_path / "app.yaml"
    name = "OS::Cinder::Volume#vol.v1.restore_name=new.name=x"
    assert plan("--parameter", name, "--output", str(file), bank=bank).returncode == 0
    assert yaml.safe_load(file.read_text())["resources"]["volume_vol.v1"]["properties"]["name"] == "new.name=x"


def test_a_malformed_parameter_is_wrong_usage(plan):
    done = plan("--parameter", "OS::Nova::Server.restore_name")
    assert (done.returncode, done.stdout) == (2, "")
    assert "argument --parameter: 'OS::Nova::Server.restore_name' is not TYPE.NAME=VALUE or " in done.stderr


def test_an_unknown_parameter_is_a_problem_that_tells_the_known_ones(plan):
    done = plan("--parameter", "OS::Nova::Server.restore_flavour=m1.small", "-f", "json")
    [problem] = json.loads(done.stdout)["problems"]
    assert done.returncode == 1
    assert problem["field"] == "parameter restore_flavour"
    assert "restore_flavor_id" in problem["mend"]


@pytest.fixture
def damaged(tmp_path):
    """Give the bank of the web application with one bit of its image turned."""
    bank = tmp_path / "damaged"
    shutil.copytree(WEBAPP, bank)
    [chunk] = bank.glob(f"karbor/checkpoints/*/resource-data/{IMAGE}/data_2")
    data = bytearray(chunk.read_bytes())
    data[100] ^= 1
    chunk.write_bytes(data)
    return bank


def test_the_bytes_are_compared_unless_that_is_not_wanted(plan, damaged):
    done = plan("-f", "json", bank=damaged)
    [problem] = json.loads(done.stdout)["problems"]
    assert done.returncode == 1
    assert problem["id"] == IMAGE
    assert plan("--no-verify", bank=damaged).returncode == 0


# The cloud


def test_a_cloud_that_is_named_must_be_there(plan, tmp_path):
    clouds = tmp_path / "clouds.yaml"
    clouds.write_text(
        "clouds:\n  target:\n    auth: {auth_url: 'http://127.0.0.1:1/', username: u, password: secret}\n"
    )
    env = {"OS_CLIENT_CONFIG_FILE": str(clouds)}
    away = plan("--cloud", "target", env=env)
    assert (away.returncode, away.stdout) == (1, "")
    assert away.stderr.startswith("cloud target does not answer")
    done = plan("--cloud", "tarmac", env=env)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "clouds.yaml has no cloud 'tarmac', it names target\n"
    clouds.write_text("clouds: 5\n")
    assert plan("--cloud", "target", env=env).stderr.startswith("clouds.yaml cannot be read: ")
    assert "it names none at all" in plan("--cloud", "target").stderr


def test_the_environment_s_cloud_does_not_matter_to_a_plan(plan):
    assert plan(env={"OS_CLOUD": "elsewhere"}).returncode == 0


# How it behaves in a terminal


def test_neither_help_nor_a_plan_loads_what_it_does_not_need():
    code = (
        "import sys; from restore_worker.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(*(set(sys.modules) & {'celery', 'kombu', 'redis', 'openstack', 's3fs', 'botocore'}), file=sys.stderr)"
    )
    for arguments in (["plan", "--help"], ["plan", "latest", "--bank", str(WEBAPP)]):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
        assert done.stdout
        assert done.stderr == "\n"


def test_every_command_has_help_with_an_example():
    commands = [
        *("checkpoint list", "checkpoint show", "plan", "submit", "list"),
        *("show", "watch", "resume", "cancel", "destroy", "forget", "template"),
    ]
    code = (
        "import sys; from restore_worker.cli.main import main\n"
        "for command in sys.argv[1:]: main([*command.split(), '--help'])"
    )
    done = subprocess.run([sys.executable, "-c", code, *commands], capture_output=True, text=True, check=True)
    for command in commands:
        assert f"\nExample:\n  restore-worker {command}" in done.stdout


def test_it_works_in_any_directory_and_encoding(bank, tmp_path):
    done = subprocess.run(
        processes.restore_worker("plan", "latest", "--bank", "bank"),
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert r"Fr\xfch\x1b[2J" in done.stdout
    assert done.stderr == ""


def test_a_reader_that_goes_away_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        processes.restore_worker("plan", "latest", "--bank", str(WEBAPP)),
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_traceback_only_for_those_who_ask(plan, cli):
    assert "Traceback" not in plan(checkpoint="none").stderr
    assert "CheckpointError" in cli("--debug", "plan", "none", "--bank", str(WEBAPP)).stderr

"""`restore-worker submit` and what comes after it, through real workers."""

import json
import re
import shutil
import signal
import subprocess
import uuid

import pytest
import yaml

from tests.support import processes
from tests.support.sample_banks import SAMPLES, WEBAPP

WEB_1 = "fc688078-ce46-423f-a950-6a47b397c96d"
IMAGE = "fa764c51-96c8-4dd2-a403-2f9e7b7eaa06"
NO_PLUGIN = {"OS::Kubernetes::Pod"}


@pytest.fixture
def submit(cli):
    """Give a function that submits the newest checkpoint of the web application."""

    def call(*options, checkpoint="latest", bank=WEBAPP, **choices):
        return cli("submit", checkpoint, "--bank", str(bank), *options, **choices)

    return call


@pytest.fixture
def submitted(submit):
    """Give a function that submits and returns the id alone."""

    def call(*options, **choices):
        done = submit("--no-stack", *options, **choices)
        assert done.returncode == 0, done.stderr
        return str(uuid.UUID(done.stdout.removesuffix("\n")))

    return call


def show(cli, restore_id):
    done = cli("show", restore_id, "-f", "json")
    assert done.returncode == 0
    return json.loads(done.stdout)


def test_plan_and_workers_agree_on_every_sample(cli, worker, tmp_path):
    worker()
    planned, exported = tmp_path / "planned.yaml", tmp_path / "exported.yaml"
    for sample in SAMPLES:
        request = (sample.checkpoint, "--bank", str(sample.bank))
        unknown = sample.expected["types"].keys() & NO_PLUGIN
        plan = cli("plan", *request, "--output", str(planned))
        submit = cli("submit", *request, "--no-stack", "--wait", "--export", str(exported))
        assert (plan.returncode, submit.returncode) == ((1, 1) if unknown else (0, 0)), submit.stderr
        for resource_type in unknown:
            assert re.search(rf"^  {resource_type} '.+' \(.+\): no plugin", submit.stderr, re.MULTILINE)
        assert bool(submit.stdout) == (not unknown)
        assert planned.exists() == exported.exists()
        for file in (planned, planned.with_suffix(".env.yaml")):
            twin = file.with_name(file.name.replace("planned", "exported"))
            assert (file.exists() and file.read_bytes()) == (twin.exists() and twin.read_bytes())
            file.unlink(missing_ok=True)
            twin.unlink(missing_ok=True)
    assert len(json.loads(cli("list", "-f", "json").stdout)) == sum(
        not sample.expected["types"].keys() & NO_PLUGIN for sample in SAMPLES
    )


def test_they_agree_on_a_part_with_parameters(cli, worker, tmp_path):
    worker()
    request = (
        *("latest", "--bank", str(WEBAPP), "--resource", WEB_1),
        *("--parameter", "OS::Neutron::Network.networks=existing"),
        *("--parameter", f"OS::Nova::Server#{WEB_1}.restore_name=wéb = 2"),
    )
    assert cli("plan", *request, "--output", str(tmp_path / "planned.yaml")).returncode == 0
    done = cli("submit", *request, "--no-stack", "--wait", "--export", str(tmp_path / "exported.yaml"))
    assert done.returncode == 0
    for name in ("planned.yaml", "planned.env.yaml"):
        assert (tmp_path / name).read_bytes() == (tmp_path / name.replace("planned", "exported")).read_bytes()
    assert "wéb = 2" in (tmp_path / "exported.yaml").read_text()


def test_progress_is_told_with_counts(submit, worker):
    worker()
    done = submit("--wait", "--no-stack")
    lines = [line for line in done.stderr.splitlines() if line.startswith("[")]
    assert lines[:3] == ["[0/10] pending", "[0/10] checking", "[0/10] restoring"]
    assert lines[-2:] == ["[10/10] assembling", "[10/10] complete"]
    assert [line.split()[0] for line in lines if " done " in line] == [f"[{count}/10]" for count in range(1, 11)]
    assert re.search(r"^\[\d+/10\] done OS::Cinder::Volume web-uploads$", done.stderr, re.MULTILINE)


def test_the_id_is_the_result_and_leads_to_the_rest(cli, submit, worker, tmp_path):
    worker()
    done = submit()
    restore_id = done.stdout.strip()
    assert "no cloud is named: the template is rendered, nothing is built\n" in done.stderr
    assert f"restore-worker watch {restore_id}" in done.stderr
    watched = cli("watch", restore_id)
    assert (watched.returncode, watched.stderr) == (0, "")
    assert watched.stdout.endswith("[10/10] complete\n")
    listed = json.loads(cli("list", "-f", "json").stdout)
    assert [(each["ID"], each["State"], each["Plan"]) for each in listed] == [
        (restore_id, "complete", "webapp-nightly")
    ]
    shown = show(cli, restore_id)
    assert (shown["size"], shown["left"], shown["failed"]) == (10, 0, 0)
    assert {each["state"] for each in shown["resources"]} == {"done"}
    assert {each["type"] for each in shown["findings"]} > {"OS::Nova::Server"}
    file = tmp_path / "app.yaml"
    assert cli("template", restore_id, "--output", str(file)).returncode == 0
    printed = subprocess.run(processes.restore_worker("template", restore_id), capture_output=True, check=True)
    assert printed.stdout == file.read_bytes()
    assert yaml.safe_load(printed.stdout)["heat_template_version"]
    ended = cli("cancel", restore_id)
    assert (ended.returncode, ended.stderr) == (
        1,
        f"restore {restore_id} is complete: it came to its end before, so destroy it if what it made shall go\n",
    )


def test_what_has_nothing_for_heat_has_no_template(cli, submit, worker, tmp_path):
    worker()
    file = tmp_path / "app.yaml"
    done = submit("--no-stack", "--wait", "--resource", IMAGE, "--export", str(file))
    assert done.returncode == 0
    assert "there is nothing for Heat to build" in done.stderr
    assert not file.exists()
    template = cli("template", done.stdout.strip())
    assert (template.returncode, template.stdout) == (1, "")
    assert "is complete and has no template: there is nothing for Heat to build" in template.stderr


def test_a_failure_is_told_and_resumed(cli, submit, worker, tmp_path):
    worker()
    bank, export = tmp_path / "bank", tmp_path / "app.yaml"
    shutil.copytree(WEBAPP, bank)
    [chunk] = bank.glob(f"karbor/checkpoints/*/resource-data/{IMAGE}/data_2")
    whole = chunk.read_bytes()
    chunk.write_bytes(bytes(len(whole)))
    done = submit("--no-stack", "--wait", "--export", str(export), bank=bank)
    restore_id = done.stdout.strip()
    assert done.returncode == 1
    assert f"\nrestore {restore_id} failed: 2 of 10 resources were not restored: OS::Glance::Image" in done.stderr
    assert f"restore-worker resume {restore_id}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not export.exists()
    assert cli("template", restore_id).returncode == 1
    states = {each["name"]: each for each in show(cli, restore_id)["resources"]}
    assert states["ubuntu-18.04-web"]["state"] == "failed"
    assert "was saved" in states["ubuntu-18.04-web"]["reason"]
    assert states["web-1"]["state"] == "skipped"
    assert states["db-1"]["state"] == "done"
    assert cli("watch", restore_id).returncode == 1

    chunk.write_bytes(whole)
    assert cli("resume", restore_id).returncode == 0
    watched = cli("watch", restore_id)
    assert watched.returncode == 0
    counts = [int(re.match(r"\[(\d+)/10\]", line)[1]) for line in watched.stdout.splitlines()]
    assert counts[-1] == 10
    # What was not restored is counted once more after it is resumed.
    resumed = next(place for place, line in enumerate(watched.stdout.splitlines()) if "pending: resumed" in line)
    assert counts[resumed - 1 : resumed + 1] == [10, 8]
    assert cli("template", restore_id, "--output", str(export)).returncode == 0
    assert cli("plan", "latest", "--bank", str(WEBAPP), "--output", str(tmp_path / "planned.yaml")).returncode == 0
    assert (tmp_path / "planned.yaml").read_bytes() == export.read_bytes()


def test_it_says_that_nobody_works_and_goes_on_without_its_watcher(cli, worker, redis_url, tmp_path):
    command = processes.restore_worker("submit", "latest", "--bank", str(WEBAPP), "--no-stack", "--wait")
    waiting = processes.Program(command, tmp_path / "submit.log")
    waiting.wait_for(
        "no worker on queue restore\nno worker on queue transfer\nno beat has run yet\n[0/10] still waiting"
    )
    assert waiting.stop(signal.SIGINT) == 130
    assert "Traceback" not in waiting.output
    restore_id = re.search(r"^restore (\S+) goes on: `restore-worker watch \1`", waiting.output, re.MULTILINE)[1]
    shown = cli("show", restore_id, "-f", "value", "-c", "state")
    assert shown.stdout == "pending\n"
    assert "no worker on queue transfer\n" in shown.stderr

    assert cli("cancel", restore_id).returncode == 0
    watched = cli("watch", restore_id)
    assert watched.returncode == 1
    assert watched.stderr.startswith(f"restore {restore_id} cancelled: cancelled by its user\n")
    assert cli("resume", restore_id).returncode == 0
    worker()
    assert cli("watch", restore_id).stdout.endswith("[10/10] complete\n")


# What is refused before anything is written


@pytest.fixture
def nothing_written(cli, redis_url):
    """Look afterwards that no restore came into being."""
    yield
    assert cli("list", "-f", "json").stdout == "[]\n"


@pytest.mark.usefixtures("nothing_written")
def test_a_cloud_that_clouds_yaml_does_not_name_is_refused(submit):
    for options, env in (
        (["--cloud", "tarmac"], {}),
        (["--cloud", "tarmac", "--no-stack"], {}),
        ([], {"OS_CLOUD": "tarmac"}),
    ):
        done = submit(*options, env=env)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "clouds.yaml has no cloud 'tarmac', it names none at all\n"


def test_the_environment_s_cloud_is_no_matter_without_a_stack(submit, redis_url):
    done = submit("--no-stack", env={"OS_CLOUD": "target"})
    assert done.returncode == 0
    assert "no cloud is named" not in done.stderr


@pytest.mark.usefixtures("nothing_written")
def test_all_problems_are_told(submit):
    done = submit("--parameter", "OS::Nova::Server.restore_nam=x", "--parameter", "OS::Glance::Image.size=1")
    assert (done.returncode, done.stdout) == (1, "")
    headline, *problems = done.stderr.splitlines()
    assert headline == "checkpoint 3d60acf8-b132-4930-bc5b-90294204e9f6 cannot be restored so:"
    assert len(problems) == 2
    assert problems[0].startswith("  OS::Nova::Server, parameter restore_nam: ")


@pytest.mark.usefixtures("nothing_written")
def test_an_export_without_wait_is_wrong_usage(submit, tmp_path):
    done = submit("--export", str(tmp_path / "app.yaml"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "--export needs --wait" in done.stderr


def test_without_redis_it_says_what_to_start(submit, cli):
    for done in (submit("--no-stack"), cli("list")):
        assert (done.returncode, done.stdout) == (1, "")
        assert "start `restore-worker up`" in done.stderr


@pytest.mark.parametrize("command", ["show", "watch", "resume", "cancel", "template"])
def test_an_unknown_restore(cli, redis_url, command):
    done = cli(command, "nobody-knows")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "'nobody-knows' is no id of a restore: `restore-worker list` shows them\n"


def test_a_restore_that_nobody_has_taken_up_has_no_template_yet(cli, submitted, redis_url):
    restore_id = submitted()
    done = cli("template", restore_id)
    assert done.returncode == 1
    assert "is pending and has no template: not yet" in done.stderr

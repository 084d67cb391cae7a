import json

import pytest

from restore_worker import cloud
from restore_worker.errors import CloudError, CloudUnavailableError
from restore_worker.hot import Hot
from restore_worker.stack import Heat, Stack
from tests.support.stub_identity import Answer, stub_identity, write_clouds

HOT = Hot("heat_template_version: '2016-10-14'\n", {"p_image": "00012"}, (), 1)
STACK = {
    "id": "stack-id",
    "stack_name": "restore-r1",
    "stack_status": "CREATE_IN_PROGRESS",
    "stack_status_reason": None,
    "creation_time": "2026-01-01T00:00:00Z",
    "updated_time": None,
    "tags": ["restore:r1"],
}


@pytest.fixture
def stub(tmp_path, monkeypatch):
    with stub_identity() as served:
        monkeypatch.setenv(
            "OS_CLIENT_CONFIG_FILE", str(write_clouds(tmp_path / "clouds.yaml", stub=served.entry()))
        )
        monkeypatch.setattr(cloud, "_connections", {})
        yield served


@pytest.fixture
def heat(stub):
    return Heat("stub")


def refusal(status, kind, message=None):
    error = {"type": kind, "message": message, "traceback": "Traceback (most recent call last): secret"}
    return Answer(status, {"code": status, "explanation": "It broke.", "error": error})


def create(heat, checkpoint="c1"):
    return heat.create("r1", checkpoint, HOT, minutes=7)


def test_what_is_created_has_the_template_untouched_and_the_tags_of_its_restore(stub, heat):
    stub.answers["POST /orchestration/stacks"] = [Answer(201, {"stack": {"id": "stack-id"}})]
    stub.answers["GET /orchestration/stacks/stack-id"] = [Answer(body={"stack": STACK})]
    assert create(heat, "Größe, 1 " + "x" * 100) == Stack(
        "stack-id", "restore-r1", "CREATE_IN_PROGRESS", "", "2026-01-01T00:00:00Z"
    )
    sent = json.loads(next(each.body for each in stub.requests if each.path == "/orchestration/stacks"))
    tags = sent.pop("tags").split(",")
    assert sent == {
        "stack_name": "restore-r1",
        "template": HOT.text,
        "parameters": {"p_image": "00012"},
        "timeout_mins": 7,
        "disable_rollback": True,
    }
    assert tags[0] == "restore:r1"
    assert tags[1].startswith("checkpoint:Gr__e__1_xxx")
    assert tags[2:] == ["restore-worker"]
    assert max(map(len, tags)) == 80


def test_an_answer_that_is_lost_is_told_and_nothing_is_sent_again(stub, heat):
    stub.answers["POST /orchestration/stacks"] = [Answer(0)]
    with pytest.raises(
        CloudUnavailableError, match="cloud stub does not answer when creating the stack restore-r1"
    ):
        create(heat)
    assert stub.asked() == ["POST /orchestration/stacks"]


def test_a_stack_of_this_restore_that_is_there_is_taken(stub, heat):
    stub.answers["POST /orchestration/stacks"] = [refusal(409, "StackExists")]
    stub.answers["GET /orchestration/stacks/restore-r1"] = [Answer(body={"stack": STACK})]
    assert create(heat).id == "stack-id"


@pytest.mark.parametrize("tags", [None, ["restore:r2"]])
def test_a_stack_of_somebody_else_that_is_there_is_not_taken(stub, heat, tags):
    stub.answers["POST /orchestration/stacks"] = [refusal(409, "StackExists")]
    stub.answers["GET /orchestration/stacks/restore-r1"] = [Answer(body={"stack": STACK | {"tags": tags}})]
    with pytest.raises(CloudError, match="a stack restore-r1 that is not of this restore: rename or delete it"):
        create(heat)


def test_a_login_that_is_not_found_is_no_stack_that_is_not_found(stub, heat):
    stub.answers["GET /orchestration/stacks/restore-r1"] = [Answer(404)]
    assert heat.find("restore-r1") is None
    stub.answers |= {"GET /orchestration/stacks/restore-r1": [Answer(401)], "POST /v3/auth/tokens": [Answer(404)]}
    with pytest.raises(CloudError, match=r"auth/tokens|looking for the stack restore-r1 \(HTTP 404\)"):
        heat.find("restore-r1")


def test_a_stack_that_heat_still_works_on_is_worth_another_try(stub, heat):
    stub.answers["PATCH /orchestration/stacks/stack-id"] = [refusal(409, "ActionInProgress")]
    with pytest.raises(CloudUnavailableError, match="the stack stack-id is busy"):
        heat.update("stack-id", HOT, minutes=7)


def test_an_engine_that_is_away_is_worth_another_try(stub, heat):
    stub.answers["POST /orchestration/stacks/preview"] = [refusal(500, "MessagingTimeout")]
    with pytest.raises(CloudUnavailableError, match="when checking the stack restore-r1"):
        heat.preview("r1", HOT)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            refusal(500, "RemoteError"),
            r"cloud stub refuses when checking the stack restore-r1 \(HTTP 500\): It broke. \(RemoteError\)$",
        ),
        (
            refusal(400, "StackValidationFailed", "Property error:\n no flavor"),
            r"\(HTTP 400\): Property error: no flavor$",
        ),
        (Answer(500, "<html><h1>500</h1>no way</html>"), r"\(HTTP 500\): 500 no way$"),
        (refusal(403, "Forbidden", "no"), r"\(HTTP 403\): no; the user lacks a role"),
    ],
)
def test_what_heat_refuses_is_told_in_its_words(stub, heat, answer, said):
    stub.answers["POST /orchestration/stacks/preview"] = [answer]
    with pytest.raises(CloudError, match=said):
        heat.preview("r1", HOT)


def test_a_refusal_to_cancel_that_is_none_of_the_stacks_state_is_told(stub, heat):
    stub.answers["POST /orchestration/stacks/stack-id/actions"] = [
        refusal(400, "NotSupported", "Cancelling update when stack is CREATE_FAILED is not supported."),
        refusal(400, "Invalid", "odd"),
    ]
    heat.cancel("stack-id")
    with pytest.raises(CloudError, match="odd"):
        heat.cancel("stack-id")


@pytest.mark.parametrize(
    ("status", "true"),
    [
        ("CREATE_IN_PROGRESS", {"busy"}),
        ("CREATE_COMPLETE", {"complete"}),
        ("UPDATE_COMPLETE", {"complete"}),
        ("CREATE_FAILED", {"failed"}),
        ("ROLLBACK_IN_PROGRESS", {"busy"}),
        ("ROLLBACK_COMPLETE", {"failed"}),
        ("DELETE_IN_PROGRESS", {"busy", "deleted"}),
        ("DELETE_COMPLETE", {"deleted"}),
        ("DELETE_FAILED", {"failed", "deleted"}),
    ],
)
def test_what_a_status_means(status, true):
    stack = Stack("id", "name", status, "", "")
    assert {name for name in ("busy", "complete", "failed", "deleted") if getattr(stack, name)} == true

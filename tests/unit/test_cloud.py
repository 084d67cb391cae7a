import logging
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import requests
import yaml
from keystoneauth1 import exceptions as keystone
from openstack import exceptions as sdk

from restore_worker import cloud, session
from restore_worker.errors import BankError, CloudError, CloudUnavailableError
from restore_worker.plugin import StillBuilding
from tests.support.stub_identity import PASSWORD, PROJECT, Answer, stub_identity, write_clouds


@pytest.fixture
def stub(tmp_path, monkeypatch):
    """A cloud named stub; pauses between repetitions are short."""
    monkeypatch.setattr(session, "_PAUSE", 0.01)
    monkeypatch.setattr(session, "_PATIENCE", 2.0)
    with stub_identity() as served:
        use(served, tmp_path, monkeypatch, stub=served.entry())
        yield served


@pytest.fixture
def name_clouds(stub, tmp_path, monkeypatch):
    return lambda **clouds: use(stub, tmp_path, monkeypatch, **clouds)


def use(served, tmp_path, monkeypatch, **clouds):
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(write_clouds(tmp_path / "clouds.yaml", **clouds)))
    monkeypatch.setattr(cloud, "_connections", {})


def call(method="GET", **options):
    """Send a request to Glance as openstacksdk does."""
    with cloud.translated("stub"):
        response = cloud.connect("stub").image.request("/images", method, **options)
        sdk.raise_from_response(response)
        return response.json()


# ------------------------------------------------------------------------------------------------ what is repeated


@pytest.mark.parametrize("first", [Answer(0), Answer(429), Answer(502), Answer(503), Answer(504)])
def test_what_changes_nothing_is_asked_again(stub, first):
    stub.answers["GET /image/v2/images"] = [first, first, Answer(body={"images": []})]
    assert call() == {"images": []}
    assert stub.asked() == ["GET /image/v2/images"] * 3


@pytest.mark.parametrize("answer", [Answer(0), Answer(429), Answer(503)])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_what_changes_something_is_asked_once(stub, name_clouds, method, answer):
    name_clouds(stub=stub.entry(image_status_code_retries=5, image_connect_retries=5))
    stub.answers[f"{method} /image/v2/images"] = [answer]
    with pytest.raises(CloudUnavailableError):
        call(method, json={})
    assert stub.asked(method) == [f"{method} /image/v2/images"]


@pytest.mark.parametrize(("answer", "said"), [(Answer(0), "does not answer"), (Answer(503), "cannot answer now")])
def test_patience_ends(stub, answer, said):
    stub.answers["GET /image/v2/images"] = [answer]
    begun = time.monotonic()
    with pytest.raises(CloudUnavailableError, match=f"cloud stub {said}"):
        call()
    assert time.monotonic() - begun < 3.5
    assert len(stub.asked()) > 3


def test_a_server_that_names_a_time_is_given_it(stub, monkeypatch):
    monkeypatch.setattr(session, "_PATIENCE", 5.0)
    stub.answers["GET /image/v2/images"] = [Answer(429, headers={"Retry-After": "1"}), Answer()]
    begun = time.monotonic()
    call()
    assert time.monotonic() - begun >= 1


def test_a_server_that_wants_more_time_than_we_have_is_not_waited_for(stub):
    stub.answers["GET /image/v2/images"] = [Answer(503, headers={"Retry-After": "3600"})]
    with pytest.raises(CloudUnavailableError) as caught:
        call()
    assert len(stub.asked()) == 1
    # Who tries again later knows when.
    assert caught.value.after == 3600


@pytest.mark.parametrize("wanted", [{"Retry-After": "7"}, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, {}])
def test_a_change_that_was_not_made_is_asked_for_again_when_the_server_wants(stub, wanted):
    stub.answers["POST /image/v2/images"] = [Answer(503, headers=wanted)]
    with pytest.raises(CloudUnavailableError) as caught:
        call("POST", json={})
    assert caught.value.after == (7 if wanted.get("Retry-After") == "7" else 0)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(("minutes", "most"), [(10, 600), (60 * 24 * 365, 3600)])
def test_a_server_may_name_a_time_of_day(stub, method, minutes, most):
    until = format_datetime(datetime.now(UTC) + timedelta(minutes=minutes), usegmt=True)
    stub.answers[f"{method} /image/v2/images"] = [Answer(503, headers={"Retry-After": until})]
    with pytest.raises(CloudUnavailableError) as caught:
        call(method)
    assert most - 60 < caught.value.after <= most
    assert len(stub.asked(method)) == 1


@pytest.mark.parametrize(
    "until", ["soon", "-5", "Fri, 31 Dec 1999 23:59:59 -0000", "Fri, 99 Dec 2099 23:59:59 GMT"]
)
def test_a_time_that_is_none_is_not_waited_for(stub, until):
    stub.answers["POST /image/v2/images"] = [Answer(503, headers={"Retry-After": until})]
    with pytest.raises(CloudUnavailableError) as caught:
        call("POST")
    assert caught.value.after == 0


@pytest.mark.parametrize("status", [400, 404, 500])
def test_a_refusal_is_final(stub, status):
    stub.answers["GET /image/v2/images"] = [Answer(status, {"error": {"message": "no such thing"}})]
    with pytest.raises(CloudError, match=rf"cloud stub refuses.*\(HTTP {status}\): no such thing") as caught:
        call()
    assert not isinstance(caught.value, CloudUnavailableError)
    assert len(stub.asked()) == 1


# ------------------------------------------------------------------------------------------------ tokens and uploads


def test_a_token_that_is_not_accepted_any_more_is_replaced(stub):
    call()
    stub.answers["GET /image/v2/images"] = [Answer(401), Answer(body={"images": []})]
    assert call() == {"images": []}
    assert stub.tokens == 2


@pytest.mark.parametrize(("answer", "said"), [(Answer(401), "token"), (Answer(0), "does not answer")])
def test_an_upload_is_not_sent_twice_with_the_same_token(stub, answer, said):
    stub.answers["PUT /image/v2/images"] = [answer, Answer()]
    with pytest.raises(CloudUnavailableError, match=said):
        call("PUT", data=iter([b"first", b"second"]))
    assert stub.asked("PUT") == ["PUT /image/v2/images"]
    call("PUT", data=iter([b"first", b"second"]))
    assert stub.requests[-1].body == b"firstsecond"
    assert stub.tokens == 2


def test_an_upload_that_takes_longer_than_a_timeout_goes_through(stub, name_clouds):
    name_clouds(stub=stub.entry(api_timeout=1.0))

    def slowly():
        for _ in range(5):
            time.sleep(0.3)
            yield b"x"

    call("PUT", data=slowly())
    assert stub.requests[-1].body == b"xxxxx"


def test_a_server_that_keeps_silent_is_left(stub, name_clouds):
    name_clouds(stub=stub.entry(api_timeout=0.2))
    stub.answers["POST /image/v2/images"] = [Answer(seconds=1.0)]
    with pytest.raises(CloudUnavailableError, match="timed out"):
        call("POST", json={})


# ------------------------------------------------------------------------------------------------ which cloud


def test_the_environment_does_not_change_what_clouds_yaml_says(stub, monkeypatch):
    for name, value in {
        "OS_AUTH_URL": "http://127.0.0.1:1/v3",
        "OS_USERNAME": "somebody",
        "OS_PASSWORD": "wrong",
        "OS_PROJECT_NAME": "other",
        "OS_REGION_NAME": "Elsewhere",
        "OS_AUTH_TYPE": "token",
    }.items():
        monkeypatch.setenv(name, value)
    assert cloud.identity("stub") == cloud.Identity(stub.url, "RegionOne", PROJECT)
    assert b"somebody" not in stub.requests[-1].body
    assert PASSWORD.encode() in stub.requests[-1].body
    with pytest.raises(CloudError, match="has no cloud 'envvars', it names stub"):
        cloud.connect("envvars")


def test_one_cloud_has_one_identity_however_its_url_is_spelled(stub, name_clouds):
    port = stub.url.rpartition(":")[2]
    urls = (stub.url, f"{stub.url}/", f"{stub.url}/v3/", f"http://user:secret@LOCALHOST:{port}/v3")
    name_clouds(**{f"cloud{number}": stub.entry(auth={"auth_url": url}) for number, url in enumerate(urls)})
    found = [cloud.identity(f"cloud{number}") for number in range(len(urls))]
    assert [each.auth_url for each in found] == [stub.url] * 3 + [f"http://localhost:{port}"]
    assert str(found[0]) == f"project {PROJECT} of {stub.url}, region RegionOne"


def test_a_login_without_project_is_refused(stub):
    stub.scoped = False
    with pytest.raises(CloudError, match="cloud stub has no project: set project_name"):
        cloud.identity("stub")


def test_a_process_has_one_connection_to_a_cloud(stub, name_clouds, monkeypatch):
    name_clouds(stub=stub.entry(), other=stub.entry())
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(cloud.connect, ["stub"] * 8))
    assert len(found) == 1
    assert cloud.connect("other") not in found
    monkeypatch.setattr("os.getpid", lambda: 1)
    assert cloud.connect("stub") not in found


def test_a_service_that_was_away_is_found_later(stub):
    stub.answers["GET /image"] = stub.answers["GET /"] = [Answer(503)]
    with pytest.raises(CloudUnavailableError), cloud.translated("stub"):
        _ = cloud.connect("stub").image
    stub.answers.clear()
    assert call() == {}


@pytest.mark.parametrize("password", ["*hunter2", "!hunter2", "[hunter2", "'hunter2"])
def test_of_a_clouds_yaml_that_is_no_yaml_only_the_place_is_told(tmp_path, monkeypatch, caplog, password):
    path = tmp_path / "clouds.yaml"
    path.write_text(f"clouds:\n  stub:\n    auth:\n      password: {password}\n")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))
    with pytest.raises(CloudError, match="has no cloud 'stub'") as raised:
        cloud.check_cloud("stub")
    assert f"{path}: line " in caplog.text
    assert "hunter2" not in caplog.text + str(raised.value)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (None, "clouds.yaml: what it says of cloud stub cannot be read"),
        (
            {"auth": {"username": "user"}},
            "cloud stub cannot be asked: .*auth_url.*; check the cloud in clouds.yaml",
        ),
        ({"auth_type": "nonsense", "auth": {}}, "cloud stub cannot be asked: .*nonsense"),
    ],
)
def test_an_unusable_entry_is_told(name_clouds, entry, said):
    name_clouds(stub=entry)
    with pytest.raises(CloudError, match=said):
        cloud.connect("stub")


@pytest.mark.parametrize("path", ["", "/v3"])
def test_a_cloud_that_is_away_is_told(name_clouds, stub, path):
    name_clouds(stub=stub.entry(auth={"auth_url": f"http://127.0.0.1:1{path}"}))
    with pytest.raises(
        CloudUnavailableError, match=r"cloud stub does not answer: .*127.0.0.1:1.*Connection refused$"
    ):
        cloud.identity("stub")


# ------------------------------------------------------------------------------------------------ credentials


def test_a_password_is_good_for_stacks(stub):
    cloud.check_credentials("stub")


def test_a_restricted_application_credential_is_refused_with_the_command_that_mends_it(stub):
    stub.grants["application_credential"] = {"id": "credential", "name": "mine", "restricted": True}
    with pytest.raises(
        CloudError, match=r"name user and password there, or .* create --unrestricted restore-worker"
    ):
        cloud.check_credentials("stub")


def test_an_unrestricted_application_credential_is_good_if_keystone_lets_it_make_trusts(stub):
    stub.grants["application_credential"] = {"id": "credential", "name": "mine", "restricted": False}
    stub.answers["GET /v3/OS-TRUST/trusts"] = [Answer(body={"trusts": []}), Answer(403)]
    cloud.check_credentials("stub")
    with pytest.raises(CloudError, match="user and password"):
        cloud.check_credentials("stub")


def test_credentials_that_are_wrong_are_told_without_them(stub):
    stub.answers["POST /v3/auth/tokens"] = [Answer(401, {"error": {"message": "Not you."}})]
    with pytest.raises(CloudError, match=r"\(HTTP 401\): Not you; check user, password") as caught:
        cloud.identity("stub")
    assert PASSWORD not in str(caught.value)


def test_no_secret_leaves_the_session(stub, caplog):
    caplog.set_level(logging.DEBUG)
    call("POST", json={"user_data": "hidden-in-a-template"})
    stub.answers["GET /image/v2/images"] = [Answer(503)]
    with pytest.raises(CloudUnavailableError) as caught:
        call()
    told = caplog.text + str(caught.value) + repr(cloud.connect("stub")) + repr(cloud.connect("stub").session)
    assert [secret for secret in (PASSWORD, "token-1", "hidden-in-a-template") if secret in told] == []
    assert "127.0.0.1" in caplog.text


SPOKEN = 'a"b<c&d'


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": f"no: {SPOKEN}, token-1."}},
        '{no json: a\\"b<c&d, token-1}',
        "<html><b>no: a&quot;b&lt;c&amp;d, token-1</b></html>",
    ],
    ids=["JSON", "almost JSON", "HTML"],
)
def test_secrets_that_the_cloud_repeats_are_struck_out(stub, name_clouds, body):
    # As servers write it in their answers.
    name_clouds(stub=stub.entry(auth={"password": SPOKEN, "project_name": "shown"}))
    stub.answers["GET /image/v2/images"] = [Answer(403, body)]
    with pytest.raises(CloudError, match=r"\(HTTP 403\): .*\*\*\*, \*\*\*") as caught:
        call()
    # As a log would show it.
    told = "".join(traceback.format_exception(caught.value))
    assert [each for each in (SPOKEN, "&lt;c", "b<c", "token-1") if each in told] == []


def test_every_request_says_who_asks(stub):
    from restore_worker.stack import Heat

    stub.answers["GET /orchestration/stacks"] = [Answer(body={"stacks": []})]
    Heat("stub").ours(["a"])
    call()
    assert {each.headers["User-Agent"] for each in stub.requests} == {"restore-worker/0.1.0"}


# ------------------------------------------------------------------------------------------------ errors


def response(status, body, method="GET"):
    made = requests.Response()
    made.status_code = status
    made._content = body.encode()
    made.headers["Content-Type"] = "application/json" if body.startswith("{") else "text/html"
    made.request = requests.Request(method, "http://cloud/v2/things?token=x").prepare()
    return made


def sdk_error(status, body):
    try:
        sdk.raise_from_response(response(status, body))
    except sdk.SDKException as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            sdk_error(413, '{"overLimit": {"message": "VolumeSizeExceedsAvailableQuota: 10G"}}'),
            r"cloud demo refuses when asked for GET http://cloud/v2/things \(HTTP 413\): VolumeSizeExceedsAvailableQuota: 10G; .*quota",
        ),
        (
            sdk_error(403, '{"forbidden": {"message": "Quota exceeded for cores"}}'),
            "Quota exceeded for cores; .*quota",
        ),
        (sdk_error(404, '{"itemNotFound": {"message": "no flavor"}}'), r"\(HTTP 404\): no flavor$"),
        (sdk.NotFoundException("No Flavor found for x"), "cloud demo cannot be asked: No Flavor found for x$"),
        (
            keystone.EndpointNotFound("no compute in Nowhere"),
            "no compute in Nowhere; check the cloud in clouds.yaml$",
        ),
        (keystone.SSLError("SSL exception connecting to https://c: bad"), "bad; check the cloud in clouds.yaml$"),
        (requests.exceptions.SSLError("certificate"), "cannot be asked: certificate"),
        (sdk.ConfigException("what\nTraceback (most recent call last):\n File x"), "cannot be asked: what; check"),
        (requests.exceptions.InvalidURL("http://me:secret@host/x"), "cannot be asked: http://host/x"),
    ],
)
def test_what_the_cloud_refuses_is_told_in_one_sentence(error, said):
    with pytest.raises(CloudError, match=said) as caught, cloud.translated("demo"):
        raise error
    assert not isinstance(caught.value, CloudUnavailableError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        sdk_error(503, "<html><body><h1>503</h1> No server is available</body></html>"),
        keystone.ConnectFailure("Unable to establish connection to http://c: HTTPConnectionPool(...)"),
        keystone.ServiceUnavailable("busy"),
        sdk.ServiceDiscoveryException("Failed to create a working proxy"),
        requests.ConnectionError("reset"),
        requests.ReadTimeout("slow"),
        requests.exceptions.ChunkedEncodingError("cut off"),
    ],
)
def test_what_may_pass_is_worth_another_try(error):
    with (
        pytest.raises(CloudUnavailableError, match=r"cloud demo .* when making things"),
        cloud.translated("demo", "making things"),
    ):
        raise error


@pytest.mark.parametrize(
    "error", [BankError("mine"), StillBuilding("wait"), ValueError("broken"), OSError("disk")]
)
def test_what_is_not_of_the_cloud_passes_untouched(error):
    with pytest.raises(type(error)) as caught, cloud.translated("demo"):
        raise error
    assert caught.value is error


def test_the_file_is_found_by_its_variable(stub, tmp_path, monkeypatch):
    (tmp_path / "other.yaml").write_text(yaml.safe_dump({"clouds": {"elsewhere": stub.entry()}}))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "other.yaml"))
    cloud.check_cloud("elsewhere")
    with pytest.raises(CloudError, match="has no cloud 'stub', it names elsewhere"):
        cloud.check_cloud("stub")

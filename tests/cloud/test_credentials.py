"""Who may log in, and with what Heat creates a stack."""

from __future__ import annotations

import hashlib
import uuid

import pytest
import yaml
from openstack.exceptions import raise_from_response

from restore_worker import cloud as clouds
from restore_worker.errors import CloudError, CloudUnavailableError
from restore_worker.hot import assemble
from restore_worker.stack import Heat
from restore_worker.template import HeatResource

pytestmark = pytest.mark.disturbs


@pytest.fixture
def use(monkeypatch, tmp_path, demo):
    """Give what makes a cloud of clouds.yaml of the project demo, the only one there is."""

    def name_one(name: str, **changes) -> str:
        auth = {"auth_url": demo.config.config["auth"]["auth_url"]} | changes.pop("auth")
        entry = {"auth": auth, "region_name": demo.config.get_region_name(), **changes}
        path = tmp_path / "clouds.yaml"
        path.write_text(yaml.safe_dump({"clouds": {name: entry}}))
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))
        monkeypatch.setattr(clouds, "_connections", {})
        return name

    return name_one


@pytest.fixture
def credential(demo, use):
    """Give what makes an application credential, and names a cloud that has it."""
    user = demo.session.get_user_id()
    made = []

    def make(*, unrestricted: bool) -> str:
        name = f"test-{uuid.uuid4()}"
        made.append(demo.identity.create_application_credential(user, name, unrestricted=unrestricted))
        auth = {"application_credential_id": made[-1].id, "application_credential_secret": made[-1].secret}
        return use(name, auth_type="v3applicationcredential", auth=auth)

    yield make
    for each in made:
        demo.identity.delete_application_credential(user, each)


def password_of(demo, **changes) -> dict[str, str]:
    return {name: value for name, value in demo.config.config["auth"].items() if name != "auth_url"} | changes


def revoke(demo, connection) -> str:
    """Make the connection's token worthless, and return it."""
    token = connection.session.get_token()
    demo.identity.delete("/auth/tokens", headers={"X-Subject-Token": token})
    return token


def test_a_password_is_good(demo, use):
    name = use("mine", auth=password_of(demo))
    clouds.check_credentials(name)
    found = clouds.identity(name)
    assert found.project_id == demo.session.get_project_id()
    assert found == clouds.Identity(found.auth_url, demo.config.get_region_name(), found.project_id)
    assert f"{found.auth_url}/v3" == demo.config.config["auth"]["auth_url"]


def test_a_restricted_application_credential_is_refused(credential):
    name = credential(unrestricted=False)
    with pytest.raises(CloudError, match="openstack application credential create --unrestricted"):
        clouds.check_credentials(name)


def test_an_unrestricted_one_is_refused_where_keystone_lets_it_make_no_trust(credential):
    name = credential(unrestricted=True)
    with pytest.raises(CloudError, match="user and password"):
        clouds.check_credentials(name)


def test_an_unrestricted_one_is_good_where_keystone_lets_it_make_a_trust(cloud, credential):
    (nothing,) = assemble({"one": HeatResource("OS::Heat::None", {})}, "nothing")
    assert nothing is not None
    with cloud.configured(
        "keystone", {"security_compliance": {"allow_insecure_application_credential_trust_escalation": True}}
    ):
        name = credential(unrestricted=True)
        clouds.check_credentials(name)
        heat = Heat(name)
        stack = heat.create(name, "checkpoint", nothing, minutes=5)
        heat.delete(stack.id)


@pytest.mark.parametrize("wrong", ["password", "username", "project_name"])
def test_a_login_that_is_refused_tells_what_to_look_at(demo, use, wrong):
    name = use("mine", auth=password_of(demo, **{wrong: "no-such-thing"}))
    with pytest.raises(CloudError, match=r"cloud mine refuses.*\(HTTP 401\).*; check user, password") as caught:
        clouds.identity(name)
    assert not isinstance(caught.value, CloudUnavailableError)


def test_a_region_that_is_none_is_told(demo, use):
    name = use("mine", auth=password_of(demo), region_name="Nowhere")
    with pytest.raises(CloudError, match=r"Nowhere.*check the cloud in clouds.yaml"), clouds.translated(name):
        list(clouds.connect(name).compute.flavors())


def test_a_token_that_is_revoked_is_replaced(demo, use):
    name = use("mine", auth=password_of(demo))
    connection = clouds.connect(name)
    token = revoke(demo, connection)
    with clouds.translated(name):
        assert list(connection.network.networks(limit=1))
    assert connection.session.get_token() != token


def test_an_upload_with_a_revoked_token_is_told_and_the_next_one_goes_through(demo, use):
    data = bytes(range(256)) * 2048
    name = use("mine", auth=password_of(demo))
    connection = clouds.connect(name)
    image = demo.image.create_image(f"test-{uuid.uuid4()}", disk_format="raw", container_format="bare")
    revoke(demo, connection)

    def upload():
        pieces = (data for _ in range(16))
        headers = {"Content-Type": "application/octet-stream"}
        with clouds.translated(name):
            raise_from_response(connection.image.put(f"/images/{image.id}/file", data=pieces, headers=headers))

    try:
        with pytest.raises(CloudUnavailableError):
            upload()
        upload()
        assert demo.image.get_image(image).hash_value == hashlib.sha512(data * 16).hexdigest()
    finally:
        demo.image.delete_image(image)

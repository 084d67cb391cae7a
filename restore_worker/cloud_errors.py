"""Errors of the OpenStack libraries, in one sentence of ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from http import HTTPStatus

import heatclient.exc as heat
import keystoneauth1.exceptions as keystone
import requests
from openstack import exceptions as sdk

from restore_worker.errors import CloudError, CloudUnavailableError
from restore_worker.session import BUSY, wanted

# What calls of openstacksdk, heatclient and keystoneauth1 raise.
FOREIGN = (sdk.SDKException, heat.BaseException, keystone.ClientException, requests.RequestException)

_HINTS: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "; check user, password or application credential, and project in clouds.yaml",
    HTTPStatus.FORBIDDEN: "; the user lacks a role, or the project quota",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "; it is too large, or the project lacks quota",
}
_LOST = (
    keystone.RetriableConnectionFailure,
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    # openstacksdk forgets that a service did not answer when it asked for its versions; what is not in the catalog
    # is another error.
    sdk.ServiceDiscoveryException,
    sdk.NotSupported,
)
_NO_TRUST = (keystone.SSLError, requests.exceptions.SSLError)
_SETUP = (*_NO_TRUST, keystone.ClientException, sdk.ConfigException)
# Characters of a server's own words that are worth repeating.
_ENOUGH = 1000


def explained(cloud: str, doing: str, error: Exception, discreet: Callable[[str], str]) -> CloudError:
    """Return what happened as our error; CloudUnavailableError if the same call may succeed later.

    cloud: its name in clouds.yaml.
    doing: what was being done, "" to name the request.
    discreet: takes secrets out of a server's words.
    """
    # A failed look for a service says that there is none, and only its cause that it did not answer.
    cause = next(
        (each for each in _causes(error) if _told(each)[0] or isinstance(each, (*_LOST, *_NO_TRUST))), error
    )
    status, request, said = _told(cause)
    what = f" when {doing or request}" if doing or request else ""
    words = _plain(discreet(said))
    if status in BUSY:
        busy = CloudUnavailableError(f"cloud {cloud} cannot answer now{what} (HTTP {status}): {words}")
        busy.after = _wanted(cause)
        return busy
    if status:
        return CloudError(f"cloud {cloud} refuses{what} (HTTP {status}): {words}{_HINTS.get(status, '')}")
    if isinstance(cause, _LOST) and not isinstance(cause, _NO_TRUST):
        return CloudUnavailableError(f"cloud {cloud} does not answer{what}: {words}")
    hint = "; check the cloud in clouds.yaml" if isinstance(cause, _SETUP) else ""
    return CloudError(f"cloud {cloud} cannot be asked{what}: {words}{hint}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _told(error: BaseException) -> tuple[int, str, str]:
    """Return the HTTP status (0 if there was no answer), the request ("" if unknown), and the server's words."""
    match error:
        case sdk.HttpException():
            return error.status_code or 0, _request(error), error.details or error.message
        case keystone.HttpError():
            return error.http_status, _request(error), error.message.split(" (HTTP ")[0]
        case heat.HTTPException():
            return _told_by_heat(error)
        case keystone.ConnectionError() | requests.RequestException():
            *_, root = _causes(error)
            return 0, "", f"{re.split(': (?:HTTP|[(])', str(error))[0]}: {root}"
    return 0, "", str(error)


def _wanted(error: BaseException) -> float:
    """Return the seconds that the server wants us to wait, 0 if it does not say."""
    match error:
        case (
            keystone.HttpError(response=requests.Response() as response)
            | sdk.HttpException(response=requests.Response() as response)
        ):
            return wanted(response)
    return 0.0


def _told_by_heat(error: heat.HTTPException) -> tuple[int, str, str]:
    answer = error.error["error"]
    # Heat's API does not reach its engine.
    status = HTTPStatus.GATEWAY_TIMEOUT if answer.get("type") == "MessagingTimeout" else error.code
    said = answer.get("message") or f"{error.error.get('explanation', '')} ({answer.get('type')})"
    # What is no JSON is a proxy's page.
    return status, "", said.decode(errors="replace") if isinstance(said, bytes) else said


def _request(error: sdk.HttpException | keystone.HttpError) -> str:
    url = str(error.url or "").partition("?")[0]
    return " ".join(("asked for", str(error.method), url)) if url else ""


def _plain(words: str) -> str:
    """Return a server's words without line breaks, traceback, HTML and user info of URLs."""
    told, *_ = words.split("Traceback (most recent call last)")
    if told.lstrip().startswith("<"):
        told = re.sub(r"<[^>]*>", " ", told)
    return re.sub(r"//[^/\s@]+@", "//", " ".join(told.split()))[:_ENOUGH].rstrip(" .")

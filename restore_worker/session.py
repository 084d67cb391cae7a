"""HTTP to a cloud: what is repeated and for how long, who we say we are, what is never logged."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from keystoneauth1.exceptions import RetriableConnectionFailure, from_response
from keystoneauth1.session import Session
from requests import Response

from restore_worker import __version__
from restore_worker.errors import CloudUnavailableError

# Answers after which the same question is worth asking again.
BUSY = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
# Seconds to wait for a connection and for room to send, and for the next bytes of an answer, unless clouds.yaml
# has an api_timeout: to check a large template, or to store an image, takes time.
_TIMEOUT = (60.0, 60.0)
_TIMEOUT_OF_CHANGES = (60.0, 300.0)
# Seconds within which a call is repeated, and before its first repetition.
_PATIENCE = 15.0
_PAUSE = 0.5
# Seconds that a server may want us to wait; it may name a time of day, and its clock may be wrong.
_LONGEST = 3600.0


class CloudSession(Session):
    """A keystoneauth1 session that repeats what changes nothing, and nothing else.

    A call that was lost may have been executed: who made it looks whether it was.
    """

    def request(self, url: str, method: str, *args: Any, **options: Any) -> Response:
        """Do as keystoneauth1's session; CloudUnavailableError if an upload's token was not accepted any more."""
        options |= {
            "user_agent": f"restore-worker/{__version__}",
            # A template can hold secrets.
            "log": False,
            # openstacksdk asks some services to repeat whatever the call does.
            "connect_retries": 0,
            "status_code_retries": 0,
        }
        reads = method in {"GET", "HEAD"}
        options.setdefault("timeout", self.timeout or (_TIMEOUT if reads else _TIMEOUT_OF_CHANGES))
        if reads:
            return self._repeated(url, method, *args, **options)
        body = options.get("data")
        if hasattr(body, "read") or hasattr(body, "__next__"):
            return self._upload(url, method, *args, **options)
        return super().request(url, method, *args, **options)

    def _repeated(self, url: str, method: str, *args: Any, raise_exc: bool = True, **options: Any) -> Response:
        until = time.monotonic() + _PATIENCE
        pause = _PAUSE
        options["raise_exc"] = False
        while True:
            wait = pause
            try:
                response = super().request(url, method, *args, **options)
            except RetriableConnectionFailure:
                if time.monotonic() + wait > until:
                    raise
            else:
                wait = max(pause, wanted(response))
                if response.status_code not in BUSY or time.monotonic() + wait > until:
                    return _checked(response, raise_exc=raise_exc)
                response.close()
            time.sleep(wait)
            pause *= 2

    def _upload(self, url: str, method: str, *args: Any, raise_exc: bool = True, **options: Any) -> Response:
        """Send a body that can be read only once: a second sending would go on where the first one stopped."""
        options |= {"raise_exc": False, "allow_reauth": False}
        try:
            response = super().request(url, method, *args, **options)
        except RetriableConnectionFailure:
            # Some servers hang up on a token that they do not accept.
            self.invalidate()
            raise
        if response.status_code == HTTPStatus.UNAUTHORIZED and self.invalidate():
            raise CloudUnavailableError("the cloud did not accept the token for an upload any more")
        return _checked(response, raise_exc=raise_exc)


def _checked(response: Response, *, raise_exc: bool) -> Response:
    """Return the response, or raise what it means if that is asked for."""
    if raise_exc and response.status_code >= HTTPStatus.BAD_REQUEST:
        raise from_response(response, str(response.request.method), response.url)
    return response


def wanted(response: Response) -> float:
    """Return the seconds that the server wants us to wait, 0 if it does not say."""
    told = response.headers.get("Retry-After", "")
    if told.isdecimal():
        return min(float(told), _LONGEST)
    try:
        until = parsedate_to_datetime(told)
    except ValueError:
        return 0.0
    # Python takes -0000 for a time of no zone; HTTP knows but one.
    seconds = (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), _LONGEST)

"""The components' APIs, as the administrator: JSON over HTTP, with nothing but Python's own library."""

from __future__ import annotations

import json
from functools import cached_property
from http import HTTPStatus
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

from tests.cloud.openstack_cloud.site import PASSWORD, Site, SiteError

Json = dict[str, Any]
_open = build_opener(ProxyHandler({})).open  # no proxy leads to loopback


class Administrator:
    """Whoever may do all on a site."""

    def __init__(self, site: Site) -> None:
        self.site = site

    @cached_property
    def _token(self) -> tuple[str, str]:
        """A token, and the project that it is for."""
        domain = {"name": "Default"}
        user = {"name": "admin", "domain": domain, "password": PASSWORD}
        identity = {"methods": ["password"], "password": {"user": user}}
        scope = {"project": {"name": "admin", "domain": domain}}
        body = json.dumps({"auth": {"identity": identity, "scope": scope}}).encode()
        request = Request(self.site.url("keystone", "/v3/auth/tokens"), body, {"Content-Type": "application/json"})
        with _open(request, timeout=60) as response:
            return response.headers["X-Subject-Token"], json.load(response)["token"]["project"]["id"]

    def call(self, method: str, component: str, path: str, body: Json | bytes | None = None) -> Json:
        """Return the answer, empty if there is none; `{project}` in the path is that of the administrator.

        Where something is there already (409) the answer is empty, too. SiteError for other refusals.
        """
        token, project = self._token
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        request = Request(
            self.site.url(component, path.format(project=project)),
            body if body is None or isinstance(body, bytes) else json.dumps(body).encode(),
            {"X-Auth-Token": token, "Content-Type": kind},
            method=method,
        )
        try:
            with _open(request, timeout=60) as response:
                answer: Json = json.loads(response.read() or b"{}")
                return answer
        except HTTPError as fault:
            with fault:
                if fault.code != HTTPStatus.CONFLICT:
                    raise SiteError(f"{method} {request.full_url}: {fault.code} {fault.read()!r}") from fault
            return {}

    def ensure(self, component: str, path: str, kind: str, **fields: object) -> str:
        """Return the id of the thing of this kind and name; make it if there is none."""
        name = str(fields["name"])
        # Nova and Cinder list what is not public only if told so, the others refuse the question.
        query = "is_public=None" if component in ("nova", "cinder") else f"name={quote(name)}"
        listed = self.call("GET", component, f"{path}?{query}")
        there = [each["id"] for each in listed[f"{kind}s"] if each["name"] == name]
        return str(there[0] if there else self.call("POST", component, path, {kind: fields})[kind]["id"])

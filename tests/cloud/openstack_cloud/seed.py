"""What a site holds when its tests begin. All of it adds what is missing, and may be done again."""

from __future__ import annotations

import json

from tests.cloud.openstack_cloud.holdings import holds
from tests.cloud.openstack_cloud.rest import Administrator
from tests.cloud.openstack_cloud.site import PASSWORD, Site, clouds_yaml

# Manila makes no shares of snapshots unless the type says so.
_SHARE_TYPE = {
    "driver_handles_share_servers": "False",
    "snapshot_support": "True",
    "create_share_from_snapshot_support": "True",
}
_PROJECTS = ("demo", "target")  # each with a user of its name
_UNLIMITED = 1_000_000  # MiB, or images


def write_clouds_yaml() -> None:
    """Write the file with the clouds of all sites: `admin`, `demo`, `target`, and `admin-two` and so on.

    `operator` is the administrator in the project demo.
    """
    clouds = {site.cloud(name): _cloud(site, name, name) for site in Site.all() for name in ("admin", *_PROJECTS)}
    clouds |= {site.cloud("operator"): _cloud(site, "admin", "demo") for site in Site.all()}
    clouds_yaml().parent.mkdir(parents=True, exist_ok=True)
    clouds_yaml().write_text(json.dumps({"clouds": clouds}, indent=1) + "\n")


def _cloud(site: Site, account: str, project: str) -> dict[str, object]:
    auth = {
        "auth_url": site.url("keystone", "/v3"),
        "username": account,
        "password": PASSWORD,
        "project_name": project,
        "user_domain_name": "Default",
        "project_domain_name": "Default",
    }
    return {"auth": auth, "region_name": site.region, "identity_api_version": 3}


def identity(site: Site) -> None:
    """Add accounts and the catalog; only Keystone has to run."""
    admin = Administrator(site)
    names = ("admin", "member", "reader", "service", "heat_stack_owner", "heat_stack_user")
    roles = {name: admin.ensure("keystone", "/v3/roles", "role", name=name) for name in names}

    def grant(where: str, user: str, *given: str) -> None:
        for name in given:
            admin.call("PUT", "keystone", f"/v3/{where}/users/{user}/roles/{roles[name]}")

    def user(name: str, domain: str = "default") -> str:
        return admin.ensure("keystone", "/v3/users", "user", name=name, password=PASSWORD, domain_id=domain)

    def project(name: str) -> str:
        return admin.ensure("keystone", "/v3/projects", "project", name=name, domain_id="default")

    for name in ("glance", "neutron", "cinder", "placement", "nova", "manila", "heat"):
        grant(f"projects/{project('service')}", user(name), "admin", "service")
    grant("system", user("glance"), "reader")  # it reads the limits of others
    for name in _PROJECTS:
        grant(f"projects/{project(name)}", user(name), "member", "heat_stack_owner")
        grant(f"projects/{project(name)}", user("admin"), "admin")
    heat = admin.ensure("keystone", "/v3/domains", "domain", name="heat")
    grant(f"domains/{heat}", user("heat_domain_admin", heat), "admin")
    _catalog(admin)


def _catalog(admin: Administrator) -> None:
    _service(admin, "glance", "image", admin.site.url("glance"))
    _service(admin, "neutron", "network", admin.site.url("neutron"))
    _service(admin, "cinder", "block-storage", admin.site.url("cinder", "/v3"))
    _service(admin, "cinderv3", "volumev3", admin.site.url("cinder", "/v3"))  # Heat asks for that
    _service(admin, "placement", "placement", admin.site.url("placement"))
    _service(admin, "nova", "compute", admin.site.url("nova", "/v2.1"))
    _service(admin, "manila", "sharev2", admin.site.url("manila", "/v2"))
    _service(admin, "heat", "orchestration", admin.site.url("heat", "/v1/%(tenant_id)s"))


def _service(admin: Administrator, name: str, kind: str, url: str) -> None:
    service = admin.ensure("keystone", "/v3/services", "service", name=name, type=kind)
    there = admin.call("GET", "keystone", f"/v3/endpoints?service_id={service}")["endpoints"]
    for interface in {"public", "internal", "admin"} - {each["interface"] for each in there}:
        endpoint = {"service_id": service, "interface": interface, "region_id": admin.site.region, "url": url}
        admin.call("POST", "keystone", "/v3/endpoints", {"endpoint": endpoint})
    if name == "glance":
        _image_limits(admin, service)


def _image_limits(admin: Administrator, glance: str) -> None:
    """Set limits that nobody reaches; a test may set a project's own, by `POST /v3/limits`."""
    path = "/v3/registered_limits"
    there = {each["resource_name"] for each in admin.call("GET", "keystone", path)["registered_limits"]}
    wanted = {"image_size_total", "image_stage_total", "image_count_total", "image_count_uploading"} - there
    limit = {"service_id": glance, "region_id": admin.site.region, "default_limit": _UNLIMITED}
    if wanted:
        limits = [limit | {"resource_name": name} for name in sorted(wanted)]
        admin.call("POST", "keystone", path, {"registered_limits": limits})


def resources(site: Site) -> None:
    """Add an image, the external network, volume types and flavors; all services have to run."""
    admin, held = Administrator(site), holds(site)
    projects = {name: admin.ensure("keystone", "/v3/projects", "project", name=name) for name in _PROJECTS}
    _image(admin, held.image)
    _external_network(admin, *held.external_network)
    for name, backend, only in held.volume_types:
        kind = {"extra_specs": {"volume_backend_name": backend}, "os-volume-type-access:is_public": not only}
        volume_type = admin.ensure("cinder", "/v3/{project}/types", "volume_type", name=name, **kind)
        if only:
            access = {"addProjectAccess": {"project": projects[only]}}
            admin.call("POST", "cinder", f"/v3/{{project}}/types/{volume_type}/action", access)
    admin.ensure("manila", "/v2/{project}/types", "share_type", name=held.share_type, extra_specs=_SHARE_TYPE)
    for name, size, only in held.flavors:
        public = {"os-flavor-access:is_public": not only}
        flavor = admin.ensure("nova", "/v2.1/flavors", "flavor", name=name, **size, **public)
        if only:
            access = {"addTenantAccess": {"tenant": projects[only]}}
            admin.call("POST", "nova", f"/v2.1/flavors/{flavor}/action", access)


def _image(admin: Administrator, name: str) -> None:
    if not admin.call("GET", "glance", f"/v2/images?name={name}&status=active")["images"]:
        image = {"name": name, "disk_format": "raw", "container_format": "bare", "visibility": "public"}
        created = admin.call("POST", "glance", "/v2/images", image)
        admin.call("PUT", "glance", f"/v2/images/{created['id']}/file", bytes(1 << 20))


def _external_network(admin: Administrator, name: str, cidr: str) -> None:
    flat = {"provider:network_type": "flat", "provider:physical_network": "physnet1"}
    network = admin.ensure("neutron", "/v2.0/networks", "network", name=name, **{"router:external": True}, **flat)
    subnet = {"network_id": network, "ip_version": 4, "cidr": cidr, "enable_dhcp": False}
    admin.ensure("neutron", "/v2.0/subnets", "subnet", name=name, **subnet)

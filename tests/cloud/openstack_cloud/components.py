"""What the OpenStack components are configured with."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.cloud.openstack_cloud.holdings import holds
from tests.cloud.openstack_cloud.site import IP, PASSWORD, Site

Sections = Mapping[str, Mapping[str, object]]  # options by section


def database(site: Site, name: str) -> str:
    """Return the URL of a data base."""
    return f"mysql+pymysql://cloud:{PASSWORD}@{IP}:{site.port('mysql')}/{name}?charset=utf8mb4"


def _user(site: Site, component: str) -> dict[str, object]:
    """Return what a component logs in with, but for what it logs in to."""
    return {
        "auth_type": "password",
        "auth_url": site.url("keystone", "/v3"),
        "username": component,
        "password": PASSWORD,
        "user_domain_name": "Default",
        "region_name": site.region,
    }


def _login(site: Site, component: str) -> dict[str, object]:
    return _user(site, component) | {"project_name": "service", "project_domain_name": "Default"}


def _base(site: Site, component: str, **default: object) -> dict[str, dict[str, object]]:
    """Return what all components have in common; `default` goes into the section DEFAULT."""
    data = site.data / component
    (data / "lock").mkdir(parents=True, exist_ok=True)
    return {
        "DEFAULT": {
            "transport_url": f"rabbit://guest:guest@{IP}:{site.port('rabbit')}//",
            "rpc_response_timeout": 180,  # the first start of all services keeps two cores busy that long
            "log_dir": "",
            "use_stderr": True,
            "state_path": data,
            **default,
        },
        "database": {"connection": database(site, component), "max_pool_size": 5, "max_overflow": 20},
        "keystone_authtoken": {
            **_login(site, component),
            "www_authenticate_uri": site.url("keystone", "/v3"),
            # Cinder detaches a server's volume for Nova alone, which shows itself by a token of its own.
            "service_token_roles": "service",
            "service_token_roles_required": True,
            "service_type": "",
        },
        "oslo_concurrency": {"lock_path": data / "lock"},
        "oslo_messaging_notifications": {"driver": "noop"},
        "oslo_messaging_rabbit": {"heartbeat_timeout_threshold": 0, "rabbit_qos_prefetch_count": 0},
    }


def _keystone(site: Site) -> Sections:
    keys = site.etc / "keystone"
    sections = _base(site, "keystone")
    del sections["keystone_authtoken"]
    return sections | {
        "token": {"provider": "fernet", "expiration": 24 * 3600},
        "fernet_tokens": {"key_repository": keys / "fernet"},
        "fernet_receipts": {"key_repository": keys / "fernet"},  # in /etc unless told
        "credential": {"key_repository": keys / "credential"},
        "cache": {"enabled": True, "backend": "dogpile.cache.memory"},
        "identity": {"password_hash_rounds": 4},  # the usual 12 cost 0.3 s a login
    }


def _glance(site: Site) -> Sections:
    data = site.data / "glance"
    return _base(
        site, "glance", enabled_backends="local:file", bind_host=IP, workers=1, use_keystone_limits=True
    ) | {
        "glance_store": {"default_backend": "local"},
        "local": {"filesystem_store_datadir": data / "images"},
        "os_glance_staging_store": {"filesystem_store_datadir": data / "staging"},
        "os_glance_tasks_store": {"filesystem_store_datadir": data / "tasks"},
        "oslo_limit": {
            **_user(site, "glance"),
            "system_scope": "all",
            "endpoint_service_type": "image",
            "endpoint_region_name": site.region,
        },
        "paste_deploy": {"flavor": "keystone", "config_file": site.venv / "etc/glance/glance-api-paste.ini"},
    }


def _placement(site: Site) -> Sections:
    return _base(site, "placement") | {"placement_database": {"connection": database(site, "placement")}}


def _neutron(site: Site) -> Sections:
    return _base(
        site,
        "neutron",
        core_plugin="ml2",
        service_plugins="router",
        auth_strategy="keystone",
        api_paste_config=site.venv / "etc/neutron/api-paste.ini",
        dhcp_agent_notification=False,
        notify_nova_on_port_status_changes=False,  # nobody plugs the fake servers in
        notify_nova_on_port_data_changes=False,
        bind_host=IP,
    ) | {
        "ml2": {
            "type_drivers": "local,flat,vlan,vxlan",
            "tenant_network_types": "vxlan",
            "mechanism_drivers": "any_host",
            "extension_drivers": "port_security",
            "path_mtu": 1500,
        },
        "ml2_type_flat": {"flat_networks": "physnet1"},
        "ml2_type_vlan": {"network_vlan_ranges": "physnet1:100:199"},
        "ml2_type_vxlan": {"vni_ranges": "1:2000"},
        "nova": _login(site, "nova"),
        "placement": _login(site, "placement"),
        "quotas": {
            **{f"quota_{kind}": 1000 for kind in ("network", "subnet", "router", "floatingip", "security_group")},
            **{f"quota_{kind}": 5000 for kind in ("port", "security_group_rule")},
        },
    }


def _cinder(site: Site) -> Sections:
    data, paste = site.data / "cinder", site.venv / "etc/cinder"
    for folder in (site.backups, data / "conversion", data / "coordination"):
        folder.mkdir(parents=True, exist_ok=True)
    # What Cinder wants root for needs none of root's rights here: it only opens its own files.
    helper = {
        "helper_command": f"{site.bin}/privsep-helper --config-file {site.conf('cinder')}",
        "capabilities": "",
    }
    files = {
        "volume_driver": "cloud_drivers.volumes.FileDriver",
        "volume_backend_name": "file",
        "volumes_dir": data / "volumes",
    }
    return _base(
        site,
        "cinder",
        auth_strategy="keystone",
        my_ip=IP,
        host="cloud",
        api_paste_config=paste / "api-paste.ini",
        resource_query_filters_file=paste / "resource_filters.json",
        rootwrap_config=paste / "rootwrap.conf",
        glance_api_servers=site.url("glance"),
        enabled_backends="file,far,fake",
        storage_availability_zone=holds(site).zone,
        default_volume_type=holds(site).default_volume_type,
        image_conversion_dir=data / "conversion",
        report_interval=5,
        backend_stats_polling_interval=10,  # until the scheduler has heard of the pools, volumes fail
        backup_driver="cinder.backup.drivers.posix.PosixBackupDriver",
        backup_posix_path=site.backups,
        backup_workers=1,
        backup_compression_algorithm="zstd",
        backup_file_size=64 << 20,  # held in memory; 2 GB unless told
        backup_sha_block_size_bytes=1 << 20,
        **{f"quota_{kind}": 1000 for kind in ("volumes", "snapshots", "backups")},
        **{f"quota_{kind}": 100_000 for kind in ("gigabytes", "backup_gigabytes")},
    ) | {
        "file": files,
        "far": files | {"backend_availability_zone": holds(site).far_zone},
        "fake": {
            "volume_driver": "cinder.tests.fake_driver.FakeLoggingVolumeDriver",
            "volume_backend_name": "fake",
            "target_helper": "fake",
        },
        "coordination": {"backend_url": f"file://{data}/coordination"},
        "service_user": _login(site, "cinder") | {"send_service_user_token": True},
        "nova": _login(site, "nova"),
        "cinder_sys_admin": helper,
        "privsep_osbrick": helper,
    }


def _nova(site: Site) -> Sections:
    data = site.data / "nova"
    (data / "instances").mkdir(parents=True, exist_ok=True)
    sections = _base(
        site,
        "nova",
        # The driver `FakeDriver` starts only once: it does not keep the identity of its node.
        compute_driver="fake.FakeDriverWithoutFakeNodes",
        my_ip=IP,
        host="cloud",
        instances_path=data / "instances",
        enabled_apis="osapi_compute",
        default_availability_zone=holds(site).zone,
        internal_service_availability_zone="internal",
        report_interval=5,
        service_down_time=60,
        # The fake hypervisor forgets its servers when it restarts: let it not matter.
        running_deleted_instance_action="noop",
        sync_power_state_interval=-1,
    )
    cinder = _login(site, "cinder") | {"os_region_name": site.region}
    del cinder["region_name"]
    return sections | {
        "api_database": sections["database"] | {"connection": database(site, "nova_api")},
        "api": {"auth_strategy": "keystone"},
        "wsgi": {"api_paste_config": site.venv / "etc/nova/api-paste.ini"},
        "service_user": _login(site, "nova") | {"send_service_user_token": True},
        "placement": _login(site, "placement"),
        "neutron": _login(site, "neutron") | {"default_floating_pool": holds(site).external_network[0]},
        "cinder": cinder,
        "glance": _login(site, "glance") | {"api_servers": site.url("glance")},
        "conductor": {"workers": 1},
        "scheduler": {"workers": 1, "discover_hosts_in_cells_interval": 10},
        "vnc": {"enabled": False},
        "key_manager": {"backend": "nova.keymgr.conf_key_mgr.ConfKeyManager"},
        "quota": {"instances": 1000, "cores": 5000, "ram": 10_000_000},
    }


def _manila(site: Site) -> Sections:
    data, paste = site.data / "manila", site.venv / "etc/manila"
    return _base(
        site,
        "manila",
        auth_strategy="keystone",
        my_ip=IP,
        host="cloud",
        api_paste_config=paste / "api-paste.ini",
        rootwrap_config=paste / "rootwrap.conf",
        enabled_share_backends="dummy",
        enabled_share_protocols="NFS,CIFS",
        default_share_type="shares",
        report_interval=5,
        periodic_interval=5,  # until the scheduler has heard of the pools, shares fail
    ) | {
        # Manila's own for tests: shares are names and sizes, without a byte.
        "dummy": {
            "share_driver": "manila.tests.share.drivers.dummy.DummyDriver",
            "share_backend_name": "dummy",
            "driver_handles_share_servers": False,
            "dummy_driver_default_driver_method_delay": 0,
        },
        "coordination": {"backend_url": f"file://{data}/coordination"},
    }


def _heat(site: Site) -> Sections:
    etc = site.venv / "etc/heat"
    return _base(
        site,
        "heat",
        heat_metadata_server_url=site.url("heat-cfn"),
        heat_waitcondition_server_url=site.url("heat-cfn", "/v1/waitcondition"),
        region_name_for_services=site.region,
        stack_user_domain_name="heat",
        stack_domain_admin="heat_domain_admin",
        stack_domain_admin_password=PASSWORD,
        num_engine_workers=1,
        auth_encryption_key="0123456789abcdef" * 2,
        environment_dir=etc / "environment.d",
        template_dir=etc / "templates",
        max_stacks_per_tenant=1000,
        max_resources_per_stack=-1,
        enable_stack_adopt=True,
        enable_stack_abandon=True,
    ) | {
        "paste_deploy": {"api_paste_config": etc / "api-paste.ini"},
        "trustee": _user(site, "heat"),  # for what it logs in to, the trust says
        "clients_keystone": {"auth_uri": site.url("keystone", "/v3")},
    }


COMPONENTS: Mapping[str, Callable[[Site], Sections]] = {
    "keystone": _keystone,
    "glance": _glance,
    "neutron": _neutron,
    "cinder": _cinder,
    "placement": _placement,
    "nova": _nova,
    "manila": _manila,
    "heat": _heat,
}

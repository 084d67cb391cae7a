"""What the components stand on: MariaDB and RabbitMQ.

SQLite was tried and dropped: with several processes its data bases are locked too often, whatever the time-out.
RabbitMQ is needed for its part because oslo.messaging has no other transport between processes as small as this one.
"""

from __future__ import annotations

import textwrap

from tests.cloud.openstack_cloud.site import IP, Site, user


def configure(site: Site) -> None:
    """Write the configuration files of both."""
    for folder in (site.etc, site.data / "rabbit", site.log, site.run):
        folder.mkdir(parents=True, exist_ok=True)
    _write(
        site,
        "mysql.cnf",
        f"""
        [mysqld]
        user = {user()}
        datadir = {site.data}/mysql
        socket = {site.run}/mysql.sock
        pid-file = {site.run}/mysql.own
        bind-address = {IP}
        port = {site.port("mysql")}
        skip-name-resolve
        skip-log-bin
        skip-ssl
        character-set-server = utf8mb4
        max_connections = 400
        # Quick and small rather than safe: a power cut may take it all.
        innodb_buffer_pool_size = 64M
        innodb_log_file_size = 32M
        innodb_flush_log_at_trx_commit = 0
        innodb_doublewrite = 0
        innodb_flush_method = nosync
        aria_pagecache_buffer_size = 8M
        key_buffer_size = 4M
        table_open_cache = 1000
        performance_schema = off
        """,
    )
    _write(
        site,
        "rabbitmq.conf",
        f"""
        listeners.tcp.1 = {IP}:{site.port("rabbit")}
        log.console = true
        log.console.level = warning
        log.file = false
        """,
    )
    _write(site, "rabbit.plugins", "[].")
    _write(site, "rabbit.env", "")


def _write(site: Site, name: str, text: str) -> None:
    (site.etc / name).write_text(textwrap.dedent(text).strip() + "\n")


def rabbit_environment(site: Site) -> dict[str, str]:
    """Return what RabbitMQ and its port mapper (epmd) are told by variables: to keep to this site and to loopback."""
    data = str(site.data / "rabbit")
    # One thread that does not spin while it waits: 86 MiB and no CPU.
    small = "+S 1:1 +SDcpu 1:1 +SDio 1 +A 4 +sbwt none +sbwtdcpu none +sbwtdio none"
    return {
        "HOME": data,
        "RABBITMQ_NODENAME": f"cloud-{site.name}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": IP,
        "RABBITMQ_NODE_PORT": str(site.port("rabbit")),
        "RABBITMQ_DIST_PORT": str(site.port("rabbit-nodes")),
        "RABBITMQ_MNESIA_BASE": data,
        "RABBITMQ_LOG_BASE": str(site.log),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_ENABLED_PLUGINS_FILE": f"{site.etc}/rabbit.plugins",
        "RABBITMQ_CONFIG_FILE": f"{site.etc}/rabbitmq",
        "RABBITMQ_CONF_ENV_FILE": f"{site.etc}/rabbit.env",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"-kernel inet_dist_use_interface {{127,0,0,1}} {small}",
        "ERL_EPMD_ADDRESS": IP,
        "ERL_EPMD_PORT": str(site.port("epmd")),
    }

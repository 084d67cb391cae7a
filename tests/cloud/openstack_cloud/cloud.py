"""A site of the test cloud as one thing: brought up, taken down, and changed while it runs."""

from __future__ import annotations

import logging
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cloud.openstack_cloud import backends, configuration, processes, readiness, schemas, seed
from tests.cloud.openstack_cloud.components import COMPONENTS, Sections
from tests.cloud.openstack_cloud.installation import install
from tests.cloud.openstack_cloud.services import BACKENDS, services
from tests.cloud.openstack_cloud.site import Site

_log = logging.getLogger(__name__)


class Cloud:
    """One site."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._services = services(site)

    @property
    def is_up(self) -> bool:
        """Whether all services answer."""
        return all(processes.answers(self.site, service) for service in self._services.values())

    def up(self) -> None:
        """Return once all works, with what it needs installed, made and started; SiteError if that fails."""
        begun = time.monotonic()
        install(self.site.venv)
        seed.write_clouds_yaml()
        self._configure()
        schemas.install_mysql(self.site)
        self._launch(*BACKENDS)
        schemas.migrate(self.site)
        self._launch("keystone")
        seed.identity(self.site)  # Nova's services end when they cannot log in
        self._launch(*self._services)
        seed.resources(self.site)
        readiness.wait(self.site, self._services)
        _log.info("site %s is up, after %.0f s", self.site.name, time.monotonic() - begun)

    def down(self) -> None:
        """Stop all services; what they keep stays."""
        self.stop(*(name for name in self._services if name not in BACKENDS))
        processes.stop(self.site, BACKENDS, seconds=30)
        _log.info("site %s is down", self.site.name)

    def wipe(self) -> None:
        """Stop all services and forget what they kept."""
        self.down()
        shutil.rmtree(self.site.home, ignore_errors=True)

    def start(self, *names: str) -> None:
        """Start services, such as `heat-api`; return once they work, which their component's API must tell."""
        self._launch(*names)
        readiness.wait(self.site, names)

    def stop(self, *names: str) -> None:
        """Stop services; those that take more than ten seconds are killed."""
        processes.stop(self.site, names, seconds=10)

    @contextmanager
    def configured(self, component: str, sections: Sections) -> Iterator[None]:
        """Have all services of a component run with these options changed, by section; the old ones come back.

        For example ``configured("heat", {"DEFAULT": {"max_stacks_per_tenant": 1}})``.
        """
        before = configuration.change(self.site, component, sections)
        try:
            self._restart(component)
            yield
        finally:
            self.site.conf(component).write_text(before)
            self._restart(component)

    @contextmanager
    def frozen(self, *names: str) -> Iterator[None]:
        """Have services do nothing for a while; what is sent to them waits."""
        processes.send(self.site, names, signal.SIGSTOP)
        try:
            yield
        finally:
            processes.send(self.site, names, signal.SIGCONT)

    def report(self) -> str:
        """Return a line for each service: whether it answers, its process, its port, its memory."""
        lines, total = [], 0
        for name, service in self._services.items():
            state = "up" if processes.answers(self.site, service) else "DOWN"
            pid = processes.pid(self.site, name)
            used = processes.memory(pid) if pid else 0
            total += used
            lines.append(f"{name:16} {state:5} pid {pid or '-':<8} port {service.port or '-':<6} {used:5} MiB")
        return "\n".join([*lines, f"{'total':48} {total:5} MiB"])

    def _restart(self, component: str) -> None:
        names = [name for name, service in self._services.items() if service.component == component]
        self.stop(*names)
        self.start(*names)

    def _launch(self, *names: str) -> None:
        chosen = [self._services[name] for name in names]
        for service in chosen:
            processes.start(self.site, service)
        processes.wait_for_answers(self.site, chosen)

    def _configure(self) -> None:
        """Write all files, and stop what runs with another."""
        backends.configure(self.site)
        changed = [component for component in COMPONENTS if configuration.write(self.site, component)]
        self.stop(*(name for name, service in self._services.items() if service.component in changed))

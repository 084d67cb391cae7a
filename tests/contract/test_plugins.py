"""Every plugin passes the published contract, and plugins that break it fail it."""

from __future__ import annotations

import re
import subprocess
import sys
import uuid

import pytest
from pydantic import BaseModel, ConfigDict, Field

from restore_openstack.image import ImagePlugin
from restore_openstack.network import NetworkPlugin
from restore_openstack.project import ProjectPlugin
from restore_openstack.server import ServerPlugin
from restore_openstack.volume import VolumePlugin
from restore_worker import testing
from restore_worker.bank import open_bank
from restore_worker.errors import RestoreError
from restore_worker.plan import make_plan
from restore_worker.plugin import Definition, NoParameters, Parameters, Produces, RestorePlugin
from restore_worker.registry import Registry
from restore_worker.render import render
from restore_worker.template import HeatParameter, HeatResource
from restore_worker.testing import PluginContract
from tests.support import nodes, steps
from tests.support.banks import BankCheckpoint, Node, write
from tests.support.judge import judge
from tests.support.processes import ROOT
from tests.support.tenants import EXTERNAL_NETWORK, tenant

TENANT = tenant(servers=1, seed=2)
OF = {node.type: node.id for node in TENANT.nodes}


class Contract(PluginContract):
    """With a bank of its own for each test."""

    written = TENANT

    @pytest.fixture(autouse=True)
    def _bank(self, tmp_path):
        write(self.written, tmp_path)
        self.bank = str(tmp_path)


class Sample(Contract):
    """With a checkpoint of one node."""

    node: Node

    @pytest.fixture(autouse=True)
    def _bank(self, tmp_path):
        write(BankCheckpoint(nodes=(self.node,)), tmp_path)
        self.bank, self.resource = str(tmp_path), self.node.id


class TestImage(Contract):
    plugin = ImagePlugin
    resource = OF[nodes.IMAGE]


class TestNetwork(Contract):
    plugin = NetworkPlugin
    resource = OF[nodes.NETWORK]


class TestProject(Contract):
    plugin = ProjectPlugin
    resource = OF[nodes.PROJECT]
    parameters = {nodes.NETWORK: {"public_network_id": EXTERNAL_NETWORK}}


class TestServer(Contract):
    plugin = ServerPlugin
    resource = OF[nodes.SERVER]
    parameters = {nodes.NETWORK: {"networks": "new", "public_network_id": EXTERNAL_NETWORK}}

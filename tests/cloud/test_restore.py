"""What was protected and lost comes back: through real workers, onto a real cloud, compared field by field."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from restore_worker.states import RestoreState
from tests.cloud import application, compare, protect, record, removal, sample
from tests.cloud.restoring import Restoring, reach
from tests.support.sample_banks import SAMPLES, Sample

# Checkpoints that the cloud cannot have as a whole: a pod has no plugin, and there is no Trove for a database.
_FOREIGN = {"d4555762-08fa-4e49-aa37-9c1e604cfeb1", "ec8ad2c8-e49b-4f5c-bdab-5d77199aacc0"}
_REAL = {"OS::Nova::Server", "OS::Cinder::Volume", "OS::Glance::Image"}
RESTORABLE = tuple(each for each in SAMPLES if each.checkpoint not in _FOREIGN)


@pytest.fixture
def files(cloud):
    """Give the folder of the cloud's volumes."""
    return cloud.site.data / "cinder" / "volumes"


@contextlib.contextmanager
def cleaned(restoring: Restoring, name: str) -> Iterator[None]:
    """Delete what was restored, then all else that bears the name, which restored things bear, too."""
    try:
        yield
    finally:
        restoring.clean()
        removal.remove(restoring.connection, name)


def test_an_application_comes_back_as_it_was(worker, restoring, demo, files, tmp_path):
    worker(options=["--beat"])
    name = "comes-back"
    with cleaned(restoring, name):
        made = application.build(demo, name, files)
        scope = record.Scope(made.servers, made.volumes, made.networks)
        before = record.record(demo, files, scope)
        wanted = protect.Plan(name, made.servers, (made.loose,), made.networks)
        protected = protect.protect(demo, wanted, tmp_path, with_bytes=(made.data[0],))
        removal.lose(demo, name)
        public = demo.network.find_network("public").id
        submitted = restoring.restore(
            protected.checkpoint,
            bank=tmp_path,
            parameters={"OS::Neutron::Network": {"networks": "new", "public_network_id": public}},
        )
        reach(submitted, RestoreState.COMPLETE)
        ids = {each.original_id: each.id for each in submitted.belongings if each.original_id}
        after = record.record(demo, files, scope.mapped(ids))
        differences = compare.compare(before, after, ids)
        assert compare.not_allowed(differences) == []
        # What the page tells does differ, so that it was looked at.
        assert {each.field for each in differences} >= {"floating_ips", "metadata"}


@pytest.mark.parametrize("of", RESTORABLE, ids=str)
def test_a_sample_that_karbor_wrote_is_restored(of: Sample, worker, restoring, demo, files, tmp_path):
    worker(options=["--beat"])
    name = f"sample-{of.checkpoint[:4]}"
    with cleaned(restoring, name):
        bank = sample.stock(demo, files, of.bank, of.checkpoint, tmp_path / "bank", name)
        # Karbor saved it in another cloud.
        allowed = [sample.project_of(bank, of.checkpoint)]
        submitted = restoring.restore(of.checkpoint, bank=bank, allow_projects=allowed)
        reach(submitted, RestoreState.COMPLETE)
        back = {each.original_id for each in submitted.belongings}
        wanted = {each.node.id for each in submitted.resources if each.node.type in _REAL}
        assert wanted <= back

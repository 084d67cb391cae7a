"""What was built beside a stack is deleted once no worker builds anything: by the ledger's clock, not the worker's."""

from __future__ import annotations

import pytest

from restore_worker.discarding import discard_all
from restore_worker.errors import CloudUnavailableError
from restore_worker.states import RestoreState
from tests.support.restores import claim
from tests.support.walks import walk

pytestmark = pytest.mark.usefixtures("configured")


# This process' own clock is far from both.
@pytest.mark.parametrize("now", [1e9, 9e9])
def test_a_lease_ends_when_the_ledger_says_so(now: float) -> None:
    one = walk([[]], 1, 0.0, set(), "target")
    ledger = one.celery.ledger
    one.celery.now = now
    with one.celery.in_place():
        one.submit()
        one.celery.run(lambda: one.state is RestoreState.RESTORING, drain=False)
        claim(ledger, "restore-1", 0, lease=30.0)
        for old, new in (
            (RestoreState.RESTORING, RestoreState.CANCELLED),
            (RestoreState.CANCELLED, RestoreState.DESTROYING),
            (RestoreState.DESTROYING, RestoreState.DISCARDING),
        ):
            assert ledger.move("restore-1", old, new)
        with pytest.raises(CloudUnavailableError, match="still in the hands of worker"):
            discard_all(ledger, ledger.get("restore-1"))
        one.celery.now += 31.0
        discard_all(ledger, ledger.get("restore-1"))

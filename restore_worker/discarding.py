"""What a restore built beside its stack is deleted, by the plugins that built it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from restore_worker import worker
from restore_worker.building import Builder, same_cloud
from restore_worker.cloud import translated
from restore_worker.context import RestoreContext
from restore_worker.entries import RestoreRecord
from restore_worker.errors import CloudError, CloudUnavailableError, RestoreError, Retriable
from restore_worker.ledger import Ledger
from restore_worker.plugin import Produces
from restore_worker.registry import installed
from restore_worker.resource import Resource, ResourceKey
from restore_worker.states import ResourceState

logger = logging.getLogger(__name__)


def discard_all(ledger: Ledger, record: RestoreRecord) -> None:
    """Have the plugins delete all that they built for the restore, also what they could not note as built.

    Raises CloudError with everything that could not be deleted, a Retriable error if it is worth another try.
    """
    same_cloud(record.cloud, record.identity)
    _check_hands(ledger, record.id)
    made = ledger.all_made(record.id)
    refused: list[str] = []
    # What is not deleted yet does not keep the rest.
    later: RestoreError | None = None
    # What was made of something else goes before that: Glance keeps an image that volumes share blocks with.
    for progress, text in reversed(list(ledger.work(record.id))):
        node = progress.node
        plugin = installed()[node.type]
        work = plugin.Work.model_validate_json(text)
        mine = made.get(node.index, {})
        if not mine and plugin.produces(work) is not Produces.PARAMETER:
            continue
        resource = Resource(ResourceKey(node.type, node.id), node.name)
        builder = Builder(record.id, node.index, "", record.cloud, record.identity)
        bank = worker.bank_of(record.bank)
        context = RestoreContext(record.id, record.checkpoint, resource, bank, plugin.data(work), builder)
        try:
            with translated(record.cloud):
                for each in one_of_each(mine):
                    plugin.discard(resource, each, context)
        except RestoreError as error:
            if isinstance(error, Retriable):
                later = error
            else:
                refused.append(f"{resource}: {error}")
        except Exception as error:
            logger.exception("plugin of %s", resource, extra={"fact": "plugin.broke", "resource": resource.id})
            refused.append(f"{resource}: its plugin broke: {error!r}")
        else:
            ledger.discarded(record.id, node.index, mine)
    if later:
        raise later
    if refused:
        raise CloudError("not everything could be deleted: " + "; ".join(refused))


def one_of_each(made: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """Yield what was noted as plugins know it; what two workers built under one key is there twice."""
    extra = {key: physical_id for key, physical_id in made.items() if key.endswith(f" {physical_id}")}
    yield {key: physical_id for key, physical_id in made.items() if key not in extra}
    for key, physical_id in extra.items():
        yield {key.removesuffix(f" {physical_id}"): physical_id}


def _check_hands(ledger: Ledger, restore_id: str) -> None:
    """Return if no worker builds anything at this moment: that is to be discarded, too."""
    now = ledger.now()
    for each in ledger.resources(restore_id):
        # One that was resumed meanwhile is ready, but still in those hands.
        if each.state is not ResourceState.WAITING and each.until and each.until > now:
            node = each.node
            raise CloudUnavailableError(f"{node.type} {node.id} is still in the hands of worker {each.worker}")

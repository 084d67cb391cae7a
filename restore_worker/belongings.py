"""What exists on the target because of a restore: what the ledger knows of it, joined."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from restore_worker.entries import Built, stack_name
from restore_worker.template import Fragment, HeatParameter, HeatResource, fragment_name

if TYPE_CHECKING:
    from restore_worker.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Belonging:
    """Something on the target because of a restore.

    type: a resource type, such as ``OS::Nova::Server``; ``volume for OS::Cinder::Volume`` while it is being built.
    title: what a person calls it.
    original_id: of what it stands for; "" for what stands for nothing (a stack, an attachment, a temporary image).
    id: on the target.
    status: as Heat says it; "" for what was built beside the stack.
    addresses: of servers and floating IPs, once the stack is complete.
    reason: Heat's, of what failed.
    """

    type: str
    title: str
    original_id: str
    id: str
    status: str
    addresses: tuple[str, ...] = ()
    reason: str = ""


def belongings(ledger: Ledger, restore_id: str) -> list[Belonging]:
    """Return what exists because of a restore: its stacks, what Heat built, what was built beside them."""
    fragments = ledger.fragments(restore_id)
    return [*_of_heat(ledger, restore_id, fragments), *_beside(ledger, restore_id, fragments)]


def titles(ledger: Ledger, restore_id: str) -> dict[str, str]:
    """Return what a person calls the resources of the stacks, by their names in the templates."""
    fragments = ledger.fragments(restore_id)
    return {
        fragment_name(original_id, each): f"{each.type} {each.title or original_id}"
        for original_id, each in fragments.items()
    }


def _of_heat(ledger: Ledger, restore_id: str, fragments: Mapping[str, Fragment]) -> Iterator[Belonging]:
    outputs: dict[str, str] = {}
    for number in ledger.get(restore_id).stacks:
        log = ledger.stacks.get(restore_id, number)
        outputs.update(log.outputs)
        if log.id:
            name, reason = stack_name(restore_id, number), _reason(log.status, log.reason)
            yield Belonging("OS::Heat::Stack", name, "", log.id, log.status, reason=reason)
    by_name = {fragment_name(original_id, each): (original_id, each) for original_id, each in fragments.items()}
    for built in ledger.stacks.built(restore_id):
        if built.physical_id and built.status != "DELETE_COMPLETE":
            original_id, fragment = by_name.get(built.name, ("", None))
            yield _built(built, original_id, fragment, outputs)


def _built(built: Built, original_id: str, fragment: Fragment | None, outputs: Mapping[str, str]) -> Belonging:
    title = fragment.title if fragment else ""
    tells = fragment.tells if isinstance(fragment, HeatResource) else ()
    told = (outputs.get(f"{original_id}.{name}", "null") for name in tells)
    addresses = tuple(
        dict.fromkeys(text for each in told for text in _leaves(json.loads(each)) if _is_address(text))
    )
    stands_for = original_id if fragment and fragment.output else ""
    reason = _reason(built.status, built.reason)
    return Belonging(built.type, title, stands_for, built.physical_id, built.status, addresses, reason)


def _reason(status: str, words: str) -> str:
    return words if status.endswith("_FAILED") else ""


def _beside(ledger: Ledger, restore_id: str, fragments: Mapping[str, Fragment]) -> Iterator[Belonging]:
    made = ledger.all_made(restore_id)
    if not made:
        return
    for progress in ledger.resources(restore_id):
        # What was done to a thing may be noted, too, under another key.
        keys: dict[str, str] = {}
        for key, physical_id in made.get(progress.node.index, {}).items():
            keys.setdefault(physical_id, key)
        for physical_id, key in keys.items():
            node = progress.node
            fragment = fragments.get(node.id)
            if isinstance(fragment, HeatParameter) and fragment.value == physical_id:
                yield Belonging(node.type, node.name, node.id, physical_id, "")
            else:
                # Unfinished, an image that a volume is made of, or built by a worker that had lost the resource.
                yield Belonging(
                    f"{key.removesuffix(f' {physical_id}')} for {node.type}", node.name, "", physical_id, ""
                )


def _leaves(value: Any) -> Iterator[str]:
    """Yield the texts in a Heat attribute, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _leaves(each)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True

"""Heat does what `restore_worker.stack` says of it."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable

import pytest

from restore_worker.cut import Limits
from restore_worker.entries import stack_name
from restore_worker.errors import CloudError
from restore_worker.hot import Hot, assemble
from restore_worker.stack import Heat, Stack, StackEvent
from restore_worker.template import HeatParameter, HeatResource, HeatTemplate, Reference

pytestmark = pytest.mark.disturbs

SECONDS = 180  # more than anything here takes on a busy machine


@pytest.fixture
def heat(cloud) -> Heat:
    return Heat("demo")


@pytest.fixture
def restore_id(heat):
    """Give the id of a restore whose stack, if one is made, is deleted at the end."""
    restore_id = str(uuid.uuid4())
    yield restore_id
    stack = heat.find(f"restore-{restore_id}")
    if stack is not None:
        heat.delete(stack.id)
        wait(heat, stack, lambda found: found.status == "DELETE_COMPLETE")


def until(enough: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not enough():
        assert time.monotonic() < end, "it does not come to that"
        time.sleep(0.2)


def wait(heat: Heat, stack: Stack, enough: Callable[[Stack], bool]) -> Stack:
    looks: list[Stack] = []

    def look() -> bool:
        found = heat.find(stack.id)
        assert found is not None
        looks.append(found)
        return enough(found)

    until(look)
    return looks[-1]


def told(heat: Heat, stack: Stack, status: str) -> list[StackEvent]:
    """Return all events once the last one is of the stack with this status, which it shows a little earlier."""
    until(lambda: (heat.events(stack.id)[-1].resource, heat.events(stack.id)[-1].status) == (stack.name, status))
    return heat.events(stack.id)


def rest(heat: Heat, stack: Stack, before: str = "") -> Stack:
    """Return the stack when Heat is done with it and it is not as it was before."""
    return wait(heat, stack, lambda found: not found.busy and found.mark != before)


def hot_of(values: dict[str, str] | None = None, **resources: HeatResource) -> Hot:
    template = HeatTemplate()
    for name, value in (values or {}).items():
        template.put_parameter(name, HeatParameter(value, "Test::Value"))
    for name, resource in resources.items():
        template.put_resource(name, resource)
    (hot,) = assemble(template.fragments, "test of a stack")
    assert hot is not None
    return hot


def thing(*after: str, **properties) -> HeatResource:
    """Return a resource that is made after the others of these names."""
    others = [Reference({"get_resource": f"test_resource_{name}"}) for name in after]
    return HeatResource("OS::Heat::TestResource", properties, depends_on=others)


def create(heat: Heat, restore_id: str, hot: Hot) -> Stack:
    return heat.create(restore_id, "checkpoint, 1", hot, minutes=10)


def test_a_stack_from_its_creation_to_its_end(heat, restore_id):
    hot = hot_of({"image": "00012"}, one=thing(value="1"), two=thing(value="2", wait_secs=4))
    heat.preview(restore_id, hot)
    made = create(heat, restore_id, hot)
    assert (made.name, made.status) == (f"restore-{restore_id}", "CREATE_IN_PROGRESS")
    assert heat.ours([made.name])[made.name].id == made.id

    heat.preview(restore_id, hot)
    assert create(heat, restore_id, hot).id == made.id

    done = rest(heat, made, before=made.mark)
    assert (done.status, done.complete) == ("CREATE_COMPLETE", True)
    assert heat.find(made.name) == heat.ours([made.name])[made.name] == done
    physical = {each.name: each.physical_id for each in heat.resources(made.id)}
    assert {each.status for each in heat.resources(made.id)} == {"CREATE_COMPLETE"}
    assert physical.keys() == {"test_resource_one", "test_resource_two"}
    expected = {"image": "00012", "one": physical["test_resource_one"], "two": physical["test_resource_two"]}
    assert {name: json.loads(value) for name, value in heat.outputs(made.id).items()} == expected

    heat.delete(made.id)
    wait(heat, made, lambda found: found.status == "DELETE_COMPLETE")
    heat.delete(made.id)
    assert heat.find(made.name) is None
    assert made.name not in heat.ours([made.name])
    until(lambda: not heat.resources(made.id))
    assert told(heat, made, "DELETE_COMPLETE")


def test_stacks_are_found_among_more_names_than_one_url_holds(heat, restore_id):
    made = create(heat, restore_id, hot_of(one=thing()))
    others = [stack_name(str(uuid.uuid4()), number) for number in range(1, 251)]
    assert heat.ours([*others, made.name]).keys() == {made.name}
    assert heat.ours(others) == {}
    rest(heat, made)


def test_events_come_oldest_first_from_where_one_was(heat, restore_id):
    stack = create(heat, restore_id, hot_of(one=thing(), two=thing("one", fail=True)))
    rest(heat, stack)
    events = told(heat, stack, "CREATE_FAILED")
    assert (events[0].resource, events[0].status) == (stack.name, "CREATE_IN_PROGRESS")
    (failed,) = (
        each for each in events if each.resource == "test_resource_two" and each.status == "CREATE_FAILED"
    )
    assert "Test Resource failed" in failed.reason
    assert heat.events(stack.id, events[1].id) == events[2:]
    assert heat.events(stack.id, events[-1].id) == []
    assert heat.events(stack.id, str(uuid.uuid4())) == events


def test_an_update_mends_what_failed_and_leaves_what_is_whole(heat, restore_id):
    broken = hot_of(one=thing(value="1"), two=thing("one", value="2", fail=True))
    failed = rest(heat, create(heat, restore_id, broken))
    assert failed.failed
    assert "Test Resource failed" in failed.reason
    reasons = {each.name: each.reason for each in heat.resources(failed.id) if each.status == "CREATE_FAILED"}
    assert "Test Resource failed" in reasons["test_resource_two"]
    before = {each.name: each.physical_id for each in heat.resources(failed.id)}

    heat.update(failed.id, hot_of(one=thing(value="1"), two=thing("one", value="2")), minutes=20)
    mended = rest(heat, failed, before=failed.mark)
    assert (mended.id, mended.status) == (failed.id, "UPDATE_COMPLETE")
    assert heat.ours([failed.name])[failed.name] == mended, "its tags are gone"
    after = {each.name: each.physical_id for each in heat.resources(failed.id)}
    assert after["test_resource_one"] == before["test_resource_one"]


def test_a_creation_is_cancelled_and_gone_on_with(heat, restore_id):
    slow = hot_of(one=thing(value="1"), two=thing(value="2", wait_secs=8))
    stack = create(heat, restore_id, slow)
    wait(heat, stack, lambda _: any(each.status == "CREATE_COMPLETE" for each in heat.resources(stack.id)))
    heat.cancel(stack.id)
    cancelled = rest(heat, stack)
    assert cancelled.failed
    heat.cancel(stack.id)
    heat.update(stack.id, hot_of(one=thing(value="1"), two=thing(value="2")), minutes=10)
    assert rest(heat, stack, before=cancelled.mark).complete


def test_what_is_marked_to_stay_outlives_its_stack(heat, restore_id, demo):
    stack = rest(
        heat, create(heat, restore_id, hot_of(net=HeatResource("OS::Neutron::Net", {"name": restore_id})))
    )
    (net,) = heat.resources(stack.id)
    assert not heat.retains(stack.id)
    try:
        heat.retain(stack.id)
        marked = rest(heat, stack, before=stack.mark)
        assert marked.complete
        assert heat.retains(stack.id)
        assert [each.physical_id for each in heat.resources(stack.id)] == [net.physical_id]
        heat.delete(stack.id)
        wait(heat, stack, lambda found: found.status == "DELETE_COMPLETE")
        assert demo.network.get_network(net.physical_id).name == restore_id
    finally:
        demo.network.delete_network(net.physical_id)


def test_what_the_cloud_does_not_have_is_refused_before_anything_is_made(heat, restore_id):
    properties = {"name": "x", "flavor": "no-such-flavor", "image": "no-such-image"}
    with pytest.raises(CloudError, match=f"when checking the stack restore-{restore_id}.*no-such-"):
        heat.preview(restore_id, hot_of(server=HeatResource("OS::Nova::Server", properties)))
    assert heat.find(f"restore-{restore_id}") is None


def sized(resources: int, size: int) -> Hot:
    """Return so much of a template as it takes to look for room."""
    return Hot("x" * size, {}, ("p_image",), resources)


def test_there_is_room_for_a_thousand_resources_and_it_is_soon_known(heat):
    begun = time.monotonic()
    assert heat.smaller(sized(1000, 500_000)) is None
    assert time.monotonic() - begun < 10


def test_how_large_a_template_may_be_heat_says(heat):
    assert heat.smaller(sized(1, 600_000)) == Limits(1, 524_288)


def test_a_request_that_is_too_large_is_known_though_the_template_is_not(heat, restore_id):
    # Some text that a user gave, such as a description: 1 MiB is the limit, and each such character takes six bytes.
    text = "ж" * 180_000
    large = hot_of(one=HeatResource("OS::Heat::Value", {"value": text}))
    assert len(large.text) < 500_000
    told = r"Request limit exceeded: JSON body size \(\d+ bytes\) exceeds maximum allowed size \(1048576 bytes\)"
    limits = heat.smaller(large)
    assert limits is not None
    assert large.size * 0.9 < limits.bytes < large.size
    # It is so, not merely thought to be so.
    with pytest.raises(CloudError, match=told):
        heat.preview(restore_id, large)
    smaller = hot_of(one=HeatResource("OS::Heat::Value", {"value": text[:170_000]}))
    assert heat.smaller(smaller) is None
    heat.preview(restore_id, smaller)


def test_limits_of_heat_are_known_before_anything_is_made(cloud, demo, heat, restore_id):
    limits = {"max_resources_per_stack": 3, "max_stacks_per_tenant": len(list(demo.orchestration.stacks())) + 1}
    with cloud.configured("heat", {"DEFAULT": limits}):
        assert heat.smaller(sized(3, 1000)) is None
        assert heat.smaller(sized(4, 1000)) == Limits(3, 1000)
        assert heat.smaller(sized(1000, 200_000)) == Limits(3, 200_000)
        create(heat, restore_id, hot_of(one=thing()))
        with pytest.raises(
            CloudError, match=r"maximum stacks per tenant.*delete some stacks: have the limit raised"
        ):
            heat.smaller(sized(3, 1000))


def test_there_is_no_stack_where_there_is_none(heat):
    nobody = str(uuid.uuid4())
    assert heat.find(nobody) is None
    heat.delete(nobody)
    heat.cancel(nobody)
    with pytest.raises(CloudError, match="HTTP 404"):
        heat.update(nobody, hot_of(one=thing()), minutes=1)

"""The Hub takes no part in execution: a Hub that stands still holds up no queue.

Sources: IPython commit a2c57acba, parallel_messages.txt, "The Hub"; IPython commit 7bde2f380, parallel_connections.txt.
"""

from conformance.harness.case import needs, requirement
from conformance.harness.controller import Controller
from conformance.harness.expect import ok
from conformance.harness.queues import Queue
from conformance.harness.tasks import TaskQueue
from conformance.harness.verdict import violate
from protocol.world import SECOND

#: A round trip takes milliseconds; this is for a machine that does other things, too.
BOUND = SECOND


def expect_swift(controller: Controller, started: int, what: str) -> None:
    if (took := controller.spent(started)) > BOUND:
        violate(f"{what} took {took / SECOND:.2f} s while the Hub stood still", f"{BOUND / SECOND:.1f} s at most")


@needs("mux", "hub-process")
@requirement("storage.passive", "mux.monitoring-does-not-interfere")
def test_a_stopped_hub_delays_no_request_through_mux(fresh_controller: Controller) -> None:
    controller, hub, mux = fresh_controller, fresh_controller.hub_process(), Queue(fresh_controller, "mux")
    engine, client = mux.engine(), controller.client()
    mux.exchange(client, engine)
    with controller.hub_stopped(hub):
        for _ in range(20):
            started = controller.world.now
            mux.exchange(client, engine)
            expect_swift(controller, started, "a round trip")
        # More than the buffers on the way to the Hub may hold, in bytes and then in messages.
        for size, count in ((500_000, 40), (10, 1_200)):
            started = controller.world.now
            for request in [mux.send(client, engine, buffers=(b"f", bytes(size))) for _ in range(count)]:
                mux.delivered(engine, request)
        started = controller.world.now
        mux.exchange(client, engine)
        expect_swift(controller, started, "a round trip after 20 MB and 1,200 messages")
    controller.expect_running()


@needs("control", "hub-process")
@requirement("storage.passive", "control.own-channel")
def test_a_stopped_hub_delays_no_control_request(controller: Controller) -> None:
    hub, control = controller.hub_process(), Queue(controller, "control")
    engine, client = control.engine(), controller.client()
    control.exchange(client, engine)
    with controller.hub_stopped(hub):
        for _ in range(20):
            started = controller.world.now
            control.exchange(client, engine)
            expect_swift(controller, started, "a control request")
    controller.expect_running()


@needs("tasks", "hub-process")
@requirement("storage.passive")
def test_a_stopped_hub_delays_no_task(controller: Controller) -> None:
    hub, queue = controller.hub_process(), TaskQueue(controller)
    with controller.hub_stopped(hub):
        for _ in range(20):
            started = controller.world.now
            queue.finish(queue.submit())
            expect_swift(controller, started, "a task")
        first = queue.submit()
        last = queue.submit(after=[first.msg_id], follow=[first.msg_id])
        queue.finish(first)
        queue.finish(last)
    controller.expect_running()


@needs("mux", "results", "hub-process")
@requirement("storage.requests-recorded")
def test_what_passed_while_the_hub_stood_still_is_on_record_later(controller: Controller) -> None:
    hub, mux = controller.hub_process(), Queue(controller, "mux")
    engine, client = mux.engine(), controller.client()
    with controller.hub_stopped(hub):
        requests = [mux.exchange(client, engine)[0].message for _ in range(20)]
    asked = {"msg_ids": [request.msg_id for request in requests if request is not None]}
    client.ask_until(
        lambda reply: reply.content.get("completed") == asked["msg_ids"],
        "result_request",
        asked | {"status_only": True},
    ).expect(ok("result_reply", pending=[]), requirement="storage.requests-recorded")

"""Shutting the Hub down: what it says, to whom, and what is left of the controller.

Each case has a controller of its own, which it ends. Source: measured on ipyparallel 9.2.0.
"""

from conformance.harness.case import READING, destructive, needs, requirement, settings
from conformance.harness.controller import Controller
from conformance.harness.expect import error, ok
from conformance.harness.tasks import TaskQueue
from conformance.harness.verdict import violate


@destructive("it shuts the controller down", ends=True)
@needs("shutdown")
@requirement("query.shutdown-answered", "notification.shutdown-published", "notification.shutdown-parent")
def test_a_request_to_shut_down_is_answered_and_published(fresh_controller: Controller) -> None:
    client = fresh_controller.client()
    request = client.send("shutdown_request", {})
    client.answer_to(request, requirement="query.shutdown-answered").expect(
        ok("shutdown_reply"), requirement="query.shutdown-answered"
    )
    seen = fresh_controller.notifications.expect(
        "shutdown_notification", status="ok", requirement="notification.shutdown-published"
    )
    assert seen.message is not None
    if seen.message.parent_header.get("msg_id") != request.msg_id:
        violate(
            f"the parent header {seen.message.parent_header!r}", f"the header of {request.msg_id}",
            requirement="notification.shutdown-parent", evidence=(seen.seq,),
        )  # fmt: skip


@needs("shutdown")
@requirement("query.shutdown-ends", "connection.file-removed-at-exit")
def test_a_controller_that_was_shut_down_leaves_nothing_behind(fresh_controller: Controller) -> None:
    fresh_controller.client().ask("shutdown_request", {}).expect(
        ok("shutdown_reply"), requirement="query.shutdown-answered"
    )
    fresh_controller.expect_end("query.shutdown-ends")
    fresh_controller.expect_no_process("query.shutdown-ends")
    left = fresh_controller.instance.on_disk()
    if left:
        violate(
            f"the connection files of {' and '.join(left)}s are still there", "no connection file",
            requirement="connection.file-removed-at-exit",
        )  # fmt: skip


@needs("shutdown", "control", "mux")
@requirement("query.shutdown-spares-engines")
def test_engines_are_not_told_that_the_hub_shuts_down(fresh_controller: Controller) -> None:
    engine = fresh_controller.engine().with_shell("mux", "control").registered(has_device_heart=True)
    # What was sent through this queue before shows that the engine would have been told.
    client = fresh_controller.client()
    client.submit(engine, channel="control", msg_type="abort_request", content={"msg_ids": None}, buffers=())
    engine.take("control")
    client.ask("shutdown_request", {}).expect(ok("shutdown_reply"), requirement="query.shutdown-answered")
    fresh_controller.expect_end("query.shutdown-ends")
    for channel in ("mux", "control"):
        found = engine.pending(channel)
        if found is not None:
            violate(f"{channel} delivered {list(found.frames)!r:.200}", "nothing", evidence=(found.seq,))


@needs("tasks")
@settings(hwm=1, scheme=READING)
@requirement("task.stop-answered")
def test_open_tasks_are_answered_when_the_controller_is_told_to_end(fresh_controller: Controller) -> None:
    queue = TaskQueue(fresh_controller, engines=1)
    running, queued = queue.submit(), queue.submit()
    queue.taken(running)
    waiting = queue.submit(after=[running.msg_id])
    queue.expect_waiting(queued, waiting)
    fresh_controller.terminate()
    fresh_controller.expect_end()
    for task, what in ((running, "runs"), (queued, "is queued"), (waiting, "waits for another")):
        if not queue.answers(task):
            violate(f"no reply to a task that {what}", "an error for each")
        queue.answers(task)[0].expect(error("apply_reply"))

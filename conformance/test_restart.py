"""A controller that was killed and is started again goes on where it was: addresses, engines, ids, and results on disk.

Sources: measured on ipyparallel 9.2.0; ipyparallel documentation, "IPython's Task Database".
"""

import pytest

from conformance.harness.actors import Client, Engine
from conformance.harness.case import needs, requirement, settings
from conformance.harness.controller import Controller
from conformance.harness.expect import kind, ok
from conformance.harness.queues import Queue
from conformance.harness.verdict import violate
from protocol.wire import Json
from protocol.world import SECOND

#: What both files must say alike.
AGREED = ("key", "registration", "pack", "unpack", "signature_scheme")
#: What peers that are connected count on.
KEPT = ("key", "registration", "mux", "task", "control", "iopub", "notification", "hb_ping", "hb_pong", "broadcast")


def expect_reached(controller: Controller, mux: Queue, client: Client, engine: Engine) -> None:
    """Send until something arrives: sockets connect again by themselves, some time after the other end is there."""
    started, limit = controller.world.now, controller.timing.reply_deadline
    while engine.pending() is None:
        if controller.is_over(started, limit):
            violate(f"nothing reached {engine.name} within {limit / SECOND:.1f} s", "its queue works again")
        mux.send(client, engine)
        controller.let_pass(SECOND // 20)
    mux.exchange(client, engine, is_patient=True)


@needs("mux")
@settings(restore=True)
@requirement("connection.restore-keeps-addresses", "registration.state-survives-restore")
def test_a_restored_controller_goes_on_with_its_peers(fresh_controller: Controller) -> None:
    mux = Queue(fresh_controller, "mux")
    engine, gone, client = mux.engine(), mux.engine(), fresh_controller.client()
    gone.unregister()
    fresh_controller.notifications.expect(
        "unregistration_notification", uuid=gone.uuid, requirement="registration.unregistration-honoured"
    )
    before = (fresh_controller.client_file, fresh_controller.engine_file)
    fresh_controller.restart()
    after = (fresh_controller.client_file, fresh_controller.engine_file)
    changed = [key for key in KEPT for one, other in zip(before, after, strict=True)
               if getattr(one, key, None) != getattr(other, key, None)]  # fmt: skip
    if changed:
        violate(f"another {', '.join(changed)} in the connection files", "what they said before")
    listed = client.engines()
    if listed.get(str(engine.id)) != engine.uuid or gone.uuid in listed.values():
        requirement = "registration.state-survives-restore"
        violate(f"the engines {listed}", f"{engine.id}: {engine.uuid}", requirement=requirement)
    expect_reached(fresh_controller, mux, client, engine)
    # Who listens connects again by itself, too, and what is published before is not heard.
    fresh_controller.prove_subscription()
    new = fresh_controller.engine().registered()
    if new.id is None or gone.id is None or new.id <= gone.id:
        requirement = "registration.state-survives-restore"
        violate(
            f"the id {new.id} for a new engine", f"one that was never given, above {gone.id}", requirement=requirement
        )


@needs("tasks")
@settings(restore=True, hwm=0)
@requirement("task.learns-engines-late")
def test_a_scheduler_that_starts_later_learns_of_the_engines_there(fresh_controller: Controller) -> None:
    engine, client = fresh_controller.engine().with_shell("task").registered(), fresh_controller.client()
    fresh_controller.restart()
    if engine.uuid not in client.engines().values():
        raise fresh_controller.stopped("registration.state-survives-restore", "the engine is not listed any more")
    started, limit = fresh_controller.world.now, fresh_controller.timing.reply_deadline
    # What is sent before the sockets have found each other again may be lost, and an engine that may have one task only
    # would then have it for ever.
    while engine.pending("task") is None:
        if fresh_controller.is_over(started, limit):
            violate(f"no task reached {engine.name} within {limit / SECOND:.1f} s", "tasks, as before the restart")
        client.submit(None, channel="task")
        fresh_controller.let_pass(SECOND // 20)


@needs("mux")
@settings(restore=True)
@requirement("connection.mismatched-files-not-reused")
@pytest.mark.parametrize("changes", [{"key": "of-somebody-else"}, {"registration": 1}], ids=["key", "registration"])
def test_files_that_contradict_each_other_are_not_used(fresh_controller: Controller, changes: Json) -> None:
    fresh_controller.restart(engine_file=changes)
    client, engine = fresh_controller.client_file, fresh_controller.engine_file
    wrong = [key for key in AGREED if getattr(client, key) != getattr(engine, key)]
    if wrong:
        violate(f"files that differ in {', '.join(wrong)}", "files that agree, made anew")


@needs("mux", "results", "db")
@settings(database=True, restore=True)
@requirement("storage.persistent-survives")
def test_results_on_disk_survive_the_death_of_the_controller(fresh_controller: Controller) -> None:
    mux = Queue(fresh_controller, "mux")
    engine, client = mux.engine(), fresh_controller.client()
    requests = [client.run_on(engine, buffers=(b"f", b"%d" % number)) for number in range(5)]
    asked = {"msg_ids": [request.msg_id for request in requests]}
    before = client.ask("result_request", asked).expect(ok("result_reply", completed=kind(list)))
    # What has been shown, and some time ago, may be relied on.
    fresh_controller.let_pass(fresh_controller.timing.durable)
    fresh_controller.restart()
    after = client.ask("result_request", asked).expect(ok("result_reply", completed=kind(list)))
    lost = [msg_id for msg_id in asked["msg_ids"] if after.content.get(msg_id) != before.content[msg_id]]
    if lost or list(after.message.buffers) != list(before.message.buffers):
        violate(f"{len(lost)} of {len(requests)} results are lost or changed", "all of them, as they were shown")

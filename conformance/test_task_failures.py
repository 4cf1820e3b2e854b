"""When a task does not simply run: retries, refusals, timeouts, the death of its engine, and mistaken messages.

Sources: measured on ipyparallel 9.2.0; its documentation, "task.md".
"""

import pytest

from conformance.harness.actors import RESULT_BUFFERS, Reply
from conformance.harness.case import READING, needs, requirement, settings
from conformance.harness.controller import Controller
from conformance.harness.expect import error, ok
from conformance.harness.tasks import How, TaskQueue
from conformance.harness.verdict import violate
from protocol.wire import DELIMITER, Frame, Json, Message
from protocol.world import MILLISECOND, SECOND

pytestmark = [needs("tasks"), settings(scheme=READING)]

#: The shortest timeout that a busy machine does not take for none.
SOON = 0.3


# -- retries -----------------------------------------------------------------------------------------------------------


@requirement("task.retry-on-failure", "task.retry-elsewhere")
@pytest.mark.parametrize("how", ["failed", "aborted"])
def test_a_failed_task_is_run_again_on_another_engine(controller: Controller, how: How) -> None:
    queue = TaskQueue(controller)
    task = queue.submit(retries=1)
    first = queue.taken(task)
    queue.answer(task, how)
    second = queue.taken(task, times=2, requirement="task.retry-on-failure")
    queue.answer(task)
    queue.reply(task).expect(ok("apply_reply"), requirement="task.retry-on-failure")
    queue.expect_once(task, runs=2, requirement="task.retry-on-failure")
    if second is first:
        violate(f"{first.name} again", "the other engine", requirement="task.retry-elsewhere")


@requirement("task.retries-bounded", "task.dispatches-bounded")
@pytest.mark.parametrize("retries", [0, 1, 2])
def test_a_task_that_always_fails_is_run_once_and_once_per_retry(controller: Controller, retries: int) -> None:
    queue = TaskQueue(controller, engines=3)
    task = queue.submit(retries=retries)
    for run in range(1, retries + 2):
        queue.taken(task, times=run, requirement="task.retry-on-failure")
        queue.answer(task, "failed")
    queue.reply(task, requirement="task.retries-bounded").expect(
        error("apply_reply", ename="ZeroDivisionError"), requirement="task.retries-bounded"
    )
    queue.expect_once(task, runs=retries + 1, requirement="task.dispatches-bounded")


@requirement("task.retry-where-it-failed")
def test_a_task_is_run_again_where_it_must_run(controller: Controller) -> None:
    queue = TaskQueue(controller)
    (engine, _) = queue.engines
    task = queue.submit(retries=2, targets=[engine.uuid])
    for run in (1, 2, 3):
        queue.taken(task, times=run, among=(engine,), requirement="task.retry-where-it-failed")
        queue.answer(task, "failed")
    queue.reply(task).expect(error("apply_reply", ename="ZeroDivisionError"))


@requirement("task.retry-where-it-failed")
def test_a_task_is_run_again_on_the_only_engine(fresh_controller: Controller) -> None:
    queue = TaskQueue(fresh_controller, engines=1)
    task = queue.submit(retries=1)
    queue.taken(task)
    queue.answer(task, "failed")
    queue.taken(task, times=2, requirement="task.retry-where-it-failed")
    queue.answer(task)
    queue.reply(task).expect(ok("apply_reply"))


@requirement("task.one-live-assignment")
def test_a_task_with_retries_is_not_given_out_while_it_runs(controller: Controller) -> None:
    queue = TaskQueue(controller)
    task = queue.submit(retries=2)
    engine = queue.taken(task)
    queue.round_trip(next(other for other in queue.engines if other is not engine))
    queue.finish(task)
    queue.expect_once(task)


@requirement("task.stranger-reply-dropped")
def test_a_second_answer_of_an_engine_that_was_left_is_dropped(controller: Controller) -> None:
    queue = TaskQueue(controller)
    task = queue.submit(retries=1)
    first = queue.taken(task)
    queue.answer(task, "failed")
    second = queue.taken(task, times=2, requirement="task.retry-on-failure")
    if second is first:
        second = queue.engines[queue.engines[0] is first]
    # The first engine thinks better of it, while the second one has the task.
    first.answer(queue.to(task)[0].observation, channel="task", buffers=(b"of the first engine",))
    queue.round_trip(first)
    if queue.answers(task):
        violate("the reply of the engine that had failed", "no reply before the second engine's")
    queue.answer(task)
    queue.reply(task).expect(ok("apply_reply"))
    queue.expect_once(task, runs=2)


# -- refusals ----------------------------------------------------------------------------------------------------------


@requirement("task.unmet-is-rerouted", "task.refusing-engine-avoided")
def test_a_refused_task_goes_to_another_engine(controller: Controller) -> None:
    queue = TaskQueue(controller, engines=3)
    task = queue.submit()
    refusing = []
    for run in (1, 2):
        refusing.append(queue.taken(task, times=run, requirement="task.unmet-is-rerouted"))
        queue.answer(task, "refused")
    last = queue.taken(task, times=3, requirement="task.unmet-is-rerouted")
    queue.answer(task)
    queue.reply(task).expect(ok("apply_reply"), requirement="task.unmet-is-rerouted")
    if last in refusing or refusing[0] is refusing[1]:
        violate(f"{last.name} after {refusing[0].name} and {refusing[1].name} refused", "three engines",
                requirement="task.refusing-engine-avoided")  # fmt: skip
    queue.expect_once(task, runs=3)


@settings(hwm=1)
@requirement("task.refusing-engine-avoided")
def test_a_refused_task_waits_for_a_busy_engine_while_the_refusing_one_is_idle(controller: Controller) -> None:
    queue = TaskQueue(controller)
    refusing, busy = queue.engines
    held = queue.submit(targets=[busy.uuid])
    queue.taken(held)
    task = queue.submit()
    queue.taken(task, among=(refusing,))
    queue.answer(task, "refused")
    # A later task for the engine that is idle comes when the refusal was read; or the refused one does, in its place.
    marker = queue.submit(targets=[refusing.uuid])
    queue.wait(lambda: bool(queue.to(marker)) or len(queue.to(task)) > 1, "the idle engine was given nothing more",
               requirement="task.no-starvation")  # fmt: skip
    if len(queue.to(task)) > 1 or queue.answers(task):
        violate("it was run or answered before the busy engine was free", "it waits")
    queue.finish(marker)
    queue.finish(held)
    queue.taken(task, times=2, among=(busy,), requirement="task.unmet-is-rerouted")
    queue.answer(task)
    queue.reply(task)


REFUSE_AND_FAIL: tuple[How, ...] = ("refused", "failed", "refused", "failed")


@requirement("task.unmet-keeps-retries", "task.dispatches-bounded")
def test_a_refusal_uses_up_no_retry(controller: Controller) -> None:
    queue = TaskQueue(controller, engines=4)
    task = queue.submit(retries=1)
    for run, how in enumerate(REFUSE_AND_FAIL, start=1):
        queue.taken(task, times=run, requirement="task.unmet-keeps-retries")
        queue.answer(task, how)
    queue.reply(task).expect(error("apply_reply", ename="ZeroDivisionError"))
    queue.expect_once(task, runs=4, requirement="task.dispatches-bounded")


@requirement("task.all-refused-error")
def test_a_task_that_all_its_targets_refused_is_answered_with_an_error(controller: Controller) -> None:
    queue = TaskQueue(controller, engines=3)
    first, second, _ = queue.engines
    task = queue.submit(targets=[first.uuid, second.uuid])
    for run in (1, 2):
        queue.taken(task, times=run, among=(first, second))
        queue.answer(task, "refused")
    queue.refused(task, "ImpossibleDependency")
    queue.expect_once(task, runs=2)


@requirement("task.all-refused-error")
def test_a_task_that_every_engine_refused_is_refused_or_waits_for_a_new_one(controller: Controller) -> None:
    queue = TaskQueue(controller)
    task = queue.submit()
    for run in (1, 2):
        queue.taken(task, times=run, requirement="task.unmet-is-rerouted")
        queue.answer(task, "refused")
    for engine in queue.engines:
        queue.round_trip(engine)
    if queue.answers(task):
        queue.refused(task, "ImpossibleDependency")
        queue.expect_once(task, runs=2)
    else:
        new = queue.join(is_free=False)
        queue.taken(task, times=3, among=(new,), requirement="task.all-refused-error")
        queue.finish(task)
        queue.expect_once(task, runs=3)


# -- timeouts ----------------------------------------------------------------------------------------------------------


@settings(hwm=1)
@requirement("task.timeout-while-queued", "task.own-error-names")
@pytest.mark.parametrize("cause", ["busy", "after", "follow"])
def test_a_task_that_is_queued_for_too_long_is_refused_and_not_run(controller: Controller, cause: str) -> None:
    queue = TaskQueue(controller, engines=1)
    (engine,) = queue.engines
    held = queue.submit()
    queue.taken(held)
    started = controller.world.now
    task = queue.submit({} if cause == "busy" else {cause: [held.msg_id]}, timeout=SOON)
    reply = queue.refused(task, "TaskTimeout")
    early = started + round(SOON * SECOND) - reply.observation.now
    if early > 0:
        violate(f"refused {early / MILLISECOND:.0f} ms before its time", f"{SOON} s in the queue")
    queue.finish(held)
    queue.round_trip(engine)
    queue.expect_once(task, runs=0)


@requirement("task.running-never-times-out")
def test_a_timeout_does_not_touch_a_task_that_an_engine_has(controller: Controller) -> None:
    queue = TaskQueue(controller)
    at_once, later = queue.submit(timeout=SOON), queue.submit(timeout=SOON)
    first, second = queue.taken(at_once), queue.taken(later)
    queued = queue.submit(timeout=60)
    controller.let_pass(round(2 * SOON * SECOND))
    queue.barrier()
    for task in (at_once, later):
        queue.answer(task)
        queue.reply(task).expect(ok("apply_reply"))
    queue.taken(queued, among=(first, second))
    queue.finish(queued)
    queue.expect_once(at_once, later, queued)


@requirement("task.running-never-times-out")
def test_a_timeout_ends_when_the_queued_task_is_given_to_an_engine(controller: Controller) -> None:
    queue = TaskQueue(controller, engines=1)
    submitted = controller.world.now
    held, task = queue.submit(), queue.submit(timeout=2.0)
    queue.taken(held)
    queue.finish(held)
    if queue.answers(task) or controller.world.now - submitted > SECOND:
        controller.expect_unhindered(submitted, SECOND)
    queue.taken(task, requirement="task.no-starvation")
    controller.let_pass(round(2.3 * SECOND))
    queue.barrier()
    queue.answer(task)
    queue.reply(task).expect(ok("apply_reply"))
    queue.expect_once(task)


# -- the death of an engine --------------------------------------------------------------------------------------------


@requirement(
    "task.engine-death-error", "task.late-reply-dropped", "dependency.survives-engine-death", "task.own-error-names"
)
def test_a_task_without_retries_ends_with_its_engine(controller: Controller) -> None:
    queue = TaskQueue(controller, engines=3)
    dead, also_dead, alive = queue.engines
    task, other = (queue.submit(targets=[engine.uuid]) for engine in (dead, also_dead))
    queue.taken(task)
    queue.taken(other)
    well = queue.submit(after=[task.msg_id])
    badly = queue.submit(after={"dependencies": [task.msg_id], "all": True, "success": False, "failure": True})
    left = queue.lose(dead, also_dead)
    reply = expect_given_up(queue, task, left)
    identities = list(reply.message.identities)
    if identities not in ([dead.uuid.encode()], []):
        violate(f"the frames {identities} in front", "the identity of the engine", "none")
    expect_given_up(queue, other, left)
    queue.refused(well, "ImpossibleDependency", requirement="dependency.survives-engine-death")
    queue.taken(badly, among=(alive,), requirement="dependency.survives-engine-death")
    queue.finish(badly)
    # Only now the engines answer.
    queue.answer(task)
    queue.answer(other, "failed")
    queue.round_trip(alive)
    queue.expect_once(task, other, requirement="task.late-reply-dropped")


@requirement("task.engine-death-retry", "dependency.survives-engine-death")
def test_a_task_with_retries_is_run_again_when_its_engine_dies(controller: Controller) -> None:
    queue = TaskQueue(controller, engines=3)
    dead, *alive = queue.engines
    task = queue.submit(targets=[engine.uuid for engine in queue.engines], retries=1)
    while queue.taken(task) is not dead:
        queue.finish(task)
        task = queue.submit(targets=[engine.uuid for engine in queue.engines], retries=1)
    waiting = queue.submit(after=[task.msg_id])
    left = queue.lose(dead)
    timing = controller.timing
    queue.wait(
        lambda: len(queue.to(task)) > 1 or bool(queue.answers(task)), "it was not run again",
        requirement="task.engine-death-retry", within=timing.scheduler_grace + timing.reply_deadline,
    )  # fmt: skip
    queue.taken(task, times=2, among=tuple(alive), requirement="task.engine-death-retry")
    if queue.to(task)[1].observation.now < left + timing.scheduler_grace - timing.margin:
        violate("it was run again before the time of grace was over", f"{timing.scheduler_grace_s} s of grace")
    queue.answer(task)
    queue.reply(task).expect(ok("apply_reply"), requirement="task.engine-death-retry")
    queue.taken(waiting, among=tuple(alive), requirement="dependency.survives-engine-death")
    queue.finish(waiting)
    queue.expect_once(task, runs=2, requirement="task.engine-death-retry")


@requirement("task.reply-within-grace")
@pytest.mark.parametrize("how", ["ok", "failed"])
def test_a_reply_within_the_time_of_grace_is_delivered(controller: Controller, how: How) -> None:
    queue = TaskQueue(controller)
    dead, alive = queue.engines
    task = queue.submit(targets=[dead.uuid])
    queue.taken(task)
    queue.lose(dead)
    new = queue.join()
    queue.answer(task, how)
    wanted = ok("apply_reply") if how == "ok" else error("apply_reply", ename="ZeroDivisionError")
    queue.reply(task, requirement="task.reply-within-grace").expect(wanted)
    for engine in (alive, new):
        queue.round_trip(engine)
    queue.expect_once(task)


def expect_given_up(queue: TaskQueue, task: Message, left: int) -> Reply:
    """The error for a task on an engine that left at this moment, at the end of the time of grace."""
    timing = queue.controller.timing
    within = timing.scheduler_grace + timing.reply_deadline
    queue.wait(lambda: bool(queue.answers(task)), "no reply for a task whose engine had left",
               requirement="task.engine-death-error", within=within)  # fmt: skip
    reply = queue.answers(task)[0].expect(error("apply_reply"), requirement="task.engine-death-error")
    if reply.content["ename"] != "EngineError":
        violate(f"the error {reply.content['ename']}", "EngineError", requirement="task.own-error-names")
    if reply.observation.now < left + timing.scheduler_grace - timing.margin:
        violate("an error before the time of grace was over", f"{timing.scheduler_grace_s} s of grace",
                requirement="task.reply-within-grace")  # fmt: skip
    return reply


# -- answers of those who were not asked -------------------------------------------------------------------------------


@requirement("task.stranger-reply-dropped")
def test_an_engine_cannot_answer_for_another_one(controller: Controller) -> None:
    queue = TaskQueue(controller)
    task = queue.submit()
    owner = queue.taken(task)
    stranger = next(engine for engine in queue.engines if engine is not owner)
    queue.answer(task, by=stranger)
    queue.round_trip(stranger)
    if queue.answers(task):
        violate(f"the reply that {stranger.name} gave reached the client", f"only {owner.name} answers")
    queue.answer(task)
    queue.reply(task)
    queue.expect_once(task)


@settings(hwm=1)
@requirement("task.stranger-reply-dropped", "task.hwm-respected")
def test_an_answer_given_twice_counts_once(controller: Controller) -> None:
    queue = TaskQueue(controller, engines=1)
    (engine,) = queue.engines
    first = queue.submit()
    queue.taken(first)
    queue.answer(first)
    queue.answer(first, "failed")
    queue.round_trip(engine)
    queue.expect_once(first, requirement="task.stranger-reply-dropped")
    tasks = [queue.submit(targets=[engine.uuid]) for _ in range(3)]
    queue.expect_waiting(*tasks[1:], requirement="task.hwm-respected")
    for _ in tasks:
        queue.finish(queue.next_of(tasks))


@settings(hwm=1)
@requirement("task.stranger-reply-dropped")
def test_an_answer_to_a_task_that_never_was_changes_nothing(controller: Controller) -> None:
    queue = TaskQueue(controller)
    engine, other = queue.engines
    task = queue.submit(targets=[engine.uuid])
    queue.taken(task)
    parent = {**task.header, "msg_id": "never-submitted"}
    metadata = {"status": "ok", "dependencies_met": True, "engine": engine.uuid}
    identities = envelope(queue, task)
    stray = engine.make("apply_reply", {"status": "ok"}, metadata=metadata, parent=parent, identities=identities)
    engine.queue("task").send(stray)
    queue.round_trip(other)
    queued = queue.submit(targets=[engine.uuid])
    queue.expect_waiting(queued)
    queue.answer(task)
    queue.reply(task).expect(ok("apply_reply"))
    queue.finish(queued)
    for client, seen in queue.replies:
        if seen.message and seen.message.parent_header.get("msg_id") == "never-submitted":
            violate(f"a reply to what {client.name} never submitted", "nothing", evidence=(seen.seq,))


# -- mistaken messages -------------------------------------------------------------------------------------------------


UNREADABLE: dict[str, Json] = {
    "after a number": {"after": 17},
    "after a flag": {"after": True},
    "after a list of numbers": {"after": [17]},
    "after an object without ids": {"after": {"all": True}},
    "after an object of numbers": {"after": {"dependencies": 17}},
    "following a number": {"follow": 17},
    "following nobody": {"follow": None},
    "following a list of lists": {"follow": [["a"]]},
    "targets a number": {"targets": 17},
    "targets a list of objects": {"targets": [{}]},
    "targets a list of nulls": {"targets": [None]},
    "targets an object": {"targets": {}},
    "targets null": {"targets": None},
    "timeout a word": {"timeout": "soon"},
    "timeout a list": {"timeout": [1]},
    "timeout negative": {"timeout": -1},
    "timeout beyond any clock": {"timeout": 1e300},
    "retries a word": {"retries": "x"},
    "retries null": {"retries": None},
    "retries negative": {"retries": -1},
    "retries a fraction": {"retries": 0.5},
}


@requirement("task.malformed-metadata-answered")
@pytest.mark.parametrize("how", ["ok", "failed"])
def test_tasks_with_unreadable_fields_are_refused_or_run(fresh_controller: Controller, how: How) -> None:
    queue = TaskQueue(fresh_controller, engines=1)
    (engine,) = queue.engines
    tasks = {name: queue.submit(fields, why=name) for name, fields in UNREADABLE.items()}
    answered: set[int] = set()

    def is_settled() -> bool:
        for delivery in list(queue.deliveries):
            if delivery.observation.seq not in answered:
                answered.add(delivery.observation.seq)
                queue.answer_delivery(delivery, how)
        return all(queue.answers(task) for task in tasks.values())

    fresh_controller.world.run_until(is_settled, fresh_controller.world.now + fresh_controller.timing.reply_deadline)
    silent = [name for name, task in tasks.items() if not queue.answers(task)]
    if silent:
        violate(f"no reply to tasks with: {', '.join(silent)}", "an error reply, or a run and its reply")
    queue.round_trip(engine)
    for name, task in tasks.items():
        if len(queue.answers(task)) > 1:
            violate(f"{len(queue.answers(task))} replies to a task with: {name}", "one")


@requirement("task.malformed-metadata-answered")
@pytest.mark.parametrize("fields", UNREADABLE.values(), ids=[name.replace(" ", "-") for name in UNREADABLE])
def test_an_unreadable_field_does_not_affect_other_tasks(controller: Controller, fields: Json) -> None:
    queue = TaskQueue(controller, engines=1)
    before = queue.submit()
    mistake = queue.submit(fields, why="an unreadable field")
    after = queue.submit()
    for _ in range(2):
        while queue.next_of([before, mistake, after]) is mistake:
            queue.finish(mistake)
        queue.finish(queue.next_of([before, after]))
    queue.expect_once(before, after)


@requirement("wire.refused-changes-nothing")
def test_a_task_that_cannot_be_read_is_dropped_alone(controller: Controller) -> None:
    queue = TaskQueue(controller)
    (socket, codec) = queue.client.queue("task"), controller.codec
    good = codec.encode(queue.client.make("apply_request", {}))
    header = good[2]
    messages: dict[str, list[Frame]] = {
        "no frame at all": [b""],
        "no delimiter": [b"a", b"b"],
        "only the delimiter": [DELIMITER],
        "too few frames": good[:4],
        "a wrong signature": [DELIMITER, b"0" * 64, *good[2:]],
        "a header that is no object": [DELIMITER, codec.sign(b"[]" + b"{}" * 3), b"[]", b"{}", b"{}", b"{}"],
        "a header without msg_id": [DELIMITER, codec.sign(b"{}" * 4), b"{}", b"{}", b"{}", b"{}"],
        "a metadata that is no object": [
            DELIMITER, codec.sign(bytes(header) + b"{}[]{}"), header, b"{}", b"[]", b"{}"
        ],
    }  # fmt: skip
    for why, frames in messages.items():
        socket.send_raw(frames, why)
    task = queue.submit()
    queue.taken(task)
    queue.finish(task)
    queue.expect_once(task)


@settings(hwm=1)
@requirement("wire.refused-changes-nothing")
def test_an_answer_that_cannot_be_read_leaves_the_task_with_its_engine(controller: Controller) -> None:
    queue = TaskQueue(controller, engines=1)
    (engine,) = queue.engines
    task, queued = queue.submit(), queue.submit()
    queue.taken(task)
    socket, codec = engine.queue("task"), controller.codec
    good = codec.encode(engine.make("apply_reply", {"status": "ok"}, parent=task.header))
    to = envelope(queue, task)
    messages: dict[str, list[Frame]] = {
        "no delimiter": [b"a"],
        "only the delimiter": [*to, DELIMITER],
        "a wrong signature": [*to, DELIMITER, b"0" * 64, *good[2:]],
    }
    for why, frames in messages.items():
        socket.send_raw(frames, why)
    queue.expect_waiting(queued)
    queue.answer(task)
    queue.reply(task).expect(ok("apply_reply"))
    queue.finish(queued)
    queue.expect_once(task, queued)


def envelope(queue: TaskQueue, task: Message) -> list[bytes]:
    """The identities in front of a task as its engine got it."""
    message = queue.to(task)[0].observation.message
    assert message is not None
    return list(message.identities)


# -- what a reply says -------------------------------------------------------------------------------------------------


@requirement("wire.reply-true")
def test_a_reply_names_the_engine_that_ran_the_task_and_tells_its_outcome(controller: Controller) -> None:
    queue = TaskQueue(controller, engines=3)
    ends: tuple[How, ...] = ("ok", "failed", "aborted")
    tasks = {how: queue.submit(targets=[engine.uuid]) for how, engine in zip(ends, queue.engines, strict=True)}
    # One that fails where it ran first and succeeds elsewhere: the reply is that of the second engine.
    retried = queue.submit(retries=1, after=[tasks["ok"].msg_id])
    refused = queue.submit(targets=["nobody"])
    for how, task in reversed(tasks.items()):
        queue.taken(task)
        queue.answer(task, how)
    queue.taken(retried)
    queue.answer(retried, "failed")
    queue.taken(retried, times=2)
    queue.answer(retried)
    expected = {"ok": "ok", "failed": "error", "aborted": "aborted"}
    for how, task in [*tasks.items(), ("ok", retried)]:
        reply = queue.reply(task)
        ran = queue.to(task)[-1].engine.uuid
        said = reply.message.metadata.get("engine"), reply.content.get("status")
        if said != (ran, expected[how]):
            violate(f"a reply of {said[0]} with the status {said[1]!r}", f"{ran}, {expected[how]!r}, as it was")
    reply = queue.reply(refused)
    if not reply.is_error or reply.message.metadata.get("engine") is not None:
        violate(f"{reply.content!r:.200} of {reply.message.metadata!r:.100}", "an error, and no engine: none ran it")


@requirement("apply.metadata-dependencies-met")
def test_a_reply_that_does_not_speak_of_dependencies_is_a_result(controller: Controller) -> None:
    queue = TaskQueue(controller)
    task = queue.submit()
    engine = queue.taken(task)
    asked = queue.to(task)[0].observation.message
    assert asked is not None
    metadata = {"started": controller.date(), "engine": engine.uuid, "status": "ok"}
    answer = engine.make(
        "apply_reply", {"status": "ok"}, metadata=metadata, parent=asked.header, identities=asked.identities,
        buffers=RESULT_BUFFERS,
    )  # fmt: skip
    engine.queue("task").send_raw(controller.codec.encode(answer), "says nothing of dependencies")
    requirement = "apply.metadata-dependencies-met"
    queue.reply(task, requirement=requirement).expect(ok("apply_reply"), requirement=requirement)
    queue.expect_once(task, requirement=requirement)

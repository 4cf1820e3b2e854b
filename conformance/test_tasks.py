"""The task queue: which engine gets a task, when, and what comes back.

Sources: IPython commit a2c57acba, parallel_messages.txt, "Schedulers"; measured on ipyparallel 9.2.0.
"""

import pytest

from conformance.harness.actors import Engine
from conformance.harness.case import READING, needs, requirement, settings
from conformance.harness.controller import Controller
from conformance.harness.expect import error, kind, ok
from conformance.harness.tasks import TaskQueue
from conformance.harness.verdict import violate
from protocol.wire import Json, Message
from protocol.world import Observation

pytestmark = [needs("tasks"), settings(scheme=READING)]


def expect_given(queue: TaskQueue, engine: Engine, *tasks: Message, requirement: str | None = None) -> None:
    """The engine was given these tasks, in this order; other tasks do not count."""
    wanted = [task.msg_id for task in tasks]
    found = [msg_id for msg_id in queue.at(engine) if msg_id in wanted]
    if found != wanted:
        order = [wanted.index(msg_id) for msg_id in found]
        violate(f"{engine.name} was given the tasks {order}", f"{list(range(len(wanted)))}", requirement=requirement)


# -- one engine, one reply ---------------------------------------------------------------------------------------------


@requirement("task.some-engine-runs", "task.exactly-one-engine")
def test_a_task_reaches_exactly_one_engine(controller: Controller) -> None:
    queue = TaskQueue(controller, engines=3)
    task = queue.submit()
    queue.taken(task, requirement="task.some-engine-runs")
    queue.answer(task)
    queue.reply(task)
    queue.expect_once(task, requirement="task.exactly-one-engine")


@requirement("task.reply-to-requester")
def test_each_client_gets_the_replies_to_its_own_tasks_only(controller: Controller) -> None:
    queue = TaskQueue(controller)
    other = queue.another_client()
    mine, theirs = queue.submit(), queue.submit(client=other)
    queue.taken(mine)
    queue.taken(theirs)
    # Answered the other way round: the order of submission must not decide.
    queue.answer(theirs)
    queue.answer(mine)
    queue.reply(theirs)
    queue.reply(mine)
    queue.expect_once(mine, theirs)
    if not queue.answers(mine, queue.client) or not queue.answers(theirs, other):
        violate("the replies of two clients were exchanged", "each gets its own")


@requirement("task.reply-names-engine")
def test_a_reply_arrives_behind_the_identity_of_the_engine(controller: Controller) -> None:
    queue = TaskQueue(controller)
    task = queue.submit()
    engine = queue.finish(task)
    identities = queue.reply(task).message.identities
    if tuple(identities) != (engine.uuid.encode(),):
        violate(f"the frames {list(identities)} in front", f"[{engine.uuid.encode()!r}]")


@requirement("task.outside-like-a-queue")
@pytest.mark.parametrize("msg_type", ["apply_request", "execute_request"])
def test_a_task_and_its_reply_pass_unchanged(controller: Controller, msg_type: str) -> None:
    queue = TaskQueue(controller)
    submit = queue.submit if msg_type == "apply_request" else queue.submit_code
    task = submit(targets=[queue.engines[0].uuid], retries=0, label="kept")
    queue.taken(task)
    expect_same(queue.to(task)[0].observation.message, task, "the request")
    sent = queue.answer(task)
    expect_same(queue.reply(task).message, sent, "the reply")


def expect_same(found: Message | None, sent: Message, what: str) -> None:
    assert found is not None
    for part in ("header", "parent_header", "metadata", "content"):
        if getattr(found, part) != getattr(sent, part):
            violate(f"{what} has the {part} {getattr(found, part)!r}", f"{getattr(sent, part)!r}, as sent")
    if [bytes(buffer) for buffer in found.buffers] != [bytes(buffer) for buffer in sent.buffers]:
        violate(f"{what} has other buffers", "the buffers that were sent")


@requirement("task.execute-through-task")
def test_an_execute_request_is_run_and_answered(controller: Controller) -> None:
    queue = TaskQueue(controller)
    task = queue.submit_code()
    queue.taken(task, requirement="task.execute-through-task")
    queue.answer(task)
    queue.reply(task, requirement="task.execute-through-task").expect(ok("execute_reply", execution_count=1))


# -- targets -----------------------------------------------------------------------------------------------------------


@requirement("task.targets-respected")
@pytest.mark.parametrize("number", [1, 2], ids=["one", "two"])
def test_a_task_goes_only_to_its_targets(controller: Controller, number: int) -> None:
    queue = TaskQueue(controller, engines=3)
    targets = tuple(queue.engines[:number])
    for _ in range(5):
        task = queue.submit(targets=[engine.uuid for engine in targets])
        queue.taken(task, among=targets)
        queue.answer(task)
        queue.reply(task)


@settings(hwm=1)
@requirement("task.targets-respected")
def test_a_task_waits_for_its_busy_target_while_another_engine_is_idle(controller: Controller) -> None:
    queue = TaskQueue(controller)
    wanted = queue.engines[0]
    first, second = queue.submit(targets=[wanted.uuid]), queue.submit(targets=[wanted.uuid])
    queue.taken(first)
    queue.expect_waiting(second)
    queue.finish(first)
    queue.taken(second, among=(wanted,))
    queue.finish(second)


@requirement("task.targets-respected")
def test_an_unknown_target_does_not_disturb_a_live_one(controller: Controller) -> None:
    queue = TaskQueue(controller)
    wanted = queue.engines[0]
    task = queue.submit(targets=["nobody", wanted.uuid])
    queue.taken(task, among=(wanted,))
    queue.finish(task)


@requirement("task.targets-respected")
def test_an_empty_list_of_targets_allows_every_engine(controller: Controller) -> None:
    queue = TaskQueue(controller)
    first, second = queue.submit(targets=[]), queue.submit(targets=[])
    queue.taken(first)
    queue.taken(second)
    queue.finish(first)
    queue.finish(second)


@requirement("task.no-live-target-error", "task.own-replies-unprefixed", "task.own-error-names")
def test_a_task_for_an_unknown_engine_is_refused(controller: Controller) -> None:
    queue = TaskQueue(controller)
    task = queue.submit(targets=["nobody"])
    reply = queue.refused(task, "ImpossibleDependency", requirement="task.no-live-target-error")
    queue.expect_once(task, runs=0, requirement="task.no-live-target-error")
    if reply.message.identities:
        violate(
            f"the frames {list(reply.message.identities)} in front", "none",
            requirement="task.own-replies-unprefixed",
        )  # fmt: skip


@requirement("task.no-live-target-error")
def test_a_task_for_a_dead_engine_is_refused(controller: Controller) -> None:
    queue = TaskQueue(controller)
    dead = queue.engines[0]
    queue.lose(dead)
    queue.join()
    queue.refused(queue.submit(targets=[dead.uuid]), "ImpossibleDependency")


@settings(hwm=1)
@requirement("task.no-live-target-error")
def test_a_queued_task_is_refused_when_its_only_target_dies(controller: Controller) -> None:
    queue = TaskQueue(controller)
    target, other = queue.engines
    first, second = queue.submit(targets=[target.uuid]), queue.submit(targets=[target.uuid])
    queue.taken(first)
    queue.expect_waiting(second, requirement="task.hwm-respected")
    queue.lose(target)
    queue.join()
    # The scheduler need not look at its queue before something happens.
    queue.round_trip(other)
    queue.refused(second, "ImpossibleDependency")


@requirement("task.no-live-target-error")
def test_a_task_for_the_last_engine_is_refused_when_that_is_dead(controller: Controller) -> None:
    queue = TaskQueue(controller, engines=1)
    (dead,) = queue.engines
    queue.lose(dead)
    # The scheduler may not have heard of the death yet; then the task reaches the engine, whose socket is still open.
    while True:
        task = queue.submit(targets=[dead.uuid])
        queue.barrier()
        if not queue.to(task):
            break
        queue.finish(task)
    queue.refused(task, "ImpossibleDependency")


@requirement("task.own-replies-are-apply-replies")
def test_a_refused_execute_request_is_answered_with_an_apply_reply(controller: Controller) -> None:
    queue = TaskQueue(controller)
    queue.refused(queue.submit_code(targets=["nobody"]))


@requirement("task.late-introduction")
def test_a_task_may_name_an_engine_as_soon_as_that_is_announced(controller: Controller) -> None:
    queue = TaskQueue(controller, engines=1)
    for _ in range(8):
        engine = queue.join(is_free=False)
        task = queue.submit(targets=[engine.uuid])
        queue.taken(task, among=(engine,), requirement="task.late-introduction")
        queue.finish(task)


# -- load and order ----------------------------------------------------------------------------------------------------


@settings(hwm=1)
@requirement("task.hwm-respected")
def test_an_engine_is_given_the_next_task_when_it_has_answered(controller: Controller) -> None:
    queue = TaskQueue(controller, engines=1)
    tasks = [queue.submit() for _ in range(3)]
    for number, task in enumerate(tasks):
        queue.taken(task)
        queue.expect_waiting(*tasks[number + 1 :])
        queue.finish(task)


@settings(hwm=1)
@requirement("task.hwm-respected", "task.least-load-first")
def test_tasks_are_spread_over_idle_engines_and_the_rest_waits(controller: Controller) -> None:
    queue = TaskQueue(controller, engines=3)
    tasks = [queue.submit() for _ in range(5)]
    engines = {queue.taken(task) for task in tasks[:3]}
    if len(engines) != 3:
        violate(f"three tasks on {len(engines)} engines", "one on each", requirement="task.least-load-first")
    queue.expect_waiting(*tasks[3:], requirement="task.hwm-respected")
    for task in tasks:
        queue.finish(task)


@settings(hwm=1)
@requirement("task.least-load-first")
def test_a_task_goes_past_busy_engines_to_the_idle_one(controller: Controller) -> None:
    queue = TaskQueue(controller, engines=3)
    busy, also_busy, idle = queue.engines
    held = [queue.submit(targets=[engine.uuid]) for engine in (busy, also_busy)]
    for task in held:
        queue.taken(task)
    for _ in range(4):
        task = queue.submit()
        queue.taken(task, among=(idle,))
        queue.finish(task)
    for task in held:
        queue.finish(task)


@settings(scheme=("leastload", "lru"))
@requirement("task.idle-engines-take-turns")
def test_idle_engines_take_turns(controller: Controller) -> None:
    queue = TaskQueue(controller, engines=3)
    names = [queue.finish(queue.submit()).name for _ in range(9)]
    if any(len(set(names[start : start + 3])) < 3 for start in range(len(names) - 2)):
        violate(f"nine tasks, one after the other, on {', '.join(names)}", "three engines in turn")


@requirement("task.fifo-among-equals")
def test_tasks_are_started_in_the_order_in_which_they_came(controller: Controller) -> None:
    queue = TaskQueue(controller, engines=1)
    tasks = [queue.submit() for _ in range(6)]
    for _ in tasks:
        queue.finish(queue.next_of(tasks))
    expect_given(queue, queue.engines[0], *tasks)


@requirement("task.fifo-among-equals")
def test_tasks_keep_their_order_while_those_for_another_engine_pass_by(controller: Controller) -> None:
    queue = TaskQueue(controller)
    busy, other = queue.engines
    tasks = [queue.submit(targets=[busy.uuid]) for _ in range(4)]
    queue.taken(tasks[0])
    queue.round_trip(other)
    for _ in tasks:
        queue.finish(queue.next_of(tasks))
    expect_given(queue, busy, *tasks)


@requirement("task.no-starvation")
def test_every_task_is_run_whatever_waits_beside_it(controller: Controller) -> None:
    queue = TaskQueue(controller, engines=3)
    first, second, _ = queue.engines
    root = queue.submit()
    tasks = [
        root,
        *(queue.submit(targets=[first.uuid]) for _ in range(5)),
        *(queue.submit(after=[root.msg_id]) for _ in range(5)),
        *(queue.submit() for _ in range(5)),
        *(queue.submit(follow=[root.msg_id]) for _ in range(3)),
        *(queue.submit(targets=[first.uuid, second.uuid], after=[root.msg_id]) for _ in range(3)),
    ]
    for _ in tasks:
        queue.finish(queue.next_of(tasks))
    queue.expect_once(*tasks)


# -- engines come and go -----------------------------------------------------------------------------------------------


@settings(hwm=1)
@requirement("task.new-engine-used")
def test_an_engine_that_registers_is_given_what_is_queued(controller: Controller) -> None:
    queue = TaskQueue(controller, engines=1)
    held, queued = queue.submit(), queue.submit()
    queue.taken(held)
    queue.expect_waiting(queued, requirement="task.hwm-respected")
    new = queue.join(is_free=False)
    queue.taken(queued, among=(new,), requirement="task.new-engine-used")
    queue.finish(queued)
    queue.finish(held)


@settings(hwm=1)
@requirement("task.waits-for-engine")
def test_tasks_wait_while_there_is_no_engine(controller: Controller) -> None:
    queue = TaskQueue(controller, engines=1)
    held = queue.submit()
    queue.taken(held)
    before = queue.submit()
    queue.expect_waiting(before, requirement="task.hwm-respected")
    queue.lose(*queue.engines)
    since = queue.submit()
    queue.expect_waiting(before, since)
    new = queue.join(is_free=False)
    for task in (before, since):
        queue.taken(task, among=(new,), requirement="task.waits-for-engine")
        queue.finish(task)


@requirement("task.dead-engine-avoided")
def test_no_task_goes_to_an_engine_that_left(controller: Controller) -> None:
    queue = TaskQueue(controller)
    dead, alive = queue.engines
    queue.lose(dead)
    # The scheduler hears of deaths in their order: once it knows a new engine it knows this death, too.
    new = queue.join()
    tasks = [queue.submit() for _ in range(6)]
    for _ in tasks:
        queue.finish(queue.next_of(tasks))
    if queue.at(dead)[1:]:
        violate(f"{len(queue.at(dead)) - 1} tasks for {dead.name}, which had left", f"{alive.name} and {new.name} only")


# -- ids -------------------------------------------------------------------------------------------------------------


@requirement("task.repeated-request-ignored")
@pytest.mark.parametrize("state", ["queued", "running", "done"])
def test_a_task_submitted_again_under_its_id_is_run_once(controller: Controller, state: str) -> None:
    queue = TaskQueue(controller)
    task = queue.submit()
    queue.taken(task)
    other = queue.submit()
    queue.taken(other)
    if state == "queued":
        queue.answer(task)
        queue.reply(task)
        blocker = queue.submit()
        queue.taken(blocker)
        task = queue.submit()
    elif state == "done":
        queue.finish(task)
    again = queue.client.submit(None, channel="task", why="an id for the second time", msg_id=task.msg_id)
    assert again.msg_id == task.msg_id
    queue.barrier()
    queue.finish(other)
    if state == "queued":
        queue.finish(blocker)
    if state != "done":
        queue.finish(task)
    for engine in queue.engines:
        if len(queue.to(task)) == 1:
            queue.round_trip(engine)
    queue.expect_once(task)


def _answer(engine: Engine, seen: Observation) -> None:
    engine.answer(seen, channel="task")


@settings(hwm=1)
@requirement("wire.malformed-harms-nobody")
def test_an_id_for_the_second_time_keeps_nobody_else_waiting(fresh_controller: Controller) -> None:
    # Whatever else ends may set the queue going again: here nothing does.
    queue = TaskQueue(fresh_controller, engines=1)
    engine, other = queue.engines[0], queue.another_client()
    running = queue.submit()
    queue.taken(running)
    theirs = [queue.submit(client=other)]
    twice = queue.submit()
    theirs.append(queue.submit(client=other))
    queue.client.submit(None, channel="task", why="an id for the second time", msg_id=twice.msg_id)
    queue.barrier()
    theirs.append(queue.submit(client=other))
    # The scheduler has read all of it when it refuses what was sent last.
    queue.refused(queue.submit(client=other, after=["never-submitted"]), requirement="dependency.unknown-id-refused")
    fresh_controller.world.listen(engine.queue("task"), lambda seen: _answer(engine, seen))
    queue.answer(running)
    for task in theirs:
        queue.reply(task, requirement="wire.malformed-harms-nobody")


@requirement("task.foreign-id-refused")
def test_an_id_of_another_clients_task_is_refused(controller: Controller) -> None:
    queue = TaskQueue(controller)
    other = queue.another_client()
    task = queue.submit()
    queue.taken(task)
    other.submit(None, channel="task", why="another client's id", msg_id=task.msg_id)
    queue.wait(lambda: bool(queue.answers(task, other)) or len(queue.to(task)) > 1, "silence for the second client")
    if len(queue.to(task)) > 1:
        violate("the second task under the id was given to an engine, too", "an error reply to who submitted it")
    queue.answers(task, other)[0].expect(error("apply_reply"))
    queue.answer(task)
    queue.wait(lambda: bool(queue.answers(task, queue.client)), "the first client never got its reply")
    if queue.answers(task, queue.client)[0].is_error:
        violate("an error for the first client", "its own reply")


# -- what the Hub hears ----------------------------------------------------------------------------------------------


@needs("tasks", "queue")
@requirement("task.destination-told", "task.destination-content")
def test_the_hub_knows_which_engine_has_a_task(controller: Controller) -> None:
    queue = TaskQueue(controller)
    task = queue.submit()
    engine = queue.taken(task)
    asked = {"targets": [each.id for each in queue.engines], "verbose": True}
    reply = queue.client.ask_until(lambda reply: task.msg_id in tasks_of(reply.content, engine), "queue_request", asked)
    for each in queue.engines:
        if (task.msg_id in tasks_of(reply.content, each)) != (each is engine):
            elsewhere = any(task.msg_id in tasks_of(reply.content, other) for other in queue.engines)
            violate(
                f"{reply.content!r}", f"{task.msg_id} under engine {engine.id} only",
                requirement="task.destination-content" if elsewhere else "task.destination-told",
            )  # fmt: skip
    if task.msg_id in unassigned(reply.content):
        violate(f"{reply.content!r}", "an assigned task is not unassigned", requirement="task.destination-told")
    queue.finish(task)


def tasks_of(content: Json, engine: Engine) -> list[str]:
    entry = content.get(str(engine.id))
    return list(entry.get("tasks", ())) if isinstance(entry, dict) else []


def unassigned(content: Json) -> list[str]:
    found = content.get("unassigned")
    return list(found) if isinstance(found, list) else []


@settings(hwm=1)
@needs("tasks", "queue")
@requirement("task.monitored")
def test_the_hub_lists_a_queued_task_as_unassigned(controller: Controller) -> None:
    queue = TaskQueue(controller, engines=1)
    (engine,) = queue.engines
    held, queued = queue.submit(), queue.submit()
    queue.taken(held)
    asked = {"targets": [engine.id], "verbose": True}
    reply = queue.client.ask_until(lambda reply: queued.msg_id in unassigned(reply.content), "queue_request", asked)
    if queued.msg_id not in unassigned(reply.content):
        violate(f"{reply.content!r}", f"{queued.msg_id} among the unassigned")
    queue.finish(held)
    queue.finish(queued)


@needs("tasks", "results")
@requirement("task.monitored")
@pytest.mark.parametrize("end", ["ok", "failed", "refused"])
def test_the_hub_has_the_result_of_a_task(controller: Controller, end: str) -> None:
    queue = TaskQueue(controller)
    if end == "refused":
        task = queue.submit(targets=["nobody"])
        queue.refused(task, requirement="task.no-live-target-error")
    else:
        queue.finish(task := queue.submit(), "ok" if end == "ok" else "failed")
    asked = {"msg_ids": [task.msg_id]}
    reply = queue.client.ask_until(
        lambda reply: task.msg_id in reply.content.get("completed", ()), "result_request", asked
    )
    reply.expect(ok("result_reply", completed=[task.msg_id], **{task.msg_id: kind(dict)}))
    status = reply.content[task.msg_id].get("result_content", {}).get("status")
    if status != queue.reply(task).content["status"]:
        violate(f"a result with the status {status!r}", f"{queue.reply(task).content['status']!r}, as replied")


@needs("tasks", "resubmit", "results")
@requirement("task.resubmission-is-a-task")
def test_a_resubmitted_task_goes_to_an_engine_and_its_reply_to_the_record(controller: Controller) -> None:
    queue = TaskQueue(controller)
    task = queue.submit()
    queue.finish(task)
    queue.client.await_completed(task)
    content = queue.client.ask("resubmit_request", {"msg_ids": [task.msg_id]}).expect(ok("resubmit_reply")).content
    again = content["resubmitted"][task.msg_id]
    queue.wait(lambda: any(again in queue.at(engine) for engine in queue.engines), "it never reached an engine")
    delivery = next(each for each in queue.deliveries if each.observation.message
                    and each.observation.message.msg_id == again)  # fmt: skip
    delivery.engine.answer(delivery.observation, channel="task")
    asked = {"msg_ids": [again]}
    reply = queue.client.ask_until(lambda reply: reply.content.get("completed") == [again], "result_request", asked)
    reply.expect(ok("result_reply", completed=[again]))
    queue.expect_once(task)

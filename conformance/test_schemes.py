"""The schemes by which a task scheduler chooses, and how much it gives to one engine.

Sources: IPython commit a2c57acba, parallel_messages.txt, "Schedulers" and "Client Queries"; measured on ipyparallel
9.2.0.
"""

import pytest

from conformance.harness.case import needs, requirement, settings
from conformance.harness.controller import Controller
from conformance.harness.expect import error, ok
from conformance.harness.tasks import TaskQueue
from conformance.harness.verdict import violate

pytestmark = needs("tasks")


# -- every scheme that reads messages ----------------------------------------------------------------------------------


def expect_promises_kept(queue: TaskQueue) -> None:
    """Whoever is chosen: targets, dependencies and a mark of 1 hold, and every task is run once."""
    first, second, _ = queue.engines
    held = queue.submit(targets=[first.uuid])
    queue.taken(held, among=(first,), requirement="task.scheme-choice-allowed")
    behind = [queue.submit(targets=[first.uuid]) for _ in range(3)]
    after, follow = queue.submit(after=[held.msg_id]), queue.submit(after=[held.msg_id], follow=[held.msg_id])
    queue.expect_waiting(*behind, requirement="task.hwm-respected")
    queue.expect_waiting(after, follow, requirement="dependency.after-waits")
    free = [queue.submit() for _ in range(6)]
    bound = [queue.submit(targets=[second.uuid]) for _ in range(3)]
    for _ in range(9):
        queue.finish(queue.next_of([*free, *bound]))
    queue.finish(held)
    rest = [*behind, after, follow]
    for _ in rest:
        queue.finish(queue.next_of(rest))
    queue.expect_once(held, *free, *bound, *rest, requirement="task.exactly-one-engine")
    for task in bound:
        queue.taken(task, among=(second,), requirement="task.scheme-choice-allowed")
    for task in behind:
        queue.taken(task, among=(first,), requirement="task.scheme-choice-allowed")
    queue.taken(follow, among=(first,), requirement="dependency.follow-same-engine")


PROMISES = (
    "task.some-engine-runs", "task.scheme-choice-allowed", "task.hwm-respected", "task.exactly-one-engine",
    "dependency.after-waits", "dependency.follow-same-engine",
)  # fmt: skip


@settings(scheme="lru", hwm=1)
@requirement("task.lru-order", *PROMISES)
def test_under_lru_the_engine_that_waited_longest_is_next(controller: Controller) -> None:
    queue = TaskQueue(controller, engines=3)
    expect_promises_kept(queue)
    one, two, three = queue.engines
    for engine in (one, two, three, two):
        queue.round_trip(engine)
    names = [queue.finish(queue.submit()).name for _ in range(4)]
    wanted = [engine.name for engine in (one, three, two, one)]
    if names != wanted:
        violate(f"four tasks, one after the other, on {', '.join(names)}", ", ".join(wanted))


@requirement("task.twobin-plainrandom-weighted", *PROMISES)
@pytest.mark.parametrize(
    "scheme",
    [pytest.param(name, marks=settings(scheme=name, hwm=1)) for name in ("plainrandom", "twobin", "weighted")],
)
def test_a_random_scheme_uses_every_engine_in_no_order(controller: Controller, scheme: str) -> None:
    queue = TaskQueue(controller, engines=3)
    expect_promises_kept(queue)
    names = [queue.finish(queue.submit()).name for _ in range(40)]
    # That one of three engines is never chosen in forty draws, or that they come in turn, is once in a million runs.
    if len(set(names)) < 3 or all(len(set(names[start : start + 3])) == 3 for start in range(len(names) - 2)):
        violate(f"{scheme} gave forty tasks to {', '.join(names)}", "all three engines, in no order")


# -- the high water mark -----------------------------------------------------------------------------------------------


@settings(hwm=0, scheme="leastload")
@requirement("task.hwm-zero-unlimited", "task.least-load-first")
def test_without_a_mark_every_task_is_given_out_at_once(controller: Controller) -> None:
    queue = TaskQueue(controller)
    tasks = [queue.submit() for _ in range(20)]
    engines = [queue.taken(task, requirement="task.hwm-zero-unlimited") for task in tasks]
    counts = [engines.count(engine) for engine in queue.engines]
    if counts != [10, 10]:
        violate(f"twenty tasks, spread as {counts}", "ten on each", requirement="task.least-load-first")
    for task in tasks:
        queue.finish(task)
    queue.expect_once(*tasks)


@settings(hwm=2, scheme="leastload")
@requirement("task.hwm-respected", "task.load-is-pending", "task.least-load-first")
def test_an_engine_holds_as_many_tasks_as_the_mark_says(controller: Controller) -> None:
    queue = TaskQueue(controller)
    tasks = [queue.submit() for _ in range(4)]
    engines = [queue.taken(task) for task in tasks]
    if any(engines.count(engine) != 2 for engine in queue.engines):
        found = ", ".join(engine.name for engine in engines)
        violate(f"four tasks on {found}", "two on each engine", requirement="task.least-load-first")
    bound, free = queue.submit(targets=[queue.engines[0].uuid]), queue.submit()
    queue.expect_waiting(bound, free)
    for engine in reversed(queue.engines):
        queue.finish(next(task for task in tasks if queue.taken(task) is engine))
        # Each reply makes room for one more task, where it came from.
        queue.taken(free if engine is queue.engines[1] else bound, among=(engine,), requirement="task.load-is-pending")
    last = queue.submit()
    queue.expect_waiting(last)
    queue.finish(bound)
    queue.taken(last, among=(queue.engines[0],), requirement="task.load-is-pending")
    # A failure, too, is the end of a task, and makes room.
    queue.finish(last, "failed")
    queue.taken(queue.submit(), among=(queue.engines[0],), requirement="task.load-is-pending")


# -- pure --------------------------------------------------------------------------------------------------------------


@settings(scheme="pure")
@requirement("task.pure-round-robin", "task.pure-reads-nothing", "task.pure-reply-to-requester")
def test_the_pure_scheduler_hands_out_in_turn_whatever_a_task_says(controller: Controller) -> None:
    queue = TaskQueue(controller, engines=3)
    target = queue.engines[0].uuid
    tasks = [
        queue.submit(),
        queue.submit(targets=["nobody"], after=["never-submitted"], follow=["never-submitted"], timeout=0.001),
        queue.submit({"after": 7, "targets": "x", "timeout": "soon"}, why="steers nothing"),
        queue.submit_code(targets=[target]),
        queue.submit(targets=[target]),
        failing := queue.submit(targets=[target], retries=2),
    ]
    engines = [queue.taken(task, requirement="task.pure-reads-nothing").name for task in tasks]
    if len(set(engines[:3])) != 3 or engines[3:] != engines[:3]:
        violate(f"six tasks on {', '.join(engines)}", "three engines in turn")
    tasks.append(foreign := queue.submit(client=(other := queue.another_client())))
    queue.taken(foreign, requirement="task.pure-reads-nothing")
    for task in reversed(tasks):
        queue.answer(task, "failed" if task is failing else "ok")
    for task in tasks:
        wanted = ok(task.msg_type.replace("_request", "_reply"))
        if task is failing:
            wanted = error("apply_reply", ename="ZeroDivisionError")
        queue.reply(task, requirement="task.pure-reply-to-requester").expect(
            wanted, requirement="task.pure-reads-nothing"
        )
        if not queue.answers(task, other if task is foreign else queue.client):
            violate("a reply for another client", "one for who asked", requirement="task.pure-reply-to-requester")


@needs("tasks", "queue")
@settings(scheme="pure")
@requirement("query.queue-pure-tasks-empty")
def test_nobody_knows_where_the_pure_scheduler_sends_tasks(controller: Controller) -> None:
    queue = TaskQueue(controller)
    held = [queue.submit() for _ in range(2)]
    for task in held:
        queue.taken(task)
        queue.client.await_pending(task)
    for verbose, none in ((False, 0), (True, [])):
        reply = queue.client.ask("queue_request", {"targets": None, "verbose": verbose}).expect(ok("queue_reply"))
        for engine in queue.engines:
            found = reply.content[str(engine.id)]
            if found.get("tasks") != none:
                violate(f"engine {engine.id} with {found!r:.200}", f"tasks: {none!r}")

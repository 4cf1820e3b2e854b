"""Dependencies between tasks: `after` in time, `follow` in place.

Two engines, and tasks whose ends the case chooses: `ok` ended well, `bad` failed.

Sources: IPython commit a2c57acba, parallel_messages.txt, "apply"; measured on ipyparallel 9.2.0.
"""

from collections.abc import Callable

import pytest

from conformance.harness.actors import Engine
from conformance.harness.case import READING, destructive, needs, requirement, settings
from conformance.harness.controller import Controller
from conformance.harness.tasks import How, TaskQueue
from conformance.harness.verdict import violate
from protocol.wire import Json, Message

pytestmark = [needs("tasks"), settings(scheme=READING)]

Form = Callable[[Message], object]


def done(queue: TaskQueue, engine: Engine, how: How = "ok") -> Message:
    """A task that has ended on an engine."""
    task = queue.submit(targets=[engine.uuid])
    queue.finish(task, how)
    return task


def held(queue: TaskQueue, *engines: Engine) -> Message:
    """A task that an engine has and does not answer yet; any engine, or this one."""
    task = queue.submit(targets=[engine.uuid for engine in engines])
    queue.taken(task)
    return task


def on(*tasks: Message, **flags: bool) -> Json:
    """A dependency in its full form."""
    return {"dependencies": [task.msg_id for task in tasks], "all": True, "success": True, "failure": False} | flags


# -- waiting -----------------------------------------------------------------------------------------------------------


@requirement("dependency.after-waits", "dependency.after-reply-order")
def test_a_task_waits_for_those_it_comes_after(controller: Controller) -> None:
    queue = TaskQueue(controller)
    first = held(queue)
    second = queue.submit(after=[first.msg_id])
    queue.expect_waiting(second)
    # Only then the first reply is awaited: one that is held back comes too late here, and not never.
    queue.answer(first)
    queue.finish(second)
    queue.reply(first)
    queue.expect_once(first, second)
    if queue.answers(second)[0].observation.seq < queue.answers(first)[0].observation.seq:
        violate("the reply came before that of the task it is after", "the other order",
                requirement="dependency.after-reply-order")  # fmt: skip


@requirement("apply.metadata-dependencies-met")
def test_a_reply_that_says_nothing_of_dependencies_counts_as_met(controller: Controller) -> None:
    queue = TaskQueue(controller)
    task = held(queue)
    delivery = queue.to(task)[-1]
    delivery.engine.answer(delivery.observation, channel="task", metadata={"dependencies_met": ...})
    # A task that was refused would be given to the other engine.
    queue.reply(task)
    queue.expect_once(task)


@requirement("dependency.follow-waits", "dependency.follow-same-engine")
@pytest.mark.parametrize("index", [0, 1], ids=["first", "second"])
def test_a_task_follows_another_to_its_engine(controller: Controller, index: int) -> None:
    queue = TaskQueue(controller)
    engine = queue.engines[index]
    first = held(queue, engine)
    tasks = [queue.submit(follow=[first.msg_id]) for _ in range(2)]
    queue.expect_waiting(*tasks, requirement="dependency.follow-waits")
    queue.finish(first)
    for _ in tasks:
        task = queue.next_of(tasks)
        queue.taken(task, among=(engine,), requirement="dependency.follow-same-engine")
        queue.finish(task)


@requirement("dependency.finished-before-submission")
@pytest.mark.parametrize("field", ["after", "follow"])
def test_a_dependency_on_what_has_ended_is_decided_at_once(controller: Controller, field: str) -> None:
    queue = TaskQueue(controller)
    engine = queue.engines[1]
    good, bad = done(queue, engine), done(queue, engine, "failed")
    runs, refused = queue.submit({field: [good.msg_id]}), queue.submit({field: [bad.msg_id]})
    queue.taken(runs, requirement="dependency.finished-before-submission")
    queue.finish(runs)
    queue.refused(refused, "ImpossibleDependency")
    queue.expect_once(runs)
    queue.expect_once(refused, runs=0)


@requirement("dependency.after-and-follow")
def test_after_and_follow_hold_together(controller: Controller) -> None:
    queue = TaskQueue(controller)
    here, there = queue.engines
    place, time = done(queue, here), held(queue, there)
    task = queue.submit(follow=[place.msg_id], after=[time.msg_id])
    queue.expect_waiting(task)
    queue.finish(time)
    queue.taken(task, among=(here,))
    queue.finish(task)


@requirement("dependency.no-code-needed")
def test_engines_take_no_part_in_deciding(controller: Controller) -> None:
    queue = TaskQueue(controller)
    first, second = queue.engines
    root = held(queue, first)
    task = queue.submit(after=[root.msg_id], follow=[root.msg_id])
    queue.expect_waiting(task, requirement="dependency.after-waits")
    before = len(queue.at(second))
    queue.finish(root)
    queue.finish(task)
    if len(queue.at(second)) != before or queue.at(first)[-2:] != [root.msg_id, task.msg_id]:
        violate("something else was sent to the engines", "the two tasks, each to the engine that runs it")


@requirement("dependency.other-clients-ids")
def test_a_task_may_depend_on_another_clients_task(controller: Controller) -> None:
    queue = TaskQueue(controller)
    other = queue.another_client()
    first = held(queue)
    second = queue.submit(client=other, after=[first.msg_id])
    # The two clients' messages travel apart; the marker must go where the second task went.
    marker = queue.submit(client=other, after=["never-submitted"])
    queue.refused(marker, requirement="dependency.unknown-id-refused")
    queue.expect_waiting(second)
    queue.finish(first)
    queue.taken(second, requirement="dependency.other-clients-ids")
    queue.finish(second)


@requirement("dependency.chain-completes", "dependency.after-waits")
def test_a_chain_runs_link_by_link(controller: Controller) -> None:
    queue = TaskQueue(controller)
    chain = [held(queue)]
    for _ in range(5):
        chain.append(queue.submit(after=[chain[-1].msg_id]))
    for number, task in enumerate(chain):
        queue.taken(task, requirement="dependency.chain-completes")
        queue.expect_waiting(*chain[number + 1 :], requirement="dependency.after-waits")
        queue.finish(task)
    queue.expect_once(*chain)


@requirement("dependency.chain-completes", "dependency.after-waits")
def test_a_diamond_closes_when_both_sides_are_done(controller: Controller) -> None:
    queue = TaskQueue(controller)
    top = held(queue)
    left, right = queue.submit(after=[top.msg_id]), queue.submit(follow=[top.msg_id])
    bottom = queue.submit(after=[left.msg_id, right.msg_id])
    queue.expect_waiting(left, right, bottom, requirement="dependency.after-waits")
    queue.finish(top)
    queue.finish(left)
    queue.expect_waiting(bottom, requirement="dependency.after-waits")
    queue.finish(right)
    queue.taken(bottom, requirement="dependency.chain-completes")
    queue.finish(bottom)
    queue.expect_once(top, left, right, bottom)


# -- forms -------------------------------------------------------------------------------------------------------------


FORMS: dict[str, tuple[str, Form]] = {
    "list": ("dependency.list-of-ids", lambda task: [task.msg_id]),
    "object": ("dependency.as-dict", lambda task: on(task)),
    "id": ("dependency.bare-id", lambda task: task.msg_id),
}


@requirement("dependency.list-of-ids", "dependency.as-dict", "dependency.bare-id")
@pytest.mark.parametrize("field", ["after", "follow"])
@pytest.mark.parametrize("form", FORMS)
def test_a_dependency_has_several_forms(controller: Controller, form: str, field: str) -> None:
    queue = TaskQueue(controller)
    slug, write = FORMS[form]
    first = held(queue, queue.engines[1])
    task = queue.submit({field: write(first)})
    queue.expect_waiting(task, requirement=slug)
    queue.finish(first)
    queue.taken(task, among=tuple(queue.engines) if field == "after" else (queue.engines[1],), requirement=slug)
    queue.finish(task)


@requirement("dependency.null-or-empty")
@pytest.mark.parametrize("field", ["after", "follow"])
@pytest.mark.parametrize("value", [None, [], on()], ids=["null", "list", "object"])
def test_an_empty_dependency_is_met(controller: Controller, field: str, value: object) -> None:
    queue = TaskQueue(controller)
    task = queue.submit({field: value})
    queue.taken(task, requirement="dependency.null-or-empty")
    queue.finish(task)


# -- the truth table ---------------------------------------------------------------------------------------------------

FLAGS = {
    "success": {"success": True, "failure": False},
    "failure": {"success": False, "failure": True},
    "both": {"success": True, "failure": True},
}


@requirement("dependency.success-counts", "dependency.failure-counts")
@pytest.mark.parametrize("counted", FLAGS)
@pytest.mark.parametrize("is_all", [True, False], ids=["all", "any"])
@pytest.mark.parametrize("end", ["ok", "bad"])
@pytest.mark.parametrize("field", ["after", "follow"])
def test_a_dependency_on_one_task_is_decided_by_how_that_ends(
    controller: Controller, field: str, end: str, is_all: bool, counted: str
) -> None:
    queue = TaskQueue(controller)
    engine = queue.engines[1]
    first = held(queue, engine)
    task = queue.submit({field: on(first, all=is_all, **FLAGS[counted])})
    slug = "dependency.success-counts" if end == "ok" else "dependency.failure-counts"
    queue.expect_waiting(task, requirement=f"dependency.{field}-waits")
    queue.finish(first, "ok" if end == "ok" else "failed")
    if counted in ("both", "success" if end == "ok" else "failure"):
        queue.taken(task, among=(engine,) if field == "follow" else (), requirement=slug)
        queue.finish(task)
    else:
        queue.refused(task, "ImpossibleDependency", requirement=slug)
        queue.expect_once(task, runs=0, requirement=slug)


@requirement("dependency.all-needs-every", "dependency.any-needs-one")
@pytest.mark.parametrize("order", ["good-first", "bad-first", "finished"])
@pytest.mark.parametrize("counted", FLAGS)
@pytest.mark.parametrize("is_all", [True, False], ids=["all", "any"])
def test_after_two_tasks_of_which_one_fails(controller: Controller, is_all: bool, counted: str, order: str) -> None:
    queue = TaskQueue(controller, engines=3)
    good, bad = held(queue, queue.engines[0]), held(queue, queue.engines[1])
    slug = "dependency.all-needs-every" if is_all else "dependency.any-needs-one"
    ends: list[tuple[Message, How]] = [(good, "ok"), (bad, "failed")]
    for first, how in reversed(ends) if order == "bad-first" else ends:
        if order == "finished":
            queue.finish(first, how)
    task = queue.submit(after=on(good, bad, all=is_all, **FLAGS[counted]))
    if order != "finished":
        queue.expect_waiting(task, requirement="dependency.after-waits")
        for first, how in reversed(ends) if order == "bad-first" else ends:
            queue.finish(first, how)
    if counted == "both" or not is_all:
        queue.taken(task, requirement=slug)
        queue.finish(task)
    else:
        queue.refused(task, "ImpossibleDependency", requirement=slug)
        queue.expect_once(task, runs=0, requirement=slug)


@requirement("dependency.follow-all-two-engines")
@pytest.mark.parametrize("counted", FLAGS)
def test_nobody_can_follow_all_tasks_of_two_engines(controller: Controller, counted: str) -> None:
    queue = TaskQueue(controller)
    good, bad = done(queue, queue.engines[1]), done(queue, queue.engines[0], "failed")
    task = queue.submit(follow=on(good, bad, **FLAGS[counted]))
    queue.refused(task, "ImpossibleDependency")
    queue.expect_once(task, runs=0)


@requirement("dependency.follow-all-two-engines")
def test_who_follows_two_running_tasks_is_refused_when_both_are_done(controller: Controller) -> None:
    queue = TaskQueue(controller)
    first, second = (held(queue, engine) for engine in queue.engines)
    task = queue.submit(follow=[first.msg_id, second.msg_id])
    queue.expect_waiting(task, requirement="dependency.follow-waits")
    queue.finish(first)
    queue.finish(second)
    queue.refused(task, "ImpossibleDependency")


@requirement("dependency.follow-any-per-engine")
@pytest.mark.parametrize("counted", FLAGS)
def test_who_follows_either_goes_where_one_ended_as_wanted(controller: Controller, counted: str) -> None:
    queue = TaskQueue(controller, engines=3)
    bad, good = done(queue, queue.engines[0], "failed"), done(queue, queue.engines[1])
    allowed = {"success": (1,), "failure": (0,), "both": (0, 1)}[counted]
    for _ in range(3):
        task = queue.submit(follow=on(good, bad, all=False, **FLAGS[counted]))
        queue.taken(task, among=tuple(queue.engines[index] for index in allowed),
                    requirement="dependency.follow-any-per-engine")  # fmt: skip
        queue.finish(task)


@requirement("dependency.all-needs-every", "dependency.any-needs-one")
@pytest.mark.parametrize("is_all", [True, False], ids=["all", "any"])
def test_all_waits_for_the_last_and_any_for_the_first(controller: Controller, is_all: bool) -> None:
    queue = TaskQueue(controller, engines=3)
    first, second = held(queue, queue.engines[0]), held(queue, queue.engines[1])
    task = queue.submit(after=on(first, second, all=is_all))
    queue.expect_waiting(task, requirement="dependency.after-waits")
    queue.finish(first)
    if is_all:
        queue.expect_waiting(task, requirement="dependency.all-needs-every")
        queue.finish(second)
        queue.taken(task, requirement="dependency.all-needs-every")
        queue.finish(task)
    else:
        queue.taken(task, requirement="dependency.any-needs-one")
        queue.finish(task)
        queue.finish(second)


@requirement("dependency.unreachable-all")
@pytest.mark.parametrize("field", ["after", "follow"])
def test_all_is_refused_as_soon_as_one_has_failed(controller: Controller, field: str) -> None:
    queue = TaskQueue(controller)
    bad, running = held(queue), held(queue)
    task = queue.submit({field: [bad.msg_id, running.msg_id]})
    queue.expect_waiting(task, requirement=f"dependency.{field}-waits")
    queue.finish(bad, "failed")
    queue.refused(task, "ImpossibleDependency")
    queue.finish(running)
    queue.expect_once(task, runs=0)


@requirement("dependency.unreachable-any")
@pytest.mark.parametrize("field", ["after", "follow"])
def test_any_is_refused_when_the_last_has_failed_and_not_before(controller: Controller, field: str) -> None:
    queue = TaskQueue(controller)
    first, second = held(queue), held(queue)
    task = queue.submit({field: on(first, second, all=False)})
    queue.finish(first, "failed")
    queue.expect_waiting(task)
    queue.finish(second, "failed")
    queue.refused(task, "ImpossibleDependency")
    queue.expect_once(task, runs=0)


@requirement("dependency.aborted-is-failed")
def test_an_aborted_task_counts_as_failed(controller: Controller) -> None:
    queue = TaskQueue(controller)
    first = held(queue)
    well = queue.submit(after=[first.msg_id])
    badly = queue.submit(after=on(first, success=False, failure=True))
    queue.finish(first, "aborted")
    queue.refused(well, "ImpossibleDependency")
    queue.taken(badly, requirement="dependency.aborted-is-failed")
    queue.finish(badly)


# -- what cannot be met ------------------------------------------------------------------------------------------------


@requirement("dependency.unreachable-propagates")
def test_a_refusal_is_passed_on_along_a_chain(controller: Controller) -> None:
    queue = TaskQueue(controller)
    root = held(queue)
    chain = [root]
    for _ in range(3):
        chain.append(queue.submit(after=[chain[-1].msg_id]))
    queue.expect_waiting(*chain[1:], requirement="dependency.after-waits")
    queue.finish(root, "failed")
    for task in chain[1:]:
        queue.refused(task, "ImpossibleDependency")
    queue.expect_once(*chain[1:], runs=0)


@requirement("dependency.unreachable-propagates", "dependency.failure-counts")
def test_a_refused_task_counts_as_failed(controller: Controller) -> None:
    queue = TaskQueue(controller)
    refused = queue.submit(targets=["nobody"])
    queue.refused(refused, requirement="task.no-live-target-error")
    task = queue.submit(after=on(refused, success=False, failure=True))
    queue.taken(task, requirement="dependency.failure-counts")
    queue.finish(task)
    queue.refused(queue.submit(after=[refused.msg_id]), requirement="dependency.unreachable-propagates")


@requirement("dependency.unknown-id-refused", "task.own-error-names")
@pytest.mark.parametrize("field", ["after", "follow"])
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside-a-known-one"])
def test_a_dependency_on_an_unknown_task_is_refused(controller: Controller, field: str, beside: bool) -> None:
    queue = TaskQueue(controller)
    ids = ["never-submitted", *([done(queue, queue.engines[0]).msg_id] if beside else [])]
    task = queue.submit({field: ids})
    queue.refused(task, "InvalidDependency")
    queue.expect_once(task, runs=0)


@settings(remembered=10)
@requirement("dependency.forgotten-id-refused")
@pytest.mark.parametrize("field", ["after", "follow"])
def test_a_dependency_on_a_forgotten_task_is_refused(fresh_controller: Controller, field: str) -> None:
    queue = TaskQueue(fresh_controller)
    first, *_, last = [done(queue, queue.engines[0]) for _ in range(12)]
    queue.refused(queue.submit({field: [first.msg_id]}))
    task = queue.submit({field: [last.msg_id]})
    queue.taken(task, requirement="dependency.recent-ids-known")
    queue.finish(task)


@requirement("dependency.self-refused")
@pytest.mark.parametrize("field", ["after", "follow"])
def test_a_dependency_on_itself_is_refused(controller: Controller, field: str) -> None:
    queue = TaskQueue(controller)
    own = f"{queue.client.session}_its-own"
    task = queue.client.submit(None, channel="task", metadata={field: [own]}, msg_id=own)
    queue.refused(task, "InvalidDependency")
    queue.expect_once(task, runs=0)


@needs("tasks", "mux")
@requirement("dependency.mux-ids-unusable")
def test_a_dependency_on_a_mux_message_is_decided(controller: Controller) -> None:
    queue = TaskQueue(controller)
    engine = controller.engine().with_shell("mux").registered()
    direct = queue.client.run_on(engine)
    engine.leave()
    engine.close()
    task = queue.submit(after=[direct.msg_id], targets=[each.uuid for each in queue.engines])
    queue.wait(lambda: bool(queue.to(task) or queue.answers(task)), "it neither ran nor was it refused")
    if queue.to(task):
        queue.finish(task)


@requirement("dependency.follow-and-targets")
def test_who_may_not_go_where_it_must_follow_is_refused(controller: Controller) -> None:
    queue = TaskQueue(controller)
    here, there = queue.engines
    first = done(queue, here)
    task = queue.submit(follow=[first.msg_id], targets=[there.uuid])
    queue.refused(task, "ImpossibleDependency")
    queue.expect_once(task, runs=0)


@requirement("dependency.follow-and-targets")
def test_who_follows_one_of_two_goes_to_the_one_that_is_a_target(controller: Controller) -> None:
    queue = TaskQueue(controller)
    here, there = queue.engines
    first, second = done(queue, here), done(queue, there)
    task = queue.submit(follow=on(first, second, all=False), targets=[there.uuid])
    queue.taken(task, among=(there,), requirement="dependency.follow-and-targets")
    queue.finish(task)


@requirement("dependency.follow-and-targets")
def test_who_is_refused_where_it_must_follow_is_refused(controller: Controller) -> None:
    queue = TaskQueue(controller)
    here, there = queue.engines
    first = done(queue, here)
    task = queue.submit(follow=[first.msg_id], targets=[here.uuid, there.uuid])
    queue.taken(task, among=(here,), requirement="dependency.follow-same-engine")
    queue.answer(task, "refused")
    queue.refused(task, "ImpossibleDependency")
    queue.expect_once(task)


# -- memory ------------------------------------------------------------------------------------------------------------


@destructive("it sends a thousand tasks")
@requirement("dependency.recent-ids-known")
def test_the_last_thousand_tasks_can_be_named(controller: Controller) -> None:
    queue = TaskQueue(controller, engines=1)
    engine = queue.engines[0]
    tasks = [queue.submit() for _ in range(1000)]
    for number, task in enumerate(tasks):
        queue.taken(task)
        queue.answer(task, "failed" if number == 0 else "ok")
    queue.reply(tasks[-1])
    first, *others = tasks
    for dependency in (on(first, success=False, failure=True), on(*others), on(*tasks, failure=True)):
        task = queue.submit(after=dependency)
        queue.taken(task, among=(engine,), requirement="dependency.recent-ids-known")
        queue.finish(task)
    queue.refused(queue.submit(after=[first.msg_id]), "ImpossibleDependency")

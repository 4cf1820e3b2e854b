"""Legal behaviour of implementations unlike ipyparallel: none of it is accused by any rule.

Each story is told by a Hub that keeps the protocol in its own way. A story that is accused is a defect of the kit.
"""

from collections.abc import Callable

import pytest
from make_logs import DATE, ERROR, OK, PERIOD, Story

from protocol.requirements import get
from protocol.rules import RULES, Judge
from protocol.world import SECOND

STORIES: list[Callable[[Story], None]] = []


def legal(tell: Callable[[Story], None]) -> Callable[[Story], None]:
    STORIES.append(tell)
    return tell


@legal
def a_queue_reply_tells_more_than_was_ever_asked(story: Story) -> None:
    story.live("a")
    entry = {"queue": 0, "completed": 0, "tasks": 0, "pid": 4711}
    more = {"backlog": 3, "note": "idle", "hub": {"load": 0.5}, "names": ["a"], "nothing": None}
    for targets in ([0], None):
        story.asked("client-1", "queue", {"targets": targets}, {**OK, "0": entry, "unassigned": 0, **more})


@legal
def a_load_reply_tells_of_the_whole_too(story: Story) -> None:
    story.live("a")
    story.asked("client-1", "load", {"targets": [0]}, {**OK, "0": 1, "total": 1, "unit": "messages", "unassigned": 0})


@legal
def replies_have_keys_that_nobody_knows(story: Story) -> None:
    story.fact("subscribed", socket="listener/notification")
    story.register("a", hb_misses=3, greeting="hello")
    story.beat("a")
    content = {"id": 0, "uuid": "a", "host": "node-7"}
    story.see("listener", "notification", "received", story.frames(story.message("hub", "registration_notification",
                                                                                 content)))  # fmt: skip
    story.asked("client-1", "connection", {}, {**OK, "engines": {"0": "a"}, "version": "10", "limits": {"tasks": 5}})
    story.asked("client-1", "history", {}, {**OK, "history": [], "truncated": False})
    story.asked("client-1", "purge", {}, {**OK, "purged": 0})


@legal
def ids_are_given_in_another_order(story: Story) -> None:
    story.fact("subscribed", socket="listener/notification")
    for number, uuid in ((7, "a"), (3, "b"), (1000000, "c")):
        story.register(uuid, number)
        story.beat(uuid)
        story.came(number, uuid)
    story.connect({"1000000": "c", "3": "b", "7": "a"})


@legal
def an_error_is_told_in_other_words(story: Story) -> None:
    words = {"status": "error", "ename": "ошибка", "evalue": "", "traceback": [], "engine_info": {}, "code": 404}
    story.answer(story.ask("client-1", "queue_request", {"targets": [99]}), "queue_reply", words)
    story.answer(story.ask("client-1", "load_request", {"targets": [99]}), "hub_error", words)


@legal
def what_the_request_left_out_is_filled_in(story: Story) -> None:
    story.fact("subscribed", socket="listener/notification")
    for kind, reply, content in (("queue", "hub_error", ERROR), ("shutdown", "shutdown_reply", OK)):
        request = story.ask("client-1", f"{kind}_request", {"targets": [99]}, header={"version": None, "date": None})
        assert request.message is not None
        parent = {**request.message.header, "version": "5.4", "date": DATE}
        story.answer(request, reply, content, parent=parent)
    story.notify("shutdown_notification", parent=parent)


@legal
def an_unregistration_that_names_nobody_takes_nobody_off_the_list(story: Story) -> None:
    story.live("a")
    story.ask("b", "unregistration_request", {"id": None})
    story.ask("b", "unregistration_request", {"id": 99})
    story.beat("a", times=int(4 * story.setting.reply_deadline_ns / PERIOD))
    story.connect({"0": "a"})


@legal
def of_two_that_want_a_free_uuid_at_once_one_is_refused(story: Story) -> None:
    story.live("a")
    story.ask("a", "unregistration_request", {"id": 0})
    story.went(0, "a")
    race(story, "a", 1)


@legal
def of_two_that_want_an_expired_uuid_at_once_one_is_refused(story: Story) -> None:
    story.register("a")
    story.wait(5 * SECOND)
    race(story, "a", 1)


def race(story: Story, uuid: str, number: int) -> None:
    """Two registrations of one uuid are under way at the same time, and the first one wins."""
    one, other = (story.ask(party, "registration_request", {"uuid": uuid}) for party in ("one", "other"))
    granted = {**OK, "id": number, "hb_period": 100}
    story.answer(one, "registration_reply", granted, parent={})
    story.answer(other, "registration_reply", ERROR, parent={})


@legal
def who_takes_over_an_identity_gets_the_answers_to_its_former_owner(story: Story) -> None:
    request = story.ask("engine", "connection_request", {})
    story.fact("socket-closed", socket="engine/query")
    story.answer(request, "connection_reply", {**OK, "engines": {}}, party="engine-again")


@legal
def a_replay_overtakes_the_only_answer(story: Story) -> None:
    request = story.ask("client-1", "connection_request", {})
    story.see("client-1", "query", "sent", request.frames, why="a replay")
    story.answer(request, "connection_reply", {**OK, "engines": {}})


@legal
def a_hub_has_several_workers_each_with_a_session_of_its_own(story: Story) -> None:
    for worker in ("worker-1", "worker-2", "worker-1"):
        story.connect(header={"session": worker})


@legal
def a_heart_beats_in_a_process_that_nobody_records(story: Story) -> None:
    story.fact("subscribed", socket="listener/notification")
    story.register("a")
    story.fact("heart-started", party="a-heart", uuid="a", unseen=True)
    story.wait(20 * PERIOD)
    story.came(0, "a")
    story.wait(40 * PERIOD)
    story.connect({"0": "a"})
    story.fact("heart-stopped", party="a-heart")
    story.wait(3 * PERIOD)
    story.went(0, "a")


@legal
def a_hub_is_slow_and_answers_one_after_the_other(story: Story) -> None:
    requests = [story.ask(f"client-{number}", "connection_request", {}) for number in range(5)]
    for request in reversed(requests):
        story.wait(story.setting.reply_deadline_ns // 6)
        story.answer(request, "connection_reply", {**OK, "engines": {}})


@legal
def a_recorder_comes_late_to_the_monitor(story: Story) -> None:
    message = story.message("heart-monitor", "stopped_heart", {"hearts": ["a"]})
    story.see("hub", "monitor", "received", [b"heartmonitor", b"", *story.frames(message)])


@legal
def pings_are_no_lifetimes(story: Story) -> None:
    for number in range(8):
        story.ping("a", f"beat number {number}".encode())


@legal
def a_late_request_is_overtaken_and_another_one_altered(story: Story) -> None:
    late = story.ask("client-1", "connection_request", {})
    assert late.message is not None
    story.fact("touched", msg_id=late.message.msg_id)
    quick = story.ask("client-1", "connection_request", {})
    for request in (quick, late):
        story.answer(request, "connection_reply", {**OK, "engines": {}})
    altered = story.ask("client-1", "connection_request", {})
    assert altered.message is not None
    story.fact("touched", msg_id=altered.message.msg_id, is_altered=True)
    reply = story.message("hub", "connection_reply", {**OK, "engines": {}}, parent=altered.message.header)
    story.see("client-1", "query", "received", [b"a frame too many", *story.frames(reply)])


@legal
def an_engine_that_nobody_saw_register_is_refused_when_it_asks_again(story: Story) -> None:
    story.fact("subscribed", socket="listener/notification")
    story.came(0, "a")
    story.answer(story.ask("a", "registration_request", {"uuid": "a"}), "registration_reply", ERROR)


@legal
def a_hub_that_came_back_lists_an_engine_whose_heart_it_was_told_of_before(story: Story) -> None:
    story.fact("hearts-beat-before")
    story.register("a")
    story.connect({"0": "a"})


@legal
def a_subscriber_missed_an_announcement_and_hears_of_the_end(story: Story) -> None:
    story.fact("subscribed", socket="listener/notification")
    story.register("a")
    story.beat("a")
    story.fact("missed", socket="listener/notification")
    story.ask("a", "unregistration_request", {"id": 0})
    story.went(0, "a")


@legal
def tasks_wait_for_what_an_engine_runs_and_for_the_time_of_grace(story: Story) -> None:
    def step(task: str, was: str, state: str, **more: object) -> None:
        story.note("scheduler", "task", task=task, was=was, why="", **{"is": state}, **more)

    story.note("scheduler", "scheduler-engines", engines=[[0, "a"]])
    step("m1", "new", "running", engine="a", load=1)
    for task, before in (("m2", "m1"), ("m3", "m2")):
        step(task, "new", "waiting", left=[before], graph=[before])
    step("m4", "new", "running", engine="b", load=1)
    story.note("kit", "healed")
    story.wait(story.setting.reply_deadline_ns)
    step("m4", "running", "orphaned", engine="b", load=1)


@pytest.mark.parametrize("tell", STORIES, ids=[tell.__name__ for tell in STORIES])
def test_nobody_is_accused_because(tell: Callable[[Story], None]) -> None:
    story = Story()
    tell(story)
    judge = Judge(RULES, story.setting, ("peer", "relay", "monitor", "state"))
    judge.feed(story.items, story.now)
    demanded = [each for each in judge.violations if get(each.requirement).level == "MUST"]
    assert [str(violation) for violation in demanded] == []
    assert judge.exercised


def test_the_id_of_an_expired_registration_is_given_again_and_not_shared() -> None:
    story = Story()
    story.register("a", 0)
    story.wait(2 * story.setting.registration_timeout_ns)
    story.register("b", 0)
    judge = Judge(RULES, story.setting)
    judge.feed(story.items, story.now)
    assert [violation.rule for violation in judge.violations] == ["registration.id-never-reused"]

"""What time does: the death of engines with its grace, and the timeouts of tasks."""

from task_desk import Desk

# -- the death of engines ----------------------------------------------------------------------------------------------


def test_a_task_on_a_dead_engine_is_an_error_after_the_time_of_grace() -> None:
    desk = Desk("AB")
    desk.submit("t")
    desk.went("B")
    desk.sleep(4.999)
    assert not desk.answers
    desk.sleep(0.001)
    reply = desk.own()
    assert reply.identities == (b"client", b"B")
    assert reply.content["ename"] == "EngineError"
    assert "B" in reply.content["evalue"]
    assert {"status": "error", "engine": "B"}.items() <= reply.metadata.items()
    assert reply.metadata["date"]


def test_a_task_with_retries_on_a_dead_engine_is_run_elsewhere() -> None:
    desk = Desk("AB", grace=2 * 10**9)
    desk.submit("t", retries=1)
    desk.went("B")
    desk.sleep(2)
    assert desk.deliveries == [("B", "t"), ("A", "t")]
    desk.went("A")
    desk.sleep(2)
    assert desk.ends() == {"t": "EngineError"}


def test_a_reply_within_the_grace_is_delivered() -> None:
    desk = Desk("A")
    desk.submit("t")
    desk.went("A")
    desk.sleep(4)
    desk.reply("A", "t")
    desk.sleep(10)
    assert desk.ends() == {"t": "ok"}
    assert desk.answers[0].engine == "A"


def test_late_replies_are_dropped() -> None:
    desk = Desk("AB")
    desk.submit("lost", targets=["A"])
    desk.submit("saved", targets=["B"], retries=1)
    desk.went("A")
    desk.sleep(5)
    assert not desk.reply("A", "lost")
    desk.went("B")
    desk.came("C")
    desk.sleep(5)
    assert not desk.reply("B", "lost")
    assert desk.ends() == {"lost": "EngineError", "saved": "ImpossibleDependency"}


def test_a_late_reply_does_not_end_the_run_on_another_engine() -> None:
    desk = Desk("AB")
    desk.submit("t", retries=1)
    desk.went("B")
    desk.sleep(5)
    assert desk.deliveries[-1] == ("A", "t")
    assert not desk.reply("B", "t")
    desk.reply("A", "t")
    assert not desk.reply("A", "t")
    assert desk.ends() == {"t": "ok"}


def test_a_failure_or_refusal_within_the_grace_goes_on_at_once() -> None:
    for refused in (True, False):
        desk = Desk("AB")
        desk.submit("t", retries=1)
        desk.went("B")
        if refused:
            desk.refuse("B", "t")
        else:
            desk.reply("B", "t", "error")
        assert desk.deliveries == [("B", "t"), ("A", "t")]
        desk.sleep(10)
        assert not desk.answers


def test_an_engine_that_comes_back_in_the_time_of_grace_is_another_one() -> None:
    desk = Desk("A")
    desk.submit("old")
    desk.went("A")
    desk.came("A")
    desk.submit("new")
    assert desk.deliveries == [("A", "old"), ("A", "new")]
    desk.reply("A", "new")
    desk.sleep(5)
    assert desk.ends() == {"new": "ok", "old": "EngineError"}


def test_a_task_whose_engine_died_prefers_another_to_the_one_that_came_back() -> None:
    desk = Desk("AB")
    desk.submit("t", retries=1)
    desk.went("B")
    desk.came("B")
    desk.sleep(5)
    assert desk.deliveries == [("B", "t"), ("A", "t")]


def test_no_task_goes_to_a_dead_engine_and_dying_twice_is_dying_once() -> None:
    desk = Desk("AB")
    desk.submit("t")
    desk.went("B")
    desk.went("B")
    desk.submit("u")
    desk.submit("v")
    assert desk.deliveries == [("B", "t"), ("A", "u")]
    assert len(desk.timers) == 1
    desk.sleep(5)
    assert desk.ends() == {"t": "EngineError"}


def test_queued_tasks_survive_a_moment_without_engines() -> None:
    desk = Desk("A")
    desk.submit("t")
    desk.submit("u")
    desk.went("A")
    desk.sleep(60)
    desk.came("B")
    assert desk.deliveries[-1] == ("B", "u")


# -- time --------------------------------------------------------------------------------------------------------------


def test_a_queued_task_times_out_and_is_not_run() -> None:
    desk = Desk("A")
    desk.submit("long")
    desk.submit("t", timeout=1.5)
    desk.sleep(1.499)
    assert not desk.answers
    desk.sleep(0.001)
    assert desk.own().content["ename"] == "TaskTimeout"
    desk.reply("A", "long")
    assert desk.deliveries == [("A", "long")]


def test_a_task_times_out_while_it_waits_for_others() -> None:
    desk = Desk("A")
    desk.submit("long")
    desk.submit("t", timeout=1, after=["long"])
    desk.submit("then", after={"dependencies": ["t"], "success": False, "failure": True})
    desk.sleep(1)
    assert desk.ends() == {"t": "TaskTimeout"}
    desk.reply("A", "long")
    assert desk.deliveries[-1] == ("A", "then")


def test_a_running_task_never_times_out() -> None:
    desk = Desk("A")
    desk.submit("long")
    desk.submit("t", timeout=1)
    desk.reply("A", "long")
    desk.sleep(100)
    desk.reply("A", "t")
    assert desk.ends() == {"long": "ok", "t": "ok"}


def test_the_time_runs_anew_whenever_a_task_is_queued_again() -> None:
    desk = Desk("AB")
    desk.submit("on A", targets=["A"])
    desk.submit("t", timeout=2, retries=1, targets=["A", "B"])
    assert not [name for *_, name, _ in desk.timers]
    desk.sleep(1)
    desk.reply("B", "t", "error")
    desk.sleep(1.9)
    assert not desk.answers
    desk.sleep(0.1)
    assert desk.ends() == {"t": "TaskTimeout"}


def test_an_old_timer_does_not_end_a_later_stay() -> None:
    desk = Desk("A")
    desk.submit("one")
    desk.submit("t", timeout=2, retries=1)
    desk.sleep(1.5)
    desk.reply("A", "one")
    desk.came("B")
    desk.submit("two", targets=["B"])
    desk.reply("A", "t", "error")
    desk.sleep(1.5)
    assert desk.ends() == {"one": "ok"}
    desk.sleep(0.5)
    assert desk.ends() == {"one": "ok", "t": "TaskTimeout"}


def test_the_time_of_a_task_goes_on_when_it_moves_between_queues() -> None:
    desk = Desk("AB")
    desk.submit("on A", targets=["A"])
    desk.submit("on B", targets=["B"])
    desk.submit("t", timeout=2, after=["on A"], targets=["B"])
    desk.sleep(1)
    desk.reply("A", "on A")
    desk.sleep(1)
    assert desk.ends()["t"] == "TaskTimeout"

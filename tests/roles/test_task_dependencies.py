"""`after` and `follow`: the truth table, the forms in which they are written, and how ends are carried on."""

from itertools import pairwise, product

import pytest
from task_desk import Desk

#: Rows: which tasks are named and whether all must count. Columns: success only, failure only, both. `ok` ended well on
#: B, `bad` failed on A; RUN, or the engine it has to run on; - is ImpossibleDependency.
TABLE = {
    ("after", "ok", True): ("RUN", "-", "RUN"),
    ("after", "ok", False): ("RUN", "-", "RUN"),
    ("after", "bad", True): ("-", "RUN", "RUN"),
    ("after", "bad", False): ("-", "RUN", "RUN"),
    ("after", "ok bad", True): ("-", "-", "RUN"),
    ("after", "ok bad", False): ("RUN", "RUN", "RUN"),
    ("follow", "ok", True): ("B", "-", "B"),
    ("follow", "ok", False): ("B", "-", "B"),
    ("follow", "bad", True): ("-", "A", "A"),
    ("follow", "bad", False): ("-", "A", "A"),
    ("follow", "ok bad", True): ("-", "-", "-"),
    ("follow", "ok bad", False): ("B", "A", "RUN"),
}
FLAGS = ((True, False), (False, True), (True, True))
CASES = [
    (field, ids.split(), is_all, success, failure, outcomes[column])
    for (field, ids, is_all), outcomes in TABLE.items()
    for column, (success, failure) in enumerate(FLAGS)
]


def dependency(ids: list[str], is_all: bool, success: bool, failure: bool) -> dict[str, object]:
    return {"dependencies": ids, "all": is_all, "success": success, "failure": failure}


def end_both(desk: Desk, order: str = "ok bad") -> None:
    for name in order.split():
        desk.reply("B" if name == "ok" else "A", name, "ok" if name == "ok" else "error")


def verdict(desk: Desk, task: str = "t") -> str:
    ran = [engine for engine, one in desk.deliveries if one == task]
    if desk.ends().get(task) == "ImpossibleDependency":
        assert not ran
        return "-"
    return ran[0] if ran else "WAIT"


@pytest.mark.parametrize("moment", ["before", "between", "behind"])
@pytest.mark.parametrize(("field", "ids", "is_all", "success", "failure", "outcome"), CASES)
def test_truth_table(
    field: str, ids: list[str], is_all: bool, success: bool, failure: bool, outcome: str, moment: str
) -> None:
    desk = Desk("AB", hwm=2)
    desk.submit("ok", targets=["B"])
    desk.submit("bad", targets=["A"])
    demand = {field: dependency(ids, is_all, success, failure)}
    if moment == "before":
        desk.submit("t", **demand)
        assert verdict(desk) == "WAIT"
        end_both(desk)
    elif moment == "between":
        desk.reply("A", "bad", "error")
        desk.submit("t", **demand)
        desk.reply("B", "ok")
    else:
        end_both(desk)
        desk.submit("t", **demand)
    found = verdict(desk)
    assert found in "AB" if outcome == "RUN" else found == outcome
    if found != "-":
        desk.reply(found, "t")
        assert desk.ends()["t"] == "ok"
    assert not desk.role.dependents
    assert not desk.role.tasks


@pytest.mark.parametrize("form", [["ok"], "ok", {"dependencies": ["ok"]}, {"dependencies": "ok"}])
def test_a_dependency_may_be_written_in_several_ways(form: object) -> None:
    for field in ("after", "follow"):
        desk = Desk("AB")
        desk.submit("ok", targets=["B"])
        desk.submit("t", **{field: form})
        assert verdict(desk) == "WAIT"
        desk.reply("B", "ok")
        assert verdict(desk) == ("A" if field == "after" else "B")


@pytest.mark.parametrize("form", [None, [], "", {}, {"dependencies": []}, {"dependencies": None, "all": False}])
def test_an_empty_dependency_is_met(form: object) -> None:
    for field in ("after", "follow"):
        desk = Desk("A")
        desk.submit("t", **{field: form})
        assert verdict(desk) == "A"


@pytest.mark.parametrize(("field", "named"), list(product(("after", "follow"), (["x"], ["t"], ["ok", "x"]))))
def test_an_unknown_id_and_the_task_itself_are_no_dependencies(field: str, named: list[str]) -> None:
    desk = Desk("A")
    desk.submit("ok")
    desk.reply("A", "ok")
    desk.submit("t", **{field: named})
    assert desk.ends() == {"ok": "ok", "t": "InvalidDependency"}
    assert not desk.role.dependents


def test_a_dependency_that_counts_no_end_is_impossible_at_once() -> None:
    desk = Desk("AB")
    desk.submit("ok")
    desk.submit("t", after=dependency(["ok"], True, False, False))
    assert verdict(desk) == "-"


def test_an_aborted_task_counts_as_failed() -> None:
    desk = Desk("AB")
    desk.submit("ok")
    desk.submit("needs it", after=["ok"])
    desk.submit("needs its failure", after=dependency(["ok"], True, False, True))
    desk.reply("B", "ok", "aborted")
    assert desk.ends() == {"ok": "aborted", "needs it": "ImpossibleDependency"}
    assert desk.deliveries[-1][1] == "needs its failure"


def test_any_waits_for_the_last_one_before_it_gives_up() -> None:
    desk = Desk("AB")
    for name in ("one", "two"):
        desk.submit(name)
    desk.submit("t", after=dependency(["one", "two"], False, True, False))
    desk.reply("B", "one", "error")
    assert verdict(desk) == "WAIT"
    desk.reply("A", "two", "error")
    assert verdict(desk) == "-"


def test_all_gives_up_at_the_first_that_spoils_it_and_is_not_answered_twice() -> None:
    desk = Desk("AB")
    for name in ("one", "two"):
        desk.submit(name)
    desk.submit("t", after=["one", "two"])
    desk.reply("B", "one", "error")
    assert verdict(desk) == "-"
    desk.reply("A", "two", "error")
    assert verdict(desk) == "-"


def test_ends_are_carried_through_a_long_chain_in_order() -> None:
    desk = Desk("A")
    names = [f"t{number}" for number in range(5000)]
    desk.submit(names[0])
    for before, name in pairwise(names):
        desk.submit(name, after=[before])
    desk.reply("A", names[0], "error")
    assert [answer.task for answer in desk.answers] == names
    assert set(desk.ends().values()) == {"error", "ImpossibleDependency"}
    assert not desk.role.dependents


def test_a_diamond_runs_from_top_to_bottom() -> None:
    desk = Desk("AB")
    desk.submit("top")
    desk.submit("left", after=["top"])
    desk.submit("right", after=["top"])
    desk.submit("bottom", after=["left", "right"])
    for name in ("top", "left", "right", "bottom"):
        (engine,) = (engine for engine, one in desk.deliveries if one == name)
        desk.reply(engine, name)
    assert [answer.task for answer in desk.answers] == ["top", "left", "right", "bottom"]


def test_after_and_follow_hold_together() -> None:
    desk = Desk("AB", hwm=2)
    desk.submit("when", targets=["A"])
    desk.submit("where", targets=["B"])
    desk.submit("t", after=["when"], follow=["where"])
    desk.reply("B", "where")
    assert verdict(desk) == "WAIT"
    desk.reply("A", "when")
    assert verdict(desk) == "B"


def test_follow_any_goes_where_there_is_room_as_soon_as_one_has_ended_there() -> None:
    desk = Desk("AB")
    desk.submit("on A", targets=["A"])
    desk.submit("on B", targets=["B"])
    desk.submit("t", follow=dependency(["on A", "on B"], False, True, False))
    desk.submit("also on A", targets=["A"])
    desk.submit("old on A", targets=["A"])
    desk.reply("A", "on A")
    assert desk.deliveries[-1] == ("A", "t")


def test_follow_any_gains_an_engine_while_it_waits_in_the_queue_of_another() -> None:
    desk = Desk("AB")
    desk.submit("on B", targets=["B"])
    desk.submit("on A", targets=["A"])
    desk.submit("blocks A", targets=["A"])
    desk.submit("t", follow=dependency(["on A", "on B"], False, True, False))
    desk.reply("A", "on A")
    assert verdict(desk) == "WAIT"
    desk.reply("B", "on B")
    assert verdict(desk) == "B"


def test_follow_excludes_other_targets() -> None:
    desk = Desk("AB")
    desk.submit("where", targets=["A"])
    desk.submit("t", follow=["where"], targets=["B"])
    desk.reply("A", "where")
    assert verdict(desk) == "-"


def test_follow_to_an_engine_that_is_gone_is_impossible() -> None:
    for moment in ("before", "behind"):
        desk = Desk("AB")
        desk.submit("where", targets=["A"])
        desk.reply("A", "where")
        desk.submit("blocks A", targets=["A"])
        if moment == "behind":
            desk.went("A")
        desk.submit("t", follow=["where"])
        if moment == "before":
            assert verdict(desk) == "WAIT"
            desk.went("A")
        assert verdict(desk) == "-"


def test_follow_any_of_a_gone_engine_hopes_for_the_others() -> None:
    desk = Desk("AB")
    desk.submit("on A", targets=["A"])
    desk.submit("on B", targets=["B"])
    desk.reply("A", "on A")
    desk.submit("blocks A", targets=["A"])
    desk.submit("t", follow=dependency(["on A", "on B"], False, True, False))
    desk.went("A")
    assert verdict(desk) == "WAIT"
    desk.reply("B", "on B")
    assert verdict(desk) == "B"


def test_a_task_that_may_still_follow_somebody_outlasts_the_introduction_of_its_targets() -> None:
    desk = Desk("AB")
    desk.submit("on A", targets=["A"])
    desk.submit("on B", targets=["B"])
    desk.reply("A", "on A")
    desk.went("A")
    desk.submit("t", targets=["A"], follow=dependency(["on A", "on B"], False, True, False))
    desk.sleep(1)
    assert not [answer for answer in desk.answers if answer.task == "t"]
    desk.came("A")
    assert verdict(desk) == "A"


def test_nobody_can_follow_a_task_that_never_reached_an_engine() -> None:
    for is_all in (True, False):
        desk = Desk("A")
        desk.submit("never", targets=["nobody"])
        desk.submit("t", follow=dependency(["never"], is_all, True, True))
        desk.submit("u", after=dependency(["never"], is_all, False, True))
        desk.sleep(1)
        assert desk.ends() == {"never": "ImpossibleDependency", "t": "ImpossibleDependency"}
        assert desk.deliveries == [("A", "u")]


def test_a_task_may_depend_on_another_clients() -> None:
    desk = Desk("A")
    desk.submit("mine", client=b"me")
    desk.submit("yours", client=b"you", after=["mine"])
    desk.reply("A", "mine")
    desk.reply("A", "yours")
    assert [(answer.task, answer.client) for answer in desk.answers] == [("mine", b"me"), ("yours", b"you")]


def test_death_decides_the_tasks_that_depend_on_its_own() -> None:
    desk = Desk("AB", hwm=2)
    desk.submit("lost", targets=["A"])
    desk.submit("needs it", after=["lost"])
    desk.submit("cleans up", after=dependency(["lost"], True, False, True))
    desk.submit("follows", follow=dependency(["lost"], True, False, True))
    desk.went("A")
    assert not desk.answers
    desk.sleep(5)
    assert desk.ends() == {
        "lost": "EngineError", "needs it": "ImpossibleDependency", "follows": "ImpossibleDependency",
    }  # fmt: skip
    assert desk.deliveries[-1] == ("B", "cleans up")


def test_outcomes_are_forgotten_in_order_of_their_end() -> None:
    desk = Desk("A", remember=3)
    for name in "abcd":
        desk.submit(name)
        desk.reply("A", name)
    assert len(desk.role.outcomes) == 3
    desk.submit("too late", after=["a"])
    assert desk.ends()["too late"] == "InvalidDependency"
    desk.submit("in time", after=["c", "d"])
    assert desk.deliveries[-1] == ("A", "in time")


def test_a_retry_knows_what_ended_meanwhile() -> None:
    """A `follow` on any runs after the first of two; the second ends while it runs, and gives its retry a place."""
    desk = Desk("AB", hwm=2)
    desk.submit("on A", targets=["A"])
    desk.submit("on B", targets=["B"])
    desk.submit("t", follow=dependency(["on A", "on B"], False, True, False), retries=1)
    desk.reply("A", "on A")
    assert desk.deliveries[-1] == ("A", "t")
    assert not desk.role.dependents
    desk.reply("B", "on B")
    desk.reply("A", "t", "error")
    assert desk.deliveries[-1] == ("B", "t")


def test_what_was_forgotten_meanwhile_counts_as_failed() -> None:
    desk = Desk("AB", hwm=3, remember=2)
    desk.submit("on A", targets=["A"])
    desk.submit("on B", targets=["B"])
    desk.submit("t", follow=dependency(["on A", "on B"], False, True, False))
    desk.reply("A", "on A")
    desk.reply("B", "on B")
    for name in "xyz":
        desk.submit(name, targets=["B"])
        desk.reply("B", name)
    desk.refuse("A", "t")
    assert "task.forgotten-dependency" in desk.env.marks
    assert verdict_after_run(desk) == "ImpossibleDependency"


def verdict_after_run(desk: Desk) -> str:
    return desk.ends()["t"]

"""The controller of ipyparallel in virtual time: that it is theirs, that it does the same twice, what is made of it."""

import sys
from collections.abc import Callable
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

import simulator.run
from conformance.cli import main
from conformance.simulating import carry_out, hooks_of, tell_known
from conformance.targets import adapters
from conformance.targets.adapters import edition
from conformance.targets.adapters.controller import IpyparallelController
from conformance.targets.adapters.databases import Database
from conformance.targets.adapters.looks import CountedQueue
from conformance.targets.adapters.ordered import OrderedSet
from conformance.targets.adapters.parts import FOLDER, STATE_FILE, BroadcastPart, Complaint, HeartPart, TaskPart
from protocol.world import MILLISECOND, SECOND, Task, Work
from simulator.cluster import VirtualCluster
from simulator.faults import (
    ClockJumped,
    Cut,
    DiskFailing,
    DiskLost,
    DiskSlow,
    Doubled,
    Dropped,
    Fault,
    HeartKilled,
    PartKilled,
    PartStalled,
)
from simulator.judge import judge
from simulator.lacking import Lacking
from simulator.plans import Event, Hardness
from simulator.run import Outcome, Setup, run
from simulator.scenarios.scenario import Need, Scenario, Unmet

THEIRS = "ipyparallel"


def simulate(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["simulate", *arguments, "--controller", THEIRS])


def test_every_queue_works_and_nobody_is_accused() -> None:
    cluster = VirtualCluster(1, engines=3, is_judged=True, maker=IpyparallelController)
    client = cluster.client()
    tasks = [client.submit(Work(takes=SECOND // 10), retries=1) for _ in range(8)]
    tasks += [client.apply(Work(), engine) for engine in cluster.engines]
    tasks += [client.broadcast(Work()), client.broadcast(Work(), is_coalescing=True)]
    tasks += [client.control("clear_request", {}, cluster.engines[0]), client.query("queue_request", {"targets": None})]
    tasks.append(client.execute(Work(prints=2)))
    assert cluster.run_until(lambda: all(task.is_done for task in tasks), cluster.now + 10 * SECOND)
    assert {task.status for task in tasks} == {"ok"}
    assert tasks[-1].output == "line 0\nline 1\n"
    assert cluster.settle()
    judgement = judge(cluster)
    assert not judgement.text()
    assert {"wire.reply-parent", "wire.at-most-one-reply"} <= judgement.exercised


def test_the_code_that_runs_is_theirs_and_nobody_else_notices() -> None:
    from ipyparallel import util
    from ipyparallel.controller import hub, task_scheduler
    from jupyter_client import session

    usual: dict[Any, dict[str, Any]] = {module: dict(vars(module)) for module in (util, hub, task_scheduler, session)}
    cluster = VirtualCluster(2, engines=1, maker=IpyparallelController)
    theirs = cluster.controller
    assert isinstance(theirs, IpyparallelController)
    assert type(theirs.hub).__module__ == "ipyparallel.controller.hub"
    assert sys.modules["ipyparallel.controller.hub"] is hub
    assert not isinstance(theirs.hub, hub.Hub)
    assert type(theirs.hub).finish_registration.__code__ == hub.Hub.finish_registration.__code__
    assert all(vars(module) == names for module, names in usual.items())


def test_a_run_is_the_same_in_another_python_with_another_order_of_sets() -> None:
    result = simulate("engine-dies-with-queued-tasks", "--seed", "3", "--check-determinism")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("The same run twice: ")


def test_a_known_defect_is_found_and_told_apart() -> None:
    outcome = carry_out(Setup(name="failing-task-is-retried", controller=THEIRS))
    assert outcome.is_clean
    assert {known.requirement for known in outcome.known} == {"wire.every-request-answered"}
    assert "never run again where it has failed" in outcome.known[0].reason


def test_a_task_that_waited_is_seen_to_run_twice() -> None:
    outcome = carry_out(Setup(seed=10, faults="none", controller=THEIRS))
    assert outcome.is_clean
    known = {one.requirement: one.reason for one in outcome.known}
    assert "stays in the\nscheduler's deque and is given out again" in known["task.dispatches-bounded"]
    assert known["wire.every-request-answered"] == "docs/findings/unreadable-metadata.md"


@pytest.fixture
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for less time until everything has come to rest: what is open in these runs stays so."""
    monkeypatch.setattr(simulator.run, "HEALED", 8 * SECOND)


def play(happens: Callable[[VirtualCluster, IpyparallelController], None], *needs: Need, **config: Any) -> Outcome:
    """A run in which this happens to a controller of this configuration, with what is known of it told apart."""
    clusters: list[VirtualCluster] = []

    def run_it(cluster: VirtualCluster) -> None:
        assert isinstance(cluster.controller, IpyparallelController)
        happens(cluster, cluster.controller)

    scenario = Scenario("swarm", run_it, 2, frozenset(needs), is_inside=False, text="It happens.", config=config)
    setup = Setup(controller=THEIRS)
    outcome = run(setup, scenario, hooks_of(setup)._replace(on_cluster=clusters.append))
    tell_known(setup, outcome, clusters[0])
    return outcome


def known(outcome: Outcome) -> list[tuple[str, str]]:
    return [(one.requirement, one.reason.rpartition("/")[2]) for one in outcome.known]


def lose(theirs: IpyparallelController, task: Task) -> None:
    """Let their scheduler enter a task as given, and give it to nobody."""
    scheduler, usual = theirs.scheduler, theirs.scheduler.submit_task

    def submit_task(job: Any, indices: Any = None) -> None:
        if job.msg_id == task.msg_id:
            scheduler.pending[scheduler.targets[0]][job.msg_id] = job
        else:
            usual(job, indices)

    scheduler.submit_task = submit_task


@pytest.mark.usefixtures("briefly")
def test_a_task_that_is_lost_beside_known_defects_is_new() -> None:
    complaints: list[Complaint] = []

    def happens(cluster: VirtualCluster, theirs: IpyparallelController) -> None:
        client = cluster.client()
        trouble = cluster.begin(Doubled(source="client-", share=1, delay=MILLISECOND))
        twice = client.submit(Work(takes=SECOND // 2))
        assert cluster.run_until(lambda: twice.is_done, cluster.now + SECOND)
        trouble.end()
        client.submit(more={"timeout": "soon"}, mistake="no number")
        lost = client.submit(Work())
        lose(theirs, lost)
        cluster.run_for(SECOND)
        client.submit(more={"after": [lost.msg_id]})
        (part,) = theirs.members["tasks"].parts
        assert isinstance(part, TaskPart)
        complaints.extend(part.complaints)

    outcome = play(happens)
    assert known(outcome) == [("wire.every-request-answered", "unreadable-metadata.md")]
    assert any("self.retries[msg_id]" in each.text for each in complaints)
    assert [blame.requirement for blame in outcome.blames] == ["wire.every-request-answered"] * 2


@pytest.mark.usefixtures("briefly")
def test_a_task_that_nobody_has_looked_at_since_an_error_is_known_and_one_that_was_passed_over_is_new() -> None:
    def happens(cluster: VirtualCluster, theirs: IpyparallelController) -> None:
        cluster.engines[1].kill()
        assert cluster.run_until(lambda: theirs.scheduled() == {"engine-1"}, cluster.now + 10 * SECOND)
        client, scheduler = cluster.client(), theirs.scheduler
        client.submit(Work(takes=SECOND))
        again, waiting = client.submit(Work()), client.submit(Work())
        cluster.run_for(SECOND // 2)
        # Their scheduler has done with one that is in its queue, as if it had been given out before.
        del scheduler.queue_map[again.msg_id], scheduler.retries[again.msg_id]
        cluster.run_for(SECOND)
        assert [job.msg_id for job in scheduler.queue] == [waiting.msg_id]
        if is_passed_over:
            scheduler.maybe_run = lambda _: False
            scheduler.update_graph(None)

    is_passed_over = False
    outcome = play(happens)
    assert outcome.is_clean
    assert known(outcome) == [("wire.every-request-answered", "dependents-run-twice.md")] * 2
    is_passed_over = True
    outcome = play(happens)
    assert known(outcome) == [("wire.every-request-answered", "dependents-run-twice.md")]
    assert [blame.requirement for blame in outcome.blames] == ["wire.every-request-answered"]


@pytest.mark.parametrize(
    ("seed", "faults", "page"),
    [(50, "none", "dependents-run-twice.md"), (230, "hard", "repeated-id-holds-others-up.md")],
)
def test_who_waits_behind_an_error_is_told_by_what_the_error_was(seed: int, faults: Hardness, page: str) -> None:
    outcome = carry_out(Setup(seed=seed, faults=faults, controller=THEIRS))
    assert outcome.is_clean
    assert ("wire.every-request-answered", page) in known(outcome)


def is_away_for_a_while(cluster: VirtualCluster, theirs: IpyparallelController) -> None:
    """The first engine stands still until it is given up, and then goes on."""
    engine = cluster.engines[0]
    engine.pause()
    assert cluster.run_until(lambda: engine.uuid not in (theirs.scheduled() or ()), cluster.now + 5 * SECOND)
    engine.resume()
    assert cluster.run_until(lambda: engine.uuid in (theirs.scheduled() or ()), cluster.now + 2 * SECOND)


@pytest.mark.usefixtures("briefly")
@pytest.mark.parametrize("is_away", [True, False])
def test_what_waits_for_a_result_of_an_engine_that_was_away_is_known_and_for_one_that_was_forgotten_is_new(
    is_away: bool,
) -> None:
    def happens(cluster: VirtualCluster, theirs: IpyparallelController) -> None:
        client, scheduler, engine = cluster.client(), theirs.scheduler, cluster.engines[0]
        first = client.submit(Work(takes=2 * SECOND), targets=[engine])
        client.submit(after=[first])
        cluster.run_for(SECOND // 10)
        assert first.msg_id in scheduler.pending[engine.uuid.encode()]
        if is_away:
            is_away_for_a_while(cluster, theirs)
        else:
            scheduler.pending[engine.uuid.encode()].clear()
        assert not first.is_done
        assert cluster.run_until(lambda: first.is_done, cluster.now + 3 * SECOND)
        assert first.msg_id not in scheduler.all_done

    outcome = play(happens)
    page = ("wire.every-request-answered", "returns-while-its-tasks-are-open.md")
    assert known(outcome) == [page] * is_away
    assert [blame.requirement for blame in outcome.blames] == [page[0]] * (not is_away)


@pytest.mark.usefixtures("briefly")
@pytest.mark.parametrize("fails", [False, True])
def test_what_waits_for_a_result_of_an_engine_whose_lists_were_dropped_is_known(fails: bool) -> None:
    def happens(cluster: VirtualCluster, theirs: IpyparallelController) -> None:
        cluster.engines[1].kill()
        assert cluster.run_until(lambda: theirs.scheduled() == {"engine-1"}, cluster.now + 10 * SECOND)
        client = cluster.client()
        client.submit(Work(takes=2 * SECOND))
        cluster.run_for(SECOND // 10)
        is_away_for_a_while(cluster, theirs)
        assert cluster.run_until(lambda: not theirs.scheduler.completed, cluster.now + 5 * SECOND)
        first = client.submit(Work(takes=SECOND, fails=fails))
        client.submit(after=[first])
        assert cluster.run_until(lambda: first.is_done, cluster.now + 2 * SECOND)
        assert first.status == ("error" if fails else "ok")
        assert first.msg_id not in theirs.scheduler.all_done

    outcome = play(happens, hwm=0)
    assert outcome.is_clean
    assert known(outcome) == [("wire.every-request-answered", "returns-while-its-tasks-are-open.md")]


def test_a_queue_tells_whether_the_last_look_has_come_to_its_end() -> None:
    queue = CountedQueue()
    one, two, namesake = (SimpleNamespace(msg_id=name) for name in ("one", "two", "two"))
    for job in (one, two, namesake):
        queue.append(job)
    assert (queue.steps, queue.looked, queue.is_broken) == (3, 0, False)
    assert queue.namesakes == {"one": [one], "two": [two, namesake]}
    assert queue.popleft() is one
    assert (queue.steps, queue.looked, queue.is_broken) == (4, 4, True)
    queue.extendleft([one])
    assert (queue.steps, queue.looked, queue.is_broken) == (5, 5, False)
    queue.append(one)
    assert (queue.joined, queue.namesakes["one"]) == ({"one": 6, "two": 3}, [one])


@pytest.mark.usefixtures("briefly")
def test_an_engine_of_which_the_scheduler_was_not_told_is_known_and_one_that_it_forgot_is_new() -> None:
    def happens(cluster: VirtualCluster, theirs: IpyparallelController) -> None:
        cluster.run_for(SECOND)
        trouble = cluster.begin(Dropped(source="hub/notification", target="tasks/"))
        late = cluster.engine(uuid="late")
        assert late.uuid in theirs.registered().values()
        cluster.run_for(SECOND)
        trouble.end()
        theirs.scheduler._unregister_engine(b"engine-1")

    outcome = play(happens)
    assert known(outcome) == [("task.converges", "told-once.md")]
    assert outcome.violations == ["task.converges: tasks: engine-1 is not known, which waits on hub"]


@pytest.mark.usefixtures("briefly")
def test_a_broadcast_that_waits_for_the_dead_is_known_and_one_that_all_have_answered_is_new() -> None:
    def happens(cluster: VirtualCluster, theirs: IpyparallelController) -> None:
        for part in theirs.members["broadcast"].parts:
            assert isinstance(part, BroadcastPart)
            if not dies:
                part.scheduler.coalescing_reply = lambda *_: None
        cluster.client().broadcast(Work(takes=SECOND), targets=cluster.engines, is_coalescing=True)
        cluster.run_for(SECOND // 2)
        if dies:
            cluster.engines[0].kill()

    dies = True
    assert known(play(happens)) == [("wire.every-request-answered", "broadcast-waits-for-the-dead.md")]
    dies = False
    outcome = play(happens)
    assert not outcome.known
    assert [blame.requirement for blame in outcome.blames] == ["wire.every-request-answered"]


@pytest.mark.usefixtures("briefly")
def test_hearts_that_stand_still_for_a_clock_are_known_and_others_are_new() -> None:
    def happens(cluster: VirtualCluster, theirs: IpyparallelController) -> None:
        if is_set_back:
            cluster.begin(ClockJumped(who="hearts", nanoseconds=-3600 * SECOND))
            cluster.run_for(SECOND)
        else:
            (part,) = theirs.members["hearts"].parts
            assert isinstance(part, HeartPart)
            part.monitor.handle_heart_failure = lambda _: None
        cluster.engines[0].kill()

    is_set_back = True
    assert known(play(happens)) == [("heartbeat.silent-engine-removed", "clock-set-back.md")]
    is_set_back = False
    outcome = play(happens)
    assert not outcome.known
    assert [blame.requirement for blame in outcome.blames] == ["heartbeat.silent-engine-removed"]


@pytest.mark.usefixtures("briefly")
def test_hearts_whose_name_is_still_taken_are_known() -> None:
    def happens(cluster: VirtualCluster, _: IpyparallelController) -> None:
        cluster.begin(PartStalled(part="hearts", nanoseconds=3 * SECOND))
        cut = cluster.begin(Cut(who="hearts", where="within"))
        cluster.run_for(8 * SECOND)
        cut.end()

    outcome = play(happens)
    assert outcome.is_clean
    assert set(known(outcome)) >= {("registration.can-return", "name-still-taken.md")}


@pytest.mark.usefixtures("briefly")
def test_an_answer_without_a_parent_is_not_blamed_for_a_registration_that_was_lost() -> None:
    def happens(cluster: VirtualCluster, _: IpyparallelController) -> None:
        cluster.run_for(SECOND)
        lost = cluster.begin(Dropped(source="engine-1/query", msg_type="registration_request"))
        # Its heart is silent, and it asks anew; the Hub has not heard that, and says that the name is in use.
        cluster.begin(Dropped(source="hearts/monitor", msg_type="stopped_heart"))
        cluster.begin(HeartKilled(engine="engine-1"))
        cluster.run_for(4 * SECOND)
        lost.end()
        cluster.run_for(10 * SECOND)

    outcome = play(happens)
    assert outcome.is_clean
    assert [text.partition(":")[0] for text in outcome.excused] == ["query.answered-in-order"]


@pytest.mark.usefixtures("briefly")
@pytest.mark.parametrize(
    ("name", "requirement", "page"),
    [
        ("frames-are-lost", "wire.reply-parent", "strangers-are-answered.md"),
        ("pongs-are-lost", "registration.can-return", "beating-before-it-asks.md"),
    ],
)
def test_what_a_scenario_is_known_to_show_is_told_by_the_page_of_its_finding(
    name: str, requirement: str, page: str
) -> None:
    outcome = carry_out(Setup(name=name, controller=THEIRS))
    assert outcome.is_clean
    assert (requirement, page) in known(outcome)


def test_what_cannot_be_done_to_it_is_not_applicable() -> None:
    result = simulate("scheduler-restarts")
    assert result.exit_code == 5, result.output
    assert "Not applicable: needs parts of the controller that can be started again by themselves." in result.output


def test_it_is_started_again_as_a_whole_and_what_it_is_known_to_lose_is_told_by_the_page() -> None:
    first, second = (
        carry_out(Setup(name="whole-controller-restarts", seed=7, controller=THEIRS, has_trace=True)) for _ in range(2)
    )
    assert first.is_clean
    assert known(first) == [("storage.persistent-survives", "sqlite-empty-after-restart.md")]
    assert first.digest == second.digest


def test_a_controller_that_was_started_again_has_its_engines_and_old_tasks_are_taken_with_it() -> None:
    plan = (Event(at=SECOND, lasts=SECOND // 2, fault=PartKilled(part="controller")),)
    outcome = carry_out(Setup(seed=0, plan=plan, controller=THEIRS))
    assert outcome.is_clean
    assert not outcome.known
    assert all("ended with status -9" in text for text in outcome.excused)


def started_again(*, keeps_disk: bool) -> tuple[VirtualCluster, IpyparallelController]:
    """A cluster whose controller was down for a second."""
    cluster = VirtualCluster(3, engines=2, maker=IpyparallelController)
    theirs = cluster.controller
    assert isinstance(theirs, IpyparallelController)
    cluster.kill("controller")
    cluster.run_for(SECOND)
    assert STATE_FILE in theirs.disk
    cluster.restart("controller", keeps_disk=keeps_disk)
    return cluster, theirs


def test_the_hub_takes_up_the_engines_that_are_on_its_disk_at_once() -> None:
    cluster, theirs = started_again(keeps_disk=True)
    assert theirs.registered() == {0: "engine-1", 1: "engine-2"}
    assert cluster.run_until(lambda: theirs.scheduled() == {"engine-1", "engine-2"}, cluster.now + SECOND)
    # Nobody waits for those who are not connected again.
    cluster.run_for(SECOND)
    client = cluster.client()
    tasks = [client.submit(Work()), *(client.apply(Work(), engine) for engine in cluster.engines)]
    assert cluster.run_until(lambda: all(task.is_done for task in tasks), cluster.now + 10 * SECOND)
    assert {task.status for task in tasks} == {"ok"}


def test_without_its_disk_it_knows_nobody() -> None:
    cluster, theirs = started_again(keeps_disk=False)
    assert not theirs.registered()
    # Those of before beat already when they ask, which is a finding of its own.
    cluster.engine(uuid="new")
    assert list(theirs.registered().values()) == ["new"]


def test_a_part_by_itself_is_not_started_again() -> None:
    cluster = VirtualCluster(4, engines=1, maker=IpyparallelController)
    parts = "parts of the controller that can be started again by themselves"
    with pytest.raises(Lacking, match=parts):
        cluster.kill("hub")
    with pytest.raises(Lacking, match=parts):
        cluster.controller.restart(["hub", "tasks"])
    disk = "a disk of the controller's records that can fail"
    lacking: dict[Fault, str] = {
        PartKilled(part="tasks"): parts, DiskLost(): parts, DiskFailing(): disk, DiskSlow(nanoseconds=1): disk,
        PartKilled(part="controller"): "", PartStalled(part="tasks", nanoseconds=1): "",
    }  # fmt: skip
    assert {fault: cluster.controller.lacks(fault) for fault in lacking} == lacking


@pytest.mark.parametrize(("waits", "keeps_disk", "is_known"), [(3, True, True), (0, True, False), (3, False, False)])
def test_a_result_that_is_on_the_disk_is_known_to_be_missed_and_one_that_is_not_is_new(
    waits: int, keeps_disk: bool, is_known: bool
) -> None:
    def happens(cluster: VirtualCluster, theirs: IpyparallelController) -> None:
        before = cluster.client().submit(Work())
        assert cluster.run_until(lambda: before.is_done, cluster.now + SECOND)
        cluster.run_for(waits * SECOND)
        cluster.restart("controller", keeps_disk=keeps_disk)
        assert f"{FOLDER}/tasks.db" in theirs.disk
        raise Unmet("storage.persistent-survives", "a result of before is not there")

    outcome = play(happens, "parts")
    assert (("storage.persistent-survives", "sqlite-empty-after-restart.md") in known(outcome)) == is_known
    assert (not is_known) == ("storage.persistent-survives" in [one.requirement for one in outcome.blames])


@pytest.mark.usefixtures("briefly")
def test_what_was_answered_before_is_not_asked_of_a_controller_that_was_started_again() -> None:
    def happens(cluster: VirtualCluster, _: IpyparallelController) -> None:
        cluster.kill("controller")
        # Each engine asks to be registered again; the answer, which names no request, is to that.
        cluster.run_for(3 * SECOND)
        cluster.restart("controller")

    assert play(happens).is_clean


@pytest.mark.usefixtures("briefly")
def test_an_engine_that_is_gone_since_is_known_to_stay_and_one_that_has_beaten_is_new() -> None:
    def happens(cluster: VirtualCluster, theirs: IpyparallelController) -> None:
        cluster.restart("controller")
        if has_beaten:
            cluster.run_for(SECOND)
            (part,) = theirs.members["hearts"].parts
            assert isinstance(part, HeartPart)
            part.monitor.handle_heart_failure = lambda _: None
        cluster.engines[0].kill()
        client = cluster.client()
        for _ in cluster.engines:
            client.submit(Work())

    has_beaten = False
    outcome = play(happens)
    assert outcome.is_clean
    assert set(known(outcome)) == {
        ("heartbeat.silent-engine-removed", "restored-engine-never-dies.md"),
        ("wire.every-request-answered", "restored-engine-never-dies.md"),
    }
    has_beaten = True
    outcome = play(happens)
    assert not outcome.known
    assert {blame.requirement for blame in outcome.blames} == {
        "heartbeat.silent-engine-removed", "wire.every-request-answered"
    }  # fmt: skip


def test_what_is_not_committed_is_lost_with_the_process() -> None:
    files: dict[str, bytes] = {}
    with closing(Database(files, "tasks.db")) as database:
        database.execute("CREATE TABLE records (msg_id)")
        database.execute("INSERT INTO records VALUES ('one')")
        database.commit()
        database.execute("INSERT INTO records VALUES ('two')")
    with closing(Database(files, "tasks.db")) as database:
        assert database.execute("SELECT * FROM records").fetchall() == [("one",)]


def test_it_makes_no_mistakes_on_purpose() -> None:
    result = simulate("mass-death", "--mutant", "answers-nobody")
    assert result.exit_code == 4
    assert "--mutant is for the kit's own controller" in result.output
    result = simulate("all", "--keep", "worlds.json")
    assert result.exit_code == 4
    assert "--keep is for the kit's own controller" in result.output


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edition, "find_spec", lambda _: None)
    edition.load.cache_clear()
    result = simulate("mass-death")
    assert result.exit_code == 3
    assert result.output == "ippkit: ipyparallel is not installed: pip install 'ippkit[ipyparallel]'\n"
    edition.load.cache_clear()
    with pytest.raises(KeyError, match="there is no controller 'nobodys' here but ipyparallel"):
        adapters.maker("nobodys")


def test_an_ordered_set_is_a_set() -> None:
    made = OrderedSet("dbca")
    assert made == set("abcd")
    assert list(made) == ["d", "b", "c", "a"]
    made.remove("c")
    made.update("ca")
    assert list(made.union("e")) == ["d", "b", "a", "c", "e"]
    assert list(made.intersection({"a", "b"})) == ["b", "a"]
    assert list(made.difference({"a", "b"})) == ["d", "c"]
    assert made.pop() == "d"
    assert "d" not in made
    made.discard("nothing")
    made.clear()
    assert not made
    assert list(made) == []

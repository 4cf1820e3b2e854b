"""Clients: the engines that come and go, what becomes of work for one that has gone, and the end of the controller.

Nobody answers a request whose engine is dead: MUX knows only where to send. So a client takes the notification for it.
Source: IPython commit a2c57acba, parallel_messages.txt, "Notification"; measured on ipyparallel 9.2.0.
"""

import pytest

from conformance.drivers import lines
from conformance.drivers.lines import Outcome
from conformance.harness.case import needs, requirement
from conformance.harness.client import ENGINES, ClientUnderTest, Work, told
from conformance.harness.verdict import violate
from protocol.wire import Codec
from protocol.world import SECOND

OK = Outcome(status="ok")
DIED = Outcome(status="error", ename="EngineError")


def expect_no_change(client: ClientUnderTest) -> None:
    """What was published up to now must have changed nothing; one more engine is the barrier.

    The Hub says nothing besides: who asked it once more would be told again.
    """
    client.is_hub_awake = False
    client.add_engine(7)
    client.until_known(7, requirement="wire.sender-recovers")
    client.expect_engines(2, 5, 7)


@requirement("client.follows-notifications")
def test_engines_come_and_go(tested_client: ClientUnderTest) -> None:
    tested_client.is_hub_awake = False
    tested_client.add_engine(6)
    tested_client.expect_engines(2, 5, 6)
    tested_client.remove_engine(2)
    tested_client.expect_engines(5, 6)
    tested_client.add_engine(9)
    tested_client.remove_engine(5)
    tested_client.remove_engine(6)
    tested_client.expect_engines(9)


@needs("execute")
@requirement("client.follows-notifications", "client.addresses-engine")
def test_an_engine_that_was_announced_is_sent_work(tested_client: ClientUnderTest) -> None:
    tested_client.add_engine(11, "engine-of-late")
    tested_client.expect_engines(*ENGINES, 11)
    work = tested_client.execute(11)
    if (found := work.message.identities[1:]) != (b"engine-of-late",):
        wrong, rule = f"the identities {list(found)!r} in front", "client.addresses-engine"
        violate(wrong, "that of the engine", requirement=rule, evidence=(work.request.seq,))


@requirement("notification.unknown-types-ignored")
def test_a_notification_of_an_unknown_type_does_not_matter(tested_client: ClientUnderTest) -> None:
    tested_client.add_engine(6)
    tested_client.is_hub_awake = False
    tested_client.publish("tomorrow_notification", {"id": 6, "uuid": "x"}, why="a type that nobody knows")
    tested_client.add_engine(7)
    tested_client.expect_engines(2, 5, 6, 7)


#: Notifications that say nothing which can be understood.
STRANGE = {"no keys": {}, "another type of id": {"id": [6], "uuid": "x"}, "no uuid": {"id": 6}}


@requirement("wire.sender-recovers")
@pytest.mark.parametrize("content", STRANGE.values(), ids=STRANGE)
def test_after_a_strange_notification_the_next_one_counts(
    tested_client: ClientUnderTest, content: dict[str, object]
) -> None:
    tested_client.publish("unregistration_notification", content, why="content that says nothing")
    expect_no_change(tested_client)


@requirement("wire.signature-verified", "wire.refused-changes-nothing")
def test_a_forged_notification_changes_nothing(tested_client: ClientUnderTest) -> None:
    gone = tested_client.hub.make("unregistration_notification", {"id": 2, "uuid": ENGINES[2]})
    tested_client.send_raw("notification", Codec(b"another key").encode(gone), "signed with another key")
    expect_no_change(tested_client)


@requirement("wire.replay-refused")
def test_a_repeated_notification_changes_nothing(tested_client: ClientUnderTest) -> None:
    came = tested_client.hub.make("registration_notification", {"id": 6, "uuid": "engine-six"})
    tested_client.send("notification", came)
    tested_client.expect_engines(2, 5, 6)
    tested_client.engines[6] = "engine-six"
    tested_client.remove_engine(6)
    tested_client.send_raw("notification", tested_client.codec.encode(came), "sent before")
    expect_no_change(tested_client)


# -- work for engines that die -----------------------------------------------------------------------------------------


@needs("execute")
@requirement("mux.dead-engine-inferred")
def test_the_death_of_an_engine_ends_what_it_had_to_do(tested_client: ClientUnderTest) -> None:
    work = [tested_client.execute(2), tested_client.execute(2)]
    tested_client.remove_engine(2)
    for each in work:
        tested_client.expect_results(each, DIED)


@needs("apply")
@requirement("mux.dead-engine-inferred")
def test_the_death_of_an_engine_ends_a_call(tested_client: ClientUnderTest) -> None:
    work = tested_client.apply(2)
    waiting = tested_client.result(work)
    tested_client.remove_engine(2)
    tested_client.success(waiting)
    tested_client.expect_results(work, DIED)


@needs("execute")
@requirement("client.death-of-another")
def test_the_death_of_an_engine_ends_nothing_of_another(tested_client: ClientUnderTest) -> None:
    lost, kept = tested_client.execute(2), tested_client.execute(5)
    tested_client.remove_engine(2)
    tested_client.expect_results(lost, DIED, requirement="mux.dead-engine-inferred")
    tested_client.expect_open(kept)
    tested_client.execute_reply(kept.request)
    tested_client.expect_results(kept, OK)


@needs("execute")
@requirement("client.death-of-another")
def test_work_for_several_engines_goes_on_without_the_dead_one(tested_client: ClientUnderTest) -> None:
    marker, work = tested_client.execute(2), tested_client.execute(2, 5)
    tested_client.remove_engine(2)
    tested_client.expect_results(marker, DIED, requirement="mux.dead-engine-inferred")
    (kept,) = [seen for seen in work.requests if tested_client.engine_of(seen) == ENGINES[5]]
    tested_client.execute_reply(kept)
    tested_client.expect_results(work, DIED, OK)


@needs("apply", "tasks")
@requirement("client.task-outlives-engine")
def test_the_death_of_an_engine_does_not_end_a_task(tested_client: ClientUnderTest) -> None:
    task, marker = tested_client.apply(queue="task"), tested_client.apply(2)
    tested_client.remove_engine(2)
    # When this has ended, the notification has been read.
    tested_client.expect_results(marker, DIED, requirement="mux.dead-engine-inferred")
    tested_client.expect_open(task)
    tested_client.apply_reply(task.request, 3)
    tested_client.expect_results(task, Outcome(status="ok", value=3))


@needs("execute")
@requirement("client.unknown-engine-refused")
@pytest.mark.parametrize("why", ["never there", "gone"])
def test_work_for_an_engine_that_is_not_there_ends_at_once(tested_client: ClientUnderTest, why: str) -> None:
    number = 99
    if why == "gone":
        tested_client.remove_engine(2)
        tested_client.expect_engines(5)
        number = 2
    expect_failed(tested_client, number)


# -- the end of the controller -----------------------------------------------------------------------------------------


def end(client: ClientUnderTest) -> None:
    """Announce the end of the controller, which answers nothing more."""
    client.is_hub_awake = False
    client.publish("shutdown_notification", {"status": "ok"})


@needs("execute")
@requirement("client.refuses-after-shutdown")
def test_after_the_end_of_the_controller_new_work_fails(tested_client: ClientUnderTest) -> None:
    end(tested_client)
    # What is sent before the notification was read is no new work: so it is tried again.
    started = tested_client.world.now
    while not tested_client.is_over(started, tested_client.timing.reply_deadline):
        if became(tested_client, 5, timeout=0.2) is None:
            return
    expect_failed(tested_client, 5)


def became(client: ClientUnderTest, number: int, *, timeout: float) -> str | None:
    """What became of work for this engine, if it has not failed when it was sent or when one asked for its result."""
    sent = client.tell(lines.Execute, code="1 + 1", to=(number,))
    if client.answer(sent).error is not None:
        return None
    within = round(timeout * SECOND) + client.timing.reply_deadline
    outcome = client.answer(client.result(Work(sent, ()), timeout=timeout), within=within)
    results = (outcome.ok.results or ()) if outcome.ok is not None else ()
    return None if [each.status for each in results] == ["error"] else told(outcome)


def expect_failed(client: ClientUnderTest, number: int) -> None:
    """Work for this engine must fail at once."""
    if (found := became(client, number, timeout=client.timing.reply_deadline_s)) is not None:
        violate(f"the request became {found}", "an error")


@needs("execute")
@requirement("client.shutdown-ends-requests")
def test_the_end_of_the_controller_ends_what_is_open(tested_client: ClientUnderTest) -> None:
    work = tested_client.execute(5)
    waiting = tested_client.wait(work, timeout=60.0)
    end(tested_client)
    done = tested_client.success(waiting).done or ()
    if list(done) != [work.number]:
        violate("the wait ended, and its request is open", "it ends with an error")


@needs("execute")
@requirement("client.wait-ends-in-time")
def test_a_wait_ends_in_time_when_the_controller_has_ended(tested_client: ClientUnderTest) -> None:
    work = tested_client.execute(5)
    waiting = tested_client.wait(work, timeout=0.5)
    end(tested_client)
    tested_client.answer(waiting)

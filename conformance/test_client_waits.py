"""Clients: how long a program waits, for one request or several, and what it is told of whoever is silent."""

from collections.abc import Mapping
from typing import Final

import pytest

from conformance.drivers import lines
from conformance.drivers.lines import Outcome
from conformance.harness.case import needs, requirement
from conformance.harness.client import ClientUnderTest, told
from conformance.harness.driver import Pending
from conformance.harness.verdict import NotApplicable, violate
from protocol.world import MILLISECOND, SECOND

#: How long a program is willing to wait for somebody who is silent, in seconds.
A_WHILE = 0.3
OK = Outcome(status="ok")


def seconds(nanoseconds: int) -> str:
    return f"{nanoseconds / SECOND:.3f} s"


def expect_in_time(client: ClientUnderTest, pending: Pending, timeout: float) -> None:
    """A command must have ended at its timeout, or hardly later."""
    # Clocks may differ by as much as they are fine.
    earliest = pending.told_at + round(timeout * SECOND) - 20 * MILLISECOND
    client.answer(pending, within=round(timeout * SECOND) + client.timing.reply_deadline)
    if pending.at < earliest:
        violate(f"it ended after {seconds(pending.at - pending.told_at)}", f"it ends after {timeout:g} s")


@needs("execute")
@requirement("client.wait-all")
def test_a_wait_for_several_requests_ends_with_the_last(tested_client: ClientUnderTest) -> None:
    first, second = tested_client.execute(2), tested_client.execute(5)
    waiting = tested_client.wait(first, second, timeout=tested_client.timing.reply_deadline_s)
    tested_client.execute_reply(second.request)
    # When the second one is done, a wait that ends with the first would have ended, too.
    tested_client.expect_results(second, OK)
    if waiting.is_answered:
        violate("the wait ended when one of two requests was done", "it ends with the last")
    tested_client.execute_reply(first.request)
    done = tested_client.success(waiting).done or ()
    if sorted(done) != [first.number, second.number]:
        violate(f"the wait ended with {list(done)} done", f"{[first.number, second.number]}")


@needs("execute")
@requirement("client.wait-first")
def test_a_wait_for_the_first_request_ends_with_it(tested_client: ClientUnderTest) -> None:
    first, second = tested_client.execute(2), tested_client.execute(5)
    waiting = tested_client.wait(first, second, timeout=2 * tested_client.timing.reply_deadline_s, until="first")
    tested_client.execute_reply(second.request)
    done = tested_client.success(waiting).done or ()
    if list(done) != [second.number]:
        violate(f"the wait ended with {list(done)} done", f"{[second.number]}")


@needs("execute")
@requirement("client.wait-ends-in-time")
@pytest.mark.parametrize("until", ["all", "first"])
@pytest.mark.parametrize("timeout", [0.0, A_WHILE], ids=["at once", "later"])
def test_a_wait_ends_when_its_time_is_over(tested_client: ClientUnderTest, timeout: float, until: str) -> None:
    work = tested_client.execute(2), tested_client.execute(5)
    waiting = tested_client.wait(*work, timeout=timeout, until=until)
    expect_in_time(tested_client, waiting, timeout)
    if done := tested_client.success(waiting).done:
        violate(f"the wait ended with {list(done)} done", "nothing is done")


@needs("execute")
@requirement("client.wait-ends-in-time")
def test_a_wait_that_is_not_for_all_says_which_are_done(tested_client: ClientUnderTest) -> None:
    first, second = tested_client.execute(2), tested_client.execute(5)
    tested_client.execute_reply(first.request)
    tested_client.expect_results(first, OK)
    waiting = tested_client.wait(first, second, timeout=A_WHILE)
    expect_in_time(tested_client, waiting, A_WHILE)
    done = tested_client.success(waiting).done or ()
    if list(done) != [first.number]:
        violate(f"the wait ended with {list(done)} done", f"{[first.number]}")


@needs("execute")
@requirement("client.wait-beside-work")
def test_requests_are_sent_while_another_part_of_the_program_waits(tested_client: ClientUnderTest) -> None:
    first = tested_client.execute(2)
    waiting = tested_client.wait(first, timeout=2 * tested_client.timing.reply_deadline_s)
    second = tested_client.execute(5, requirement="client.wait-beside-work")
    if waiting.is_answered:
        violate("the wait has ended, and its request is open", "it goes on")
    tested_client.execute_reply(first.request)
    # The second request is open still, and must not lengthen the wait for the first.
    done = tested_client.success(waiting).done or ()
    if list(done) != [first.number]:
        violate(f"the wait ended with {list(done)} done", f"{[first.number]}")
    tested_client.execute_reply(second.request)
    tested_client.expect_results(second, OK)


@needs("execute")
@requirement("client.wait-ends-in-time")
def test_a_wait_for_what_is_done_ends_at_once(tested_client: ClientUnderTest) -> None:
    work = tested_client.execute(2)
    tested_client.execute_reply(work.request)
    tested_client.expect_results(work, OK)
    # An answer within the deadline of a reply, where the wait itself would last for longer.
    done = tested_client.success(tested_client.wait(work, timeout=60.0)).done or ()
    if list(done) != [work.number]:
        violate(f"the wait ended with {list(done)} done", f"{[work.number]}")


# -- silence -----------------------------------------------------------------------------------------------------------


def expect_named(problem: lines.Problem, *names: str) -> None:
    """What a client says of somebody's silence must hold one of the names of who is silent."""
    if not any(name in problem.message.lower() for name in names):
        violate(f"the client said {problem.message!r}", f"it names {' or '.join(names)}")


def expect_silence(client: ClientUnderTest, pending: Pending, *names: str) -> None:
    """A command must fail at its timeout, and name who is silent."""
    within = round(A_WHILE * SECOND) + client.timing.reply_deadline
    expect_named(client.failure(pending, within=within, requirement="client.wait-ends-in-time"), *names)


@requirement("client.connect-ends-in-time")
def test_a_client_gives_up_a_silent_hub(new_client: ClientUnderTest) -> None:
    new_client.is_hub_awake = False
    connecting = new_client.connect(timeout=A_WHILE)
    expect_in_time(new_client, connecting, A_WHILE)
    new_client.failure(connecting)


@requirement("client.silence-named")
def test_a_client_says_that_the_hub_is_silent(new_client: ClientUnderTest) -> None:
    new_client.is_hub_awake = False
    within = round(A_WHILE * SECOND) + new_client.timing.reply_deadline
    connecting = new_client.connect(timeout=A_WHILE)
    problem = new_client.failure(connecting, within=within, requirement="client.connect-ends-in-time")
    expect_named(problem, "hub", "controller")


@needs("execute")
@requirement("client.wait-ends-in-time")
def test_a_request_for_a_result_ends_when_its_time_is_over(tested_client: ClientUnderTest) -> None:
    asking = tested_client.result(tested_client.execute(5), timeout=A_WHILE)
    expect_in_time(tested_client, asking, A_WHILE)
    if tested_client.failure(asking).kind != "timeout":
        violate(f"it ended with {told(tested_client.answer(asking))}", "the time is over")


@needs("execute")
@requirement("client.silence-named")
def test_a_client_says_which_engine_is_silent(tested_client: ClientUnderTest) -> None:
    work = tested_client.execute(5)
    expect_silence(tested_client, tested_client.result(work, timeout=A_WHILE), "engine-five", "engine 5", "engines 5")


@needs("apply", "tasks")
@requirement("client.silence-named")
def test_a_client_says_that_the_scheduler_is_silent(tested_client: ClientUnderTest) -> None:
    work = tested_client.apply(queue="task")
    expect_silence(tested_client, tested_client.result(work, timeout=A_WHILE), "scheduler", "task queue")


@needs("apply", "broadcast")
@requirement("client.silence-named")
def test_a_client_says_which_engines_of_a_broadcast_are_silent(tested_client: ClientUnderTest) -> None:
    work = tested_client.apply(2, 5, queue="broadcast")
    expect_silence(tested_client, tested_client.result(work, timeout=A_WHILE), "engine", "scheduler")


#: What a client can ask of the Hub and of engines, and of whom.
QUESTIONS: Final[Mapping[type[lines.Command], Mapping[str, object]]] = {
    lines.QueueStatus: {},
    lines.ResultStatus: {"msg_ids": ("a-request",)},
    lines.Purge: {"msg_ids": ("a-request",)},
    lines.Resubmit: {"msg_ids": ("a-request",)},
    lines.History: {},
    lines.Abort: {"msg_ids": ("a-request",), "to": (2,)},
    lines.Clear: {"to": (2,)},
    lines.Signal: {"signal": 2, "to": (2,)},
    lines.Shutdown: {"to": (2,)},
}


@requirement("client.query-ends-in-time", "client.silence-named")
def test_questions_that_nobody_answers_end(tested_client: ClientUnderTest) -> None:
    asked = [
        tested_client.tell(command, timeout=A_WHILE, **about)
        for command, about in QUESTIONS.items()
        if command.feature in tested_client.features
    ]
    if not asked:
        raise NotApplicable("the target declares nothing that is asked")
    started, limit = tested_client.world.now, round(A_WHILE * SECOND) + tested_client.timing.reply_deadline
    tested_client.world.run_until(lambda: all(pending.is_answered for pending in asked), started + limit)
    tested_client.expect_waited(started, limit)
    if open_ones := [pending.word for pending in asked if not pending.is_answered]:
        violate(f"after {seconds(limit)} these have not ended: {', '.join(open_ones)}", "all end with an error")
    for pending in asked:
        problem = tested_client.failure(pending)
        names = ("engine-two", "engine 2") if QUESTIONS[type(pending.command)].get("to") else ("hub", "controller")
        if not any(name in problem.message.lower() for name in names):
            found = f"of {pending.word} the client said {problem.message!r}"
            violate(found, f"it names {' or '.join(names)}", requirement="client.silence-named")

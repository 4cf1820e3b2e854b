"""Which engines the scheduler believes in: notifications, the Hub's answers, and what is lost in between."""

from typing import Any

import pytest
from role_world import message, unreadable
from task_desk import Desk

from protocol.messages import validate
from protocol.roles.base import Arrived, Malformed, Raw, Send, SetTimer, Started
from protocol.wire import Message


def answer(desk: Desk, engines: dict[str, str], asked: Message | None = None) -> None:
    """The Hub's answer to the last question, or to another one."""
    desk.handle(
        Arrived(
            "query",
            message("connection_reply", {"status": "ok", "engines": engines}, "a", parent=asked or desk.asked[-1]),
        )
    )


def known(desk: Desk) -> str:
    return "".join(sorted(engine.name for engine in desk.role.engines.values()))


def test_a_scheduler_that_starts_asks_who_is_there() -> None:
    desk = Desk(resync=0)
    (effect,) = desk.effects
    assert isinstance(effect, Send)
    assert effect.socket == "query"
    validate(effect.message, "query", local=True)
    answer(desk, {"0": "A", "1": "B"})
    assert known(desk) == "AB"
    desk.submit("t")
    assert desk.places() == ["B"]


def test_a_backlog_is_shared_out_among_engines_that_come_together() -> None:
    desk = Desk(hwm=0)
    for number in range(6):
        desk.submit(f"t{number}")
    answer(desk, {"0": "A", "1": "B", "2": "C"})
    assert desk.places() == ["A", "B", "C"] * 2


def test_notification_and_answer_may_both_name_an_engine() -> None:
    desk = Desk()
    desk.came("A", 0)
    answer(desk, {"0": "A"})
    desk.came("A", 0)
    for number in range(3):
        desk.submit(f"t{number}")
    assert desk.places() == ["A"]


def test_a_notification_since_the_question_counts_more_than_the_answer() -> None:
    desk = Desk()
    desk.came("A", 0)
    desk.went("A", 0)
    desk.came("B", 1)
    answer(desk, {"0": "A"})
    assert known(desk) == "B"


@pytest.mark.parametrize(
    "engines",
    [{"0": ""}, {"0": "x" * 300}, {"0": "<IDS|MSG>"}, {"0": "\x00abcd"}, {"zero": "A"}, {"-1": "A"}, {"9" * 30: "A"},
     {"²": "A"}],
)  # fmt: skip
def test_engines_that_cannot_be_addressed_or_counted_are_left_out(engines: dict[str, str]) -> None:
    desk = Desk()
    answer(desk, engines | {"1": "B"})
    assert known(desk) == "B"


def test_answers_that_are_none_say_nothing() -> None:
    desk = Desk("A")
    question = desk.asked[-1]
    before = desk.role.freeze()
    odd: list[Message] = [
        message("connection_reply", {"status": "ok", "engines": {"7": "X"}}, parent={"msg_id": "another"}),
        message("connection_reply", {"status": "ok", "engines": [7]}, parent=question),
        message("connection_reply", {"status": "ok", "engines": {"7": None}}, parent=question),
        message("connection_reply", {"status": "error", "ename": "E", "evalue": "", "traceback": []}, parent=question),
        message("hub_error", {"status": "error", "ename": "E", "evalue": "", "traceback": []}, parent=question),
        unreadable("connection_reply"),
        unreadable("connection_reply", part=1),
    ]
    for one in odd:
        desk.handle(Arrived("query", one))
    assert desk.role.freeze() == before
    answer(desk, {"7": "X"})
    answer(desk, {"8": "Y"}, question)
    assert known(desk) == "AX"


@pytest.mark.parametrize(
    "content", [{}, {"id": 1}, {"uuid": "X"}, {"id": "1", "uuid": "X"}, {"id": -1, "uuid": "X"}, {"id": 1, "uuid": 7},
                {"id": 1, "uuid": ""}, {"id": 1, "uuid": "é" * 128}]
)  # fmt: skip
def test_notifications_that_make_no_sense_are_ignored(content: dict[str, Any]) -> None:
    desk = Desk("A")
    for kind in ("registration_notification", "unregistration_notification"):
        assert not desk.handle(Arrived("notification", message(kind, content)))
        assert not desk.handle(Arrived("notification", unreadable(kind)))
    assert not desk.handle(Arrived("notification", message("shutdown_notification", {"status": "ok"})))
    assert known(desk) == "A"


def test_what_is_no_message_is_ignored() -> None:
    desk = Desk("A")
    for socket in ("in", "out", "query", "notification", "monitor", "nowhere"):
        assert not desk.handle(Raw(socket, (b"x",)))
        assert not desk.handle(Malformed(socket, (b"x",), None))  # type: ignore[arg-type]
    assert not desk.handle(Arrived("nowhere", message("apply_request", identities=[b"client"])))


# -- engines that come back --------------------------------------------------------------------------------------------


def test_another_number_under_the_same_uuid_is_another_engine() -> None:
    """Numbers are never used twice, so the old one is gone, and the notification that said so was lost."""
    desk = Desk()
    desk.came("A", 0)
    desk.submit("t")
    desk.came("A", 1)
    desk.submit("u")
    assert desk.deliveries == [("A", "t"), ("A", "u")]
    desk.sleep(5)
    assert desk.ends() == {"t": "EngineError"}


def test_the_coming_of_an_earlier_life_does_not_end_the_present_one() -> None:
    desk = Desk(resync=0)
    answer(desk, {"5": "A"})
    desk.submit("t")
    desk.came("A", 3)
    assert desk.role.engines[b"A"].number == 5
    assert len(desk.asked) == 2, "a Hub that has lost its disk gives small numbers again: it is asked"
    desk.went("A", 3)
    assert known(desk) == "A"
    desk.reply("A", "t")
    assert desk.ends() == {"t": "ok"}


def test_a_smaller_number_is_believed_once_the_hub_has_said_it_twice() -> None:
    desk = Desk(resync=0)
    answer(desk, {"5": "A"})
    desk.came("A", 0)
    answer(desk, {"0": "A"})
    assert desk.role.engines[b"A"].number == 0


def test_the_end_of_an_earlier_life_does_not_end_the_present_one() -> None:
    desk = Desk()
    desk.came("A", 3)
    desk.went("A", 2)
    assert known(desk) == "A"
    desk.went("A", 3)
    assert known(desk) == ""


# -- lost notifications ------------------------------------------------------------------------------------------------


def resync(desk: Desk) -> None:
    desk.sleep(30)


def test_the_hub_is_asked_again_from_time_to_time() -> None:
    desk = Desk(resync=30 * 10**9)
    assert [effect.timer for effect in desk.effects if isinstance(effect, SetTimer)] == ["resync"]
    answer(desk, {})
    resync(desk)
    assert len(desk.asked) == 2
    answer(desk, {"0": "A"})
    assert known(desk) == "A"
    desk.handle(Started())
    resync(desk)
    assert len(desk.asked) == 4, "the timer of the earlier start is stale"


def test_an_engine_is_given_up_when_two_answers_leave_it_out() -> None:
    desk = Desk(resync=30 * 10**9)
    answer(desk, {"0": "A", "1": "B"})
    resync(desk)
    answer(desk, {"0": "A"})
    assert known(desk) == "AB"
    resync(desk)
    answer(desk, {"0": "A"})
    assert known(desk) == "A"


def test_a_restarted_hub_has_time_to_hear_its_engines() -> None:
    desk = Desk(resync=30 * 10**9)
    answer(desk, {"0": "A", "1": "B"})
    resync(desk)
    answer(desk, {})
    desk.came("A", 0)
    resync(desk)
    answer(desk, {"0": "A", "1": "B"})
    resync(desk)
    answer(desk, {"0": "A"})
    assert known(desk) == "AB"


def test_a_notification_between_two_answers_starts_the_count_anew() -> None:
    desk = Desk(resync=30 * 10**9)
    answer(desk, {"0": "A"})
    resync(desk)
    answer(desk, {})
    desk.came("A", 0)
    for expected in ("A", ""):
        resync(desk)
        answer(desk, {})
        assert known(desk) == expected


def test_what_was_said_before_the_question_counts_less_than_the_answer() -> None:
    desk = Desk(resync=30 * 10**9)
    desk.came("A", 0)
    desk.went("B", 1)
    answer(desk, {})
    resync(desk)
    answer(desk, {"1": "B"})
    assert known(desk) == "AB"
    resync(desk)
    answer(desk, {"1": "B"})
    assert known(desk) == "B"


def test_a_newcomer_is_not_missing_from_an_older_answer() -> None:
    desk = Desk(resync=30 * 10**9)
    for _ in range(3):
        desk.came("A", 0)
        answer(desk, {})
        resync(desk)
    assert known(desk) == "A"


def test_a_question_without_an_answer_is_asked_anew() -> None:
    desk = Desk(resync=30 * 10**9)
    first = desk.asked[-1]
    resync(desk)
    answer(desk, {"0": "A"}, first)
    assert known(desk) == ""
    answer(desk, {"0": "A"})
    assert known(desk) == "A"


def test_tasks_of_an_engine_that_is_given_up_are_decided() -> None:
    desk = Desk(resync=30 * 10**9)
    answer(desk, {"0": "A"})
    desk.submit("t")
    for _ in range(2):
        resync(desk)
        answer(desk, {})
    desk.sleep(5)
    assert desk.ends() == {"t": "EngineError"}

"""Every way in which a task can end, each with exactly one reply."""

from typing import Any

import pytest
from role_world import CODEC, message, unreadable
from task_desk import Desk

from protocol.messages import build, validate
from protocol.roles.base import Arrived, Forward, Send, Unreachable
from protocol.wire import Message
from protocol.world import SECOND


def test_the_way_of_a_task() -> None:
    desk = Desk("A")
    request = message("execute_request", {"code": "1"}, "t", identities=[b"client"], buffers=[b"x"])
    intask, track, out = desk.handle(Arrived("in", request))
    assert intask == Forward("monitor", (b"intask", b"client"), request)
    assert out == Forward("out", (b"A", b"client"), request)
    assert isinstance(track, Send)
    assert track.socket == "monitor"
    session = desk.role.voice.session
    assert track.message.identities == (b"tracktask", session.encode())
    assert track.message.header["session"] == session
    assert track.message.content == {"msg_id": "t", "engine_id": "A"}
    validate(track.message, "monitor", local=True)
    answer = message("execute_reply", {"status": "ok"}, "r", parent=request, metadata={"status": "ok"},
                     identities=[b"A", b"client"])  # fmt: skip
    assert desk.handle(Arrived("out", answer)) == [
        Forward("monitor", (b"outtask", b"client", b"A"), answer),
        Forward("in", (b"client", b"A"), answer),
    ]
    assert desk.monitor == [("intask", "t"), ("tracktask", "t"), ("outtask", "t")]


def test_frames_that_a_client_puts_before_the_delimiter_come_back() -> None:
    desk = Desk("A")
    request = message("apply_request", msg_id="t", identities=[b"client", b"", b"x"])
    desk.handle(Arrived("in", request))
    reply = message("apply_reply", {"status": "ok"}, "r", parent=request, metadata={"status": "ok"},
                    identities=[b"A", b"client", b"", b"x"])  # fmt: skip
    assert desk.handle(Arrived("out", reply))[-1] == Forward("in", (b"client", b"A", b"", b"x"), reply)
    bad = message("apply_request", msg_id="u", identities=[b"client", b""], metadata={"retries": "many"})
    last = desk.handle(Arrived("in", bad))[-1]
    assert isinstance(last, Send)
    assert last.message.identities == (b"client", b"")


def test_own_replies_name_the_request_and_no_engine() -> None:
    desk = Desk("A")
    desk.submit("t", after=["nothing"])
    reply = desk.own()
    assert reply.parent_header["msg_id"] == "t"
    assert reply.identities == (b"client",)
    assert reply.metadata == {}
    assert reply.content["ename"] == "InvalidDependency"
    assert desk.monitor == [("intask", "t"), ("outtask", "t")]


# -- refusals for the metadata -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "metadata",
    [
        *({"retries": value} for value in (-1, 1.5, "1", True, False, [], {})),
        *({"timeout": value} for value in ("1", -1, True, False, [], float("nan"), {})),
        *({"targets": value} for value in (1.5, True, False, [None], [["A"]], {}, {"A": 1}, 0.0, [True], ["\ud800"])),
        *({"after": value} for value in (7, True, False, 0, [7], [None], {"dependencies": 7})),
        {"after": {"dependencies": ["t"], "all": 1}},
        *({"follow": value} for value in (7, 0, [["t"]], {"success": "yes"}, {"failure": None}, {"dependencies": {}})),
    ],
)  # fmt: skip
def test_bad_steering_fields_get_an_error_and_nobody_else_does(metadata: dict[str, Any]) -> None:
    desk = Desk("A")
    desk.submit("before")
    made = build("apply_request", msg_id="t", session="c", metadata=metadata, identities=[b"client"])
    desk.handle(Arrived("in", made))
    ename = "InvalidDependency" if {"after", "follow"} & set(metadata) else "ValueError"
    assert desk.own().content["ename"] == ename
    desk.reply("A", "before")
    desk.submit("behind")
    desk.reply("A", "behind")
    assert desk.ends() == {"before": "ok", "t": ename, "behind": "ok"}


@pytest.mark.parametrize("part", [1, 2])
def test_an_unreadable_parent_or_metadata_get_an_error_as_no_engine_could_read_the_task(part: int) -> None:
    desk = Desk("A")
    desk.handle(Arrived("in", unreadable("apply_request", "t", part=part, identities=[b"client"])))
    assert desk.own().content["ename"] == "ValueError"


def test_unreadable_content_is_the_engines_business() -> None:
    desk = Desk("A")
    desk.handle(Arrived("in", unreadable("apply_request", "t", part=3, identities=[b"client"])))
    assert desk.deliveries == [("A", "t")]


@pytest.mark.parametrize(
    "metadata",
    [
        {"retries": None, "timeout": None, "targets": None, "after": None, "follow": None},
        {"label": 7, "strange": [1]},
        {"timeout": 0, "retries": 0},
        {"timeout": 1e300},
        {"timeout": 10**400},
    ],
)
def test_harmless_fields(metadata: dict[str, Any]) -> None:
    desk = Desk()
    desk.submit("t", **metadata)
    desk.sleep(10**6)
    desk.came("A")
    assert desk.deliveries == [("A", "t")]


def test_a_message_from_nobody_and_one_without_an_id_change_nothing() -> None:
    desk = Desk("A")
    frozen = desk.role.freeze()
    assert not desk.handle(Arrived("in", message("apply_request", msg_id="t")))
    assert not desk.handle(Arrived("in", Message({"msg_type": "apply_request"}, identities=[b"c"])))
    assert not desk.handle(Arrived("in", Message({"msg_id": [], "msg_type": "apply_request"}, identities=[b"c"])))
    assert desk.role.freeze() == frozen


# -- ids ---------------------------------------------------------------------------------------------------------------


def test_the_same_request_again_is_not_run_again() -> None:
    desk = Desk("A")
    desk.submit("t")
    assert not desk.submit("t")
    desk.reply("A", "t")
    assert not desk.submit("t")
    assert desk.ends() == {"t": "ok"}
    assert desk.deliveries == [("A", "t")]


def test_an_id_in_use_by_another_client_is_refused_without_harm() -> None:
    desk = Desk("A")
    desk.submit("t", client=b"mine")
    for _ in range(2):
        (refusal,) = desk.submit("t", client=b"thief")
        assert isinstance(refusal, Send)
        assert refusal.socket == "in"
        assert refusal.message.identities == (b"thief",)
        assert refusal.message.content["status"] == "error"
        desk.answers.pop()
        desk.reply("A", "t")
    assert [(answer.task, answer.client, answer.ename) for answer in desk.answers] == [("t", b"mine", "")]
    assert desk.monitor.count(("intask", "t")) == desk.monitor.count(("outtask", "t")) == 1


# -- targets -----------------------------------------------------------------------------------------------------------


def test_targets_are_respected_and_wait_for_room() -> None:
    desk = Desk("ABC")
    for number in range(4):
        desk.submit(f"t{number}", targets=["B", "A"])
    assert desk.places() == ["B", "A"]
    desk.submit("free")
    assert desk.places() == ["B", "A", "C"]
    desk.reply("A", "t1")
    assert desk.deliveries[-1] == ("A", "t2")


@pytest.mark.parametrize("targets", ["A", ["A"], [1], 1])
def test_a_target_may_be_one_uuid_or_the_number_of_an_engine(targets: Any) -> None:
    desk = Desk("AB")
    desk.submit("t", targets=targets)
    assert desk.places() == ["A"]


@pytest.mark.parametrize("targets", [["X"], "X", [99], [""]])
def test_targets_that_nobody_introduces_are_an_error(targets: Any) -> None:
    desk = Desk("A")
    desk.submit("t", targets=targets)
    desk.sleep(0.5)
    assert desk.own().content["ename"] == "ImpossibleDependency"


def test_a_target_of_which_the_client_heard_first_gets_its_task() -> None:
    desk = Desk("A")
    desk.submit("t", targets=["B"])
    desk.sleep(0.4)
    desk.came("B")
    assert desk.deliveries == [("B", "t")]
    desk.sleep(1)
    assert not desk.answers


def test_an_introduction_does_not_outlast_its_time() -> None:
    desk = Desk("A")
    desk.submit("first", targets=["A"])
    desk.submit("t", targets=["B"], after=["first"])
    desk.sleep(1)
    assert not desk.answers
    desk.reply("A", "first")
    assert desk.ends()["t"] == "ImpossibleDependency"


def test_the_end_of_the_last_target_is_the_end_of_the_task() -> None:
    desk = Desk("ABC")
    desk.submit("on A", targets=["A"])
    desk.submit("on B", targets=["B"])
    desk.submit("t", targets=["A", "B"])
    desk.went("A")
    assert not desk.answers
    desk.went("B")
    assert desk.own().content["ename"] == "ImpossibleDependency"


def test_a_target_not_known_yet_counts_once_it_comes() -> None:
    desk = Desk("A")
    desk.submit("blocks", targets=["A"])
    desk.submit("t", targets=["A", "B"])
    desk.came("B")
    assert desk.deliveries[-1] == ("B", "t")


# -- refusals by engines -----------------------------------------------------------------------------------------------


def test_a_refused_task_goes_elsewhere_at_once_and_the_client_sees_nothing() -> None:
    desk = Desk("AB")
    desk.submit("t")
    desk.refuse("B", "t")
    assert desk.deliveries == [("B", "t"), ("A", "t")]
    assert not desk.answers
    assert desk.monitor == [("intask", "t"), ("tracktask", "t"), ("tracktask", "t")]
    desk.reply("A", "t")
    assert desk.ends() == {"t": "ok"}


def test_a_task_that_everybody_refuses_is_impossible() -> None:
    desk = Desk("AB")
    desk.submit("t", retries=5)
    desk.refuse("B", "t")
    desk.refuse("A", "t")
    assert desk.own().content["ename"] == "ImpossibleDependency"


def test_a_task_that_all_its_targets_refuse_is_impossible() -> None:
    desk = Desk("ABC")
    desk.submit("t", targets=["A", "B"])
    desk.refuse("B", "t")
    desk.refuse("A", "t")
    assert desk.own().content["ename"] == "ImpossibleDependency"
    assert desk.places() == ["B", "A"]


def test_a_refused_task_waits_for_a_busy_engine_and_lets_others_pass() -> None:
    desk = Desk("AB")
    desk.submit("long", targets=["A"])
    desk.submit("t")
    desk.refuse("B", "t")
    desk.submit("other")
    assert desk.deliveries[-1] == ("B", "other")
    desk.reply("B", "other")
    desk.submit("another")
    desk.reply("A", "long")
    assert desk.deliveries[-2:] == [("B", "another"), ("A", "t")]


def test_the_end_of_the_only_engine_that_had_not_refused_makes_it_impossible() -> None:
    desk = Desk("AB")
    desk.submit("long", targets=["A"])
    desk.submit("t")
    desk.refuse("B", "t")
    desk.went("A")
    assert desk.own().content["ename"] == "ImpossibleDependency"


def test_a_refused_task_waits_through_a_moment_without_engines() -> None:
    desk = Desk("AB")
    desk.submit("long", targets=["A"])
    desk.submit("t")
    desk.refuse("B", "t")
    desk.went("B")
    desk.went("A")
    assert not desk.answers
    desk.came("C")
    assert desk.deliveries[-1] == ("C", "t")


def test_an_engine_that_refused_counts_again_when_it_comes_back() -> None:
    desk = Desk("AB")
    desk.submit("long", targets=["A"])
    desk.submit("t")
    desk.refuse("B", "t")
    desk.went("B")
    desk.came("B")
    assert not desk.answers
    desk.went("A")
    assert desk.own().content["ename"] == "ImpossibleDependency"


def test_an_engine_that_refused_and_comes_back_alone_makes_it_impossible() -> None:
    desk = Desk("A")
    desk.submit("t")
    desk.went("A")
    desk.refuse("A", "t")
    assert not desk.answers
    desk.came("A")
    assert desk.own().content["ename"] == "ImpossibleDependency"


def test_a_refusal_uses_no_retry() -> None:
    desk = Desk("ABC")
    desk.submit("t", retries=1)
    desk.refuse("C", "t")
    desk.reply("B", "t", "error")
    desk.reply("A", "t")
    assert desk.ends() == {"t": "ok"}


def test_only_false_is_a_refusal() -> None:
    desk = Desk("AB")
    desk.submit("t")
    desk.reply("B", "t", "error", dependencies_met=None)
    assert desk.ends() == {"t": "error"}


# -- retries -----------------------------------------------------------------------------------------------------------


def test_a_failed_task_is_run_elsewhere_and_the_client_sees_the_last_reply() -> None:
    desk = Desk("AB")
    desk.submit("t", retries=3)
    for engine in "BAB":
        desk.reply(engine, "t", "error")
    assert not desk.answers
    desk.reply("A", "t", "error")
    assert desk.ends() == {"t": "error"}
    assert desk.places() == ["B", "A", "B", "A"]


def test_a_retry_waits_for_another_engine_rather_than_return() -> None:
    desk = Desk("AB")
    desk.submit("long", targets=["A"])
    desk.submit("t", retries=1)
    desk.reply("B", "t", "error")
    desk.submit("other")
    assert desk.deliveries[-1] == ("B", "other")
    desk.reply("A", "long")
    assert desk.deliveries[-1] == ("A", "t")


def test_a_retry_returns_where_there_is_nobody_else() -> None:
    desk = Desk("A")
    desk.submit("t", retries=2)
    desk.reply("A", "t", "error")
    desk.reply("A", "t", "aborted")
    desk.reply("A", "t")
    assert desk.ends() == {"t": "ok"}
    assert desk.places() == ["A"] * 3


def test_a_retry_is_signed_anew_as_its_engine_would_refuse_a_replay() -> None:
    desk = Desk("A")
    desk.submit("t", retries=2, label="kept")
    for _ in range(2):
        desk.reply("A", "t", "error")
    sent = [effect for effect in desk.effects if isinstance(effect, Forward) and effect.socket == "out"]
    assert len({CODEC.forward(each.message, each.identities)[3] for each in sent}) == 3
    assert [each.message.metadata["retries"] for each in sent] == [2, 1, 0]
    assert {each.message.metadata["label"] for each in sent} == {"kept"}
    assert len({(each.message.msg_id, str(each.message.header)) for each in sent}) == 1


def test_a_retry_that_waits_for_others_returns_when_they_are_gone() -> None:
    desk = Desk("AB")
    desk.submit("long", targets=["A"])
    desk.submit("t", retries=1)
    desk.reply("B", "t", "error")
    desk.went("A")
    assert desk.deliveries[-1] == ("B", "t")
    desk.reply("B", "t", "error")
    assert desk.ends() == {"t": "error"}


def test_a_retry_among_targets() -> None:
    desk = Desk("ABC")
    desk.submit("long", targets=["A"])
    desk.submit("t", targets=["A", "B"], retries=2)
    desk.reply("B", "t", "error")
    desk.reply("A", "long")
    assert desk.deliveries[-1] == ("A", "t")
    desk.went("B")
    desk.reply("A", "t", "error")
    assert desk.deliveries[-1] == ("A", "t")


def test_a_retry_keeps_its_turn_on_a_lone_engine() -> None:
    desk = Desk("A")
    desk.submit("t", retries=1)
    desk.submit("next")
    desk.reply("A", "t", "error")
    assert desk.deliveries == [("A", "t"), ("A", "t")]


def test_status_is_read_from_the_metadata_alone() -> None:
    desk = Desk("AB")
    desk.submit("t", retries=1)
    reply = message("apply_reply", {"status": "ok"}, "r", parent={"msg_id": "t"}, identities=[b"B", b"client"])
    desk.handle(Arrived("out", reply))
    assert desk.deliveries == [("B", "t"), ("A", "t")]


# -- strange replies, and the end of the scheduler ---------------------------------------------------------------------


def test_a_reply_to_another_engines_task_changes_nothing() -> None:
    desk = Desk("AB")
    desk.submit("t")
    frozen = desk.role.freeze()
    assert not desk.reply("A", "t")
    assert not desk.reply("B", "unknown")
    for identities in ((), (b"stranger",)):
        assert not desk.handle(
            Arrived("out", message("apply_reply", {}, "r", parent={"msg_id": "t"}, identities=identities))
        )
    odd = [message("apply_reply", {}, "r", parent=parent, identities=[b"B"]) for parent in ({}, {"msg_id": ["t"]})]
    for one in odd:
        assert not desk.handle(Arrived("out", one))
    assert not desk.handle(Arrived("out", unreadable("apply_reply", part=1, identities=[b"B", b"client"])))
    assert desk.role.freeze() == frozen


def test_a_reply_to_a_queued_task_changes_nothing() -> None:
    desk = Desk("A")
    desk.submit("t")
    desk.submit("queued")
    assert not desk.reply("A", "queued")


def unreadable_reply(engine: bytes, task: str) -> Message:
    made = build("apply_reply", {"status": "ok"}, msg_id="r", session="e", parent={"msg_id": task})
    parts = [*CODEC.encode(made)[2:]]
    parts[2] = b"{]"
    return CODEC.open_header([engine, b"client", b"<IDS|MSG>", CODEC.sign(b"".join(parts)), *parts])


def test_a_reply_whose_metadata_cannot_be_read_is_a_failure() -> None:
    desk = Desk("AB")
    desk.submit("t", retries=1)
    desk.handle(Arrived("out", unreadable_reply(b"B", "t")))
    assert desk.deliveries == [("B", "t"), ("A", "t")]
    desk.handle(Arrived("out", unreadable_reply(b"A", "t")))
    reply = desk.own()
    assert reply.content["ename"] == "EngineError"
    assert reply.identities == (b"client", b"A")
    desk.submit("next")
    desk.submit("next but one")
    assert desk.places()[2:] == ["B", "A"]


def test_whoever_still_waits_is_told_when_the_scheduler_stops() -> None:
    desk = Desk("AB")
    desk.submit("orphaned", targets=["A"])
    desk.submit("running")
    desk.submit("queued")
    desk.submit("waiting", after=["running"])
    desk.went("A")
    desk.stop()
    assert desk.is_over
    assert desk.ends() == dict.fromkeys(["orphaned", "running", "queued", "waiting"], "TaskAborted")


# -- engines that are registered and not connected ---------------------------------------------------------------------


def unreachable(desk: Desk, engine: str = "A") -> None:
    sent = next(effect for effect in reversed(desk.effects) if isinstance(effect, Forward) and effect.socket == "out")
    desk.handle(Unreachable("out", engine.encode(), sent.message))


def test_a_task_is_sent_again_until_its_engine_is_connected() -> None:
    desk = Desk("A")
    desk.submit("t")
    for count in range(1, 4):
        assert desk.deliveries == [("A", "t")] * count
        unreachable(desk)
        desk.sleep(0.1)
    desk.sleep(5)
    assert desk.deliveries == [("A", "t")] * 4
    desk.reply("A", "t")
    assert desk.ends() == {"t": "ok"}


@pytest.mark.parametrize("is_known", [True, False], ids=["known to be on its way", "not known"])
def test_nothing_is_sent_to_whoever_comes_back_under_the_name_of_a_dead_engine(is_known: bool) -> None:
    desk = Desk("AB", grace=SECOND)
    desk.submit("t", targets=["A"], retries=0)
    if is_known:
        unreachable(desk)
    desk.went("A")
    if not is_known:
        unreachable(desk)
    desk.sleep(0.5)
    desk.came("A")
    desk.sleep(2)
    assert desk.ends() == {"t": "EngineError"}
    assert desk.deliveries == [("A", "t")]


def test_what_was_answered_meanwhile_or_is_somebody_elses_is_not_sent_again() -> None:
    desk = Desk("A")
    desk.submit("t")
    unreachable(desk, "B")
    desk.sleep(1)
    unreachable(desk)
    desk.reply("A", "t")
    desk.sleep(1)
    desk.handle(Unreachable("out", b"A", message("apply_request", msg_id="unknown")))
    desk.sleep(1)
    assert desk.deliveries == [("A", "t")]

"""The Hub and its engines: registration, hearts, notifications, restarts."""

from typing import Any

import pytest
from hub_desk import TIMEOUT, Desk
from hypothesis import given
from hypothesis import strategies as st
from role_world import SECOND, message

from protocol.roles.base import Arrived, Fired
from protocol.roles.hub.engines import GREATEST, REMEMBERED, Engines

CAME, WENT = "registration_notification", "unregistration_notification"


# -- registration ------------------------------------------------------------------------------------------------------


def test_an_engine_is_pending_until_its_heart_is_heard() -> None:
    desk = Desk(hb_period_ms=500, connection_info={"mux": 1})
    reply = desk.ask("registration_request", {"uuid": "e1"}, b"e1").content
    assert reply == {"status": "ok", "id": 0, "hb_period": 500, "connection_info": {"mux": 1}}
    assert (desk.engines(), desk.published()) == ({}, [])
    desk.heard("e1")
    assert (desk.engines(), desk.published()) == ({"0": "e1"}, [(CAME, 0, "e1")])
    desk.heard("e1")
    assert len(desk.published()) == 1


def test_a_heart_that_beats_before_its_registration_is_enough() -> None:
    desk = Desk()
    desk.heard("e1")
    assert desk.published() == []
    desk.register("e1")
    assert (desk.engines(), desk.published()) == ({"0": "e1"}, [(CAME, 0, "e1")])
    assert "hub.beating-before-registration" in desk.env.marks
    desk.let_pass(2 * TIMEOUT)
    assert desk.engines() == {"0": "e1"}


def test_a_registration_that_is_never_heard_expires_in_silence() -> None:
    desk = Desk()
    desk.register("e1")
    desk.let_pass(TIMEOUT - 1)
    assert desk.ask("registration_request", {"uuid": "e1"}).content["status"] == "error"
    desk.let_pass(1)
    assert desk.published() == []
    assert desk.register("e1") == 1
    desk.heard("e1")
    assert desk.published() == [(CAME, 1, "e1")]


def test_the_timer_of_an_earlier_registration_is_stale() -> None:
    desk = Desk()
    desk.register("e1")
    desk.let_pass(TIMEOUT // 2)
    desk.send("unregistration_request", {"id": 0})
    desk.register("e1")
    desk.let_pass(TIMEOUT // 2 + 1)
    desk.heard("e1")
    assert desk.published() == [(CAME, 1, "e1")]
    desk.handle(Fired("registration:1", 0))
    desk.handle(Fired("registration:7", 1))
    desk.handle(Fired("registration:x", 1))
    assert desk.engines() == {"1": "e1"}


@pytest.mark.parametrize("is_live", [True, False])
def test_a_name_in_use_is_refused_and_costs_nothing(is_live: bool) -> None:
    desk = Desk()
    desk.register("e1")
    if is_live:
        desk.heard("e1")
    kept = len(desk.kept)
    assert desk.refused("registration_request", {"uuid": "e1"}) == "registration_reply"
    assert desk.refused("registration_request", {"uuid": "e1", "id": 5}) == "registration_reply"
    assert len(desk.kept) == kept
    assert desk.register("e2") == 1
    assert len(desk.published()) == is_live


@pytest.mark.parametrize(
    "content",
    [{}, {"uuid": None}, {"uuid": 17}, {"uuid": ["a"]}, {"uuid": ""}, {"uuid": "ü"}, {"uuid": "x" * 256},
     {"uuid": "\0x"}, {"uuid": "e1", "id": "7"}, {"uuid": "e1", "id": -1}, {"uuid": "e1", "id": 1.5},
     {"uuid": "e1", "id": True}, {"uuid": "e1", "id": [7]}, {"uuid": "e1", "id": GREATEST + 1}],
    ids=repr,
)  # fmt: skip
def test_a_registration_that_cannot_be_read_registers_nothing(content: Any) -> None:
    desk = Desk()
    assert desk.refused("registration_request", content) == "hub_error"
    assert desk.register("e1") == 0


def test_requested_numbers_are_given_once() -> None:
    desk = Desk()
    assert desk.register("a", id=3) == 3
    assert desk.register("b", id=1) == 1
    assert desk.register("c") == 4
    assert desk.register("d", id=1) == 5
    assert desk.register("e", id=0) == 0
    assert desk.register("f", id=None) == 6
    desk.send("unregistration_request", {"id": 1})
    assert desk.register("g", id=1) == 7
    assert desk.register("h", id=2) == 2
    assert desk.hub.engines.given == [(0, 8)]


@given(st.lists(st.none() | st.integers(0, 12), max_size=30))
def test_no_number_is_given_twice(requests: list[int | None]) -> None:
    engines = Engines()
    given_so_far: list[int] = []
    for place, requested in enumerate(requests):
        expected = requested if requested is not None and requested not in given_so_far else None
        number = engines.add(f"e{place}", requested).engine.id
        assert number == (max(given_so_far, default=-1) + 1 if expected is None else expected)
        given_so_far.append(number)
    assert sorted(given_so_far) == [number for first, end in engines.given for number in range(first, end)]
    assert all(one[1] < other[0] for one, other in zip(engines.given, engines.given[1:], strict=False))


# -- the end of engines ------------------------------------------------------------------------------------------------


def test_an_engine_leaves_once() -> None:
    desk = Desk()
    desk.engine("e1")
    for _ in range(2):
        desk.send("unregistration_request", {"id": 0})
    desk.stopped("e1")
    assert desk.published() == [(CAME, 0, "e1"), (WENT, 0, "e1")]
    assert desk.engines() == {}
    assert [each.msg_type for each in desk.said["query"] if each.msg_type != "connection_reply"] == [
        "registration_reply"
    ]


def test_a_pending_engine_that_leaves_is_never_announced() -> None:
    desk = Desk()
    desk.register("e1")
    desk.send("unregistration_request", {"id": 0})
    desk.heard("e1")
    assert desk.published() == []
    assert desk.register("e1") == 1


@pytest.mark.parametrize(
    "content", [{"id": 99}, {"id": None}, {}, {"id": "all"}, {"id": []}, {"id": True}, {"id": 0.0}]
)
def test_an_unregistration_that_names_nobody_is_harmless(content: Any) -> None:
    desk = Desk()
    desk.engine("e1")
    desk.engine("e2")
    desk.send("unregistration_request", content)
    assert desk.engines() == {"0": "e1", "1": "e2"}


def test_a_heart_that_stops_takes_its_engine_with_it() -> None:
    desk = Desk()
    desk.engine("e1")
    desk.engine("e2")
    desk.stopped("e1", "stranger")
    assert desk.published(WENT) == [(WENT, 0, "e1")]
    desk.heard("e1")
    assert desk.engines() == {"1": "e2"}


def test_an_engine_that_says_it_shuts_down_is_gone_at_once() -> None:
    desk = Desk()
    desk.engine("e1")
    desk.printed({}, "shutdown_reply", {"status": "ok", "restart": False})
    assert desk.published(WENT) == [(WENT, 0, "e1")]
    for session in ("nobody", ["e1"]):
        made = message("shutdown_reply", identities=[b"iopub", b"t"]).replace(header={
            "msg_id": "x", "msg_type": "shutdown_reply", "session": session,
        })  # fmt: skip
        desk.handle(Arrived("monitor", made))
    assert len(desk.published()) == 2


def test_an_engine_returns_under_its_name_while_its_heart_never_stopped() -> None:
    desk = Desk()
    desk.engine("e1")
    desk.send("unregistration_request", {"id": 0})
    assert desk.register("e1") == 1
    assert desk.published() == [(CAME, 0, "e1"), (WENT, 0, "e1"), (CAME, 1, "e1")]


def test_a_heart_that_stopped_must_beat_again_for_an_engine_that_returns() -> None:
    desk = Desk()
    desk.engine("e1")
    desk.stopped("e1")
    desk.register("e1")
    assert desk.engines() == {}
    desk.heard("e1")
    assert desk.engines() == {"1": "e1"}


@pytest.mark.parametrize("content", [None, {}, {"hearts": "e1"}, {"hearts": [1]}])
def test_verdicts_that_cannot_be_read_change_nothing(content: Any) -> None:
    desk = Desk()
    desk.engine("e1")
    desk.monitor(b"heartmonitor", b"", msg_type="stopped_heart", content=content)
    desk.monitor(b"heartmonitor", b"", msg_type="other_hearts", content={"hearts": ["e1"]})
    assert desk.engines() == {"0": "e1"}


def test_engines_that_are_gone_can_be_asked_about_for_a_while() -> None:
    desk = Desk()
    for number in range(REMEMBERED + 2):
        desk.engine(f"e{number}")
        desk.send("unregistration_request", {"id": number})
        desk.stopped(f"e{number}")
    assert "5" in desk.queues(5)
    assert str(REMEMBERED) in desk.queues(f"e{REMEMBERED}")
    assert desk.refused("queue_request", {"targets": 1}) == "queue_reply"
    assert len(desk.hub.engines.gone) == REMEMBERED
    assert desk.hub.engines.beating == {}


# -- restarts ----------------------------------------------------------------------------------------------------------


def test_restored_engines_stay_if_they_beat_and_go_if_not() -> None:
    before = Desk()
    for uuid in ("e1", "e2", "e3"):
        before.engine(uuid)
    before.send("unregistration_request", {"id": 1})
    before.register("pending")
    after = Desk(state=before.kept[-1])
    assert after.engines() == {"0": "e1", "2": "e3"}
    assert after.published() == []
    after.heard("e3")
    assert after.published() == []
    after.let_pass(TIMEOUT)
    assert after.published() == [(WENT, 0, "e1")]
    assert after.engines() == {"2": "e3"}
    assert after.register("e4") == 4
    assert after.register("e1", id=0) == 5


def test_a_restored_engine_may_leave_or_stop() -> None:
    for goodbye in (lambda desk: desk.send("unregistration_request", {"id": 0}), lambda desk: desk.stopped("e1")):
        desk = Desk(state={"engines": {"0": "e1"}, "next_id": 1})
        goodbye(desk)
        assert desk.published() == [(WENT, 0, "e1")]


@pytest.mark.parametrize(
    ("state", "engines", "first"),
    [
        (None, {}, 0),
        ([], {}, 0),
        ({"engines": None, "next_id": "x"}, {}, 0),
        ({"engines": {"0": "e1", "x": "e2", "3": 7, "4": "e1"}, "next_id": 2}, {"0": "e1"}, 2),
        ({"engines": {"9": "e1"}, "next_id": 2}, {"9": "e1"}, 10),
        ({"engines": {}, "next_id": 9, "given": [[0, 2], [5, 9], [1, 3], "x"]}, {}, 9),
        ({"engines": {}, "next_id": 9, "given": [[5, 9], [0, 2], [1, 3]]}, {}, 9),
        ({"engines": {"99999999999999999999": "e1"}, "next_id": -1}, {}, 0),
    ],
)
def test_a_state_from_elsewhere_is_taken_as_far_as_it_makes_sense(state: Any, engines: Any, first: int) -> None:
    desk = Desk(state=state)
    assert desk.engines() == engines
    assert desk.register("new") == first


def test_a_gap_among_the_numbers_survives_a_restart() -> None:
    before = Desk()
    before.register("e1", id=5)
    after = Desk(state=before.kept[-1])
    assert after.register("e2", id=2) == 2
    assert after.register("e3", id=5) == 6


def test_a_new_heart_monitor_must_confirm_every_heart() -> None:
    desk = Desk()
    desk.engine("e1")
    desk.engine("e2")
    desk.let_pass(SECOND)
    desk.heard("e2", session="another monitor")
    assert desk.published(WENT) == []
    desk.let_pass(TIMEOUT)
    assert desk.published(WENT) == [(WENT, 0, "e1")]
    assert desk.published(CAME) == [(CAME, 0, "e1"), (CAME, 1, "e2")]


def test_what_was_lost_of_the_heart_monitor_s_reports_is_made_good_by_its_roll() -> None:
    desk = Desk()
    desk.engine("e1")
    desk.register("e2")
    desk.monitor(
        b"heartmonitor", b"", msg_type="new_heart", content={"hearts": [], "beating": ["e2", "e9"]}, session="monitor"
    )
    assert desk.published(CAME) == [(CAME, 0, "e1"), (CAME, 1, "e2")]
    assert desk.published(WENT) == [(WENT, 0, "e1")]
    assert {"hub.heart-not-announced", "hub.death-not-reported"} <= set(desk.env.marks)
    desk.register("e9")
    assert desk.published(CAME)[-1] == (CAME, 2, "e9")


def test_a_roll_without_hearts_waits_for_those_that_a_new_monitor_has_not_heard_yet() -> None:
    desk = Desk()
    desk.engine("e1")
    desk.monitor(b"heartmonitor", b"", msg_type="new_heart", content={"hearts": [], "beating": []}, session="another")
    assert desk.published(WENT) == []


# -- the end of the Hub ------------------------------------------------------------------------------------------------


def test_a_shutdown_is_answered_published_and_then_done() -> None:
    desk = Desk(shutdown_delay=SECOND)
    assert desk.told("shutdown_request", {}) == {"status": "ok"}
    request = desk.said["query"][-1].parent_header
    (published,) = desk.said["notification"]
    assert (published.msg_type, published.content, published.parent_header) == (
        "shutdown_notification", {"status": "ok"}, request,
    )  # fmt: skip
    assert desk.told("shutdown_request", {}) == {"status": "ok"}
    desk.let_pass(SECOND - 1)
    assert desk.status is None
    desk.let_pass(1)
    assert desk.status == 0
    assert len(desk.said["notification"]) == 1


@pytest.mark.parametrize("was_asked", [False, True])
def test_a_signal_ends_the_hub_with_a_word_to_all(was_asked: bool) -> None:
    desk = Desk()
    if was_asked:
        desk.told("shutdown_request", {})
    desk.stop()
    assert desk.status == 0
    assert [each.msg_type for each in desk.said["notification"]] == ["shutdown_notification"]


# -- the table ---------------------------------------------------------------------------------------------------------


def test_facts_are_noted_when_asked_for() -> None:
    desk = Desk(notes=True)
    desk.engine("e1")
    request = desk.mux("e1", "m1")
    desk.mux_result("e1", request)
    assert [(note.name, note.data.get("state")) for note in desk.notes] == [
        ("hub-engine", "pending"), ("hub-engine", "registered"), ("hub-open", None), ("hub-completed", None),
    ]  # fmt: skip
    quiet = Desk()
    quiet.engine("e1")
    quiet.mux("e1", "m1")
    assert quiet.notes == []

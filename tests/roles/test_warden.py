"""The warden, as the nanny of ipyparallel 9 and as the kernel starter of 2011."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from role_world import SECOND, FakeEnv, check_freeze, drive, events, message, of, sent, unreadable

from protocol.channels import device, socket_for
from protocol.messages import validate
from protocol.roles.base import Arrived, Exit, Finished, Fired, Forward, Malformed, Note, Run, Send, SetTimer, Stopping
from protocol.roles.warden import CHILD, Warden, WardenConfig

UP = [b"control_out", b"client"]


def nanny(env: FakeEnv | None = None) -> Warden:
    return Warden(WardenConfig(uuid="engine-a", engine_id=3, notes=True), env or FakeEnv())


def starter(env: FakeEnv | None = None) -> Warden:
    return Warden(WardenConfig(kind="starter", patience=SECOND), env or FakeEnv())


BOTH = [nanny, starter]


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize(("socket", "other"), [("up", "down"), ("down", "up")])
def test_everything_passes_as_it_came(make: Any, socket: str, other: str) -> None:
    warden = make()
    for one in (
        message("clear_request", identities=UP),
        message("clear_reply", {"status": "ok"}, identities=UP, buffers=[b"x"]),
        message("dance", identities=[b"client"]),
        unreadable("abort_request", identities=UP),
    ):
        assert warden.handle(0, Arrived(socket, one)) == [Forward(other, one.identities, one)]
    assert warden.handle(0, Malformed(socket, (b"x",), None)) == []


@pytest.mark.parametrize("make", BOTH)
def test_the_two_configurations_are_rows_of_the_channels(make: Any) -> None:
    warden = make()
    dialect = "ipyparallel-9" if warden.nanny else "ipython-0.1x"
    sockets = {name: socket_for(spec.channel, "warden", dialect).socket for name, spec in warden.sockets.items()}
    assert sockets == (
        {"up": "ROUTER", "down": "DEALER", "query": "DEALER"} if warden.nanny else {"up": "DEALER", "down": "DEALER"}
    )
    assert warden.device is device("warden" if warden.nanny else "kernel-starter")


# -- the nanny ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sig", [2, "SIGINT"])
@pytest.mark.parametrize(("result", "status"), [(None, "ok"), ("no such signal", "error")])
def test_signals_are_delivered_and_answered_by_the_nanny(sig: object, result: object, status: str) -> None:
    warden = nanny()
    request = message("signal_request", {"sig": sig}, identities=UP)
    assert warden.handle(0, Arrived("up", request)) == [Run(1, "signal", request)]
    (reply,) = sent(warden.handle(0, Finished(1, result)), "up")
    assert (reply.identities, reply.content["status"]) == (tuple(UP), status)
    validate(reply, "control", local=True)
    assert not warden.handle(0, Finished(1, None))


@pytest.mark.parametrize("content", [{}, {"sig": None}, {"sig": True}, {"sig": [2]}])
def test_a_signal_request_without_a_signal_is_refused(content: Any) -> None:
    (reply,) = sent(nanny().handle(0, Arrived("up", message("signal_request", content, identities=UP))), "up")
    assert reply.content["status"] == "error"
    (reply,) = sent(nanny().handle(0, Arrived("up", unreadable("signal_request", identities=UP))), "up")
    assert reply.content["status"] == "error"


def test_a_dead_child_is_reported_at_once_and_its_signals_are_answered() -> None:
    warden = nanny()
    warden.handle(0, Arrived("up", message("signal_request", {"sig": 9}, identities=UP)))
    effects = warden.handle(0, Finished(CHILD, -9))
    assert [one.content["status"] for one in sent(effects, "up")] == ["error"]
    (last,) = sent(effects, "query")
    assert (last.msg_type, last.content) == ("unregistration_request", {"id": 3})
    validate(last, "query", local=True)
    assert of(effects, Note)[0].data == {"uuid": "engine-a", "wanted": False, "status": -9}
    assert effects[-1] == Exit(0)
    assert not warden.handle(0, Arrived("up", message("clear_request", identities=UP)))


def test_a_nanny_leaves_the_shutdown_of_the_engine_to_the_engine() -> None:
    warden = nanny()
    request = message("shutdown_request", {"restart": False}, identities=UP)
    assert warden.handle(0, Arrived("up", request)) == [Forward("down", tuple(UP), request)]
    reply = message("shutdown_reply", {"status": "ok"}, identities=UP)
    assert warden.handle(0, Arrived("down", reply)) == [Forward("up", tuple(UP), reply)]


def test_a_nanny_that_shall_end_ends_its_child_first() -> None:
    warden = nanny()
    effects = warden.handle(0, Stopping())
    assert [(one.kind, one.message.content) for one in of(effects, Run)] == [("signal", {"sig": "SIGTERM"})]
    assert of(effects, SetTimer) == [SetTimer("patience", SECOND, 1)]
    assert not warden.handle(SECOND, Fired("patience", 0))
    assert [one.kind for one in of(warden.handle(SECOND, Fired("patience", 1)), Run)] == ["kill"]
    effects = warden.handle(SECOND, Finished(CHILD, -9))
    assert sent(effects, "query")
    assert effects[-1] == Exit(0)


# -- the kernel starter ------------------------------------------------------------------------------------------------


def shut(warden: Warden, restart: object = False) -> Sequence[Any]:
    content = {"restart": restart} if restart is not None else {}
    return warden.handle(0, Arrived("up", message("shutdown_request", content, "s1", identities=[b"client"])))


def test_a_starter_passes_a_shutdown_down_and_the_reply_up_once() -> None:
    warden = starter()
    effects = shut(warden)
    assert [one.msg_type for one in sent(effects, "down")] == ["shutdown_request"]
    assert of(effects, SetTimer) == [SetTimer("patience", SECOND, 1)]
    reply = message("shutdown_reply", {"status": "ok"}, parent={"msg_id": "s1"}, identities=[b"client"])
    assert warden.handle(0, Arrived("down", reply)) == [Forward("up", (b"client",), reply)]
    assert not warden.handle(0, Arrived("down", reply))
    assert warden.handle(0, Finished(CHILD, 0)) == [Exit(0)]


def test_a_kernel_that_does_not_end_is_killed_and_answered_for() -> None:
    warden = starter()
    shut(warden, restart=None)
    assert [one.kind for one in of(warden.handle(SECOND, Fired("patience", 1)), Run)] == ["kill"]
    effects = warden.handle(SECOND, Finished(CHILD, -9))
    (reply,) = sent(effects, "up")
    assert (reply.identities, reply.parent_header["msg_id"]) == ((b"client",), "s1")
    assert reply.content == {"status": "ok", "restart": False}
    assert effects[-1] == Exit(0)


def test_a_restart_starts_the_kernel_again() -> None:
    warden = starter()
    shut(warden, restart=True)
    effects = warden.handle(0, Finished(CHILD, 0))
    assert [one.kind for one in of(effects, Run)] == ["start"]
    assert not of(effects, Exit)
    assert not warden.handle(SECOND, Fired("patience", 1))
    assert not warden.handle(0, Finished(1, None))
    assert warden.handle(0, Finished(CHILD, 1)) == [Exit(1)]


def test_a_kernel_that_cannot_be_started_again_is_the_end() -> None:
    warden = starter()
    shut(warden, restart=True)
    warden.handle(0, Finished(CHILD, 0))
    assert warden.handle(0, Finished(1, "no such file")) == [Exit(1)]


def test_a_starter_told_to_stop_kills_its_kernel() -> None:
    warden = starter()
    assert [one.kind for one in of(warden.handle(0, Stopping()), Run)] == ["kill"]
    assert warden.handle(0, Finished(CHILD, -9)) == [Exit(0)]


_TYPES = ["signal_request", "shutdown_request", "shutdown_reply", "clear_request"]


@pytest.mark.parametrize("make", BOTH)
@given(st.lists(st.tuples(st.just(1), events(["up", "down"], _TYPES, ["patience"], st.none())), max_size=30))
def test_every_event_has_an_answer_and_every_request_at_most_one(make: Any, steps: list[tuple[int, Any]]) -> None:
    seen = drive(make(FakeEnv()), steps)
    check_freeze(make, steps[:15], steps[15:])
    own = [one.message for effects in seen for one in of(effects, Send) if one.socket == "up"]
    made = [one.parent_header["msg_id"] for one in own]
    asked = [event.message.msg_id for _, event in steps if isinstance(event, Arrived) and event.socket == "up"]
    assert all(made.count(msg_id) <= asked.count(msg_id) for msg_id in made)

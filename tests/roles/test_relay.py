"""The relays exchange identities, copy to the monitor, and drop alone what has no way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from role_world import CODEC, FakeEnv, check_freeze, drive, events, message, of, unreadable

from protocol.devices import DEVICES
from protocol.roles.base import Arrived, Exit, Forward, Malformed, Raw, Stopping
from protocol.roles.relay import ControlRelay, IopubRelay, MuxRelay, Relay, TaskRelay
from protocol.wire import DELIMITER

KINDS = [MuxRelay, ControlRelay, IopubRelay, TaskRelay]


def test_a_mux_request_goes_to_the_engine_named_and_its_reply_back_to_the_client() -> None:
    relay = MuxRelay(FakeEnv())
    request = message("apply_request", identities=[b"client", b"engine"])
    assert relay.handle(0, Arrived("in", request)) == (
        Forward("monitor", (b"in", b"engine", b"client"), request),
        Forward("out", (b"engine", b"client"), request),
    )
    reply = message("apply_reply", identities=[b"engine", b"client"])
    assert relay.handle(0, Arrived("out", reply)) == (
        Forward("monitor", (b"out", b"client", b"engine"), reply),
        Forward("in", (b"client", b"engine"), reply),
    )


def test_control_copies_carry_the_prefixes_of_control() -> None:
    relay = ControlRelay(FakeEnv())
    prefixes = [
        relay.handle(0, Arrived(socket, message("abort_request", identities=[b"a", b"b"])))[0].identities[0]
        for socket in ("in", "out")
    ]
    assert prefixes == [b"incontrol", b"outcontrol"]


def test_output_passes_with_its_topic_or_without() -> None:
    relay = IopubRelay(FakeEnv())
    for topic in ((b"engine.0.stdout",), ()):
        text = message("stream", {"name": "stdout", "text": "x"}, identities=topic)
        assert relay.handle(0, Arrived("in", text)) == (
            Forward("monitor", (b"iopub", *topic), text),
            Forward("out", topic, text),
        )


def test_the_pure_scheme_leaves_identities_alone() -> None:
    relay = TaskRelay(FakeEnv())
    task = message("apply_request", identities=[b"client"])
    assert relay.handle(0, Arrived("in", task)) == (
        Forward("monitor", (b"intask", b"client"), task),
        Forward("out", (b"client",), task),
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("socket", ["in", "out"])
@given(data=st.data())
def test_relays_do_what_the_device_table_says(kind: type[Relay], socket: str, data: st.DataObject) -> None:
    identities = data.draw(st.lists(st.binary(max_size=5), min_size=2, max_size=4))
    one = message("apply_request", identities=identities, buffers=[b"x"])
    frames = CODEC.forward(one, one.identities)
    out, copy = kind.DEVICE.forward(frames, back=socket == "out")
    monitor, passed = kind(FakeEnv()).handle(0, Arrived(socket, one))
    assert isinstance(monitor, Forward)
    assert isinstance(passed, Forward)
    assert CODEC.forward(passed.message, passed.identities) == out
    assert CODEC.forward(monitor.message, monitor.identities) == copy
    assert passed.socket == {"in": "out", "out": "in"}[socket]


def test_a_message_that_names_no_engine_is_dropped_alone() -> None:
    env = FakeEnv()
    relay = MuxRelay(env)
    for identities in ((), (b"client",)):
        assert not relay.handle(0, Arrived("in", message("apply_request", identities=identities)))
    assert env.marks == ["relay.unaddressed"] * 2
    assert relay.handle(0, Arrived("in", message("apply_request", identities=[b"client", b"engine"])))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_message_is_dropped_and_unreadable_content_passes(kind: type[Relay]) -> None:
    relay = kind(FakeEnv())
    with pytest.raises(Exception, match="peer") as refused:
        CODEC.open_header([b"client", b"engine", DELIMITER])
    assert not relay.handle(0, Malformed("in", (b"client",), refused.value))  # type: ignore[arg-type]
    assert not relay.handle(0, Raw("out", (b"\x01",)))
    odd = unreadable("apply_request", identities=[b"client", b"engine"])
    assert [one.message for one in relay.handle(0, Arrived("in", odd))] == [odd, odd]  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", KINDS)
@given(st.lists(st.tuples(st.just(1), events(["in", "out", "monitor"], ["apply_request"])), max_size=20))
def test_relays_answer_every_event(kind: type[Relay], steps: list[tuple[int, object]]) -> None:
    drive(kind(FakeEnv()), steps)
    check_freeze(kind, steps[:10], steps[10:])


def test_a_relay_ends_when_told() -> None:
    assert of(MuxRelay(FakeEnv()).handle(0, Stopping()), Exit)


def test_every_monitored_queue_of_the_table_that_the_controller_runs_is_a_relay() -> None:
    assert {kind.DEVICE for kind in KINDS} == {
        row for row in DEVICES if row.kind == "monitored queue" and row.role != "heart"
    }

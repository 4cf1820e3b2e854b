"""The heart returns pings as they come, and shows them to its engine."""

from hypothesis import given
from hypothesis import strategies as st
from role_world import FakeEnv, check_freeze, drive, events

from protocol.roles.base import Exit, Raw, SendRaw, Stopping
from protocol.roles.heart import Heart, HeartConfig


def heart(env: FakeEnv | None = None, *, monitored: bool = True) -> Heart:
    return Heart(HeartConfig(monitored=monitored), env or FakeEnv())


@given(st.lists(st.binary() | st.just(b"<IDS|MSG>"), min_size=1, max_size=3).map(tuple))
def test_any_ping_comes_back_once_with_its_bytes(frames: tuple[bytes, ...]) -> None:
    assert heart().handle(0, Raw("ping", frames)) == (
        SendRaw("monitor", (b"", *frames)),
        SendRaw("pong", frames),
    )
    assert heart(monitored=False).handle(0, Raw("ping", frames)) == (SendRaw("pong", frames),)


def test_nothing_else_makes_a_heart_beat() -> None:
    assert not heart().handle(0, Raw("pong", (b"1.0",)))
    assert not heart().handle(0, Raw("monitor", (b"\x01",)))
    assert heart().handle(0, Stopping()) == (Exit(),)


@given(st.lists(st.tuples(st.just(1), events(["ping", "pong", "monitor"], ["ping"])), max_size=20))
def test_a_heart_has_an_answer_to_every_event(steps: list[tuple[int, object]]) -> None:
    drive(heart(), steps)
    check_freeze(heart, steps[:10], steps[10:])

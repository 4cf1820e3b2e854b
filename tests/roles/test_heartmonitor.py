"""The heart monitor: what counts as a beat, and when a heart is new or has stopped."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from role_world import SECOND, FakeEnv, check_freeze, drive, events, of, sent

from protocol.messages import validate
from protocol.roles.base import Effect, Exit, Fired, Note, Raw, SendRaw, SetTimer, Started, Stopping
from protocol.roles.heartmonitor import PREFIX, HeartMonitor, HeartMonitorConfig

P = SECOND
A, B = b"engine-a", b"engine-b"


class Clinic:
    """A monitor that beats once a period, and hearts that answer when told."""

    def __init__(self, misses: int = 2, **config: object) -> None:
        self.env = FakeEnv()
        self.monitor = HeartMonitor(HeartMonitorConfig(period=P, misses=misses, **config), self.env)  # type: ignore[arg-type]
        self.now = 0
        self.pings: list[bytes] = []
        self.told: list[tuple[str, list[str]]] = []
        self.rolls: list[list[str]] = []
        self.take(self.monitor.handle(0, Started()))
        self.take(self.monitor.handle(0, Raw("monitor", (b"\x01",))))
        assert self.told.pop() == ("new_heart", [])

    def take(self, effects: Sequence[Effect]) -> Sequence[Effect]:
        self.pings += [one.frames[0] for one in of(effects, SendRaw)]
        for message in sent(effects, "monitor"):
            if "beating" in message.content:
                assert not message.content["hearts"]
                self.rolls.append(message.content["beating"])
            else:
                self.told.append((message.msg_type, message.content["hearts"]))
        return effects

    def pong(self, *hearts: bytes, ping: bytes | None = None) -> None:
        for heart in hearts:
            assert not self.monitor.handle(self.now, Raw("pong", (heart, self.pings[-1] if ping is None else ping)))

    def beat(self, *hearts: bytes, times: int = 1) -> None:
        for _ in range(times):
            self.pong(*hearts)
            self.now += P
            self.take(self.monitor.handle(self.now, Fired("beat", 0)))


def test_no_ping_before_the_hub_listens() -> None:
    monitor = HeartMonitor(HeartMonitorConfig(), FakeEnv())
    assert not monitor.handle(0, Started())
    assert not monitor.handle(5 * P, Fired("beat", 0))
    effects = monitor.handle(7 * P, Raw("monitor", (b"\x01",)))
    assert [one.content for one in sent(effects, "monitor", "new_heart")] == [{"hearts": []}]
    assert list(effects[1:]) == [SendRaw("ping", (b"7.000000000",)), SetTimer("beat", 10 * P)]


def test_pings_are_lifetimes_all_different_even_if_the_clock_stands_still() -> None:
    clinic = Clinic()
    for _ in range(3):
        clinic.take(clinic.monitor.handle(clinic.now, Fired("beat", 0)))
    clinic.beat(times=3)
    lifetimes = [float(ping) for ping in clinic.pings]
    assert len(set(clinic.pings)) == len(clinic.pings) == 7
    assert lifetimes == sorted(lifetimes)


def test_a_beat_that_comes_late_is_followed_by_a_whole_period() -> None:
    clinic = Clinic()
    late = clinic.monitor.handle(P + P // 2, Fired("beat", 0))
    assert of(late, SetTimer) == [SetTimer("beat", 2 * P + P // 2)]


def test_new_hearts_are_announced_once_and_together() -> None:
    clinic = Clinic(notes=True)
    clinic.beat(A, B)
    clinic.beat(A, B, times=3)
    assert clinic.told == [("new_heart", ["engine-a", "engine-b"])]


def test_what_the_hub_is_told_is_as_the_registry_says() -> None:
    clinic = Clinic(notes=True)
    clinic.pong(A)
    effects = clinic.monitor.handle(P, Fired("beat", 0))
    (new,) = sent(effects, "monitor")
    assert new.identities == PREFIX
    assert validate(new, "monitor", local=True).row.name == "new_heart"
    assert of(effects, Note) == [Note("hearts-found", {"hearts": ["engine-a"]})]


@pytest.mark.parametrize("misses", [0, 1, 2, 10])
def test_a_silent_heart_stops_after_more_misses_than_allowed(misses: int) -> None:
    clinic = Clinic(misses)
    clinic.beat(A)
    clinic.beat(times=misses)
    assert clinic.told == [("new_heart", ["engine-a"])]
    assert clinic.monitor.state_of(A) == ("probation" if misses else "beating")
    clinic.beat(times=1)
    assert clinic.told[1:] == [("stopped_heart", ["engine-a"])]
    clinic.beat(times=5)
    assert len(clinic.told) == 2


def test_one_good_beat_forgives_all_misses() -> None:
    clinic = Clinic(misses=2)
    clinic.beat(A)
    for _ in range(5):
        clinic.beat(times=2)
        clinic.beat(A)
    assert clinic.told == [("new_heart", ["engine-a"])]
    assert "heartmonitor.recovered" in clinic.env.marks


def test_the_silence_of_one_is_no_matter_of_another() -> None:
    clinic = Clinic(misses=1)
    clinic.beat(A, B)
    clinic.beat(B, times=4)
    assert clinic.told == [("new_heart", ["engine-a", "engine-b"]), ("stopped_heart", ["engine-a"])]


def test_an_echo_of_the_ping_before_counts_and_an_older_one_does_not() -> None:
    clinic = Clinic(misses=1)
    clinic.beat(A)
    for _ in range(4):
        clinic.pong(A, ping=clinic.pings[-2])
        clinic.beat()
    assert len(clinic.told) == 1
    for _ in range(2):
        clinic.pong(A, ping=clinic.pings[-3])
        clinic.beat()
    assert clinic.told[1:] == [("stopped_heart", ["engine-a"])]
    assert {"heartmonitor.late-pong", "heartmonitor.stale-pong"} <= set(clinic.env.marks)


def test_altered_repeated_and_misshapen_pongs_are_no_further_beats() -> None:
    clinic = Clinic(misses=1)
    clinic.beat(A)
    clinic.pong(A, A, A)
    clinic.beat()
    for frames in ((), (A,), (A, b""), (A, clinic.pings[-1] + b"0"), (A, clinic.pings[-1], b""), (A, b"x" * 10**6)):
        assert not clinic.monitor.handle(clinic.now, Raw("pong", frames))
    clinic.beat(times=2)
    assert clinic.told == [("new_heart", ["engine-a"]), ("stopped_heart", ["engine-a"])]


def test_an_identity_that_is_no_uuid_is_no_heart() -> None:
    clinic = Clinic()
    clinic.beat(b"\x00\xff\xfe1", b"")
    assert [hearts for _, hearts in clinic.told] == [[""]]


def test_an_empty_ping_is_answered_by_nobody_before_the_first_beat() -> None:
    monitor = HeartMonitor(HeartMonitorConfig(), FakeEnv())
    monitor.handle(0, Started())
    assert not monitor.handle(0, Raw("pong", (A, b"")))
    (start,) = sent(monitor.handle(0, Raw("monitor", (b"\x01",))))
    assert start.content == {"hearts": []}


def test_a_heart_that_stops_and_resumes_is_new_again() -> None:
    clinic = Clinic(misses=1)
    for _ in range(2):
        clinic.beat(A)
        clinic.beat(times=2)
    assert [kind for kind, _ in clinic.told] == ["new_heart", "stopped_heart"] * 2


def test_a_monitor_that_was_held_up_forgives_whoever_answered() -> None:
    clinic = Clinic(misses=0)
    clinic.beat(A)
    clinic.pong(A)
    clinic.now += 60 * P
    clinic.beat()
    assert clinic.told == [("new_heart", ["engine-a"])]


def test_now_and_then_all_hearts_that_beat_are_named_behind_what_is_new() -> None:
    clinic = Clinic(misses=0, roll=4)
    clinic.beat(A, B, times=2)
    assert clinic.rolls == []
    clinic.beat(B)
    assert clinic.told[-1] == ("stopped_heart", ["engine-a"])
    assert clinic.rolls == [["engine-b"]]
    clinic.beat(A, B, times=4)
    assert clinic.rolls == [["engine-b"], ["engine-b", "engine-a"]]
    effects = clinic.monitor.handle(clinic.now, Raw("monitor", (b"\x01",)))
    assert validate(sent(effects, "monitor")[0], "monitor", local=True).row.name == "new_heart"


def test_a_hub_that_comes_back_is_told_of_all_hearts() -> None:
    clinic = Clinic()
    clinic.beat(A, B)
    assert not clinic.monitor.handle(clinic.now, Raw("monitor", (b"\x00",)))
    clinic.beat(A, B)
    effects = clinic.monitor.handle(clinic.now, Raw("monitor", (b"\x01",)))
    assert [one.content for one in sent(effects, "monitor", "new_heart")] == [{"hearts": ["engine-a", "engine-b"]}]
    assert not of(effects, SendRaw)


def test_strange_subscriptions_start_nothing() -> None:
    monitor = HeartMonitor(HeartMonitorConfig(), FakeEnv())
    for frames in ((), (b"",), (b"\x02",), (b"\x00",)):
        assert not monitor.handle(0, Raw("monitor", frames))
    assert monitor.handle(0, Stopping()) == (Exit(),)


class Beats(RuleBasedStateMachine):
    """Against a model that counts for each heart the periods since it last answered in time."""

    @initialize(misses=st.integers(0, 3))
    def begin(self, misses: int) -> None:
        self.misses = misses
        self.clinic = Clinic(misses)
        self.silent: dict[bytes, int] = {}
        self.answered: set[bytes] = set()
        self.expected: list[tuple[str, list[str]]] = []

    @rule(heart=st.sampled_from([A, B, b"engine-c"]), back=st.integers(1, 4), mangled=st.booleans())
    def answer(self, heart: bytes, back: int, mangled: bool) -> None:
        if back > len(self.clinic.pings):
            return
        ping = self.clinic.pings[-back]
        self.clinic.pong(heart, ping=ping + b"!" if mangled else ping)
        if back <= 2 and not mangled:
            self.answered.add(heart)

    @rule()
    def period(self) -> None:
        new = {heart for heart in self.answered if heart not in self.silent}
        gone = set()
        for heart in self.silent:
            self.silent[heart] = 0 if heart in self.answered else self.silent[heart] + 1
            if self.silent[heart] > self.misses:
                gone.add(heart)
        self.silent |= dict.fromkeys(new, 0)
        for heart in gone:
            del self.silent[heart]
        self.answered = set()
        before = len(self.clinic.told)
        self.clinic.beat()
        told = {kind: set(hearts) for kind, hearts in self.clinic.told[before:]}
        assert told.get("new_heart", set()) == {heart.decode() for heart in new}
        assert told.get("stopped_heart", set()) == {heart.decode() for heart in gone}

    @invariant()
    def nobody_is_forgotten(self) -> None:
        assert set(self.clinic.monitor.hearts) == set(self.silent)
        assert all(self.clinic.monitor.state_of(heart) != "unknown" for heart in self.silent)


TestBeats = Beats.TestCase
TestBeats.settings = settings(max_examples=60, stateful_step_count=30)

_STEPS = st.lists(
    st.tuples(st.sampled_from([0, P // 2, P]), events(["ping", "pong", "monitor"], ["new_heart"], ["beat"])),
    max_size=30,
)


@given(_STEPS, st.integers(0, 2))
def test_every_event_has_an_answer_and_the_state_can_be_carried_over(
    steps: list[tuple[int, object]], misses: int
) -> None:
    def make(env: FakeEnv) -> HeartMonitor:
        return HeartMonitor(HeartMonitorConfig(period=P, misses=misses, notes=True), env)

    opening = [(0, Started()), (0, Raw("monitor", (b"\x01",)))]
    drive(make(FakeEnv()), steps)
    check_freeze(make, [*opening, *steps[:15]], steps[15:])

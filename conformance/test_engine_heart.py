"""Engines: the heart, which returns whatever it is sent, whatever its engine is doing.

Source: ipython-dev mail, MinRK, 12 July 2010, "Heartbeat Device"; IPython commit 7bde2f380, parallel_connections.txt,
"Heartbeat"; measured on ipyparallel 9.2.0.
"""

import itertools

import pytest

from conformance.harness.case import needs, requirement
from conformance.harness.engine import EngineUnderTest
from conformance.harness.expect import ok
from conformance.harness.verdict import Undecided, violate
from protocol.wire import DELIMITER
from protocol.world import SECOND

#: A heart that waits for its engine is late by as long as the engine is held, which is several times this.
LATE = SECOND // 2

#: The frames of pings that no monitor sends, by what is strange about them.
STRANGE = {
    "empty": (b"",),
    "binary": (bytes(range(256)),),
    "the delimiter": (DELIMITER,),
    "a uuid": (b"0b5c1d56-8f3c-4a43-9b3f-2f62d1a8ad5e",),
    "what is no number": ("sieben ½".encode(),),
    "1 MiB": (bytes(1 << 20),),
    "several frames": (b"7.0", b"", b"7.0"),
}


@requirement("heart-device.prefix-is-uuid", "heart-device.connects-to-monitor", "heart-device.echo-unchanged")
def test_a_ping_comes_back_unchanged_behind_the_uuid(engine: EngineUnderTest) -> None:
    engine.expect_heart("heart-device.connects-to-monitor")
    engine.ping(b"1234567.1250001")
    beat = engine.expect_echo(b"1234567.1250001", requirement="heart-device.echo-unchanged")
    if tuple(map(bytes, beat.frames[:-1])) != (engine.uuid.encode(),):
        violate(
            f"the frames {list(map(bytes, beat.frames[:-1]))!r:.200} before the echo", f"the one frame {engine.uuid}"
        )


@requirement("heart-device.ignores-content")
@pytest.mark.parametrize("frames", STRANGE.values(), ids=STRANGE)
def test_a_ping_of_any_content_comes_back(engine: EngineUnderTest, frames: tuple[bytes, ...]) -> None:
    engine.expect_heart()
    engine.ping(*frames)
    beat = engine.expect_echo(*frames)
    if len(beat.frames) != 1 + len(frames):
        violate(f"{len(beat.frames) - 1} frames come back", f"{len(frames)} frames", evidence=(beat.seq,))


@requirement("heart-device.echo-once")
def test_pings_come_back_once_each_and_in_order(engine: EngineUnderTest) -> None:
    engine.expect_heart()
    pings = [b"once-%d" % number for number in range(50)]
    for ping in pings:
        engine.ping(ping)
    engine.expect_echo(pings[-1], requirement="heart-device.echo-unchanged")
    # What would come twice, or late, comes before the echo of this one.
    engine.ping(b"the barrier")
    engine.expect_echo(b"the barrier")
    came = [bytes(seen.frames[-1]) for seen in engine.pongs if seen.frames and bytes(seen.frames[-1]) in pings]
    if came != pings:
        violate(f"{len(came)} echoes of {len(pings)} pings: {came[:6]!r}…", "one of each, in order")


@requirement("heart-device.beats-when-busy")
def test_the_heart_beats_while_code_runs(engine: EngineUnderTest) -> None:
    expect_beats_during(engine, "sleep")


@requirement("heart-device.beats-when-locked")
def test_the_heart_beats_while_the_interpreter_is_held(engine: EngineUnderTest) -> None:
    expect_beats_during(engine, "hold_interpreter")


def expect_beats_during(engine: EngineUnderTest, sample: str) -> None:
    """No two echoes may lie further apart than a quarter of the time for which this code keeps the engine."""
    held = 4 * max(LATE, 3 * engine.timing.heartbeat_period)
    engine.expect_heart()
    client = engine.client()
    request = client.execute(engine.sample(sample, seconds=held / SECOND))
    started = engine.world.now
    reply = client.reply(request, within=held + engine.timing.reply_deadline)
    engine.expect_heart()
    ended = reply.observation.now
    if ended - started < held // 2:
        raise Undecided(
            f"the sample {sample!r} took {(ended - started) / SECOND:.2f} s instead of {held / SECOND:.2f} s"
        )
    beats = [started, *(seen.now for seen in engine.pongs if started < seen.now)]
    gap = max(after - before for before, after in itertools.pairwise(beats)) - engine.world.hindered(started)
    if gap > held // 4:
        violate(f"no beat for {gap / SECOND:.2f} s while code ran", f"beats at most {held / 4 / SECOND:.2f} s apart")


@requirement("heart-device.ends-with-process")
def test_a_killed_engine_beats_no_more(fresh_engine: EngineUnderTest) -> None:
    fresh_engine.expect_heart()
    fresh_engine.kill()
    expect_no_beat(fresh_engine)


@requirement("heart-device.stops-cleanly", "heart-device.ends-with-process")
def test_an_engine_that_was_shut_down_ends_and_beats_no_more(fresh_engine: EngineUnderTest) -> None:
    fresh_engine.expect_heart()
    fresh_engine.client().ask("shutdown_request", {"restart": False}, channel="control")
    fresh_engine.expect_end("heart-device.stops-cleanly")
    expect_no_beat(fresh_engine)


def expect_no_beat(engine: EngineUnderTest) -> None:
    """Ping an engine that has ended."""
    # An echo that was on its way arrives at once, on the same machine.
    engine.let_pass(engine.timing.heartbeat_period)
    engine.pongs.clear()
    engine.let_pass(5 * engine.timing.heartbeat_period)
    if engine.pongs:
        violate("its heart beats on after the process has ended", "no beat", evidence=(engine.pongs[0].seq,),
                requirement="heart-device.ends-with-process")  # fmt: skip


@needs("watch")
@requirement("heartbeat.engine-watches-pings")
def test_an_engine_that_hears_no_pings_takes_its_leave_and_ends(fresh_engine: EngineUnderTest) -> None:
    fresh_engine.expect_heart()
    fresh_engine.stop_beating()
    timing = fresh_engine.timing
    fresh_engine.expect_end(within=timing.engine_watch + timing.margin + timing.stop_grace)
    if not fresh_engine.unregistrations():
        violate("it ended without an unregistration_request", "an unregistration_request")


@needs("watch")
@requirement("heartbeat.engine-watches-pings")
def test_an_engine_outlives_a_pause_of_the_pings(fresh_engine: EngineUnderTest) -> None:
    fresh_engine.expect_heart()
    fresh_engine.stop_beating()
    # At least one of its checks finds no ping, and not all that it allows.
    fresh_engine.let_pass(fresh_engine.timing.engine_watch // 2)
    fresh_engine.beat()
    fresh_engine.expect_heart("heartbeat.engine-watches-pings")
    fresh_engine.client().run(fresh_engine.sample("print", text="hello"))


@requirement("heart-device.outlives-monitor", "registration.engine-outlives-controller")
def test_an_engine_goes_on_with_a_controller_that_comes_back(fresh_engine: EngineUnderTest) -> None:
    client = fresh_engine.client()
    fresh_engine.expect_heart()
    client.run(fresh_engine.sample("print", text="hello"))
    fresh_engine.restart_controller()
    fresh_engine.expect_heart("heart-device.outlives-monitor")
    serves = "registration.engine-outlives-controller"
    fresh_engine.expect_connected("mux", serves)
    again = client.execute(fresh_engine.sample("print", text="again"))
    client.reply(again, requirement=serves).expect(ok("execute_reply"), requirement=serves)

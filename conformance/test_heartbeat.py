"""The heartbeat: what the monitor publishes, which answers keep an engine alive, and when a silent one is given up.

Source: IPython commit a2c57acba, parallel_messages.txt, "Heartbeat"; IPython messaging.txt (2010), "Heartbeat for
kernels".
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import pytest

from conformance.harness.actors import Engine
from conformance.harness.case import destructive, needs, requirement
from conformance.harness.controller import Controller
from conformance.harness.hearts import Heart, no_answer
from conformance.harness.verdict import violate
from protocol.wire import DELIMITER, Frame
from protocol.world import MILLISECOND, SECOND, Observation

#: The least time over which a lifetime is watched as it grows.
WHILE = 350 * MILLISECOND
DECIMAL = re.compile(rb"\d+(\.\d+)?([eE][-+]?\d+)?")


def lifetimes(pings: Sequence[Observation]) -> list[float]:
    """The seconds that pings tell; one that tells none is a violation of its own."""
    for ping in pings:
        if len(ping.frames) != 1 or not DECIMAL.fullmatch(ping.frames[0]):
            violate(
                f"the ping {list(ping.frames)!r}", "a decimal number of seconds",
                requirement="heartbeat.ping-is-lifetime", evidence=(ping.seq,),
            )  # fmt: skip
    return [float(bytes(ping.frames[0])) for ping in pings]


# -- pings -------------------------------------------------------------------------------------------------------------


@requirement("heartbeat.ping-single-frame")
def test_a_ping_is_one_frame(controller: Controller) -> None:
    for ping in controller.heart(answer=no_answer).expect_pings(3):
        if len(ping.frames) != 1:
            violate(f"a ping of {len(ping.frames)} frames", "one frame", evidence=(ping.seq,))


@requirement("heartbeat.raw-not-message")
def test_a_ping_is_no_message(controller: Controller) -> None:
    for ping in controller.heart(answer=no_answer).expect_pings(3):
        if DELIMITER in ping.frames:
            violate(f"the ping {list(ping.frames)!r:.200}", "raw bytes, without a delimiter", evidence=(ping.seq,))


@requirement("heartbeat.ping-is-lifetime")
def test_a_ping_tells_seconds_as_decimal_text(controller: Controller) -> None:
    lifetimes(controller.heart(answer=no_answer).expect_pings(3))


@requirement("heartbeat.ping-distinct")
def test_no_two_pings_are_the_same(controller: Controller) -> None:
    pings = controller.heart(answer=no_answer).expect_pings(6)
    if len({ping.frames for ping in pings}) < len(pings):
        violate(f"the pings {[ping.frames[0] for ping in pings]!r}", "six different ones")


@requirement("heartbeat.lifetime-increases")
def test_the_lifetime_grows_from_ping_to_ping(controller: Controller) -> None:
    told = lifetimes(controller.heart(answer=no_answer).expect_pings(6))
    if any(later <= sooner for sooner, later in pairwise(told)):
        violate(f"the lifetimes {told}", "growing numbers")


@requirement("heartbeat.lifetime-tracks-period")
def test_the_lifetime_grows_as_time_passes(controller: Controller) -> None:
    heart, count = controller.heart(answer=no_answer), max(7, -(-WHILE // controller.timing.heartbeat_period))
    grown = passed = 0.0
    # What was late once is soon made up for; a clock that goes wrong is further off after a longer time.
    for times in (1, 4):
        started = controller.world.now
        pings = heart.expect_pings(1 + times * count)
        told = lifetimes(pings)
        grown, passed = told[-1] - told[0], (pings[-1].now - pings[0].now) / SECOND
        # When a ping arrives tells when it was sent, except where somebody was late to look.
        late = max(controller.timing.heartbeat_period, WHILE // 7) + controller.world.hindered(started)
        if abs(grown - passed) <= late / SECOND:
            return
    controller.expect_steady(started, controller.timing.heartbeat_period)
    violate(f"the lifetime grew by {grown:.3f} s in {passed:.3f} s", f"about {passed:.3f} s")


@requirement("heartbeat.ping-matches-hb-period")
def test_pings_come_as_often_as_engines_are_told(controller: Controller) -> None:
    engine = controller.engine()
    period = engine.register().content.get("hb_period")
    told = lifetimes(controller.heart(answer=no_answer).expect_pings(9))
    gaps = sorted(later - sooner for sooner, later in pairwise(told))
    usual = gaps[len(gaps) // 2] * 1000
    if not isinstance(period, int) or abs(usual - period) > max(period / 4, 20):
        violate(f"{usual:.0f} ms between pings", f"hb_period, which is {period!r}")


@requirement("heartbeat.ping-periodic")
def test_pings_come_without_engines_with_one_and_after_it_left(controller: Controller) -> None:
    listener = controller.heart(answer=no_answer)
    listener.expect_pings(2)
    engine = controller.engine().registered()
    listener.expect_pings(2)
    engine.unregister()
    controller.notifications.wait("unregistration_notification", uuid=engine.uuid)
    engine.stop_heart()
    # Whoever pings only those that answer stops when this heart is given up, and not before.
    controller.let_pass(controller.timing.heart_failure[1])
    listener.expect_pings(2)


def heard_by(heart: Heart) -> list[Sequence[Frame]]:
    """The pings that have come to a heart."""
    return [ping.frames for ping in heart.pings]


@requirement("heartbeat.ping-reaches-all")
def test_every_heart_gets_every_ping(controller: Controller) -> None:
    hearts = [controller.heart(answer=no_answer) for _ in range(3)]
    for heart in hearts:
        heart.expect_ping()
    # By now everybody listens.
    compared = [ping.frames for ping in hearts[0].expect_pings(5)]
    first, last = compared[0], compared[-1]
    for heart in hearts:
        # Pings come in order: who has the last of these, or a later one, has all that it will ever get of them.
        while not set(heard_by(heart)) & set(heard_by(hearts[0])[heard_by(hearts[0]).index(last) :]):
            heart.expect_ping()
    heard = [heard_by(heart) for heart in hearts]
    spans = [each[each.index(first) : each.index(last) + 1] if {first, last} <= set(each) else [] for each in heard]
    if any(span != compared for span in spans):
        violate(f"the pings {spans}", f"{compared} for everybody")


# -- answers that count ------------------------------------------------------------------------------------------------


def expect_all_kept(controller: Controller, engines: Sequence[Engine], nanoseconds: int) -> None:
    """None of these engines may be given up while so much time passes."""
    controller.let_pass(nanoseconds)
    for engine in engines:
        engine.expect_kept(0)


@requirement("heartbeat.echo-keeps-alive")
def test_an_engine_whose_heart_answers_stays(controller: Controller) -> None:
    engine = controller.engine().registered()
    engine.expect_kept(controller.timing.heart_failure[1] + 2 * controller.timing.heartbeat_period)


@requirement("heartbeat.echo-keeps-alive")
def test_a_heart_in_a_device_keeps_its_engine(controller: Controller) -> None:
    engine = controller.engine().registered(has_device_heart=True)
    engine.expect_kept(controller.timing.heart_failure[1] + 2 * controller.timing.heartbeat_period)


@needs("mux")
@requirement("heartbeat.beat-outlives-silence")
def test_a_busy_engine_that_answers_nothing_else_stays(controller: Controller) -> None:
    engine = controller.engine().with_shell().registered(has_device_heart=True)
    controller.client().submit(engine)
    engine.take()
    engine.expect_kept(controller.timing.heart_failure[1] + 2 * controller.timing.heartbeat_period)


@requirement("heartbeat.first-beat-completes-registration")
def test_the_first_beat_is_noticed_at_the_next_ping_but_one(controller: Controller) -> None:
    engine = controller.engine()
    engine.register()
    heart = engine.start_heart()
    announced = controller.notifications.expect(
        "registration_notification", uuid=engine.uuid, requirement="registration.heard-is-registered"
    )
    if not heart.answered:
        violate("an engine announced before its heart answered a ping", "not before",
                requirement="registration.pending-until-heard")  # fmt: skip
    waited = announced.now - heart.answered[0] - controller.world.hindered(heart.answered[0])
    limit = 2 * controller.timing.heartbeat_period + controller.timing.margin
    if waited > limit:
        violate(f"announced {waited / SECOND:.3f} s after the first beat", f"within {limit / SECOND:.3f} s")


@requirement("heartbeat.late-echo-accepted")
def test_a_heart_that_is_late_by_less_than_two_periods_keeps_its_engine(controller: Controller) -> None:
    engine = controller.engine().registered()
    # Later than one period, and no more: the rest is for a machine that is late, too.
    engine.scripted_heart.delay = controller.timing.heartbeat_period * 11 // 10
    engine.expect_kept(controller.timing.heart_failure[1] + 4 * controller.timing.heartbeat_period)


@requirement("heartbeat.good-beat-resets")
def test_only_misses_in_a_row_lead_to_failure(controller: Controller) -> None:
    engine = controller.engine().registered()
    allowed = controller.timing.allowed_misses
    # A quarter fewer than allowed, and more than one answer between: a busy machine may make some of them late.
    missed, answered = max(allowed * 3 // 4, min(allowed, 1)), 3
    count = 0

    def every_so_often(frames: Sequence[Frame]) -> Sequence[Frame] | None:
        nonlocal count
        count += 1
        return None if count % (missed + answered) < missed else frames

    engine.scripted_heart.answer = every_so_often
    rounds = allowed // max(missed, 1) + 2
    engine.expect_kept(rounds * (missed + answered) * controller.timing.heartbeat_period)


@requirement("heartbeat.one-socket-for-all-hearts")
def test_one_pair_of_addresses_serves_all_hearts(controller: Controller) -> None:
    engines = [controller.engine() for _ in range(5)]
    for engine in engines:
        engine.register()
        engine.start_heart()
    for engine in engines:
        controller.notifications.expect("registration_notification", uuid=engine.uuid)


# -- answers that do not count -----------------------------------------------------------------------------------------


@requirement("heartbeat.stale-echo-ignored")
def test_an_echo_of_an_old_ping_is_no_beat(controller: Controller) -> None:
    engine = controller.engine().registered()
    heart = engine.scripted_heart
    heart.expect_pings(4)
    heart.fall_silent()
    last = heart.answered[-1]
    heart.answer = lambda _: heart.pings[-4].frames
    engine.expect_given_up(last)


ALTERATIONS: dict[str, Callable[[bytes], bytes]] = {
    "a digit more": lambda ping: ping + b"0",
    "a space before": lambda ping: b" " + ping,
    "a digit less": lambda ping: ping[:-1],
    "backwards": lambda ping: ping[::-1],
    "nothing": lambda _: b"",
}


def altered(alter: Callable[[bytes], bytes], frames: Sequence[Frame]) -> Sequence[Frame]:
    """The answer of a heart that alters pings."""
    return [alter(bytes(frames[0]))]


@requirement("heartbeat.altered-echo-ignored")
def test_an_altered_echo_is_no_beat(controller: Controller) -> None:
    engines = [controller.engine().registered() for _ in ALTERATIONS]
    last = {}
    for engine, alter in zip(engines, ALTERATIONS.values(), strict=True):
        last[engine.name] = engine.scripted_heart.fall_silent()
        engine.scripted_heart.answer = partial(altered, alter)
    for engine in engines:
        engine.expect_given_up(last[engine.name])


@requirement("heartbeat.repeated-echo-harmless")
def test_an_echo_that_comes_many_times_is_one_beat(controller: Controller) -> None:
    engine = controller.engine().registered()
    heart, timing = engine.scripted_heart, controller.timing
    ping = heart.expect_ping()
    last = heart.fall_silent()
    # If each of them were worth a beat of its own, the engine would be kept for longer than the margin.
    for _ in range(timing.margin // timing.heartbeat_period + 4):
        heart.send(ping.frames, "the same answer again")
    engine.expect_given_up(last)


@requirement("heartbeat.identity-names-heart")
def test_a_beat_counts_for_the_identity_it_comes_from(controller: Controller) -> None:
    beating, silent = controller.engine().registered(), controller.engine().registered()
    last = silent.scripted_heart.fall_silent()
    heart, other = beating.scripted_heart, silent.uuid.encode()

    def beat_for_both(frames: Sequence[Frame]) -> Sequence[Frame]:
        heart.send([other, *frames], "names another heart in a frame")
        return frames

    heart.answer = beat_for_both
    silent.expect_given_up(last)
    beating.expect_kept(0)


# -- hearts that stop --------------------------------------------------------------------------------------------------


@requirement("heartbeat.silent-engine-removed", "heartbeat.removal-not-early", "heartbeat.removal-in-time")
def test_an_engine_whose_heart_falls_silent_is_given_up_in_time_and_not_early(controller: Controller) -> None:
    engine = controller.engine().registered()
    engine.scripted_heart.expect_ping()
    last = engine.scripted_heart.fall_silent()
    gone = controller.notifications.expect(
        "unregistration_notification", within=2 * controller.timing.heart_failure[1] + controller.timing.reply_deadline,
        uuid=engine.uuid, id=engine.id, requirement="heartbeat.silent-engine-removed",
    )  # fmt: skip
    soonest, latest = controller.timing.heart_failure
    waited = gone.now - last
    found = f"given up {waited / SECOND:.3f} s after its last beat"
    # A ping that was sent late does not shift those after it: hence half a period. One that came late was sent before.
    if waited + engine.scripted_heart.late < soonest - controller.timing.heartbeat_period // 2:
        controller.expect_steady(last, soonest)
        violate(found, f"not before {soonest / SECOND:.3f} s", requirement="heartbeat.removal-not-early")
    if waited - controller.world.hindered(last) > latest + controller.timing.margin:
        violate(found, f"within {latest / SECOND:.3f} s, or a little later", requirement="heartbeat.removal-in-time")


@requirement("heartbeat.silent-engine-removed")
def test_an_engine_whose_heart_is_disconnected_is_given_up(controller: Controller) -> None:
    engine = controller.engine().registered()
    engine.stop_heart()
    engine.expect_given_up(controller.world.now)
    if engine.uuid in controller.client().engines().values():
        violate(f"engine {engine.id} still stands in connection_reply", "an engine set without it")


@requirement("heartbeat.tracks-each-engine")
def test_the_silence_of_one_heart_has_no_consequence_for_others(controller: Controller) -> None:
    first, silent, last = (controller.engine().registered() for _ in range(3))
    silent.expect_given_up(silent.scripted_heart.fall_silent())
    expect_all_kept(controller, [first, last], 2 * controller.timing.heartbeat_period)


@requirement("heartbeat.no-revival-without-registration")
def test_a_heart_that_beats_again_does_not_bring_its_engine_back(controller: Controller) -> None:
    engine = controller.engine().registered()
    heart = engine.scripted_heart
    engine.expect_given_up(heart.fall_silent(), requirement="heartbeat.silent-engine-removed")
    heart.beat_again()
    heart.expect_pings(2)
    controller.notifications.barrier()
    announced = controller.notifications.of("registration_notification", uuid=engine.uuid)
    if len(announced) != 1:
        violate(f"{engine.uuid} was announced again without a registration", "nothing", evidence=(announced[-1].seq,))
    if engine.uuid in controller.client().engines().values():
        violate(f"{engine.uuid} stands in connection_reply again", "an engine set without it")


# -- strangers and nonsense --------------------------------------------------------------------------------------------


def expect_never_named(controller: Controller, heart: Heart, uuid: str) -> None:
    """Nobody may hear of this uuid, in a notification or in a reply."""
    controller.notifications.barrier()
    for msg_type in ("registration_notification", "unregistration_notification"):
        for seen in controller.notifications.of(msg_type, uuid=uuid):
            violate(f"{msg_type} of {uuid}, which never registered", "nothing", evidence=(seen.seq,))
    if uuid in controller.client().engines().values():
        violate(f"{uuid} stands in connection_reply, and never registered", "registered engines only")
    assert heart.answered


@requirement("heartbeat.unknown-heart-ignored")
def test_a_heart_that_nobody_registered_makes_no_engine(controller: Controller) -> None:
    uuid = f"{controller.token}-stranger"
    heart = controller.heart(uuid)
    heart.expect_pings(3)
    expect_never_named(controller, heart, uuid)


@requirement("heartbeat.unknown-heart-ignored")
def test_the_end_of_a_heart_that_nobody_registered_is_no_news(controller: Controller) -> None:
    uuid = f"{controller.token}-stranger"
    heart = controller.heart(uuid)
    heart.expect_pings(3)
    heart.fall_silent()
    controller.let_pass(controller.timing.heart_failure[1] + controller.timing.heartbeat_period)
    expect_never_named(controller, heart, uuid)


NONSENSE: dict[str, tuple[bytes, ...]] = {
    "an empty frame": (b"",),
    "two empty frames": (b"", b""),
    "a hundred frames": (b"x",) * 100,
    "bytes that are no text": (b"\xff\xfe\x00",),
    "a huge frame": (b"1" * (8 << 20),),
    "something like a message": (DELIMITER, b"", b"{}", b"{}", b"{}", b"{}"),
    "a number that is no ping": (b"1e999",),
}


@destructive("it sends what would be too much for some")
@requirement("heartbeat.malformed-pong-harmless")
@pytest.mark.parametrize("sender", ["an engine", "a stranger"])
def test_nonsense_instead_of_a_beat_harms_nobody(controller: Controller, sender: str) -> None:
    good = controller.engine().registered()
    bad = controller.engine().registered().scripted_heart if sender == "an engine" else controller.heart()
    bad.expect_ping()
    for what, frames in NONSENSE.items():
        bad.send(frames, what)
    good.scripted_heart.expect_pings(2)
    good.expect_kept(controller.timing.heart_failure[1])


# -- load --------------------------------------------------------------------------------------------------------------


@destructive("it floods the Hub")
@requirement("heartbeat.pings-survive-hub-load")
def test_heavy_traffic_costs_no_engine(controller: Controller) -> None:
    engines = [controller.engine().registered(has_device_heart=True) for _ in range(3)]
    client = controller.client()
    listener = controller.heart(answer=no_answer)
    listener.expect_ping()
    # Of these engines alone: what earlier cases left behind would only make the answers long.
    targets = [engine.id for engine in engines]
    requests = [client.send("queue_request", {"targets": targets, "verbose": True}) for _ in range(1000)]
    # One by one: how long a thousand answers may take in all is nobody's demand.
    for request in requests:
        client.answer_to(request)
    listener.expect_ping()
    expect_all_kept(controller, engines, controller.timing.heart_failure[1])

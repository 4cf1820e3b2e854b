"""Broadcast: one request for many engines, spread through a tree of schedulers, and their replies on the way back.

Source: ipyparallel documentation, "BroadcastView"; measured on ipyparallel 9.2.0.
"""

from collections.abc import Callable, Sequence

import pytest

from conformance.harness.actors import APPLY_BUFFERS, Client, Engine
from conformance.harness.case import needs, requirement, settings
from conformance.harness.controller import Controller
from conformance.harness.queues import body
from conformance.harness.verdict import violate
from protocol.wire import DELIMITER, Json, Message
from protocol.world import Observation

pytestmark = needs("broadcast")

UNKNOWN = "nobody-has-this"


class Cast:
    """Engines at the leaves and a client at the root; every engine keeps what it is given until a case takes it."""

    def __init__(self, controller: Controller, engines: int = 3) -> None:
        self.controller = controller
        self.client = controller.client()
        self.engines = [controller.engine().with_shell("broadcast").registered() for _ in range(engines)]

    def send(
        self,
        targets: Sequence[Engine] | object = None,
        *,
        is_coalescing: bool = False,
        client: Client | None = None,
        why: str | None = None,
        buffers: tuple[bytes, ...] = APPLY_BUFFERS,
    ) -> Message:
        """Ask all engines, or these; a list of pairs stands for itself."""
        named = self.engines if targets is None else targets
        assert isinstance(named, list)
        pairs = [[each.uuid, each.id] if isinstance(each, Engine) else each for each in named]
        metadata = {"targets": pairs, "is_broadcast": True, "is_coalescing": is_coalescing}
        return (client or self.client).submit(None, channel="broadcast", metadata=metadata, why=why, buffers=buffers)

    def given(self, engine: Engine, request: Message, *, requirement: str | None = None) -> Observation:
        """The next thing that an engine is given, which must stem from this request."""
        started, limit = self.controller.world.now, self.controller.timing.reply_deadline
        seen = engine.queue("broadcast").recv(started + limit)
        if seen is None:
            raise self.controller.silence(None, started, (f"the {request.msg_type} at {engine.name}",), requirement)
        if origin(metadata_of(seen)) != request.msg_id:
            violate(
                f"{engine.name} was given {metadata_of(seen)!r:.200}", f"what stems from {request.msg_id}",
                requirement=requirement, evidence=(seen.seq,),
            )  # fmt: skip
        return seen

    def answer(self, engine: Engine, seen: Observation, value: bytes = b"value") -> Message:
        """Answer what an engine was given, with this result."""
        return engine.answer(seen, channel="broadcast", buffers=(value,))

    def reply(self, request: Message, *, client: Client | None = None, requirement: str | None = None) -> Observation:
        """The next thing that the client receives, which must answer this request."""
        started, limit = self.controller.world.now, self.controller.timing.reply_deadline
        receiver = client or self.client
        seen = receiver.queue("broadcast").recv(started + limit)
        if seen is None:
            raise self.controller.silence(request, started, ("a reply",), requirement)
        if origin(metadata_of(seen)) != request.msg_id:
            violate(
                f"{receiver.name} was given {metadata_of(seen)!r:.200}", f"what answers {request.msg_id}",
                requirement=requirement, evidence=(seen.seq,),
            )  # fmt: skip
        return seen

    def expect_working(self, *, requirement: str | None = None) -> None:
        """A broadcast to all must reach each engine next, and each reply the client."""
        request = self.send()
        for engine in self.engines:
            self.answer(engine, self.given(engine, request, requirement=requirement))
        for _ in self.engines:
            self.reply(request, requirement=requirement)


def metadata_of(seen: Observation) -> Json:
    if seen.message is None:
        violate("a message that cannot be read", "one that is signed", requirement="broadcast.re-signed")
    return seen.message.metadata


def origin(metadata: Json) -> object:
    return metadata.get("original_msg_id")


def who(seen: Observation) -> object:
    return metadata_of(seen).get("engine")


@pytest.fixture
def cast(controller: Controller) -> Cast:
    return Cast(controller)


@requirement("broadcast.reaches-each-target")
def test_a_broadcast_reaches_each_target_once_and_nobody_else(cast: Cast) -> None:
    first, other, last = cast.engines
    request, marker = cast.send([first, last]), cast.send()
    for engine in (first, last):
        cast.given(engine, request)
    for engine in (first, other, last):
        cast.given(engine, marker)


@requirement("broadcast.reaches-each-target")
def test_every_engine_is_reached_whatever_its_id(controller: Controller) -> None:
    cast = Cast(controller, engines=9)
    cast.expect_working()
    for engine in cast.engines:
        cast.given(engine, cast.send([engine]))


@requirement("broadcast.reply-per-target", "broadcast.original-id")
def test_the_client_gets_one_reply_of_each_target(cast: Cast) -> None:
    request = cast.send()
    for number, engine in enumerate(reversed(cast.engines)):
        cast.answer(engine, cast.given(engine, request), b"%d" % number)
    replies = [cast.reply(request) for _ in cast.engines]
    found = sorted((str(who(seen)), body(seen.frames)[5:]) for seen in replies)
    wanted = sorted((engine.uuid, [b"%d" % number]) for number, engine in enumerate(reversed(cast.engines)))
    if found != wanted:
        violate(f"the replies {found}", f"{wanted}", requirement="broadcast.reply-per-target")
    # Whatever else had come would come before these.
    cast.expect_working(requirement="broadcast.reply-per-target")


@requirement("broadcast.original-id")
def test_two_clients_get_the_replies_to_their_own_broadcasts(cast: Cast) -> None:
    other = cast.controller.client()
    mine, theirs = cast.send(), cast.send(client=other)
    for engine in cast.engines:
        first, second = engine.take("broadcast"), engine.take("broadcast")
        cast.answer(engine, second)
        cast.answer(engine, first)
    for _ in cast.engines:
        cast.reply(mine)
        cast.reply(theirs, client=other)


@requirement("broadcast.ids-distinct", "broadcast.re-signed")
def test_each_copy_has_an_id_of_its_own_and_a_valid_signature(cast: Cast) -> None:
    request = cast.send()
    ids = [request.msg_id]
    for engine in cast.engines:
        seen = cast.given(engine, request)
        assert seen.message is not None
        ids.append(seen.message.msg_id)
        cast.answer(engine, seen)
    if len(set(ids)) < len(ids):
        violate(f"the ids {ids}", "different ones", requirement="broadcast.ids-distinct")
    for _ in cast.engines:
        if cast.reply(request).message is None:
            violate("a reply that cannot be read", "one that is signed", requirement="broadcast.re-signed")


BUFFERS: dict[str, Callable[[], tuple[bytes, ...]]] = {
    "empty ones": lambda: (b"", b""),
    "one like the delimiter": lambda: (b"x", DELIMITER, b"y"),
    "2,000 of them": lambda: tuple(b"%d" % number for number in range(2000)),
    "one of 4 MB": lambda: (b"f", bytes(4_000_000)),
}


@requirement("broadcast.buffers-unchanged")
@pytest.mark.parametrize("buffers", BUFFERS.values(), ids=BUFFERS)
def test_content_and_buffers_arrive_as_sent(cast: Cast, buffers: Callable[[], tuple[bytes, ...]]) -> None:
    request = cast.send(buffers=buffers())
    sent = body(cast.controller.codec.encode(request))
    for engine in cast.engines:
        if body(cast.given(engine, request).frames)[4:] != sent[4:]:
            violate(f"other content or buffers at {engine.name}", "those that were sent")


# -- coalescing --------------------------------------------------------------------------------------------------------


@requirement("broadcast.coalesced-single-reply")
def test_with_coalescing_one_reply_comes_when_the_last_target_has_answered(cast: Cast) -> None:
    request = cast.send(is_coalescing=True)
    given = {engine: cast.given(engine, request) for engine in cast.engines}
    *first, last = cast.engines
    for engine in first:
        cast.answer(engine, given[engine])
    # The tree has read all that when the replies to a later broadcast are here; nothing may have come before them.
    marker = cast.send(first)
    for engine in first:
        cast.answer(engine, cast.given(engine, marker))
    for _ in first:
        cast.reply(marker)
    cast.answer(last, given[last])
    cast.reply(request)
    cast.expect_working()


@requirement("broadcast.coalesced-buffers")
def test_a_coalesced_reply_has_the_buffers_of_all_in_the_order_of_its_targets(cast: Cast) -> None:
    request = cast.send(is_coalescing=True)
    for engine in reversed(cast.engines):
        cast.answer(engine, cast.given(engine, request), engine.uuid.encode())
    reply = cast.reply(request)
    named = metadata_of(reply).get("broadcast_targets")
    buffers = [frame.decode() for frame in body(reply.frames)[5:]]
    if not isinstance(named, list) or sorted(buffers) != sorted(engine.uuid for engine in cast.engines):
        violate(f"the buffers {buffers} for {named!r}", "one buffer of each target")
    uuids = [each[0] if isinstance(each, list) and each else each for each in named]
    if uuids != buffers:
        violate(f"the buffers of {buffers} for {uuids}", "the same order")


FAILURE = {"status": "error", "ename": "ZeroDivisionError", "evalue": "division by zero", "traceback": []}


@requirement("broadcast.coalesced-error")
def test_a_target_that_fails_does_not_keep_the_coalesced_reply(cast: Cast) -> None:
    request = cast.send(is_coalescing=True)
    for number, engine in enumerate(cast.engines):
        seen = cast.given(engine, request)
        if number == 1:
            engine.answer(seen, channel="broadcast", content=FAILURE)
        else:
            cast.answer(engine, seen)
    cast.reply(request)


@requirement("broadcast.coalesced-error")
def test_a_target_that_dies_does_not_keep_the_coalesced_reply(cast: Cast) -> None:
    request = cast.send(is_coalescing=True)
    given = {engine: cast.given(engine, request) for engine in cast.engines}
    die(cast, cast.engines[1])
    for engine in (cast.engines[0], cast.engines[2]):
        cast.answer(engine, given[engine])
    cast.reply(request)


# -- who is not there --------------------------------------------------------------------------------------------------


def die(cast: Cast, engine: Engine) -> None:
    engine.unregister()
    cast.controller.notifications.expect(
        "unregistration_notification", uuid=engine.uuid, requirement="registration.unregistration-honoured"
    )
    engine.disconnect("broadcast")


@requirement("broadcast.dead-target")
def test_a_target_that_dies_does_not_keep_the_replies_of_the_others(cast: Cast) -> None:
    request = cast.send()
    given = {engine: cast.given(engine, request) for engine in cast.engines}
    dead = cast.engines.pop(1)
    die(cast, dead)
    for engine in cast.engines:
        cast.answer(engine, given[engine])
    expect_from(cast, request, cast.engines, other=dead.name)


@requirement("broadcast.dead-target")
def test_a_target_that_is_gone_keeps_nobody_from_running(cast: Cast) -> None:
    dead = cast.engines.pop(0)
    die(cast, dead)
    left = cast.engines
    request = cast.send([[dead.uuid, dead.id], *left])
    for engine in left:
        cast.answer(engine, cast.given(engine, request))
    expect_from(cast, request, left, other=dead.name)


@requirement("broadcast.unknown-engine")
def test_unknown_targets_keep_nobody_from_running(cast: Cast) -> None:
    first, *left = cast.engines
    request = cast.send([[UNKNOWN, first.id], first, [UNKNOWN, 1_000_000], *left])
    for engine in cast.engines:
        cast.answer(engine, cast.given(engine, request))
    expect_from(cast, request, cast.engines, other=UNKNOWN)


def expect_from(cast: Cast, request: Message, alive: Sequence[Engine], *, other: str) -> None:
    """The replies of those who live; an answer for the dead or unknown `other` may stand between them."""
    waiting = {engine.uuid for engine in alive}
    for _ in range(len(alive) + 4):
        waiting.discard(str(who(cast.reply(request))))
        if not waiting:
            return
    violate(f"no reply of {sorted(waiting)}", f"one each, whatever comes for {other}")


@requirement("broadcast.empty-targets")
@pytest.mark.parametrize("is_coalescing", [False, True], ids=["each reply", "coalescing"])
def test_a_broadcast_to_nobody_reaches_nobody_and_stops_nothing(cast: Cast, is_coalescing: bool) -> None:
    nothing = cast.send([], is_coalescing=is_coalescing)
    request = cast.send()
    for engine in cast.engines:
        cast.answer(engine, cast.given(engine, request))
    expect_replies(cast, request, nothing)


def expect_replies(cast: Cast, request: Message, *tolerated: Message) -> None:
    """A reply of each engine; answers to what was wrong may stand between them."""
    left = len(cast.engines)
    started, limit = cast.controller.world.now, cast.controller.timing.reply_deadline
    while left:
        seen = cast.client.queue("broadcast").recv(started + limit)
        if seen is None:
            raise cast.controller.silence(request, started, ("one reply of each engine",), None)
        message = seen.message
        parent = message.parent_header.get("msg_id") if message else None
        if message and origin(message.metadata) == request.msg_id:
            left -= 1
        elif parent not in {each.msg_id for each in tolerated}:
            violate(f"a reply to {parent}", f"replies to {request.msg_id}", evidence=(seen.seq,))


WRONG: dict[str, object] = {
    "nothing": {},
    "no targets": {"is_broadcast": True, "is_coalescing": False},
    "no coalescing": {"is_broadcast": True, "targets": []},
    "null": {"targets": None, "is_coalescing": False},
    "a string": {"targets": "all", "is_coalescing": False},
    "numbers": {"targets": [1, 2], "is_coalescing": False},
    "short pairs": {"targets": [["x"]], "is_coalescing": False},
    "ids that are none": {"targets": [["x", "y"], ["x", None]], "is_coalescing": True},
    "a negative id": {"targets": [["x", -1]], "is_coalescing": False},
}


@requirement("broadcast.targets-required")
@pytest.mark.parametrize("metadata", WRONG.values(), ids=WRONG)
def test_targets_that_cannot_be_read_stop_nothing(cast: Cast, metadata: object) -> None:
    wrong = cast.client.submit(None, channel="broadcast", metadata=metadata, why="targets that nobody can read")
    request = cast.send()
    for engine in cast.engines:
        cast.answer(engine, cast.given(engine, request))
    expect_replies(cast, request, wrong)


@requirement("broadcast.targets-required")
@pytest.mark.parametrize(
    "garbage",
    [[b""], [b"garbage"], [b"a", b"b", b"c"], [DELIMITER], [DELIMITER, b"0" * 64, b"{}", b"{}", b"{}", b"{}"]],
    ids=["an empty frame", "a frame", "three frames", "a delimiter", "a wrong signature"],
)
def test_garbage_from_either_side_stops_nothing(cast: Cast, garbage: list[bytes]) -> None:
    cast.client.queue("broadcast").send_raw(garbage, "garbage from a client")
    request = cast.send()
    for engine in cast.engines:
        given = cast.given(engine, request)
        relay = bytes(given.frames[0])
        for front in ([relay], list(map(bytes, given.frames[: len(given.frames) - len(body(given.frames)) - 1]))):
            engine.queue("broadcast").send_raw([*front, *garbage], "garbage from an engine")
        cast.answer(engine, given)
    expect_replies(cast, request)


# -- the tree ----------------------------------------------------------------------------------------------------------


@requirement("broadcast.tree-layout-free", "broadcast.reaches-each-target")
@pytest.mark.parametrize("depth", [pytest.param(depth, marks=settings(broadcast_depth=depth)) for depth in (0, 2)])
def test_a_tree_of_any_depth_reaches_every_engine(controller: Controller, depth: int) -> None:
    leaves = controller.engine_file.addresses("broadcast")
    if len(leaves) != 2**depth:
        violate(f"{len(leaves)} leaves at depth {depth}", f"{2**depth}, one port each")
    cast = Cast(controller, engines=5)
    cast.expect_working(requirement="broadcast.reaches-each-target")
    request = cast.send(is_coalescing=True)
    for engine in cast.engines:
        cast.answer(engine, cast.given(engine, request))
    cast.reply(request, requirement="broadcast.coalesced-single-reply")

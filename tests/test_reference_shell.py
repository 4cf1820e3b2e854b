"""The shell around a role: what it hands over, what it carries out, and what an exception costs."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import pytest
import zmq

from conformance.reference.env import Log, RealEnv
from conformance.reference.shell import BATCH, Loop, Shell
from conformance.reference.sockets import make
from protocol.channels import socket_for
from protocol.messages import build
from protocol.roles.base import (
    Arrived,
    Effect,
    Event,
    Exit,
    Fired,
    Forward,
    Found,
    Malformed,
    Persist,
    Query,
    Raw,
    Role,
    Send,
    SendRaw,
    SetTimer,
    SocketSpec,
    Started,
    Stopping,
    Store,
    Unreachable,
)
from protocol.roles.matching import QueryError
from protocol.wire import Codec, ReplayMemory
from protocol.world import MILLISECOND, SECOND

KEY = b"the key of the test"
SECRET = "nobody may read this"


class Scripted(Role):
    """Does what the test says, and remembers what it was handed."""

    NAME = "hub"
    SOCKETS: ClassVar = {
        "query": SocketSpec("query"),
        "pong": SocketSpec("heartbeat-pong"),
        "out": SocketSpec("query"),
        "watch": SocketSpec("monitor"),
    }

    def __init__(self, answer: Callable[[Event], Sequence[Effect]] = lambda _: ()) -> None:
        self.answer = answer
        self.events: list[Event] = []

    def handle(self, now: int, event: Event) -> Sequence[Effect]:  # noqa: ARG002
        self.events.append(event)
        return self.answer(event)

    def freeze(self) -> tuple[Any, ...]:
        return ()

    def thaw(self, frozen: tuple[Any, ...]) -> None:
        pass

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if type(event) is kind]


class Bench:
    """One shell with a ROUTER `query`, and a DEALER that talks to it."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
        self.context = context
        self.lines: list[str] = []
        self.log = Log("test", write=lambda line: self.lines.append(line.decode()))
        self.codec = Codec(KEY)
        self.sockets: list[zmq.Socket[bytes]] = []
        self.count = 0

    def socket(self, kind: int, **options: Any) -> "zmq.Socket[bytes]":
        socket = self.context.socket(kind)
        socket.linger = 0
        for name, value in options.items():
            setattr(socket, name, value)
        self.sockets.append(socket)
        return socket

    def pair(self, kind: int, other: int, **options: Any) -> "tuple[zmq.Socket[bytes], zmq.Socket[bytes]]":
        """Two connected sockets, the first bound."""
        self.count += 1
        ours, theirs = self.socket(kind), self.socket(other, **options)
        ours.bind(f"inproc://{self.count}")
        theirs.connect(f"inproc://{self.count}")
        return ours, theirs

    def shell(self, role: Role, sockets: "dict[str, zmq.Socket[bytes]]", **more: Any) -> tuple[Shell, Loop]:
        shell = Shell(role, sockets, Codec(KEY, replay=ReplayMemory()), log=self.log, **more)
        loop = Loop()
        loop.add(shell)
        return shell, loop

    def request(self, msg_type: str = "connection_request", **more: Any) -> list[Any]:
        self.count += 1
        return self.codec.encode(build(msg_type, {"text": SECRET}, msg_id=f"m{self.count}", **more))


@pytest.fixture
def bench() -> Iterator[Bench]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    bench = Bench(context)
    yield bench
    for socket in bench.sockets:
        socket.close(linger=0)
    context.term()


def soon() -> int:
    return time.monotonic_ns() + 5 * SECOND


def test_a_message_is_handed_over_and_the_answer_is_signed(bench: Bench) -> None:
    def answer(event: Event) -> Sequence[Effect]:
        if isinstance(event, Arrived):
            return (Send("query", build("connection_reply", msg_id="r", identities=event.message.identities)),)
        return ()

    role = Scripted(answer)
    ours, theirs = bench.pair(zmq.ROUTER, zmq.DEALER, routing_id=b"me")
    shell, loop = bench.shell(role, {"query": ours})
    shell.start("before")
    theirs.send_multipart(bench.request())
    loop.run(lambda: bool(theirs.poll(0)), soon())
    reply = bench.codec.open(theirs.recv_multipart())
    assert reply.msg_type == "connection_reply"
    assert role.events[0] == Started("before")
    assert role.of(Arrived)[0].message.identities == (b"me",)


def test_a_forwarded_message_keeps_its_signed_bytes(bench: Bench) -> None:
    def answer(event: Event) -> Sequence[Effect]:
        return (Forward("query", (b"other",), event.message),) if isinstance(event, Arrived) else ()

    ours, theirs = bench.pair(zmq.ROUTER, zmq.DEALER, routing_id=b"me")
    other = bench.socket(zmq.DEALER, routing_id=b"other")
    other.connect(ours.getsockopt_string(zmq.LAST_ENDPOINT))
    _, loop = bench.shell(Scripted(answer), {"query": ours})
    frames = bench.request(buffers=[b"one", b""])
    theirs.send_multipart(frames)
    loop.run(lambda: bool(other.poll(0)), soon())
    assert other.recv_multipart() == [bytes(frame) for frame in frames]


def test_a_role_is_told_whom_a_mandatory_socket_did_not_reach(bench: Bench) -> None:
    def answer(event: Event) -> Sequence[Effect]:
        if not isinstance(event, Arrived):
            return ()
        return (Forward("query", (b"nobody", b"x"), event.message), Forward("query", (b"me",), event.message))

    ours = make(bench.context, socket_for("task", "task-scheduler", side="engine"), is_mandatory=True)
    bench.sockets.append(ours)
    bench.count += 1
    ours.bind(f"inproc://{bench.count}")
    theirs = bench.socket(zmq.DEALER, routing_id=b"me")
    theirs.connect(f"inproc://{bench.count}")
    role = Scripted(answer)
    _, loop = bench.shell(role, {"query": ours})
    frames = bench.request()
    theirs.send_multipart(frames)
    loop.run(lambda: bool(theirs.poll(0)), soon())
    assert theirs.recv_multipart() == [bytes(frame) for frame in frames], "the other message is whole"
    (arrived,), (told,) = role.of(Arrived), role.of(Unreachable)
    assert told == Unreachable("query", b"nobody", arrived.message)
    assert not bench.lines


@pytest.mark.parametrize(
    ("frames", "rule"),
    [
        ([b"junk", SECRET.encode()], "wire.delimiter-present"),
        ([b"<IDS|MSG>", b"0" * 64, SECRET.encode(), b"{}", b"{}", b"{}"], "wire.signature-verified"),
    ],
)
def test_what_is_no_message_is_told_apart_and_never_quoted(bench: Bench, frames: list[bytes], rule: str) -> None:
    role = Scripted()
    ours, theirs = bench.pair(zmq.ROUTER, zmq.DEALER)
    _, loop = bench.shell(role, {"query": ours})
    for _ in range(12):
        theirs.send_multipart(frames)
    loop.run(lambda: len(role.events) == 12, soon())
    assert all(isinstance(event, Malformed) and rule in event.error.rules for event in role.events)
    # Once in full, and again when it has come ten times.
    assert len(bench.lines) == 2
    assert rule in bench.lines[0]
    assert "10 times" in bench.lines[1]
    assert SECRET not in "".join(bench.lines)


def test_a_message_is_accepted_once(bench: Bench) -> None:
    role = Scripted()
    ours, theirs = bench.pair(zmq.ROUTER, zmq.DEALER)
    _, loop = bench.shell(role, {"query": ours})
    frames = bench.request()
    theirs.send_multipart(frames)
    theirs.send_multipart(frames)
    loop.run(lambda: len(role.events) == 2, soon())
    assert [type(event) for event in role.events] == [Arrived, Malformed]
    assert role.events[1].error.rules == ("wire.replay-refused",)


def test_an_exception_costs_one_message_and_quotes_nothing(bench: Bench) -> None:
    role = Scripted()

    def answer(_: Event) -> Sequence[Effect]:
        if len(role.events) == 2:
            raise ValueError(SECRET)
        return ()

    role.answer = answer
    ours, theirs = bench.pair(zmq.ROUTER, zmq.DEALER)
    _, loop = bench.shell(role, {"query": ours})
    for _ in range(3):
        theirs.send_multipart(bench.request())
    loop.run(lambda: len(role.events) == 3, soon())
    assert len(role.of(Arrived)) == 3
    (line,) = bench.lines
    assert "ValueError" in line
    assert SECRET not in line


def test_an_effect_that_fails_does_not_take_the_others_with_it(bench: Bench) -> None:
    unsendable = build("connection_reply", {"text": object()}, msg_id="r", identities=[b"me"])

    def answer(event: Event) -> Sequence[Effect]:
        if not isinstance(event, Arrived):
            return ()
        good = build("connection_reply", msg_id=event.message.msg_id, identities=[b"me"])
        torn = build("connection_reply", msg_id="torn", identities=[b"me"], buffers=[b"x"])
        torn.buffers = ("no bytes",)  # type: ignore[assignment]
        return (Send("query", unsendable), Send("query", torn), Send("query", good))

    ours, theirs = bench.pair(zmq.ROUTER, zmq.DEALER, routing_id=b"me")
    _, loop = bench.shell(Scripted(answer), {"query": ours})
    frames = bench.request()
    theirs.send_multipart(frames)
    got: list[list[bytes]] = []

    def is_complete() -> bool:
        while theirs.poll(0):
            got.append(theirs.recv_multipart())
        return len(got) == 2

    loop.run(is_complete, soon())
    # The torn one was ended, so that the good one does not become part of it.
    assert bench.codec.open(got[1]).msg_id == bench.codec.open([bytes(frame) for frame in frames]).msg_id
    assert len(bench.lines) == 2


def test_timers_run_out_in_their_order(bench: Bench) -> None:
    start = time.monotonic_ns()

    def answer(event: Event) -> Sequence[Effect]:
        if isinstance(event, Started):
            return (
                SetTimer("late", start + 30 * MILLISECOND, 1),
                SetTimer("early", start + 10 * MILLISECOND, 2),
                SetTimer("at once", start, 3),
            )
        return (Exit(4),) if event == Fired("late", 1) else ()

    role = Scripted(answer)
    shell, loop = bench.shell(role, {})
    shell.start()
    assert loop.run(deadline=soon()) == 4
    assert role.events[1:] == [Fired("at once", 3), Fired("early", 2), Fired("late", 1)]
    assert time.monotonic_ns() - start >= 30 * MILLISECOND


def test_what_waits_on_a_raw_socket_comes_before_the_timer(bench: Bench) -> None:
    role = Scripted()
    ours, theirs = bench.pair(zmq.ROUTER, zmq.DEALER, routing_id=b"heart")
    shell, loop = bench.shell(role, {"pong": ours})
    count = 3 * BATCH
    for _ in range(count):
        theirs.send(b"1.5")
    shell._carry[SetTimer](SetTimer("beat", 0))
    loop.turn()
    assert role.events == [Raw("pong", (b"heart", b"1.5"))] * count + [Fired("beat", 0)]


def test_a_subscription_is_handed_over_raw(bench: Bench) -> None:
    role = Scripted()
    ours, theirs = bench.pair(zmq.XPUB, zmq.SUB)
    _, loop = bench.shell(role, {"watch": ours})
    theirs.subscribe(b"")
    loop.run(lambda: bool(role.events), soon())
    assert role.events == [Raw("watch", (b"\x01",))]


def test_what_nobody_can_take_yet_is_kept_in_order(bench: Bench) -> None:
    ours = bench.socket(zmq.DEALER)
    ours.bind("inproc://later")
    shell, loop = bench.shell(Scripted(), {"pong": ours})
    texts = [b"%d" % number for number in range(5)]
    for text in texts:
        shell._carry[SendRaw](SendRaw("pong", (text, b"end")))
    assert len(shell.links["pong"].pending) == 5
    loop.turn()
    theirs = bench.socket(zmq.DEALER)
    theirs.connect("inproc://later")
    got: list[bytes] = []

    def is_complete() -> bool:
        while theirs.poll(0):
            got.append(theirs.recv_multipart()[0])
        return len(got) == 5

    loop.run(is_complete, soon())
    assert got == texts
    assert not shell.links["pong"].pending


class Book:
    """Records that remember what they were asked, in order."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.calls.append((name, *arguments))
            if arguments == ("bad",):
                raise QueryError("no such operator")
            if arguments == ("broken",):
                raise RuntimeError(SECRET)
            return [{"msg_id": "m"}]

        return call


def test_the_store_is_asked_at_once_and_made_durable_before(bench: Bench) -> None:
    def answer(event: Event) -> Sequence[Effect]:
        if isinstance(event, Started):
            return (Store("add_record", ("m",)), Query(1, "find", ("good",)), Query(2, "find", ("bad",)))
        return (Query(3, "find", ("broken",)),) if isinstance(event, Found) and event.token == 2 else ()

    role = Scripted(answer)
    book = Book()
    shell, _ = bench.shell(role, {}, records=book)
    shell.start()
    assert book.calls == [("add_record", "m"), ("flush",), ("find", "good"), ("find", "bad"), ("find", "broken")]
    good, bad, broken = role.of(Found)
    assert good == Found(1, [{"msg_id": "m"}])
    assert bad == Found(2, (), "no such operator")
    assert broken.error
    assert SECRET not in broken.error + "".join(bench.lines)


def test_what_was_stored_is_durable_within_100_ms(bench: Bench) -> None:
    book = Book()
    shell, loop = bench.shell(Scripted(), {}, records=book)
    start = time.monotonic_ns()
    shell._carry[Store](Store("add_record", ("m",)))
    loop.run(lambda: ("flush",) in book.calls, soon())
    assert book.calls == [("add_record", "m"), ("flush",)]
    assert shell.due > start + SECOND


def test_a_state_to_keep_reaches_the_keeper(bench: Bench) -> None:
    kept: list[Any] = []
    shell, _ = bench.shell(Scripted(lambda _: (Persist({"n": 1}),)), {}, persist=kept.append)
    shell.start()
    assert kept == [{"n": 1}]


def test_a_role_that_has_ended_is_handed_nothing(bench: Bench) -> None:
    role = Scripted(lambda event: (Exit(),) if isinstance(event, Stopping) else ())
    shell, loop = bench.shell(role, {})
    shell.stop()
    shell.start()
    assert role.events == [Stopping()]
    assert loop.run() == 0


def test_an_identity_that_returns_takes_its_place(bench: Bench) -> None:
    ours = make(bench.context, socket_for("query", "hub"))
    bench.sockets.append(ours)
    ours.bind("tcp://127.0.0.1:*")
    address = ours.getsockopt_string(zmq.LAST_ENDPOINT)
    first, second = (bench.socket(zmq.DEALER, routing_id=b"engine") for _ in range(2))
    for socket in (first, second):
        # The first connection is still open, as after a cut that nobody has noticed yet.
        socket.connect(address)
        socket.send(b"hello")
        assert ours.recv_multipart() == [b"engine", b"hello"]
    ours.send_multipart([b"engine", b"answer"])
    assert second.poll(5000)


def test_dates_are_in_order_and_in_one_form() -> None:
    env = RealEnv("session")
    now = time.monotonic_ns()
    dates = [env.date(now + step * 250 * MILLISECOND) for step in range(9)]
    assert dates == sorted(dates)
    assert {len(date) for date in dates} == {len("2026-01-05T12:00:00.000000Z")}
    assert all(date.endswith("Z") for date in dates)


def test_ids_are_numbered_behind_session_and_process() -> None:
    env = RealEnv("session")
    first, second = env.fresh_id(), env.fresh_id()
    assert first.startswith("session_")
    assert [each.rpartition("_")[2] for each in (first, second)] == ["0", "1"]
    assert RealEnv().session != RealEnv().session


def test_chance_stays_within_its_bounds() -> None:
    env = RealEnv()
    assert {env.random(3) for _ in range(200)} == {0, 1, 2}

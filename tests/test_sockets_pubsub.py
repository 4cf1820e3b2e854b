"""Rows 1 to 28 of what was measured on libzmq 4.3.5: PUB, SUB, XPUB and XSUB."""

from typing import Any

import pytest
from socket_world import IN, TCP, Sockets, Table, drain, is_ready, meet, numbers, one, sent

from simulator.sockets import POLLIN, Errno, Quirks, Socket

ROWS = Table()
row = ROWS.row


def topics(sub: Socket, *prefixes: bytes) -> Socket:
    for prefix in prefixes:
        sub.set("SUBSCRIBE", prefix)
    return sub


def publish(pub: Socket, *messages: bytes) -> None:
    for message in messages:
        assert pub.send((message,)) is None


@row(1, "SUB without subscription receives nothing", [])
def _(s: Sockets) -> object:
    pub, sub = s.new("PUB", bind=TCP), s.new("SUB", "b", connect=TCP)
    meet(s, pub, sub)
    publish(pub, b"a")
    s.settle()
    return drain(sub)


@row(2, "prefix match is binary, on the first frame only", [[b"abc", b"1"], [b"ab", b"2"]])
def _(s: Sockets) -> object:
    pub, sub = s.new("PUB", bind=IN), topics(s.new("SUB", connect=IN), b"ab")
    for message in ((b"abc", b"1"), (b"ab", b"2"), (b"a", b"ab"), (b"x", b"ab")):
        pub.send(message)
    return drain(sub)


@row(3, "slow joiner: what is sent right after SUB.connect() is lost", [[b"late"]])
def _(s: Sockets) -> object:
    pub, sub = s.new("PUB", bind=TCP), topics(s.new("SUB", "b", connect=TCP), b"")
    publish(pub, b"early")
    meet(s, pub, sub)
    publish(pub, b"late")
    s.settle()
    return drain(sub)


@row(4, "inproc has no slow joiner", [[b"early"], [b"late"]])
def _(s: Sockets) -> object:
    pub, sub = s.new("PUB", bind=IN), topics(s.new("SUB"), b"")
    sub.connect(IN)
    publish(pub, b"early", b"late")
    return drain(sub)


@row(5, "PUB without subscribers: sent, and dropped", ("sent", []))
def _(s: Sockets) -> object:
    pub = s.new("PUB", bind=IN)
    outcome = sent(pub.send((b"x",)))
    return outcome, drain(topics(s.new("SUB", connect=IN), b""))


def crowded(s: Sockets, count: int = 100) -> tuple[Socket, Socket]:
    pub = s.new("PUB", bind=IN, SNDHWM=10)
    sub = topics(s.new("SUB", connect=IN, RCVHWM=7), b"")
    assert all(pub.send((b"%d" % number,)) is None for number in range(count))
    return pub, sub


@row(6, "inproc PUB with marks 10 and 7: exactly 17 kept, the newest dropped", (17, True))
def _(s: Sockets) -> object:
    _, sub = crowded(s)
    kept = numbers(drain(sub))
    return len(kept), kept == list(range(17))


@row(7, "what is dropped is a gap: when the reader has drained, later messages flow", ([*range(17)], [100, 101]))
def _(s: Sockets) -> object:
    pub, sub = crowded(s)
    before = numbers(drain(sub))
    pub.events()
    publish(pub, b"100", b"101")
    return before, numbers(drain(sub))


@row(8, "reads before a full pipe opens again, marks 10 and 10", 10)
def _(s: Sockets) -> object:
    pub = s.new("PUB", bind=IN, SNDHWM=10)
    sub = topics(s.new("SUB", RCVHWM=10), b"")
    sub.connect(IN)
    for number in range(30):
        pub.send((b"%d" % number,))
    for reads in range(1, 21):
        one(sub)
        pub.events()
        pub.send((b"%d" % (100 + reads),))
        if sub.pipes[0].queue[-1] == (b"%d" % (100 + reads),):
            return reads
    return None


@row(9, "tcp PUB overload: never blocks, loses, and what comes is a contiguous prefix", (True, True, True))
def _(s: Sockets) -> object:
    pub = s.new("PUB", bind=TCP, SNDHWM=10)
    sub = topics(s.new("SUB", "b", connect=TCP, RCVHWM=10), b"")
    meet(s, pub, sub)
    never_blocked = all(pub.send((b"%d" % number,)) is None for number in range(20_000))
    s.settle()
    got = numbers(drain(sub))
    return never_blocked, 0 < len(got) < 20_000, got == list(range(len(got)))


@row(10, "a drop never splits a message", True)
def _(s: Sockets) -> object:
    pub = s.new("PUB", bind=IN, SNDHWM=3)
    sub = topics(s.new("SUB", RCVHWM=2), b"")
    sub.connect(IN)
    for number in range(20):
        for index in range(4):
            pub.send_frame(b"%d" % number, index < 3)
    return [len(message) for message in drain(sub)] == [4] * 5


@row(11, "subscriptions are counted: twice on, once off is still on", ([[b"a1"]], []))
def _(s: Sockets) -> object:
    pub, sub = s.new("PUB", bind=IN), topics(s.new("SUB", connect=IN), b"a", b"a")
    sub.set("UNSUBSCRIBE", b"a")
    pub.events()
    publish(pub, b"a1")
    first = drain(sub)
    sub.set("UNSUBSCRIBE", b"a")
    pub.events()
    publish(pub, b"a2")
    return first, drain(sub)


@row(12, "overlapping prefixes deliver one copy", [[b"abc"]])
def _(s: Sockets) -> object:
    pub, sub = s.new("PUB", bind=IN), topics(s.new("SUB", connect=IN), b"", b"a", b"ab", b"abc")
    publish(pub, b"abc")
    return drain(sub)


def after_a_restart(s: Sockets, *, is_idle: bool) -> Any:
    pub, sub = s.new("PUB", bind=TCP), topics(s.new("SUB", "b", connect=TCP), b"")
    meet(s, pub, sub)
    publish(pub, b"1")
    s.settle()
    first = [] if is_idle else drain(sub)
    s.restart("a")
    s.settle()
    if not is_idle:
        first += drain(sub)
    again = s.new("PUB", bind=TCP)
    again.send((b"2",))
    for _ in range(3):
        s.settle()
        again.events()
    publish(again, b"3")
    s.settle()
    return drain(sub) if is_idle else (first, drain(sub))


@row(13, "publisher restarts, the subscriber's thread stands still: it does not subscribe again", [[b"1"]])
def _(s: Sockets) -> object:
    return after_a_restart(s, is_idle=True)


@row(14, "publisher restarts, the subscriber's thread comes by: it subscribes again", ([[b"1"]], [[b"3"]]))
def _(s: Sockets) -> object:
    return after_a_restart(s, is_idle=False)


@row(15, "PUB connects before SUB binds: dropped until the subscriber's thread has come by", ([], [[b"c"]]))
def _(s: Sockets) -> object:
    pub = s.new("PUB", "b", connect=TCP)
    publish(pub, b"a")
    sub = topics(s.new("SUB", bind=TCP), b"")
    s.settle()
    publish(pub, b"b")
    s.settle()
    before = drain(sub)
    meet(s, sub, pub)
    publish(pub, b"c")
    s.settle()
    return before, drain(sub)


@row(16, "a connecting PUB keeps pipe and subscriptions of a SUB that is gone", ([], [[b"during"], [b"after"]]))
def _(s: Sockets) -> object:
    sub, pub = topics(s.new("SUB", bind=TCP), b""), s.new("PUB", "b", connect=TCP)
    meet(s, sub, pub)
    s.restart("a")
    s.settle()
    before: list[Any] = []
    publish(pub, b"during")
    again = topics(s.new("SUB", bind=TCP), b"")
    meet(s, again, pub)
    publish(pub, b"after")
    s.settle()
    return before, drain(again)


@row(17, "a SUB cannot send, a PUB cannot receive", ("ENOTSUP", "ENOTSUP"))
def _(s: Sockets) -> object:
    return sent(s.new("SUB").send((b"x",))), one(s.new("PUB"))


def told(xpub: Socket) -> list[Any]:
    xpub.events()
    return drain(xpub)


@row(18, "an idle XPUB sees all of a: on, off, b: on, off", [[b"\1t"], [b"\0t"], [b"\1t"], [b"\0t"]])
def _(s: Sockets) -> object:
    xpub = s.new("XPUB", bind=IN)
    for sub in (s.new("SUB", connect=IN), s.new("SUB", connect=IN)):
        sub.set("SUBSCRIBE", b"t")
        sub.set("UNSUBSCRIBE", b"t")
    return told(xpub)


@row(19, "an XPUB is told of the first subscriber and of the last", ([[b"\1t"]], [], [[b"\0t"]]))
def _(s: Sockets) -> object:
    xpub = s.new("XPUB", bind=IN)
    one_sub, other = topics(s.new("SUB", connect=IN), b"t"), topics(s.new("SUB", connect=IN), b"t")
    first = told(xpub)
    one_sub.set("UNSUBSCRIBE", b"t")
    second = told(xpub)
    other.set("UNSUBSCRIBE", b"t")
    return first, second, told(xpub)


@row(20, "XPUB_VERBOSE passes on every subscription", [[b"\1t"], [b"\1t"]])
def _(s: Sockets) -> object:
    xpub = s.new("XPUB", bind=IN, XPUB_VERBOSE=1)
    subs = [topics(s.new("SUB", connect=IN), b"t") for _ in range(2)]
    assert len(subs) == 2
    return told(xpub)


@row(21, "an XPUB is told when a subscriber disconnects", [[b"\1t"], [b"\0t"]])
def _(s: Sockets) -> object:
    xpub, sub = s.new("XPUB", bind=TCP), topics(s.new("SUB", "b", connect=TCP), b"t")
    meet(s, xpub, sub)
    sub.close(0)
    meet(s, xpub)
    return told(xpub)


@row(22, "an XSUB subscribes by sending a message", [[b"t1"]])
def _(s: Sockets) -> object:
    pub, xsub = s.new("PUB", bind=IN), s.new("XSUB", connect=IN)
    xsub.send((b"\1t",))
    pub.events()
    publish(pub, b"t1", b"u1")
    return drain(xsub)


@row(23, "an XSUB may send other messages, and an XPUB delivers them", [[b"hello"]])
def _(s: Sockets) -> object:
    xpub, xsub = s.new("XPUB", bind=IN), s.new("XSUB", connect=IN)
    xsub.send((b"hello",))
    return told(xpub)


@row(24, "XPUB_NODROP: EAGAIN instead of a drop, marks 5 and 5", (10, "EAGAIN"))
def _(s: Sockets) -> object:
    xpub = s.new("XPUB", bind=IN, XPUB_NODROP=1, SNDHWM=5)
    sub = topics(s.new("SUB", RCVHWM=5), b"")
    sub.connect(IN)
    for number in range(20):
        if (error := xpub.send((b"x",))) is not None:
            return number, error.name
    return None


@row(25, "CONFLATE keeps the last message only", [[b"99"]])
def _(s: Sockets) -> object:
    pub = s.new("PUB", bind=IN)
    sub = topics(s.new("SUB", CONFLATE=1), b"")
    sub.connect(IN)
    publish(pub, *(b"%d" % number for number in range(100)))
    return drain(sub)


@row(26, "every subscriber that matches gets one copy, in order", (True, True))
def _(s: Sockets) -> object:
    pub = s.new("PUB", bind=IN)
    subs = [topics(s.new("SUB", connect=IN), b"") for _ in range(2)]
    pub.events()
    publish(pub, *(b"%d" % number for number in range(50)))
    return tuple(numbers(drain(sub)) == list(range(50)) for sub in subs)


@row(27, "INVERT_MATCHING delivers what does not match", [[b"b"]])
def _(s: Sockets) -> object:
    pub = s.new("PUB", bind=IN, INVERT_MATCHING=1)
    sub = topics(s.new("SUB", connect=IN, INVERT_MATCHING=1), b"a")
    pub.events()
    publish(pub, b"a", b"b")
    return drain(sub)


@row(28, "a SUB takes from two publishers in turn", "ABABABABABAB")
def _(s: Sockets) -> object:
    pubs = [s.new("PUB", bind=f"inproc://{name}") for name in "AB"]
    sub = topics(s.new("SUB"), b"")
    sub.connect("inproc://A")
    sub.connect("inproc://B")
    for pub, name in zip(pubs, (b"A", b"B"), strict=True):
        publish(pub, *[name] * 6)
    return b"".join(message[0] for message in drain(sub)).decode()


@pytest.mark.parametrize("number", ROWS)
def test_what_was_measured(number: int) -> None:
    _, measured, observe = ROWS[number]
    assert observe(Sockets()) == measured


def test_the_rows_are_complete() -> None:
    assert sorted(ROWS) == list(range(1, 29))


def test_a_publisher_that_forgets_subscriptions_is_a_switch() -> None:
    s = Sockets(quirks=Quirks(publisher_keeps_subscriptions=False))
    assert ROWS[16][2](s) == ([], [[b"after"]])


def test_an_event_is_no_message() -> None:
    s = Sockets()
    xpub, sub = s.new("XPUB", bind=IN), topics(s.new("SUB", connect=IN), b"")
    assert is_ready(xpub, POLLIN)
    assert xpub.recv() == (b"\1",)
    assert xpub.recv() is Errno.EAGAIN
    assert not is_ready(sub, POLLIN)

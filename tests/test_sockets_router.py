"""Rows 29 to 60 of what was measured on libzmq 4.3.5: ROUTER, its peers by identity, and namesakes."""

import pytest
from socket_world import IN, MS, TCP, Sockets, Table, drain, fill, is_ready, linked, meet, numbers, one, refusal, sent

from simulator.sockets import POLLOUT, Quirks, Socket

ROWS = Table()
row = ROWS.row


@row(29, "a ROUTER prepends the identity, and replies go by it", ([b"E1", b"hi"], [b"yo"]))
def _(s: Sockets) -> object:
    router, dealer = s.new("ROUTER", bind=TCP), s.new("DEALER", "b", connect=TCP, ROUTING_ID=b"E1")
    dealer.send((b"hi",))
    s.settle()
    got = one(router)
    router.send((b"E1", b"yo"))
    s.settle()
    return got, one(dealer)


@row(30, "an identity that ZeroMQ makes up has five bytes and begins with zero", (5, 0))
def _(s: Sockets) -> object:
    router, dealer = s.new("ROUTER", bind=IN), s.new("DEALER", connect=IN)
    dealer.send((b"x",))
    identity, _ = one(router)
    return len(identity), identity[0]


@row(31, "an unknown identity: dropped, and nobody is told", "sent")
def _(s: Sockets) -> object:
    return sent(s.new("ROUTER", bind=IN).send((b"nobody", b"x")))


@row(32, "ROUTER_MANDATORY and an unknown identity", "EHOSTUNREACH")
def _(s: Sockets) -> object:
    return sent(s.new("ROUTER", bind=IN, ROUTER_MANDATORY=1).send((b"nobody", b"x")))


@row(33, "after that error the next message is fine", ("EHOSTUNREACH", [b"ok"]))
def _(s: Sockets) -> object:
    router = s.new("ROUTER", bind=IN, ROUTER_MANDATORY=1)
    dealer = s.new("DEALER", connect=IN, ROUTING_ID=b"A")
    dealer.set("ROUTING_ID", b"B")
    dealer.connect(IN)
    router.events()
    error = sent(router.send((b"nobody", b"x")))
    router.send((b"B", b"ok"))
    return error, one(dealer)


@row(34, "a message of an identity only is ignored", ("sent", None))
def _(s: Sockets) -> object:
    router, dealer = s.new("ROUTER", bind=IN), s.new("DEALER", ROUTING_ID=b"A")
    dealer.connect(IN)
    router.events()
    return sent(router.send((b"A",))), one(dealer)


@row(35, "a peer that has said nothing is known after the handshake", [b"early"])
def _(s: Sockets) -> object:
    router, dealer = linked(s)
    router.send((b"A", b"early"))
    s.settle()
    return one(dealer)


def small(s: Sockets, mandatory: int) -> tuple[Socket, Socket]:
    router = s.new("ROUTER", bind=IN, SNDHWM=4, ROUTER_MANDATORY=mandatory)
    dealer = s.new("DEALER", RCVHWM=3, ROUTING_ID=b"A")
    dealer.connect(IN)
    router.events()
    return router, dealer


@row(36, "a full peer: the newest are dropped, and exactly the marks 4 and 3 are kept", (7, True))
def _(s: Sockets) -> object:
    router, dealer = small(s, 0)
    fill(router, prefix=(b"A",), limit=20)
    got = numbers(drain(dealer))
    return len(got), got == list(range(7))


@row(37, "ROUTER_MANDATORY and a full peer", (7, "EAGAIN"))
def _(s: Sockets) -> object:
    return fill(small(s, 1)[0], prefix=(b"A",))


@row(38, "a full peer does not hold up others", [b"ok"])
def _(s: Sockets) -> object:
    router, _dealer = small(s, 0)
    other = s.new("DEALER", ROUTING_ID=b"B")
    other.connect(IN)
    router.events()
    fill(router, prefix=(b"A",), limit=20)
    router.send((b"B", b"ok"))
    return one(other)


@row(39, "POLLOUT is set without ROUTER_MANDATORY, even without peers", True)
def _(s: Sockets) -> object:
    return is_ready(s.new("ROUTER", bind=IN), POLLOUT)


@row(40, "POLLOUT with ROUTER_MANDATORY and no peers", False)
def _(s: Sockets) -> object:
    return is_ready(s.new("ROUTER", bind=IN, ROUTER_MANDATORY=1), POLLOUT)


def namesakes(s: Sockets, handover: int = 0) -> tuple[Socket, Socket, Socket]:
    router, first = linked(s, ROUTER_HANDOVER=handover)
    second = s.new("DEALER", "c", connect=TCP, ROUTING_ID=b"A")
    meet(s, router)
    return router, first, second


@row(41, "a second peer with the same identity is neither heard nor reached",
     {"first": [[b"A", b"a1"]], "second": [], "a": [b"toA"], "b": None})  # fmt: skip
def _(s: Sockets) -> object:
    router, first, second = namesakes(s)
    first.send((b"a1",))
    s.settle()
    heard = drain(router)
    second.send((b"b1",))
    s.settle()
    also = drain(router)
    router.send((b"A", b"toA"))
    s.settle()
    return {"first": heard, "second": also, "a": one(first), "b": one(second)}


@row(42, "nor is it when the first one has died",
     {"send1": "EHOSTUNREACH", "recv": [], "send2": "EHOSTUNREACH", "b": None})  # fmt: skip
def _(s: Sockets) -> object:
    router, _, second = namesakes(s)
    s.restart("b")
    meet(s, router)
    first = sent(router.send((b"A", b"x")))
    second.send((b"b1",))
    meet(s, router)
    return {"send1": first, "recv": drain(router), "send2": sent(router.send((b"A", b"y"))), "b": one(second)}


@row(43, "ROUTER_HANDOVER: the second takes over", ([[b"A", b"b1"]], [b"toA"], None))
def _(s: Sockets) -> object:
    router, first, second = namesakes(s, 1)
    second.send((b"b1",))
    s.settle()
    heard = drain(router)
    router.send((b"A", b"toA"))
    s.settle()
    return heard, one(second), one(first)


@row(44, "whose identity was handed over stays connected, is not heard, and does not take it back", ([1] * 36, 0))
def _(s: Sockets) -> object:
    router, first, second = namesakes(s, 1)
    watched = first.monitor()
    owners = []
    for _ in range(36):
        first.send((b"0",))
        second.send((b"1",))
        s.settle(100 * MS)
        owners += [int(message[1]) for message in drain(router)]
    return owners, watched.names.count("DISCONNECTED")


@row(45, "the same identity after a close works", [b"A", b"second"])
def _(s: Sockets) -> object:
    router, first = linked(s)
    first.close(0)
    meet(s, router)
    again = s.new("DEALER", "b", connect=TCP, ROUTING_ID=b"A")
    again.send((b"second",))
    meet(s, router)
    return one(router)


@row(46, "a namesake stays unheard for ever, with a connection that looks healthy",
     (0, ["CONNECT_DELAYED", "CONNECTED", "HANDSHAKE_SUCCEEDED"]))  # fmt: skip
def _(s: Sockets) -> object:
    router, _ = linked(s)
    second = s.new("DEALER", "c", ROUTING_ID=b"A")
    watched = second.monitor()
    second.connect(TCP)
    meet(s, router)
    s.restart("b")
    received = 0
    for _ in range(149):
        second.send((b"x",))
        s.settle(20 * MS)
        received += len(drain(router))
    return received, watched.names


@row(47, "the same identity at once after a close: a race, which some lose", {True, False})
def _(_: Sockets) -> object:
    outcomes = set()
    for seed in range(40):
        world = Sockets(seed=seed)
        world.network.join("b", "a", jitter=2 * MS)
        router, first = linked(world)
        first.close(0)
        again = world.new("DEALER", "b", connect=TCP, ROUTING_ID=b"A")
        again.send((b"second",))
        for _ in range(100):
            world.settle(MS // 20)
            router.events()
        outcomes.add(bool(drain(router)))
    return outcomes


@row(48, "a ROUTER that is bound drops the queue of a peer that is gone", None)
def _(s: Sockets) -> object:
    router, _ = linked(s)
    s.restart("b")
    router.send((b"A", b"x"))
    meet(s, router)
    again = s.new("DEALER", "b", connect=TCP, ROUTING_ID=b"A")
    meet(s, router, again)
    return one(again)


@row(49, "what was received survives the death of its sender", 5)
def _(s: Sockets) -> object:
    router, dealer = linked(s)
    for _ in range(5):
        dealer.send((b"x",))
    s.settle()
    s.restart("b")
    s.settle()
    return len(drain(router))


@row(50, "a reply to a sender that has died meanwhile", "EHOSTUNREACH")
def _(s: Sockets) -> object:
    router, dealer = linked(s)
    dealer.send((b"x",))
    s.settle()
    one(router)
    s.restart("b")
    meet(s, router)
    return sent(router.send((b"A", b"y")))


@row(51, "PROBE_ROUTER sends an empty message", [b"A", b""])
def _(s: Sockets) -> object:
    router, _ = s.new("ROUTER", bind=TCP), s.new("DEALER", "b", ROUTING_ID=b"A", PROBE_ROUTER=1, connect=TCP)
    s.settle()
    return one(router)


@row(52, "two ROUTERs reach each other by identity", ([b"ENG", b"q"], [b"CTL", b"a"]))
def _(s: Sockets) -> object:
    one_side = s.new("ROUTER", ROUTING_ID=b"CTL", bind=TCP)
    other = s.new("ROUTER", "b", ROUTING_ID=b"ENG", connect=TCP)
    meet(s, one_side, other)
    other.send((b"CTL", b"q"))
    s.settle()
    got = one(one_side)
    one_side.send((b"ENG", b"a"))
    s.settle()
    return got, one(other)


@row(53, "a ROUTER that connects reaches nobody before the handshake", None)
def _(s: Sockets) -> object:
    dealer = s.new("DEALER", bind=TCP, ROUTING_ID=b"CTL")
    router = s.new("ROUTER", "b", connect=TCP)
    router.send((b"CTL", b"q"))
    meet(s, router, dealer)
    return one(dealer)


@row(54, "CONNECT_ROUTING_ID: reached at once, queued before there is a connection", [b"ENG", b"q"])
def _(s: Sockets) -> object:
    router = s.new("ROUTER", "b", ROUTING_ID=b"ENG", CONNECT_ROUTING_ID=b"CTL", connect=TCP)
    router.send((b"CTL", b"q"))
    bound = s.new("ROUTER", ROUTING_ID=b"CTL", bind=TCP)
    meet(s, bound, router)
    return one(bound)


@row(55, "a ROUTER that connects keeps identity and queue while its server restarts",
     ([b"ENG", b"1"], "sent", [[b"ENG", b"2"]]))  # fmt: skip
def _(s: Sockets) -> object:
    bound = s.new("ROUTER", ROUTING_ID=b"CTL", bind=TCP)
    router = s.new("ROUTER", "b", ROUTING_ID=b"ENG", connect=TCP, ROUTER_MANDATORY=1)
    meet(s, bound, router)
    router.send((b"CTL", b"1"))
    s.settle()
    first = one(bound)
    s.restart("a")
    meet(s, router)
    outcome = sent(router.send((b"CTL", b"2")))
    again = s.new("ROUTER", ROUTING_ID=b"CTL", bind=TCP)
    meet(s, router, again)
    return first, outcome, drain(again)


@row(56, "three peers with four messages each are heard in turn", "ABCABCABCABC")
def _(s: Sockets) -> object:
    router = s.new("ROUTER", bind=IN)
    for name in (b"A", b"B", b"C"):
        dealer = s.new("DEALER", ROUTING_ID=name)
        dealer.connect(IN)
        for _ in range(4):
            dealer.send((b"x",))
    return b"".join(message[0] for message in drain(router)).decode()


@row(57, "ROUTER_MANDATORY and a full peer: waiting does not help", "EAGAIN")
def _(s: Sockets) -> object:
    router, _ = small(s, 1)
    fill(router, prefix=(b"A",))
    assert not s.kernel.run_until(lambda: is_ready(router, POLLOUT), s.kernel.now + 300 * MS)
    return sent(router.send((b"A", b"x")))


@row(58, "XREQ and XREP are names of DEALER and ROUTER", ("DEALER", "ROUTER"))
def _(s: Sockets) -> object:
    return s.new("XREQ").KIND, s.new("XREP").KIND


@row(59, "an identity of more than 255 bytes, or none", ("EINVAL", "EINVAL"))
def _(s: Sockets) -> object:
    dealer = s.new("DEALER")
    return tuple(refusal(lambda value=value: dealer.set("ROUTING_ID", value)) for value in (b"x" * 256, b""))  # type: ignore[misc]


@row(60, "another identity has no effect on a live connection", [b"A", b"x"])
def _(s: Sockets) -> object:
    router, dealer = linked(s)
    dealer.set("ROUTING_ID", b"B")
    dealer.send((b"x",))
    s.settle()
    return one(router)


@pytest.mark.parametrize("number", ROWS)
def test_what_was_measured(number: int) -> None:
    _, measured, observe = ROWS[number]
    assert observe(Sockets()) == measured


def test_the_rows_are_complete() -> None:
    assert sorted(ROWS) == list(range(29, 61))


def test_an_honest_router_is_a_switch() -> None:
    s = Sockets(quirks=Quirks(duplicate_is_zombie=False, handover_leaves_zombie=False))
    router, _ = linked(s)
    second = s.new("DEALER", "c", ROUTING_ID=b"A")
    watched = second.monitor()
    second.connect(TCP)
    meet(s, router)
    assert "DISCONNECTED" in watched.names
    s.restart("b")
    meet(s, router)
    second.send((b"heard",))
    meet(s, router)
    assert drain(router) == [[b"A", b"heard"]]
    router.set("ROUTER_HANDOVER", 1)
    third = s.new("DEALER", "d", connect=TCP, ROUTING_ID=b"A")
    before = watched.names.count("DISCONNECTED")
    router.events()
    meet(s, router, third)
    assert watched.names.count("DISCONNECTED") > before

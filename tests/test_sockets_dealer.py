"""Rows 61 to 79 of what was measured on libzmq 4.3.5: DEALER, its peers in turn, and pipes that are full."""

import pytest
from socket_world import IN, TCP, Sockets, Table, drain, fill, is_ready, linked, meet, numbers, one, sent

from simulator.sockets import POLLOUT, Errno, Quirks, Socket

ROWS = Table()
row = ROWS.row


@row(61, "a DEALER gives three peers as much", [4, 4, 4])
def _(s: Sockets) -> object:
    dealer = s.new("DEALER", bind=IN)
    peers = [s.new("DEALER", connect=IN) for _ in range(3)]
    dealer.events()
    fill(dealer, limit=12)
    return [len(drain(peer)) for peer in peers]


@row(62, "a full peer is left out, and then nothing can be sent", ([4, 20, 20], "EAGAIN"))
def _(s: Sockets) -> object:
    dealer = s.new("DEALER", bind=IN, SNDHWM=2)
    peers = [s.new("DEALER", RCVHWM=mark, connect=IN) for mark in (2, 18, 18)]
    dealer.events()
    _, error = fill(dealer)
    return [len(drain(peer)) for peer in peers], error


@row(63, "a DEALER that is bound and has no peers", "EAGAIN")
def _(s: Sockets) -> object:
    return sent(s.new("DEALER", bind=TCP).send((b"x",)))


@row(64, "connected before anybody listens: as many as the mark, then EAGAIN, all delivered", (50, "EAGAIN", True))
def _(s: Sockets) -> object:
    dealer = s.new("DEALER", "b", SNDHWM=50)
    dealer.connect(TCP)
    queued, error = fill(dealer)
    router = s.new("ROUTER", bind=TCP)
    meet(s, router)
    return queued, error, numbers(drain(router)) == list(range(50))


@row(65, "IMMEDIATE and nothing connected", "EAGAIN")
def _(s: Sockets) -> object:
    return sent(s.new("DEALER", "b", IMMEDIATE=1, connect=TCP).send((b"x",)))


@row(66, "one of two endpoints is down: half of the messages wait there", (5, 5))
def _(s: Sockets) -> object:
    up = s.new("DEALER", bind=TCP)
    dealer = s.new("DEALER", "b", connect=TCP)
    dealer.connect("tcp://a:5556")
    meet(s, up, dealer)
    fill(dealer, limit=10)
    s.settle()
    got = len(drain(up))
    down = s.new("DEALER", bind="tcp://a:5556")
    meet(s, down)
    return got, len(drain(down))


@row(67, "a DEALER takes from two peers in turn", "ABABABAB")
def _(s: Sockets) -> object:
    dealer = s.new("DEALER", bind=IN)
    for name in (b"A", b"B"):
        peer = s.new("DEALER", connect=IN)
        for _ in range(4):
            peer.send((name,))
    return b"".join(message[0] for message in drain(dealer)).decode()


@row(68, "a server restarts: what the DEALER queued meanwhile is delivered", [b"1", b"2", b"3"])
def _(s: Sockets) -> object:
    router, dealer = linked(s)
    s.restart("a")
    s.settle()
    for number in (b"1", b"2", b"3"):
        dealer.send((number,))
    router = s.new("ROUTER", bind=TCP)
    meet(s, router)
    return [message[1] for message in drain(router)]


@row(69, "a server crashes: what was on its way is lost, the rest is a suffix without a gap", (True, True))
def _(s: Sockets) -> object:
    linked(s)
    dealer = s.contexts["b"].sockets[0]
    dealer.set("SNDHWM", 0)
    fill(dealer, limit=2000)
    s.restart("a")
    router = s.new("ROUTER", bind=TCP, RCVHWM=0)
    meet(s, router)
    got = numbers(drain(router))
    return 0 < len(got) < 2000, got == list(range(2000 - len(got), 2000))


@row(70, "disconnect drops what was queued for the endpoint", None)
def _(s: Sockets) -> object:
    dealer = s.new("DEALER", "b", LINGER=0)
    dealer.connect(TCP)
    dealer.send((b"x",))
    dealer.disconnect(TCP)
    router = s.new("ROUTER", bind=TCP)
    meet(s, router, dealer)
    return one(router)


@row(71, "marks count messages, not frames", 10)
def _(s: Sockets) -> object:
    dealer, _ = s.new("DEALER", bind=IN, SNDHWM=5), s.new("DEALER", RCVHWM=5, connect=IN)
    dealer.events()
    return fill(dealer, frames=6)[0]


@row(72, "a mark of 0 on either side is no limit", (1000, 1000))
def _(s: Sockets) -> object:
    counts = []
    for number, (mine, theirs) in enumerate(((0, 5), (5, 0))):
        address = f"inproc://{number}"
        dealer = s.new("DEALER", bind=address, SNDHWM=mine)
        s.new("DEALER", RCVHWM=theirs, connect=address)
        dealer.events()
        counts.append(fill(dealer, limit=1000)[0])
    return tuple(counts)


def full(s: Sockets) -> tuple[Socket, Socket]:
    dealer, peer = s.new("DEALER", bind=IN, SNDHWM=5), s.new("DEALER", RCVHWM=5, connect=IN)
    dealer.events()
    assert fill(dealer) == (10, "EAGAIN")
    return dealer, peer


@row(73, "a full pipe, marks 5 and 5, opens after five reads", 5)
def _(s: Sockets) -> object:
    dealer, peer = full(s)
    for reads in range(1, 11):
        one(peer)
        if is_ready(dealer, POLLOUT):
            return reads
    return None


@row(74, "who sends all the time does not see at once that a pipe has opened", None)
def _(s: Sockets) -> object:
    dealer, peer = full(s)
    dealer.send((b"x",))
    for reads in range(1, 11):
        one(peer)
        if dealer.send((b"x",)) is None:
            return reads
    return None


@row(75, "a message that is not finished is never delivered", None)
def _(s: Sockets) -> object:
    router, dealer = linked(s)
    dealer.send_frame(b"a", more=True)
    dealer.close()
    meet(s, router)
    return one(router)


@row(76, "nothing of a message is there before its last frame", (None, [b"a", b"b"]))
def _(s: Sockets) -> object:
    dealer, peer = s.new("DEALER", bind=IN), s.new("DEALER", connect=IN)
    peer.send_frame(b"a", more=True)
    before = one(dealer)
    peer.send_frame(b"b")
    return before, one(dealer)


@row(77, "a peer vanishes inside a message: the rest goes nowhere, the next is fine", ("EAGAIN", "sent", [b"n", b"m"]))
def _(s: Sockets) -> object:
    dealer, peer = s.new("DEALER", bind=IN), s.new("DEALER", connect=IN)
    dealer.events()
    dealer.send_frame(b"a", more=True)
    peer.close(0)
    s.settle()
    dealer.process()
    error = dealer.send_frame(b"b")
    other = s.new("DEALER", connect=IN)
    dealer.events()
    return sent(error), sent(dealer.send((b"n", b"m"))), one(other)


@row(78, "linger 0 drops what is queued, -1 delivers it", (None, [b"x"]))
def _(s: Sockets) -> object:
    got = []
    for port, linger in ((5555, 0), (5556, -1)):
        dealer = s.new("DEALER", "b", connect=f"tcp://a:{port}")
        dealer.send((b"x",))
        dealer.close(linger)
        s.settle()
        bound = s.new("DEALER", bind=f"tcp://a:{port}")
        meet(s, bound)
        got.append(one(bound))
    return tuple(got)


@row(79, "inproc may be connected before it is bound, and queues", [b"x"])
def _(s: Sockets) -> object:
    dealer = s.new("DEALER", connect=IN)
    dealer.send((b"x",))
    return one(s.new("DEALER", bind=IN))


@pytest.mark.parametrize("number", ROWS)
def test_what_was_measured(number: int) -> None:
    _, measured, observe = ROWS[number]
    assert observe(Sockets()) == measured


def test_the_rows_are_complete() -> None:
    assert sorted(ROWS) == list(range(61, 80))


def test_a_throttle_of_less_than_one_is_drawn_from_the_seed() -> None:
    def reads_until_open(throttle: float, seed: int) -> object:
        s = Sockets(seed=seed, quirks=Quirks(throttle=throttle))
        return ROWS[74][2](s)

    assert {reads_until_open(0.0, seed) for seed in range(5)} == {5}
    assert len({reads_until_open(0.5, seed) for seed in range(20)}) > 2
    assert reads_until_open(0.5, 3) == reads_until_open(0.5, 3)


def test_a_full_pipe_says_so_and_is_tried_again_when_told() -> None:
    s = Sockets()
    dealer, peer = full(s)
    called: list[int] = []
    dealer.watch(lambda: called.append(s.kernel.now))
    assert dealer.send((b"x",)) is Errno.EAGAIN
    drain(peer)
    s.settle()
    assert len(called) == 1
    dealer.events()
    assert dealer.send((b"x",)) is None

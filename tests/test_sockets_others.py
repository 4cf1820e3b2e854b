"""Rows 80 to 97 of what was measured on libzmq 4.3.5: REQ, REP, PUSH, PULL, PAIR, stops and crashes; and devices."""

import pytest
from socket_world import IN, MS, TCP, Sockets, Table, drain, fill, meet, numbers, one, refusal, sent

from protocol.devices import device
from simulator.sockets import POLLIN, Errno, Quirks, Socket
from simulator.sockets.devices import Relay

ROWS = Table()
row = ROWS.row


def live(s: Sockets, *sockets: Socket) -> None:
    """Let time pass, while each thread comes by all the time."""
    for _ in range(20):
        s.settle(50 * MS)
        for socket in sockets:
            socket.events()


@row(80, "REQ and REP keep their turns", ("EFSM", "EFSM", "EFSM", "EFSM"))
def _(s: Sockets) -> object:
    rep, req = s.new("REP", bind=IN), s.new("REQ", connect=IN)
    early = one(s.new("REQ"))
    first = sent(rep.send((b"x",)))
    req.send((b"a",))
    second = sent(req.send((b"b",)))
    one(rep)
    return early, first, second, one(rep)


@row(81, "a REQ adds an empty frame", [b"Q", b"", b"hi"])
def _(s: Sockets) -> object:
    router, req = s.new("ROUTER", bind=TCP), s.new("REQ", "b", ROUTING_ID=b"Q", connect=TCP)
    req.send((b"hi",))
    s.settle()
    return one(router)


@row(82, "a request without that frame: POLLIN, and then nothing; the next is fine", (True, "EAGAIN", [b"ok"]))
def _(s: Sockets) -> object:
    rep, dealer = s.new("REP", bind=IN), s.new("DEALER", connect=IN)
    dealer.send((b"x",))
    was_ready = bool(rep.events() & POLLIN)
    outcome = rep.recv()
    dealer.send((b"", b"ok"))
    return was_ready, outcome.name if isinstance(outcome, Errno) else outcome, one(rep)


def asked(s: Sockets, **options: int | bytes) -> tuple[Socket, Socket]:
    router, req = s.new("ROUTER", bind=TCP), s.new("REQ", "b", ROUTING_ID=b"Q", **options)
    req.connect(TCP)
    req.send((b"hi",))
    s.settle()
    assert one(router) == [b"Q", b"", b"hi"]
    return router, req


@row(83, "a reply that a REQ cannot read ends the connection: the next good one is lost", (None, None))
def _(s: Sockets) -> object:
    router, req = asked(s)
    router.send((b"Q", b"bad"))
    meet(s, router)
    first = one(req)
    router.send((b"Q", b"", b"good"))
    meet(s, router)
    return first, one(req)


@row(84, "a server restarts after it took the request: the REQ waits for ever", (True, None))
def _(s: Sockets) -> object:
    _, req = asked(s)
    s.restart("a")
    again = s.new("ROUTER", bind=TCP)
    meet(s, again, req)
    return one(again) is None, one(req)


@row(85, "REQ_RELAXED and REQ_CORRELATE: a second request, and the stale reply is skipped", ([b"1"], [b"r2"]))
def _(s: Sockets) -> object:
    rep = s.new("ROUTER", bind=IN)
    req = s.new("REQ", REQ_RELAXED=1, REQ_CORRELATE=1, connect=IN)
    req.send((b"1",))
    first = one(rep)
    req.send((b"2",))
    second = one(rep)
    rep.send((*first[:-1], b"r1"))
    rep.send((*second[:-1], b"r2"))
    return first[-1:], one(req)


@row(86, "a retry of a relaxed REQ comes from the same identity", "same id")
def _(s: Sockets) -> object:
    router, req = s.new("ROUTER", bind=TCP), s.new("REQ", "b", REQ_RELAXED=1, connect=TCP)
    req.send((b"1",))
    s.settle()
    req.send((b"2",))
    s.settle()
    first, second = drain(router)
    return "same id" if first[0] == second[0] else "another"


@row(87, "a reply to a client that is gone is dropped, and the REP goes on", ("sent", [b"2"]))
def _(s: Sockets) -> object:
    rep, req = s.new("REP", bind=TCP), s.new("REQ", "b", connect=TCP)
    req.send((b"1",))
    s.settle()
    one(rep)
    s.restart("b")
    meet(s, rep)
    outcome = sent(rep.send((b"r",)))
    other = s.new("REQ", "c", connect=TCP)
    other.send((b"2",))
    s.settle()
    return outcome, one(rep)


@row(88, "a PUSH without peers cannot send; with them it sends in turn", ("EAGAIN", [3, 3]))
def _(s: Sockets) -> object:
    push = s.new("PUSH", bind=IN)
    error = sent(push.send((b"x",)))
    pulls = [s.new("PULL", connect=IN) for _ in range(2)]
    push.events()
    fill(push, limit=6)
    return error, [len(drain(pull)) for pull in pulls]


@row(89, "what a bound PUSH queued for a PULL that dies is lost", 10)
def _(s: Sockets) -> object:
    push = s.new("PUSH", bind=TCP)
    _, living = s.new("PULL", "b", connect=TCP), s.new("PULL", "c", connect=TCP)
    meet(s, push)
    fill(push, limit=20)
    s.settle()
    s.restart("b")
    meet(s, push)
    return 20 - len(drain(living))


@row(90, "a PAIR refuses a second peer while the first lives", ([b"1"], None))
def _(s: Sockets) -> object:
    pair, first = s.new("PAIR", bind=IN), s.new("PAIR", connect=IN)
    second = s.new("PAIR", connect=IN)
    pair.events()
    pair.send((b"1",))
    return one(first), one(second)


@row(91, "a PAIR without a peer, and with a full one", ("EAGAIN", 7))
def _(s: Sockets) -> object:
    pair = s.new("PAIR", bind=IN, SNDHWM=4)
    error = sent(pair.send((b"x",)))
    s.new("PAIR", RCVHWM=3, connect=IN)
    pair.events()
    return error, fill(pair)[0]


def pongs(s: Sockets, *, is_device: bool, is_paused: bool) -> int:
    """How many of 20 pings come back while the process of a heart does not run its interpreter, or does not run."""
    pinger, listener = s.new("PUB", bind=TCP), s.new("ROUTER", bind="tcp://a:5556")
    sub = s.new("SUB", "b", SUBSCRIBE=b"", connect=TCP)
    dealer = s.new("DEALER", "b", ROUTING_ID=b"E", connect="tcp://a:5556")
    if is_device:
        Relay(device("heart-forwarder"), sub, dealer)
    # A heart in the interpreter would answer in a callback of its own, which an interpreter at a halt never makes.
    meet(s, pinger, sub, listener)
    if is_paused:
        s.contexts["b"].pause()
    for number in range(20):
        pinger.send((b"%d" % number,))
        s.settle(50 * MS)
    return len(drain(listener))


@row(92, "the interpreter stands still: a heart in it answers nothing", 0)
def _(s: Sockets) -> object:
    return pongs(s, is_device=False, is_paused=False)


@row(93, "the interpreter stands still: a device answers everything", 20)
def _(s: Sockets) -> object:
    return pongs(s, is_device=True, is_paused=False)


@row(94, "the process is stopped: a device answers nothing", 0)
def _(s: Sockets) -> object:
    return pongs(s, is_device=True, is_paused=True)


def beating(s: Sockets, **options: int | bytes) -> tuple[Socket, Socket]:
    router = s.new("ROUTER", ROUTER_MANDATORY=1, **options)
    router.bind(TCP)
    dealer = s.new("DEALER", "b", ROUTING_ID=b"A", connect=TCP)
    meet(s, router)
    return router, dealer


@row(95, "ZMTP heartbeats find a stopped peer; without them it stays routable", ("EHOSTUNREACH", "sent"))
def _(_: Sockets) -> object:
    outcomes = []
    for options in ({"HEARTBEAT_IVL": 100, "HEARTBEAT_TIMEOUT": 200}, {}):
        world = Sockets()
        router, _ = beating(world, **options)
        world.contexts["b"].pause()
        meet(world, router)
        outcomes.append(sent(router.send((b"A", b"x"))))
    return tuple(outcomes)


@row(96, "ZMTP heartbeats do not find a stopped interpreter", "sent")
def _(s: Sockets) -> object:
    router, _ = beating(s, HEARTBEAT_IVL=100, HEARTBEAT_TIMEOUT=200)
    meet(s, router)
    return sent(router.send((b"A", b"x")))


@row(97, "a peer is killed: the ROUTER learns of it at once", "EHOSTUNREACH")
def _(s: Sockets) -> object:
    router, _ = beating(s)
    s.restart("b")
    s.settle(300 * MS)
    router.events()
    s.settle(MS)
    router.events()
    return sent(router.send((b"A", b"x")))


@pytest.mark.parametrize("number", ROWS)
def test_what_was_measured(number: int) -> None:
    _, measured, observe = ROWS[number]
    assert observe(Sockets()) == measured


def test_the_rows_are_complete() -> None:
    assert sorted(ROWS) == list(range(80, 98))


def test_a_partition_is_noticed_by_nobody_and_loses_nothing() -> None:
    s = Sockets()
    router, dealer = beating(s)
    s.network.partition(["a"], ["b"])
    dealer.send((b"during",))
    assert sent(router.send((b"A", b"back"))) == "sent"
    s.settle()
    assert one(router) is None
    s.network.heal()
    s.settle()
    assert one(router) == [b"A", b"during"]
    assert one(dealer) == [b"back"]


def test_heartbeats_notice_a_partition() -> None:
    s = Sockets()
    router, _ = beating(s, HEARTBEAT_IVL=100, HEARTBEAT_TIMEOUT=200)
    s.network.partition(["a"], ["b"], one_way=True)
    meet(s, router)
    assert sent(router.send((b"A", b"x"))) == "EHOSTUNREACH"


def test_what_a_stopped_process_was_sent_arrives_when_it_goes_on() -> None:
    s = Sockets()
    router, dealer = beating(s)
    s.contexts["b"].pause()
    router.send((b"A", b"x"))
    s.settle()
    assert one(dealer) is None
    s.contexts["b"].resume()
    assert one(dealer) == [b"x"]


def test_a_connection_that_was_cut_is_made_again() -> None:
    s = Sockets()
    router, dealer = beating(s)
    watched = dealer.monitor()
    for session in list(s.contexts["b"].sessions):
        session.cut()
    dealer.send((b"after",))
    live(s, router)
    assert drain(router) == [[b"A", b"after"]]
    assert [name for name in watched.names if name != "CONNECT_DELAYED"] == [
        "DISCONNECTED", "CONNECT_RETRIED", "CONNECTED", "HANDSHAKE_SUCCEEDED",
    ]  # fmt: skip


def test_types_that_cannot_talk_to_each_other_do_not_try_again() -> None:
    s = Sockets()
    s.new("PUB", bind=TCP)
    dealer = s.new("DEALER", "b")
    watched = dealer.monitor()
    dealer.connect(TCP)
    s.settle()
    assert "HANDSHAKE_SUCCEEDED" not in watched.names


def test_addresses_are_looked_at() -> None:
    s = Sockets()
    socket = s.new("DEALER", bind=TCP)
    socket.bind(IN)
    assert refusal(lambda: s.new("DEALER").bind(TCP)) == "EADDRINUSE"
    assert refusal(lambda: s.new("DEALER").bind(IN)) == "EADDRINUSE"
    assert refusal(lambda: socket.bind("tcp://b:1")) == "EADDRNOTAVAIL"
    assert refusal(lambda: socket.bind("udp://a:1")) == "EPROTONOSUPPORT"
    assert refusal(lambda: socket.connect("nowhere")) == "EINVAL"
    assert refusal(lambda: socket.connect("tcp://a:*")) == "EINVAL"
    assert refusal(lambda: socket.disconnect("inproc://y")) == "ENOENT"
    assert refusal(lambda: socket.disconnect("tcp://a:1")) == "ENOENT"
    assert refusal(lambda: socket.set("SUBSCRIBE", b"")) == "EINVAL"
    assert refusal(lambda: socket.set("ROUTER_MANDATORY", 1)) == "EINVAL"
    assert refusal(lambda: s.context().socket("STREAM")) == "EINVAL"
    socket.unbind(TCP)
    assert refusal(lambda: s.new("DEALER").bind(TCP)) is None
    socket.close()
    assert sent(socket.send((b"x",))) == "ENOTSOCK"
    assert refusal(lambda: socket.bind("inproc://z")) == "ENOTSOCK"


def test_a_wildcard_port_is_free_and_told() -> None:
    s = Sockets()
    first, second = s.new("DEALER", bind="tcp://*:*"), s.new("DEALER", bind="tcp://a:0")
    assert first.last_endpoint != second.last_endpoint
    peer = s.new("DEALER", "b", connect=second.last_endpoint)
    peer.send((b"x",))
    s.settle()
    assert one(second) == [b"x"]
    assert one(first) is None


def test_linger_is_a_time_after_which_the_rest_is_dropped() -> None:
    for up_after, got in ((100 * MS, [b"x"]), (900 * MS, None)):
        s = Sockets()
        dealer = s.new("DEALER", "b", connect=TCP)
        dealer.send((b"x",))
        dealer.close(500)
        s.settle(up_after)
        bound = s.new("DEALER", bind=TCP)
        meet(s, bound)
        assert one(bound) == got
        assert dealer.is_gone


def test_a_receiver_that_does_not_read_stops_its_sender_after_marks_and_buffers() -> None:
    s = Sockets(wire_capacity=20)
    push, pull = s.new("PUSH", bind=TCP, SNDHWM=5), s.new("PULL", "b", RCVHWM=7, connect=TCP)
    meet(s, push)
    count = 0
    for _ in range(20):
        count += fill(push, limit=100)[0]
        s.settle()
    assert count == 5 + 20 + 7
    got = drain(pull)
    s.settle()
    got += drain(pull)
    assert len(got) == 32
    push.events()
    assert push.send((b"x",)) is None


def queue(s: Sockets) -> tuple[Socket, Socket, Socket]:
    """A MUX relay between a client A and an engine B, and what listens to its monitor."""
    front, back = s.new("ROUTER", bind="inproc://front"), s.new("ROUTER", bind="inproc://back")
    monitor = s.new("PUB", bind="inproc://monitor")
    Relay(device("mux-relay"), front, back, monitor)
    listener = s.new("SUB", SUBSCRIBE=b"", connect="inproc://monitor")
    client = s.new("DEALER", ROUTING_ID=b"A", connect="inproc://front")
    engine = s.new("DEALER", ROUTING_ID=b"B", connect="inproc://back")
    s.settle()
    return client, engine, listener


def test_a_monitored_queue_exchanges_identities_and_tells_its_monitor() -> None:
    s = Sockets()
    client, engine, listener = queue(s)
    client.send((b"B", b"question"))
    s.settle()
    assert one(engine) == [b"A", b"question"]
    engine.send((b"A", b"answer"))
    s.settle()
    assert one(client) == [b"B", b"answer"]
    assert drain(listener) == [[b"in", b"B", b"A", b"question"], [b"out", b"A", b"B", b"answer"]]


def test_a_message_of_two_identities_swallows_the_next_one() -> None:
    s = Sockets()
    client, engine, _ = queue(s)
    client.send((b"B",))
    s.settle()
    assert one(engine) is None
    client.send((b"B", b"question"))
    s.settle()
    assert one(engine) == [b"A", b"A", b"B", b"question"]
    client.send((b"B", b"another"))
    s.settle()
    assert one(engine) == [b"A", b"another"]


def test_a_device_that_cannot_send_waits_with_all_behind_it_and_can_be_stopped() -> None:
    s = Sockets()
    front, back = s.new("DEALER", bind="inproc://front"), s.new("DEALER", bind="inproc://back")
    relay = Relay(device("heart-forwarder"), front, back)
    client = s.new("DEALER", connect="inproc://front")
    fill(client, limit=3)
    s.settle()
    engine = s.new("DEALER", connect="inproc://back")
    s.settle()
    assert numbers(drain(engine)) == [0, 1, 2]
    relay.stop()
    client.send((b"3",))
    s.settle()
    assert one(engine) is None


def test_a_malformed_reply_need_not_be_final() -> None:
    s = Sockets(quirks=Quirks(malformed_reply_is_final=False))
    router, req = asked(s)
    router.send((b"Q", b"bad"))
    live(s, router)
    router.send((b"Q", b"", b"good"))
    live(s, router)
    assert one(req) == [b"good"]

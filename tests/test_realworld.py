"""The world of real sockets, against sockets made here, and once against a real controller."""

import ctypes
from collections.abc import Iterator
from socket import create_server

import msgspec
import pytest
import zmq
import zmq.backend.cython._zmq

from conformance.harness.pump import NEGLIGIBLE, RealSocket
from conformance.harness.realworld import CHeart, RealWorld
from conformance.targets import load
from conformance.targets.process import start
from protocol.connection import ClientFile, EngineFile
from protocol.errors import LocalProtocolError
from protocol.wire import DELIMITER, Message
from protocol.world import MILLISECOND, SECOND, Fact, Observation, World

KEY = "a key"
BOTH = {
    "ssh": "", "interface": "tcp://127.0.0.1", "control": 11, "mux": 12, "task": 13, "iopub": 14, "key": KEY,
    "curve_serverkey": None, "location": "", "pack": "json", "unpack": "json", "signature_scheme": "hmac-sha256",
}  # fmt: skip


class Hub:
    """The controller's sockets, as far as these tests need them."""

    def __init__(self, context: zmq.Context) -> None:
        def bind(kind: int) -> tuple[zmq.Socket, int]:
            socket = context.socket(kind)
            socket.linger = 0
            return socket, socket.bind_to_random_port("tcp://127.0.0.1")

        self.query, query = bind(zmq.ROUTER)
        # XPUB, because it tells when a subscription has come.
        self.notify, notification = bind(zmq.XPUB)
        self.ping, hb_ping = bind(zmq.XPUB)
        self.pong, hb_pong = bind(zmq.ROUTER)
        self.leaves = [bind(zmq.ROUTER), bind(zmq.ROUTER)]
        both = BOTH | {"registration": query}
        self.client = ClientFile(**both, task_scheme="leastload", notification=notification, broadcast=15)
        self.engine = EngineFile(**both, hb_ping=hb_ping, hb_pong=hb_pong, broadcast=[port for _, port in self.leaves])
        self.codec = self.client.codec()

    def close(self) -> None:
        for socket in (self.query, self.notify, self.ping, self.pong, *(leaf for leaf, _ in self.leaves)):
            socket.close()

    def answer(self) -> Message:
        """Take one request and answer it; the request."""
        request = self.codec.open(self.query.recv_multipart())
        reply = Message(
            header(f"re-{request.msg_id}", "connection_reply"),
            parent_header=request.header,
            content={"status": "ok", "engines": {}},
            identities=request.identities,
        )
        self.query.send_multipart(self.codec.encode(reply))
        return request


@pytest.fixture
def hub() -> Iterator[Hub]:
    with zmq.Context() as context:
        hub = Hub(context)
        yield hub
        hub.close()


@pytest.fixture
def world(hub: Hub) -> Iterator[RealWorld]:
    with RealWorld(hub.client, hub.engine) as world:
        yield world


def header(msg_id: str, msg_type: str) -> dict[str, str]:
    return {
        "msg_id": msg_id, "msg_type": msg_type, "session": "s", "username": "u", "date": "2026-01-01T00:00:00Z",
        "version": "5.4",
    }  # fmt: skip


def request(msg_id: str = "one", msg_type: str = "connection_request", **content: object) -> Message:
    return Message(header(msg_id, msg_type), content=content)


def spin(world: RealWorld, duration: int) -> None:
    """Compute for a while, without pumping."""
    until = world.now + duration
    while world.now < until:
        pass


def test_it_is_a_world(world: RealWorld):
    as_protocol: World = world
    assert as_protocol.now >= 0
    assert list(as_protocol.observations) == []


# -- sending and receiving ---------------------------------------------------------------------------------------------


def test_a_request_and_its_reply_are_written_down(hub: Hub, world: RealWorld):
    socket = world.open("query", party="client-1")
    socket.send(request())
    assert hub.answer().msg_id == "one"
    reply = socket.recv(world.now + 5 * SECOND)
    # A busy machine adds that the pump stalled.
    opened, sent, received = (seen for seen in world.observations if seen.observer != "kit")
    assert (opened.name, opened.data) == ("socket-opened", {"socket": "client-1/query"})
    assert isinstance(sent, Observation)
    assert received is reply
    assert (sent.direction, sent.socket, sent.channel) == ("sent", "client-1/query", "query")
    assert (reply.direction, reply.observer) == ("received", "client-1")
    assert [seen.seq for seen in world.observations] == list(range(len(world.observations)))
    assert sent.now <= reply.now <= world.now
    assert sent.message.msg_id == reply.message.parent_header["msg_id"] == "one"
    assert sent.frames[0] == DELIMITER


def test_a_message_that_does_not_fit_its_type_is_our_mistake_and_is_not_sent(world: RealWorld):
    socket = world.open("query", party="client-1")
    with pytest.raises(LocalProtocolError):
        socket.send(request(msg_type="registration_request"))
    assert not any(isinstance(seen, Observation) for seen in world.observations)


def test_damage_is_sent_as_it_is_with_the_reason(hub: Hub, world: RealWorld):
    socket = world.open("query", party="client-1", identity=b"me")
    socket.send_raw([b"", b"no delimiter"], "to see what happens")
    assert hub.query.recv_multipart() == [b"me", b"", b"no delimiter"]
    seen = world.observations[-1]
    assert isinstance(seen, Observation)
    assert (seen.why, seen.message, seen.frames) == ("to see what happens", None, (b"", b"no delimiter"))


def test_what_cannot_be_read_arrives_with_its_error(hub: Hub, world: RealWorld):
    socket = world.open("query", party="client-1", identity=b"me")
    socket.send(request())
    hub.query.recv_multipart()
    hub.query.send_multipart([b"me", b"nonsense"])
    seen = socket.recv(world.now + 5 * SECOND)
    assert seen.message is None
    assert seen.error.rules == ("wire.delimiter-present",)


def test_a_peer_that_repeats_itself_is_read_twice(hub: Hub, world: RealWorld):
    socket = world.open("query", party="client-1", identity=b"me")
    socket.send(request())
    hub.query.recv_multipart()
    frames = hub.codec.encode(Message(header("x", "connection_reply"), content={"status": "ok"}, identities=[b"me"]))
    hub.query.send_multipart(frames)
    hub.query.send_multipart(frames)
    for _ in range(2):
        assert socket.recv(world.now + 5 * SECOND).message.msg_id == "x"


def test_what_arrives_for_others_meanwhile_is_kept_for_them(hub: Hub, world: RealWorld):
    one = world.open("query", party="client-1", identity=b"1")
    two = world.open("query", party="client-2", identity=b"2")
    for socket in (two, one):
        socket.send(request(socket.party))
        hub.answer()
    assert one.recv(world.now + 5 * SECOND).message.parent_header["msg_id"] == "client-1"
    assert world.run_until(lambda: bool(two.inbox), world.now + 5 * SECOND)
    assert two.recv(0).message.parent_header["msg_id"] == "client-2"


def test_a_listener_gets_everything_at_once_and_recv_nothing(hub: Hub, world: RealWorld):
    socket = world.open("query", party="client-1")
    socket.send(request("early"))
    hub.answer()
    assert world.run_until(lambda: bool(socket.inbox), world.now + 5 * SECOND)
    heard: list[Observation] = []
    world.listen(socket, heard.append)
    assert len(heard) == 1
    socket.send(request("late"))
    hub.answer()
    assert world.run_until(lambda: len(heard) == 2, world.now + 5 * SECOND)
    assert socket.recv(world.now) is None


def test_a_listener_may_close_its_socket(hub: Hub, world: RealWorld):
    socket = world.open("query", party="client-1", identity=b"me")
    world.listen(socket, lambda _: socket.close())
    socket.send(request())
    hub.query.recv_multipart()
    for name in ("one", "two"):
        reply = Message(header(name, "connection_reply"), content={"status": "ok"}, identities=[b"me"])
        hub.query.send_multipart(hub.codec.encode(reply))
    assert world.run_until(lambda: socket.is_closed, world.now + 5 * SECOND)


def test_two_sockets_of_one_party_and_channel_have_two_names(world: RealWorld):
    names = [world.open("query", party="client-1").name for _ in range(2)]
    assert names == ["client-1/query", "client-1/query#2"]


def test_a_subscriber_hears_everything(hub: Hub, world: RealWorld):
    socket = world.open("notification", party="subscriber")
    assert hub.notify.recv() == b"\x01"
    hub.notify.send_multipart(hub.codec.encode(Message(header("n", "shutdown_notification"), content={})))
    assert socket.recv(world.now + 5 * SECOND).message.msg_type == "shutdown_notification"


def test_beats_are_raw(hub: Hub, world: RealWorld):
    socket = world.open("heartbeat-ping", party="heart-1")
    assert hub.ping.recv() == b"\x01"
    hub.ping.send(b"1.5")
    seen = socket.recv(world.now + 5 * SECOND)
    assert (seen.frames, seen.message, seen.error) == ((b"1.5",), None, None)


def test_an_engine_connects_to_the_leaf_it_is_told(hub: Hub, world: RealWorld):
    socket = world.open("broadcast", party="engine-1", end="engine", identity=b"e", index=1)
    leaf, _ = hub.leaves[1]
    # Neither ROUTER knows when the other is connected, so the one that can be told to fail asks until it succeeds.
    leaf.router_mandatory = True

    def is_reached() -> bool:
        try:
            leaf.send_multipart([b"e", b"hello"])
        except zmq.ZMQError:
            return False
        return True

    assert world.run_until(is_reached, world.now + 5 * SECOND)
    assert socket.recv(world.now + 5 * SECOND).frames[-1] == b"hello"


@pytest.mark.parametrize(
    ("channel", "end"), [("nowhere", ""), ("query", "heart"), ("query", "hub"), ("monitor", "hub")]
)
def test_a_socket_that_cannot_be_is_refused(world: RealWorld, channel: str, end: str):
    with pytest.raises(KeyError):
        world.open(channel, party="x", end=end)


# -- time --------------------------------------------------------------------------------------------------------------


def test_silence_ends_at_the_deadline(world: RealWorld):
    socket = world.open("query", party="client-1")
    started = world.now
    assert socket.recv(started + 50 * MILLISECOND) is None
    assert world.now - started >= 50 * MILLISECOND


def test_run_until_gives_the_last_value_of_the_predicate(world: RealWorld):
    assert world.run_until(lambda: True, 0)
    assert not world.run_until(lambda: False, world.now + MILLISECOND)


def test_timers_run_while_the_world_is_pumped_and_until_they_are_stopped(world: RealWorld):
    beats: list[int] = []
    stop = world.every(5 * MILLISECOND, lambda: beats.append(world.now))
    once: list[int] = []
    world.after(MILLISECOND, lambda: once.append(world.now))
    cancelled = world.after(MILLISECOND, lambda: once.append(-1))
    cancelled()
    # A busy machine may let two of them become due at once.
    assert world.run_until(lambda: len(beats) >= 4, world.now + 5 * SECOND)
    assert beats[-1] - beats[0] >= 10 * MILLISECOND
    stop()
    count = len(beats)
    assert not world.run_until(lambda: len(beats) > count, world.now + 20 * MILLISECOND)
    assert len(once) == 1


def test_a_timer_may_stop_itself_and_does_not_catch_up(world: RealWorld):
    beats: list[int] = []

    def beat() -> None:
        beats.append(world.now)
        if len(beats) == 2:
            stop()

    stop = world.every(10 * MILLISECOND, beat)
    spin(world, 100 * MILLISECOND)
    assert not world.run_until(lambda: len(beats) > 2, world.now + 50 * MILLISECOND)
    assert len(beats) == 2


def test_a_stall_of_the_harness_is_measured(world: RealWorld):
    world.run_until(lambda: False, world.now + MILLISECOND)
    before = world.now
    spin(world, 3 * NEGLIGIBLE)
    assert world.longest_stall(before) >= 3 * NEGLIGIBLE - MILLISECOND
    world.run_until(lambda: True, 0)
    assert world.longest_stall(before) >= 3 * NEGLIGIBLE - MILLISECOND
    # Nothing that lies ahead was a stall.
    assert world.longest_stall(world.now + SECOND) == 0


def test_waiting_is_no_stall(world: RealWorld, monkeypatch: pytest.MonkeyPatch):
    # On a clock of its own, because a busy machine stalls for real.
    clock = 0

    def poll(milliseconds: int) -> list[tuple[zmq.Socket, int]]:
        nonlocal clock
        clock += milliseconds * MILLISECOND
        return []

    monkeypatch.setattr(RealWorld, "now", property(lambda _: clock))
    monkeypatch.setattr(world, "_looked", 0)
    monkeypatch.setattr(world._poller, "poll", poll)
    world.run_until(lambda: False, 10 * SECOND)
    assert clock >= 10 * SECOND
    assert world.longest_stall(0) == 0


def test_a_socket_is_written_down_when_it_opens_and_closes(world: RealWorld):
    world.open("query", party="client-1").close()
    assert [(fact.name, fact.data["socket"]) for fact in world.observations] == [
        ("socket-opened", "client-1/query"),
        ("socket-closed", "client-1/query"),
    ]


def test_facts_stand_among_the_observations(world: RealWorld):
    world.note("kit", "heart-stopped", uuid="e")
    (fact,) = world.observations
    assert isinstance(fact, Fact)
    assert (fact.seq, fact.observer, fact.name, fact.data) == (0, "kit", "heart-stopped", {"uuid": "e"})


def test_closing_twice_is_once(hub: Hub):
    world = RealWorld(hub.client, hub.engine)
    socket: RealSocket = world.open("query", party="client-1")
    socket.close()
    socket.close()
    world.close()
    world.close()
    assert socket.is_closed


# -- the heart in C ----------------------------------------------------------------------------------------------------


class _PollItem(ctypes.Structure):
    _fields_ = [
        ("socket", ctypes.c_void_p), ("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short),
    ]  # fmt: skip


def poll_holding_the_gil(socket: zmq.Socket, milliseconds: int) -> bool:
    """Wait for a message in C, while no thread of this process can run Python."""
    library = ctypes.PyDLL(zmq.backend.cython._zmq.__file__)
    item = _PollItem(socket.underlying, 0, zmq.POLLIN, 0)
    return bool(library.zmq_poll(ctypes.byref(item), 1, ctypes.c_long(milliseconds)))


def test_a_heart_in_c_beats_while_no_python_runs(hub: Hub):
    with CHeart(hub.engine, b"engine"):
        assert hub.ping.recv() == b"\x01"
        hub.ping.send(b"1.25")
        assert poll_holding_the_gil(hub.pong, 10_000)
        assert hub.pong.recv_multipart() == [b"engine", b"1.25"]
    # Stopped: its subscription ends.
    assert hub.ping.recv() == b"\x00"


def test_a_world_ends_the_device_hearts_that_it_started(hub: Hub):
    with RealWorld(hub.client, hub.engine) as world:
        world.start_device_heart(b"engine")
        assert hub.ping.recv() == b"\x01"
    assert hub.ping.recv() == b"\x00"


# -- what is no message ------------------------------------------------------------------------------------------------


def test_a_greeting_tells_what_a_peer_would_meet_and_is_no_observation(world: RealWorld):
    greeting = world.greeting("query", end="engine")
    assert (greeting.socket_type, greeting.probed_as, greeting.is_accepted) == ("ROUTER", "DEALER", True)
    assert list(world.observations) == []


def test_a_subscription_is_no_observation(hub: Hub):
    with zmq.Context() as context, context.socket(zmq.SUB) as relay:
        port = relay.bind_to_random_port("tcp://127.0.0.1")
        relay.subscribe(b"topic")
        engine = msgspec.structs.replace(hub.engine, iopub=port)
        with RealWorld(hub.client, engine) as world:
            socket = world.open("iopub", party="engine-1", end="engine")

            def becomes(subscriptions: list[bytes]) -> bool:
                # A socket greets new peers only while its owner looks at it.
                deadline = world.now + 5 * SECOND
                return world.run_until(lambda: relay.poll(0) or socket.subscriptions == subscriptions, deadline)

            assert becomes([b"topic"])
            relay.unsubscribe(b"topic")
            assert becomes([])
            assert not [each for each in world.observations if isinstance(each, Observation)]


# -- a real controller -------------------------------------------------------------------------------------------------


def test_an_engine_with_a_heart_is_announced_by_a_real_controller():
    with start(load("ipyparallel")) as running, RealWorld(running.client, running.engine) as world:
        limit = 4 * running.target.timing.reply_deadline
        subscriber = world.open("notification", party="subscriber")
        engine = world.open("query", party="engine-1", end="engine", identity=b"engine-1")
        engine.send(request("r", "registration_request", uuid="engine-1"))
        assert engine.recv(world.now + limit).message.content["status"] == "ok"
        with CHeart(running.engine, b"engine-1"):
            seen = subscriber.recv(world.now + limit)
            assert seen.message.msg_type == "registration_notification"
            assert seen.message.content["uuid"] == "engine-1"
        seen = subscriber.recv(world.now + limit)
        assert seen.message.msg_type == "unregistration_notification"


def test_an_engine_knows_when_a_queue_knows_it(hub: Hub):
    with zmq.Context() as context, context.socket(zmq.ROUTER) as relay:
        port = relay.bind_to_random_port("tcp://127.0.0.1")
        relay.router_mandatory = True
        relay.linger = 0
        with RealWorld(hub.client, msgspec.structs.replace(hub.engine, mux=port)) as world:
            engine = world.open("mux", party="engine-1", end="engine", identity=b"engine-1")
            assert world.run_until(lambda: engine.is_met, world.now + 60 * SECOND)
            assert engine.is_met
            # What is read after the connection was, even if it was sent at once.
            client = context.socket(zmq.DEALER)
            client.connect(f"tcp://127.0.0.1:{port}")
            client.send(b"go")
            relay.recv_multipart()
            relay.send_multipart([b"engine-1", b"client", *hub.codec.encode(request(msg_type="apply_request"))])
            assert engine.recv(world.now + 60 * SECOND) is not None
            assert world.open("mux", party="client-1").is_met, "nobody addresses a client that has asked for nothing"
            client.close(linger=0)


def test_an_engine_that_nobody_answers_is_not_known(hub: Hub):
    with create_server(("127.0.0.1", 0)) as mute:
        engine_file = msgspec.structs.replace(hub.engine, mux=mute.getsockname()[1])
        with RealWorld(hub.client, engine_file) as world:
            engine = world.open("mux", party="engine-1", end="engine", identity=b"engine-1")
            mute.accept()[0].close()
            assert not world.run_until(lambda: engine.is_met, world.now + 50 * MILLISECOND)

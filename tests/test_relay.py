"""The relay: what it copies arrives unchanged, and what it tells names who said it, and what sits at both ends."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import create_connection
from typing import Any

import pytest
import zmq
from reference_cluster import PATIENCE, wait_for

from conformance.files import read_connection_file
from conformance.relay.hops import CONTROLLER, Hop, Link
from conformance.relay.relay import Item, Relay
from conformance.relay.rewriting import Alter, Corrupt, Delay, Drop, Duplicate, Hold, Passing, Rule, Truncate, of
from protocol.connection import ClientFile, EngineFile, KernelFile
from protocol.errors import RemoteProtocolError
from protocol.messages import build
from protocol.wire import Codec, Message
from protocol.world import SECOND

LARGE = bytes(range(256)) * 40_000
CODEC = Codec(b"key")


class Controller:
    """The MUX queue of a controller that the tests play, and the files of a whole one."""

    def __init__(self, folder: Path | None = None) -> None:
        self.context = zmq.Context()
        self.sockets: list[zmq.Socket[bytes]] = []
        self.mux = self.socket(zmq.ROUTER)
        self.mux.setsockopt(zmq.IDENTITY, b"mux_in")
        self.interface = "tcp://127.0.0.1" if folder is None else f"ipc://{folder}/c"
        self.port = 11
        if folder is None:
            self.port = self.mux.bind_to_random_port(self.interface)
        else:
            self.mux.bind(f"{self.interface}-{self.port}")
        common = {
            "ssh": "", "interface": self.interface, "registration": 1, "control": 2, "mux": self.port, "task": 3,
            "iopub": 4, "key": "key", "curve_serverkey": None, "location": "localhost", "pack": "json",
            "unpack": "json", "signature_scheme": "hmac-sha256",
        }  # fmt: skip
        self.client = ClientFile(**common, broadcast=5, task_scheme="leastload", notification=6)  # type: ignore[arg-type]
        self.engine = EngineFile(**common, broadcast=[7, 8], hb_ping=9, hb_pong=10)  # type: ignore[arg-type]

    def socket(self, kind: int) -> "zmq.Socket[bytes]":
        made = self.context.socket(kind)
        made.linger = 0
        made.rcvtimeo = made.sndtimeo = round(PATIENCE * 1000)
        self.sockets.append(made)
        return made

    def close(self) -> None:
        for socket in self.sockets:
            socket.close()
        self.context.term()


@pytest.fixture
def controller() -> Iterator[Controller]:
    made = Controller()
    yield made
    made.close()


@pytest.fixture
def relay() -> Iterator[Relay]:
    with Relay() as made:
        yield made


def connect(relay: Relay, controller: Controller, party: str, identity: bytes = b"") -> "zmq.Socket[bytes]":
    file = relay.copy(party, controller.client)
    assert file.mux != controller.client.mux
    socket = controller.socket(zmq.DEALER)
    if identity:
        socket.setsockopt(zmq.IDENTITY, identity)
    socket.connect(file.address("mux"))
    return socket


def test_each_party_is_known_by_the_addresses_that_only_it_has(relay: Relay, controller: Controller) -> None:
    ann, bob = (connect(relay, controller, name) for name in ("ann", "bob"))
    for name, socket in ((b"a", ann), (b"b", bob)):
        # Each claims to be the other.
        socket.send_multipart([b"", {b"a": b"bob", b"b": b"ann"}[name], LARGE])
        identity, *frames = controller.mux.recv_multipart()
        assert frames == [b"", {b"a": b"bob", b"b": b"ann"}[name], LARGE]
        controller.mux.send_multipart([identity, b"reply", name])
        assert socket.recv_multipart() == [b"reply", name]
    hops = relay.take()
    assert [(hop.party, hop.sender, hop.channel, len(hop.frames)) for hop in hops] == [
        ("ann", "ann", "mux", 3), ("ann", CONTROLLER, "mux", 2), ("bob", "bob", "mux", 3),
        ("bob", CONTROLLER, "mux", 2),
    ]  # fmt: skip
    assert [hop.seq for hop in hops] == [1, 2, 3, 4]
    assert relay.take() == []


def test_a_copy_has_a_leaf_for_each_leaf_and_keeps_what_is_skipped(controller: Controller, tmp_path: Path) -> None:
    with Relay(skips=("heartbeat-ping", "heartbeat-pong")) as relay:
        path = relay.join("engine", controller.engine, tmp_path / "engine.json")
        # Reading it refuses every mode but 0600.
        file = read_connection_file(path, EngineFile)
    assert len(set(file.broadcast) - {7, 8}) == 2
    assert (file.hb_ping, file.hb_pong) == (controller.engine.hb_ping, controller.engine.hb_pong)
    assert file.key == controller.client.key


def test_a_kernel_file_is_copied_with_the_ports_that_it_has() -> None:
    kernel = KernelFile(shell_port=1, iopub_port=2, stdin_port=3, hb_port=0, ip="127.0.0.1", key="key")
    with Relay() as relay:
        file = relay.copy("frontend", kernel)
    assert len({file.shell_port, file.iopub_port, file.stdin_port} - {1, 2, 3}) == 3
    # The kernel has still to choose this one.
    assert file.hb_port == 0
    assert file.address("shell_port").startswith("tcp://127.0.0.1:")


def test_both_ends_of_a_connection_are_told(relay: Relay, controller: Controller) -> None:
    ann = connect(relay, controller, "ann", b"me")
    ann.send(b"hello")
    controller.mux.recv_multipart()
    (link,) = relay.links.values()
    assert (link.party, link.kind, link.channel, link.closed_by) == ("ann", "client", "mux", "")
    assert (link.near.socket_type, link.near.identity) == ("DEALER", b"me")
    assert (link.far.socket_type, link.far.identity) == ("ROUTER", b"mux_in")
    assert (link.near.mechanism, link.near.version, link.near.unreadable) == ("NULL", (3, 1), "")


def test_subscriptions_are_told_and_are_no_messages(relay: Relay, controller: Controller) -> None:
    publisher = controller.socket(zmq.XPUB)
    port = publisher.bind_to_random_port(controller.interface)
    kernel = KernelFile(shell_port=1, iopub_port=port, stdin_port=3, hb_port=4, ip="127.0.0.1", key="key")
    subscriber = controller.socket(zmq.SUB)
    subscriber.connect(relay.copy("ann", kernel).address("iopub_port"))
    for topic in (b"a", b"b"):
        subscriber.subscribe(topic)
        assert publisher.recv() == b"\x01" + topic
    subscriber.unsubscribe(b"a")
    assert publisher.recv() == b"\x00a"
    (link,) = relay.links.values()
    assert link.near.subscriptions == (b"b",)
    assert (link.near.socket_type, link.near.identity) == ("SUB", None)
    assert relay.take() == []


def test_paths_are_relayed_too(relay: Relay, tmp_path_factory: pytest.TempPathFactory) -> None:
    controller = Controller(tmp_path_factory.mktemp("c"))
    try:
        ann = connect(relay, controller, "ann")
        ann.send(b"hello")
        assert controller.mux.recv_multipart()[1:] == [b"hello"]
        assert [hop.frames for hop in relay.take()] == [(b"hello",)]
    finally:
        controller.close()


def test_who_hangs_up_is_told(relay: Relay, controller: Controller) -> None:
    ann, bob = (connect(relay, controller, name) for name in ("ann", "bob"))
    for socket in (ann, bob):
        socket.send(b"hello")
        controller.mux.recv_multipart()
    ann.close()
    assert wait_for(lambda: {link.party: link.closed_by for link in relay.links.values()} == {"ann": "near", "bob": ""})
    controller.mux.close()
    assert wait_for(lambda: {link.closed_by for link in relay.links.values()} >= {"near", "far"})


def test_nobody_behind_a_relay_is_nobody(relay: Relay, controller: Controller) -> None:
    ann = connect(relay, controller, "ann")
    ann.send(b"hello")
    controller.mux.recv_multipart()
    controller.mux.close()
    # The relay hangs up when the controller does, and does not pretend to be there.
    monitor = ann.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    assert monitor.poll(round(PATIENCE * 1000))
    ann.disable_monitor()
    monitor.close()


@pytest.mark.parametrize("rules", [None, ()])
def test_a_slow_reader_gets_everything(rules: tuple[Rule, ...] | None, controller: Controller) -> None:
    with Relay(rules) as relay:
        ann = connect(relay, controller, "ann")
        ann.send(b"hello")
        identity, _ = controller.mux.recv_multipart()
        controller.mux.set_hwm(0)
        # More than the relay keeps for one receiver, sent before anything is read.
        for number in range(5):
            controller.mux.send_multipart([identity, str(number).encode(), LARGE])
        assert [ann.recv_multipart() for _ in range(5)] == [[str(number).encode(), LARGE] for number in range(5)]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_listens_where_a_relay_has_ended(controller: Controller) -> None:
    files: list[EngineFile] = []

    def end() -> None:
        # The thread fails, as with a sink that does, before it takes these listeners in.
        files.append(relay.copy("ann", controller.engine))
        raise RuntimeError

    with Relay() as relay:
        relay.at(0, end)
        relay.heal()  # returns when there is nobody left to do it
        files.append(relay.copy("bob", controller.engine))
    for file in files:
        with pytest.raises(ConnectionRefusedError):
            create_connection(("127.0.0.1", file.mux))


def test_a_sink_gets_everything_and_nothing_is_kept(controller: Controller) -> None:
    told: list[Item] = []
    with Relay(sink=told.append) as relay:
        ann = connect(relay, controller, "ann")
        ann.send(b"hello")
        controller.mux.recv_multipart()
        ann.close()
        assert wait_for(lambda: isinstance(told[-1], Link) and told[-1].closed_by == "near")
        assert relay.take() == []
        assert relay.links == {}
    assert [item.frames for item in told if isinstance(item, Hop)] == [(b"hello",)]


# -- rules -------------------------------------------------------------------------------------------------------------


def request(number: int, msg_type: str = "apply_request", **content: Any) -> Message:
    buffers = [b"f", b"i"] if msg_type == "apply_request" else []
    return build(msg_type, content or None, msg_id=f"m{number}", session="s", buffers=buffers)


def send(socket: "zmq.Socket[bytes]", *messages: Message) -> None:
    for message in messages:
        socket.send_multipart(CODEC.encode(message))


def through(controller: Controller, rules: tuple[Rule, ...], *messages: Message) -> list[list[bytes]]:
    """What comes out of a relay with these rules, up to and without a last message that no rule means."""
    with Relay(rules) as relay:
        ann = connect(relay, controller, "ann")
        send(ann, *messages)
        ann.send_multipart([b"the end"])
        got = []
        while (frames := controller.mux.recv_multipart()[1:]) != [b"the end"]:
            got.append(frames)
        # What the sender sent is told, not what became of it.
        assert [len(hop.frames) for hop in relay.take()] == [*(len(CODEC.encode(each)) for each in messages), 1]
        return got


def ids(got: list[list[bytes]]) -> list[str]:
    return [CODEC.open(frames).msg_id for frames in got]


def third(passing: Passing) -> bool:
    return passing.message is not None and passing.message.msg_id == "m3"


THREE = (request(1), request(2), request(3))


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ((), ["m1", "m2", "m3"]),
        ((Drop(of("apply_request"), times=2),), ["m3"]),
        ((Drop(of("apply_request", is_up=False)), Drop(of(channel="task")), Drop(of(party="bob"))), ["m1", "m2", "m3"]),
        ((Duplicate(of("apply_request"), times=1),), ["m1", "m1", "m2", "m3"]),
        ((Duplicate(of("apply_request"), times=1), Drop(of("apply_request"), times=1)), ["m1", "m2", "m3"]),
        ((Hold(of("apply_request"), of(where=third), times=1),), ["m2", "m3", "m1"]),
        ((Hold(of("apply_request"), of("apply_request"), times=1),), ["m2", "m1", "m3"]),
    ],
)  # fmt: skip
def test_rules_decide_what_goes_on(controller: Controller, rules: tuple[Rule, ...], expected: list[str]) -> None:
    assert ids(through(controller, rules, *THREE)) == expected


def test_what_no_rule_touches_keeps_its_bytes(controller: Controller) -> None:
    sent = [CODEC.encode(message) for message in THREE]
    assert through(controller, (Drop(of("nothing")),), *THREE) == sent


def test_rules_can_be_exchanged_while_parties_talk(controller: Controller) -> None:
    with Relay([]) as relay:
        ann = connect(relay, controller, "ann")
        for rules, expected in (((), "m1"), ((Drop(of("apply_request"), times=1),), "m2"), ((), "m1")):
            relay.rules = rules
            send(ann, *THREE[:2])
            assert ids([controller.mux.recv_multipart()[1:]]) == [expected]
            if not rules:
                assert ids([controller.mux.recv_multipart()[1:]]) == ["m2"]
    with Relay() as copying, pytest.raises(ValueError, match="made without rules"):
        copying.rules = ()


def test_what_is_altered_is_signed_anew_and_what_is_damaged_is_not(controller: Controller) -> None:
    def rename(passing: Passing) -> Passing:
        assert passing.message is not None
        return passing.replace(header=passing.message.header | {"msg_id": "other"})

    meant = of("apply_request")
    assert ids(through(controller, (Alter(meant, rename, times=1),), *THREE)) == ["other", "m2", "m3"]
    # The content is signed, buffers are not.
    for rule in (Corrupt(meant, frame=5, times=1), Truncate(meant, frame=5, size=1, times=1)):
        damaged, *rest = through(controller, (rule,), *THREE)
        with pytest.raises(RemoteProtocolError) as caught:
            CODEC.open(damaged)
        assert caught.value.rules == ("wire.signature-verified",)
        assert ids(rest) == ["m2", "m3"]
        assert rule.struck == 1


def test_what_cannot_be_read_passes_and_cannot_be_altered(controller: Controller) -> None:
    def empty(passing: Passing) -> Passing:
        return passing.replace(content={})

    shown: list[str] = []

    def look(passing: Passing) -> None:
        shown.append(passing.msg_type)
        with pytest.raises(ValueError, match="cannot be read"):
            empty(passing)

    with Relay([look]) as relay:
        ann = connect(relay, controller, "ann")
        ann.send_multipart([b"no", b"message"])
        assert controller.mux.recv_multipart()[1:] == [b"no", b"message"]
    assert shown == [""]


def test_what_is_held_can_be_released_by_whoever_looks(controller: Controller) -> None:
    hold = Hold(of("apply_request"), lambda _: False, times=1)
    with Relay([hold]) as relay:
        ann = connect(relay, controller, "ann")
        send(ann, *THREE)
        assert ids([controller.mux.recv_multipart()[1:] for _ in range(2)]) == ["m2", "m3"]
        (passing,) = hold.held
        relay.release(passing)
        assert ids([controller.mux.recv_multipart()[1:]]) == ["m1"]


@pytest.mark.parametrize(("keeps_order", "expected"), [(False, ["m3", "m2", "m1"]), (True, ["m1", "m2", "m3"])])
def test_what_is_late_is_overtaken_unless_everything_behind_it_is_late_too(
    controller: Controller, keeps_order: bool, expected: list[str]
) -> None:
    lateness = {"m1": 2 * SECOND, "m2": SECOND, "m3": 0}
    with Relay([]) as relay:
        by = lambda passing: lateness[passing.message.msg_id]  # noqa: E731 - short
        relay.rules = [Delay(of("apply_request"), by, relay, keeps_order=keeps_order)]
        ann = connect(relay, controller, "ann")
        send(ann, *THREE)
        assert ids([controller.mux.recv_multipart()[1:] for _ in range(3)]) == expected


def test_half_a_message_is_none_and_its_connection_is_made_again(controller: Controller) -> None:
    with Relay([]) as relay:
        ann = connect(relay, controller, "ann")
        send(ann, request(1))
        assert ids([controller.mux.recv_multipart()[1:]]) == ["m1"]
        relay.cut_within(lambda link: link.party == "ann")
        send(ann, request(2))
        assert wait_for(lambda: any(link.closed_by == "relay" for link in relay.links.values()))
        send(ann, request(3))
        assert ids([controller.mux.recv_multipart()[1:]]) == ["m3"]


def test_who_is_turned_away_comes_again_until_it_is_let_in(controller: Controller) -> None:
    with Relay([]) as relay:
        let_in = relay.turn_away(lambda link: link.party == "ann")
        ann, bob = (connect(relay, controller, name) for name in ("ann", "bob"))
        send(ann, request(1))
        send(bob, request(2))
        assert ids([controller.mux.recv_multipart()[1:]]) == ["m2"]
        assert wait_for(lambda: sum(link.closed_by == "relay" for link in relay.links.values()) > 1)
        let_in()
        assert ids([controller.mux.recv_multipart()[1:]]) == ["m1"]


def test_one_partition_can_be_healed_without_the_others(controller: Controller) -> None:
    with Relay([]) as relay:
        ann, bob = (connect(relay, controller, name) for name in ("ann", "bob"))
        heal, _ = (relay.part(lambda link, name=name: link.party == name) for name in ("ann", "bob"))  # type: ignore[misc]
        send(bob, request(1))
        send(ann, request(2))
        heal()
        assert ids([controller.mux.recv_multipart()[1:]]) == ["m2"]
        relay.heal()
        assert ids([controller.mux.recv_multipart()[1:]]) == ["m1"]


def test_a_connection_that_is_cut_is_made_again_by_the_peers(relay: Relay, controller: Controller) -> None:
    # Without identities: a ROUTER that did not look meanwhile refuses the same one again.
    ann, bob = (connect(relay, controller, name) for name in ("ann", "bob"))

    def ask(socket: "zmq.Socket[bytes]", text: bytes) -> bytes:
        socket.send(text)
        return bytes(controller.mux.recv_multipart()[1])

    assert [ask(ann, b"one"), ask(bob, b"two")] == [b"one", b"two"]
    relay.cut(lambda link: link.party == "ann")
    assert wait_for(lambda: [link.closed_by for link in relay.links.values() if link.party == "ann"] == ["relay", ""])
    assert [link.closed_by for link in relay.links.values() if link.party == "bob"] == [""]
    assert ask(ann, b"three") == b"three"


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_partition_keeps_what_is_said_in_one_direction_until_it_is_healed(
    relay: Relay, controller: Controller, way: str
) -> None:
    ann, bob = (connect(relay, controller, name) for name in ("ann", "bob"))
    for socket in (ann, bob):
        socket.send(b"hello")
    identities = [controller.mux.recv_multipart()[0] for _ in range(2)]
    relay.part(lambda link: link.party == "ann", up=way == "up", down=way == "down")
    ann.send(b"request")
    for identity in identities:
        controller.mux.send_multipart([identity, b"reply"])
    # What bob sends is behind what ann sent, and passes.
    bob.send(b"barrier")
    assert bob.recv() == b"reply"
    seen = [controller.mux.recv_multipart()[1] for _ in range(1 if way == "up" else 2)]
    assert sorted(seen) == ([b"barrier"] if way == "up" else [b"barrier", b"request"])
    kept = [hop.frames for hop in relay.take() if hop.party == "ann" and hop.is_up == (way == "up")]
    assert kept == ([(b"hello",)] if way == "up" else [])
    relay.heal()
    if way == "up":
        assert controller.mux.recv_multipart()[1] == b"request"
    assert ann.recv() == b"reply"
    assert not [link for link in relay.links.values() if link.closed_by]


@pytest.mark.parametrize("rules", [None, ()])
def test_what_is_encrypted_passes_unread(rules: tuple[Rule, ...] | None, controller: Controller) -> None:
    public, secret = zmq.curve_keypair()
    server = controller.socket(zmq.ROUTER)
    server.curve_server, server.curve_secretkey = True, secret
    port = server.bind_to_random_port(controller.interface)
    kernel = KernelFile(shell_port=port, iopub_port=1, stdin_port=3, hb_port=4, ip="127.0.0.1", key="key")
    with Relay(rules) as relay:
        client = controller.socket(zmq.DEALER)
        client.curve_serverkey = public
        client.curve_publickey, client.curve_secretkey = zmq.curve_keypair()
        client.connect(relay.copy("ann", kernel).address("shell_port"))
        client.send(LARGE)
        identity, frame = server.recv_multipart()
        assert frame == LARGE
        server.send_multipart([identity, b"reply"])
        assert client.recv() == b"reply"
        assert relay.take() == []
        (link,) = relay.links.values()
        for peer in (link.near, link.far):
            assert (peer.mechanism, peer.socket_type) == ("CURVE", "")
            assert "found CURVE" in peer.unreadable


def test_rules_run_one_after_the_other_in_one_thread(controller: Controller) -> None:
    names: set[str] = set()

    def look(_: Passing) -> None:
        names.add(threading.current_thread().name)

    rules: tuple[Callable[[Passing], None], ...] = (look, look)
    assert len(through(controller, rules, *THREE)) == 3
    assert names == {"relay"}

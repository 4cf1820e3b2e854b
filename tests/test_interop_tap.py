"""The tap: what it copies arrives unchanged, and what it writes down names who said it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from reference_cluster import PATIENCE, wait_for

from conformance.files import read_connection_file
from conformance.interop.tap import CONTROLLER, Tap
from protocol.connection import ClientFile, EngineFile
from protocol.messages import build
from protocol.wire import Codec

LARGE = bytes(range(256)) * 40_000


class Controller:
    """The MUX queue of a controller that the tests play, and the files of a whole one."""

    def __init__(self) -> None:
        self.context = zmq.Context()
        self.sockets: list[zmq.Socket[bytes]] = []
        self.mux = self.socket(zmq.ROUTER)
        port = self.mux.bind_to_random_port("tcp://127.0.0.1")
        common = {
            "ssh": "", "interface": "tcp://127.0.0.1", "registration": 1, "control": 2, "mux": port, "task": 3,
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
def tap(controller: Controller) -> Iterator[Tap]:
    with Tap(controller.client, controller.engine) as made:
        yield made


def join(tap: Tap, controller: Controller, party: str, directory: Path) -> "zmq.Socket[bytes]":
    directory.mkdir()
    file = read_connection_file(tap.join(party, directory, "client"), ClientFile)
    assert file.mux != controller.client.mux
    assert file.key == controller.client.key
    socket = controller.socket(zmq.DEALER)
    socket.connect(file.address("mux"))
    return socket


def test_each_party_is_known_by_the_addresses_that_only_it_has(
    tap: Tap, controller: Controller, tmp_path: Path
) -> None:
    ann, bob = (join(tap, controller, name, tmp_path / name) for name in ("ann", "bob"))
    for name, socket in ((b"a", ann), (b"b", bob)):
        # Each claims to be the other.
        socket.send_multipart([b"", {b"a": b"bob", b"b": b"ann"}[name], LARGE])
        identity, *frames = controller.mux.recv_multipart()
        assert frames == [b"", {b"a": b"bob", b"b": b"ann"}[name], LARGE]
        controller.mux.send_multipart([identity, b"reply", name])
        assert socket.recv_multipart() == [b"reply", name]
    hops = tap.take()
    assert [(hop.party, hop.sender, hop.channel, len(hop.frames)) for hop in hops] == [
        ("ann", "ann", "mux", 3), ("ann", CONTROLLER, "mux", 2), ("bob", "bob", "mux", 3),
        ("bob", CONTROLLER, "mux", 2),
    ]  # fmt: skip
    assert [hop.seq for hop in hops] == [1, 2, 3, 4]
    assert tap.take() == []


def test_an_engine_file_has_a_leaf_for_each_leaf_and_its_own_hearts(
    tap: Tap, controller: Controller, tmp_path: Path
) -> None:
    file = read_connection_file(tap.join("engine", tmp_path, "engine"), EngineFile)
    assert len(set(file.broadcast) - {7, 8}) == 2
    assert (file.hb_ping, file.hb_pong) == (controller.engine.hb_ping, controller.engine.hb_pong)


def test_who_hangs_up_is_gone(tap: Tap, controller: Controller, tmp_path: Path) -> None:
    ann, bob = (join(tap, controller, name, tmp_path / name) for name in ("ann", "bob"))
    for socket in (ann, bob):
        socket.send(b"hello")
        controller.mux.recv_multipart()
    assert not tap.gone
    links = {hop.party: hop.link for hop in tap.take()}
    ann.close()
    assert wait_for(lambda: tap.gone == {"ann"})
    assert tap.closed == {links["ann"]}


def test_nobody_behind_a_tap_is_nobody(tap: Tap, controller: Controller, tmp_path: Path) -> None:
    ann = join(tap, controller, "ann", tmp_path / "ann")
    ann.send(b"hello")
    controller.mux.recv_multipart()
    controller.mux.close()
    # The tap hangs up when the controller does, and does not pretend to be there.
    monitor = ann.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    assert monitor.poll(round(PATIENCE * 1000))
    ann.disable_monitor()
    monitor.close()


def test_a_slow_reader_gets_everything(tap: Tap, controller: Controller, tmp_path: Path) -> None:
    ann = join(tap, controller, "ann", tmp_path / "ann")
    ann.send(b"hello")
    identity, _ = controller.mux.recv_multipart()
    controller.mux.set_hwm(0)
    # More than the tap keeps for one receiver, sent before anything is read.
    for number in range(5):
        controller.mux.send_multipart([identity, str(number).encode(), LARGE])
    assert [ann.recv_multipart() for _ in range(5)] == [[str(number).encode(), LARGE] for number in range(5)]


def test_a_signed_message_is_still_signed_behind_a_tap(tap: Tap, controller: Controller, tmp_path: Path) -> None:
    ann = join(tap, controller, "ann", tmp_path / "ann")
    codec = Codec(b"key")
    ann.send_multipart(codec.encode(build("apply_request", msg_id="m1", session="s")))
    _, *frames = controller.mux.recv_multipart()
    assert codec.open(frames).msg_id == "m1"
    (hop,) = tap.take()
    assert codec.open(hop.frames).msg_id == "m1"

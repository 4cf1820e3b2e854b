"""The probe against real sockets of every type, and against peers that are no such sockets."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq
from click.testing import CliRunner

from conformance.cli import main
from conformance.harness.probe import COMPATIBLE, ProbeError, meet, probe


@pytest.fixture
def context() -> Iterator[zmq.Context]:
    with zmq.Context() as context:
        yield context


@contextmanager
def bound(context: zmq.Context, kind: str, **options: object) -> Iterator[str]:
    with context.socket(getattr(zmq, kind)) as peer:
        peer.linger = 0
        for name, value in options.items():
            setattr(peer, name, value)
        yield f"tcp://127.0.0.1:{peer.bind_to_random_port('tcp://127.0.0.1')}"


@pytest.mark.parametrize("kind", COMPATIBLE)
def test_the_type_of_every_socket_is_told_and_its_partner_accepted(context: zmq.Context, kind: str):
    with bound(context, kind) as address:
        seen = meet(address)
    assert (seen.socket_type, seen.mechanism, seen.is_server) == (kind, "NULL", False)
    assert seen.version >= (3, 0)
    assert seen.is_accepted
    assert seen.refusal == ""
    assert seen.probed_as in COMPATIBLE[kind]


@pytest.mark.parametrize("theirs", COMPATIBLE)
@pytest.mark.parametrize("ours", COMPATIBLE)
def test_libzmq_refuses_exactly_what_the_table_does_not_have(context: zmq.Context, ours: str, theirs: str):
    with bound(context, theirs) as address:
        seen = probe(address, socket_type=ours)
    assert seen.socket_type == theirs
    assert seen.is_accepted is (ours in COMPATIBLE[theirs])
    assert bool(seen.refusal) is not seen.is_accepted


@pytest.mark.parametrize(
    ("kind", "identity"), [("ROUTER", b"mux_in"), ("DEALER", b"\x00\xff"), ("ROUTER", b""), ("PUB", None)]
)
def test_an_identity_is_told_by_the_types_that_have_one(context: zmq.Context, kind: str, identity: bytes | None):
    options = {"routing_id": identity} if identity else {}
    with bound(context, kind, **options) as address:
        assert meet(address).identity == identity


def test_a_peer_sees_the_identity_of_the_probe_but_no_message(context: zmq.Context):
    with context.socket(zmq.ROUTER) as router:
        router.linger = 0
        address = f"tcp://127.0.0.1:{router.bind_to_random_port('tcp://127.0.0.1')}"
        assert probe(address, identity=b"me").is_accepted
        with context.socket(zmq.DEALER) as dealer:
            dealer.linger = 0
            dealer.connect(address)
            dealer.send(b"marker")
            assert router.recv_multipart()[1] == b"marker"


def test_a_socket_may_be_reached_over_ipc(context: zmq.Context, tmp_path: Path):
    with context.socket(zmq.ROUTER) as router:
        router.bind(f"ipc://{tmp_path}/hub-1")
        assert probe(f"ipc://{tmp_path}/hub-1").socket_type == "ROUTER"


def test_a_curve_server_tells_its_mechanism_only(context: zmq.Context):
    public, secret = zmq.curve_keypair()
    with bound(context, "ROUTER", curve_server=True, curve_secretkey=secret, curve_publickey=public) as address:
        seen = meet(address)
    assert (seen.mechanism, seen.socket_type, seen.identity, seen.is_accepted) == ("CURVE", None, None, None)


def test_a_plain_server_tells_its_mechanism_only(context: zmq.Context):
    with bound(context, "ROUTER", plain_server=True) as address:
        seen = meet(address)
    assert (seen.mechanism, seen.socket_type) == ("PLAIN", None)
    assert "PLAIN" in str(seen)


# -- peers made by hand ------------------------------------------------------------------------------------------------

SIGNATURE = b"\xff" + bytes(8) + b"\x7f"


def greeting(minor: int = 1, mechanism: bytes = b"NULL") -> bytes:
    return SIGNATURE + bytes([3, minor]) + mechanism.ljust(20, b"\0") + bytes(32)


def command(name: bytes, data: bytes = b"") -> bytes:
    body = bytes([len(name)]) + name + data
    return bytes([4, len(body)]) + body


def ready(**properties: bytes) -> bytes:
    data = b"".join(
        bytes([len(name)]) + name.replace("_", "-").encode() + struct.pack(">I", len(value)) + value
        for name, value in properties.items()
    )
    return command(b"READY", data)


@contextmanager
def peer(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that serves one connection with a function, and then reads until the probe leaves."""

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            talk(connection)
            try:
                while connection.recv(4096):
                    pass
            except OSError:
                pass

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def saying(*data: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(b"".join(data))


def refuse(connection: socket.socket) -> None:
    connection.sendall(greeting() + ready(Socket_Type=b"ROUTER"))
    connection.shutdown(socket.SHUT_WR)


def wait_for_ready(connection: socket.socket) -> None:
    connection.sendall(greeting(minor=0))
    received = b""
    while b"READY" not in received:
        received += connection.recv(4096)
    connection.sendall(ready(socket_type=b"REP", X_Extra=b"1"))


def test_a_peer_of_zmtp_3_0_has_no_ping_to_answer():
    with peer(saying(greeting(minor=0), ready(Socket_Type=b"ROUTER", Identity=b"me"))) as address:
        seen = probe(address)
    assert (seen.version, seen.socket_type, seen.identity, seen.is_accepted) == ((3, 0), "ROUTER", b"me", None)


def test_a_peer_that_waits_for_our_ready_gets_it_and_names_of_properties_have_no_case():
    with peer(wait_for_ready) as address:
        seen = probe(address, deadline_seconds=1.5)
    assert seen.socket_type == "REP"
    assert seen.properties["x-extra"] == b"1"


def test_a_peer_that_hangs_up_after_our_ready_refuses_us():
    with peer(refuse) as address:
        seen = probe(address)
    assert (seen.socket_type, seen.is_accepted, seen.refusal) == ("ROUTER", False, "it hung up")
    assert "refuses DEALER: it hung up" in str(seen)


@pytest.mark.parametrize("first", [b"", ready(Socket_Type=b"ROUTER")])
def test_an_error_command_is_a_refusal_with_its_reason(first: bytes):
    with peer(saying(greeting(), first, command(b"ERROR", b"\x07go away"))) as address:
        seen = probe(address)
    assert (seen.is_accepted, seen.refusal) == (False, "go away")


def test_a_peer_before_zmtp_3_tells_no_more_than_that():
    with peer(saying(SIGNATURE, b"\x01\x05", b"\0\0")) as address:
        seen = probe(address)
    assert (seen.version, seen.socket_type) == ((2, 0), None)


@pytest.mark.parametrize(
    ("talk", "sentence"),
    [
        (saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"), r"does not speak ZMTP: it began with b'HTTP/1\.1 4'"),
        (saying(), r"sent no ZMTP handshake within 0\.3 s"),
        (saying(SIGNATURE), r"sent no ZMTP handshake within 0\.3 s"),
        (saying(greeting()), r"sent no ZMTP handshake within 0\.3 s"),
        (lambda connection: connection.shutdown(socket.SHUT_WR), "hung up before it had told what it is"),
        (saying(greeting(), b"\xf0\x00"), "sent a frame that ZMTP does not know"),
        (saying(greeting(), b"\x06" + b"\xff" * 8), "sent a frame that ZMTP does not know"),
        (saying(greeting(), b"\x04\x00"), "sent a command without a name"),
        (saying(greeting(), b"\x04\x02\x09A"), "sent a command without a name"),
        (saying(greeting(), command(b"HELLO")), "began its handshake with the command 'HELLO'"),
        (saying(greeting(), command(b"READY", b"\x01a\x00\x00\x00\x09b")), "ends within a property"),
    ],
)
def test_a_peer_that_makes_no_handshake_is_told_in_one_sentence(talk, sentence: str):
    with peer(talk) as address, pytest.raises(ProbeError, match=sentence) as caught:
        # Only silence has to be waited for.
        probe(address, deadline_seconds=0.3 if "handshake within" in sentence else 10)
    assert str(caught.value).startswith(address)
    assert "\n" not in str(caught.value)


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(ProbeError, match=f"^{address}: cannot be reached: "):
        probe(address)


def test_a_patient_probe_waits_for_somebody_to_listen(context: zmq.Context, tmp_path: Path):
    address = f"ipc://{tmp_path}/late"
    with context.socket(zmq.ROUTER) as router:
        # Bound by another thread while the probe tries: whichever comes first, the probe must succeed.
        thread = threading.Thread(target=router.bind, args=(address,))
        thread.start()
        assert meet(address, deadline_seconds=10, is_patient=True).socket_type == "ROUTER"
        thread.join()


def test_patience_ends_at_the_deadline(tmp_path: Path):
    with pytest.raises(ProbeError, match="cannot be reached: No such file"):
        probe(f"ipc://{tmp_path}/never", deadline_seconds=0.05, is_patient=True)


@pytest.mark.parametrize("address", ["localhost:1", "tcp://127.0.0.1", "tcp://:5", "tcp://a:0", "udp://a:1", "ipc://"])
def test_an_address_of_another_form_is_a_mistake_of_the_caller(address: str):
    with pytest.raises(ValueError, match="is no address of the form"):
        probe(address)


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_prints_one_line_per_address(context: zmq.Context):
    with bound(context, "ROUTER", routing_id=b"me") as one, bound(context, "PUB") as two:
        result = CliRunner().invoke(main, ["probe", one, two])
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        f"{one}: ZMTP 3.1, NULL, ROUTER, identity b'me'",
        f"{two}: ZMTP 3.1, NULL, PUB",
    ]


def test_the_command_asks_as_the_type_that_is_wanted(context: zmq.Context):
    with bound(context, "PUB") as address:
        result = CliRunner().invoke(main, ["probe", "--as", "req", address])
    assert result.output == f"{address}: ZMTP 3.1, NULL, PUB, refuses REQ: it hung up\n"


@pytest.mark.parametrize(("argument", "status"), [("tcp://127.0.0.1:1", 3), ("nonsense", 4), ("--as=nothing", 4)])
def test_the_command_fails_with_the_fitting_status(argument: str, status: int):
    result = CliRunner().invoke(main, ["probe", argument])
    assert result.exit_code == status
    assert result.output.startswith("ippkit: ")

"""The table of channels: complete, consistent with the connection files, and true of real sockets."""

from collections.abc import Callable, Iterator, Sequence

import pytest
import zmq

from protocol.channels import CHANNELS, DEVICES, PREFIXES, channel, device, fill, match, prefix, socket_for, socket_type
from protocol.connection import ClientFile, EngineFile, HistoricalFile, KernelFile
from protocol.patterns import CONTROLLER, DIALECTS, SLOTS, Channel, End
from protocol.wire import DELIMITER

NAMES = (
    *(
        "query",
        "notification",
        "heartbeat-ping",
        "heartbeat-pong",
        "heartbeat-engine-monitor",
        "mux",
        "task",
        "control",
    ),
    *("iopub", "broadcast", "broadcast-tree", "monitor", "resubmission", "warden-link", "starter-up", "starter-down"),
    *("kernel-shell", "kernel-control", "kernel-stdin", "kernel-stdin-req", "kernel-iopub", "kernel-heartbeat"),
)
RELAYED = ("mux", "task", "control", "iopub", "broadcast")
#: Which types can talk to each other, from the point of view of the one that binds.
COMPATIBLE = {
    "ROUTER": {"DEALER", "ROUTER", "REQ"},
    "DEALER": {"DEALER", "ROUTER", "REP"},
    "PUB": {"SUB", "XSUB"},
    "XPUB": {"SUB", "XSUB"},
    "SUB": {"PUB", "XPUB"},
    "REQ": {"REP", "ROUTER"},
    "REP": {"REQ", "DEALER"},
}
ENDS = [(row, end) for row in CHANNELS for end in row.ends]


def label(value: Channel | End) -> str:
    if isinstance(value, Channel):
        return value.name
    return "-".join(filter(None, [value.role, value.side, value.variant, value.dialects[-1]]))


def test_every_channel_is_there_once() -> None:
    assert tuple(row.name for row in CHANNELS) == NAMES
    for row in CHANNELS:
        assert channel(row.name) is row
        assert row.doc.endswith(".")
        assert row.source


@pytest.mark.parametrize(("row", "end"), ENDS, ids=label)
def test_an_end_is_found_by_role_dialect_side_and_variant(row: Channel, end: End) -> None:
    for dialect in end.dialects:
        assert socket_for(row.name, end.role, dialect, side=end.side, variant=end.variant) is end


@pytest.mark.parametrize("row", CHANNELS, ids=label)
def test_what_binds_and_what_connects_can_talk(row: Channel) -> None:
    for dialect in row.dialects:
        ends = [end for end in row.ends if dialect in end.dialects]
        for variant in {end.variant for end in ends}:
            here = [end for end in ends if end.variant in ("", variant)]
            if variant:
                here = [end for end in here if end.variant == variant or end.role not in CONTROLLER]
            binders = [end for end in here if end.attach == "bind"]
            connectors = [end for end in here if end.attach == "connect"]
            assert binders, dialect
            for connector in connectors:
                side = "engine" if connector.role in ("engine", "warden") else "client"
                faced = [end for end in binders if row.name not in RELAYED or end.side == side]
                assert len(faced) == 1, (dialect, label(connector))
                assert connector.socket in COMPATIBLE[faced[0].socket], (dialect, label(connector))


@pytest.mark.parametrize(("row", "end"), ENDS, ids=label)
def test_envelopes_can_be_filled_and_read_back(row: Channel, end: End) -> None:
    for envelope in (*end.sends, *end.receives):
        values = {slot: [b"1", b"2"] if slot.endswith("*") else slot.encode() for slot in envelope}
        frames = fill(envelope, values)
        read = match((envelope,), frames)
        assert read is not None
        assert tuple(frame for slot in envelope for frame in read[slot]) == frames
        assert set(envelope) <= set(SLOTS)
        # A socket that only publishes or only subscribes has one direction.
    assert not (end.socket in ("PUB", "XPUB") and end.receives)
    assert not (end.socket == "SUB" and end.sends)
    assert end.sends or end.receives
    # The relayed sides have one name each, and nothing else has a side.
    assert (end.side in ("client", "engine")) <= (row.name in (*RELAYED, "resubmission", "starter-up"))


@pytest.mark.parametrize(("row", "end"), ENDS, ids=label)
def test_addresses_are_keys_of_the_files(row: Channel, end: End) -> None:
    known = {
        "client file": ClientFile.ports,
        "engine file": EngineFile.ports,
        "kernel file": KernelFile.ports,
        "historical file": HistoricalFile.keys,
    }
    assert end.address.source not in known or end.address.key in known[end.address.source], row.name
    if end.dialects == ("ipython-0.1x",):
        assert end.address.source not in ("client file", "engine file")
    else:
        assert "ipython-0.1x" not in end.dialects or end.address.source in ("kernel file", "internal")


@pytest.mark.parametrize(
    ("source", "ports"),
    [("client file", ClientFile.ports), ("engine file", EngineFile.ports), ("kernel file", KernelFile.ports)],
)
def test_every_port_of_a_file_is_some_channels(source: str, ports: Sequence[str]) -> None:
    connected = {end.address.key for _, end in ENDS if end.address.source == source and end.attach == "connect"}
    bound = {end.address.key for _, end in ENDS if end.address.source == source and end.attach == "bind"}
    # Registration stands in both files, and the Hub binds it once; a client's file has it on the binding side.
    assert set(ports) - {"registration"} <= connected & bound
    assert "registration" in connected or source == "kernel file"


def test_historical_socket_patterns() -> None:
    old = "ipython-0.1x"
    for name in ("query", "mux", "task", "control"):
        assert socket_for(name, "client", old).identity.rule == "session"
        assert socket_for(name, "client").identity.rule == "none"
    assert str(socket_for("mux", "mux-relay", old, side="client").identity) == "mux"
    assert str(socket_for("control", "control-relay", old, side="client").identity) == "control"
    assert str(socket_for("task", "task-scheduler", old, side="client").identity) == "task"
    assert str(socket_for("task", "task-scheduler", old, side="engine").identity) == "task"
    assert socket_for("mux", "engine", "documented").socket == "DEALER"
    assert socket_for("kernel-stdin-req", "kernel", old).socket == "REQ"
    assert channel("kernel-stdin-req").dialects == (old,)
    assert channel("starter-up").dialects == (old,)
    assert channel("broadcast").dialects == ("ipyparallel-9",)
    assert str(socket_for("mux", "client", old).address) == "connection_reply: mux"
    assert str(socket_for("query", "engine", old).address) == "historical file: url"


def test_old_names_of_socket_types() -> None:
    assert socket_type("XREQ") == "DEALER"
    assert socket_type("xrep") == "ROUTER"
    assert socket_type("XPUB") == "XPUB"
    # libzmq says so too: the constants were aliases for as long as both existed.
    assert (zmq.XREQ, zmq.XREP) == (zmq.DEALER, zmq.ROUTER)
    with pytest.raises(KeyError, match="unknown socket type 'XREPLY'"):
        socket_type("XREPLY")


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(KeyError, match="unknown channel 'registration'; there are: query"):
        channel("registration")
    with pytest.raises(KeyError, match=r"several ends of mux-relay on mux .* mux-relay/client, mux-relay/engine"):
        socket_for("mux", "mux-relay")
    with pytest.raises(KeyError, match=r"no end of client on broadcast in documented; there are: none"):
        socket_for("broadcast", "client", "documented")
    with pytest.raises(KeyError, match="unknown device 'mux'; there are: mux-relay"):
        device("mux")
    with pytest.raises(KeyError, match="unknown monitor prefix b'input'; there are: in"):
        prefix(b"input")


def test_an_envelope_without_its_value_is_the_callers_mistake() -> None:
    with pytest.raises(KeyError, match="needs a value for 'engine'"):
        fill(("engine",), {"client": b"c"})


@pytest.mark.parametrize(
    ("envelopes", "frames", "expected"),
    [
        (((),), [], {}),
        (((),), [b"x"], None),
        ((("engine",), ()), [], {}),
        ((("engine",), ()), [b"e"], {"engine": (b"e",)}),
        ((("engine",), ()), [b"e", b"f"], None),
        ((("empty", "ping"),), [b"", b"1.5"], {"empty": (b"",), "ping": (b"1.5",)}),
        ((("empty", "ping"),), [b"x", b"1.5"], None),
        ((("relay", "path*", "client"),), [b"r", b"c"], {"relay": (b"r",), "path*": (), "client": (b"c",)}),
        (
            (("relay", "path*", "client"),),
            [b"r", b"1", memoryview(b"0"), b"c"],
            {"relay": (b"r",), "path*": (b"1", b"0"), "client": (b"c",)},
        ),
        ((("relay", "path*", "client"),), [b"r"], None),
    ],
)
def test_received_frames_are_named(envelopes: object, frames: object, expected: object) -> None:
    assert match(envelopes, frames) == expected  # type: ignore[arg-type]


def test_every_monitor_prefix_has_its_emitter() -> None:
    assert [row.name for row in PREFIXES] == [
        *(b"in", b"out", b"incontrol", b"outcontrol", b"intask", b"outtask", b"tracktask", b"iopub", b"inbcast"),
        *(b"outbcast", b"heartmonitor"),
    ]
    for row in PREFIXES:
        assert prefix(row.name) is row
        assert row.channel in NAMES
        for dialect in row.dialects:
            assert socket_for("monitor", row.role, dialect).attach == "connect"


@pytest.mark.parametrize("row", DEVICES, ids=lambda row: row.name)
def test_devices_stand_on_channels(row: object) -> None:
    assert isinstance(row, type(DEVICES[0]))
    assert device(row.name) is row
    for dialect in row.dialects:
        ends = [socket_for(at.channel, row.role, dialect, side=_own(at.side, row.role), variant=row.variant)
                for at in (row.front, row.back)]  # fmt: skip
        # Two ROUTERs, and only they, need the exchange of identities, where a device does not read the message.
        if row.kind == "monitored queue":
            assert row.swap == all(end.socket == "ROUTER" for end in ends)
        if row.in_prefix and row.out_prefix != b"N/A":
            assert prefix(row.in_prefix).role == prefix(row.out_prefix or b"").role == row.role


def _own(side: str, role: str) -> str:
    """The side in the row of a relay's end; a warden's end of control has none."""
    return "" if role == "warden" else side


def test_a_monitored_queue_exchanges_identities_and_copies_what_it_sent() -> None:
    frames = [b"client", b"engine", DELIMITER, b"rest"]
    out, copy = device("mux-relay").forward(frames)
    assert out == [b"engine", b"client", DELIMITER, b"rest"]
    assert copy == [b"in", *out]
    back, copy = device("mux-relay").forward([b"engine", b"client", DELIMITER], back=True)
    assert back == [b"client", b"engine", DELIMITER]
    assert copy == [b"out", *back]
    assert frames[0] == b"client"


def test_other_devices_leave_the_frames_alone() -> None:
    frames = [b"client", DELIMITER]
    assert device("task-relay").forward(frames) == (frames, [b"intask", *frames])
    assert device("heart-forwarder").forward([b"1.5"]) == ([b"1.5"], None)
    assert device("heart-monitored").forward([b"1.5"]) == ([b"1.5"], [b"", b"1.5"])
    with pytest.raises(ValueError, match="two identities in front, and there are 1 frames"):
        device("mux-relay").forward([b"client"])


# The table against libzmq: one request and one reply through real sockets, opened as the rows say.

UUID = b"engine-uuid-0001"
BODY = [DELIMITER, b"signature", b"{}", b"{}", b"{}", b"{}"]
Open = Callable[..., zmq.Socket[bytes]]


@pytest.fixture
def opened() -> Iterator[Open]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    sockets = []

    def open_end(end: End, address: str, identity: bytes = b"") -> zmq.Socket[bytes]:
        socket = context.socket(getattr(zmq, end.socket))
        socket.linger = 0
        socket.rcvtimeo = 10_000
        if end.socket == "ROUTER":
            # An unroutable message is an error here; libzmq would drop it.
            socket.router_mandatory = True
        chosen = {"engine-uuid": UUID, "session": b"session-1", "fixed": end.identity.value.encode()}
        own = identity or chosen.get(end.identity.rule, b"")
        if own:
            socket.setsockopt(zmq.IDENTITY, own)
        for name, value in end.options:
            if name != "LINGER":
                socket.setsockopt(getattr(zmq, name), value)
        (socket.bind if end.attach == "bind" else socket.connect)(address)
        sockets.append(socket)
        return socket

    yield open_end
    for socket in sockets:
        socket.close()
    context.term()


def received(socket: zmq.Socket[bytes], end: End) -> dict[str, tuple[bytes, ...]]:
    """What stands before the delimiter, by slot; the rest is the message as it was sent."""
    frames = socket.recv_multipart()
    at = frames.index(DELIMITER)
    assert frames[at:] == BODY
    found = match(end.receives, frames[:at])
    assert found is not None, f"{label(end)} got {frames[:at]}, and expects {end.receives}"
    return found


def flat(slots: dict[str, tuple[bytes, ...]]) -> dict[str, bytes | tuple[bytes, ...]]:
    return {name: frames if name.endswith("*") else frames[0] for name, frames in slots.items()}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", ["mux-relay", "control-relay", "task-relay"])
def test_a_request_and_its_reply_through_a_relay(opened: Open, name: str, dialect: str) -> None:
    relay = device(name)
    asked = relay.front.channel
    front, back = (
        socket_for(asked, relay.role, dialect, side=side, variant=relay.variant) for side in ("client", "engine")
    )
    client, engine = socket_for(asked, "client", dialect), socket_for(asked, "engine", dialect)
    front_socket, back_socket = opened(front, "inproc://front"), opened(back, "inproc://back")
    client_socket, engine_socket = opened(client, "inproc://front"), opened(engine, "inproc://back")

    client_socket.send_multipart([*fill(client.sends[0], {"engine": UUID}), *BODY])
    frames = front_socket.recv_multipart()
    assert match(front.receives, frames[: frames.index(DELIMITER)])
    forwarded, copy = relay.forward(frames)
    assert copy is not None
    assert match(prefix(copy[0]).rest, copy[1 : copy.index(DELIMITER)])
    back_socket.send_multipart(forwarded)
    asked_for = received(engine_socket, engine)
    if client.identity.rule == "session":
        assert asked_for["client"] == (b"session-1",)
    else:
        assert asked_for["client"][0][0] == 0
        assert len(asked_for["client"][0]) == 5
    if back.identity.rule == "fixed" and engine.socket == "ROUTER":
        assert asked_for["relay"] == (back.identity.value.encode(),)

    engine_socket.send_multipart([*fill(engine.sends[0], flat(asked_for)), *BODY])
    frames = back_socket.recv_multipart()
    assert match(back.receives, frames[: frames.index(DELIMITER)])
    returned, copy = relay.forward(frames, back=True)
    assert copy is not None
    assert match(prefix(copy[0]).rest, copy[1 : copy.index(DELIMITER)])
    front_socket.send_multipart(returned)
    answered = received(client_socket, client)
    assert answered == ({} if relay.variant == "pure" else {"engine": (UUID,)})


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_task_scheduler_chooses_and_hides_nothing(opened: Open, dialect: str) -> None:
    front, back = (socket_for("task", "task-scheduler", dialect, side=side) for side in ("client", "engine"))
    client, engine = socket_for("task", "client", dialect), socket_for("task", "engine", dialect)
    front_socket, back_socket = opened(front, "inproc://front"), opened(back, "inproc://back")
    client_socket, engine_socket = opened(client, "inproc://front"), opened(engine, "inproc://back")

    client_socket.send_multipart(BODY)
    asked = received(front_socket, front)
    back_socket.send_multipart([*fill(back.sends[0], {"engine": UUID, "client": asked["client"][0]}), *BODY])
    engine_socket.send_multipart([*fill(engine.sends[0], flat(received(engine_socket, engine))), *BODY])
    result = received(back_socket, back)
    assert result == {"engine": (UUID,), "client": asked["client"]}
    for envelope in front.sends:
        front_socket.send_multipart([*fill(envelope, flat(result)), *BODY])
        assert received(client_socket, client) == ({"engine": (UUID,)} if "engine" in envelope else {})


def test_a_broadcast_passes_the_tree_with_every_scheduler_named(opened: Open) -> None:
    root = socket_for("broadcast", "broadcast-scheduler", side="client")
    parent = socket_for("broadcast-tree", "broadcast-scheduler", side="parent")
    child = socket_for("broadcast-tree", "broadcast-scheduler", side="child")
    leaf = socket_for("broadcast", "broadcast-scheduler", side="engine")
    client, engine = socket_for("broadcast", "client"), socket_for("broadcast", "engine")
    root_socket = opened(root, "inproc://root")
    parent_socket = opened(parent, "inproc://link", b"sub_scheduler_0")
    child_socket = opened(child, "inproc://link", b"sub_scheduler_00")
    leaf_socket = opened(leaf, "inproc://leaf", b"sub_scheduler_00")
    client_socket, engine_socket = opened(client, "inproc://root"), opened(engine, "inproc://leaf")

    client_socket.send_multipart(BODY)
    asked = received(root_socket, root)
    parent_socket.send_multipart(
        [*fill(parent.sends[0], {"child": b"sub_scheduler_00", "client": asked["client"][0]}), *BODY]
    )
    down = received(child_socket, child)
    assert down == {"parent": (b"sub_scheduler_0",), "path*": (), "client": asked["client"]}
    above = (*down["parent"], *down["path*"])
    to_engine = flat({"engine": (UUID,), "path*": above, "client": down["client"]})
    leaf_socket.send_multipart([*fill(leaf.sends[0], to_engine), *BODY])
    arrived = received(engine_socket, engine)
    assert arrived == {"relay": (b"sub_scheduler_00",), "path*": (b"sub_scheduler_0",), "client": asked["client"]}

    engine_socket.send_multipart([*fill(engine.sends[0], flat(arrived)), *BODY])
    up = received(leaf_socket, leaf)
    assert up == {"engine": (UUID,), "path*": (b"sub_scheduler_0",), "client": asked["client"]}
    to_root = flat({"parent": up["path*"][:1], "path*": up["path*"][1:], "client": up["client"]})
    child_socket.send_multipart([*fill(child.sends[0], to_root), *BODY])
    home = received(parent_socket, parent)
    assert home == {"child": (b"sub_scheduler_00",), "path*": (), "client": asked["client"]}
    root_socket.send_multipart([*fill(root.sends[0], {"client": home["client"][0]}), *BODY])
    assert received(client_socket, client) == {}


def test_a_warden_passes_control_on_with_the_envelope_it_received(opened: Open) -> None:
    relay = socket_for("control", "control-relay", side="engine")
    warden, down = socket_for("control", "warden"), socket_for("warden-link", "warden")
    engine = socket_for("warden-link", "engine")
    relay_socket, warden_socket = opened(relay, "inproc://control"), opened(warden, "inproc://control")
    down_socket, engine_socket = opened(down, "inproc://link"), opened(engine, "inproc://link")

    relay_socket.send_multipart([*fill(relay.sends[0], {"engine": UUID, "client": b"c"}), *BODY])
    asked = received(warden_socket, warden)
    assert asked == {"relay": (b"control_out",), "client": (b"c",)}
    down_socket.send_multipart([*fill(down.sends[0], flat(asked)), *BODY])
    arrived = received(engine_socket, engine)
    assert arrived["relay"] == (b"control_out",)
    engine_socket.send_multipart([*fill(engine.sends[0], flat(arrived)), *BODY])
    answered = received(down_socket, down)
    warden_socket.send_multipart([*fill(warden.sends[0], flat(answered)), *BODY])
    assert received(relay_socket, relay) == {"engine": (UUID,), "client": (b"c",)}


@pytest.mark.parametrize("name", ["kernel-shell", "kernel-control", "kernel-stdin"])
def test_a_kernel_and_its_frontend(opened: Open, name: str) -> None:
    kernel, frontend = socket_for(name, "kernel"), socket_for(name, "frontend")
    kernel_socket, frontend_socket = opened(kernel, "inproc://kernel"), opened(frontend, "inproc://kernel")
    frontend_socket.send_multipart(BODY)
    asked = received(kernel_socket, kernel)
    assert asked == {"frontend": (b"session-1",)}
    kernel_socket.send_multipart([*fill(kernel.sends[0], flat(asked)), *BODY])
    assert received(frontend_socket, frontend) == {}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_kernels_heart_echoes_what_a_frontend_sends(opened: Open, dialect: str) -> None:
    kernel, frontend = (socket_for("kernel-heartbeat", role, dialect) for role in ("kernel", "frontend"))
    kernel_socket, frontend_socket = opened(kernel, "inproc://hb"), opened(frontend, "inproc://hb")
    frontend_socket.send_multipart([b"ping"])
    frames = kernel_socket.recv_multipart()
    assert match(kernel.receives, frames)
    kernel_socket.send_multipart(device("kernel-heart").forward(frames)[0])
    assert frontend_socket.recv_multipart() == [b"ping"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_pong_tells_whose_heart_beats(opened: Open, dialect: str) -> None:
    monitor, heart = (
        socket_for("heartbeat-pong", "heart-monitor", dialect),
        socket_for("heartbeat-pong", "heart", dialect),
    )
    monitor_socket, heart_socket = opened(monitor, "inproc://pong"), opened(heart, "inproc://pong")
    heart_socket.send_multipart(fill(heart.sends[0], {"ping": b"1.2345678910"}))
    assert match(monitor.receives, monitor_socket.recv_multipart()) == {"engine": (UUID,), "ping": (b"1.2345678910",)}


def test_a_query_returns_with_everything_the_asker_put_in_front(opened: Open) -> None:
    hub, client = socket_for("query", "hub"), socket_for("query", "client")
    hub_socket, client_socket = opened(hub, "inproc://query"), opened(client, "inproc://query")
    client_socket.send_multipart([b"", b"mine", *BODY])
    asked = received(hub_socket, hub)
    assert asked["extra*"] == (b"", b"mine")
    hub_socket.send_multipart([*fill(hub.sends[0], flat(asked)), *BODY])
    assert client_socket.recv_multipart() == [b"", b"mine", *BODY]

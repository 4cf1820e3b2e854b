"""Every channel of the protocol, one table.

The controller binds and everyone else connects; a kernel binds and frontends connect. The four relayed channels (mux,
task, control, iopub) and broadcast have two sides: clients meet one socket of the relay, engines the other, and one row
describes both. `protocol.patterns` says what the columns mean, `protocol.devices` how relays pass messages across.

Whoever plays a role asks `socket_for("mux", "engine")` for the socket to open, `fill(end.sends[0], {...})` for the
frames to put before the delimiter, and `match(end.receives, message.identities)` for what stands there on arrival.

Socket types, who binds, options and the number of sockets are how a peer is built: a kit that plays a peer follows
them, and observes them in others. What a MUST may demand is in the requirements.

Source: IPython commit a2c57acba (2012), parallel_messages.txt; IPython commit 7bde2f380 (2011), files
parallel_connections.txt, hub.py, client.py, engine.py, heartmonitor.py, entry_point.py; jupyter_client messaging.rst,
"Introduction"; measured on ipyparallel 9.2.0 and ipykernel 7.4.0.
"""

from dataclasses import replace
from functools import cache
from typing import Final

from protocol.devices import DEVICES, Device, Port, device
from protocol.kernel_channels import KERNEL_CHANNELS
from protocol.patterns import (
    DEFAULT_DIALECT,
    DIALECTS,
    ENGINE_UUID,
    NEW,
    NINE,
    NO_IDENTITY,
    OLD,
    SESSION,
    UNTIL_DOCUMENTED,
    Address,
    Channel,
    Dialect,
    End,
    Envelope,
    Framing,
    Identity,
    Prefix,
    Role,
    fill,
    match,
    socket_type,
)
from protocol.wire import Frame

_ALL: Final = ("SUBSCRIBE", b"")
_BARE: Final[tuple[Envelope, ...]] = ((),)
_TOPIC: Final[tuple[Envelope, ...]] = (("topic",), ())
_FROM_ENGINE: Final[tuple[Envelope, ...]] = (("engine",), ())
_ASKED: Final[tuple[Envelope, ...]] = (("requester", "extra*"),)
_MONITORED: Final[tuple[Envelope, ...]] = (("prefix", "rest*"),)
_MONITOR: Final = Address("internal", "the monitor address, in no file")
_QUEUED: Final[tuple[Envelope, ...]] = (("client",),)
_REPLIED: Final[tuple[Envelope, ...]] = (("client", "engine"), ("client",))
_TO_ENGINE: Final[tuple[Envelope, ...]] = (("engine", "client"),)


def _fixed(value: str) -> Identity:
    return Identity("fixed", value)


def _client(key: str) -> Address:
    return Address("client file", key)


def _engine(key: str) -> Address:
    return Address("engine file", key)


#: Keys of the replies that told addresses in the oldest dialect, where they are not those of the files.
_OLD_KEYS: Final = {"hb_ping": "heartbeat[0]", "hb_pong": "heartbeat[1]"}


def _channel(name: str, doc: str, source: str, ends: tuple[End, ...], framing: Framing = "message") -> Channel:
    """A channel, with an extra row for the oldest dialect wherever an end gets its address from a file.

    There the file told only where to register, replies of the Hub told the rest, and a client's DEALERs carried the
    session id.
    """
    rows: list[End] = []
    for end in ends:
        if "ipython-0.1x" not in end.dialects or end.address.source not in ("client file", "engine file"):
            rows.append(end)
            continue
        now = tuple(one for one in end.dialects if one not in OLD)
        if now:
            rows.append(replace(end, dialects=now))
        key = end.address.key
        if key == "registration":
            address = Address("historical file", "url")
        elif end.address.source == "engine file":
            address = Address("registration_reply", _OLD_KEYS.get(key, key))
        else:
            address = Address("connection_reply", "task[1]" if key == "task" else key)
        identity = SESSION if end.role == "client" and end.socket == "DEALER" else end.identity
        rows.append(replace(end, dialects=OLD, address=address, identity=identity))
    return Channel(name, doc, source, tuple(rows), framing)


def _shell(channel: str) -> tuple[End, ...]:
    """The engine's end of mux, task or control: a ROUTER, connected; the documents of 2012 have a DEALER instead."""
    routed: tuple[Envelope, ...] = (("relay", "client"),)
    one = "one socket for all execution channels; in the oldest dialect there may be one per channel"
    two = "engines register the identities of two DEALER sockets"
    dealer = End("engine", "DEALER", "connect", ENGINE_UUID, _engine(channel), _QUEUED, _QUEUED, also=("ROUTER",))
    router = End("engine", "ROUTER", "connect", ENGINE_UUID, _engine(channel), routed, routed)
    return (
        replace(router, dialects=NINE, note="" if channel == "control" else one),
        replace(dealer, dialects=("documented",), note=two),
        replace(router, dialects=OLD, note="" if channel == "control" else one),
    )


def _relay(channel: str, role: Role) -> tuple[End, ...]:
    """The two ROUTERs of a monitored queue. The oldest dialect names the client side only, after the queue."""
    inner: tuple[Envelope, ...] = (("client", "engine"),)
    front = End(role, "ROUTER", "bind", _fixed(f"{channel}_in"), _client(channel), inner, inner, side="client")
    back = End(
        role, "ROUTER", "bind", _fixed(f"{channel}_out"), _engine(channel), _TO_ENGINE, _TO_ENGINE, side="engine"
    )
    return (
        replace(front, dialects=NEW),
        replace(front, dialects=OLD, identity=_fixed(channel)),
        replace(back, dialects=NEW),
        replace(back, dialects=OLD, identity=NO_IDENTITY),
    )


QUERY = _channel(
    "query",
    "Registration of engines and queries of clients: one socket of the Hub for both.",
    "parallel_messages.txt, Registration and Client Queries",
    (
        End("hub", "ROUTER", "bind", NO_IDENTITY, _client("registration"), _ASKED, _ASKED,
            options=(("SNDHWM", 0), ("RCVHWM", 0)), note="the same port in both files"),
        End("client", "DEALER", "connect", NO_IDENTITY, _client("registration"), _BARE, _BARE),
        End("engine", "DEALER", "connect", ENGINE_UUID, _engine("registration"), _BARE, _BARE),
        End("warden", "DEALER", "connect", NO_IDENTITY, _engine("registration"), _BARE, dialects=NINE,
            options=(("LINGER", 3000),), note="opened afresh, for one unregistration_request"),
        End("task-scheduler", "DEALER", "connect", NO_IDENTITY, _client("registration"), _BARE, _BARE, dialects=NINE),
        End("broadcast-scheduler", "DEALER", "connect", NO_IDENTITY, _client("registration"), _BARE, _BARE,
            dialects=NINE),
    ),
)  # fmt: skip

NOTIFICATION = _channel(
    "notification",
    "Engines that came and went, for whoever subscribes. There is no topic frame.",
    "parallel_messages.txt, Notification",
    (
        End("hub", "PUB", "bind", NO_IDENTITY, _client("notification"), _BARE, options=(("SNDHWM", 0),)),
        End("client", "SUB", "connect", NO_IDENTITY, _client("notification"), (), _BARE,
                   options=(_ALL, ("RCVHWM", 0))),
        End("task-scheduler", "SUB", "connect", NO_IDENTITY, _client("notification"), (), _BARE, options=(_ALL,)),
        End("broadcast-scheduler", "SUB", "connect", NO_IDENTITY, _client("notification"), (), _BARE,
            options=(_ALL,), dialects=NINE),
    ),
)  # fmt: skip

HEARTBEAT_PING = _channel(
    "heartbeat-ping",
    "The heart monitor's lifetime, to every heart.",
    "parallel_connections.txt, Heartbeat",
    (
        End("heart-monitor", "PUB", "bind", NO_IDENTITY, _engine("hb_ping"), (("ping",),)),
        End("heart", "SUB", "connect", NO_IDENTITY, _engine("hb_ping"), (), (("ping",),), options=(_ALL,)),
    ),
    framing="raw",
)  # fmt: skip

HEARTBEAT_PONG = _channel(
    "heartbeat-pong",
    "The same bytes back, so that the ROUTER tells whose heart beats.",
    "parallel_connections.txt, Heartbeat",
    (
        End("heart-monitor", "ROUTER", "bind", NO_IDENTITY, _engine("hb_pong"), (), (("engine", "ping"),),
            options=(("SNDHWM", 0), ("RCVHWM", 0))),
        End("heart", "DEALER", "connect", ENGINE_UUID, _engine("hb_pong"), (("ping",),)),
    ),
    framing="raw",
)  # fmt: skip

HEARTBEAT_ENGINE_MONITOR = _channel(
    "heartbeat-engine-monitor",
    "A copy of each ping for the engine, which misses it when the controller is gone.",
    "measured on ipyparallel 9.2.0",
    (
        End("engine", "SUB", "bind", NO_IDENTITY, Address("internal", "a random port of 127.0.0.1"), (),
            (("empty", "ping"),), options=(_ALL,), dialects=NINE),
        End("heart", "PUB", "connect", NO_IDENTITY, Address("internal", "told by the engine's process"),
            (("empty", "ping"),), dialects=NINE),
    ),
    framing="raw",
)  # fmt: skip

MUX = _channel(
    "mux",
    "Requests to one engine, which the client names by its identity, and the replies.",
    "parallel_messages.txt, Schedulers",
    (
        End("client", "DEALER", "connect", NO_IDENTITY, _client("mux"), (("engine",),), (("engine",),)),
        *_relay("mux", "mux-relay"),
        *_shell("mux"),
    ),
)  # fmt: skip

TASK = _channel(
    "task",
    "Requests to any engine: the scheduler chooses. A reply without an engine in front is the scheduler's own.",
    "parallel_messages.txt, Schedulers",
    (
        End("client", "DEALER", "connect", NO_IDENTITY, _client("task"), _BARE, _FROM_ENGINE,
                   note="the client file's task_scheme names the scheme; `pure` replies without an engine"),
        End("task-scheduler", "ROUTER", "bind", _fixed("task_in"), _client("task"), _REPLIED, _QUEUED, side="client",
            options=(("SNDHWM", 0), ("RCVHWM", 0)), dialects=NEW),
        End("task-scheduler", "ROUTER", "bind", _fixed("task"), _client("task"), _REPLIED, _QUEUED, side="client",
            dialects=OLD),
        End("task-scheduler", "ROUTER", "bind", _fixed("task_out"), _engine("task"), _TO_ENGINE, _TO_ENGINE,
            side="engine", dialects=NEW),
        End("task-scheduler", "ROUTER", "bind", _fixed("task"), _engine("task"), _TO_ENGINE, _TO_ENGINE,
            side="engine", dialects=OLD),
        End("task-scheduler", "ROUTER", "bind", _fixed("task_in"), _client("task"), _QUEUED, _QUEUED, side="client",
            variant="pure", dialects=NEW),
        End("task-scheduler", "ROUTER", "bind", _fixed("task"), _client("task"), _QUEUED, _QUEUED, side="client",
            variant="pure", dialects=OLD),
        End("task-scheduler", "DEALER", "bind", _fixed("task_out"), _engine("task"), _QUEUED, _QUEUED, side="engine",
            variant="pure", dialects=NEW),
        End("task-scheduler", "DEALER", "bind", NO_IDENTITY, _engine("task"), _QUEUED, _QUEUED, side="engine",
            variant="pure", dialects=OLD),
        *_shell("task"),
    ),
)  # fmt: skip

CONTROL = _channel(
    "control",
    "Requests that must not wait behind execution: clear, abort, signal, shutdown.",
    "parallel_messages.txt, Control Messages",
    (
        End("client", "DEALER", "connect", NO_IDENTITY, _client("control"), (("engine",),), (("engine",),)),
        *_relay("control", "control-relay"),
        End("warden", "ROUTER", "connect", ENGINE_UUID, _engine("control"), (("relay", "client"),),
            (("relay", "client"),), dialects=NINE, note="in place of its engine"),
        *_shell("control"),
    ),
)  # fmt: skip

IOPUB = _channel(
    "iopub",
    "What engines print, display and report. Only iopub_welcome may come without a topic.",
    "parallel_connections.txt, IOPub; measured on ipyparallel 9.2.0",
    (
        End("engine", "XPUB", "connect", ENGINE_UUID, _engine("iopub"), _TOPIC, also=("PUB",),
            options=(("SNDHWM", 0),), dialects=NINE),
        End("engine", "PUB", "connect", ENGINE_UUID, _engine("iopub"), _TOPIC, also=("XPUB",),
                   dialects=UNTIL_DOCUMENTED),
        End("iopub-relay", "SUB", "bind", NO_IDENTITY, _engine("iopub"), (), _TOPIC, side="engine",
            options=(_ALL, ("RCVHWM", 0))),
        End("iopub-relay", "PUB", "bind", Identity("pattern", "<hub session>_iopub"), _client("iopub"), _TOPIC,
            side="client"),
        End("client", "SUB", "connect", NO_IDENTITY, _client("iopub"), (), _TOPIC, options=(_ALL,)),
    ),
)  # fmt: skip

_LEAF: Final[tuple[Envelope, ...]] = (("engine", "path*", "client"),)
_BRANCH: Final[tuple[Envelope, ...]] = (("child", "path*", "client"),)

BROADCAST = _channel(
    "broadcast",
    "One request for many engines, through a binary tree of schedulers: the root meets clients, the leaves engines.",
    "ipyparallel docs, tutorial on broadcast; measured on ipyparallel 9.2.0",
    (
        End("client", "DEALER", "connect", NO_IDENTITY, _client("broadcast"), _BARE, _BARE, dialects=NINE),
        End("broadcast-scheduler", "ROUTER", "bind", _fixed("sub_scheduler_0"), _client("broadcast"), _QUEUED, _QUEUED,
            side="client", dialects=NINE, note="the root"),
        End("broadcast-scheduler", "ROUTER", "bind", Identity("pattern", "sub_scheduler_<path>"), _engine("broadcast"),
            _LEAF, _LEAF, side="engine", dialects=NINE, note="a leaf, one address each"),
        End("engine", "ROUTER", "connect", ENGINE_UUID, _engine("broadcast"), (("relay", "path*", "client"),),
            (("relay", "path*", "client"),), dialects=NINE,
            note="the shell socket; leaf number = engine id modulo the number of leaves"),
    ),
)  # fmt: skip

_NODE: Final = Identity("pattern", "sub_scheduler_<path>")
_LINK: Final = Address("internal", "told by the controller's process")

BROADCAST_TREE = _channel(
    "broadcast-tree",
    "The links between broadcast schedulers: one socket per child, and both ends are ROUTERs.",
    "measured on ipyparallel 9.2.0",
    (
        End("broadcast-scheduler", "ROUTER", "bind", _NODE, _LINK, _BRANCH, _BRANCH, side="parent", dialects=NINE),
        End("broadcast-scheduler", "ROUTER", "connect", _NODE, _LINK, (("parent", "path*", "client"),),
            (("parent", "path*", "client"),), side="child", dialects=NINE),
    ),
)  # fmt: skip


def _emitter(role: Role, **more: object) -> End:
    return replace(End(role, "PUB", "connect", NO_IDENTITY, _MONITOR, _MONITORED), **more)  # type: ignore[arg-type]


MONITOR = _channel(
    "monitor",
    "A copy of all queue traffic for the Hub, each message with a prefix that tells queue and direction.",
    "parallel_connections.txt, Schedulers; parallel_messages.txt, Schedulers",
    (
        End("hub", "SUB", "bind", NO_IDENTITY, _MONITOR, (), _MONITORED, options=(_ALL, ("RCVHWM", 0))),
        _emitter("mux-relay"),
        _emitter("control-relay"),
        _emitter("iopub-relay"),
        _emitter("task-scheduler", options=(("SNDHWM", 0),)),
        _emitter("broadcast-scheduler", dialects=NINE),
        _emitter("heart-monitor", socket="XPUB", dialects=NINE, note="waits for the subscription before it beats"),
    ),
)

RESUBMISSION = _channel(
    "resubmission",
    "The Hub's own way into the task queue, for requests that a client asks it to submit again.",
    "IPython commit 7bde2f380 (2011), hub.py; measured on ipyparallel 9.2.0",
    (
        End("hub", "DEALER", "connect", NO_IDENTITY, _client("task"), _BARE, _FROM_ENGINE, dialects=NEW),
        End("hub", "DEALER", "connect", SESSION, _client("task"), _BARE, _FROM_ENGINE, dialects=OLD),
        End("task-scheduler", "ROUTER", "bind", _fixed("task_in"), _client("task"), _REPLIED, _QUEUED, side="client",
            dialects=NEW, note="the same socket as on task"),
        End("task-scheduler", "ROUTER", "bind", _fixed("task"), _client("task"), _REPLIED, _QUEUED, side="client",
            dialects=OLD, note="the same socket as on task"),
    ),
)  # fmt: skip

WARDEN_LINK = _channel(
    "warden-link",
    "Between an engine and its nanny, which passes control messages on with the envelope it received.",
    "measured on ipyparallel 9.2.0",
    (
        End("warden", "DEALER", "bind", NO_IDENTITY, Address("internal", "a random port of 127.0.0.1"),
            (("relay", "client"),), (("relay", "client"),), dialects=NINE),
        End("engine", "ROUTER", "connect", ENGINE_UUID, Address("internal", "the first line the nanny prints"),
            (("warden", "relay", "client"),), (("warden", "relay", "client"),), dialects=NINE),
    ),
)  # fmt: skip

STARTER_UP = _channel(
    "starter-up",
    "The kernel starter towards the control queue.",
    "IPython commit 7bde2f380 (2011), kernelstarter.py",
    (
        End("warden", "DEALER", "connect", NO_IDENTITY, Address("registration_reply", "control"), (("client",),),
            (("client",),), dialects=OLD),
        End("control-relay", "ROUTER", "bind", NO_IDENTITY, _engine("control"), _TO_ENGINE, _TO_ENGINE, side="engine",
            dialects=OLD, note="the same socket as on control"),
    ),
)  # fmt: skip

STARTER_DOWN = _channel(
    "starter-down",
    "The kernel starter towards the kernel it started.",
    "IPython commit 7bde2f380 (2011), kernelstarter.py",
    (
        End("warden", "DEALER", "connect", NO_IDENTITY, Address("internal", "an argument of the starter"),
            (("client",),), (("client",),), dialects=OLD),
        End("kernel", "ROUTER", "bind", NO_IDENTITY, Address("internal", "an argument of the kernel"),
            (("warden", "client"),), (("warden", "client"),), dialects=OLD),
    ),
)  # fmt: skip

CHANNELS: Final[tuple[Channel, ...]] = (
    QUERY, NOTIFICATION, HEARTBEAT_PING, HEARTBEAT_PONG, HEARTBEAT_ENGINE_MONITOR, MUX, TASK, CONTROL, IOPUB,
    BROADCAST, BROADCAST_TREE, MONITOR, RESUBMISSION, WARDEN_LINK, STARTER_UP, STARTER_DOWN,
    *KERNEL_CHANNELS,
)  # fmt: skip

#: What stands in front of messages on the monitor channel: the shape of each kind of traffic, and who emits it.
PREFIXES: Final[tuple[Prefix, ...]] = (
    Prefix(b"in", _TO_ENGINE, "mux-relay", "mux", "a request on its way to an engine"),
    Prefix(b"out", (("client", "engine"),), "mux-relay", "mux", "a reply on its way to a client"),
    Prefix(b"incontrol", _TO_ENGINE, "control-relay", "control", "a control request; the Hub ignores it"),
    Prefix(b"outcontrol", (("client", "engine"),), "control-relay", "control", "a control reply; the Hub ignores it"),
    Prefix(b"intask", _QUEUED, "task-scheduler", "task", "a task as the scheduler received it"),
    Prefix(b"outtask", _REPLIED, "task-scheduler", "task", "a reply; without an engine if the scheduler made it"),
    Prefix(b"tracktask", (("session",),), "task-scheduler", "task", "task_destination, behind the scheduler's session"),
    Prefix(b"iopub", _TOPIC, "iopub-relay", "iopub", "what an engine published"),
    Prefix(b"inbcast", _QUEUED, "broadcast-scheduler", "broadcast", "a broadcast request", NINE),
    Prefix(b"outbcast", _QUEUED, "broadcast-scheduler", "broadcast", "a reply to a broadcast request", NINE),
    Prefix(b"heartmonitor", (("empty",),), "heart-monitor", "monitor", "new_heart or stopped_heart", NINE),
)

_BY_NAME: Final = {row.name: row for row in CHANNELS}
_BY_PREFIX: Final = {row.name: row for row in PREFIXES}


def channel(name: str) -> Channel:
    """The channel of this name. Raises KeyError, naming all there are."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise KeyError(f"unknown channel {name!r}; there are: {', '.join(_BY_NAME)}") from None


def prefix(name: Frame) -> Prefix:
    """The monitor prefix of this name. Raises KeyError, naming all there are."""
    try:
        return _BY_PREFIX[bytes(name)]
    except KeyError:
        known = ", ".join(row.name.decode() for row in PREFIXES)
        raise KeyError(f"unknown monitor prefix {bytes(name)!r}; there are: {known}") from None


@cache
def socket_for(name: str, role: str, dialect: str = DEFAULT_DIALECT, *, side: str = "", variant: str = "") -> End:
    """The socket that a role opens on a channel. Raises KeyError, naming what there is instead.

    `side` is needed where a role has both sockets of a relayed channel.
    """
    return channel(name).end(role, dialect, side=side, variant=variant)


__all__ = [
    "CHANNELS", "DEVICES", "DIALECTS", "PREFIXES", "Address", "Channel", "Device", "Dialect", "End", "Envelope",
    "Identity", "Port", "Prefix", "Role", "channel", "device", "fill", "match", "prefix", "socket_for", "socket_type",
]  # fmt: skip

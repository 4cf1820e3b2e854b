"""How a controller is put together from roles: its processes, their sockets, the addresses by which they meet.

Whoever brings up a controller, on real sockets or on virtual ones, does it from these tables: `processes` says which
process has which roles, `opening` with what type and options a socket is opened, `place_of` where it binds or connects.

An address has a *place*: the name under which both of its ends know it, such as `client mux`, `engine hb_pong`,
`registration` or `monitor`. Whoever binds a place reports the port; whoever connects is told it.

High-water marks are 0: nothing of ours is dropped, and sending never waits. Only a subscriber that has stopped reading
output loses some of it in the end, since nobody could say when it will go on. A ROUTER lets a returning identity take
its place (ROUTER_HANDOVER): without that, a peer that comes back before its old connection was noticed to be dead would
be connected, unreachable, and never told so. A connecting PUB is opened as XPUB, which is the same to its peer, so
that its process sees when the listener is there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from protocol.channels import socket_for
from protocol.connection import ClientFile, EngineFile
from protocol.patterns import End
from protocol.roles.base import Env, Role, SocketSpec
from protocol.roles.broadcast import BroadcastConfig, BroadcastScheduler, children, name_of, nodes
from protocol.roles.heartmonitor import HeartMonitor, HeartMonitorConfig
from protocol.roles.hub import Hub, HubConfig
from protocol.roles.relay import ControlRelay, IopubRelay, MuxRelay, Relay, TaskRelay
from protocol.roles.task import TaskConfig, TaskScheduler, scheduler
from protocol.world import MILLISECOND, SECOND

#: The queues that have an address for clients and one for engines.
QUEUES: Final = ("control", "mux", "task", "iopub")
#: How many messages of output wait for a client that does not read them.
UNREAD_OUTPUT: Final = 100_000
#: Nanoseconds after which whoever must know the engines asks the Hub again: a notification may have been lost.
RESYNC: Final = 30 * SECOND
#: How places begin that only one process knows: it binds and connects there within itself.
LINK: Final = "link "

#: Place -> the ports bound there, in the order of binding.
Places = Mapping[str, Sequence[int]]


class ProcessEnv(Env):
    """The environment of a process, which has a session of its own."""

    session: str


class ControllerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the roles of a controller are told; the unit is part of the names. `notes` adds facts of inner state.

    `interface` is the one for engines, such as `tcp://127.0.0.1`.
    """

    interface: str
    scheme: str = "leastload"
    hwm: int = 1
    period_ms: int = 3000
    misses: int = 10
    registration_timeout_s: float = 30.0
    scheduler_grace_s: float = 5.0
    broadcast_depth: int = 1
    remembered: int = 1 << 16
    has_new_scheduler: bool = True
    notes: bool = False


@dataclass(frozen=True)
class Node:
    """One role of a process: its sockets, and how the machine is made once all addresses are known.

    `build` gets the environment and the places of all. `places` overrides where sockets bind or connect; `extra` are
    keyword arguments for the shell, made in its process. `state` is what the role left before a restart.
    """

    role: str
    sockets: Mapping[str, SocketSpec]
    build: Callable[[Any, Places], Role]
    variant: str = ""
    identity: bytes = b""
    places: Mapping[str, str] = field(default_factory=dict)
    extra: Callable[[], Mapping[str, Any]] = dict
    state: Any = None

    def place(self, name: str, end: End) -> str:
        """Where a socket binds or connects."""
        return self.places.get(name) or place_of(end)


Parts = Mapping[str, tuple[Node, ...]]


def processes(config: ControllerConfig, extra: Callable[[], Mapping[str, Any]] = dict, state: Any = None) -> Parts:
    """The processes of a controller by name, the Hub's first.

    `extra` are keyword arguments for the Hub's shell, `state` is what the Hub left before a restart.
    """
    grace = round(config.scheduler_grace_s * SECOND)

    def hub(env: ProcessEnv, places: Places) -> Role:
        info: dict[str, Any] = {"interface": config.interface, "registration": places["registration"][0]}
        info |= {name: places[f"engine {name}"][0] for name in (*QUEUES, "hb_ping", "hb_pong")}
        info["broadcast"] = list(places["engine broadcast"])
        return Hub(
            HubConfig(
                session=env.session,
                hb_period_ms=config.period_ms,
                connection_info=info,
                registration_timeout=round(config.registration_timeout_s * SECOND),
                has_new_scheduler=config.has_new_scheduler,
                notes=config.notes,
            ),
            env,
        )

    def relay(kind: type[Relay]) -> tuple[Node, ...]:
        return (Node(kind.NAME, kind.SOCKETS, lambda env, _: kind(env)),)

    def heart_monitor(env: ProcessEnv, _: Places) -> Role:
        period = config.period_ms * MILLISECOND
        return HeartMonitor(HeartMonitorConfig(period=period, misses=config.misses, notes=config.notes), env)

    def tasks(env: ProcessEnv, _: Places) -> Role:
        settings = TaskConfig(
            scheme=config.scheme,
            hwm=config.hwm,
            grace=grace,
            resync=RESYNC,
            remember=config.remembered,
            session=env.session,
            notes=config.notes,
        )
        return scheduler(settings, env)

    def broadcast(path: str) -> Node:
        def build(env: ProcessEnv, _: Places) -> BroadcastScheduler:
            settings = BroadcastConfig(
                path=path, depth=config.broadcast_depth, session=env.session, grace=grace, refresh=RESYNC
            )
            return BroadcastScheduler(settings, env)

        sockets = BroadcastScheduler.sockets_of(path, config.broadcast_depth)
        places = {"parent": f"{LINK}{path}"} | {
            f"child{number}": f"{LINK}{child}" for number, child in enumerate(children(path))
        }
        return Node(
            BroadcastScheduler.NAME, sockets, build,
            identity=name_of(path).encode(),
            places={name: place for name, place in places.items() if name in sockets},
        )  # fmt: skip

    is_pure = config.scheme == "pure"
    return {
        "hub": (Node(Hub.NAME, Hub.SOCKETS, hub, extra=extra, state=state),),
        "iopub": relay(IopubRelay),
        "mux": relay(MuxRelay),
        "control": relay(ControlRelay),
        "tasks": (
            Node(
                TaskScheduler.NAME,
                TaskRelay.SOCKETS if is_pure else TaskScheduler.SOCKETS,
                tasks,
                variant="pure" if is_pure else "",
            ),
        ),
        # The links of the tree stay within one process.
        "broadcast": tuple(map(broadcast, nodes(config.broadcast_depth))),
        "hearts": (Node(HeartMonitor.NAME, HeartMonitor.SOCKETS, heart_monitor),),
    }


# -- sockets and places ------------------------------------------------------------------------------------------------


class Opening(NamedTuple):
    """How a socket is opened: its ZeroMQ type, and its options by name, set before it binds or connects."""

    kind: str
    options: tuple[tuple[str, int | bytes], ...]


def end_of(role: str, spec: SocketSpec, variant: str = "") -> End:
    """The end of a channel that a role's socket is; `variant` is used where the table has it for this channel."""
    try:
        return socket_for(spec.channel, role, side=spec.side, variant=variant)
    except KeyError:
        if not variant:
            raise
        return socket_for(spec.channel, role, side=spec.side)


def place_of(end: End) -> str:
    """The place of an end's address."""
    source, key = end.address
    if source == "internal":
        return "monitor"
    if key == "registration":
        return key
    return f"{source.partition(' ')[0]} {key}"


def opening(end: End, identity: bytes = b"", *, is_mandatory: bool = False, kind: str = "") -> Opening:
    """How a socket for this end is opened. `identity` stands for one that the table does not fix.

    `is_mandatory` is that of the role's `SocketSpec`, `kind` a type in the place of the usual one.
    """
    if not kind:
        kind = end.socket
        if kind == "PUB" and (end.attach == "connect" or end.role == "hub"):
            kind = "XPUB"
    options: list[tuple[str, int | bytes]] = [("SNDHWM", 0), ("RCVHWM", 0), ("LINGER", 0)]
    if end.identity.rule == "fixed":
        identity = end.identity.value.encode()
    if identity:
        options.append(("ROUTING_ID", identity))
    if kind == "ROUTER":
        options.append(("ROUTER_HANDOVER", 1))
        if is_mandatory:
            options.append(("ROUTER_MANDATORY", 1))
    if kind == "XPUB":
        # Each subscriber is told of, not only the first.
        options.append(("XPUB_VERBOSE", 1))
    options += end.options
    if end.role == "iopub-relay" and kind == "PUB":
        options.append(("SNDHWM", UNREAD_OUTPUT))
    return Opening(kind, tuple(options))


def listeners(made: Parts) -> dict[str, int]:
    """How many subscribers of our own a place waits for, so that none of them misses a notification."""
    others = [node for process in made.values() for node in process if node.role != Hub.NAME]
    count = sum(spec.channel == "notification" for node in others for spec in node.sockets.values())
    return {"client notification": count}


def places_to_bind(made: Parts) -> list[str]:
    """The place of every socket that is bound, in the order of binding."""
    found = []
    for node in (node for process in made.values() for node in process):
        for name, spec in node.sockets.items():
            end = end_of(node.role, spec, node.variant)
            place = node.place(name, end)
            if end.attach == "bind" and not place.startswith(LINK):
                found.append(place)
    return found


# -- connection files --------------------------------------------------------------------------------------------------


def connection_files(
    places: Places,
    *,
    key: str,
    scheme: str,
    client: str,
    engine: str,
    location: str,
    server_key: str = "",
    signature_scheme: str = "hmac-sha256",
) -> tuple[ClientFile, EngineFile]:
    """Both files of a controller whose sockets are bound at these places.

    `client` and `engine` are the interfaces, `scheme` the task scheme, `server_key` the public key of CURVE.
    """

    def port(place: str) -> int:
        return places[place][0]

    common: dict[str, Any] = {
        "ssh": "",
        "registration": port("registration"),
        "key": key,
        "curve_serverkey": server_key or None,
        "location": location,
        "pack": "json",
        "unpack": "json",
        "signature_scheme": signature_scheme,
    }
    return (
        ClientFile(
            **common | {name: port(f"client {name}") for name in QUEUES},
            interface=client,
            task_scheme=scheme,
            notification=port("client notification"),
            broadcast=port("client broadcast"),
        ),
        EngineFile(
            **common | {name: port(f"engine {name}") for name in QUEUES},
            interface=engine,
            hb_ping=port("engine hb_ping"),
            hb_pong=port("engine hb_pong"),
            broadcast=list(places["engine broadcast"]),
        ),
    )

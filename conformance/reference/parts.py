"""The parts of a controller: which process has which roles, and how each is set."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from conformance.reference.env import RealEnv
from conformance.reference.service import Node, Places
from conformance.reference.sockets import LINK, end_of, place_of
from conformance.reference.storage import open_records
from protocol.roles.base import Role
from protocol.roles.broadcast import BroadcastConfig, BroadcastScheduler, children, name_of, nodes
from protocol.roles.heartmonitor import HeartMonitor, HeartMonitorConfig
from protocol.roles.hub import Hub, HubConfig
from protocol.roles.relay import ControlRelay, IopubRelay, MuxRelay, Relay, TaskRelay
from protocol.roles.task import TaskConfig, TaskScheduler, scheduler
from protocol.world import MILLISECOND, SECOND

#: The queues that have an address for clients and one for engines.
QUEUES: Final = ("control", "mux", "task", "iopub")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a user may choose; times with their unit in the name, the rest as `ippkit controller --help` says."""

    directory: Path
    database: str = "memory"
    scheme: str = "leastload"
    hwm: int = 1
    period_ms: int = 3000
    misses: int = 10
    registration_timeout_s: float = 30.0
    scheduler_grace_s: float = 5.0
    broadcast_depth: int = 1
    is_restored: bool = False
    has_curve: bool = False
    client_ip: str = "127.0.0.1"
    engine_ip: str = ""
    transport: str = "tcp"


Parts = Mapping[str, tuple[Node, ...]]


def parts(options: Options, interface: str, state: Any, keep: Callable[[Any], None]) -> Parts:
    """The processes of a controller by name, the Hub's first.

    `interface` is the one for engines; `state` is what the Hub left before a restart, and `keep` takes what it leaves.
    """

    def hub(env: RealEnv, places: Places) -> Role:
        info: dict[str, Any] = {"interface": interface, "registration": places["registration"][0]}
        info |= {name: places[f"engine {name}"][0] for name in (*QUEUES, "hb_ping", "hb_pong")}
        info["broadcast"] = list(places["engine broadcast"])
        config = HubConfig(
            session=env.session,
            hb_period_ms=options.period_ms,
            connection_info=info,
            registration_timeout=round(options.registration_timeout_s * SECOND),
        )
        return Hub(config, env)

    def relay(kind: type[Relay]) -> tuple[Node, ...]:
        return (Node(kind.NAME, kind.SOCKETS, lambda env, _: kind(env)),)

    def heart_monitor(env: RealEnv, _: Places) -> Role:
        return HeartMonitor(HeartMonitorConfig(period=options.period_ms * MILLISECOND, misses=options.misses), env)

    def tasks(env: RealEnv, _: Places) -> Role:
        grace = round(options.scheduler_grace_s * SECOND)
        config = TaskConfig(scheme=options.scheme, hwm=options.hwm, grace=grace, session=env.session)
        return scheduler(config, env)

    def broadcast(path: str) -> Node:
        def build(env: RealEnv, _: Places) -> BroadcastScheduler:
            depth, grace = options.broadcast_depth, round(options.scheduler_grace_s * SECOND)
            return BroadcastScheduler(BroadcastConfig(path=path, depth=depth, session=env.session, grace=grace), env)

        sockets = build(RealEnv(), {}).sockets
        places = {"parent": f"{LINK}{path}"} | {
            f"child{number}": f"{LINK}{child}" for number, child in enumerate(children(path))
        }
        return Node(
            BroadcastScheduler.NAME, sockets, build,
            identity=name_of(path).encode(),
            places={name: place for name, place in places.items() if name in sockets},
        )  # fmt: skip

    is_pure = options.scheme == "pure"
    return {
        "hub": (
            Node(
                Hub.NAME, Hub.SOCKETS, hub,
                extra=lambda: {"records": open_records(options.database), "persist": keep},
                state=state,
            ),
        ),
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
        "broadcast": tuple(map(broadcast, nodes(options.broadcast_depth))),
        "hearts": (Node(HeartMonitor.NAME, HeartMonitor.SOCKETS, heart_monitor),),
    }  # fmt: skip


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
            place = node.places.get(name) or place_of(end)
            if end.attach == "bind" and not place.startswith(LINK):
                found.append(place)
    return found

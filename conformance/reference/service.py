"""What one child of the controller does: open sockets, meet the others, then run its roles until it is told to end.

A process holds one role, or several that belong together, such as the nodes of the broadcast tree. What differs between
processes is a list of `Node`; the rest is here.
"""

import contextlib
import gc
import select
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import zmq

from conformance.reference.env import Log, RealEnv
from conformance.reference.shell import Loop, Shell
from conformance.reference.sockets import (
    BusyPort,
    Curve,
    Interfaces,
    Opened,
    await_listeners,
    bind,
    inside,
    open_all,
)
from conformance.reference.supervisor import Gone, Pair
from protocol.roles.assembly import LINK, Node, Places
from protocol.roles.base import Raw
from protocol.roles.records import StoreError
from protocol.wire import Codec, ReplayMemory

#: Milliseconds that last words get to leave the process.
LINGER: Final = 500
#: How many more containers must be made than were freed before the garbage collector looks.
COLLECT_AFTER: Final = 50_000
#: Seconds between two looks at sockets while nothing else is going on.
STEP: Final = 0.005


@dataclass(frozen=True)
class Setup:
    """What every process of one controller knows before it is forked. The key and the secret key are shown nowhere.

    `ports` are those to bind, for places that had some before; `listeners` says how many subscribers a place waits for.
    """

    interfaces: Interfaces
    key: bytes = field(repr=False)
    scheme: str = "hmac-sha256"
    packer: str = "json"
    curve: Curve | None = field(default=None, repr=False)
    ports: Mapping[str, Sequence[int]] = field(default_factory=dict)
    listeners: Mapping[str, int] = field(default_factory=dict)

    def codec(self) -> Codec:
        """A codec that remembers what it has accepted."""
        return Codec(self.key, scheme=self.scheme, packer=self.packer, replay=ReplayMemory())


def serve(name: str, nodes: Sequence[Node], setup: Setup, pair: Pair) -> int:
    """Run the roles of one process; its exit status. Raises Gone if the supervisor ends before the roles began."""
    log = Log(name)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    opened: list[dict[str, Opened]] = []
    try:
        for node in nodes:
            sockets = open_all(
                context, node.role, node.sockets,
                variant=node.variant, identity=node.identity, curve=setup.curve, places=node.places,
            )  # fmt: skip
            opened.append(sockets)
        everything = [one for sockets in opened for one in sockets.values()]
        extras = [dict(node.extra()) for node in nodes]
        pair.tell(bound=_bind(everything, setup))
    except (BusyPort, StoreError, OSError, ValueError) as error:
        # Sentences for the user; nothing in them comes from a message.
        with contextlib.suppress(Gone):
            pair.tell(failed=str(error))
        context.destroy(linger=0)
        return 3
    try:
        places = _expect(pair, "places", everything)
        _connect(everything, setup, places)
        told = _meet(everything, setup, pair)
        pair.tell(is_ready=True)
        _expect(pair, "is_begun", everything)
    except Gone:
        context.destroy(linger=0)
        raise
    loop = Loop()
    shells = []
    for node, sockets, extra in zip(nodes, opened, extras, strict=True):
        codec = setup.codec()
        shell = Shell(
            node.build(RealEnv(), places),
            {one: socket.zsocket for one, socket in sockets.items()},
            codec,
            log=log,
            # What the monitor copies may have been seen by this role before, as a message of its own.
            codecs={one: setup.codec() for one, spec in node.sockets.items() if spec.channel == "monitor"},
            **extra,
        )
        loop.add(shell)
        shells.append((shell, node))
    loop.watch(pair.fileno(), lambda: _listen(loop, pair))
    # Messages and records hold no cycles; to walk over all that is remembered costs more than could be found.
    gc.set_threshold(COLLECT_AFTER, 20, 50)
    for shell, node in shells:
        shell.start(node.state)
        for link in shell.links.values():
            for frame in told.get(link.zsocket, ()):
                shell.deliver(Raw(link.name, (frame,)))
    if pair.kept:
        _listen(loop, pair)
    status = loop.run()
    loop.close(LINGER)
    context.term()
    for shell, _ in shells:
        if shell.records is not None:
            shell.records.close()
    return status


def _bind(opened: Sequence[Opened], setup: Setup) -> dict[str, list[int]]:
    bound: dict[str, list[int]] = {}
    for zsocket, end, place in opened:
        if end.attach == "bind" and place.startswith(LINK):
            zsocket.bind(inside(place))
        elif end.attach == "bind":
            known = setup.ports.get(place, ())
            ports = bound.setdefault(place, [])
            wanted = known[len(ports)] if len(ports) < len(known) else 0
            ports.append(bind(zsocket, setup.interfaces.of(place), wanted))
    return bound


def _connect(opened: Sequence[Opened], setup: Setup, places: Places) -> None:
    for zsocket, end, place in opened:
        if end.attach == "connect" and place.startswith(LINK):
            zsocket.connect(inside(place))
        elif end.attach == "connect":
            zsocket.connect(setup.interfaces.address(place, places[place][0]))


def _meet(opened: Sequence[Opened], setup: Setup, pair: Pair) -> "dict[Any, list[bytes]]":
    """Wait until those are there who must not miss anything; what they said, by socket."""
    told = {}
    for zsocket, end, place in opened:
        if zsocket.type == zmq.XPUB:
            count = 1 if end.attach == "connect" else setup.listeners.get(place, 0)
            told[zsocket] = await_listeners(zsocket, count, pair.is_closed)
    return told


def _expect(pair: Pair, key: str, opened: Sequence[Opened]) -> Any:
    """What the supervisor says next, under this key. Raises Gone."""
    while not pair.kept and not select.select([pair], [], [], STEP)[0]:
        # libzmq subscribes for us only when its socket is used.
        for one in opened:
            one.zsocket.getsockopt(zmq.EVENTS)
    line = pair.line()
    if key not in line:
        # Told to stop before anything began.
        raise Gone
    return line[key]


def _listen(loop: Loop, pair: Pair) -> None:
    try:
        for line in pair.lines():
            if "is_stopping" in line:
                for shell in loop.shells:
                    shell.stop()
    except Gone:
        loop.forget(pair.fileno())
        loop.stop()


__all__ = ["Setup", "serve"]

"""The parts of ipyparallel's controller, each as it is put together by the controller's own start, in a process.

The options of sockets, the identities and the order are those of `ipyparallel.controller.app` and of the functions that
launch its schedulers. Queues without a scheduler are pyzmq's monitored queues; the simulator has that device.
"""

import random
import sys
import traceback
import weakref
from collections.abc import Callable, Mapping, MutableMapping
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from conformance.targets.adapters.edition import PID, Edition
from conformance.targets.adapters.looks import CountedQueue
from conformance.targets.adapters.loop import TornadoLoop, VirtualLoop
from conformance.targets.adapters.ordered import OrderedSet
from conformance.targets.adapters.streams import PlainSocket, ToldSocket, stream
from protocol.channels import channel
from protocol.errors import ProtocolError
from protocol.roles.assembly import ControllerConfig
from protocol.roles.base import Arrived, Effect, Event, Malformed, Raw, Role, Send, SendRaw
from protocol.roles.relay import ControlRelay, IopubRelay, MuxRelay, Relay
from protocol.roles.speech import content_of, parent_id
from protocol.world import MILLISECOND
from simulator.hosts import Process
from simulator.shell import message_in
from simulator.sockets.base import POLLIN
from simulator.sockets.devices import Relay as Queue
from simulator.sockets.router import Router
from simulator.world import World

#: No limit to what waits in a socket, in either direction.
UNLIMITED: Final = (("SNDHWM", 0), ("RCVHWM", 0))
#: What parts of a controller tell each other, once, of engines and hearts.
TOLD: Final = ("new_heart", "stopped_heart", "registration_notification", "unregistration_notification")
#: Where they do.
TELLING: Final = ("monitor", "notification")
#: The name of the file in which the Hub keeps its engines.
STATE_FILE: Final = "engines.json"
#: The folder of its database, and the table in which the records are. Without a name for that it is another one after
#: each start.
FOLDER: Final = "profile"
TABLE: Final = "records"
Options = tuple[tuple[str, int | bytes], ...]
Kind = TypeVar("Kind", str, bytes)


class Places:
    """Where sockets bind and connect: one port for each place, whoever is first to ask."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._ports: dict[str, int] = {}

    def port(self, place: str) -> int:
        """The port of a place."""
        return self._ports.setdefault(place, 10_000 + len(self._ports))

    def __getitem__(self, place: str) -> str:
        return f"tcp://{self._host}:{self.port(place)}"


class Complaint(NamedTuple):
    """What a part wrote into its log, when, and with which request it was dealing.

    That is the one in hand where its code stumbled, which need not be the one of the message that it was handed last.
    `ended` are the tasks whose end it was looking at: who waited for these. `engine` is the uuid of the one whose
    answer it had in hand. Of a task scheduler, `steps` are those of its queue (`conformance.targets.adapters.looks`),
    where `ready` waited for nothing but room. `has_room` says that an engine had got some, so that it was to look who
    is next.
    """

    now: int
    msg_id: str
    text: str
    ended: tuple[str, ...] = ()
    engine: str = ""
    steps: int = 0
    ready: tuple[str, ...] = ()
    has_room: bool = False


class Word(NamedTuple):
    """What a part told another one of engines: `names` are the uuids, or hearts, that it named."""

    msg_id: str
    msg_type: str
    names: tuple[str, ...]


class Part:
    """What runs in a process of a controller that is not the kit's; see `simulator.standing.Resident`."""

    def __init__(self, world: World, process: Process, role: type[Role], places: Places) -> None:
        self.process: Final = process
        self.role: Final = role
        self.places: Final = places
        self.status: int | None = None
        self._world = world
        self.routers: Final[list[Router]] = []
        self._hear: list[Callable[[Event], None]] = []
        self._effects: dict[type[Effect], list[Callable[[Any], None]]] = {Send: [], SendRaw: []}
        process.adopt(self)
        if process.trace is not None:
            trace, now, name = process.trace, process.now, process.name
            self.listen_in(
                lambda event: trace.event(now(), name, event),
                {
                    Send: lambda effect: trace.message(now(), name, "sent", effect.socket, effect.message),
                    SendRaw: lambda effect: trace.frames(now(), name, "sent", effect.socket, effect.frames),
                },
            )
        if process.recorder is not None:
            process.recorder.watch(self)

    # -- as a resident -----------------------------------------------------------------------------------------------

    def hold(self) -> None:
        """Whoever runs by the clock of a process does nothing while that is held up."""

    def go_on(self) -> None:
        """What was due meanwhile comes by itself."""

    def listen_in(
        self,
        hear: Callable[[Event], None] | None,
        effects: Mapping[type[Effect], Callable[[Any], None]],
        over: Callable[[], None] | None = None,  # noqa: ARG002 - nobody can tell when their code is done with it
    ) -> None:
        """Tell what it takes and sends."""
        if hear is not None:
            self._hear.append(hear)
        for kind, listener in effects.items():
            if kind in self._effects:
                self._effects[kind].append(listener)

    def _is_raw(self, name: str, frames: tuple[bytes, ...]) -> bool:
        spec = self.role.SOCKETS[name]
        return channel(spec.channel).framing == "raw" or (frames[0][:1] in (b"\x00", b"\x01") and len(frames) == 1)

    def _took(self, name: str, frames: tuple[bytes, ...]) -> None:
        if not self._hear:
            return
        event: Event
        if self._is_raw(name, frames):
            event = Raw(name, frames)
        else:
            try:
                event = Arrived(name, self._world.reader.open_header(frames))
            except ProtocolError as error:
                event = Malformed(name, frames, error)
        for hear in self._hear:
            hear(event)

    def _sent(self, name: str, frames: tuple[bytes, ...]) -> None:
        if self._is_raw(name, frames):
            for listener in self._effects[SendRaw]:
                listener(SendRaw(name, frames))
        elif self._effects[Send]:
            try:
                effect = Send(name, self._world.reader.open_header(frames))
            except ProtocolError:
                return
            for listener in self._effects[Send]:
                listener(effect)

    def socket(self, name: str, kind: str, options: Options = (), *, binds: str = "", connects: str = "") -> ToldSocket:
        """A new socket, which binds or connects at a place."""
        made = self.process.context.socket(kind, f"{self.process.name}/{name}", options)
        if isinstance(made, Router):
            self.routers.append(made)
        if binds:
            made.bind(self.places[binds])
        if connects:
            made.connect(self.places[connects])
        return ToldSocket(name, made, self._world.reader, self._took, self._sent)


class QueuePart(Part):
    """A monitored queue: MUX, control, IOPub, or tasks that nobody schedules.

    `swallowed` are the ids of messages that it took for the rest of one that was too short.
    """

    def __init__(self, world: World, process: Process, role: type[Relay], places: Places) -> None:
        super().__init__(world, process, role, places)
        self.swallowed: Final[set[str]] = set()
        self._short: set[str] = set()
        self._swaps = role.DEVICE.swap
        name = role.DEVICE.front.channel
        if name == "iopub":
            front = self.socket("in", "SUB", (("RCVHWM", 0), ("SUBSCRIBE", b"")), binds="engine iopub")
            back = self.socket("out", "PUB", (("SNDHWM", 0),), binds="client iopub")
            monitor = self.socket("monitor", "PUB", connects="monitor")
        else:
            identity = [(*UNLIMITED, ("ROUTING_ID", f"{name}_{side}".encode())) for side in ("in", "out")]
            front = self.socket("in", "ROUTER", identity[0], binds=f"client {name}")
            kind = "DEALER" if name == "task" else "ROUTER"
            back = self.socket("out", kind, identity[1], binds=f"engine {name}")
            monitor = self.socket("monitor", "PUB", UNLIMITED, connects="monitor")
        self.device: Final = Queue(role.DEVICE, front, back, monitor)

    def _took(self, name: str, frames: tuple[bytes, ...]) -> None:
        super()._took(name, frames)
        if name in self._short:
            self._short.remove(name)
            message = message_in(frames, self._world.reader)
            if message is not None:
                self.swallowed.add(message.msg_id)
        elif self._swaps and len(frames) == 2:
            self._short.add(name)


class CodePart(Part):
    """A part that is code of ipyparallel: in a loop of its own, with chance, a session and files of its own."""

    def __init__(
        self, edition: Edition, world: World, process: Process, role: type[Role], places: Places,
        config: ControllerConfig, files: MutableMapping[str, bytes], name: str = "",
    ) -> None:  # fmt: skip
        super().__init__(world, process, role, places)
        self.edition: Final = edition
        self.config: Final = config
        self.files: Final = files
        name = name or process.name
        self.chance: Final = random.Random(f"{world.seed} {name} theirs")  # noqa: S311 - no secret
        self.loop: Final = VirtualLoop(process, self.acting, self._failed, self._ends)
        self.tornado: Final = TornadoLoop(
            asyncio_loop=self.loop, date=partial(edition.date, process), on_error=self._failed
        )
        self.loops: Final = (self.loop, self.tornado)
        self._streams = 0
        #: What it was handed last, and what it complained of while it dealt with which request.
        self._handed: tuple[bytes, ...] = ()
        self.complaints: Final[list[Complaint]] = []
        #: What it told others of engines, and the ids of what it was told.
        self.words: Final[list[Word]] = []
        self.heard: Final[set[str]] = set()
        with self.acting():
            self.session: Final = edition.session.Session(
                session=name, key=world.key.encode(), signature_scheme=world.scheme
            )

    def acting(self) -> Any:
        """Let this part be the one that acts."""
        return self.edition.acting(self)

    def begin(self) -> None:
        """Make the object of theirs, and let it start."""
        with self.acting():
            self.make()

    def make(self) -> None:
        """Make it."""

    def stream(self, name: str, kind: str, options: Options = (), *, binds: str = "", connects: str = "") -> Any:
        """A stream around a new socket."""
        self._streams += 1
        told = self.socket(name, kind, options, binds=binds, connects=connects)
        return stream(self.edition, PlainSocket(told, self._streams, self.loop), self.tornado)

    def _took(self, name: str, frames: tuple[bytes, ...]) -> None:
        self._handed = frames
        super()._took(name, frames)
        if (word := self._word(name, frames)) is not None:
            self.heard.add(word.msg_id)

    def _sent(self, name: str, frames: tuple[bytes, ...]) -> None:
        super()._sent(name, frames)
        if (word := self._word(name, frames)) is not None:
            self.words.append(word)

    def _word(self, name: str, frames: tuple[bytes, ...]) -> Word | None:
        if name not in TELLING or (name == "monitor" and frames[0] != b"heartmonitor"):
            return None
        message = message_in(frames, self._world.reader)
        if message is None or message.msg_type not in TOLD:
            return None
        content = content_of(message) or {}
        return Word(message.msg_id, message.msg_type, tuple(map(str, content.get("hearts") or (content.get("uuid"),))))

    def _failed(self, error: BaseException) -> None:
        self.complains("".join(traceback.format_exception(error)), error)

    def complains(self, line: str, error: BaseException | None = None) -> None:
        """It has written an error into its log, or raised one that nobody took."""
        self.process.said.append(line)
        error = error or sys.exc_info()[1]
        msg_id = next(reversed(_values(error, "msg_id", str)), "")
        if not msg_id and (message := message_in(self._handed, self._world.reader)) is not None:
            msg_id = parent_id(message) or message.msg_id
        engine = next(reversed(_values(error, "engine", bytes)), b"").decode(errors="replace")
        self.complaints.append(Complaint(self._world.now, msg_id, line, tuple(_values(error, "dep_id", str)), engine))

    def close(self) -> None:
        """Do nothing more: its process is gone."""
        self.loop.close()

    def _ends(self, status: int) -> None:
        self.status = status
        self.loop.close()
        self.process.end(status)


def _values(error: BaseException | None, name: str, kind: type[Kind]) -> list[Kind]:
    """What a name stood for, if of that kind, in the functions through which an error came, the outermost first."""
    found: list[Kind] = []
    step = None if error is None else error.__traceback__
    while step is not None:
        value = step.tb_frame.f_locals.get(name)
        if isinstance(value, kind):
            found.append(value)
        step = step.tb_next
    return found


class HubPart(CodePart):
    """The Hub. `blind` are its answers to what it could not read.

    Its records are in a database if it `has_disk`; if it `restores` it takes up the engines that it had, as with
    `--restore`.
    """

    hub: Any = None
    has_disk = restores = False
    #: The uuids of engines that it took up from its disk.
    restored: frozenset[str] = frozenset()
    blind: set[str]
    #: Engine -> its latest request to be registered: the answer names none.
    asked: dict[bytes, str]
    #: Closes the database.
    _shut: Callable[[], object] = staticmethod(lambda: None)

    def make(self) -> None:
        """As IPController.init_hub does."""
        edition, config, self.asked, self.blind = self.edition, self.config, {}, set()
        query = self.stream("query", "ROUTER", UNLIMITED, binds="registration")
        notifier = self.stream("notification", "PUB", (("SNDHWM", 0),), binds="client notification")
        monitor = self.stream("monitor", "SUB", (("RCVHWM", 0), ("SUBSCRIBE", b"")), binds="monitor")
        records = self._records()
        resubmit = self.stream("resubmit", "DEALER", connects="client task")
        self.hub = edition.hub.Hub(
            loop=self.tornado, session=self.session, monitor=monitor, query=query, notifier=notifier,
            resubmit=resubmit, db=records,
            heartmonitor_period=config.period_ms, engine_info=self.engine_info(), client_info={}, log=edition.log,
            registration_timeout=round(config.registration_timeout_s), unassigned=OrderedSet(),
        )  # fmt: skip
        self.hub.engine_state_file = STATE_FILE
        if self.restores:
            self.hub._load_engine_state()
            self.restored = frozenset(engine.uuid for engine in self.hub.engines.values())

    def _records(self) -> Any:
        usual: dict[str, Any] = {"session": self.session.session, "log": self.edition.log}
        if not self.has_disk:
            # What is kept in the class is kept by process.
            return type("DictDB", (self.edition.dictdb.DictDB,), {"_culled_ids": set()})(**usual)
        records = self.edition.sqlitedb.SQLiteDB(**usual, location=FOLDER, table=TABLE)
        # Nobody ends the processes of a world that is not looked at any more.
        self._shut = weakref.finalize(self, records._db.close)
        return records

    def close(self) -> None:
        """What was not committed is lost with the process."""
        super().close()
        self._shut()

    def _took(self, name: str, frames: tuple[bytes, ...]) -> None:
        super()._took(name, frames)
        message = message_in(frames, self._world.reader) if name == "query" else None
        if message is not None and message.msg_type == "registration_request":
            self.asked[frames[0]] = message.msg_id

    def _sent(self, name: str, frames: tuple[bytes, ...]) -> None:
        recorder = self.process.recorder
        message = message_in(frames, self._world.reader) if name == "query" and recorder is not None else None
        if recorder is not None and message is not None and not parent_id(message) and frames[0] in self.asked:
            recorder.answers[message.msg_id] = self.asked[frames[0]]
        super()._sent(name, frames)

    def complains(self, line: str, error: BaseException | None = None) -> None:
        """Where it could not read a message and says why, the next one that it makes is the answer."""
        super().complains(line, error)
        if line.startswith("Bad Query Message") and sys.exc_info()[1] is not None:
            self.blind.add(f"{self.session.session}_{PID}_{self.session.message_count}")

    def engine_info(self) -> dict[str, Any]:
        """Where engines connect."""
        port = self.places.port
        names = ("control", "mux", "task", "iopub", "hb_ping", "hb_pong")
        return {
            "interface": self.config.interface,
            "registration": port("registration"),
            **{name: port(f"engine {name}") for name in names},
            "broadcast": [port(place) for place in leaves(self.config.broadcast_depth)],
        }


class TaskPart(CodePart):
    """The task scheduler. `queue` is what waits.

    `dropped` are the tasks of which it forgot that an engine has them, when this was announced again: the time, by the
    uuid of the engine and the id of the task.
    """

    scheduler: Any = None
    queue: CountedQueue
    dropped: dict[tuple[str, str], int]

    def make(self) -> None:
        """As launch_scheduler does."""
        edition, self.dropped, self.queue = self.edition, {}, CountedQueue()
        monitor = self.stream("monitor", "PUB", UNLIMITED, connects="monitor")
        notifier = self.stream("notification", "SUB", (("SUBSCRIBE", b""),), connects="client notification")
        query = self.stream("query", "DEALER", connects="registration")
        ins = self.stream("in", "ROUTER", (*UNLIMITED, ("ROUTING_ID", b"task_in")), binds="client task")
        outs = self.stream("out", "ROUTER", (*UNLIMITED, ("ROUTING_ID", b"task_out")), binds="engine task")
        self.scheduler = edition.task_scheduler.TaskScheduler(
            client_stream=ins, engine_stream=outs, mon_stream=monitor, notifier_stream=notifier, query_stream=query,
            loop=self.tornado, log=edition.log, session=self.session, hwm=self.config.hwm,
            scheme_name=self.config.scheme, queue=self.queue,
        )  # fmt: skip
        self.scheduler.start()

    def _took(self, name: str, frames: tuple[bytes, ...]) -> None:
        super()._took(name, frames)
        message = message_in(frames, self._world.reader) if name == "notification" else None
        if message is not None and message.msg_type == "registration_notification":
            uuid = str((content_of(message) or {}).get("uuid"))
            # The engine is about to have an empty table in the place of this one.
            for msg_id in self.scheduler.pending.get(uuid.encode(), ()):
                self.dropped[uuid, msg_id] = self._world.now

    def complains(self, line: str, error: BaseException | None = None) -> None:
        """Perhaps it was to look at its queue, as it does where an engine has just got below the limit of tasks."""
        super().complains(line, error)
        theirs, limit = self.scheduler, self.config.hwm
        if theirs is not None:
            ready = tuple(job.msg_id for job in self.queue if not job.removed and job.dependents <= theirs.all_done)
            has_room = bool(limit) and any(load == limit - 1 for load in theirs.loads)
            last = self.complaints[-1]
            self.complaints[-1] = last._replace(steps=self.queue.steps, ready=ready, has_room=has_room)


class HeartPart(CodePart):
    """The heart monitor, which waits for the Hub to subscribe."""

    monitor: Any = None

    def make(self) -> None:
        """As start_heartmonitor does."""
        edition = self.edition
        ping = self.stream("ping", "PUB", binds="engine hb_ping")
        pong = self.stream("pong", "ROUTER", UNLIMITED, binds="engine hb_pong")
        monitor = self.stream("monitor", "XPUB", connects="monitor")
        self.monitor = edition.heartmonitor.HeartMonitor(
            ping_stream=ping, pong_stream=pong, monitor_stream=monitor, session=self.session, log=edition.log,
            period=self.config.period_ms, max_heartmonitor_misses=self.config.misses, loop=self.tornado,
            hearts=OrderedSet(), responses=OrderedSet(),
        )  # fmt: skip
        self._begin_if_heard(None, None)

    def _begin_if_heard(self, _: None, __: None) -> None:
        if self.monitor.monitor_stream.socket.EVENTS & POLLIN:
            with self.acting():
                self.monitor.start()
        else:
            self.process.at(self.process.clock() + MILLISECOND, self._begin_if_heard, None, None)


class BroadcastPart(CodePart):
    """One scheduler of the tree, which is a process of its own in truth. `path` is its name: `0`, `00`, `01`."""

    scheduler: Any = None
    path = "0"

    def make(self) -> None:
        """As launch_broadcast_scheduler does."""
        edition, most = self.edition, self.config.broadcast_depth
        depth = len(self.path) - 1
        is_leaf = depth == most
        monitor = self.stream("monitor", "PUB", connects="monitor")
        notifier = self.stream("notification", "SUB", (("SUBSCRIBE", b""),), connects="client notification")
        query = self.stream("query", "DEALER", connects="registration")
        name = edition.broadcast_scheduler.get_id_with_prefix(self.path)
        options: Options = (*UNLIMITED, ("ROUTING_ID", name))
        if depth:
            incoming = self.stream("parent", "ROUTER", options, connects=f"tree {self.path}")
        else:
            incoming = self.stream("client", "ROUTER", options, binds="client broadcast")
        below = [f"{self.path}{digit}" for digit in "01"]
        more: dict[str, Any]
        if is_leaf:
            engines = leaves(most)[int(self.path, 2)]
            more = {"engine_stream": self.stream("engine", "ROUTER", options, binds=engines), "is_leaf": True}
        else:
            streams = [
                self.stream(f"child{number}", "ROUTER", options, binds=f"tree {path}")
                for number, path in enumerate(below)
            ]
            ids = [edition.broadcast_scheduler.get_id_with_prefix(path) for path in below]
            more = {"connected_sub_scheduler_ids": ids, "outgoing_streams": streams}
        # What is kept in the class is kept by process.
        kind = type(
            "BroadcastScheduler", (edition.broadcast_scheduler.BroadcastScheduler,),
            {"accumulated_replies": {}, "accumulated_targets": {}},
        )  # fmt: skip
        self.scheduler = kind(
            client_stream=incoming, mon_stream=monitor, notifier_stream=notifier, query_stream=query,
            loop=self.tornado, log=edition.log, session=self.session, depth=depth, max_depth=most, name=self.path,
            **more,
        )  # fmt: skip
        self.scheduler.start()


def leaves(depth: int) -> list[str]:
    """The places at which engines connect to a tree of this depth."""
    return [f"engine broadcast {number}" for number in range(2**depth)]


def nodes(depth: int) -> list[str]:
    """The names of all schedulers of a tree, from the root."""
    return ["0", *(f"{number:0{level + 1}b}" for level in range(1, depth + 1) for number in range(2**level))]


#: The queues that are devices, by part.
QUEUES: Final[Mapping[str, type[Relay]]] = {"iopub": IopubRelay, "mux": MuxRelay, "control": ControlRelay}

__all__ = [
    "QUEUES",
    "BroadcastPart",
    "CodePart",
    "HeartPart",
    "HubPart",
    "Part",
    "Places",
    "QueuePart",
    "TaskPart",
    "leaves",
    "nodes",
]

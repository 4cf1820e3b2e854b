"""Where clients are struck: every socket by which a controller reaches them.

Here strangers are engines whose answers nobody asked for, and whoever else can write to a client; the honest are the
engines that were asked, and what they answer has to reach the program. Nothing that a client sends tells that it has
dealt with damage: that honest answers behind it on the same socket are taken tells it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from conformance.drivers import lines
from conformance.drivers.lines import Outcome, Written
from conformance.harness.client import ENGINES, ClientUnderTest, Work, executed, message_of, packed
from conformance.harness.verdict import Violated
from conformance.livefuzz.arena import HARM, Arena
from conformance.livefuzz.blows import Spot
from protocol.damage import Chance
from protocol.messages.build import reply_name
from protocol.wire import Frame, Json, Message

#: The first number of the engines that are announced in the course of a campaign.
FIRST: Final = 100


class ClientArena(Arena[ClientUnderTest]):
    """A client with its driver, and the controller and the engines that it has."""

    def __init__(self, client: ClientUnderTest, seed: int) -> None:
        super().__init__(client, seed)
        features = client.features
        self._queues: list[lines.Queue] = ["mux"] if "execute" in features else []
        self._queues += ["task"] if "execute" in features and "tasks" in features else []
        self._queues += ["broadcast"] if "execute" in features and "broadcast" in features else []
        self._has_output = "output" in features and bool(self._queues)
        self._next = FIRST
        self._count = 0
        #: Where the client is, by channel: it can be written to when it has sent something there.
        self._where: dict[str, Sequence[bytes]] = {}
        for queue in self._queues:
            self._work(queue)
        self._asks = "queue" in features
        if self._asks:
            self._question()
        self._add_queues()
        self._add_query()
        self._add_published()

    # -- the honest ----------------------------------------------------------------------------------------------------

    def acts(self) -> Iterator[Callable[[], None]]:
        """Work on each queue comes to its result, the Hub answers, and the client hears of an engine."""
        for queue in self._queues:
            yield lambda queue=queue: self._do(f"{queue} of another peer", lambda: self._work(queue))  # type: ignore[misc]
        if self._asks:
            yield lambda: self._do("query of another peer", self._question)
        yield lambda: self._do("notification of another peer", self._announce)

    def _do(self, where: str, act: Callable[[], None]) -> None:
        """One thing, unless something is amiss already: each wait would last as long as it may."""
        if self.troubles or not self.subject.is_running:
            return
        try:
            act()
        except Violated as violated:
            self.notice(HARM, where, violated.finding.found, allowed=violated.finding.allowed)

    def _work(self, queue: lines.Queue) -> None:
        client = self.subject
        self._count += 1
        first, uuid = next(iter(ENGINES.items()))
        value: object = None
        if queue == "broadcast":
            work = client.apply(first, queue=queue)
            request = work.message
            # What comes of a broadcast has another parent, and its metadata say which one it had.
            metadata: Json = {
                "status": "ok", "engine": uuid, "started": client.date(), "dependencies_met": True,
                "is_broadcast": True, "is_coalescing": False, "original_msg_id": request.msg_id,
            }  # fmt: skip
            parent, value = request.header | {"msg_id": f"{request.msg_id}_{uuid}"}, self._count
            reply = client.reply(work.request, metadata=metadata, buffers=packed(value), parent=parent)
        else:
            work = client.execute(*((first,) if queue == "mux" else ()), code=f"{self._count}", queue=queue)
            if self._has_output and queue == "mux":
                client.print(work.request, f"line {self._count}\n")
                client.idle(work.request)
            reply = client.execute_reply(work.request)
        self._where[queue] = work.message.identities[:1]
        client.expect_results(work, Outcome(status="ok", value=value))
        if self._has_output and queue == "mux":
            self._check_output(work)
        if queue in self.spots:
            self.spots[queue].earlier.append(client.codec.encode(reply)[1:])

    def _check_output(self, work: Work) -> None:
        client, text = self.subject, f"line {self._count}\n"
        told = client.success(client.tell(lines.Output, of=work.number, timeout=client.timing.reply_deadline_s))
        if list(told.output or ()) != [Written(stdout=text)]:
            self.notice(HARM, "iopub of another peer", f"the output {told.output!r:.200} in place of {text!r}")

    def _question(self) -> None:
        client = self.subject
        before = len(client.arrived["query"])
        asking = client.tell(lines.QueueStatus, timeout=client.timing.reply_deadline_s)
        (seen, *_) = client.arrivals("query", 1, since=before)
        status: dict[str, object] = {str(number): {"queue": 0, "completed": 0, "tasks": 0} for number in ENGINES}
        reply = client.reply(seen, {"status": "ok", "unassigned": 0, **status})
        client.success(asking)
        if "query" in self.spots:
            self.spots["query"].earlier.append(client.codec.encode(reply)[1:])

    def _announce(self) -> None:
        self._next += 1
        client = self.subject
        client.add_engine(self._next)
        client.until_known(self._next, HARM)
        client.remove_engine(self._next)

    # -- the strangers -------------------------------------------------------------------------------------------------

    def _reply(self, msg_type: str, content: dict[str, object], buffers: Sequence[Frame] = ()) -> Message:
        """An answer to what the client never asked."""
        hub = self.subject.hub
        asked = hub.make(msg_type, {}).header | {"msg_id": f"never-asked-{self._count}"}
        metadata = {"status": "ok", "engine": "a stranger", "started": self.subject.date(), "dependencies_met": True}
        return hub.make(reply_name(msg_type), content, metadata=metadata, parent=asked, buffers=buffers)

    def _add_queues(self) -> None:
        codec, world = self.subject.codec, self.subject.world
        for queue in self._queues:
            socket = world.sockets[queue]
            front = [b"a stranger"] if queue in ("mux", "task") else []

            def good(chance: Chance, front: list[bytes] = front) -> list[Frame]:
                if chance.below(2):
                    return [*front, *codec.encode(self._reply("apply_request", {"status": "ok"}, packed(3)))]
                return [*front, *codec.encode(self._reply("execute_request", executed()))]

            self.add(Spot(queue, queue, good, socket.send_raw, address=tuple(self._where[queue]),
                          foreign=[uuid.encode() for uuid in ENGINES.values()]))  # fmt: skip

    def _add_query(self) -> None:
        codec, world = self.subject.codec, self.subject.world
        # It has asked which engines there are.
        address = tuple(message_of(self.subject.arrived["query"][-1]).identities[:1])

        def good(_: Chance) -> list[Frame]:
            return codec.encode(self._reply("queue_request", {"status": "ok", "unassigned": 0}))

        self.add(Spot("query", "query", good, world.sockets["query"].send_raw, address=address))

    def _add_published(self) -> None:
        client = self.subject
        codec, world = client.codec, client.world

        def notification(_: Chance) -> list[Frame]:
            return codec.encode(client.hub.make("registration_notification", {"id": 77, "uuid": "a stranger"}))

        self.add(Spot("notification", "notification", notification, world.sockets["notification"].send_raw))
        if not self._has_output:
            return

        def output(_: Chance) -> list[Frame]:
            parent = client.hub.make("execute_request", {}).header
            message = client.hub.make("stream", {"name": "stdout", "text": "strange"}, metadata={}, parent=parent,
                                      identities=(b"engine.77.stdout",))  # fmt: skip
            return codec.encode(message)

        self.add(Spot("iopub", "iopub", output, world.sockets["iopub"].send_raw, foreign=[b"engine.2.stdout", b""]))


__all__ = ["ClientArena"]

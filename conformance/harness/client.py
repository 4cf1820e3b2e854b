"""A client under test as a case sees it: the kit is its controller, its engines, and the program that uses it.

What the program does is told to the driver; what the client sends arrives on raw sockets, and what it gets is made
here. By itself the scripted controller does one thing: it answers a connection_request, with the engines that are
there. Everything else is answered when a case says so, or never.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any, Final

from conformance.drivers import lines
from conformance.drivers.lines import Answer, Outcome, Told
from conformance.harness.clientside import ClientsSide, VirtualClientsSide
from conformance.harness.driver import Driver, Pending
from conformance.harness.expect import shorten
from conformance.harness.party import Author
from conformance.harness.subject import Instance, Subject
from conformance.harness.verdict import Finding, Violated
from conformance.targets.descriptor import Target
from protocol.connection import render
from protocol.messages.build import reply_name
from protocol.wire import Frame, Json, Message
from protocol.world import SECOND, Observation

#: The engines that are there when a case begins, by number: neither the first ones nor all in a row.
ENGINES: Final = {2: "engine-two", 5: "engine-five"}
#: What says that work arrives at all, by queue.
_SENDING: Final = {
    "mux": "client.addresses-engine", "task": "client.task-names-no-engine", "broadcast": "client.broadcast-metadata"
}  # fmt: skip
#: The name of the connection file that it is given.
FILE: Final = "client.json"


class Work:
    """What a client has sent for one command: the command, and each request as it arrived."""

    def __init__(self, pending: Pending, requests: Sequence[Observation]) -> None:
        self.number = pending.command.id
        self.requests = tuple(requests)

    @property
    def request(self) -> Observation:
        """The only request."""
        (request,) = self.requests
        return request

    @property
    def message(self) -> Message:
        """The only request, as a message."""
        return message_of(self.request)


class ClientUnderTest(Subject):
    """A client behind its driver, and the controller and the engines that it has."""

    world: ClientsSide | VirtualClientsSide

    def __init__(
        self,
        world: ClientsSide | VirtualClientsSide,
        target: Target,
        driver: Driver,
        *,
        token: str,
        date: Callable[[], str],
        instance: Instance,
    ) -> None:
        super().__init__(
            world, target.timing, role="client", dialect=target.dialect, token=token, date=date, instance=instance,
            name=target.name, features=frozenset(target.features),
        )  # fmt: skip
        self._driver = driver
        #: The engines that the Hub has.
        self.engines = dict(ENGINES)
        self.hub = Author(self, "hub")
        #: Whether a connection_request is answered.
        self.is_hub_awake = True
        #: What has arrived on each channel, connection requests too.
        self.arrived: dict[str, list[Observation]] = {name: [] for name in world.sockets}
        for name, socket in world.sockets.items():
            world.listen(socket, self._listener(name))

    def _listener(self, name: str) -> Callable[[Observation], None]:
        def hear(seen: Observation) -> None:
            self.arrived[name].append(seen)
            if self.is_hub_awake and seen.message is not None and seen.message.msg_type == "connection_request":
                self.answer_connection(seen)

        return hear

    # -- the course of a case ----------------------------------------------------------------------------------------

    def distrust(self) -> None:
        """A driver whose client did something wrong is not used for another one."""
        self._driver.is_spent = True

    def end_case(self) -> None:
        """Close the client, while there is somebody to take its last words."""
        if self.is_running and not self._driver.is_spent and not self._is_answered(self.tell(lines.Close)):
            self._driver.is_spent = True

    def settle(self) -> None:
        """Come to where cases begin: connected, and reached by notifications and output."""
        self.wait_for_driver()
        self.success(self.connect(), requirement="client.learns-engines")
        self.until_subscribed()

    def explore(self) -> None:
        """See whether work for one engine arrives where engines are."""
        if "execute" in self.features:
            slug = _SENDING["mux"]
            try:
                self.execute(min(self.engines), requirement=slug)
            except Violated as violated:
                self.missing[slug] = violated.finding.found

    def wait_for_driver(self) -> None:
        """Wait for the first line of the driver. Raises TargetUnusable."""
        limit = self.timing.start_deadline
        if not self.world.run_until(lambda: self._driver.is_there or not self.is_running, self.world.now + limit):
            raise self._driver.unusable(f"its driver said nothing within {limit / SECOND:g} s")
        if not self._driver.is_there:
            raise self._driver.unusable("its driver ended before it said anything")

    def until_subscribed(self) -> None:
        """Wait until the client has subscribed to all that it reads; that it never does is for cases to see."""
        names = ("notification", "iopub") if "output" in self.features else ("notification",)
        publishers = [self.world.sockets[name] for name in names]
        deadline = self.world.now + self.timing.reply_deadline
        self.world.run_until(lambda: all(socket.subscriptions for socket in publishers), deadline)

    # -- the program -------------------------------------------------------------------------------------------------

    def tell(self, kind: type[lines.Command], **fields: Any) -> Pending:
        """Give the driver a command, and do not wait for what comes of it."""
        return self._driver.tell(kind, lambda: self.world.now, **fields)

    def answer(self, pending: Pending, *, within: int = 0, requirement: str | None = None) -> Answer:
        """Wait for the answer to a command; that it does not come is a violation."""
        limit = within or self.timing.reply_deadline
        if not self._is_answered(pending, limit):
            self.expect_waited(pending.told_at, limit)
            found = f"`{pending.word}` has not ended after {(self.world.now - pending.told_at) / SECOND:.1f} s"
            if not self.is_running:
                found += "; the driver's process has ended"
            raise Violated(Finding(found, ("it ends",)), requirement)
        assert pending.answer is not None
        if pending.answer.error is not None and pending.answer.error.kind in ("internal", "unsupported"):
            way_out = (
                "; what a client lacks is not to be declared" if pending.answer.error.kind == "unsupported" else ""
            )
            raise self._driver.unusable(f"its driver failed at `{pending.word}`: {told(pending.answer)}{way_out}")
        return pending.answer

    def _is_answered(self, pending: Pending, within: int = 0) -> bool:
        deadline = self.world.now + (within or self.timing.reply_deadline)
        self.world.run_until(lambda: pending.is_answered or not self.is_running, deadline)
        # Its last words may still be on their way when it has ended.
        return self.world.run_until(lambda: pending.is_answered, min(deadline, self.world.now + SECOND // 2))

    def success(self, pending: Pending, *, within: int = 0, requirement: str | None = None) -> Told:
        """Wait for the answer to a command, which must be that it was done."""
        answer = self.answer(pending, within=within, requirement=requirement)
        if answer.ok is None:
            raise Violated(Finding(f"`{pending.word}` failed: {told(answer)}", ("it succeeds",)), requirement)
        return answer.ok

    def failure(self, pending: Pending, *, within: int = 0, requirement: str | None = None) -> lines.Problem:
        """Wait for the answer to a command, which must be that it failed."""
        answer = self.answer(pending, within=within, requirement=requirement)
        if answer.error is None:
            raise Violated(Finding(f"`{pending.word}` succeeded: {told(answer)}", ("it fails",)), requirement)
        return answer.error

    def connect(self, *, timeout: float = 0.0, content: bytes | None = None) -> Pending:
        """Have a client made of the connection file, or of a file with this content."""
        path = self._driver.write_file(FILE, render(self.world.file) if content is None else content)
        return self.tell(lines.Connect, file=path, timeout=timeout or self.timing.reply_deadline_s)

    def knows(self) -> tuple[int, ...]:
        """The engines that the client says it knows."""
        return self.success(self.tell(lines.ListEngines)).engines or ()

    def expect_engines(self, *numbers: int, requirement: str | None = None) -> None:
        """Wait until the client knows exactly these engines."""
        started, limit = self.world.now, self.timing.reply_deadline
        found = self.knows()
        while sorted(found) != sorted(numbers):
            if self.is_over(started, limit):
                self.expect_waited(started, limit)
                finding = Finding(f"it knows the engines {list(found)}", (f"exactly {sorted(numbers)}",))
                raise Violated(finding, requirement)
            self.let_pass(SECOND // 50)
            found = self.knows()

    def until_known(self, number: int, requirement: str) -> None:
        """Wait until the client knows this engine, which was announced to it."""
        started, limit = self.world.now, self.timing.reply_deadline
        while number not in (found := self.knows()):
            if self.is_over(started, limit):
                self.expect_waited(started, limit)
                finding = Finding(f"it knows the engines {list(found)}", (f"{number} among them",))
                raise Violated(finding, requirement)
            self.let_pass(SECOND // 50)

    # -- work --------------------------------------------------------------------------------------------------------

    def execute(
        self, *to: int, code: str = "1 + 1", queue: lines.Queue = "mux", requirement: str | None = None
    ) -> Work:
        """Have code executed by the engines of these numbers, and wait until the requests have arrived."""
        return self.work(lines.Execute, code=code, to=to, queue=queue, requirement=requirement)

    def apply(
        self,
        *to: int,
        function: str = "operator.add",
        args: Sequence[Any] = (1, 2),
        queue: lines.Queue = "mux",
        **fields: Any,
    ) -> Work:
        """Have a function called by the engines of these numbers, and wait until the requests have arrived."""
        return self.work(lines.Apply, function=function, args=tuple(args), to=to, queue=queue, **fields)

    def work(self, kind: type[lines.Request], *, requirement: str | None = None, **fields: Any) -> Work:
        """Have work sent, and wait until it has arrived: a request for each engine on MUX, one request elsewhere.

        That nothing arrives breaks what is demanded of requests there, whatever the case is about.
        """
        queue = fields.get("queue", "mux")
        self.stand_on(_SENDING[queue])
        accused = requirement or _SENDING[queue]
        before = len(self.arrived[queue])
        pending = self.tell(kind, **fields)
        self.success(pending, requirement=accused)
        count = len(fields.get("to", ())) if queue == "mux" else 1
        requests = self.arrivals(queue, count, since=before, requirement=accused)
        if len(requests) > count:
            found = f"{len(requests)} requests arrived for one command"
            raise Violated(Finding(found, (f"{count}",), evidence=(requests[-1].seq,)), "client.one-request-each")
        return Work(pending, requests)

    def arrivals(
        self, channel: str, count: int, *, since: int = 0, requirement: str | None = None
    ) -> list[Observation]:
        """Wait until so many messages have arrived on a channel after the first `since`; what is there then."""
        started, limit = self.world.now, self.timing.reply_deadline
        kept = self.arrived[channel]
        if not self.world.run_until(lambda: len(kept) >= since + count, started + limit):
            self.expect_waited(started, limit)
            found = f"{len(kept) - since} of {count} requests arrived on {channel} within {limit / SECOND:.1f} s"
            raise Violated(Finding(found, (f"{count}",)), requirement)
        return kept[since:]

    # -- what comes of it ----------------------------------------------------------------------------------------------

    def wait(self, *work: Work, timeout: float, until: str = "all") -> Pending:
        """Have the program wait for work."""
        return self.tell(lines.Wait, of=tuple(each.number for each in work), timeout=timeout, until=until)

    def result(self, work: Work, *, timeout: float = 0.0) -> Pending:
        """Have the program ask for the results of work."""
        return self.tell(lines.Result, of=work.number, timeout=timeout or self.timing.reply_deadline_s)

    def expect_results(
        self, work: Work, *allowed: Outcome, requirement: str | None = None, unheard: str | None = None
    ) -> None:
        """The results of work, which must be these, one for each engine; of errors the value need not be given.

        `unheard` is accused in place of `requirement` if the work is not done, as if its reply had not come.
        """
        accused = unheard or requirement
        ok = self.success(self.result(work), within=2 * self.timing.reply_deadline, requirement=accused)
        found = ok.results or ()
        if len(found) != len(allowed) or not all(map(_fits, found, allowed)):
            finding = Finding(f"the results {shorten(list(found))}", (f"{list(allowed)!r}",))
            raise Violated(finding, requirement)

    def expect_open(self, work: Work, requirement: str | None = None) -> None:
        """Work must not be done."""
        done = self.success(self.wait(work, timeout=0.0), requirement=requirement).done or ()
        if work.number in done:
            shown = told(self.answer(self.result(work)))
            raise Violated(Finding(f"the request is over: {shown}", ("it is open",)), requirement)

    # -- the controller and the engines ------------------------------------------------------------------------------

    def answer_connection(self, seen: Observation) -> Message:
        """Answer a connection_request with the engines that are there."""
        engines = {str(number): uuid for number, uuid in self.engines.items()}
        return self.reply(seen, {"status": "ok", "engines": engines})

    def reply(
        self,
        seen: Observation,
        content: Json | None = None,
        *,
        msg_type: str = "",
        metadata: Json | None = None,
        buffers: Sequence[Frame] = (),
        identities: Sequence[bytes] | None = None,
        parent: Json | None = None,
        why: str | None = None,
    ) -> Message:
        """Answer a request, as it is answered on its channel; with `why`, which says the mistake, whatever it is."""
        message = self.reply_to(
            seen, content, msg_type=msg_type, metadata=metadata, buffers=buffers, identities=identities, parent=parent
        )
        self.send(seen.channel, message, why)
        return message

    def reply_to(
        self,
        seen: Observation,
        content: Json | None = None,
        *,
        msg_type: str = "",
        metadata: Json | None = None,
        buffers: Sequence[Frame] = (),
        identities: Sequence[bytes] | None = None,
        parent: Json | None = None,
    ) -> Message:
        """The answer to a request, made and not sent: of the engine that it is for, or of whom it asked."""
        request = message_of(seen)
        uuid = self.engine_of(seen)
        if metadata is None and seen.channel in ("mux", "task", "broadcast"):
            status = (content or {}).get("status", "ok")
            metadata = {"status": status, "engine": uuid, "started": self.date(), "dependencies_met": True}
        if identities is None:
            identities = request.identities[:1]
            if seen.channel in ("mux", "control", "task") and uuid:
                identities = (*identities, uuid.encode())
        return self.hub.make(
            msg_type or reply_name(request.msg_type), {"status": "ok"} if content is None else content,
            metadata=metadata, buffers=buffers, identities=identities,
            parent=request.header if parent is None else parent,
        )  # fmt: skip

    def send(self, channel: str, message: Message, why: str | None = None) -> None:
        """Send a message; with `why`, which says the mistake, whether or not it fits its type."""
        if why is None:
            self.world.sockets[channel].send(message)
        else:
            self.send_raw(channel, self.codec.encode(message), why)

    def send_raw(self, channel: str, frames: Sequence[Frame], why: str) -> None:
        """Send frames as they are."""
        self.world.sockets[channel].send_raw(frames, why)

    def engine_of(self, seen: Observation) -> str:
        """The uuid of the engine that answers a request: the one it names, or the first one for a task."""
        request = message_of(seen)
        if seen.channel in ("mux", "control"):
            return request.identities[1].decode() if len(request.identities) > 1 else ""
        return next(iter(self.engines.values()), "") if seen.channel in ("task", "broadcast") else ""

    def execute_reply(self, seen: Observation, **content: object) -> Message:
        """Answer code as an engine that has executed it."""
        return self.reply(seen, executed(**content))

    def apply_reply(self, seen: Observation, value: object = 3) -> Message:
        """Answer a call with what it returned."""
        return self.reply(seen, {"status": "ok"}, buffers=packed(value))

    # -- what is published -------------------------------------------------------------------------------------------

    def publish(self, msg_type: str, content: Json, *, parent: Json | None = None, why: str | None = None) -> Message:
        """Publish a notification."""
        message = self.hub.make(msg_type, content, parent=parent)
        self.send("notification", message, why)
        return message

    def add_engine(self, number: int, uuid: str = "") -> None:
        """Announce an engine."""
        uuid = uuid or f"engine-{number}"
        self.engines[number] = uuid
        self.publish("registration_notification", {"id": number, "uuid": uuid})

    def remove_engine(self, number: int) -> None:
        """Announce the death of an engine."""
        self.publish("unregistration_notification", {"id": number, "uuid": self.engines.pop(number)})

    def print(self, seen: Observation, text: str, *, stream: str = "stdout") -> None:
        """Publish what the code of a request writes."""
        self.publish_output(seen, "stream", {"name": stream, "text": text})

    def idle(self, seen: Observation) -> None:
        """Publish that the engine is done with a request."""
        self.publish_output(seen, "status", {"execution_state": "idle"})

    def publish_output(self, seen: Observation, msg_type: str, content: Json, *, parent: Json | None = None) -> None:
        """Publish something for a request, or for another parent."""
        uuid = self.engine_of(seen)
        number = next((number for number, each in self.engines.items() if each == uuid), 0)
        topic = f"engine.{number}.{content.get('name', msg_type)}".encode()
        header = message_of(seen).header if parent is None else parent
        metadata = {} if msg_type == "stream" else {"engine": uuid}
        self.send("iopub", self.hub.make(msg_type, content, metadata=metadata, parent=header, identities=(topic,)))


def message_of(seen: Observation) -> Message:
    """What was sent, as a message; if it is none, its sender broke the wire format."""
    if seen.message is None:
        problems = seen.error.problems if seen.error else ()
        rule = problems[0].rule if problems else None
        raise Violated(Finding("an unreadable message", evidence=(seen.seq,), problems=problems), rule)
    return seen.message


def executed(**content: object) -> Json:
    """The content of the reply to code that has been executed."""
    return {"status": "ok", "execution_count": 1, "user_expressions": {}, "payload": []} | content


def failed(ename: str, evalue: str, **more: object) -> Json:
    """The content of a reply that reports an error."""
    return {"status": "error", "ename": ename, "evalue": evalue, "traceback": [f"{ename}: {evalue}"]} | more


def packed(*values: object) -> list[bytes]:
    """The buffers of plain results."""
    return [pickle.dumps(value, 2) for value in values]


def told(answer: Answer) -> str:
    """What an answer tells, on one line."""
    if answer.error is not None:
        return f"{answer.error.kind}: {answer.error.message}"
    return shorten({name: value for name, value in _said(answer.ok) if value is not None}) if answer.ok else ""


def _said(ok: Told | None) -> list[tuple[str, object]]:
    return [(name, getattr(ok, name)) for name in Told.__struct_fields__]


def _fits(found: Outcome, allowed: Outcome) -> bool:
    if found.status == "error" == allowed.status:
        return found.ename == allowed.ename and allowed.evalue in found.evalue
    return found == allowed


__all__ = ["ENGINES", "ClientUnderTest", "Work", "executed", "failed", "message_of", "packed", "told"]

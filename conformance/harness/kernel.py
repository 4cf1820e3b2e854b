"""A plain kernel under test as a case sees it: the kit is its launcher and its frontends.

One subscriber hears everything that the kernel publishes, from before its start. Each frontend of a case has sockets of
its own for shell, control and stdin, under one identity.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from conformance.harness.actors import Reply
from conformance.harness.coding import EXECUTED, Asker, Coding, parent_id
from conformance.harness.kernelside import KernelSide
from conformance.harness.pump import RealSocket
from conformance.harness.verdict import Finding, NotApplicable, Undecided, Violated
from conformance.targets.attached import AttachedKernel
from conformance.targets.descriptor import Target
from conformance.targets.process import RunningKernel
from protocol.wire import Frame, Message
from protocol.world import MILLISECOND, SECOND, Observation

#: How long a kernel may take from saying which code it runs to running it.
LEAD: Final = 50 * MILLISECOND
#: How often a kernel is asked again whether what it publishes is heard.
STEP: Final = SECOND // 4


class KernelUnderTest(Coding):
    """A running kernel, and the frontends that are connected to it."""

    brackets = "kernel.status-brackets"
    world: KernelSide
    instance: RunningKernel | AttachedKernel

    def __init__(
        self,
        world: KernelSide,
        target: Target,
        *,
        token: str,
        date: Callable[[], str],
        instance: RunningKernel | AttachedKernel,
    ) -> None:
        super().__init__(world, target, role="kernel", token=token, date=date, instance=instance)
        #: What was published before anybody asked for anything.
        self.first_words: list[Observation] = []
        self._frontends: list[Frontend] = []
        self._started = world.now
        world.listen(world.open("kernel-iopub", party="subscriber"), self._publish)

    def _publish(self, seen: Observation) -> None:
        """Keep what was published, but the last words about a case that is over."""
        parent = seen.message.parent_header if seen.message is not None else {}
        if not self.is_of_earlier_case(str(parent.get("session"))):
            self.published.append(seen)

    def explore(self) -> None:
        """See whether code is answered, and whether anything at all was published until now."""
        super().explore()
        if EXECUTED not in self.missing and not self.first_words:
            self.missing[self.brackets] = "nothing is published, neither busy nor idle"

    def until_answered(self, request: Message) -> None:
        """Wait for the first answer that it gives at all. Raises TargetUnusable."""
        while not self.answers(request):
            self.instance.expect_alive()
            if self.is_over(self._started, self.timing.start_deadline):
                raise self.instance.late("nothing on its shell answers a kernel_info_request")
            self.world.run_until(lambda: bool(self.answers(request)), self.world.now + STEP)

    def settle(self) -> None:
        """Wait until it answers, and until what it publishes is heard. Raises TargetUnusable."""
        pilot = self.frontend()
        request = pilot.send("kernel_info_request")
        self.until_answered(request)
        started, limit = self.world.now, self.timing.reply_deadline
        while "idle" not in self.states(request) and not self.is_over(started, limit):
            # A subscription takes effect at some moment; what was published before is lost.
            request = pilot.send("kernel_info_request")
            until = self.world.now + STEP
            self.world.run_until(lambda: "idle" in self.states(request) and bool(self.answers(request)), until)  # noqa: B023 - called at once
        self.first_words += self.published
        self.end_case()

    def interrupt(self) -> None:
        """Send SIGINT to its process, as a launcher does."""
        if not isinstance(self.instance, RunningKernel):
            raise NotApplicable("nobody knows the process of what the kit is attached to")
        self.instance.interrupt()

    def start_again(self) -> None:
        """After its end: a new process at the same addresses, which answers."""
        assert isinstance(self.instance, RunningKernel)
        self.world.note("kit", "controller-started")
        self.instance.start_again()
        self._started = self.world.now
        self.until_answered(self.frontend().send("kernel_info_request"))

    def recovers(self) -> bool:
        """Whether a kernel of which a case did not end well still serves others as it should."""
        if self.is_spent and self.is_running:
            self.begin_case()
            frontend = self.frontend()
            # What it never did is no sign that it does not recover.
            request = frontend.send("kernel_info_request") if EXECUTED in self.missing else frontend.execute("")

            def is_done() -> bool:
                is_idle = self.brackets in self.missing or self.states(request) == ["busy", "idle"]
                return bool(frontend.answers(request)) and is_idle

            self.world.run_until(is_done, self.world.now + self.timing.margin)
            replies = [seen.message.content.get("status") for seen in frontend.answers(request) if seen.message]
            self.is_spent = replies != ["ok"] or not is_done()
            self.end_case()
        return self.is_running and not self.is_spent

    def end_case(self) -> None:
        """Wait for what still runs, and close every socket of the case."""
        super().end_case()
        for frontend in self._frontends:
            frontend.close()
        self._frontends.clear()

    def asker(self) -> Frontend:
        """Any frontend."""
        return self.frontend()

    def frontend(self) -> Frontend:
        """One more frontend, which cannot be asked for input."""
        one = Frontend(self, self._name("frontend"))
        self._frontends.append(one)
        return one

    def reader(self, *, identity: bytes | None = None) -> Frontend:
        """One more frontend, which can be asked; its identity on stdin is that on shell, or another."""
        one = self.frontend()
        one.open_stdin(one.identity if identity is None else identity)
        return one

    def hear(self, seen: Observation) -> None:
        """Take note of what came to a frontend on shell or control."""
        self.replies.append(seen)

    def until_running(self, request: Message) -> None:
        """Wait until the code of a request surely runs: a little while after the kernel has published that code."""
        started, limit = self.world.now, self.timing.reply_deadline
        if not self.world.run_until(
            lambda: bool(self.outputs(request, "execute_input") or self.answers(request)), started + limit
        ):
            self.expect_waited(started, limit)
            raise self.stopped("kernel.execute-input-first", "the code was never said to run")
        self.let_pass(LEAD)
        if self.answers(request):
            raise Undecided("the code that was to run for a while had ended before anything could be tried")

    def done(self, request: Message) -> list[Observation]:
        """Wait until a request is answered and said to be done; what was published for it."""
        started, limit = self.world.now, self.timing.reply_deadline
        self.world.run_until(lambda: bool(self.answers(request)), started + limit)
        return self.until_idle(request)

    def expect_port(self, key: str, requirement: str | None = None) -> None:
        """A port that the file left to the kernel must stand in it soon; from then on it is the one."""
        started, limit = self._started, self.timing.start_deadline

        def chosen() -> object:
            with contextlib.suppress(ValueError):
                # It may just be being written.
                return json.loads(self.instance.path.read_bytes()).get(key)
            return 0

        if not self.world.run_until(lambda: bool(chosen()), started + limit):
            raise Violated(
                Finding(f"{key} is still {chosen()!r} in the file", ("the port that was chosen",)), requirement
            )
        if not getattr(self.world.file, key):
            self.world.file = msgspec.structs.replace(self.world.file, **{key: chosen()})

    def expect_usable(self, requirement: str | None = None) -> None:
        """Code that a new frontend sends must run."""
        frontend = self.frontend()
        reply = frontend.reply(frontend.execute(self.sample("print", text="alive")), requirement=requirement)
        if reply.content.get("status") != "ok":
            finding = Finding(f"{reply.msg_type} {reply.content!r:.200} for sound code", ("status ok",),
                              evidence=(reply.observation.seq,))  # fmt: skip
            raise Violated(finding, requirement)


class Frontend(Asker):
    """A frontend: a DEALER on each of shell, control and stdin, all under its session, and a REQ for heartbeats.

    What comes on shell and control is kept in `received`, on stdin in `prompts`, and on IOPub, after `subscribe`, in
    `heard`.
    """

    usual = "kernel-shell"
    subject: KernelUnderTest

    def __init__(self, kernel: KernelUnderTest, name: str) -> None:
        super().__init__(kernel, name)
        self.kernel = kernel
        self.received: list[Observation] = []
        self.prompts: list[Observation] = []
        self.heard: list[Observation] = []
        self._sockets: dict[str, RealSocket] = {}
        self._left: list[RealSocket] = []
        for channel in ("kernel-shell", "kernel-control"):
            socket = kernel.world.open(channel, party=name, identity=self.identity)
            self._keep(channel, socket, self._hear)

    def _keep(self, channel: str, socket: RealSocket, listener: Callable[[Observation], None]) -> None:
        self.kernel.world.listen(socket, listener)
        self._sockets[channel] = socket

    def open_stdin(self, identity: bytes) -> None:
        """Connect to stdin, and wait until that has happened: a kernel cannot ask who is not there yet."""
        kernel = self.kernel
        deadline = kernel.world.now + kernel.timing.reply_deadline
        socket = kernel.world.open_surely("kernel-stdin", party=self.name, identity=identity, deadline=deadline)
        self._keep("kernel-stdin", socket, self.prompts.append)

    def _hear(self, seen: Observation) -> None:
        self.received.append(seen)
        self.kernel.hear(seen)

    def socket(self, channel: str) -> RealSocket:
        """Its socket on a channel."""
        return self._sockets[channel]

    def reconnect(self, channel: str) -> None:
        """Connect once more under the same identity, while the kernel still holds the old connection."""
        old = self._sockets[channel]
        self._keep(channel, self.kernel.world.open(channel, party=self.name, identity=self.identity), self._hear)
        self._left.append(old)

    def subscribe(self) -> None:
        """Listen to what the kernel publishes, on a socket of its own, and wait until it is heard."""
        world = self.kernel.world
        self._keep("kernel-iopub", world.open("kernel-iopub", party=self.name), self.heard.append)
        started, limit = world.now, self.kernel.timing.reply_deadline
        while not self.heard and not self.kernel.is_over(started, limit):
            self.send("kernel_info_request")
            world.run_until(lambda: bool(self.heard), world.now + STEP)
        if not self.heard:
            self.kernel.expect_waited(started, limit)
            raise self.kernel.stopped("kernel.iopub-to-all", f"{self.name} hears nothing")

    def message(self, msg_type: str, content: object = None, *, channel: str = "", **fields: Any) -> Message:  # noqa: ARG002 - it is written alike for every channel
        """A request, not sent."""
        return self.make(msg_type, {} if content is None else content, **fields)

    def post(self, message: Message, channel: str = "") -> None:
        """Send a valid message."""
        self.socket(channel or self.usual).send(message)

    def send_raw(self, frames: Sequence[Frame], why: str, *, channel: str = "") -> None:
        """Send frames as they are."""
        self.socket(channel or self.usual).send_raw(frames, why)

    def answers(self, request: Message) -> list[Observation]:
        """The answers to a request that have come to this frontend."""
        return [seen for seen in self.received if parent_id(seen) == request.msg_id]

    def tell(self, msg_type: str, content: object) -> Message:
        """Send what is not answered."""
        message = self.message(msg_type, content)
        self.post(message)
        return message

    def is_later_served(self, channel: str = "") -> bool:
        """Whether a request that is sent now is answered on this channel, and not the kernel ends."""
        barrier = self.send("kernel_info_request", channel=channel)
        limit = self.world.now + self.kernel.timing.reply_deadline
        self.world.run_until(lambda: bool(self.answers(barrier)) or not self.kernel.is_running, limit)
        return bool(self.answers(barrier))

    def reply_before_barrier(self, request: Message, *, channel: str = "", requirement: str | None = None) -> Reply:
        """The reply to a request, which must have come when a later request on the same channel is answered."""
        if self.is_later_served(channel) and not self.answers(request):
            finding = Finding(f"no answer to {request.msg_type}, and one to what was sent after it", ("an answer",))
            raise Violated(finding, requirement)
        return self.reply(request)

    # -- input ---------------------------------------------------------------------------------------------------------

    def prompt(self, request: Message, requirement: str | None = None) -> Message:
        """Wait for the kernel to ask for input while a request runs."""
        kernel, started = self.kernel, self.world.now
        limit = kernel.timing.reply_deadline
        self.world.run_until(lambda: bool(self.prompts or self.answers(request)), started + limit)
        if not self.prompts:
            kernel.expect_waited(started, limit)
            found = f"no input_request within {limit / SECOND:.1f} s"
            if answers := self.answers(request):
                found = f"{answers[0].message!r:.200} and no input_request"
            raise Violated(Finding(found, ("input_request",)), requirement or "stdin.input-requested")
        asked = self.prompts.pop(0)
        if asked.message is None:
            raise Violated(Finding("an unreadable message on stdin", ("input_request",), evidence=(asked.seq,)))
        return asked.message

    def give(self, prompt: Message, value: str) -> Message:
        """Answer a prompt."""
        reply = self.make("input_reply", {"value": value}, parent=prompt.header)
        self.post(reply, "kernel-stdin")
        return reply

    # -- heartbeat -----------------------------------------------------------------------------------------------------

    def ping(self, *frames: bytes, within: int = 0, requirement: str | None = None, kind: str = "") -> Observation:
        """Send a heartbeat on a socket of its own, and wait for what comes back."""
        kernel, world = self.kernel, self.kernel.world
        socket = world.open("kernel-heartbeat", party=self.name, kind=kind)
        try:
            socket.send_raw(frames, "raw by design: a heartbeat")
            started, limit = world.now, within or kernel.timing.reply_deadline
            seen = socket.recv(started + limit)
        finally:
            socket.close()
        if seen is None:
            kernel.expect_waited(started, limit)
            raise Violated(Finding(f"no echo within {limit / SECOND:.1f} s", ("the same bytes",)), requirement)
        return seen

    def close(self) -> None:
        """Close every socket."""
        for socket in (*self._sockets.values(), *self._left):
            socket.close()

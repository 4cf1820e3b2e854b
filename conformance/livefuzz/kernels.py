"""Where plain kernels are struck: each of the five sockets that they bind.

The honest are two frontends that ask on shell and on control, a subscriber that hears what their code prints, and
somebody who asks for heartbeats; strangers are frontends, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from conformance.harness.kernel import Frontend, KernelUnderTest
from conformance.harness.verdict import Violated
from conformance.livefuzz.arena import HARM
from conformance.livefuzz.blows import Spot
from conformance.livefuzz.coding import CodeArena
from conformance.livefuzz.engines import AGAIN, NOTHING
from protocol.damage import Chance
from protocol.rules.parts import content_seen
from protocol.wire import Frame, Message
from protocol.world import SECOND, Observation

SHELL: Final = "kernel-shell"
CONTROL: Final = "kernel-control"


class KernelArena(CodeArena[KernelUnderTest]):
    """A kernel, two honest frontends, and a stranger at every socket."""

    def __init__(self, kernel: KernelUnderTest, seed: int) -> None:
        super().__init__(kernel, seed)
        self._frontends = [kernel.frontend() for _ in range(2)]
        self._stranger = kernel.frontend()
        self._asked: dict[str, tuple[Frontend, int]] = {}
        self._count = 0
        self._is_heard = False
        for frontend in self._frontends:
            for channel in (SHELL, CONTROL):
                kernel.world.listen(frontend.socket(channel), self._receive(frontend, channel))
        self._listen()
        for channel in (SHELL, CONTROL):
            self._add_asked(channel)
        self._add_others()

    # -- the honest ----------------------------------------------------------------------------------------------------

    def acts(self) -> Iterator[Callable[[], None]]:
        """Each frontend has code run and asks on control; somebody asks for a heartbeat."""
        for frontend in self._frontends:
            for channel in (SHELL, CONTROL):
                yield lambda frontend=frontend, channel=channel: self._ask(frontend, channel)  # type: ignore[misc]
        yield self._ping

    def _ask(self, frontend: Frontend, channel: str, left: int = AGAIN) -> None:
        kernel = self.subject
        if channel == CONTROL:
            request = frontend.message("kernel_info_request", {})
        else:
            self._count += 1
            text = f"line {self._count} of {frontend.name}"
            code = kernel.sample("print", text=text) if kernel.samples.print else ""
            request = frontend.message("execute_request", NOTHING | {"code": code, "silent": False})
            if code:
                self._texts[request.msg_id] = text
                self.due[f"output of {request.msg_id}"] = ("kernel-iopub", "output of code")
        self._asked[request.msg_id] = frontend, left
        self.due[request.msg_id] = (channel, f"reply to {request.msg_type}")
        self.sent[request.msg_id] = [(channel, kernel.codec.encode(request))]
        frontend.post(request, channel)

    def _ping(self) -> None:
        if self.troubles:
            return
        self._count += 1
        try:
            self._frontends[0].ping(b"honest %d" % self._count)
        except Violated as violated:
            self.notice(HARM, "kernel-heartbeat of another peer", violated.finding.found)

    def _listen(self) -> None:
        """Have an honest subscriber, and wait until it certainly hears what the kernel publishes."""
        kernel = self.subject
        pilot = kernel.frontend()
        kernel.world.listen(kernel.world.open("kernel-iopub", party=pilot.name), self._output)
        limit = kernel.world.now + kernel.timing.reply_deadline
        while not self._is_heard and kernel.world.now < limit:
            pilot.post(pilot.message("kernel_info_request", {}))
            kernel.world.run_until(lambda: self._is_heard, kernel.world.now + SECOND // 5)

    def _receive(self, frontend: Frontend, channel: str) -> Callable[[Observation], None]:
        def receive(seen: Observation) -> None:
            message = seen.message
            key = message.parent_header.get("msg_id") if message is not None else None
            asked = self._asked.pop(key, None) if isinstance(key, str) else None
            status = content_seen(seen).get("status")
            if asked is not None and status == "aborted" and asked[1]:
                for name in (key, f"output of {key}"):
                    self.due.pop(str(name), None)
                self._ask(frontend, channel, asked[1] - 1)
                return
            if asked is not None and message is not None and status != "ok":
                self.notice(HARM, f"{channel} of another peer", f"{message.msg_type} {message.content!r:.200}", seen)
            self.arrived(key, channel, seen, is_same=asked is None or asked[0] is frontend)

        return receive

    def _output(self, seen: Observation) -> None:
        self._is_heard = True
        self._hear_output(seen, [frontend.session for frontend in self._frontends])

    # -- the stranger --------------------------------------------------------------------------------------------------

    def _add_asked(self, channel: str) -> None:
        codec, stranger = self.subject.codec, self._stranger
        socket = stranger.socket(channel)
        self.subject.world.listen(socket, lambda seen: self.answered(channel, seen))

        def make(chance: Chance | None) -> Message:
            if channel == SHELL and chance is not None and chance.below(2):
                return stranger.message("execute_request", dict(NOTHING))
            return stranger.message("kernel_info_request", {})

        def mark() -> str:
            message = make(None)
            socket.send_raw(codec.encode(message), "right, and the last of a row")
            return message.msg_id

        others = [frontend.identity for frontend in self._frontends]
        self.add(
            Spot(channel, channel, lambda chance: codec.encode(make(chance)), socket.send_raw, mark, foreign=others)
        )

    def _add_others(self) -> None:
        kernel, stranger, file = self.subject, self._stranger, self.subject.world.file

        def reply(_: Chance) -> list[Frame]:
            return kernel.codec.encode(stranger.message("input_reply", {"value": "x"}))

        stdin = kernel.world.open("kernel-stdin", party=stranger.name, identity=stranger.identity)
        others = [frontend.identity for frontend in self._frontends]
        self.add(Spot("kernel-stdin", "kernel-stdin", reply, stdin.send_raw, foreign=others))
        kernel.world.listen(stdin, lambda seen: self.answered("kernel-stdin", seen))
        listener = kernel.world.connect(
            "XSUB", [file.address("iopub_port")], channel="kernel-iopub", party=stranger.name
        )
        self.add(Spot("kernel-iopub", "kernel-iopub", lambda _: [b"\0never"], listener.send_raw, is_raw=True))
        heart = kernel.world.open("kernel-heartbeat", party=stranger.name, kind="DEALER")
        self.add(Spot("kernel-heartbeat", "kernel-heartbeat", lambda _: [b"", b"ping"], heart.send_raw, is_raw=True))
        kernel.world.listen(heart, lambda seen: self.answered("kernel-heartbeat", seen))


__all__ = ["KernelArena"]

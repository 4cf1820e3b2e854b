"""What runs code for those who ask, as a case sees it: an engine or a plain kernel.

Both answer the same requests and publish the same side effects. How a request travels to them is their own business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

import msgspec

from conformance.harness.actors import Reply
from conformance.harness.party import Author
from conformance.harness.subject import NONSENSE, HarnessWorld, Instance, Subject
from conformance.harness.verdict import Finding, NotApplicable, Undecided, Violated
from conformance.targets.descriptor import Target
from conformance.targets.tables import Samples
from conformance.targets.vocabulary import Role
from protocol.messages import lookup
from protocol.rules.parts import content_seen
from protocol.wire import DELIMITER, Frame, Json, Message
from protocol.world import SECOND, Observation

#: What is broken if code is not answered.
EXECUTED: Final = "kernel.execute-answered"

_SAMPLES: Final = {field.encode_name: field.name for field in msgspec.structs.fields(Samples)}


class Coding(Subject, ABC):
    """A target that runs code, and what it has answered and published since the case began."""

    #: The requirement that keeps a case from being judged where a request is never said to be done.
    brackets: ClassVar[str]

    def __init__(
        self,
        world: HarnessWorld,
        target: Target,
        *,
        role: Role,
        token: str,
        date: Callable[[], str],
        instance: Instance,
    ) -> None:
        super().__init__(
            world, target.timing, role=role, dialect=target.dialect, token=token, date=date, instance=instance,
            name=target.name, features=frozenset(target.features),
        )  # fmt: skip
        self.samples = target.samples
        self.replies: list[Observation] = []
        self.published: list[Observation] = []
        self._asked: list[Message] = []
        #: Whether a case left something running, so that the next one needs another target.
        self.is_spent = False

    def begin_case(self) -> None:
        """Start a case: new names, and nothing heard yet."""
        super().begin_case()
        for kept in (self.replies, self.published, self._asked):
            kept.clear()

    def distrust(self) -> None:
        """One mistake is one message: the next case begins with a target that has not made it."""
        self.is_spent = True

    def end_case(self) -> None:
        """Wait for what still runs; a target that goes on with it is no use to the next case."""
        deadline = self.world.now + self.timing.reply_deadline
        if (
            self.is_running
            and not self.is_spent
            and not self.world.run_until(lambda: all(map(self.answers, self._asked)), deadline)
        ):
            self.is_spent = True

    @abstractmethod
    def asker(self) -> Asker:
        """Somebody new who asks it to run code."""

    def smoke(self) -> bool:
        """It does not say ok to what does not exist. Raises TargetUnusable.

        False: it answers no more after that.
        """
        asker = self.asker()
        nonsense = asker.send(NONSENSE, {}, why="a request that does not exist")
        marker = asker.execute("", content={"silent": True, "store_history": False})
        is_fit = self.world.run_until(lambda: bool(self.answers(marker)), self.world.now + self.timing.reply_deadline)
        for seen in self.answers(nonsense):
            if seen.message is not None and seen.message.content.get("status") == "ok":
                raise self.instance.unusable(f"it answers a {NONSENSE} with ok: then no other ok means anything")
        return is_fit

    def explore(self) -> None:
        """See whether code is answered, and said to be done."""
        limit = self.timing.reply_deadline
        for _ in range(2):  # what did not come once may be late
            started = self.world.now
            pilot = self.asker().execute("", content={"silent": True, "store_history": False})
            if self.world.run_until(lambda: bool(self.answers(pilot)), started + limit):  # noqa: B023 - called at once
                break
            self.expect_waited(started, limit)
        else:
            self.missing[EXECUTED] = f"no answer to an execute_request in {limit / SECOND:.1f} s"
            return
        if self.is_heard and not self.world.run_until(lambda: "idle" in self.states(pilot), self.world.now + limit):
            self.expect_waited(started, limit)
            self.missing[self.brackets] = f"no idle after an execute_request in {limit / SECOND:.1f} s"

    @property
    def is_heard(self) -> bool:
        """Whether it publishes what its code does."""
        return "output" in self.features

    def sample(self, which: str, /, **values: object) -> str:
        """Code from the descriptor, with these values in it; without that sample the case says nothing."""
        code: str = getattr(self.samples, _SAMPLES[which])
        if not code:
            raise NotApplicable(f"the target's descriptor has no sample {which!r}")
        for slot, value in values.items():
            code = code.replace(f"{{{slot}}}", str(value))
        return code

    def owes(self, request: Message) -> None:
        """Note that an answer is due before the case is over."""
        self._asked.append(request)

    def answers(self, request: Message) -> list[Observation]:
        """The answers to a request that have come, wherever."""
        return [seen for seen in self.replies if parent_id(seen) == request.msg_id]

    # -- output ------------------------------------------------------------------------------------------------------

    def outputs(self, request: Message, *types: str) -> list[Observation]:
        """What was published for a request up to now; of these types, or all."""
        return [
            seen
            for seen in self.published
            if seen.message and parent_id(seen) == request.msg_id and (not types or seen.message.msg_type in types)
        ]

    def states(self, request: Message) -> list[str]:
        """The states of execution that were published for a request."""
        return [str(seen.message.content.get("execution_state")) for seen in self.outputs(request, "status")
                if seen.message]  # fmt: skip

    def text(self, request: Message, stream: str = "stdout") -> str:
        """What was published of a stream for a request, up to now; what cannot be read is nothing."""
        said = [content_seen(seen) for seen in self.outputs(request, "stream")]
        return "".join(str(each.get("text", "")) for each in said if each.get("name") == stream)

    def until_running(self, request: Message) -> None:
        """Wait until the code of a request surely runs: a little while after the target has said that it is busy."""
        if self.is_heard:
            self.world.run_until(
                lambda: "busy" in self.states(request) or bool(self.answers(request)),
                self.world.now + self.timing.reply_deadline,
            )
        self.let_pass(SECOND // 4)
        if self.answers(request):
            raise Undecided("the code that was to run for a while had ended before anything could be tried")

    def until_idle(self, request: Message) -> list[Observation]:
        """Wait until the target says that it is done with a request; what it published for it."""
        self.stand_on(self.brackets)
        started, limit = self.world.now, self.timing.reply_deadline
        if not self.world.run_until(lambda: "idle" in self.states(request), started + limit):
            self.expect_waited(started, limit)
            raise self.stopped(self.brackets, f"no idle was published for {request.msg_type}")
        return self.outputs(request)

    def until_published(self, request: Message, *types: str, requirement: str | None = None) -> Observation:
        """Wait until something of these types is published for a request."""
        started, limit = self.world.now, self.timing.reply_deadline
        if not self.world.run_until(lambda: bool(self.outputs(request, *types)), started + limit):
            self.expect_waited(started, limit)
            finding = Finding(f"no {' or '.join(types)} was published within {limit / SECOND:.1f} s", types)
            raise Violated(finding, requirement)
        return self.outputs(request, *types)[0]


class Asker(Author, ABC):
    """Somebody who asks a target to run code."""

    #: The channel on which it asks, if nothing else is said.
    usual: ClassVar[str]

    def __init__(self, subject: Coding, name: str) -> None:
        super().__init__(subject, name)
        self.subject = subject
        self.world = subject.world
        self.identity = self.session.encode()

    @abstractmethod
    def message(self, msg_type: str, content: object = None, *, channel: str = "", **fields: Any) -> Message:
        """A request, addressed and not sent."""

    @abstractmethod
    def post(self, message: Message, channel: str = "") -> None:
        """Send a valid message."""

    @abstractmethod
    def send_raw(self, frames: Sequence[Frame], why: str, *, channel: str = "") -> None:
        """Send frames as they are."""

    @abstractmethod
    def answers(self, request: Message) -> list[Observation]:
        """The answers to a request that have come to where they belong."""

    def send(
        self, msg_type: str, content: object = None, *, channel: str = "", why: str | None = None, **fields: Any
    ) -> Message:
        """Send a request; with `why`, which says the mistake, whether or not it fits its type."""
        message = self.message(msg_type, content, channel=channel, **fields)
        if why is None:
            self.post(message, channel)
            self.subject.owes(message)
        else:
            self.send_raw(self.subject.codec.encode(message), why, channel=channel)
        return message

    def send_signed(
        self, why: str, *, head: bytes, parent: bytes = b"{}", metadata: bytes = b"{}", content: bytes = b"{}",
        channel: str = "",
    ) -> None:  # fmt: skip
        """Send dictionaries given as bytes, whatever they hold, under a valid signature."""
        parts = [head, parent, metadata, content]
        to = self.message("execute_request", channel=channel).identities
        self.send_raw([*to, DELIMITER, self.subject.codec.sign(b"".join(parts)), *parts], why, channel=channel)

    def execute(self, code: str, *, channel: str = "", content: Json | None = None, **fields: Any) -> Message:
        """Ask for code to be run; `content` adds keys to the usual ones, or replaces them.

        By default an error aborts nothing: a target may go on aborting for a moment after its reply has come.
        """
        self.subject.stand_on(EXECUTED)
        said = {"code": code, "silent": False, "user_expressions": {}, "stop_on_error": False} | (content or {})
        return self.send("execute_request", said, channel=channel, **fields)

    def ask(self, msg_type: str, content: object = None, *, channel: str = "", **fields: Any) -> Reply:
        """Send a request and wait for its reply; silence is a violation."""
        return self.reply(self.send(msg_type, content, channel=channel, **fields))

    def run(self, code: str, **fields: Any) -> Reply:
        """Run code and wait for the reply."""
        return self.reply(self.execute(code, **fields))

    def reply(self, request: Message, *, within: int = 0, requirement: str | None = None) -> Reply:
        """Wait for the reply to a request, which must come back the way it came."""
        subject, started = self.subject, self.world.now
        limit = within or subject.timing.reply_deadline
        self.world.run_until(lambda: bool(self.answers(request)) or not subject.is_running, started + limit)
        # Its last words may still be on their way when it has ended.
        if not self.world.run_until(lambda: bool(self.answers(request)), min(started + limit, self.world.now + SECOND)):
            subject.expect_waited(started, limit)
            row = lookup(request.msg_type, self.usual, subject.dialect)
            row = row or lookup(request.msg_type, self.usual.replace("shell", "control"), subject.dialect)
            row = row or lookup(request.msg_type, "control", subject.dialect)
            found = f"no answer to {request.msg_type} within {limit / SECOND:.1f} s"
            if not subject.is_running:
                found += "; the target's process has ended"
            if requirement is None and request.msg_type == "execute_request" and EXECUTED in (subject.about or ()):
                requirement = EXECUTED
            raise Violated(Finding(found, row.replies if row else ("an answer",)), requirement)
        seen = self.answers(request)[0]
        assert seen.message is not None
        if seen.message.identities != request.identities:
            finding = Finding(
                f"the identities {list(seen.message.identities)!r:.300} before the delimiter",
                (f"{list(request.identities)!r:.300}",), evidence=(seen.seq,),
            )  # fmt: skip
            raise Violated(finding, "wire.reply-identities-echoed")
        return Reply(seen, request)


def parent_id(seen: Observation) -> object:
    """The id of the request to which something belongs, as its parent header says."""
    return seen.message.parent_header.get("msg_id") if seen.message is not None else None

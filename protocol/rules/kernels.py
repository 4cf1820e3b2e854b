"""A plain kernel: the brackets around each request on IOPub, the order of its replies, and to whom it speaks.

What is published is judged for requests that the recorder sent when it had already heard something on that subscriber:
what was published before a subscription took effect is missed, and nobody's fault. Requests that were wrong on purpose
are left to the cases that send them.
"""

from abc import abstractmethod
from collections import defaultdict, deque
from collections.abc import Iterable
from typing import Final

from protocol.rules.framework import AnswerRule, Rule, Violation
from protocol.rules.ledger import Exchange
from protocol.rules.parts import content_seen, parent_of, whole
from protocol.rules.query import AnsweredInOrder
from protocol.rules.replies import OrphanRule
from protocol.world import Fact, Observation

#: What code brings forth while it runs, and what also threads that it left behind may bring forth later.
WHILE_RUNNING: Final = frozenset({"execute_input", "execute_result", "error"})
OUTPUT: Final = frozenset({"stream", "display_data", "update_display_data", "clear_output"})


def _asked_by(seen: Observation) -> str:
    """The id of the request that a message belongs to; "" if it names none."""
    asked = parent_of(seen.message).get("msg_id") if seen.message is not None else None
    return asked if isinstance(asked, str) else ""


class PublishedRule(Rule):
    """Base of rules about what a kernel publishes for requests that were sent in sight of a listening subscriber."""

    channels = frozenset({"kernel-shell", "kernel-control", "kernel-iopub"})

    def begin(self) -> None:
        self._asked: dict[str, Observation] = {}
        self._answered: dict[str, Observation] = {}
        self._since: dict[str, int] = {}
        #: Subscriber and request -> the last state that was published.
        self.states: dict[tuple[str, str], Observation] = {}
        self.is_ending = False

    def observe(self, seen: Observation) -> Iterable[Violation]:
        """Keep requests and replies in mind, and hand on what is published for them."""
        message = seen.message
        if message is None:
            return ()
        if seen.channel != "kernel-iopub":
            if seen.direction == "sent":
                self._asked.setdefault(message.msg_id, seen)
                self.is_ending = self.is_ending or message.msg_type == "shutdown_request"
            else:
                self._answered.setdefault(_asked_by(seen), seen)
            return ()
        if seen.direction == "sent":
            return ()
        since, asked = self._since.setdefault(seen.socket, seen.seq), _asked_by(seen)
        request = self._asked.get(asked)
        if request is None or request.why is not None or since >= request.seq:
            return ()
        found = self.published(seen, request, self.states.get((seen.socket, asked)))
        if message.msg_type == "status":
            self.states[seen.socket, asked] = seen
        return found

    @classmethod
    def heeds(cls, name: str) -> bool:
        return name == "socket-closed"

    def note(self, fact: Fact) -> Iterable[Violation]:
        """Expect nothing more of a subscriber that was closed."""
        if fact.name == "socket-closed":
            for key in [key for key in self.states if key[0] == fact.data.get("socket")]:
                del self.states[key]
        return ()

    @abstractmethod
    def published(self, seen: Observation, request: Observation, last: Observation | None) -> Iterable[Violation]:
        """Judge something that was published for a request; `last` is the status before it."""

    def answered(self, asked: str) -> Observation | None:
        """The reply to a request, if it has come."""
        return self._answered.get(asked)


def _state(seen: Observation | None) -> object:
    return content_seen(seen).get("execution_state") if seen is not None else None


class StatusBrackets(PublishedRule):
    """Each request is bracketed on IOPub by one busy and one idle that name it as their parent."""

    slug = "kernel.status-brackets"

    def published(self, seen: Observation, request: Observation, last: Observation | None) -> Iterable[Violation]:
        assert seen.message is not None
        if seen.message.msg_type != "status":
            return ()
        state, before = _state(seen), _state(last)
        found = f"{state} after {before}" if last else f"{state} first"
        allowed = "idle" if before == "busy" else "busy first" if last is None else "nothing more"
        holds = (before, state) in ((None, "busy"), ("busy", "idle"))
        return self.judge(holds, seen, found, allowed, evidence=[request, *([last] if last else [])])

    def finish(self, now: int) -> Iterable[Violation]:
        for (_, asked), last in self.states.items():
            reply = self.answered(asked)
            if _state(last) != "busy" or reply is None or self.is_ending:
                continue
            waited = self.ledger.waited(max(reply.now, last.now), now)
            if waited >= self.setting.reply_deadline_ns:
                yield self.accuse(last, f"no idle in {waited / 1e9:.1f} s after the reply", "idle", evidence=[reply],
                                  now=now)  # fmt: skip


class OutputInside(PublishedRule):
    """What a request brings forth comes after its busy, and before its idle unless a thread brings it forth later."""

    slug = "kernel.output-after-busy"

    def published(self, seen: Observation, request: Observation, last: Observation | None) -> Iterable[Violation]:
        assert seen.message is not None
        kind = seen.message.msg_type
        if kind not in WHILE_RUNNING | OUTPUT:
            return ()
        holds = _state(last) == "busy" or (kind in OUTPUT and _state(last) == "idle")
        found = f"{kind} after idle" if last else f"{kind} before busy"
        return self.judge(holds, seen, found, "output between busy and idle", evidence=[request])


class InputFirst(PublishedRule):
    """The code of a request is published before anything that it brings forth."""

    slug = "kernel.execute-input-first"

    def begin(self) -> None:
        super().begin()
        self._shown: dict[tuple[str, str], Observation] = {}

    def published(self, seen: Observation, request: Observation, last: Observation | None) -> Iterable[Violation]:  # noqa: ARG002 - a hook
        assert seen.message is not None
        key = (seen.socket, _asked_by(seen))
        if seen.message.msg_type == "execute_input":
            early = self._shown.get(key)
            found = "execute_input after output of the same request"
            return self.judge(early is None, seen, found, "execute_input first", evidence=[early] if early else [])
        if seen.message.msg_type in OUTPUT | {"execute_result", "error"}:
            self._shown.setdefault(key, seen)
        return ()


class ShellOrder(AnsweredInOrder):
    """Requests of one frontend on shell are answered in the order sent; subshells have orders of their own."""

    slug = "kernel.shell-fifo"
    channels = frozenset({"kernel-shell"})

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        return () if exchange.message.header.get("subshell_id") else super().check(seen, exchange)


class CountNeverFalls(AnswerRule):
    """The execution counter never falls."""

    slug = "kernel.execution-count"
    types = frozenset({"execute_reply"})
    channels = frozenset({"kernel-shell"})

    def begin(self) -> None:
        self._last: dict[str, tuple[int, Observation]] = {}

    def check(self, seen: Observation, exchange: Exchange) -> Iterable[Violation]:
        count = whole(content_seen(seen).get("execution_count"))
        if count is None or exchange.message.header.get("subshell_id"):
            return ()
        before, last = self._last.get(seen.socket, (count, seen))
        self._last[seen.socket] = count, seen
        return self.judge(count >= before, seen, f"the count {count} after {before}", f"{before} or more",
                          evidence=[last])  # fmt: skip


class RepliesToSender(OrphanRule):
    """A reply goes to the frontend that asked, and to no other."""

    slug = "kernel.reply-to-sender-only"
    channels = frozenset({"kernel-shell", "kernel-control"})
    kinds = frozenset({"elsewhere"})
    what = "for a request of another frontend"

    def is_tempted(self, seen: Observation) -> bool:
        return any(exchange.request.observer != seen.observer for exchange in self.ledger.exchanges)


class PromptsToRequester(Rule):
    """A kernel asks the frontend whose request it runs for input, and no other."""

    slug = "stdin.goes-to-requester"
    channels = frozenset({"kernel-shell", "kernel-control", "kernel-stdin"})

    def begin(self) -> None:
        self._asked: dict[str, Observation] = {}

    def observe(self, seen: Observation) -> Iterable[Violation]:
        message = seen.message
        if message is None:
            return ()
        if seen.direction == "sent":
            if seen.channel != "kernel-stdin":
                self._asked.setdefault(message.msg_id, seen)
            return ()
        request = self._asked.get(_asked_by(seen))
        if seen.channel != "kernel-stdin" or request is None:
            return ()
        found = f"{message.msg_type} to {seen.observer} for a request of {request.observer}"
        return self.judge(request.observer == seen.observer, seen, found, "a prompt to who asked", evidence=[request])


class HeartbeatEcho(Rule):
    """A heartbeat comes back as it was sent, byte for byte and one by one."""

    slug = "kernel.heartbeat-echo"
    channels = frozenset({"kernel-heartbeat"})

    def begin(self) -> None:
        self._sent: defaultdict[str, deque[Observation]] = defaultdict(deque)

    def observe(self, seen: Observation) -> Iterable[Violation]:
        pings = self._sent[seen.socket]
        if seen.direction == "sent":
            pings.append(seen)
            return ()
        ping = pings.popleft() if pings else None
        holds = ping is not None and tuple(map(bytes, seen.frames)) == tuple(map(bytes, ping.frames))
        found = f"{[bytes(frame)[:40] for frame in seen.frames[:4]]!r}"
        allowed = f"{[bytes(frame)[:40] for frame in ping.frames[:4]]!r}" if ping else "nothing"
        return self.judge(holds, seen, found, allowed, evidence=[ping] if ping else [])


RULES: tuple[type[Rule], ...] = (
    StatusBrackets,
    OutputInside,
    InputFirst,
    ShellOrder,
    CountNeverFalls,
    RepliesToSender,
    PromptsToRequester,
    HeartbeatEcho,
)

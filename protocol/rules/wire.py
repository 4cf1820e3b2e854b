"""What every message that a peer sends must be: its frames, its header, its type."""

import json
import re
from abc import abstractmethod
from collections.abc import Iterable
from datetime import datetime

from protocol.errors import Problem
from protocol.rules.framework import Kind, MessageRule, Observe, Rule, Violation
from protocol.rules.parts import RAW, part_problems, signature_of, was_written
from protocol.wire import DELIMITER
from protocol.world import Observation

#: Channels on which one process usually writes everything; several may, and so the rule that looks here only warns.
ONE_AUTHOR = frozenset({"query", "notification"})
#: Channels on which a target writes messages of its own that repeat what it was sent.
REPEATING = frozenset({"iopub", "kernel-iopub", "broadcast"})
HEADER_KEYS = ("msg_id", "msg_type", "username", "session", "date", "version")
_SIX_TEXTS = [str] * len(HEADER_KEYS)
_HEX = re.compile(rb"[0-9a-f]+")


class FrameRule(Rule):
    """Base of rules about the frames of whatever arrives as a message."""

    def listener(self, kind: Kind) -> Observe | None:
        if kind.direction != "received" or kind.channel in RAW:
            return None
        if kind.form != "written":
            # Its sender left it to our own codec to write it, which breaks none of these rules.
            self.is_exercised = True
            return None
        return super().listener(kind)

    def observe(self, seen: Observation) -> Iterable[Violation]:
        """Call `check` for each multipart received on a channel of messages."""
        return self.check(seen) if seen.direction == "received" and seen.channel not in RAW else ()

    @abstractmethod
    def check(self, seen: Observation) -> Iterable[Violation]:
        """Judge one multipart."""


class DelimiterPresent(FrameRule):
    """One delimiter frame separates the identities from the message."""

    slug = "wire.delimiter-present"

    def check(self, seen: Observation) -> Iterable[Violation]:
        return self.judge(DELIMITER in seen.frames, seen, f"{len(seen.frames)} frames without delimiter", "a delimiter")


class AllPartsPresent(FrameRule):
    """Signature, header, parent header, metadata and content follow the delimiter, each in its own frame."""

    slug = "wire.all-parts-present"

    def check(self, seen: Observation) -> Iterable[Violation]:
        if DELIMITER not in seen.frames:
            return ()
        count = len(seen.frames) - seen.frames.index(DELIMITER) - 1
        return self.judge(count >= 5, seen, f"{count} frames after the delimiter", "a signature and four dictionaries")


class SignatureSent(FrameRule):
    """Every message carries the HMAC of its dictionaries under the key of the connection file."""

    slug = "wire.signature-sent"

    def check(self, seen: Observation) -> Iterable[Violation]:
        problems = [problem for problem in part_problems(seen) if problem.rule == "wire.signature-verified"]
        if not problems and not signature_of(seen.frames):
            return ()
        found = problems[0].found if problems else ""
        return self.judge(not problems, seen, f"a signature that is {found}", "the HMAC of the dictionaries as sent")


class SignatureLowercase(FrameRule):
    """The signature is written in lowercase hexadecimal digits."""

    slug = "wire.signature-lowercase-hex"

    def check(self, seen: Observation) -> Iterable[Violation]:
        signature = signature_of(seen.frames)
        if not signature:
            return ()
        return self.judge(_HEX.fullmatch(signature), seen, f"the signature {signature!r}", "lowercase hex digits")


class ProblemRule(FrameRule):
    """Base of rules that the decoder of the wire format knows about: it names the requirement of each problem."""

    def check(self, seen: Observation) -> Iterable[Violation]:
        return self.judge_problems(seen, part_problems(seen))

    def judge_problems(self, seen: Observation, problems: Iterable[Problem]) -> Iterable[Violation]:
        """Accuse the sender if one of the problems is about this rule's requirement."""
        mine = [problem for problem in problems if problem.rule == self.slug]
        if not mine:
            return self.passed()
        if self.ledger.is_sent_on_damage(seen):
            return ()
        found = "; ".join(f"{f'{each.frame} {each.path}'.strip()}: {each.found}" for each in mine)
        return self.judge(False, seen, found, *dict.fromkeys(each.expected for each in mine))


class PartsReadable(ProblemRule):
    """Each dictionary frame is readable in the packer's format."""

    slug = "wire.parts-readable"


class PartsAreObjects(ProblemRule):
    """Header, parent header, metadata and content are objects with string keys."""

    slug = "wire.parts-are-objects"


class HeaderMsgId(ProblemRule):
    """A header has `msg_id`, a string."""

    slug = "wire.header-msg-id"


class HeaderMsgType(ProblemRule):
    """A header has `msg_type`, a string."""

    slug = "wire.header-msg-type"


class NumbersFinite(FrameRule):
    """What is sent as JSON is standard JSON: no NaN, no Infinity."""

    slug = "wire.numbers-finite"

    def check(self, seen: Observation) -> Iterable[Violation]:
        constants: list[str] = []
        if any(problem.rule == "wire.parts-readable" for problem in part_problems(seen)):
            at = seen.frames.index(DELIMITER) + 2
            for frame in seen.frames[at : at + 4]:
                try:
                    json.loads(bytes(frame), parse_constant=constants.append)
                except (ValueError, RecursionError):
                    continue
        if constants and self.ledger.is_sent_on_damage(seen):
            return ()
        return self.judge(not constants, seen, f"the numbers {', '.join(constants)}", "numbers that JSON has")


class PartsRule(MessageRule):
    """Base of rules that judge the parts of a message, whoever gets it."""

    def listener(self, kind: Kind) -> Observe | None:
        return super().listener(kind) if kind.form != "again" else None


class HeaderComplete(PartsRule):
    """A sender fills in all six keys of the header."""

    slug = "wire.header-complete"

    def check(self, seen: Observation) -> Iterable[Violation]:
        assert seen.message is not None
        header = seen.message.header
        if [*map(type, map(header.get, HEADER_KEYS))] == _SIX_TEXTS:
            return self.passed()
        missing = [key for key in HEADER_KEYS if not isinstance(header.get(key), str)]
        if not missing:
            return self.passed()
        return self.judge(False, seen, f"a header without {', '.join(missing)}", "all six keys, each a string")


class DateWithZone(PartsRule):
    """`date` is an ISO 8601 time with its zone."""

    slug = "wire.date-utc"

    def check(self, seen: Observation) -> Iterable[Violation]:
        assert seen.message is not None
        date = seen.message.header.get("date")
        if not isinstance(date, str):
            return ()
        try:
            holds = datetime.fromisoformat(date).tzinfo is not None
        except ValueError:
            holds = False
        if holds:
            return self.passed()
        return self.judge(False, seen, f"the date {date!r}", "an ISO 8601 time with a zone")


class MsgIdUnique(MessageRule):
    """A sender never uses a `msg_id` twice.

    The same message may arrive on several sockets; what the kit sent itself comes back through relays.
    """

    slug = "wire.msg-id-unique"

    def begin(self) -> None:
        self._seen: dict[tuple[object, str], Observation] = {}
        self._own: set[str] = set()

    def listener(self, kind: Kind) -> Observe | None:
        return None if kind.msg_type is None or kind.form == "again" else self.observe

    def observe(self, seen: Observation) -> Iterable[Violation]:
        if seen.direction == "sent":
            if seen.message is not None:
                self._own.add(seen.message.msg_id)
            return ()
        return super().observe(seen)

    def check(self, seen: Observation) -> Iterable[Violation]:
        assert seen.message is not None
        msg_id = seen.message.msg_id
        if msg_id in self._own or (was_written(seen) and DELIMITER not in seen.frames):
            return ()
        if self.ledger.is_sent_on_damage(seen):
            return ()
        # A stranger's session may be anything, and some queues give it back as it came.
        first = self._seen.setdefault((repr(seen.message.header.get("session")), msg_id), seen)
        assert first.message is not None
        if first is seen or (not was_written(seen) and first.message.shares(seen.message)):
            return self.passed()
        return self.judge(
            _said(first) == _said(seen),
            seen,
            f"the msg_id {msg_id!r} for a second message",
            "a msg_id of its own for each message",
            evidence=[first],
        )


def _said(seen: Observation) -> object:
    # What is run again comes under its msg_id, with the retries that are left in its metadata.
    if seen.channel == "task" and seen.message is not None and seen.message.msg_type.endswith("_request"):
        return seen.message.header
    at = seen.frames.index(DELIMITER) + 2
    return b"".join(seen.frames[at : at + 4])


class SessionConstant(MessageRule):
    """The `session` of what a process sends is the same for the life of that process."""

    slug = "wire.session-constant"
    channels = ONE_AUTHOR

    def begin(self) -> None:
        self._first: dict[tuple[str, tuple[bytes, ...]], Observation] = {}

    def check(self, seen: Observation) -> Iterable[Violation]:
        assert seen.message is not None
        session = seen.message.header.get("session")
        # Where the recorder is the Hub, an engine and whoever watches it are told apart by their identities.
        peers = seen.message.identities[:1] if self.setting.role == "engine" else ()
        first = self._first.setdefault((seen.socket, peers), seen)
        assert first.message is not None
        before = first.message.header.get("session")
        if first is seen or session is None or before is None:
            return ()
        return self.judge(
            session == before, seen, f"the session {session!r}", f"the session {before!r}", evidence=[first]
        )


class TypeRule(PartsRule):
    """Base of rules that compare a message with the table of message types."""

    def check(self, seen: Observation) -> Iterable[Violation]:
        problems = self.ledger.type_problems(seen)
        if not problems and self.is_exercised:
            return ()
        # What is published for a request, and what a tree sends on, repeats some of it, and may repeat its mistake.
        if problems is None or (seen.channel in REPEATING and self.ledger.is_about_damage(seen)):
            return ()
        mine = [problem for problem in problems if problem.rule == self.slug]
        if not mine:
            return self.passed()
        found = "; ".join(f"{each.path or each.frame}: {each.found}" for each in mine)
        expected = dict.fromkeys(f"{each.path or each.frame}: {each.expected}" for each in mine)
        return self.judge(False, seen, f"{seen.message.msg_type if seen.message else ''} {found}", *expected)


class MessageTypeKnown(TypeRule):
    """A peer sends on each channel only message types that exist there."""

    slug = "wire.message-type-known"

    def check(self, seen: Observation) -> Iterable[Violation]:
        # To a request of a type that does not exist there belongs no answer that does.
        return () if self.ledger.is_namesake_of_damage(seen) else super().check(seen)


class ContentMatchesType(TypeRule):
    """The content of a message has the keys and value types of its message type."""

    slug = "wire.content-matches-type"


class MetadataMatchesType(TypeRule):
    """The metadata of a message has the value types of its message type."""

    slug = "wire.metadata-matches-type"


class BufferCount(TypeRule):
    """A message has as many buffers as its type allows."""

    slug = "wire.buffer-count"


RULES: tuple[type[Rule], ...] = (
    DelimiterPresent,
    AllPartsPresent,
    SignatureSent,
    SignatureLowercase,
    PartsReadable,
    PartsAreObjects,
    HeaderMsgId,
    HeaderMsgType,
    NumbersFinite,
    HeaderComplete,
    DateWithZone,
    MsgIdUnique,
    SessionConstant,
    MessageTypeKnown,
    ContentMatchesType,
    MetadataMatchesType,
    BufferCount,
)

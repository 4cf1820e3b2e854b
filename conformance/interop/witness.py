"""The rules of the protocol, held against what crossed the relay.

Rules judge what one observer received (see `protocol.rules`). Here every party is observer and observed: one judge gets
the stream as the controller's peers see it, another one the same stream as the controller sees its peers, and there
only the rules about single messages apply. Whoever said a message first is guilty of it, and not who passed it on.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from conformance.interop.traffic import CONTROLLER, Seen
from protocol.rules import Judge, Setting, query, replies, results, wire
from protocol.world import Observation

#: Families whose rules need nothing but the messages: no hearts, no facts, no end of the stream.
RULES: Final = (*wire.RULES, *replies.RULES, *query.RULES, *results.RULES)


class Charge(NamedTuple):
    """Somebody broke a requirement: who, which, with a message of which type, and what was found."""

    seq: int
    party: str
    requirement: str
    msg_type: str
    found: str

    @property
    def kind(self) -> tuple[str, str, str]:
        """What makes two charges the same mistake."""
        _, _, kind = self.party.partition(" (")
        return f"an engine ({kind}" if kind else self.party, self.requirement, self.msg_type


class Witness:
    """Judges the traffic of one cluster."""

    def __init__(self) -> None:
        self._peers = Judge(RULES, Setting())
        self._controller = Judge(wire.RULES, Setting())

    def look(self, messages: Iterable[Seen]) -> list[Charge]:
        """What was broken by these messages, in their order."""
        return [
            Charge(seen.hop.seq, seen.author, violation.requirement, seen.msg_type, violation.found)
            for seen in messages
            for judge, is_mirrored in ((self._peers, False), (self._controller, True))
            for violation in judge.observe(_observation(seen, is_mirrored=is_mirrored))
            # The last piece of evidence is the message that was judged.
            if violation.evidence[-1] == seen.hop.seq and seen.author == seen.hop.sender
        ]


def _observation(seen: Seen, *, is_mirrored: bool) -> Observation:
    hop = seen.hop
    return Observation(
        seq=hop.seq,
        now=hop.now,
        observer=CONTROLLER if is_mirrored else hop.party,
        socket=f"{hop.party}/{hop.channel}#{hop.link}",
        channel=hop.channel,
        direction="sent" if hop.is_up != is_mirrored else "received",
        peer=hop.party if is_mirrored else CONTROLLER,
        frames=hop.frames,
        message=seen.message,
        error=seen.error,
    )

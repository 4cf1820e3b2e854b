"""What happened in a run, event by event: small tuples that can be hashed, compared, written and drawn.

    world.trace = Trace()                   # before anything starts
    world.trace.digest()                    # equal for equal runs, in every Python and under every hash seed

An entry is `(time, process, what, ...)`; what follows are texts and numbers. Roles give

    sent     socket, msg_type, msg_id, parent's msg_id        raw frames: socket, "", hexadecimal of the frames
    took     the same, of what was handed to the role; Malformed: socket, "!", the requirements that it breaks
    fired    timer, epoch
    did      any other event: its kind

and processes `began`, `ended` with the status, `stalled`, `paused`, `resumed`. Nothing here depends on where a message
was in memory or whether it was encoded.
"""

import json
import marshal
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any

from protocol.roles.base import Arrived, Event, Fired, Malformed, Raw
from protocol.roles.speech import parent_id
from protocol.wire import Message

Entry = tuple[Any, ...]


class Trace:
    """The entries of one run, in order."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.add = self.entries.append

    def digest(self) -> str:
        """A hash of everything, 32 hexadecimal digits."""
        # Version 2 writes equal values alike, whether or not they are the same object.
        return blake2b(marshal.dumps(self.entries, 2), digest_size=16).hexdigest()

    def lines(self) -> Iterator[str]:
        """One line of JSON per entry."""
        for entry in self.entries:
            yield json.dumps(entry, ensure_ascii=False)

    def event(self, now: int, process: str, event: Event) -> None:
        """What a role is given."""
        if isinstance(event, Arrived):
            self.message(now, process, "took", event.socket, event.message)
        elif isinstance(event, Raw):
            self.frames(now, process, "took", event.socket, event.frames)
        elif isinstance(event, Fired):
            self.add((now, process, "fired", event.timer, event.epoch))
        elif isinstance(event, Malformed):
            self.add((now, process, "took", event.socket, "!", ", ".join(event.error.rules)))
        else:
            self.add((now, process, "did", type(event).__name__))

    def message(self, now: int, process: str, what: str, socket: str, message: Message) -> None:
        """A message that a role sent or took."""
        self.add((now, process, what, socket, message.msg_type, message.msg_id, parent_id(message)))

    def frames(self, now: int, process: str, what: str, socket: str, frames: Sequence[Any]) -> None:
        """Frames that are no message."""
        self.add((now, process, what, socket, "", " ".join(bytes(frame).hex() for frame in frames)))


def first_difference(one: Sequence[Entry], other: Sequence[Entry]) -> int | None:
    """The place of the first entry that two runs do not share, or None if they are the same."""
    for place, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return place
    return None if len(one) == len(other) else min(len(one), len(other))


__all__ = ["Entry", "Trace", "first_difference"]

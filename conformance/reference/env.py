"""What a role may ask of the real world: chance, fresh ids, the date. And the log that keeps secrets.

Every process of a cluster reads the same monotonic clock, and dates are that clock plus an offset. The offset follows
the wall clock when that is set, so that the dates of processes of different age agree.
"""

import os
import random
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from protocol.errors import ProtocolError
from protocol.world import SECOND

#: How far monotonic clock and wall clock may drift apart before the offset is taken anew, in nanoseconds.
_DRIFT: Final = 1_000_000


def new_id() -> str:
    """An id in the form of sessions: 8 and 24 hexadecimal digits, random."""
    text = uuid.uuid4().hex
    return f"{text[:8]}-{text[8:]}"


class RealEnv:
    """Chance, ids and dates of one process."""

    def __init__(self, session: str = "") -> None:
        self.session = session or new_id()
        self._count = 0
        self._random = random.Random()  # noqa: S311 - it chooses among engines
        self._offset = time.time_ns() - time.monotonic_ns()
        self._second = -1
        self._text = ""

    def random(self, n: int) -> int:
        """A number from 0 to n - 1."""
        return int(self._random.random() * n)

    def fresh_id(self) -> str:
        """`<session>_<pid>_<count>`, as Jupyter's sessions number their messages."""
        count = self._count
        self._count = count + 1
        return f"{self.session}_{os.getpid()}_{count}"

    def date(self, now: int) -> str:
        """The moment in ISO 8601, UTC, with microseconds and a final Z."""
        second, rest = divmod(now + self._offset, SECOND)
        if second != self._second:
            offset = time.time_ns() - time.monotonic_ns()
            if abs(offset - self._offset) > _DRIFT:
                self._offset = offset
                second, rest = divmod(now + offset, SECOND)
            self._second = second
            self._text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        return f"{self._text}{rest // 1000:06d}Z"

    def rarely(self, place: str) -> bool:  # noqa: ARG002 - nothing unusual happens here
        """Never."""
        return False

    def mark(self, slug: str) -> None:
        """Rare branches are counted in simulations only."""


class Log:
    """Lines on standard error. The same thing is told in full once; later only how often it came, at powers of ten.

    Nothing that a peer sent is ever part of a line: who can send garbage must not write the log, and keys and payloads
    do not belong there.
    """

    def __init__(self, name: str, write: Callable[[bytes], object] | None = None) -> None:
        self.name = name
        self._write = write or (lambda line: os.write(2, line))
        self._counts: dict[object, int] = {}

    def say(self, sentence: str) -> None:
        """A sentence, always."""
        # One write per line: several processes share the stream.
        try:
            self._write(f"ippkit {self.name}: {sentence}\n".encode(errors="backslashreplace"))
        except OSError:
            # Whoever read this stream is gone, which is no reason to stop serving others.
            return

    def once(self, what: object, sentence: str) -> None:
        """A sentence about a kind of thing: the first time, and then at the 10th, 100th, ... with the count."""
        count = self._counts[what] = self._counts.get(what, 0) + 1
        if count == 1:
            self.say(sentence)
        elif count >= 10 and set(str(count)[1:]) == {"0"} and str(count)[0] == "1":
            self.say(f"{sentence} ({count} times)")

    def malformed(self, socket: str, error: ProtocolError) -> None:
        """Frames on a socket that are no acceptable message: which requirement they break."""
        self.once((socket, error.rules), f"dropped frames on {socket} that break {', '.join(error.rules)}")

    def failure(self, where: str, error: BaseException) -> None:
        """A mistake of ours: its type and place, without its text, which may quote a message."""
        trace = error.__traceback__
        places = []
        while trace is not None:
            code = trace.tb_frame.f_code
            places.append(f"{os.path.basename(code.co_filename)}:{trace.tb_lineno} {code.co_name}")  # noqa: PTH119
            trace = trace.tb_next
        kind = type(error).__name__
        self.once((where, kind, *places[-1:]), f"{kind} while handling {where}: {' > '.join(places[-4:])}")

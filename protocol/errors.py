"""One error for everything that is wrong with a message, and who is at fault.

A `ProtocolError` carries every problem of one message, not only the first. `LocalProtocolError` is our caller's
mistake and `RemoteProtocolError` the peer's; nothing else may leave the decoder, whatever bytes arrive.
"""

from dataclasses import dataclass
from typing import Literal

FrameName = Literal[
    "message", "identities", "delimiter", "signature", "header", "parent_header", "metadata", "content", "buffers"
]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in one frame.

    `path` is a JSON path inside the frame (`$.msg_id`) and empty for a frame that is not JSON; `rule` is the slug
    of the requirement that is broken.
    """

    frame: FrameName
    rule: str
    expected: str
    found: str
    path: str = ""

    def __str__(self) -> str:
        where = f"{self.frame} {self.path}" if self.path else self.frame
        return f"{where}: expected {self.expected}, found {self.found} [{self.rule}]"


class ProtocolError(Exception):
    """A message broke the protocol; `problems` lists everything that is wrong with it."""

    party: Literal["caller", "peer"]

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__(*problems)

    def __str__(self) -> str:
        text = "; ".join(str(problem) for problem in self.problems)
        return f"the {self.party} is at fault: {text}"

    @property
    def frames(self) -> tuple[FrameName, ...]:
        """The names of the frames at fault, in the order found, each once."""
        return tuple(dict.fromkeys(problem.frame for problem in self.problems))

    @property
    def rules(self) -> tuple[str, ...]:
        """The slugs of the requirements broken, in the order found, each once."""
        return tuple(dict.fromkeys(problem.rule for problem in self.problems))


class LocalProtocolError(ProtocolError):
    """Our own caller asked for something that the protocol forbids."""

    party = "caller"


class RemoteProtocolError(ProtocolError):
    """The peer sent something that the protocol forbids."""

    party = "peer"

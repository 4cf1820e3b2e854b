"""What engines and kernels print, held against what honest requests were to print."""

from collections.abc import Collection
from typing import TypeVar

from conformance.harness.coding import Coding
from conformance.livefuzz.arena import HARM, Arena
from protocol.rules.parts import content_seen
from protocol.world import Observation

C = TypeVar("C", bound=Coding)


class CodeArena(Arena[C]):
    """A target that runs code; `_texts` has what each honest request is to print yet, by its id."""

    def __init__(self, subject: C, seed: int) -> None:
        super().__init__(subject, seed)
        self._texts: dict[str, str] = {}
        self._said: dict[str, str] = {}

    def _hear_output(self, seen: Observation, sessions: Collection[str]) -> None:
        """Hold what was printed against what honest requests, which are of these sessions, were to print."""
        message = seen.message
        if message is None or message.msg_type != "stream":
            return
        key = message.parent_header.get("msg_id")
        is_honest = message.parent_header.get("session") in sessions
        if is_honest and content_seen(seen).get("name") == "stderr":
            found = f"its output has what it never wrote: {content_seen(seen).get('text')!r:.200}"
            self.notice(HARM, "the output of another peer", found, seen)
        if not isinstance(key, str) or key not in self._texts:
            return
        said = self._said[key] = self._said.get(key, "") + str(content_seen(seen).get("text"))
        if self._texts[key] in said:
            del self._texts[key], self._said[key]
            self.arrived(f"output of {key}", seen.channel, seen)

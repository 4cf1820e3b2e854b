"""Who wants what: prefixes with a count, and prefixes with the pipes that want them.

A frame that is no bytes stands for a whole message of the protocol, which begins with its delimiter.
"""

from collections.abc import Iterator

from protocol.wire import DELIMITER
from simulator.sockets.pipe import Pipe


class Wanted:
    """The prefixes that one socket subscribed to, each as often as it did."""

    __slots__ = ("_counts", "_lengths")

    def __init__(self) -> None:
        self._counts: dict[bytes, int] = {}
        self._lengths: list[int] = []

    def add(self, prefix: bytes) -> None:
        """Subscribe once more."""
        count = self._counts.get(prefix, 0)
        self._counts[prefix] = count + 1
        if not count:
            self._measure()

    def remove(self, prefix: bytes) -> bool:
        """Unsubscribe once; whether nobody wants the prefix any more."""
        count = self._counts.get(prefix, 0)
        if count > 1:
            self._counts[prefix] = count - 1
            return False
        if count:
            del self._counts[prefix]
            self._measure()
        return bool(count)

    def _measure(self) -> None:
        self._lengths = sorted({len(prefix) for prefix in self._counts})

    @property
    def is_everything(self) -> bool:
        """Whether no message is unwanted."""
        return b"" in self._counts

    def matches(self, topic: bytes) -> bool:
        """Whether a message that begins with this frame is wanted."""
        if b"" in self._counts:
            return True
        if type(topic) is not bytes:
            topic = DELIMITER
        size = len(topic)
        return any(length <= size and topic[:length] in self._counts for length in self._lengths)

    def __iter__(self) -> Iterator[bytes]:
        """The prefixes, as they are told to a new peer."""
        return iter(sorted(self._counts))


class Audience:
    """Which pipes want which prefixes; a pipe wants a prefix once, however often it says so."""

    __slots__ = ("_lengths", "_pipes", "everything")

    def __init__(self) -> None:
        self._pipes: dict[bytes, list[Pipe]] = {}
        self._lengths: list[int] = []
        #: The pipes that want everything, if nobody wants anything else.
        self.everything: list[Pipe] | None = None

    def add(self, prefix: bytes, pipe: Pipe) -> bool:
        """A pipe wants a prefix; whether it is the first."""
        pipes = self._pipes.get(prefix)
        if pipes is None:
            self._pipes[prefix] = [pipe]
            self._measure()
            return True
        if pipe not in pipes:
            pipes.append(pipe)
        return False

    def remove(self, prefix: bytes, pipe: Pipe) -> bool:
        """A pipe no longer wants a prefix; whether others still do."""
        pipes = self._pipes.get(prefix)
        if pipes is None or pipe not in pipes:
            return False
        pipes.remove(pipe)
        if not pipes:
            del self._pipes[prefix]
            self._measure()
        return bool(pipes)

    def drop(self, pipe: Pipe) -> Iterator[tuple[bytes, bool]]:
        """A pipe is gone: each prefix that it wanted, and whether nobody else wants it."""
        for prefix in sorted(self._pipes):
            pipes = self._pipes[prefix]
            if pipe in pipes:
                pipes.remove(pipe)
                if not pipes:
                    del self._pipes[prefix]
                yield prefix, not pipes
        self._measure()

    def _measure(self) -> None:
        self._lengths = sorted({len(prefix) for prefix in self._pipes})
        self.everything = self._pipes.get(b"") if len(self._pipes) == 1 else None

    def listeners(self, topic: bytes) -> Iterator[Pipe]:
        """The pipes that want a message which begins with this frame; a pipe may come more than once."""
        if type(topic) is not bytes:
            topic = DELIMITER
        size = len(topic)
        found = self._pipes
        for length in self._lengths:
            if length > size:
                return
            yield from found.get(topic[:length], ())

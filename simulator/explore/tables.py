"""Values that are met again and again, as small integers: equal values have one number, so states are short tuples."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from protocol.roles.freezing import freeze_message
from protocol.wire import Message
from simulator.explore.names import Rename, task_of

T = TypeVar("T")


class Table(Generic[T]):
    """Values and their numbers, from 0 in the order in which they were met."""

    def __init__(self) -> None:
        self.values: list[T] = []
        self._numbers: dict[T, int] = {}

    def number(self, value: T) -> int:
        """The number of a value."""
        found = self._numbers.get(value)
        if found is None:
            found = self._numbers[value] = len(self.values)
            self.values.append(value)
            self.added(value)
        return found

    def added(self, value: T) -> None:
        """A value was met for the first time."""

    def __len__(self) -> int:
        return len(self.values)


class Messages(Table[tuple[Any, ...]]):
    """Messages, frozen. `whole` has them as roles take them, `task` the task that each is about, or -1."""

    def __init__(self, thaw: Callable[[tuple[Any, ...]], Message]) -> None:
        super().__init__()
        self._thaw = thaw
        self.whole: list[Message] = []
        self.task: list[int] = []

    def of(self, message: Message) -> int:
        """The number of a message."""
        return self.number(freeze_message(message))

    def added(self, value: tuple[Any, ...]) -> None:
        """Keep it in the other forms, too."""
        message = self._thaw(value)
        self.whole.append(message)
        task = task_of(message.msg_id)
        self.task.append(task if task >= 0 else task_of(message.parent_header.get("msg_id")))


class Pipes(Table[tuple[int, ...]]):
    """What is under way on a connection, in order, as numbers of messages; 0 is an empty one.

    `head` is the first message of each, `rest` the number of the pipe behind it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.head: list[int] = []
        self.rest: list[int] = []
        self._longer: dict[tuple[int, int], int] = {}
        self.number(())

    def added(self, value: tuple[int, ...]) -> None:
        """Look at its beginning once."""
        self.head.append(value[0] if value else -1)
        self.rest.append(0)
        if value:
            at = len(self.rest) - 1
            self.rest[at] = self.number(value[1:])

    def longer(self, pipe: int, message: int) -> int:
        """The pipe with one more message at its end."""
        found = self._longer.get((pipe, message))
        if found is None:
            found = self._longer[pipe, message] = self.number((*self.values[pipe], message))
        return found


class Renamed:
    """Numbers of values in which engines have other names, each made once."""

    def __init__(self, rename: Callable[[int, Rename], int]) -> None:
        self._rename = rename
        self._known: dict[tuple[int, Rename], int] = {}

    def __call__(self, number: int, names: Rename) -> int:
        """The number of the renamed value."""
        found = self._known.get((number, names))
        if found is None:
            found = self._known[number, names] = self._rename(number, names)
        return found


__all__ = ["Messages", "Pipes", "Renamed", "Table"]

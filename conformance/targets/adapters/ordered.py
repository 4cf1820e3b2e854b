"""A set whose members come in the order in which they were put in, where that of others depends on hash()."""

from collections.abc import Iterable, Iterator
from typing import Any


class OrderedSet(set[Any]):
    """See the module. What is made from it by the methods that are here is ordered, too."""

    def __init__(self, members: Iterable[Any] = ()) -> None:
        self._order = dict.fromkeys(members)
        super().__init__(self._order)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._order)

    def add(self, member: Any) -> None:
        """Put it behind all others, unless it is there."""
        self._order.setdefault(member)
        super().add(member)

    def discard(self, member: Any) -> None:
        """Take it out, if it is there."""
        self._order.pop(member, None)
        super().discard(member)

    def remove(self, member: Any) -> None:
        """Take it out. Raises KeyError."""
        super().remove(member)
        del self._order[member]

    def pop(self) -> Any:
        """Take the first one out. Raises KeyError."""
        if not self._order:
            raise KeyError("pop from an empty set")
        first = next(iter(self._order))
        self.remove(first)
        return first

    def clear(self) -> None:
        """Take all out."""
        self._order.clear()
        super().clear()

    def update(self, *others: Iterable[Any]) -> None:
        """Put in what is in others."""
        for other in others:
            for member in other:
                self.add(member)

    def union(self, *others: Iterable[Any]) -> "OrderedSet":
        """What is in any of them."""
        found = OrderedSet(self)
        found.update(*others)
        return found

    def intersection(self, *others: Iterable[Any]) -> "OrderedSet":
        """What is in all of them."""
        kept = super().intersection(*others)
        return OrderedSet(member for member in self if member in kept)

    def difference(self, *others: Iterable[Any]) -> "OrderedSet":
        """What is in none of the others."""
        kept = super().difference(*others)
        return OrderedSet(member for member in self if member in kept)


__all__ = ["OrderedSet"]

"""Names of engines and tasks, and frozen states in which engines have changed their names.

Engines are alike but for their names. Two states that differ only in who is called what are one state; to see that they
are, names are exchanged everywhere in a frozen value: uuids in texts, bytes and (hexadecimal) names of timers, numbers
wherever they stand. What belongs to one engine alone is kept under the name `SELF`, and so is the same for all.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

SELF: Final = "engine-self"
SELF_NUMBER: Final = 8_999
#: Numbers of engines: this, plus a hundred for every time that it registered again, plus which one it is.
_FIRST: Final = 9_000
#: An engine cannot come back more often.
LIVES: Final = 9

Rename = Callable[[Any], Any]


def uuid(engine: int) -> str:
    """The name of an engine."""
    return f"engine-{engine}"


def number(engine: int, life: int) -> int:
    """The number that an engine has in its first, second, ... life."""
    return _FIRST + 100 * (life - 1) + engine


def place(number: int) -> tuple[int, int]:
    """The engine, and which of its lives it is."""
    life, engine = divmod(number - _FIRST, 100)
    return engine, life + 1


def task_id(task: int) -> str:
    """The msg_id of a task."""
    return f"task-{task}"


def task_of(msg_id: object) -> int:
    """The task of a msg_id; -1 if it is none's."""
    return int(msg_id[5:]) if isinstance(msg_id, str) and re.fullmatch(r"task-\d", msg_id) else -1


def engine_of(identity: bytes | str) -> int:
    """The engine of this name; -1 if it is none's."""
    name = identity.decode("ascii", "replace") if isinstance(identity, bytes) else identity
    return int(name[7:]) if re.fullmatch(r"engine-\d", name) else -1


def exchange(order: Sequence[int]) -> Rename:
    """What renames engine `order[i]` to `i` in a frozen value."""
    texts: dict[str, str] = {}
    numbers: dict[int, int] = {}
    for new, old in enumerate(order):
        texts |= _texts(uuid(old), uuid(new))
        numbers |= {number(old, life): number(new, life) for life in range(1, LIVES)}
    # As a key of an object a number is a text.
    return _renaming(texts | {str(old): str(new) for old, new in numbers.items()}, numbers)


def appearing(engine: int) -> Rename:
    """What gives an engine its name in what it calls itself `SELF`."""
    return _renaming(_texts(SELF, uuid(engine)), {SELF_NUMBER: number(engine, 1)})


def _texts(old: str, new: str) -> dict[str, str]:
    return {old: new, old.encode().hex(): new.encode().hex()}


def _renaming(texts: Mapping[str, str], numbers: Mapping[int, int]) -> Rename:
    find = re.compile("|".join(map(re.escape, texts))).sub
    known: dict[str, str] = {}

    def renamed(text: str) -> str:
        new = known.get(text)
        if new is None:
            new = known[text] = find(lambda found: texts[found[0]], text)
        return new

    def rename(value: Any) -> Any:
        kind = type(value)
        if kind is tuple:
            return tuple(map(rename, value))
        if kind is str:
            return renamed(value)
        if kind is bytes:
            return renamed(value.decode("latin-1")).encode("latin-1")
        return numbers.get(value, value) if kind is int else value

    return rename


__all__ = [
    "LIVES",
    "SELF",
    "SELF_NUMBER",
    "appearing",
    "engine_of",
    "exchange",
    "number",
    "place",
    "task_id",
    "task_of",
    "uuid",
]

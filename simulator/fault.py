"""What a fault is: a value with a class, which begins in a cluster and says how it is mended."""

from collections.abc import Sequence
from typing import ClassVar, Final

import msgspec

from simulator.shell import Load
from simulator.stage import Trouble

#: One wire's message -> what arrives of it, each with nanoseconds by which it is late.
Loads = Sequence[tuple[int, Load]]


#: Stands for those whom a fault concerns that takes single messages, or disturbs nobody: no process is called so.
ONLY_MESSAGES: Final = "single messages"


class Fault(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Something that goes wrong."""

    IS_INSIDE: ClassVar[bool] = True
    #: Whether what one side sends may reach the other later than usual, or never.
    BLURS_TIME: ClassVar[bool] = False
    #: Whether it alters messages that may be accepted all the same.
    ALTERS: ClassVar[bool] = False
    #: Whether a message that it touches may be lost; else it arrives as it was, if late or twice.
    TAKES: ClassVar[bool] = True
    #: Whether the Hub forgets which engines it had, and with it that one of them has ended.
    FORGETS: ClassVar[bool] = False

    def begin(self, trouble: Trouble) -> None:
        """Let it happen, and say with `trouble.when_healed` how it is mended, if it can be."""
        raise AssertionError(f"{type(self).__name__} does nothing")

    def __repr__(self) -> str:
        """The same for equal faults, however they were made: chance follows from it. What is as usual is left out."""
        fields = msgspec.structs.fields(self)
        said = [f"{field.name}={value!r}" for field in fields if (value := getattr(self, field.name)) != field.default]
        return f"{type(self).__name__}({', '.join(said)})"

    def met(self) -> tuple[str, ...]:
        """Whom it concerns: engines, clients, parts. What they had in hand may be lost, and nobody else is to blame."""
        named = (getattr(self, field, None) for field in ("engine", "client", "part", "who", "place"))
        return tuple(name for name in named if name) or (ONLY_MESSAGES,)


__all__ = ["ONLY_MESSAGES", "Fault", "Loads"]

"""What a mutant is: one mistake in one role of the controller, and the requirements that it breaks.

A mutant stands between a role and its shell in virtual time: it may alter what the role hears, what it says, and the
role itself. Its docstring is the sentence by which somebody who made this mistake would defend it. A variant is the
same with nothing to break: legal behaviour unlike the kit's own, which must be accused of nothing.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Final

from conformance.targets.vocabulary import Role
from protocol.connection import ClientFile, EngineFile
from protocol.errors import RemoteProtocolError
from protocol.roles.base import Effect, Event, Forward, Send
from protocol.wire import Message
from simulator.shell import VirtualShell
from simulator.world import SCHEME

#: What is said instead of a message on a socket: it, another one, several, or nothing (None).
Change = Callable[["Mutant", str, Message], Message | Sequence[Message] | None]
#: What is heard instead of an event: it, another one, or nothing (None).
Hearing = Callable[["Mutant", Event], Event | None]


class Mutant:
    """One mistake. A class is listed in `MUTANTS` as soon as it says what it `breaks`.

    `part` is the name of the role that makes it; empty: every role does. `judged_as` is what that makes broken: a
    controller or an engine. `shows_in` are patterns of cases that show it besides, or instead if it is not empty, of
    those that name what is broken: `test_module.py::test_function`. `runs` are whole simulated runs that judge it in
    the place of cases, until one has: the name of a scenario or `swarm`, and the seed.
    """

    breaks: ClassVar[tuple[str, ...]] = ()
    part: ClassVar[str] = "hub"
    judged_as: ClassVar[Role] = "controller"
    shows_in: ClassVar[tuple[str, ...]] = ()
    runs: ClassVar[tuple[str, ...]] = ()
    says: ClassVar[tuple[Change, ...]] = ()
    hears: ClassVar[tuple[Hearing, ...]] = ()
    #: Whether the connection files are there for ever.
    leaves_files: ClassVar[bool] = False
    #: Types of sockets that are unlike the usual ones, by role and name; an engine's `DEALER` is one per queue.
    kinds: ClassVar[Mapping[tuple[str, str], str]] = {}
    #: How messages of its cluster are signed.
    scheme: ClassVar[str] = SCHEME
    #: Whether an engine has a nanny in front of its control socket.
    has_warden: ClassVar[bool] = True

    def __init__(self, shell: VirtualShell) -> None:
        self.shell: Final = shell
        self.role: Final[Any] = shell.role
        #: For what a change has to remember.
        self.memory: Final[dict[str, Any]] = {}
        self.prepare()
        self._handle: Final = self.role.handle
        self.role.handle = self.handle  # type: ignore[method-assign]

    def __init_subclass__(cls) -> None:
        if "breaks" in vars(cls):
            assert cls.name() not in MUTANTS, f"two mutants are called {cls.name()}"
            MUTANTS[cls.name()] = cls

    # -- what it is --------------------------------------------------------------------------------------------------

    @classmethod
    def name(cls) -> str:
        """The class's name in kebab-case."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower()

    @classmethod
    def target(cls) -> str:
        """What the suite calls a target that makes this mistake."""
        return f"{'simulated' if cls.judged_as == 'controller' else 'simulated-engine'}+{cls.name()}"

    @classmethod
    def sentence(cls) -> str:
        """What somebody who made this mistake would have thought."""
        return " ".join((cls.__doc__ or "").split())

    @classmethod
    def covers(cls, case: str, slugs: Sequence[str]) -> bool:
        """Whether it is judged by this case, which names these requirements."""
        from conformance.catalogue import role_of

        if (cls.runs and not cls.shows_in) or role_of(case.partition("::")[0]) != cls.judged_as:
            return False
        if cls.shows_in:
            return any(fnmatchcase(case, pattern) for pattern in cls.shows_in)
        return any(slug in cls.breaks for slug in slugs)

    @classmethod
    def infect(cls, shell: VirtualShell) -> None:
        """Stand between a role and its shell, if it is the role that makes the mistake."""
        if cls.part in ("", shell.role.NAME):
            cls(shell)

    # -- what it does ------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Change the role, or its shell, before its first event."""

    def hear(self, event: Event) -> Sequence[Event]:
        """What the role is handed instead of an event."""
        seen: Event | None = event
        for hearing in self.hears:
            seen = None if seen is None else hearing(self, seen)
        return () if seen is None else (seen,)

    def do(self, now: int, effect: Effect) -> Sequence[Effect]:
        """What is carried out instead of an effect."""
        if not self.says or not isinstance(effect, Send | Forward):
            return (effect,)
        try:
            message = (
                effect.message if isinstance(effect, Send) else effect.message.replace(identities=effect.identities)
            )
        except RemoteProtocolError:
            return (effect,)
        said: list[Message] = [message]
        for change in self.says:
            said = [each for before in said for each in _several(change(self, effect.socket, before))]
        if len(said) == 1 and said[0] is message:
            return (effect,)
        return [Send(effect.socket, each) for each in said]

    def overtaken(self, effect: Effect, among: str = "held", waits: bool = True) -> Sequence[Effect]:
        """Every second effect before the one before it; one that does not wait is overtaken by none."""
        held = self.memory.pop(among, None)
        if held is None and waits:
            self.memory[among] = effect
            return ()
        return (effect,) if held is None else (effect, held)

    def handle(self, now: int, event: Event) -> Sequence[Effect]:
        """The effects of an event in the place of the role's."""
        return [
            effect
            for heard in self.hear(event)
            for decided in self._handle(now, heard)
            for effect in self.do(now, decided)
        ]

    # -- the files ---------------------------------------------------------------------------------------------------

    @classmethod
    def tells(cls, client: ClientFile, engine: EngineFile) -> tuple[ClientFile, EngineFile]:
        """What peers read in its connection files."""
        return client, engine

    @classmethod
    def file(cls, which: str, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """What stands in the connection file of `client` or `engine`."""
        return content


class Variant(Mutant):
    """Legal behaviour unlike the kit's own: whoever accuses it is wrong."""


#: All mutants and variants that were imported, by name.
MUTANTS: Final[dict[str, type[Mutant]]] = {}


def _several(said: Message | Sequence[Message] | None) -> Sequence[Message]:
    if said is None:
        return ()
    return (said,) if isinstance(said, Message) else said


__all__ = ["MUTANTS", "Change", "Hearing", "Mutant", "Variant"]

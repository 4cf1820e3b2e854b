"""Building blocks of mistakes that an engine can make where it needs a real process, or Python: what leaves is altered.

A fault stands behind our own engine: `leaves` sees each effect of the engine and gives what is to be carried out
instead, `patch` changes anything else. Mistakes that a simulated engine can make are in `conformance/mutants`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from protocol.roles.base import Effect, Send
from protocol.wire import Message

Leaves = Callable[[Any, Effect], Sequence[Effect]]


@dataclass(frozen=True)
class Fault:
    """One mistake. `found` names each case that must find it, with its parameters, and the requirement it accuses."""

    name: str
    found: dict[str, str]
    leaves: Leaves | None = None
    patch: Callable[[], None] | None = None


FAULTS: dict[str, Fault] = {}

#: Where the cases are.
R, H, X = "test_engine_registration.py::", "test_engine_heart.py::", "test_engine_execute.py::"
A, C, P = "test_engine_apply.py::", "test_engine_control.py::", "test_engine_output.py::"
S = "test_engine_sockets.py::"


def fault(name: str, found: dict[str, str], **how: Any) -> None:
    """One more."""
    assert name not in FAULTS
    FAULTS[name] = Fault(name, found, **how)


def leaving(change: Callable[[Message], Message | None]) -> Leaves:
    """A change of each message that leaves: another one, or none."""

    def leaves(_: Any, effect: Effect) -> Sequence[Effect]:
        if type(effect) is not Send:
            return (effect,)
        changed = change(effect.message)
        return () if changed is None else (Send(effect.socket, changed),)

    return leaves


def without(*types: str) -> Leaves:
    """Messages of these types are never sent."""
    return leaving(lambda m: None if m.msg_type in types else m)


def content(msg_type: str, *lost: str, when: str = "", **changes: Any) -> Leaves:
    """Messages of this type, with this status, have other fields in their content, or lack some."""

    def change(message: Message) -> Message:
        if message.msg_type != msg_type or when not in ("", message.content.get("status")):
            return message
        kept = {key: value for key, value in message.content.items() if key not in lost}
        return message.replace(content=kept | changes)

    return leaving(change)


def metadata(key: str, value: Any, *types: str) -> Leaves:
    """This key of the metadata has another value (`...`: is missing)."""

    def change(message: Message) -> Message:
        if types and message.msg_type not in types:
            return message
        kept = {name: each for name, each in message.metadata.items() if name != key}
        return message.replace(metadata=kept if value is ... else kept | {key: value})

    return leaving(change)


def buffers(when: str, *others: bytes) -> Leaves:
    """Replies to calls with this status carry these buffers."""
    return leaving(lambda m: m.replace(buffers=others) if m.msg_type == "apply_reply" and status(m) == when else m)


def status(message: Message) -> object:
    """The status in a message's content."""
    return message.content.get("status")


def every() -> Iterator[tuple[str, str, str]]:
    """Each fault with each case that must find it, and the requirement that the case must accuse."""
    for each in FAULTS.values():
        for case, slug in each.found.items():
            yield each.name, case, slug

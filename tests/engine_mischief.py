"""Building blocks of mistakes that an engine can make: what arrives, and what leaves, may be altered, lost or late.

A fault stands in the middle of our own engine: `arrives` sees each event before the engine does, and gives what it is
to see instead; `leaves` sees each effect of the engine and gives what is to be carried out instead; `patch` changes
anything else. Each of them is given the engine's role, on which it may keep notes as `role.memory`, a dictionary. With
`where`, a fault stands in the middle of the engine's nanny as well, or only there.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from protocol.roles.base import Arrived, Effect, Event, Exit, Fired, Send
from protocol.wire import Message

Arrives = Callable[[Any, Event], Event | None]
Leaves = Callable[[Any, Effect], Sequence[Effect]]


@dataclass(frozen=True)
class Fault:
    """One mistake. `found` names each case that must find it, with its parameters, and the requirement it accuses."""

    name: str
    found: dict[str, str]
    arrives: Arrives | None = None
    leaves: Leaves | None = None
    patch: Callable[[], None] | None = None
    where: Literal["engine", "warden", "both"] = "engine"
    memory: dict[str, Any] = field(default_factory=dict)


FAULTS: dict[str, Fault] = {}


def fault(name: str, found: dict[str, str], **how: Any) -> None:
    """One more."""
    assert name not in FAULTS
    FAULTS[name] = Fault(name, found, **how)


# -- what leaves -------------------------------------------------------------------------------------------------------


def leaving(change: Callable[[Any, str, Message], Message | list[Message] | None]) -> Leaves:
    """A change of each message that leaves: another one, none, or several on the same socket."""

    def leaves(role: Any, effect: Effect) -> Sequence[Effect]:
        if type(effect) is not Send:
            return (effect,)
        changed = change(role, effect.socket, effect.message)
        several = changed if isinstance(changed, list) else [] if changed is None else [changed]
        return [Send(effect.socket, message) for message in several]

    return leaves


def without(*types: str, socket: str = "") -> Leaves:
    """Messages of these types are never sent."""
    return leaving(lambda _, on, m: None if m.msg_type in types and socket in ("", on) else m)


def content(msg_type: str, *lost: str, when: str = "", **changes: Any) -> Leaves:
    """Messages of this type, with this status, have other fields in their content, or lack some."""

    def change(_: Any, __: str, message: Message) -> Message:
        if message.msg_type != msg_type or when not in ("", message.content.get("status")):
            return message
        kept = {key: value for key, value in message.content.items() if key not in lost}
        return message.replace(content=kept | changes)

    return leaving(change)


def metadata(key: str, value: Any, *types: str) -> Leaves:
    """This key of the metadata has another value (`...`: is missing)."""

    def change(_: Any, __: str, message: Message) -> Message:
        if types and message.msg_type not in types:
            return message
        kept = {name: each for name, each in message.metadata.items() if name != key}
        return message.replace(metadata=kept if value is ... else kept | {key: value})

    return leaving(change)


def named(msg_type: str, other: str) -> Leaves:
    """Messages of one type bear the name of another."""
    return leaving(lambda _, __, m: m.replace(header=m.header | {"msg_type": other}) if m.msg_type == msg_type else m)


def buffers(when: str, *others: bytes) -> Leaves:
    """Replies to calls with this status carry these buffers."""
    return leaving(
        lambda _, __, m: m.replace(buffers=others) if m.msg_type == "apply_reply" and status(m) == when else m
    )


def status(message: Message) -> object:
    """The status in a message's content."""
    return message.content.get("status")


def late(first: str, then: str) -> Leaves:
    """What is published of one type waits for something of another type, and comes after that."""

    def change(role: Any, socket: str, message: Message) -> list[Message] | None:
        held = role.memory.setdefault("held", [])
        if socket != "iopub":
            return [message]
        if message.msg_type == first:
            held.append(message)
            return None
        if message.msg_type == then and message.content.get("execution_state") != "busy":
            released, held[:] = list(held), []
            return [message, *released]
        return [message]

    return leaving(change)


# -- what arrives ------------------------------------------------------------------------------------------------------


def arriving(change: Callable[[Any, str, Message], Message | None]) -> Arrives:
    """A change of each message that arrives: another one, or none."""

    def arrives(role: Any, event: Event) -> Event | None:
        if type(event) is not Arrived:
            return event
        changed = change(role, event.socket, event.message)
        return None if changed is None else Arrived(event.socket, changed)

    return arrives


def deaf(test: Callable[[Message], object]) -> Arrives:
    """Messages of this kind are not heard."""
    return arriving(lambda _, __, m: None if test(m) else m)


def deaf_after(test: Callable[[Event], object]) -> Arrives:
    """After an event of this kind nothing is heard any more."""

    def arrives(role: Any, event: Event) -> Event | None:
        if type(event) is Arrived and role.memory.get("deaf"):
            return None
        if test(event):
            role.memory["deaf"] = True
        return event

    return arrives


def asked(msg_type: str, **changes: Any) -> Arrives:
    """Requests of this type are read as if their content said something else."""
    return arriving(lambda _, __, m: m.replace(content=m.content | changes) if m.msg_type == msg_type else m)


def no_timer(name: str) -> Arrives:
    """A timer that never fires."""
    return lambda _, event: None if type(event) is Fired and event.timer == name else event


def is_a(event: Event, *types: str) -> bool:
    """Whether an event is the arrival of a message of one of these types."""
    return type(event) is Arrived and event.message.msg_type in types


def exits_with(number: int) -> Leaves:
    """The engine ends with this status, whatever happened."""
    return lambda _, effect: (Exit(number),) if type(effect) is Exit else (effect,)


def both(*changes: Leaves) -> Leaves:
    """One change after the other."""

    def leaves(role: Any, effect: Effect) -> Sequence[Effect]:
        effects: list[Effect] = [effect]
        for change in changes:
            effects = [after for before in effects for after in change(role, before)]
        return effects

    return leaves


#: Where the cases are.
R, H, X = "test_engine_registration.py::", "test_engine_heart.py::", "test_engine_execute.py::"
A, C, P = "test_engine_apply.py::", "test_engine_control.py::", "test_engine_output.py::"
E, S = "test_engine_envelope.py::", "test_engine_sockets.py::"
BAD_CONTENT = "test_a_request_for_code_with_bad_content_is_answered_with_an_error"
BAD_CALL = "test_buffers_that_are_no_call_are_answered_with_an_error"

#: The keys of every header, and the types that an engine knows.
KEYS = {"msg_id", "msg_type", "username", "session", "date", "version"}
KNOWN = {
    "execute_request",
    "apply_request",
    "kernel_info_request",
    "is_complete_request",
    "abort_request",
    "clear_request",
    "shutdown_request",
    "signal_request",
    "registration_reply",
}


def every() -> Iterator[tuple[str, str, str]]:
    """Each fault with each case that must find it, and the requirement that the case must accuse."""
    for each in FAULTS.values():
        for case, slug in each.found.items():
            yield each.name, case, slug

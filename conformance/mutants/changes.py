"""The commonest mistakes, to be put together: messages that are lost, doubled, late, or say something else."""

from collections.abc import Callable, Sequence
from typing import Any

from conformance.mutants.mutant import Change, Hearing, Mutant
from protocol.errors import RemoteProtocolError
from protocol.roles.base import Arrived, Event
from protocol.wire import Json, Message

#: In the place of a value: the key is left out.
GONE: Any = object()


def when(does: Callable[[Message], bool], change: Change) -> Change:
    """A change of those messages only of which something holds."""

    def changed(mutant: Mutant, socket: str, message: Message) -> Message | Sequence[Message] | None:
        return change(mutant, socket, message) if does(message) else message

    return changed


def on(socket: str, change: Change) -> Change:
    """A change of what is said on one socket."""

    def changed(mutant: Mutant, where: str, message: Message) -> Message | Sequence[Message] | None:
        return change(mutant, where, message) if where == socket else message

    return changed


def without(*types: str) -> Change:
    """Messages of these types (all, if none is named) are not said."""
    return lambda _, __, message: None if not types or message.msg_type in types else message


def twice(*types: str) -> Change:
    """Messages of these types (all, if none is named) are said once more, under another id."""

    def changed(mutant: Mutant, _: str, message: Message) -> Message | Sequence[Message]:
        if types and message.msg_type not in types:
            return message
        again = message.header | {"msg_id": mutant.role.env.fresh_id()}
        return [message, message.replace(header=again)]

    return changed


def edited(edit: Callable[[Message], Message], *types: str, status: str = "") -> Change:
    """Messages of these types, with this status, are something else."""

    def changed(_: Mutant, __: str, message: Message) -> Message:
        if types and message.msg_type not in types:
            return message
        return edit(message) if status in ("", message.content.get("status")) else message

    return changed


def content(msg_type: str, *, status: str = "", **others: Any) -> Change:
    """The content of messages of one type has other values; `GONE` leaves a key out."""
    return edited(lambda message: message.replace(content=other(message.content, others)), msg_type, status=status)


def told(msg_type: str, tell: Callable[[Json], Json], *, status: str = "ok") -> Change:
    """The content of messages of one type is what is made of it."""
    return edited(lambda message: message.replace(content=tell(dict(message.content))), msg_type, status=status)


def header(*types: str, **others: Any) -> Change:
    """The header of messages of these types has other values."""
    return edited(lambda message: message.replace(header=other(message.header, others)), *types)


def metadata(*types: str, **others: Any) -> Change:
    """The metadata of messages of these types have other values."""
    return edited(lambda message: message.replace(metadata=other(message.metadata, others)), *types)


def parent(*types: str, **others: Any) -> Change:
    """The parent header of messages of these types has other values."""
    return edited(lambda message: message.replace(parent_header=other(message.parent_header, others)), *types)


def renamed(msg_type: str, name: str) -> Change:
    """Messages of one type bear another name."""
    return edited(lambda message: message.replace(header=message.header | {"msg_type": name}), msg_type)


def other(before: Json, changes: Json) -> Json:
    """A dictionary with other values."""
    return {key: value for key, value in (before | changes).items() if value is not GONE}


def deaf(*types: str, socket: str = "") -> Hearing:
    """Messages of these types, on this socket, are not heard."""

    def hear(_: Mutant, event: Event) -> Event | None:
        if isinstance(event, Arrived) and socket in ("", event.socket) and event.message.msg_type in types:
            return None
        return event

    return hear


def heard(edit: Callable[[Message], Message], *types: str, socket: str = "") -> Hearing:
    """Messages of these types are taken for something else."""

    def hear(_: Mutant, event: Event) -> Event:
        if not isinstance(event, Arrived) or socket not in ("", event.socket):
            return event
        if types and event.message.msg_type not in types:
            return event
        try:
            return Arrived(event.socket, edit(event.message))
        except Exception:  # what cannot be read is nobody's mistake here
            return event

    return hear


def asked(msg_type: str, ask: Callable[[Json], Json]) -> Hearing:
    """The content of requests of one type is taken for something else."""
    return heard(lambda message: message.replace(content=ask(dict(message.content))), msg_type, socket="query")


def deaf_after(does: Callable[[Event], bool]) -> Hearing:
    """Nothing that comes on a socket is heard any more once something has come."""

    def hear(mutant: Mutant, event: Event) -> Event | None:
        if mutant.memory.get("deaf") and isinstance(event, Arrived):
            return None
        mutant.memory["deaf"] = mutant.memory.get("deaf") or does(event)
        return event

    return hear


def unheard(does: Callable[[Message], bool], socket: str = "") -> Hearing:
    """Messages of which something holds are not heard."""

    def hear(_: Mutant, event: Event) -> Event | None:
        is_one = isinstance(event, Arrived) and socket in ("", event.socket) and is_so(does, event.message)
        return None if is_one else event

    return hear


def is_so(does: Callable[[Message], object], message: Message) -> bool:
    """Whether something holds of a message; of one that cannot be read nothing does."""
    try:
        return bool(does(message))
    except RemoteProtocolError:
        return False


def wrap(owner: Any, name: str, around: Callable[..., Any]) -> None:
    """Put `around(old, ...)` in the place of a method of an object."""
    old = getattr(owner, name)
    setattr(owner, name, lambda *arguments, **named: around(old, *arguments, **named))

"""How our own client is given one mistake, in virtual time: a fault is a patch, and names the cases that find it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from conformance.drivers.desk import Desk
from conformance.drivers.lines import Told
from protocol.roles.base import Arrived, Event, Send
from protocol.roles.client import Client
from protocol.wire import Message
from simulator.shell import VirtualShell

#: The files of the cases.
NEW = "test_client_connection.py::"
ENGINES = "test_client_engines.py::"
REQUESTS = "test_client_requests.py::"
REPLIES = "test_client_replies.py::"
QUERIES = "test_client_queries.py::"
WAITS = "test_client_waits.py::"

Patch = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Fault:
    """A mistake, and what must be found: cases, by name and perhaps the id of parameters, and the requirement each."""

    name: str
    finds: Mapping[str, str]
    patch: Patch


FAULTS: dict[str, Fault] = {}


def fault(name: str, finds: Mapping[str, str], patch: Patch) -> None:
    """Add a fault to the table."""
    assert name not in FAULTS
    FAULTS[name] = Fault(name, finds, patch)


def method(owner: type, name: str, made: Callable[[Any], Any]) -> Patch:
    """Replace a method by what is made of it."""
    return lambda patch: patch.setattr(owner, name, made(getattr(owner, name)))


def leaving(change: Callable[[str, Message], Message | None]) -> Patch:
    """Change what the client sends: given the socket and the message; None is not sent."""

    def patch(patch: pytest.MonkeyPatch) -> None:
        real = VirtualShell.carry_send

        def send(self: Any, effect: Send) -> None:
            message = effect.message
            if isinstance(self.role, Client):
                changed = change(effect.socket, message)
                if changed is None:
                    return
                effect = Send(effect.socket, changed)
            real(self, effect)

        patch.setattr(VirtualShell, "carry_send", send)

    return patch


def deaf_after(matches: Callable[[Client, Event], bool]) -> Patch:
    """Let a client hear nothing more on a socket once something that matches has come there."""

    def patch(patch: pytest.MonkeyPatch) -> None:
        real = Client.handle
        deaf: set[tuple[int, str]] = set()

        def handle(self: Client, now: int, event: Event) -> Any:
            socket = getattr(event, "socket", "")
            if (id(self), socket) in deaf:
                return ()
            if socket and matches(self, event):
                deaf.add((id(self), socket))
                return ()
            return real(self, now, event)

        patch.setattr(Client, "handle", handle)

    return patch


def without_reply(matches: Callable[[Client, str, Message], bool]) -> Patch:
    """Let a client overlook replies that match."""
    return method(
        Client, "_reply",
        lambda real: lambda self, socket, message, effects: (
            None if matches(self, socket, message) else real(self, socket, message, effects)
        ),
    )  # fmt: skip


def asking(change: Callable[[str, dict[str, Any]], dict[str, Any]]) -> Patch:
    """Change what the Hub is asked."""
    return method(
        Desk, "_query", lambda real: lambda self, kind, about, seconds: real(self, kind, change(kind, about), seconds)
    )


def _after(real: Any, change: Callable[[Told], Told]) -> Any:
    """A command whose answer is changed."""

    def doing(self: Desk, command: Any) -> Any:
        return change((yield from real(self, command)))

    return doing


def told(name: str, change: Callable[[Told], Told]) -> Patch:
    """Change what a command tells."""
    return method(Desk, name, lambda real: lambda self, command: _after(real, change)(self, command))


def is_notification(*types: str) -> Callable[[Client, Event], bool]:
    """Whether what arrives is of one of these types."""
    return lambda _, event: type(event) is Arrived and event.message.msg_type in types

"""Parties that break the protocol in one way each, for the matrix to find out: `broken_parties.py FAULT ARGUMENTS...`.

The fault decides which party this is; the arguments are those of the party.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

from conformance.cli import main
from conformance.interop import worker
from conformance.reference import client, code, objects
from protocol.roles.base import Effect, Forward, Send
from protocol.roles.engine import Outcome
from protocol.roles.hub import Hub
from protocol.roles.relay import ControlRelay, IopubRelay, MuxRelay

Handle = Callable[..., Sequence[Effect]]


def filtered(role: Any, change: Callable[[Effect], Effect | None]) -> None:
    """Let every effect of a role pass through a function, which may change it or drop it."""
    handle: Handle = role.handle

    def changed(self: Any, now: int, event: Any) -> Sequence[Effect]:
        return [found for effect in handle(self, now, event) if (found := change(effect)) is not None]

    role.handle = changed


def drop(kind: type, socket: str, *types: str) -> Callable[[Effect], Effect | None]:
    """Drop what goes out of a socket, of some types."""

    def change(effect: Effect) -> Effect | None:
        is_meant = isinstance(effect, kind) and effect.socket == socket and effect.message.msg_type in types  # type: ignore[attr-defined]
        return None if is_meant else effect

    return change


def other_buffers(effect: Effect) -> Effect:
    if isinstance(effect, Forward) and effect.message.msg_type == "apply_reply":
        return effect._replace(message=effect.message.replace(buffers=[b"\x80\x04K\x07."]))
    return effect


def engine_adds_one() -> None:
    pack = objects.pack_result
    objects.pack_result = lambda value: pack(value + 1 if isinstance(value, int) else value)


def engine_ignores_calls() -> None:
    run = code.Worker._run
    code.Worker._run = lambda self, effect: None if effect.kind == "apply" else run(self, effect)  # type: ignore[method-assign]


def engine_raises() -> None:
    def refuse(*_: Any) -> Outcome:
        raise RuntimeError("no calls today")

    code.Worker._apply = refuse  # type: ignore[method-assign]


def engine_mumbles() -> None:
    write = code.Stream.write
    code.Stream.write = lambda self, text: write(self, text.upper())  # type: ignore[method-assign]


def client_adds_one() -> None:
    unpack = objects.unpack_values
    objects.unpack_values = lambda buffers: [one + 1 if isinstance(one, int) else one for one in unpack(buffers)]


def client_hangs() -> None:
    client.Client.apply = lambda *_, **__: exec("while True: pass")  # type: ignore[assignment]


def client_ends() -> None:
    client.Client.apply = lambda *_, **__: exec("import os; os._exit(1)")  # type: ignore[assignment]


FAULTS: dict[str, Callable[[], None]] = {
    "engine-adds-one": engine_adds_one,
    "engine-ignores-calls": engine_ignores_calls,
    "engine-raises": engine_raises,
    "engine-mumbles": engine_mumbles,
    "client-adds-one": client_adds_one,
    "client-hangs": client_hangs,
    "client-ends": client_ends,
    "controller-loses-requests": lambda: filtered(MuxRelay, drop(Forward, "out", "apply_request")),
    "controller-loses-replies": lambda: filtered(MuxRelay, drop(Forward, "in", "apply_reply")),
    "controller-loses-control": lambda: filtered(ControlRelay, drop(Forward, "out", "clear_request")),
    "controller-loses-output": lambda: filtered(IopubRelay, drop(Forward, "out", "stream")),
    "controller-changes-replies": lambda: filtered(MuxRelay, other_buffers),
    "controller-hides-deaths": lambda: filtered(Hub, drop(Send, "notification", "unregistration_notification")),
    "controller-ignores-queries": lambda: filtered(Hub, drop(Send, "query", "history_reply")),
}

if __name__ == "__main__":
    fault, *arguments = sys.argv[1:]
    FAULTS[fault]()
    if fault.startswith("client"):
        worker.main(*arguments)
    else:
        main(args=[fault.partition("-")[0], *arguments])

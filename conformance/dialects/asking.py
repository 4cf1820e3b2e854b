"""A few questions to whoever has bound what a connection file says, asked for the signs in the answers.

Nothing is changed and nothing is run there: a controller is asked who is connected, what is queued, and about an engine
that does not exist; a kernel what it is.
"""

from collections.abc import Iterator
from typing import Any, Final

import zmq

from conformance.dialects.signs import Sign, of_message, of_relays
from conformance.harness.deployment import new_token
from conformance.harness.probe import ProbeError, meet
from protocol.connection import ClientFile, ConnectionFile, EngineFile, KernelFile
from protocol.messages import build
from protocol.wire import Codec, Message

#: An engine that no controller has.
NOBODY: Final = 2**31 - 1
_HUB: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("connection_request", {}),
    ("queue_request", {"verbose": False, "targets": None}),
    ("queue_request", {"verbose": False, "targets": [NOBODY]}),
)
_KERNEL: Final[tuple[tuple[str, dict[str, Any]], ...]] = (("kernel_info_request", {}),)


def ask(file: ConnectionFile, deadline: float) -> Iterator[Sign]:
    """The signs in the answers; each may take so many seconds. Nobody who answers gives none."""
    if isinstance(file, EngineFile):
        # Engines only register, and that would not be harmless.
        return
    if isinstance(file, ClientFile):
        yield from _talk(file.address("registration"), file.codec(), "query", _HUB, deadline)
    elif isinstance(file, KernelFile):
        yield from _talk(file.address("shell_port"), file.codec(), "kernel-shell", _KERNEL, deadline)


def ask_relays(client: ClientFile, engine: EngineFile) -> Iterator[Sign]:
    """What the sockets of the MUX queue are called."""
    try:
        names = [meet(file.address("mux")).identity for file in (client, engine)]
    except ProbeError:
        return
    if names[0] is not None and names[1] is not None:
        yield of_relays(names[0], names[1])


def _talk(
    address: str, codec: Codec, channel: str, questions: tuple[tuple[str, dict[str, Any]], ...], deadline: float
) -> Iterator[Sign]:
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    # What was asked before is a replay to whoever remembers it, and is not answered a second time.
    session = new_token()
    try:
        socket.connect(address)
        for number, (msg_type, content) in enumerate(questions):
            asked = build(msg_type, content, msg_id=f"{session}_{number}", session=session)
            yield from _answer(socket, codec, channel, asked, deadline)
    finally:
        socket.close()
        context.term()


def _answer(socket: "zmq.Socket[bytes]", codec: Codec, channel: str, asked: Message, deadline: float) -> Iterator[Sign]:
    socket.send_multipart(codec.encode(asked))
    if socket.poll(round(deadline * 1000)):
        yield from of_message(channel, socket.recv_multipart())

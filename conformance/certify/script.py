"""A divergence as a script that needs nothing but pyzmq."""

from collections.abc import Sequence
from typing import Final

from conformance.certify.compare import Divergence
from conformance.certify.operations import Operation

_HEAD: Final = '''"""{title}

{what}
"""

import time

import zmq

context = zmq.Context()
sockets = {{}}
last = {{}}  # the last two messages that each socket received


def settle():
    """Let every socket do what the others left it to do."""
    for _ in range(4):
        time.sleep({pause})
        for socket in sockets.values():
            socket.getsockopt(zmq.EVENTS)


def step(number, text, action):
    try:
        outcome = action()
    except zmq.ZMQError as error:
        outcome = f"{{type(error).__name__}}: {{error}}"
    settle()
    events = {{number: socket.getsockopt(zmq.EVENTS) for number, socket in sorted(sockets.items())}}
    print(f"{{number:3}} {{text}}\\n    -> {{outcome}}   events {{events}}")


def receive(number):
    last[number] = [sockets[number].recv_multipart(zmq.NOBLOCK), *last.get(number, [])[:1]]
    return last[number][0]


def drain(number):
    found = []
    try:
        while True:
            found.append(receive(number))
    except zmq.ZMQError as error:
        return [*found, str(error)]


def send(number, frames):
    for index, frame in enumerate(frames):
        sockets[number].send(frame, zmq.NOBLOCK | (zmq.SNDMORE if index < len(frames) - 1 else 0))


def burst(number, target, frames, count):
    done = []
    for index in range(count):
        try:
            send(number, aimed(number, target, [*frames[:-1], b"%s-%d" % (frames[-1], index)]))
        except zmq.ZMQError as error:
            return [*done, str(error)]
        done.append(None)
    return done


def aimed(number, target, frames):
    """A ROUTER sends to `target`, or to whom its last message came from."""
    if sockets[number].type != zmq.ROUTER:
        return list(frames)
    return [last.get(number, [[b"Z"]])[0][0] if target is None else target, *frames]


def answer(number, frame, ago):
    """A message that came, with another end."""
    came = last.get(number, [[b"Z", b""] if sockets[number].type == zmq.ROUTER else [b""]])
    return [*came[min(ago, len(came) - 1)][:-1], frame]


def opened(number, kind, options):
    if number in sockets:
        sockets[number].close(linger=0)
    sockets[number] = context.socket(kind)
    for option, value in {always}:
        sockets[number].setsockopt(option, value)
    for option, value in options:
        sockets[number].setsockopt(option, value)
'''

_TAIL: Final = """
context.destroy(linger=0)
"""


def script(operations: Sequence[Operation], found: Divergence, *, title: str, addresses: dict[str, str]) -> str:
    """The text of the script; `addresses` are those for which the names in the operations stand."""
    what = (
        f"After step {found.index} libzmq says ({found.what}):\n    {found.real!r}\n"
        f"and the virtual socket:\n    {found.virtual!r}"
    )
    is_tcp = any(address.startswith("tcp") for address in addresses.values())
    # Over TCP, attempts to connect follow each other quickly.
    always = "[(zmq.RECONNECT_IVL, 5), (zmq.LINGER, 0)]" if is_tcp else "[]"
    lines = [_HEAD.format(title=title, what=what, pause="0.05" if is_tcp else "0.002", always=always)]
    lines.extend(
        f"step({number}, {_text(operation)!r}, lambda: {_action(operation, addresses)})"
        for number, operation in enumerate(operations)
    )
    return "\n".join(lines) + _TAIL


def _text(operation: Operation) -> str:
    return f"{operation.name} {operation.socket} {' '.join(map(repr, operation.value))}".strip()


def _action(operation: Operation, addresses: dict[str, str]) -> str:
    number, value = operation.socket, operation.value
    match operation.name:
        case "open":
            kind, options = value
            assert isinstance(options, tuple)
            pairs = ", ".join(f"(zmq.{option}, {one!r})" for option, one in options)
            return f"opened({number}, zmq.{kind}, [{pairs}])"
        case "set":
            return f"sockets[{number}].setsockopt(zmq.{value[0]}, {value[1]!r})"
        case "bind" | "connect" | "unbind" | "disconnect":
            return f"sockets[{number}].{operation.name}({addresses[str(value[0])]!r})"
        case "close":
            return f"sockets.pop({number}).close(linger=0)"
        case "send":
            return f"send({number}, aimed({number}, {value[0]!r}, {value[1]!r}))"
        case "burst":
            return f"burst({number}, {value[0]!r}, {value[1]!r}, {value[2]})"
        case "frame":
            more = " | zmq.SNDMORE" if value[1] else ""
            return f"sockets[{number}].send({value[0]!r}, zmq.NOBLOCK{more})"
        case "answer":
            return f"send({number}, answer({number}, {value[0]!r}, {value[1]}))"
        case "recv":
            return f"receive({number})"
        case _:
            return f"drain({number})"

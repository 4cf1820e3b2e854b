"""The channels of the plain kernel: part of the table in `protocol.channels`, which is where to look them up.

A kernel binds and frontends connect. All sockets of a frontend that a kernel answers carry one identity, since the
kernel finds the way to a frontend's stdin by the identity that its shell request came from.

Source: jupyter_client messaging.rst; IPython commit 7bde2f380 (2011), messaging.txt and kernelmanager.py; measured on
ipykernel 7.4.0.
"""

from typing import Final

from protocol.patterns import (
    DIALECTS,
    NEW,
    NINE,
    NO_IDENTITY,
    OLD,
    SESSION,
    UNTIL_DOCUMENTED,
    Address,
    Channel,
    Dialect,
    End,
    Envelope,
)

_ALL: Final = ("SUBSCRIBE", b"")
_BARE: Final[tuple[Envelope, ...]] = ((),)
_TOPIC: Final[tuple[Envelope, ...]] = (("topic",), ())
_ASKING: Final[tuple[Envelope, ...]] = (("frontend",),)
_HANDOVER: Final = (("ROUTER_HANDOVER", 1), ("LINGER", 1000))


def _kernel(key: str) -> Address:
    return Address("kernel file", key)


def _asked(channel: str, dialects: tuple[Dialect, ...] = DIALECTS) -> tuple[End, ...]:
    """A ROUTER of the kernel, and the frontend's DEALER with the identity that all its sockets share."""
    address, note = _kernel(f"{channel}_port"), "one identity for shell, stdin and control"
    return (
        End("kernel", "ROUTER", "bind", NO_IDENTITY, address, _ASKING, _ASKING, options=_HANDOVER, dialects=dialects),
        End("frontend", "DEALER", "connect", SESSION, address, _BARE, _BARE, dialects=dialects, note=note),
    )


KERNEL_SHELL = Channel(
    "kernel-shell",
    "Execution, inspection, completion: requests of frontends and the kernel's replies.",
    "messaging.rst, Messages on the shell (ROUTER/DEALER) channel",
    _asked("shell"),
)
KERNEL_CONTROL = Channel(
    "kernel-control",
    "As shell, for requests that must not wait behind execution. Since IPython 1.0.",
    "messaging.rst, Messages on the control (ROUTER/DEALER) channel",
    _asked("control", NEW),
)
KERNEL_STDIN = Channel(
    "kernel-stdin",
    "The kernel asks the frontend whose request it runs for a line of input: the direction of shell, turned round.",
    "messaging.rst, Messages on the stdin (ROUTER/DEALER) channel",
    _asked("stdin"),
)
KERNEL_STDIN_REQ = Channel(
    "kernel-stdin-req",
    "How IPython 0.11 asked for input: a REQ of the kernel, and one frontend that holds the matching REP.",
    "messaging.txt (IPython 0.11), General messaging architecture; IPython commit 7bde2f380 (2011), kernelmanager.py",
    (
        End("kernel", "REQ", "bind", NO_IDENTITY, _kernel("stdin_port"), _BARE, _BARE, also=("DEALER",), dialects=OLD,
            note="the code has a DEALER at both ends"),
        End("frontend", "REP", "connect", SESSION, _kernel("stdin_port"), _BARE, _BARE, also=("DEALER",),
            dialects=OLD),
    ),
)  # fmt: skip
KERNEL_IOPUB = Channel(
    "kernel-iopub",
    "Side effects of execution, to every frontend. The oldest releases send most messages without a topic.",
    "messaging.rst, Messages on the IOPub (PUB/SUB) channel",
    (
        End("kernel", "XPUB", "bind", NO_IDENTITY, _kernel("iopub_port"), (("topic",),), also=("PUB",), dialects=NINE),
        End("kernel", "PUB", "bind", NO_IDENTITY, _kernel("iopub_port"), (("topic",),), also=("XPUB",),
            dialects=("documented",)),
        End("kernel", "PUB", "bind", NO_IDENTITY, _kernel("iopub_port"), _TOPIC, dialects=OLD),
        End("frontend", "SUB", "connect", NO_IDENTITY, _kernel("iopub_port"), (), _TOPIC, options=(_ALL,)),
    ),
)  # fmt: skip
KERNEL_HEARTBEAT = Channel(
    "kernel-heartbeat",
    "Any bytes, echoed by a thread that needs no interpreter.",
    "messaging.rst, Heartbeat for kernels; measured on ipykernel 7.4.0",
    (
        End("kernel", "ROUTER", "bind", NO_IDENTITY, _kernel("hb_port"), (("frontend", "ping*"),),
            (("frontend", "ping*"),), also=("REP",), dialects=NINE, note="a REQ's empty delimiter is among the ping*"),
        End("kernel", "REP", "bind", NO_IDENTITY, _kernel("hb_port"), (("ping*",),), (("ping*",),), also=("ROUTER",),
            dialects=UNTIL_DOCUMENTED),
        End("frontend", "REQ", "connect", NO_IDENTITY, _kernel("hb_port"), (("ping*",),), (("ping*",),),
            also=("DEALER",)),
    ),
    framing="raw",
)  # fmt: skip

KERNEL_CHANNELS: Final[tuple[Channel, ...]] = (
    KERNEL_SHELL, KERNEL_CONTROL, KERNEL_STDIN, KERNEL_STDIN_REQ, KERNEL_IOPUB, KERNEL_HEARTBEAT,
)  # fmt: skip

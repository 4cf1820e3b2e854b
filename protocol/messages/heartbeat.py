"""Heartbeats: raw frames between the heart monitor and the hearts, and what the monitor tells the Hub.

A ping is one frame, the monitor's lifetime in seconds as text. A heart is a device without Python in it: the ping
comes back unchanged, and the IDENTITY of the heart's socket stands before it where the monitor receives it. Nothing of
this is signed, and nothing has a header.

Source: IPython messaging.txt, commit "Add note about pure-zmq heartbeat messaging" (Fernando Perez, 2010), section
"Heartbeat for kernels".
"""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from protocol.messages.base import ALL, NINE, Content, Empty, MessageType

_NOTE = 'IPython messaging.txt, commit "Add note about pure-zmq heartbeat messaging" (Fernando Perez, 2010)'
_MEASURED = "measured on ipyparallel 9.2.0"
_KERNEL = 'jupyter_client messaging.rst, section "Heartbeat for kernels"'


class Hearts(Content, frozen=True, kw_only=True):
    """Some hearts, as one batch."""

    hearts: Annotated[list[str], Meta(description="IDENTITY of each heart, which is its engine's uuid.")]
    beating: (
        Annotated[
            list[str],
            Meta(description="Now and then, with `new_heart`: all hearts that beat, as a report may be lost."),
        ]
        | UnsetType
    ) = UNSET


_UUID = "e7a3b1c0-5d2f4a6b8c0d1e2f3a4b5c6d"
_LIFETIME = b"7.001340129999903"

ROWS: tuple[MessageType, ...] = (
    MessageType(
        name="ping",
        family="heartbeat",
        channels=("heartbeat-ping",),
        sender=("heart-monitor",),
        receiver=("heart",),
        content=(Empty,),
        doc="Published once per period to all hearts: one frame, the monitor's lifetime in seconds as ASCII text.",
        source=_NOTE,
        dialects=ALL,
        parent="any",
        framing="raw",
        raw_example=(_LIFETIME,),
    ),
    MessageType(
        name="pong",
        family="heartbeat",
        channels=("heartbeat-pong",),
        sender=("heart",),
        receiver=("heart-monitor",),
        content=(Empty,),
        doc="The ping, byte for byte, behind the IDENTITY of the heart: two frames where the monitor receives it.",
        source=_NOTE,
        dialects=ALL,
        framing="raw",
        raw_example=(_UUID.encode(), _LIFETIME),
    ),
    MessageType(
        name="ping_copy",
        family="heart-device",
        channels=("heartbeat-engine-monitor",),
        sender=("heart",),
        receiver=("engine",),
        content=(Empty,),
        doc="The heart's device shows its engine every ping that passes: an empty frame, then the ping.",
        source=_MEASURED,
        dialects=(NINE,),
        framing="raw",
        raw_example=(b"", _LIFETIME),
    ),
    MessageType(
        name="ping",
        family="heartbeat",
        channels=("kernel-heartbeat",),
        sender=("frontend",),
        receiver=("kernel",),
        content=(Empty,),
        doc="Any bytes. A frontend that sends from a REQ socket gets one pong before it may send again.",
        source=_KERNEL,
        dialects=ALL,
        framing="raw",
        raw_example=(b"ping",),
    ),
    MessageType(
        name="pong",
        family="heartbeat",
        channels=("kernel-heartbeat",),
        sender=("kernel",),
        receiver=("frontend",),
        content=(Empty,),
        doc="The same frames back, from a thread that user code cannot hold up. No identity is added.",
        source=_KERNEL,
        dialects=ALL,
        framing="raw",
        raw_example=(b"ping",),
    ),
    MessageType(
        name="new_heart",
        family="heartbeat",
        channels=("monitor",),
        sender=("heart-monitor",),
        receiver=("hub",),
        content=(Hearts,),
        doc="Hearts that were heard for the first time; behind the prefix `heartmonitor` and an empty frame.",
        source=_MEASURED,
        dialects=(NINE,),
        parent="empty",
        example={"hearts": [_UUID]},
    ),
    MessageType(
        name="stopped_heart",
        family="heartbeat",
        channels=("monitor",),
        sender=("heart-monitor",),
        receiver=("hub",),
        content=(Hearts,),
        doc="Hearts that missed more beats than allowed; behind the prefix `heartmonitor` and an empty frame.",
        source=_MEASURED,
        dialects=(NINE,),
        parent="empty",
        example={"hearts": [_UUID]},
    ),
    MessageType(
        name="heartbeat",
        family="heartbeat",
        channels=("kernel-shell",),
        sender=("frontend",),
        receiver=("kernel",),
        content=(Empty,),
        doc=(
            "A control message that was named and never finished: it gave way to the raw heartbeat, which answers "
            "even while user code holds the interpreter."
        ),
        source=_NOTE,
        dialects=(),
        lived="draft of July 2010, withdrawn before IPython 0.11",
    ),
)

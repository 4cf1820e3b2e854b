"""Input for running code: the only request that a kernel makes.

It goes to the frontend whose request runs, over the stdin channel, to the identity that the request came from: a
frontend therefore uses one IDENTITY for its shell and stdin sockets. There is no status around these messages. The
kernel's socket was a REQ at first, which knew one frontend only.

Source: jupyter_client messaging.rst, section "Messages on the stdin (ROUTER/DEALER) channel".
"""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from protocol.messages.base import ALL, OLD, Content, MessageType

_SPEC = 'jupyter_client messaging.rst, section "Messages on the stdin (ROUTER/DEALER) channel"'
_REQ = "messaging.txt of IPython 0.11; ipython-dev mail, Fernando Perez, 31 August 2010, 'Kernel-client communication'"


class InputRequest(Content, frozen=True, kw_only=True):
    """What to ask the user."""

    prompt: Annotated[str, Meta(description="Text to show.")]
    password: Annotated[bool | UnsetType, Meta(description="Whether to hide what is typed; from protocol 5.")] = UNSET


class InputReply(Content, frozen=True, kw_only=True):
    """What the user said."""

    value: Annotated[str, Meta(description="The line; the single character U+0004 ends the input.")]


def _rows(channel: str, dialects: tuple[str, ...], source: str, lived: str = "") -> tuple[MessageType, MessageType]:
    return (
        MessageType(
            name="input_request",
            family="stdin",
            channels=(channel,),
            sender=("kernel",),
            receiver=("frontend",),
            content=(InputRequest,),
            doc="Asks for a line of input. The parent is the execute request that runs.",
            source=source,
            dialects=dialects,
            replies=("input_reply",),
            parent="request",
            lived=lived,
            example={"prompt": "name? ", "password": False},
        ),
        MessageType(
            name="input_reply",
            family="stdin",
            channels=(channel,),
            sender=("frontend",),
            receiver=("kernel",),
            content=(InputReply,),
            doc="The line that was typed. Only the frontend that was asked may answer.",
            source=source,
            dialects=dialects,
            parent="request",
            lived=lived,
            example={"value": "Ada"},
        ),
    )


ROWS: tuple[MessageType, ...] = (
    *_rows("kernel-stdin", ALL, _SPEC),
    *_rows("kernel-stdin-req", (OLD,), _REQ, "IPython 0.11"),
)

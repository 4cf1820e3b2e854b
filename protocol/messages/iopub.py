"""What kernels and engines publish while they run code.

A kernel publishes to its frontends, an engine through the controller's IOPub relay to all clients; the messages are the
same, apart from the uuid that an engine puts into the metadata of most of them. One frame stands before the delimiter,
the topic; it is a convention, and nobody may depend on it. The parent is the request that caused the output. Parents
that a client does not know are normal.

Source: jupyter_client messaging.rst, section "Messages on the IOPub (PUB/SUB) channel"; IPython commit a2c57acba,
parallel_messages.txt.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from protocol.messages.base import (
    ALL,
    DOCUMENTED,
    MODERN,
    OLD,
    Buffers,
    Content,
    MessageType,
    Metadata,
)
from protocol.messages.kernel_control import KernelShutdownReply
from protocol.messages.kernel_shell import Mime, comm

_SPEC = 'jupyter_client messaging.rst, section "Messages on the IOPub (PUB/SUB) channel"'
_OLD = "messaging.txt of IPython 0.11 to 2.x; read from the source of these releases"
_ENGINE = "measured on ipyparallel 9.2.0"
_UUID = "e7a3b1c0-5d2f4a6b8c0d1e2f3a4b5c6d"


class PublishedMetadata(Metadata, frozen=True, kw_only=True):
    """Metadata of what an engine publishes."""

    engine: Annotated[str | UnsetType, Meta(description="uuid of the engine; not with every type.")] = UNSET


class Status(Content, frozen=True, kw_only=True):
    """What the kernel does: `busy` before, `idle` after each request; `starting` once, without a parent."""

    execution_state: Literal["busy", "idle", "starting"]


class Stream(Content, frozen=True, kw_only=True):
    """Text that was printed. Order holds within one stream; how text is divided into messages is not defined."""

    name: Literal["stdout", "stderr"]
    text: str


class StreamOld(Content, frozen=True, kw_only=True):
    """Text that was printed, under its first key."""

    name: str
    data: str


class DisplayData(Content, frozen=True, kw_only=True):
    """Something to show, in one or more representations."""

    data: Mime
    metadata: Annotated[dict[str, Any], Meta(description="About the representations.")]
    transient: Annotated[
        dict[str, Any] | UnsetType, Meta(description="Not to be stored; `display_id` names the display.")
    ] = UNSET


class DisplayDataOld(Content, frozen=True, kw_only=True):
    """Something to show, and who made it."""

    source: Annotated[str, Meta(description="Who made it.")]
    data: Mime
    metadata: Annotated[dict[str, Any], Meta(description="About the representations.")]


class Transient(Content, frozen=True, kw_only=True):
    """What need not be stored with a display."""

    display_id: Annotated[str, Meta(description="Which display.")]


class UpdateDisplayData(Content, frozen=True, kw_only=True):
    """A new look of an earlier display."""

    data: Mime
    metadata: dict[str, Any]
    transient: Transient


class ExecuteInput(Content, frozen=True, kw_only=True):
    """The code that is about to run, for everybody else to see."""

    code: str
    execution_count: Annotated[int | UnsetType, Meta(description="The counter; absent before 0.13.")] = UNSET


class ExecuteResult(Content, frozen=True, kw_only=True):
    """The value of the code."""

    execution_count: int
    data: Mime
    metadata: Annotated[dict[str, Any] | UnsetType, Meta(description="About the representations; from 1.0.")] = UNSET


class PublishedError(Content, frozen=True, kw_only=True):
    """The exception that ended the code. There is no status."""

    ename: Annotated[str, Meta(description="Its type.")]
    evalue: Annotated[str, Meta(description="Its text.")]
    traceback: Annotated[list[str], Meta(description="Lines for people, often with colours.")]


class ClearOutput(Content, frozen=True, kw_only=True):
    """Remove what was shown."""

    wait: Annotated[bool, Meta(description="Only when the next output comes.")]


class ClearOutputOld(Content, frozen=True, kw_only=True):
    """Remove some of what was shown."""

    stdout: bool
    stderr: bool
    other: Annotated[bool | UnsetType, Meta(description="Displays; `display` in the documents.")] = UNSET
    display: bool | UnsetType = UNSET


class Welcome(Content, frozen=True, kw_only=True):
    """A subscription is in force: whatever is published from now on under this topic arrives."""

    subscription: Annotated[str, Meta(description="The topic as text; empty for everything.")]


class DebugEvent(Content, frozen=True, kw_only=True):
    """An event of the Debug Adapter Protocol."""

    type: Literal["event"]
    event: Annotated[str, Meta(description="What happened.")]
    seq: int | UnsetType = UNSET
    body: Annotated[Any, Meta(description="More about it.")] = UNSET


class DataMessage(Content, frozen=True, kw_only=True):
    """Names of data published from running code; the values are in the buffers."""

    keys: list[str]


#: name, content, what it says, example, metadata of an engine?, further facts of the row
_Published = tuple[str, type[Content], str, dict[str, Any], bool, dict[str, Any]]
_TYPES: tuple[_Published, ...] = (
    ("status", Status, "Opens and closes what belongs to one request.", {"execution_state": "busy"}, True, {}),
    (
        "stream", Stream, "Text that was printed.", {"name": "stdout", "text": "42\n"}, False,
        {"dialects": MODERN},
    ),
    (
        "stream", StreamOld, "Text that was printed.", {"name": "stdout", "data": "42\n"}, False,
        {"dialects": (OLD,), "lived": "IPython 0.11 to 2.x", "source": _OLD},
    ),
    (
        "display_data", DisplayData, "Something to show.", {"data": {"text/plain": "42"}, "metadata": {}}, True,
        {"dialects": MODERN},
    ),
    (
        "display_data", DisplayDataOld, "Something to show.",
        {"source": "display", "data": {"text/plain": "42"}, "metadata": {}}, True,
        {"dialects": (OLD,), "lived": "IPython 0.11 to 2.x", "source": _OLD},
    ),
    (
        "update_display_data", UpdateDisplayData, "A new look of an earlier display.",
        {"data": {"text/plain": "43"}, "metadata": {}, "transient": {"display_id": "d1"}}, True, {"dialects": MODERN},
    ),
    (
        "execute_input", ExecuteInput, "The code, before it runs and before any of its output.",
        {"code": "6 * 7", "execution_count": 1}, True, {"names": {OLD: "pyin"}},
    ),
    (
        "execute_result", ExecuteResult, "The value of the code.",
        {"execution_count": 1, "data": {"text/plain": "42"}, "metadata": {}}, False, {"names": {OLD: "pyout"}},
    ),
    (
        "error", PublishedError, "The exception that ended the code.",
        {"ename": "NameError", "evalue": "name 'x' is not defined", "traceback": ["NameError: ..."]}, True,
        {"names": {OLD: "pyerr"}},
    ),
    ("clear_output", ClearOutput, "Remove what was shown.", {"wait": False}, True, {"dialects": MODERN}),
    (
        "clear_output", ClearOutputOld, "Remove some of what was shown.",
        {"stdout": True, "stderr": True, "other": True}, True,
        {"dialects": (OLD,), "lived": "IPython 0.11 to 1.0", "source": _OLD},
    ),
    (
        "iopub_welcome", Welcome, "Announces that a subscription is in force. Further ones must be expected.",
        {"subscription": ""}, False, {"dialects": MODERN, "parent": "empty"},
    ),
    (
        "shutdown_reply", KernelShutdownReply, "A copy of the reply to a shutdown, so that everybody learns of it.",
        {"status": "ok", "restart": False}, False,
        {"dialects": MODERN, "source": "measured on ipykernel 7.4.0 and ipyparallel 9.2.0"},
    ),
    (
        "data_message", DataMessage, "Data published by running code.", {"keys": ["progress"]}, True,
        {
            "names": {DOCUMENTED: "data_pub"}, "dialects": MODERN, "lived": "IPython 1.0 on; in ipyparallel still",
            "buffers": Buffers(1, None, "the values, pickled, in the order of the keys"),
            "example_buffers": (b"\x80\x04]K\x01a.",),
        },
    ),
)  # fmt: skip


def _rows(name: str, content: type[Content], doc: str, example: dict[str, Any], uuid: bool, facts: dict[str, Any]) -> (
    tuple[MessageType, MessageType]
):  # fmt: skip
    common: dict[str, Any] = {
        "name": name,
        "content": (content,),
        "doc": doc,
        "dialects": ALL,
        "parent": "any",
        "example": example,
        **facts,
    }
    of_kernel = common | {"lived": "IPython 1.0 to 3.x"} if name == "data_message" else common
    return (
        MessageType(
            **{"source": _SPEC, **of_kernel},
            family="kernel",
            channels=("kernel-iopub",),
            sender=("kernel",),
            receiver=("frontend",),
        ),
        MessageType(
            **{"source": f"{_SPEC}; {_ENGINE}", **common},
            family="iopub",
            channels=("iopub",),
            sender=("engine",),
            receiver=("client",),
            metadata=PublishedMetadata,
            example_metadata={"engine": _UUID} if uuid else {},
        ),
    )


ROWS: tuple[MessageType, ...] = (
    *(row for one in _TYPES for row in _rows(*one)),
    MessageType(
        name="debug_event",
        family="kernel",
        channels=("kernel-iopub",),
        sender=("kernel",),
        receiver=("frontend",),
        content=(DebugEvent,),
        doc="Something happened in the debugger.",
        source=_SPEC,
        dialects=MODERN,
        example={"type": "event", "event": "stopped", "body": {"reason": "breakpoint"}},
    ),
    *comm(("kernel-iopub",), ("kernel",), ("frontend",)),
    *comm(("iopub",), ("engine",), ("client",), "iopub"),
)

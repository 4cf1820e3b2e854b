"""Requests to a kernel and their replies, in today's shape (messages of protocol 5).

A frontend sends them to a kernel on shell, and most of them on control as well; in the parallel system a client sends
them to an engine through the MUX queue, and the engine's kernel answers. Every reply carries `status`; its `error` form
is the same everywhere. Fields beyond those listed must be tolerated by both sides.

Source: jupyter_client messaging.rst, section "Messages on the shell (ROUTER/DEALER) channel".
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from protocol.messages.base import (
    ALL,
    MODERN,
    AbortedContent,
    Buffers,
    Content,
    Empty,
    ErrorContent,
    MessageType,
    OkContent,
)

_SPEC = 'jupyter_client messaging.rst, section "Messages on the shell (ROUTER/DEALER) channel"'

#: Where shell requests travel: to a plain kernel, and to an engine, whose nanny passes control messages on.
KERNEL_CHANNELS = ("kernel-shell", "kernel-control")
ENGINE_CHANNELS = ("mux", "control", "warden-link")
ANY_SHELL = (*KERNEL_CHANNELS, *ENGINE_CHANNELS)

Mime = Annotated[dict[str, Any], Meta(description="MIME type -> representation.")]
Flag = bool | UnsetType


class ExecuteRequest(Content, frozen=True, kw_only=True):
    """Code to run."""

    code: Annotated[str, Meta(description="Source code, one or more lines.")]
    silent: Annotated[Flag, Meta(description="Run without output, history and counting; False if absent.")] = UNSET
    store_history: Annotated[Flag, Meta(description="Whether to count and remember; not `silent` if absent.")] = UNSET
    user_expressions: Annotated[
        dict[str, Any] | UnsetType, Meta(description="Name -> expression to evaluate after the code.")
    ] = UNSET
    allow_stdin: Annotated[Flag, Meta(description="Whether the code may ask for input.")] = UNSET
    stop_on_error: Annotated[Flag, Meta(description="Whether an error aborts queued requests; True if absent.")] = UNSET


class ExecuteReply(OkContent, frozen=True, kw_only=True):
    """The code has run."""

    execution_count: Annotated[int, Meta(description="The counter of the run; starts at 1, never falls.")]
    payload: Annotated[
        list[dict[str, Any]] | dict[str, Any] | UnsetType,
        Meta(description="Requests to the frontend, each with `source`."),
    ] = UNSET
    user_expressions: Annotated[
        dict[str, Any] | UnsetType, Meta(description="Name -> rich value, or an error of its own.")
    ] = UNSET


class InspectRequest(Content, frozen=True, kw_only=True):
    """Asks what stands under the cursor."""

    code: Annotated[str, Meta(description="Source code.")]
    cursor_pos: Annotated[int, Meta(description="Where the cursor is, in code points.")]
    detail_level: Annotated[Literal[0, 1] | UnsetType, Meta(description="1 adds the source; 0 if absent.")] = UNSET
    omit_sections: Annotated[list[str] | UnsetType, Meta(description="Sections to leave out; an extension.")] = UNSET


class InspectReply(OkContent, frozen=True, kw_only=True):
    """What it is, as a display; both dictionaries are empty if nothing was found."""

    found: Annotated[bool, Meta(description="Whether there is something to show.")]
    data: Mime
    metadata: Annotated[dict[str, Any], Meta(description="About the representations.")]


class CompleteRequest(Content, frozen=True, kw_only=True):
    """Asks how this could go on."""

    code: Annotated[str, Meta(description="Source code.")]
    cursor_pos: Annotated[int | None, Meta(description="Where the cursor is, in code points; null for the end.")]


class CompleteReply(OkContent, frozen=True, kw_only=True):
    """Ways to go on, and what they replace."""

    matches: Annotated[list[str], Meta(description="The candidates.")]
    cursor_start: Annotated[int, Meta(description="First code point that a candidate replaces.")]
    cursor_end: Annotated[int | None, Meta(description="First code point behind that.")]
    metadata: Annotated[dict[str, Any], Meta(description="About the candidates.")]


class KernelHistoryRequest(Content, frozen=True, kw_only=True):
    """Which inputs (and outputs) of this and earlier sessions."""

    output: Annotated[bool, Meta(description="Whether outputs are wanted too.")]
    raw: Annotated[bool, Meta(description="Whether inputs are wanted as typed.")]
    hist_access_type: Annotated[Literal["range", "tail", "search"], Meta(description="How the lines are chosen.")]
    session: Annotated[int | UnsetType | None, Meta(description="range: the session; negative counts back.")] = UNSET
    start: Annotated[int | UnsetType | None, Meta(description="range: the first line.")] = UNSET
    stop: Annotated[int | UnsetType | None, Meta(description="range: the line behind the last.")] = UNSET
    n: Annotated[int | UnsetType | None, Meta(description="tail, search: how many.")] = UNSET
    pattern: Annotated[str | UnsetType | None, Meta(description="search: glob pattern.")] = UNSET
    unique: Annotated[Flag, Meta(description="search: whether to leave repetitions out.")] = UNSET


class KernelHistoryReply(Content, frozen=True, kw_only=True):
    """The lines. Before protocol 5 there was no status."""

    history: Annotated[
        list[tuple[int, int, str | list[str | None]]],
        Meta(description="[session, line, input], or [session, line, [input, output]]."),
    ]
    status: Literal["ok"] | UnsetType = UNSET


class IsCompleteRequest(Content, frozen=True, kw_only=True):
    """Asks whether this is a whole statement."""

    code: Annotated[str, Meta(description="Source code.")]


class IsComplete(Content, frozen=True, tag_field="status", tag="complete"):
    """It can run."""


class IsIncomplete(Content, frozen=True, kw_only=True, tag_field="status", tag="incomplete"):
    """It needs another line."""

    indent: Annotated[str, Meta(description="How the next line should be indented.")] = ""


class IsInvalid(Content, frozen=True, tag_field="status", tag="invalid"):
    """It can never run."""


class IsUnknown(Content, frozen=True, tag_field="status", tag="unknown"):
    """Nobody knows."""


class ConnectReply(Content, frozen=True, kw_only=True):
    """The ports of the kernel; a missing one belongs to a channel that does not run."""

    shell_port: int | UnsetType = UNSET
    iopub_port: int | UnsetType = UNSET
    stdin_port: int | UnsetType = UNSET
    hb_port: int | UnsetType = UNSET
    control_port: int | UnsetType = UNSET
    status: Literal["ok"] | UnsetType = UNSET


class CommInfoRequest(Content, frozen=True, kw_only=True):
    """Asks which comms are open."""

    target_name: Annotated[str | UnsetType | None, Meta(description="Only those of this target; null for all.")] = UNSET


class CommTarget(Struct, frozen=True, kw_only=True):
    """One open comm."""

    target_name: Annotated[str, Meta(description="What it was opened for.")]


class CommInfoReply(OkContent, frozen=True, kw_only=True):
    """The comms that are open."""

    comms: Annotated[dict[str, CommTarget], Meta(description="comm_id -> what it is for.")]


class LanguageInfo(Struct, frozen=True, kw_only=True):
    """The language that a kernel runs."""

    name: Annotated[str, Meta(description="Its name, such as python.")]
    version: Annotated[str, Meta(description="Its version.")]
    mimetype: Annotated[str, Meta(description="MIME type of its sources.")]
    file_extension: Annotated[str, Meta(description="Ending of its files, with the dot.")]
    pygments_lexer: str | UnsetType = UNSET
    codemirror_mode: str | dict[str, Any] | UnsetType = UNSET
    nbconvert_exporter: str | UnsetType = UNSET


class HelpLink(Struct, frozen=True, kw_only=True):
    """An entry of the help menu."""

    text: str
    url: str


class KernelInfoReply(OkContent, frozen=True, kw_only=True):
    """What the kernel is. Features are told by `supported_features`, never by a version number."""

    protocol_version: Annotated[str, Meta(description="X.Y of the message protocol it implements.")]
    implementation: Annotated[str, Meta(description="Name of the kernel.")]
    implementation_version: Annotated[str, Meta(description="Its version.")]
    language_info: LanguageInfo
    banner: Annotated[str, Meta(description="Text to show at the start; may differ each time.")]
    help_links: list[HelpLink] | UnsetType = UNSET
    debugger: Annotated[Flag, Meta(description="Whether it has a debugger; deprecated.")] = UNSET
    supported_features: Annotated[list[str] | UnsetType, Meta(description="Such as 'kernel subshells'.")] = UNSET


class CommOpen(Content, frozen=True, kw_only=True):
    """A new comm."""

    comm_id: Annotated[str, Meta(description="Chosen by who opens it.")]
    target_name: Annotated[str, Meta(description="What it is for.")]
    data: dict[str, Any]


class CommMessage(Content, frozen=True, kw_only=True):
    """Data for the other end of a comm, or its end."""

    comm_id: Annotated[str, Meta(description="Which comm.")]
    data: dict[str, Any]


#: Comms are the one place where kernels use buffers.
COMM_BUFFERS = Buffers(0, None, "binary data of the comm")
COMM_ID = "c0330000111122223333444455556666"

#: name -> request type, reply types, channels, dialects, what the request does, what the reply says, two examples.
_Pair = tuple[
    str,
    type[Content],
    tuple[type[Content], ...],
    tuple[str, ...],
    tuple[str, ...],
    str,
    str,
    dict[str, Any],
    dict[str, Any],
]
_PAIRS: tuple[_Pair, ...] = (
    (
        "execute",
        ExecuteRequest,
        (ExecuteReply,),
        KERNEL_CHANNELS,
        MODERN,
        "Runs code. Answered even if it fails; further execute requests may be aborted then.",
        "How the run ended. Its outputs are on IOPub.",
        {"code": "6 * 7", "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False},
        {"status": "ok", "execution_count": 1, "payload": [], "user_expressions": {}},
    ),
    (
        "inspect",
        InspectRequest,
        (InspectReply,),
        ANY_SHELL,
        MODERN,
        "Asks what a name in the code is.",
        "A display of what it is.",
        {"code": "len", "cursor_pos": 3, "detail_level": 0},
        {"status": "ok", "found": True, "data": {"text/plain": "Return the number of items."}, "metadata": {}},
    ),
    (
        "complete",
        CompleteRequest,
        (CompleteReply,),
        ANY_SHELL,
        MODERN,
        "Asks how the code could go on.",
        "The candidates, and the part of the code that they replace.",
        {"code": "impo", "cursor_pos": 4},
        {"status": "ok", "matches": ["import"], "cursor_start": 0, "cursor_end": 4, "metadata": {}},
    ),
    (
        "history",
        KernelHistoryRequest,
        (KernelHistoryReply,),
        ANY_SHELL,
        ALL,
        "Asks for earlier inputs.",
        "The lines asked for.",
        {"output": False, "raw": True, "hist_access_type": "tail", "n": 2},
        {"status": "ok", "history": [[1, 1, "import os"], [1, 2, "6 * 7"]]},
    ),
    (
        "is_complete",
        IsCompleteRequest,
        (IsComplete, IsIncomplete, IsInvalid, IsUnknown),
        ANY_SHELL,
        MODERN,
        "Asks whether code is a whole statement.",
        "Complete, incomplete, invalid or unknown: the status is the answer.",
        {"code": "for i in range(3):"},
        {"status": "incomplete", "indent": "    "},
    ),
    (
        "connect",
        Empty,
        (ConnectReply,),
        ANY_SHELL,
        MODERN,
        "Asks for the kernel's ports. Deprecated: they are in the connection file.",
        "The ports.",
        {},
        {"status": "ok", "shell_port": 52001, "iopub_port": 52002, "stdin_port": 52003, "hb_port": 52004},
    ),
    (
        "comm_info",
        CommInfoRequest,
        (CommInfoReply,),
        ANY_SHELL,
        MODERN,
        "Asks which comms are open.",
        "The open comms.",
        {"target_name": "jupyter.widget"},
        {"status": "ok", "comms": {COMM_ID: {"target_name": "jupyter.widget"}}},
    ),
    (
        "kernel_info",
        Empty,
        (KernelInfoReply,),
        ANY_SHELL,
        MODERN,
        "Asks what the kernel is and can do.",
        "Versions, language, features.",
        {},
        {
            "status": "ok",
            "protocol_version": "5.5",
            "implementation": "ipython",
            "implementation_version": "9.0.0",
            "language_info": {
                "name": "python",
                "version": "3.11.0",
                "mimetype": "text/x-python",
                "file_extension": ".py",
            },
            "banner": "Python 3.11.0",
            "supported_features": ["kernel subshells"],
        },
    ),
)


def pair(
    name: str,
    request: type[Content],
    replies: tuple[type[Content], ...],
    channels: tuple[str, ...],
    dialects: tuple[str, ...],
    asks: str,
    answers: str,
    asked: dict[str, Any],
    answered: dict[str, Any],
    *,
    source: str = _SPEC,
    lived: str = "",
    error: type[Content] = ErrorContent,
    aborted: tuple[type[Content], ...] = (AbortedContent,),
) -> tuple[MessageType, MessageType]:
    """The two rows of a request to a kernel and its reply."""
    kernel = any(channel.startswith(("kernel", "starter")) for channel in channels)
    engine = any(channel in ENGINE_CHANNELS for channel in channels)
    asker = (("frontend",) if kernel else ()) + (("client",) if engine else ())
    answerer = (("kernel",) if kernel else ()) + (("engine",) if engine else ())
    return (
        MessageType(
            name=f"{name}_request",
            family="kernel",
            channels=channels,
            sender=asker,
            receiver=answerer,
            content=(request,),
            doc=asks,
            source=source,
            dialects=dialects,
            replies=(f"{name}_reply",),
            errors=("reply",),
            lived=lived,
            example=asked,
        ),
        MessageType(
            name=f"{name}_reply",
            family="kernel",
            channels=channels,
            sender=answerer,
            receiver=asker,
            content=(*replies, error, *aborted),
            doc=answers,
            source=source,
            dialects=dialects,
            parent="request",
            lived=lived,
            example=answered,
        ),
    )


def comm(
    channels: tuple[str, ...], sender: tuple[str, ...], receiver: tuple[str, ...], family: str = "kernel"
) -> tuple[MessageType, ...]:
    """The three comm messages, which travel in both directions: on shell to the kernel, on IOPub from it."""
    said: tuple[tuple[str, type[Content], str, dict[str, Any]], ...] = (
        ("comm_open", CommOpen, "Opens a comm. Who does not know the target answers with comm_close.",
         {"comm_id": COMM_ID, "target_name": "jupyter.widget", "data": {}}),
        ("comm_msg", CommMessage, "Data for the other end. There is no reply.",
         {"comm_id": COMM_ID, "data": {"value": 3}}),
        ("comm_close", CommMessage, "Ends a comm. There is no reply.", {"comm_id": COMM_ID, "data": {}}),
    )  # fmt: skip
    return tuple(
        MessageType(
            name=name,
            family=family,
            channels=channels,
            sender=sender,
            receiver=receiver,
            content=(content,),
            doc=doc,
            source='jupyter_client messaging.rst, section "Custom Messages"',
            dialects=MODERN,
            buffers=COMM_BUFFERS,
            example=example,
        )
        for name, content, doc, example in said
    )


ROWS: tuple[MessageType, ...] = (
    *(row for one in _PAIRS for row in pair(*one)),
    *comm(("kernel-shell", "mux"), ("frontend", "client"), ("kernel", "engine")),
)

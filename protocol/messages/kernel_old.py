"""Requests to a kernel whose fields were different before protocol 5, and those that were never spoken.

The rows belong to the dialect `ipython-0.1x`; `lived` says exactly when. A message without a version in its header
counts as one of protocol 4, and keeps its old meaning for a kernel of today.

Source: jupyter_client messaging.rst, section "Changelog"; messaging.txt of IPython 0.11 to 2.x.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from protocol.messages.base import OLD, AbortedContent, Content, Empty, MessageType, OkContent
from protocol.messages.kernel_shell import pair

_SOURCE = "messaging.txt of IPython 0.11 to 2.x; read from the source of these releases"
_SHELL = ("kernel-shell", "kernel-control", "mux")


class AbortContent(Content, frozen=True, tag_field="status", tag="abort"):
    """The request was aborted, in the spelling of the old documents. On the wire it was always `aborted`."""


class ErrorContentOld(Content, frozen=True, kw_only=True, omit_defaults=True, tag_field="status", tag="error"):
    """The error of an old reply: the documents of 0.11 and 0.12 had other names for its fields than the code."""

    traceback: list[str]
    ename: str | UnsetType = UNSET
    evalue: str | UnsetType = UNSET
    exc_name: Annotated[str | UnsetType, Meta(description="`ename` in the documents of 0.11 and 0.12.")] = UNSET
    exc_value: Annotated[str | UnsetType, Meta(description="`evalue` in the documents of 0.11 and 0.12.")] = UNSET


class ExecuteRequestOld(Content, frozen=True, kw_only=True):
    """Code to run, and names to look at afterwards."""

    code: Annotated[str, Meta(description="Source code.")]
    silent: Annotated[bool, Meta(description="Run without output, history and counting.")]
    user_variables: Annotated[list[str] | UnsetType, Meta(description="Names whose values are wanted.")] = UNSET
    user_expressions: Annotated[dict[str, Any] | UnsetType, Meta(description="Name -> expression to evaluate.")] = UNSET
    allow_stdin: Annotated[bool | UnsetType, Meta(description="Whether the code may ask for input; from 0.12.")] = UNSET
    store_history: Annotated[bool | UnsetType, Meta(description="Whether to count and remember; from 1.0.")] = UNSET


class ExecuteReplyOld(OkContent, frozen=True, kw_only=True):
    """The code has run; values come as text."""

    execution_count: Annotated[int, Meta(description="The counter of the run.")]
    payload: Annotated[
        list[dict[str, Any]] | dict[str, Any] | UnsetType, Meta(description="Requests to the frontend.")
    ] = UNSET
    user_variables: Annotated[dict[str, Any] | UnsetType, Meta(description="Name -> representation.")] = UNSET
    user_expressions: Annotated[dict[str, Any] | UnsetType, Meta(description="Name -> representation.")] = UNSET
    transformed_code: Annotated[str | UnsetType, Meta(description="What really ran; documents of 0.11, 0.12.")] = UNSET


class ObjectInfoRequest(Content, frozen=True, kw_only=True):
    """Asks what a name is."""

    oname: Annotated[str, Meta(description="A name, with dots. The documents up to 0.13 call the key `name`.")]
    detail_level: Annotated[int | UnsetType, Meta(description="1 adds the source.")] = UNSET


class ObjectInfoReply(Content, frozen=True, kw_only=True):
    """Everything known about it, each under a key of its own; here only those that are always there."""

    name: str
    found: bool
    ismagic: bool | UnsetType | None = UNSET
    isalias: bool | UnsetType | None = UNSET
    namespace: str | UnsetType | None = UNSET
    type_name: str | UnsetType | None = UNSET
    string_form: str | UnsetType | None = UNSET
    argspec: Annotated[
        dict[str, Any] | UnsetType | None, Meta(description="args, varargs, varkw, defaults of a callable.")
    ] = UNSET
    definition: str | UnsetType | None = UNSET
    docstring: str | UnsetType | None = UNSET
    source: str | UnsetType | None = UNSET
    status: Literal["ok"] | UnsetType = UNSET


class CompleteRequestOld(Content, frozen=True, kw_only=True):
    """Asks how this line could go on."""

    text: Annotated[str | None, Meta(description="The word to complete.")]
    line: Annotated[str | None, Meta(description="The line it stands in.")]
    block: Annotated[str | UnsetType | None, Meta(description="The lines around.")] = UNSET
    cursor_pos: Annotated[int | None, Meta(description="Where the cursor is, within the line.")]


class CompleteReplyOld(Content, frozen=True, kw_only=True):
    """Ways to go on."""

    matches: Annotated[list[str], Meta(description="The candidates.")]
    matched_text: Annotated[str | UnsetType, Meta(description="What they replace; `text` in the document of 1.0.")] = (
        UNSET
    )
    status: Literal["ok"] | UnsetType = UNSET


class ConnectReplyShort(Content, frozen=True, kw_only=True):
    """The ports, as the code of 0.11 to 3.x names them."""

    shell: int
    iopub: int
    stdin: int
    hb: int
    control: int | UnsetType = UNSET


class ConnectReplyXrep(Content, frozen=True, kw_only=True):
    """The ports, as the document of 0.11 names them, after the socket types of that time."""

    xrep_port: Annotated[int, Meta(description="shell")]
    pub_port: Annotated[int, Meta(description="iopub")]
    req_port: Annotated[int, Meta(description="stdin")]
    hb_port: int


class ConnectReplyPorts(Content, frozen=True, kw_only=True):
    """The ports, as the documents from 0.12 on name them."""

    shell_port: int
    iopub_port: int
    stdin_port: int
    hb_port: int
    control_port: int | UnsetType = UNSET


class KernelInfoReplyOld(Content, frozen=True, kw_only=True):
    """Versions as lists of numbers."""

    protocol_version: list[int]
    language: str
    language_version: list[int | str]
    ipython_version: list[int | str] | UnsetType = UNSET
    status: Literal["ok"] | UnsetType = UNSET


def _never(name: str, channels: tuple[str, ...], doc: str) -> MessageType:
    return MessageType(
        name=name,
        family="kernel",
        channels=channels,
        sender=("kernel",) if channels == ("kernel-iopub",) else ("frontend",),
        receiver=("frontend",) if channels == ("kernel-iopub",) else ("kernel",),
        content=(Empty,),
        doc=doc,
        source="messaging.txt of IPython 0.11 to 0.13",
        dialects=(),
        lived="documents of IPython 0.11 to 0.13; never sent",
    )


def _old(
    name: str,
    request: type[Content],
    replies: tuple[type[Content], ...],
    asks: str,
    answers: str,
    asked: dict[str, Any],
    answered: dict[str, Any],
    lived: str = "IPython 0.11 to 2.x",
    channels: tuple[str, ...] = _SHELL,
) -> tuple[MessageType, MessageType]:
    return pair(
        name, request, replies, channels, (OLD,), asks, answers, asked, answered, source=_SOURCE, lived=lived,
        error=ErrorContentOld, aborted=(AbortedContent, AbortContent),
    )  # fmt: skip


ROWS: tuple[MessageType, ...] = (
    *_old(
        "execute", ExecuteRequestOld, (ExecuteReplyOld,), "Runs code.", "How the run ended.",
        {"code": "a = 6", "silent": False, "user_variables": ["a"], "user_expressions": {}},
        {"status": "ok", "execution_count": 1, "payload": [], "user_variables": {"a": "6"}, "user_expressions": {}},
        channels=("kernel-shell", "kernel-control"),
    ),
    *_old(
        "object_info", ObjectInfoRequest, (ObjectInfoReply,), "Asks what a name is.", "Everything known about it.",
        {"oname": "len", "detail_level": 0}, {"name": "len", "found": True, "type_name": "builtin_function_or_method"},
    ),
    *_old(
        "complete", CompleteRequestOld, (CompleteReplyOld,), "Asks how a line could go on.", "The candidates.",
        {"text": "impo", "line": "impo", "block": "impo", "cursor_pos": 4},
        {"matches": ["import"], "matched_text": "impo", "status": "ok"},
    ),
    *_old(
        "connect", Empty, (ConnectReplyShort, ConnectReplyPorts, ConnectReplyXrep), "Asks for the kernel's ports.",
        "The ports; three sets of names are known.",
        {}, {"shell": 52001, "iopub": 52002, "stdin": 52003, "hb": 52004}, lived="IPython 0.11 to 3.x",
    ),
    *_old(
        "kernel_info", Empty, (KernelInfoReplyOld,), "Asks for versions.", "The versions, as lists of numbers.",
        {}, {"protocol_version": [4, 1], "language": "python", "language_version": [2, 7, 6]},
        lived="IPython 1.0 to 2.x",
    ),
    _never("getattr_request", ("kernel-shell",), "Was to read an attribute of a kernel's object."),
    _never("setattr_request", ("kernel-shell",), "Was to set an attribute of a kernel's object."),
    _never("crash", ("kernel-iopub",), "Was to tell frontends that the kernel has crashed."),
    _never("file", ("kernel-iopub",), "Was to carry a file to the frontends."),
)  # fmt: skip

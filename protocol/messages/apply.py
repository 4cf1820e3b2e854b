"""Work for engines: functions and code, through the MUX queue to a chosen engine or through the task queue to any.

The function, its arguments and the result travel as buffers, which `protocol.applybuffers` describes. What schedulers
need stands in the metadata, so that they never look into the content; the oldest dialect has no metadata frame and
keeps the same fields in the header.

Source: IPython commit a2c57acba, docs/source/development/parallel_messages.txt, section "apply".
"""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType, field

from protocol.applybuffers import pack_object, pack_request
from protocol.messages.base import (
    MODERN,
    OLD,
    AbortedContent,
    Buffers,
    Content,
    Empty,
    ErrorContent,
    MessageType,
    Metadata,
    OkContent,
)
from protocol.messages.kernel_old import ExecuteReplyOld, ExecuteRequestOld
from protocol.messages.kernel_shell import ExecuteReply, ExecuteRequest
from protocol.pickles import Global

_DOC = "IPython commit a2c57acba, parallel_messages.txt, apply"
_MEASURED = "measured on ipyparallel 9.2.0"
_HISTORY = "read from the source of IPython 0.11 to 0.13"
_DATE = "2026-01-05T12:00:00.000000Z"
_UUID = "e7a3b1c0-5d2f4a6b8c0d1e2f3a4b5c6d"


class DependencyContent(Struct, frozen=True, kw_only=True):
    """What a task waits for, in full."""

    dependencies: Annotated[list[str], Meta(description="msg_ids of tasks.")] = field(default_factory=list)
    all: Annotated[bool, Meta(description="Whether all of them, or any one, must have ended so.")] = True
    success: Annotated[bool, Meta(description="Whether a task that succeeded counts.")] = True
    failure: Annotated[bool, Meta(description="Whether a task that failed counts.")] = False


Dependency = Annotated[
    str | list[str] | DependencyContent | UnsetType | None,
    Meta(description="msg_id, list of msg_ids, or a dictionary that says how they count; null for none."),
]


class LabelMetadata(Metadata, frozen=True, kw_only=True):
    """Metadata of a request to one engine."""

    label: Annotated[str | UnsetType | None, Meta(description="The user's name for the request.")] = UNSET


class TaskMetadata(LabelMetadata, frozen=True, kw_only=True):
    """Metadata of a task: where and when it may run."""

    after: Annotated[Dependency, Meta(description="Tasks that must have ended before.")] = UNSET
    follow: Annotated[Dependency, Meta(description="Tasks on whose engine this one must run.")] = UNSET
    timeout: Annotated[float | UnsetType | None, Meta(description="Seconds it may wait in the queue.")] = UNSET
    targets: Annotated[
        list[str | int] | str | UnsetType | None, Meta(description="uuids of the engines allowed; all if empty.")
    ] = UNSET
    retries: Annotated[int | UnsetType, Meta(description="How often to run it again elsewhere when it fails.")] = UNSET


class TaskMetadataOld(TaskMetadata, frozen=True, kw_only=True):
    """The same fields where they stood in the header."""

    bound: Annotated[
        bool | UnsetType,
        Meta(description="Run in the engine's namespace or apart; withdrawn, documented until 2012."),
    ] = UNSET


class ReplyMetadata(Metadata, frozen=True, kw_only=True):
    """Metadata of a reply. An engine sends `status`, `engine` and `started`; a refusal made by a scheduler has none."""

    status: Annotated[str | UnsetType, Meta(description="As in the content, for schedulers.")] = UNSET
    engine: Annotated[str | UnsetType, Meta(description="uuid of the engine.")] = UNSET
    started: Annotated[str | UnsetType, Meta(description="When the run began, ISO 8601.")] = UNSET
    date: Annotated[str | UnsetType, Meta(description="When a scheduler gave the engine up, ISO 8601.")] = UNSET
    dependencies_met: Annotated[
        bool | UnsetType, Meta(description="False: the engine cannot run this task, another may. True if absent.")
    ] = UNSET
    label: Annotated[str | UnsetType | None, Meta(description="As in the request.")] = UNSET
    engine_info: Annotated[dict[str, Any] | UnsetType, Meta(description="Where an error happened.")] = UNSET
    is_broadcast: bool | UnsetType = UNSET
    is_coalescing: bool | UnsetType = UNSET
    original_msg_id: Annotated[str | UnsetType, Meta(description="The client's msg_id of a broadcast.")] = UNSET


class ApplyReply(OkContent, frozen=True):
    """The function returned; its value is in the buffers."""


REQUEST_BUFFERS = Buffers(2, None, "function, info {nargs, narg_bufs, kw_keys}, arguments, keyword arguments")
REPLY_BUFFERS = Buffers(0, None, "the result, if the status is ok")
EXAMPLE_REQUEST_BUFFERS = tuple(pack_request(Global("operator", "add"), 20, 22))
EXAMPLE_REPLY_BUFFERS = tuple(pack_object(42))
EXAMPLE_REPLY_METADATA = {
    "started": _DATE,
    "dependencies_met": True,
    "engine": _UUID,
    "is_broadcast": False,
    "is_coalescing": False,
    "original_msg_id": "",
    "label": None,
    "status": "ok",
}
EXECUTED = {"status": "ok", "execution_count": 1, "payload": [], "user_expressions": {}}
_TASK = {
    "after": ["c11e0001-0a1b2c3d4e5f60718293a4b5_4242_1"],
    "follow": {
        "dependencies": ["c11e0001-0a1b2c3d4e5f60718293a4b5_4242_2"],
        "all": True,
        "success": True,
        "failure": False,
    },
    "timeout": 30.0,
    "targets": [_UUID],
    "retries": 1,
}
_TASK_CHANNELS = ("task", "resubmission")


def _request(name: str, content: type[Content], doc: str, **facts: Any) -> MessageType:
    base = name.removesuffix("_request")
    apply = base == "apply"
    return MessageType(
        **{
            "name": name,
            "family": "apply",
            "sender": ("client",),
            "receiver": ("engine",),
            "content": (content,),
            "doc": doc,
            "source": f"{_DOC}; {_MEASURED}",
            "dialects": MODERN,
            "replies": (f"{base}_reply",),
            "errors": ("reply",),
            "parent": "empty",
            "buffers": REQUEST_BUFFERS if apply else Buffers(),
            "example": {} if apply else {"code": "a = 6 * 7", "silent": True, "user_expressions": {}},
            "example_buffers": EXAMPLE_REQUEST_BUFFERS if apply else (),
            **facts,
        }
    )


def _reply(name: str, content: type[Content], doc: str, **facts: Any) -> MessageType:
    apply = name == "apply_reply"
    return MessageType(
        **{
            "name": name,
            "family": "apply",
            "sender": ("engine", "task-scheduler"),
            "receiver": ("client",),
            "content": (content, ErrorContent, AbortedContent),
            "doc": doc,
            "source": f"{_DOC}; {_MEASURED}",
            "dialects": MODERN,
            "parent": "request",
            "metadata": ReplyMetadata,
            "buffers": REPLY_BUFFERS if apply else Buffers(),
            "example": {"status": "ok"} if apply else EXECUTED,
            "example_metadata": EXAMPLE_REPLY_METADATA,
            "example_buffers": EXAMPLE_REPLY_BUFFERS if apply else (),
            **facts,
        }
    )


_OLD: dict[str, Any] = {
    "dialects": (OLD,),
    "metadata_in": "header",
    "lived": "IPython 0.11 to 0.13",
    "source": _HISTORY,
}
_OLD_REPLY = {key: EXAMPLE_REPLY_METADATA[key] for key in ("started", "dependencies_met", "engine", "status")}
_CALLS = "Calls a function on one engine, which is named by the identity before the delimiter."
_TASKS = "Calls a function on an engine that the task scheduler chooses."
_RETURNS = (
    "The result, or the error it ended with. Refusals of the task scheduler come under this name too, whatever was "
    "asked for, without metadata."
)

ROWS: tuple[MessageType, ...] = (
    _request(
        "apply_request", Empty, _CALLS, channels=("mux",), metadata=LabelMetadata, example_metadata={"label": None},
    ),
    _request(
        "apply_request", Empty, _TASKS, channels=_TASK_CHANNELS, metadata=TaskMetadata,
        example_metadata=_TASK | {"label": None},
    ),
    _request(
        "apply_request", Empty, f"{_CALLS} Or, on the task channel: {_TASKS[0].lower()}{_TASKS[1:]}",
        channels=("mux", *_TASK_CHANNELS, "kernel-shell"), metadata=TaskMetadataOld, example_metadata=_TASK, **_OLD,
    ),
    _reply("apply_reply", ApplyReply, _RETURNS, channels=("mux", *_TASK_CHANNELS)),
    _reply(
        "apply_reply", ApplyReply, _RETURNS, channels=("mux", *_TASK_CHANNELS, "kernel-shell"),
        example_metadata=_OLD_REPLY, **_OLD,
    ),
    _request(
        "execute_request", ExecuteRequest, "Runs code on one engine.", channels=("mux", "control", "warden-link"),
        metadata=LabelMetadata, example_metadata={"label": None}, source=_MEASURED,
    ),
    _request(
        "execute_request", ExecuteRequest, "Runs code on an engine that the task scheduler chooses.",
        channels=_TASK_CHANNELS, replies=("execute_reply", "apply_reply"),
        metadata=TaskMetadata, example_metadata={"retries": 0, "label": "setup"},
        source=_MEASURED,
    ),
    _request(
        "execute_request", ExecuteRequestOld, "Runs code on an engine.", channels=("mux", *_TASK_CHANNELS),
        replies=("execute_reply", "apply_reply"),
        metadata=TaskMetadataOld, **_OLD,
    ),
    _reply(
        "execute_reply", ExecuteReply, "How the run ended.", source=_MEASURED,
        channels=("mux", "control", "warden-link", *_TASK_CHANNELS),
    ),
    _reply(
        "execute_reply", ExecuteReplyOld, "How the run ended.", channels=("mux", *_TASK_CHANNELS),
        example_metadata=_OLD_REPLY, **_OLD,
    ),
    MessageType(
        name="apply_bound",
        family="apply",
        channels=("mux", "task"),
        sender=("client",),
        receiver=("engine",),
        content=(Empty,),
        doc="Was to call a function in the engine's own namespace. The key `bound` of apply_request took its place.",
        source=_DOC,
        dialects=(),
        buffers=REQUEST_BUFFERS,
        lived="named in the documents until 2012",
        example_buffers=EXAMPLE_REQUEST_BUFFERS,
    ),
)  # fmt: skip

"""Questions to the Hub about engines, queues and results, and its own end.

A request that the Hub's dispatcher cannot read is answered with `hub_error`; one that a handler refuses is answered in
the reply of its type. Records kept by the Hub are asked for with `history_request`, `db_request` and `result_request`,
forgotten with `purge_request` and run again with `resubmit_request`.

Source: IPython commit a2c57acba, docs/source/development/parallel_messages.txt, section "Client Queries".
"""

from typing import Annotated, Any, ClassVar, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from protocol.messages.base import (
    ALL,
    DOCUMENTED,
    NINE,
    OLD,
    Buffers,
    Content,
    Empty,
    ErrorContent,
    KeyedContent,
    MessageType,
    OkContent,
)

_DOC = "IPython commit a2c57acba, parallel_messages.txt, Client Queries"
_MEASURED = "measured on ipyparallel 9.2.0"

Targets = Annotated[
    int | str | list[int | str] | None, Meta(description="Engine ids or uuids; null for every engine there ever was.")
]
MessageIds = Annotated[list[str], Meta(description="msg_ids of requests.")]
#: The keys of replies that name engines; what stands beside them is an unknown key.
ENGINE_IDS = "[0-9]+"
Queue = Annotated[int | list[str], Meta(description="How many messages, or their msg_ids if asked verbosely.")]


class QueueRequest(Content, frozen=True, kw_only=True):
    """Whose queues to look into."""

    targets: Targets
    verbose: Annotated[bool, Meta(description="Whether to list the msg_ids instead of counting them.")] = False


class QueueCounts(Struct, frozen=True, kw_only=True):
    """What one engine has done and still has to do."""

    queue: Annotated[Queue, Meta(description="Sent through the MUX queue, result not yet seen.")]
    completed: Annotated[Queue, Meta(description="Finished, through whichever queue they came.")]
    tasks: Annotated[Queue, Meta(description="Assigned by the task scheduler, result not yet seen.")]


class QueueReply(KeyedContent, OkContent, frozen=True, kw_only=True, tag_field="status", tag="ok"):
    """Counts per engine id, and the tasks that no engine has got yet."""

    entry_type: ClassVar[Any] = QueueCounts
    entry_keys: ClassVar[str] = ENGINE_IDS
    unassigned: Annotated[Queue | UnsetType, Meta(description="Tasks not yet assigned; not in the documents.")] = UNSET


class LoadRequest(Content, frozen=True, kw_only=True):
    """Whose load is asked for."""

    targets: Targets


class LoadReply(KeyedContent, OkContent, frozen=True, kw_only=True, tag_field="status", tag="ok"):
    """Outstanding messages per engine id."""

    entry_type: ClassVar[Any] = int
    entry_keys: ClassVar[str] = ENGINE_IDS


class ResultRequest(Content, frozen=True, kw_only=True):
    """Which results, or only which of them are ready."""

    msg_ids: MessageIds
    status_only: Annotated[bool, Meta(description="Whether to leave the results out.")] = False


class ResultRequestDocumented(Content, frozen=True, kw_only=True):
    """The same under the documented key. ipyparallel 9.2 does not know it, and sends the results all the same."""

    msg_ids: MessageIds
    targets: Annotated[
        list[int | str] | int | str | UnsetType | None, Meta(description="Engines; nothing ever read it.")
    ] = UNSET
    statusonly: Annotated[bool, Meta(description="Whether to leave the results out.")] = False


class ResultRecord(Struct, frozen=True, kw_only=True):
    """One finished request. The documents call it the result message and show no keys, so none is demanded."""

    header: Annotated[dict[str, Any] | None, Meta(description="Header of the request.")] = None
    metadata: Annotated[dict[str, Any] | None, Meta(description="Metadata of the request.")] = None
    result_metadata: Annotated[dict[str, Any] | None, Meta(description="Metadata of the reply.")] = None
    result_header: Annotated[dict[str, Any] | None, Meta(description="Header of the reply.")] = None
    result_content: Annotated[dict[str, Any] | str | None, Meta(description="Content of the reply.")] = None
    received: Annotated[Any, Meta(description="When the reply came, ISO 8601.")] = None
    io: Annotated[
        dict[str, Any] | None,
        Meta(description="What was published: execute_input, execute_result, error, stdout, stderr."),
    ] = None


class ResultReply(KeyedContent, OkContent, frozen=True, kw_only=True, tag_field="status", tag="ok"):
    """Which requests are finished, and the records of those, keyed by msg_id."""

    entry_type: ClassVar[Any] = ResultRecord
    pending: Annotated[list[str], Meta(description="msg_ids that are not finished.")]
    completed: Annotated[list[str], Meta(description="msg_ids that are.")]


class HistoryReply(OkContent, frozen=True, kw_only=True):
    """Every request the Hub remembers."""

    history: Annotated[list[str], Meta(description="msg_ids in the order of submission.")]


class DbRequest(Content, frozen=True, kw_only=True):
    """Which records, in the query language of MongoDB."""

    query: Annotated[
        dict[str, Any], Meta(description="Conditions, field -> value or {operator: value}; all if empty.")
    ] = field(default_factory=dict)
    keys: Annotated[
        list[str] | UnsetType | None,
        Meta(description="Fields wanted; null for all but the buffers. msg_id always comes."),
    ] = UNSET


class DbReply(OkContent, frozen=True, kw_only=True):
    """The records found; their buffers are the buffers of this message."""

    records: Annotated[list[dict[str, Any]], Meta(description="One dictionary per record.")]
    buffer_lens: Annotated[list[int] | None, Meta(description="Request buffers of each record; null if not asked for.")]
    result_buffer_lens: Annotated[list[int] | None, Meta(description="Result buffers of each; null if not asked for.")]


class PurgeRequest(Content, frozen=True, kw_only=True):
    """What to forget: single messages, everything finished on some engines, or everything finished."""

    msg_ids: Annotated[list[str] | Literal["all"], Meta(description="msg_ids, or 'all' finished ones.")] = field(
        default_factory=list
    )
    engine_ids: Annotated[list[int], Meta(description="Engines whose finished messages are dropped.")] = field(
        default_factory=list
    )


class ResubmitRequest(Content, frozen=True, kw_only=True):
    """What to run again."""

    msg_ids: MessageIds


class ResubmitReply(OkContent, frozen=True, kw_only=True):
    """The new msg_ids; results are asked for under them."""

    resubmitted: Annotated[dict[str, str], Meta(description="Old msg_id -> new msg_id.")]


class BecomeDaskRequest(Content, frozen=True, kw_only=True):
    """How the Hub shall start a dask scheduler."""

    scheduler_args: Annotated[dict[str, Any], Meta(description="Keyword arguments of the scheduler.")] = field(
        default_factory=dict
    )


class BecomeDaskReply(OkContent, frozen=True, kw_only=True):
    """Where the dask scheduler listens."""

    ip: Annotated[str, Meta(description="Its host.")]
    address: Annotated[str, Meta(description="Its address, such as tcp://10.0.0.1:8786.")]
    port: Annotated[int, Meta(description="Its port.")]


_FIRST = "c11e0001-0a1b2c3d4e5f60718293a4b5_4242_1"
_SECOND = "c11e0001-0a1b2c3d4e5f60718293a4b5_4242_2"
_ENGINE = "e7a3b1c0-5d2f4a6b8c0d1e2f3a4b5c6d"
_DATE = "2026-01-05T12:00:00.000000Z"
_RECORD = {
    "header": {"msg_id": _FIRST, "msg_type": "apply_request", "date": _DATE, "version": "5.4"},
    "metadata": {},
    "result_metadata": {"status": "ok", "engine": _ENGINE, "started": _DATE},
    "result_header": {"msg_id": f"{_ENGINE}_4300_7", "msg_type": "apply_reply", "date": _DATE, "version": "5.4"},
    "result_content": {"status": "ok"},
    "received": _DATE,
    "io": {"execute_input": None, "execute_result": None, "error": None, "stdout": "", "stderr": ""},
}


def _request(
    name: str,
    content: type[Content],
    doc: str,
    source: str,
    dialects: tuple[str, ...] = ALL,
    sender: tuple[str, ...] = ("client",),
    **more: Any,
) -> MessageType:
    return MessageType(
        name=name,
        family="query",
        channels=("query",),
        sender=sender,
        receiver=("hub",),
        content=(content,),
        doc=doc,
        source=source,
        dialects=dialects,
        replies=(name.replace("_request", "_reply"),),
        errors=("reply", "hub_error"),
        parent="empty",
        **more,
    )


def _reply(
    name: str, content: type[Content], doc: str, source: str, dialects: tuple[str, ...] = ALL, **more: Any
) -> MessageType:
    return MessageType(
        name=name,
        family="query",
        channels=("query",),
        sender=("hub",),
        receiver=("client",),
        content=(content, ErrorContent),
        doc=doc,
        source=source,
        dialects=dialects,
        parent="request",
        **more,
    )


class PurgeReply(OkContent, frozen=True):
    """Done."""


class ShutdownReply(OkContent, frozen=True):
    """The Hub is about to end."""


class StopDistributedReply(OkContent, frozen=True):
    """No dask scheduler runs any more."""


ROWS: tuple[MessageType, ...] = (
    _request(
        "queue_request",
        QueueRequest,
        "Asks what waits for engines and what they have finished.",
        _DOC,
        example={"targets": [0, 1], "verbose": True},
    ),
    _reply(
        "queue_reply",
        QueueReply,
        "Counts or msg_ids per engine; keys are engine ids as strings, because JSON has no other keys.",
        f"{_DOC}; {_MEASURED}",
        example={
            "status": "ok",
            "0": {"queue": [_SECOND], "completed": [_FIRST], "tasks": []},
            "1": {"queue": [], "completed": [], "tasks": []},
            "unassigned": [],
        },
    ),
    _request(
        "load_request",
        LoadRequest,
        "Asks how many messages are outstanding on engines. No released client sends it.",
        "read from the source of ipyparallel 9.2.0",
        example={"targets": None},
    ),
    _reply(
        "load_reply",
        LoadReply,
        "Outstanding messages per engine.",
        "read from the source of ipyparallel 9.2.0",
        example={"status": "ok", "0": 2, "1": 0},
    ),
    _request(
        "result_request",
        ResultRequest,
        "Asks for results by msg_id, whoever submitted them.",
        f"{_DOC}; {_MEASURED}",
        (OLD, NINE),
        example={"msg_ids": [_FIRST, _SECOND], "status_only": False},
    ),
    _request(
        "result_request",
        ResultRequestDocumented,
        "Asks for results by msg_id, whoever submitted them.",
        _DOC,
        (DOCUMENTED,),
        example={"msg_ids": [_FIRST, _SECOND], "targets": [0], "statusonly": False},
    ),
    _reply(
        "result_reply",
        ResultReply,
        "What is finished and what is not. The result buffers come in the order of the sorted msg_ids.",
        f"{_DOC}; {_MEASURED}",
        buffers=Buffers(0, None, "the result buffers of the finished requests, sorted by msg_id"),
        example={"status": "ok", "pending": [_SECOND], "completed": [_FIRST], _FIRST: _RECORD},
        example_buffers=(b"\x80\x04K\x2a.",),
    ),
    _request("history_request", Empty, "Asks for the msg_ids of all records.", _MEASURED),
    _reply(
        "history_reply",
        HistoryReply,
        "All msg_ids, the oldest submission first.",
        _MEASURED,
        example={"status": "ok", "history": [_FIRST, _SECOND]},
    ),
    _request(
        "db_request",
        DbRequest,
        "Searches the records.",
        _MEASURED,
        example={"query": {"engine_uuid": _ENGINE, "completed": {"$ne": None}}, "keys": ["msg_id", "result_buffers"]},
    ),
    _reply(
        "db_reply",
        DbReply,
        "The records that match. Buffers travel as buffers, per record those of the request and then of the result.",
        _MEASURED,
        buffers=Buffers(0, None, "per record its request buffers, then its result buffers, as far as asked for"),
        example={
            "status": "ok",
            "records": [{"msg_id": _FIRST}],
            "buffer_lens": None,
            "result_buffer_lens": [1],
        },
        example_buffers=(b"\x80\x04K\x2a.",),
    ),
    _request(
        "purge_request",
        PurgeRequest,
        "Tells the Hub to forget finished messages.",
        _DOC,
        example={"msg_ids": [_FIRST], "engine_ids": [0]},
    ),
    _reply(
        "purge_reply", PurgeReply, "Forgotten, or why not: a message is still pending.", _DOC, example={"status": "ok"}
    ),
    _request(
        "resubmit_request",
        ResubmitRequest,
        "Runs requests again through the task queue, under new msg_ids.",
        _MEASURED,
        example={"msg_ids": [_FIRST]},
    ),
    _reply(
        "resubmit_reply",
        ResubmitReply,
        "The new msg_ids. The results come to the Hub; a client polls `result_request`.",
        _MEASURED,
        example={"status": "ok", "resubmitted": {_FIRST: "4b000001-112233445566778899aabbcc_4100_9"}},
    ),
    _request(
        "shutdown_request",
        Empty,
        "Ends the Hub and the schedulers. Engines are not told: they are shut down through the control queue first.",
        _MEASURED,
    ),
    _reply("shutdown_reply", ShutdownReply, "The Hub is about to end.", _MEASURED, example={"status": "ok"}),
    _request(
        "become_dask_request",
        BecomeDaskRequest,
        "Starts a dask scheduler inside the Hub.",
        _MEASURED,
        (NINE,),
        example={"scheduler_args": {}},
    ),
    _reply(
        "become_dask_reply",
        BecomeDaskReply,
        "Where the dask scheduler listens.",
        "read from the source of ipyparallel 9.2.0",
        (NINE,),
        example={"status": "ok", "ip": "127.0.0.1", "address": "tcp://127.0.0.1:8786", "port": 8786},
    ),
    _request("stop_distributed_request", Empty, "Ends the dask scheduler, if one runs.", _MEASURED, (NINE,)),
    _reply(
        "stop_distributed_reply",
        StopDistributedReply,
        "None runs any more.",
        _MEASURED,
        (NINE,),
        example={"status": "ok"},
    ),
    MessageType(
        name="hub_error",
        family="query",
        channels=("query",),
        sender=("hub",),
        receiver=("client", "engine", "task-scheduler", "broadcast-scheduler", "warden"),
        content=(ErrorContent,),
        doc="A request that the Hub could not read, or of a type it does not know.",
        source=_MEASURED,
        dialects=ALL,
        parent="request",
        example={
            "status": "error",
            "ename": "KeyError",
            "evalue": "\"Bad Message Type: 'x'\"",
            "traceback": ["KeyError: \"Bad Message Type: 'x'\""],
            "engine_info": {},
        },
    ),
)

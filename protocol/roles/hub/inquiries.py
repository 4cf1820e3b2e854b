"""What clients ask the Hub: each request in two halves, around a look into the records.

`prepare` reads the request and says which records it needs; `conclude` makes the reply of what was found. In between
the store looks, and other clients are served. A request that cannot be read is answered with `hub_error`, one that is
refused in the reply of its type; either way it has changed nothing.

Source: IPython commit a2c57acba, parallel_messages.txt, "Client Queries"; measured on ipyparallel 9.2.0.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from protocol.messages import Content
from protocol.messages.query import DbRequest, LoadRequest, PurgeRequest, QueueRequest, ResubmitRequest, ResultRequest
from protocol.roles.base import Effect, Send, Store
from protocol.roles.hub.engines import Engines
from protocol.roles.hub.traffic import Traffic
from protocol.roles.matching import QueryError, predicate
from protocol.roles.records import BUFFERS, FIELDS, PLAIN, Record, new_record, normal_query
from protocol.roles.speech import Voice
from protocol.wire import UNREADABLE, Frame, Json, Message

Query = Mapping[str, Any]
Kind = TypeVar("Kind", bound=Content)


class Unreadable(Exception):
    """A request that does not fit its type."""


class Refused(Exception):
    """A request that was understood and is not carried out. `ename` goes into the reply."""

    def __init__(self, ename: str, text: str) -> None:
        self.ename = ename
        super().__init__(text)


class Look(NamedTuple):
    """The records that a request needs: (query, fields) each; `kept` is what the second half has to know."""

    queries: tuple[tuple[Query, Sequence[str]], ...]
    kept: tuple[Any, ...] = ()


class Answer(NamedTuple):
    """A reply, and what is done before it is sent."""

    content: Json
    buffers: Sequence[Frame] = ()
    effects: tuple[Effect, ...] = ()


Found = Sequence[Sequence[Record]]

_RESULT: Final = ("header", "metadata", "result_metadata", "result_header", "result_content", "received")
_IO: Final = ("execute_input", "execute_result", "error", "stdout", "stderr")
_AGAIN: Final = ("msg_id", "header", "metadata", "content", "buffers", "client_uuid", "engine_uuid", "label")


def read(content: Json | None, kind: type[Kind]) -> Kind:
    """The typed content of a request. Raises Unreadable."""
    if content is None:
        raise Unreadable("the content is no object")
    try:
        return msgspec.convert(content, kind)
    except (*UNREADABLE, TypeError, KeyError) as problem:
        # msgspec names the field and the types, and no value.
        raise Unreadable(str(problem)) from None


class Inquiries:
    """Reads requests and makes replies. It holds no state of its own."""

    def __init__(self, engines: Engines, traffic: Traffic, voice: Voice) -> None:
        self.engines = engines
        self.traffic = traffic
        self.voice = voice

    def prepare(self, message: Message, content: Json | None) -> Look | Answer:
        """The first half. Raises Unreadable and Refused; KeyError for a type that is no inquiry."""
        return INQUIRIES[message.msg_type][0](self, content)

    def conclude(self, now: int, message: Message, kept: tuple[Any, ...], found: Found) -> Answer:
        """The second half; the sequence of records of each query, in their order. Raises Refused."""
        return INQUIRIES[message.msg_type][1](self, now, kept, found)

    # -- queues and loads ----------------------------------------------------------------------------------------------

    def _targets(self, targets: int | str | list[int | str] | None) -> tuple[tuple[int, str], ...]:
        """Numbers and names of the engines meant; null means the live ones, others may be asked for by number."""
        if targets is None:
            return tuple((engine.id, engine.uuid) for engine in self.engines.live())
        asked = targets if isinstance(targets, list) else [targets]
        if not asked:
            raise Refused("IndexError", "No Engines Registered")
        found = [self.engines.uuid_of(target) for target in asked]
        unknown = [target for target, engine in zip(asked, found, strict=True) if engine is None]
        if unknown:
            raise Refused("IndexError", f"No Such Engine: {unknown!r:.200}")
        return tuple(dict.fromkeys(engine for engine in found if engine is not None))

    def _queue(self, content: Json | None) -> Look:
        asked = read(content, QueueRequest)
        targets = self._targets(asked.targets)
        on_them = {"engine_uuid": {"$in": [uuid for _, uuid in targets]}}
        done = {"completed": {"$ne": None}, "result_metadata.status": {"$ne": "aborted"}}
        waiting = {"queue": "task", "engine_uuid": None, "completed": None}
        return Look(
            (
                ({**on_them, "completed": None}, ("msg_id", "engine_uuid", "queue")),
                ({**on_them, **done}, ("msg_id", "engine_uuid")),
                (waiting, ("msg_id",)),
            ),
            (targets, asked.verbose),
        )

    def _queue_reply(self, now: int, kept: tuple[Any, ...], found: Found) -> Answer:  # noqa: ARG002
        targets, is_verbose = kept
        told: Callable[[list[str]], Any] = list if is_verbose else len
        queue = _Grouped(record for record in found[0] if record.get("queue") == "mux")
        tasks = _Grouped(record for record in found[0] if record.get("queue") == "task")
        completed = _Grouped(found[1])
        content: Json = {"status": "ok"}
        for number, uuid in targets:
            content[str(number)] = {
                "queue": told(self._of(number, queue.of(uuid))),
                "completed": told(completed.of(uuid)),
                "tasks": told(self._of(number, tasks.of(uuid))),
            }
        return Answer(content | {"unassigned": told(list(_by_id(found[2])))})

    def _load(self, content: Json | None) -> Look:
        targets = self._targets(read(content, LoadRequest).targets)
        uuids = [uuid for _, uuid in targets]
        outstanding = {"engine_uuid": {"$in": uuids}, "completed": None, "queue": {"$in": ["mux", "task"]}}
        return Look(((outstanding, ("msg_id", "engine_uuid")),), (targets,))

    def _load_reply(self, now: int, kept: tuple[Any, ...], found: Found) -> Answer:  # noqa: ARG002
        loads = _Grouped(found[0])
        return Answer(
            {"status": "ok"} | {str(number): len(self._of(number, loads.of(uuid))) for number, uuid in kept[0]}
        )

    def _of(self, number: int, open_ids: list[str]) -> list[str]:
        """Of the open messages that went to this name those that did not go to another engine that had it."""
        return [msg_id for msg_id in open_ids if self.traffic.owners.get(msg_id, number) == number]

    # -- results, history, database ------------------------------------------------------------------------------------

    def _result(self, content: Json | None) -> Look:
        asked = read(content, ResultRequest)
        # The flag has two names: one in the documents, another in what everybody sends.
        is_status = asked.status_only or (content or {}).get("statusonly") is True
        msg_ids = tuple(dict.fromkeys(asked.msg_ids))
        keys = ("msg_id", "completed") if is_status else ("msg_id", "completed", *_RESULT, *_IO, "result_buffers")
        return Look((({"msg_id": {"$in": list(msg_ids)}}, keys),), (msg_ids, is_status))

    def _result_reply(self, now: int, kept: tuple[Any, ...], found: Found) -> Answer:  # noqa: ARG002
        msg_ids, is_status = kept
        records = _by_id(found[0])
        unknown = [msg_id for msg_id in msg_ids if msg_id not in records]
        if unknown:
            raise Refused("KeyError", f"No such message: {unknown[0]:.200}")
        completed = [msg_id for msg_id in msg_ids if records[msg_id].get("completed") is not None]
        done = set(completed)
        content: Json = {
            "status": "ok",
            "pending": [msg_id for msg_id in msg_ids if msg_id not in done],
            "completed": completed,
        }
        if is_status:
            return Answer(content)
        buffers: list[Frame] = []
        for msg_id in sorted(completed):
            record = records[msg_id]
            entry = {key: record.get(key) for key in _RESULT}
            # The fixed keys are not a client's to use as ids, and no session makes such ids.
            content.setdefault(msg_id, entry | {"io": {key: record.get(key) for key in _IO}})
            buffers += record.get("result_buffers") or ()
        return Answer(content, buffers)

    def _history(self, content: Json | None) -> Look:  # noqa: ARG002 - nothing in it is needed
        return Look((({}, ("msg_id",)),))

    def _history_reply(self, now: int, kept: tuple[Any, ...], found: Found) -> Answer:  # noqa: ARG002
        return Answer({"status": "ok", "history": list(_by_id(found[0]))})

    def _db(self, content: Json | None) -> Look:
        asked = read(content, DbRequest)
        keys = tuple(PLAIN) if not isinstance(asked.keys, list) else tuple(dict.fromkeys(("msg_id", *asked.keys)))
        unknown = [key for key in keys if key not in FIELDS]
        if unknown:
            raise Refused("KeyError", f"records have no field {unknown[0]!r:.200}")
        query = normal_query(asked.query)
        try:
            predicate(query)
        except QueryError as problem:
            raise Refused("QueryError", f"{problem!s:.400}") from None
        return Look(((query, keys),), (keys,))

    def _db_reply(self, now: int, kept: tuple[Any, ...], found: Found) -> Answer:  # noqa: ARG002
        (keys,) = kept
        wanted = [field for field in BUFFERS if field in keys]
        lengths: dict[str, list[int]] = {field: [] for field in wanted}
        buffers: list[Frame] = []
        for record in found[0]:
            for field in wanted:
                frames = record.get(field) or ()
                lengths[field].append(len(frames))
                buffers += frames
        records = [{key: record.get(key) for key in keys if key not in BUFFERS} for record in found[0]]
        content = {
            "status": "ok",
            "records": records,
            "buffer_lens": lengths.get("buffers"),
            "result_buffer_lens": lengths.get("result_buffers"),
        }
        return Answer(content, buffers)

    # -- what changes the records --------------------------------------------------------------------------------------

    def _purge(self, content: Json | None) -> Look | Answer:
        asked = read(content, PurgeRequest)
        done = {"completed": {"$ne": None}}
        if asked.msg_ids == "all":
            return Answer({"status": "ok"}, effects=(Store("drop_matching", (done,)),))
        uuids: list[str] = []
        for number in asked.engine_ids:
            engine = self.engines.uuid_of(number)
            if engine is None:
                raise Refused("IndexError", f"No such engine: {number}")
            uuids.append(engine[1])
        msg_ids = tuple(dict.fromkeys(asked.msg_ids))
        return Look((({"msg_id": {"$in": list(msg_ids)}}, ("msg_id", "completed")),), (msg_ids, tuple(uuids)))

    def _purge_reply(self, now: int, kept: tuple[Any, ...], found: Found) -> Answer:  # noqa: ARG002
        msg_ids, uuids = kept
        records = _by_id(found[0])
        for msg_id in msg_ids:
            if msg_id not in records:
                raise Refused("KeyError", f"No such message: {msg_id:.200}")
            if records[msg_id].get("completed") is None:
                raise Refused("IndexError", f"msg pending: {msg_id!r:.200}")
        done = {"completed": {"$ne": None}}
        effects: list[Effect] = []
        if msg_ids:
            effects.append(Store("drop_matching", ({"msg_id": {"$in": list(msg_ids)}, **done},)))
        if uuids:
            effects.append(Store("drop_matching", ({"engine_uuid": {"$in": list(uuids)}, **done},)))
        return Answer({"status": "ok"}, effects=tuple(effects))

    def _resubmit(self, content: Json | None) -> Look:
        msg_ids = tuple(dict.fromkeys(read(content, ResubmitRequest).msg_ids))
        return Look((({"msg_id": {"$in": list(msg_ids)}}, _AGAIN),), (msg_ids,))

    def _resubmit_reply(self, now: int, kept: tuple[Any, ...], found: Found) -> Answer:
        (msg_ids,) = kept
        records = _by_id([record for record in found[0] if isinstance(record.get("header"), dict)])
        unknown = [msg_id for msg_id in msg_ids if msg_id not in records]
        if unknown:
            raise Refused("KeyError", f"No such msg(s): {unknown!r:.200}")
        resubmitted: dict[str, str] = {}
        effects: list[Effect] = []
        date = self.voice.env.date(now)
        for msg_id in msg_ids:
            again = resubmitted[msg_id] = self.voice.env.fresh_id()
            effects += self._submit_again(records[msg_id], again, date)
            effects.append(Store("update_record", (msg_id, {"resubmitted": again})))
        return Answer({"status": "ok", "resubmitted": resubmitted}, effects=tuple(effects))

    def _submit_again(self, record: Record, msg_id: str, date: str) -> list[Effect]:
        """The same request under another id, into the task queue and, so that it can be asked about, the records."""
        header = record["header"] | {"msg_id": msg_id, "date": date}
        metadata = record.get("metadata") or {}
        if metadata.get("is_broadcast"):
            # Its targets have another form than those of a task; where it ran, it runs again.
            uuid = record.get("engine_uuid")
            metadata = {"targets": [uuid]} if isinstance(uuid, str) else {}
        content = record.get("content") or {}
        buffers = record.get("buffers") or ()
        known = new_record(
            msg_id,
            header=header,
            metadata=metadata,
            content=content,
            buffers=buffers,
            submitted=date,
            client_uuid=record.get("client_uuid"),
            queue="task",
            label=record.get("label"),
        )
        message = Message(header, metadata=metadata, content=content, buffers=buffers)
        return [*self.traffic.opens(known), Send("resubmit", message)]


class _Grouped:
    """Message ids by the name of an engine."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._ids: dict[str, list[str]] = {}
        for record in records:
            msg_id, uuid = record.get("msg_id"), record.get("engine_uuid")
            if isinstance(msg_id, str) and isinstance(uuid, str):
                self._ids.setdefault(uuid, []).append(msg_id)

    def of(self, uuid: str) -> list[str]:
        return self._ids.get(uuid, [])


def _by_id(records: Sequence[Record]) -> dict[str, Record]:
    return {msg_id: record for record in records if isinstance(msg_id := record.get("msg_id"), str)}


Prepare = Callable[[Inquiries, Json | None], Look | Answer]
Conclude = Callable[[Inquiries, int, tuple[Any, ...], Found], Answer]

#: Message type -> its two halves.
INQUIRIES: Final[Mapping[str, tuple[Prepare, Conclude]]] = {
    "queue_request": (Inquiries._queue, Inquiries._queue_reply),
    "load_request": (Inquiries._load, Inquiries._load_reply),
    "result_request": (Inquiries._result, Inquiries._result_reply),
    "history_request": (Inquiries._history, Inquiries._history_reply),
    "db_request": (Inquiries._db, Inquiries._db_reply),
    "purge_request": (Inquiries._purge, Inquiries._purge_reply),
    "resubmit_request": (Inquiries._resubmit, Inquiries._resubmit_reply),
}

"""What passes the queues, as the Hub's monitor socket shows it, into records.

Each message of the queues comes with a prefix that tells queue and direction (`protocol.channels.PREFIXES`). A request
opens a record, a result completes it, and output is added to it. Copies of one queue come in their order, those of
different queues in any: output may arrive before the request that printed it, and is kept until that comes.

A request to an engine through the MUX queue is lost with the engine, and nobody but the Hub can say so: once the grace
time has passed, its record is completed with an EngineError. What becomes of tasks is the scheduler's to tell.

Source: IPython commit a2c57acba, parallel_messages.txt, "The Hub" and "Schedulers"; measured on ipyparallel 9.2.0.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from protocol.roles.base import NOTHING, Effect, Note, Store, made
from protocol.roles.freezing import freeze_value, thaw_value
from protocol.roles.hub.engines import Engine, Engines
from protocol.roles.records import STREAMS, Record, new_record, normal_date, size_of
from protocol.roles.speech import Voice, content_of, error, metadata_of, parent_id
from protocol.wire import Json, Message

Effects = tuple[Effect, ...]

#: Output whose request was not seen yet: of so many messages, and so many bytes in all.
EARLY_MESSAGES: Final = 256
EARLY_BYTES: Final = 1 << 20

#: Who stands in for the engine where stranded messages belong to none that has a number.
LOST: Final = -1


class Traffic:
    """Records of requests and results, and what is still open. `notes` adds facts about both."""

    def __init__(self, engines: Engines, voice: Voice, *, notes: bool = False) -> None:
        self.engines = engines
        self.voice = voice
        self.notes = notes
        #: Messages without a result, and for those sent through the MUX queue the engine they went to.
        self.open: dict[str, str | None] = {}
        #: The number of the engine that an open message went to: one that came back under its name is another.
        self.owners: dict[str, int] = {}
        #: By number of an engine that is gone: its uuid, and its messages that wait for the end of the grace time.
        self.stranded: dict[int, tuple[str, list[str]]] = {}
        #: Fields and values that were published for messages not seen yet, the oldest first.
        self.early: dict[str, list[tuple[str, Any]]] = {}
        self.early_size = 0

    def take(self, now: int, prefix: bytes, message: Message) -> Effects:
        """One message of the queues into the records."""
        method = _BY_PREFIX.get(prefix)
        return NOTHING if method is None else method(self, now, message)

    # -- requests ------------------------------------------------------------------------------------------------------

    def _mux_request(self, now: int, message: Message) -> Effects:
        uuid = _name(message, 1)
        number = self._number_of(uuid)
        if number is None:
            self.voice.env.mark("hub.request-to-nobody")
            return NOTHING
        if number in self.stranded:
            self.voice.env.mark("hub.request-to-the-dead")
            self.stranded[number][1].append(message.msg_id)
        if message.msg_id not in self.open:
            self.owners[message.msg_id] = number
        return self._opened(now, message, queue="mux", engine_uuid=uuid)

    def _number_of(self, uuid: str) -> int | None:
        """Who has this name now, or had it last: the copy of a message may come after the news of its engine's end."""
        engine = self.engines.by_uuid.get(uuid)
        if engine is not None and engine.is_live:
            return engine.id
        return max((number for number, (gone, _) in self.stranded.items() if uuid and gone == uuid), default=None)

    def _task_request(self, now: int, message: Message) -> Effects:
        return self._opened(now, message, queue="task", engine_uuid=None)

    def _broadcast_request(self, now: int, message: Message) -> Effects:
        metadata = metadata_of(message) or {}
        if metadata.get("is_coalescing") is not True and isinstance(metadata.get("targets"), list):
            targets = [each[0] for each in metadata["targets"] if isinstance(each, list) and each]
            uuids = dict.fromkeys(each for each in targets if isinstance(each, str))
            if uuids:
                # Each target answers for itself, under an id that every client can work out.
                return tuple(
                    effect
                    for uuid in uuids
                    for effect in self._opened(
                        now, message, msg_id=f"{message.msg_id}_{uuid}", queue=None, engine_uuid=uuid
                    )
                )
        return self._opened(now, message, queue=None, engine_uuid=None)

    def _opened(
        self, now: int, message: Message, *, queue: str | None, engine_uuid: str | None, msg_id: str = ""
    ) -> Effects:
        header = message.header
        if msg_id:
            header = header | {"msg_id": msg_id}
        else:
            msg_id = message.msg_id
        if msg_id in self.open:
            self.voice.env.mark("hub.request-repeated")
            return NOTHING
        metadata = metadata_of(message) or {}
        client = header.get("session")
        record = new_record(
            msg_id,
            header=header,
            metadata=metadata,
            content=content_of(message),
            buffers=message.buffers,
            submitted=normal_date(header.get("date")) or self.voice.env.date(now),
            client_uuid=client if isinstance(client, str) else None,
            engine_uuid=engine_uuid,
            queue=queue,
            label=metadata.get("label"),
        )
        if msg_id in self.early:
            self.voice.env.mark("hub.output-before-request")
            for field, value in self._forget_early(msg_id):
                record[field] = record[field] + value if field in STREAMS else value
        return self.opens(record, engine_uuid if queue == "mux" else None)

    def opens(self, record: Record, mux_engine: str | None = None) -> Effects:
        """Take up a record of a message that has no result yet."""
        self.open[record["msg_id"]] = mux_engine
        stored = made(Store, ("add_record", (record,)))
        return (stored, Note("hub-open", {"msg_id": record["msg_id"]})) if self.notes else (stored,)

    # -- results -------------------------------------------------------------------------------------------------------

    def _mux_result(self, now: int, message: Message) -> Effects:
        return self._completed(now, message, parent_id(message), {})

    def _task_result(self, now: int, message: Message) -> Effects:
        # A result that the scheduler made itself names no engine; with the scheme `pure` only the engine names itself.
        uuid = _name(message, 2) or (metadata_of(message) or {}).get("engine")
        changes = {"engine_uuid": uuid} if uuid and isinstance(uuid, str) else {}
        return self._completed(now, message, parent_id(message), changes)

    def _broadcast_result(self, now: int, message: Message) -> Effects:
        metadata = metadata_of(message) or {}
        original = metadata.get("original_msg_id")
        if metadata.get("is_coalescing") is True and isinstance(original, str):
            return self._completed(now, message, original, {})
        uuid, msg_id = metadata.get("engine"), parent_id(message)
        if isinstance(uuid, str):
            return self._completed(now, message, msg_id, {"engine_uuid": uuid})
        if msg_id in self.open or not msg_id:
            return self._completed(now, message, msg_id, {})
        # The scheduler refused the request, and so all targets.
        refused = [each for each in self.open if each.startswith(f"{msg_id}_")]
        return tuple(effect for each in refused for effect in self._completed(now, message, each, {}))

    def _completed(self, now: int, message: Message, msg_id: str, changes: Json) -> Effects:
        if msg_id not in self.open:
            # Its record may be there all the same, from before a restart; if it is completed, this changes nothing.
            self.voice.env.mark("hub.result-unexpected")
            if not msg_id:
                return NOTHING
        self.open.pop(msg_id, None)
        self.owners.pop(msg_id, None)
        metadata = metadata_of(message) or {}
        received = self.voice.env.date(now)
        changes |= {
            "result_header": message.header,
            "result_metadata": metadata,
            "result_content": content_of(message),
            "result_buffers": message.buffers,
            "started": normal_date(metadata.get("started")),
            "completed": normal_date(message.header.get("date")) or received,
            "received": received,
        }
        return self._closed(msg_id, changes)

    def _closed(self, msg_id: str, changes: Json) -> Effects:
        stored = made(Store, ("update_open", (msg_id, changes)))
        return (stored, Note("hub-completed", {"msg_id": msg_id})) if self.notes else (stored,)

    def _destination(self, now: int, message: Message) -> Effects:  # noqa: ARG002 - as all methods of the table
        content = content_of(message) or {}
        msg_id, uuid = content.get("msg_id"), content.get("engine_id")
        if message.msg_type != "task_destination" or not isinstance(msg_id, str) or not isinstance(uuid, str):
            return NOTHING
        number = self._number_of(uuid)
        if number is not None and msg_id in self.open:
            self.owners[msg_id] = number
        return (made(Store, ("update_open", (msg_id, {"engine_uuid": uuid}))),)

    # -- output --------------------------------------------------------------------------------------------------------

    def _output(self, now: int, message: Message) -> Effects:  # noqa: ARG002 - as all methods of the table
        read = _PUBLISHED.get(message.msg_type)
        msg_id = "" if read is None else parent_id(message)
        if read is None or not msg_id:
            return NOTHING
        content = content_of(message)
        field, value = ("", None) if content is None else read(content)
        if not field:
            return NOTHING
        if msg_id not in self.open:
            # Of a coalesced broadcast the engines know only ids of the schedulers, which end in their own names.
            original = msg_id.removesuffix(f"_{message.header.get('session')}")
            if original in self.open:
                msg_id = original
            else:
                self._keep_early(msg_id, field, value)
        if field in STREAMS:
            return (Store("append_output", (msg_id, field, value)),)
        return (Store("update_record", (msg_id, {field: value})),)

    def _keep_early(self, msg_id: str, field: str, value: Any) -> None:
        self.early.setdefault(msg_id, []).append((field, value))
        self.early_size += size_of({field: value})
        while len(self.early) > EARLY_MESSAGES or self.early_size > EARLY_BYTES:
            self._forget_early(next(iter(self.early)))

    def _forget_early(self, msg_id: str) -> list[tuple[str, Any]]:
        kept = self.early.pop(msg_id)
        self.early_size -= sum(size_of({field: value}) for field, value in kept)
        return kept

    # -- engines that are gone -----------------------------------------------------------------------------------------

    def strand(self, engine: Engine) -> None:
        """Note what was open on an engine that is gone: its grace time begins."""
        self.stranded[engine.id] = (
            engine.uuid,
            [msg_id for msg_id, uuid in self.open.items() if uuid == engine.uuid],
        )

    def give_up(self, now: int, number: int) -> Effects:
        """The grace time of an engine has passed: what is still open on it will have no other result."""
        uuid, msg_ids = self.stranded.pop(number, ("", []))
        return tuple(effect for msg_id in msg_ids for effect in self._fail(now, number, uuid, msg_id))

    def _fail(self, now: int, number: int, uuid: str, msg_id: str) -> Effects:
        if msg_id not in self.open:
            self.voice.env.mark("hub.late-result-in-time")
            return NOTHING
        engine_uuid = uuid or self.open[msg_id]
        del self.open[msg_id]
        self.owners.pop(msg_id, None)
        if number != LOST:
            text = f"Engine {number} died while running task {msg_id!r}"
        elif engine_uuid is not None:
            text = f"Engine {engine_uuid!r} died while running task {msg_id!r}"
        else:
            text = f"The task scheduler ended while it had task {msg_id!r}"
        date = self.voice.env.date(now)
        made = self.voice.say(now, "apply_reply")
        metadata = {"status": "error", "engine": engine_uuid} if engine_uuid is not None else {"status": "error"}
        changes = {
            "result_header": made.header | {"engine": engine_uuid},
            "result_metadata": metadata,
            "result_content": error("EngineError", text),
            "result_buffers": (),
            "completed": date,
            "received": date,
        }
        return self._closed(msg_id, changes)

    def reopen(self, records: Iterable[Mapping[str, Any]], *, has_new_scheduler: bool) -> bool:
        """Take up what was open before a restart; whether some of it can have no result any more."""
        lost: list[str] = []
        for record in records:
            msg_id, uuid, is_mux = record.get("msg_id"), record.get("engine_uuid"), record.get("queue") == "mux"
            if not isinstance(msg_id, str) or msg_id in self.open:
                continue
            self.open[msg_id] = engine = uuid if is_mux and isinstance(uuid, str) else None
            is_known = engine in self.engines.by_uuid if is_mux else not has_new_scheduler
            if not is_known:
                lost.append(msg_id)
        if lost:
            self.voice.env.mark("hub.lost-over-restart")
            self.stranded[LOST] = ("", lost)
        return bool(lost)

    def freeze(self) -> tuple[Any, ...]:
        """The state as plain tuples."""
        return (
            tuple(self.open.items()),
            tuple(self.owners.items()),
            tuple((number, uuid, tuple(msg_ids)) for number, (uuid, msg_ids) in self.stranded.items()),
            tuple(
                (msg_id, tuple((field, freeze_value(value)) for field, value in kept))
                for msg_id, kept in self.early.items()
            ),
            self.early_size,
        )

    def thaw(self, frozen: tuple[Any, ...]) -> None:
        """Take up a state that `freeze` gave."""
        opened, owners, stranded, early, self.early_size = frozen
        self.open, self.owners = dict(opened), dict(owners)
        self.stranded = {number: (uuid, list(msg_ids)) for number, uuid, msg_ids in stranded}
        self.early = {msg_id: [(field, thaw_value(value)) for field, value in kept] for msg_id, kept in early}


def _name(message: Message, place: int) -> str:
    """The identity at a place before the delimiter, as the name of an engine; empty if there is none."""
    identities = message.identities
    return identities[place].decode("ascii", "replace") if len(identities) > place else ""


# -- what is published, and the field of its record ------------------------------------------------------------------


def _stream(content: Json) -> tuple[str, Any]:
    name, text = content.get("name"), content.get("text")
    return (name, text) if name in STREAMS and isinstance(text, str) and isinstance(name, str) else ("", None)


def _input(content: Json) -> tuple[str, Any]:
    code = content.get("code")
    return ("execute_input", code) if isinstance(code, str) else ("", None)


_PUBLISHED: Final[Mapping[str, Callable[[Json], tuple[str, Any]]]] = {
    "stream": _stream,
    "error": lambda content: ("error", content),
    "execute_input": _input,
    "execute_result": lambda content: ("execute_result", content),
}

_BY_PREFIX: Final[Mapping[bytes, Callable[[Traffic, int, Message], Effects]]] = {
    b"in": Traffic._mux_request,
    b"out": Traffic._mux_result,
    b"intask": Traffic._task_request,
    b"outtask": Traffic._task_result,
    b"tracktask": Traffic._destination,
    b"inbcast": Traffic._broadcast_request,
    b"outbcast": Traffic._broadcast_result,
    b"iopub": Traffic._output,
}

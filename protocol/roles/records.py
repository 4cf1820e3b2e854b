"""What the Hub remembers of requests and results: one record per message, behind one small interface.

The Hub writes with `Store(operation, arguments)` and reads with `Query(token, operation, arguments)`: an operation is a
method of `Records`. Every store answers the same; they differ in what they survive and how much they hold. This module
has the interface, what stores share, and the store in memory; those on disk are in `conformance.reference.storage`.

A record has 23 fields, see `FIELDS`. Times are texts in one form, `2026-01-05T12:00:00.000000Z`, so that their order is
that of time. A record is *open* until its field `completed` is set: its message is pending.

Source: ipyparallel documentation, "IPython's Task Database"; the fields were measured on ipyparallel 9.2.0.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from protocol.roles.matching import predicate

Record = Mapping[str, Any]

FIELDS: Final = (
    "msg_id", "header", "metadata", "content", "buffers", "submitted", "client_uuid", "engine_uuid", "started",
    "completed", "resubmitted", "received", "result_header", "result_metadata", "result_content", "result_buffers",
    "queue", "execute_input", "execute_result", "error", "stdout", "stderr", "label",
)  # fmt: skip
#: Fields that travel as buffers: sequences of frames, null before there is a result.
BUFFERS: Final = ("buffers", "result_buffers")
#: Texts that grow while the engine prints.
STREAMS: Final = ("stdout", "stderr")
DATES: Final = ("submitted", "started", "completed", "received")
#: What a record is shown with when nobody said which fields.
PLAIN: Final = tuple(field for field in FIELDS if field not in BUFFERS)

_EMPTY: Final[dict[str, Any]] = {field: "" if field in STREAMS else None for field in FIELDS}

#: Limits of the store in memory, and the share of its records that goes when one is exceeded.
RECORDS: Final = 1024
BYTES: Final = 1 << 30
CULLED: Final = 0.1
#: What a record is taken to cost besides its contents, in bytes.
_OVERHEAD: Final = 2048


class StoreError(Exception):
    """A store could not do what it was asked; the text is for people, without passwords."""


class Records(Protocol):
    """A store of records. What it is told of a message that it has no record of, it ignores."""

    def add_record(self, record: Record) -> None:
        """Take up a whole record. A message that is on record keeps the one it has."""

    def update_record(self, msg_id: str, changes: Record) -> None:
        """Set fields of a record, be it open or completed."""

    def update_open(self, msg_id: str, changes: Record) -> None:
        """Set fields of a record that is still open. A result sets `completed`, and only the first one counts."""

    def append_output(self, msg_id: str, stream: str, text: str) -> None:
        """Append to `stdout` or `stderr` of a record, be it open or completed."""

    def drop_matching(self, query: Mapping[str, Any]) -> None:
        """Forget the records that a query selects."""

    def find(self, query: Mapping[str, Any], keys: Sequence[str]) -> list[Record]:
        """These fields of the records that a query selects, in the order of submission.

        Among those submitted at the same moment, in the order in which they were added. What was written before is
        durable when this returns. Raises `matching.QueryError`, and StoreError as every operation may.
        """

    def flush(self) -> None:
        """Make durable what was written; a shell calls it at least every `FLUSH_PERIOD`, and before it ends."""

    def close(self) -> None:
        """Flush, and let go of files and connections."""


#: Nanoseconds after which what was written is made durable. What is twice as old must be, so a shell may be a bit late.
FLUSH_PERIOD: Final = 50_000_000


def new_record(msg_id: str, **fields: Any) -> dict[str, Any]:
    """A record with all its fields: those given, and null (for streams an empty text) in the others."""
    return _EMPTY | {"msg_id": msg_id} | fields


def normal_date(date: object) -> str | None:
    """A moment in the form of records, or None for what is no date in ISO 8601. Without a zone it is taken as UTC."""
    if not isinstance(date, str):
        return None
    try:
        moment = datetime.fromisoformat(date)
        if len(date) == 27 and date[10] == "T" and date[19] == "." and date[26] == "Z":
            return date
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    except (ValueError, OverflowError):
        return None


def normal_query(query: Mapping[str, Any]) -> dict[str, Any]:
    """The query with its moments in the form of records, however the client writes them."""
    return {key: _dated_condition(value) if key in DATES else value for key, value in query.items()}


def _dated_condition(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: operand if name == "$glob" else _dated(operand) for name, operand in value.items()}
    return _dated(value)


def _dated(value: Any) -> Any:
    if isinstance(value, list):
        return [normal_date(each) or each for each in value]
    return normal_date(value) or value


class Narrowed(NamedTuple):
    """What a query demands of fields that hold one text or null: enough for an index, never too much.

    `among` gives per field the values of which it must have one; None stands for null.
    """

    among: Mapping[str, tuple[str | None, ...]]
    not_null: tuple[str, ...]
    #: Whether this is all that the query demands.
    is_all: bool


#: Fields in which only a text or null stands, so that a store on disk can search them itself.
TEXTS: Final = ("msg_id", "client_uuid", "engine_uuid", "resubmitted", "queue", *DATES)


def narrowed(query: Mapping[str, Any]) -> Narrowed:
    """The part of a query that a store can leave to its index; what it finds still goes through the matcher."""
    among: dict[str, tuple[str | None, ...]] = {}
    not_null: list[str] = []
    is_all = True
    for key, value in query.items():
        values: list[Any] | None = None
        if key in TEXTS:
            if isinstance(value, dict) and len(value) == 1:
                ((name, operand),) = value.items()
                if name == "$ne" and operand is None:
                    not_null.append(key)
                    continue
                values = operand if name == "$in" and isinstance(operand, list) else None
                values = [operand] if name == "$eq" else values
            elif not isinstance(value, dict):
                values = [value]
        if values is not None and all(each is None or isinstance(each, str) for each in values):
            among[key] = tuple(dict.fromkeys(values))
        else:
            is_all = False
    return Narrowed(among, tuple(not_null), is_all)


def size_of(fields: Record) -> int:
    """About how many bytes some fields of a record hold."""
    size = 0
    for name, value in fields.items():
        if value.__class__ is str:
            size += len(value)
        elif value:
            if name in BUFFERS:
                for buffer in value:
                    size += len(buffer) if buffer.__class__ is bytes else memoryview(buffer).nbytes
            else:
                size += len(_encode(value))
    return size


_encode: Final = msgspec.json.Encoder().encode


class _Kept:
    """One record in memory. Streams are lists of pieces: engines print many short texts."""

    __slots__ = ("done", "fields", "number", "size", "streams")

    def __init__(self, number: int, record: Record) -> None:
        self.number = number
        self.done = 0
        self.fields = dict(record)
        #: The bytes that it holds, about, once it is completed: nobody asks before.
        self.size = 0
        self.streams: dict[str, list[str]] = {}

    def whole(self) -> dict[str, Any]:
        if self.streams:
            for stream, pieces in self.streams.items():
                self.fields[stream] = "".join((self.fields[stream], *pieces))
            self.streams = {}
        return self.fields


class MemoryRecords:
    """Records in memory, those that are completed bounded by their number and by their bytes.

    When a limit is exceeded the tenth that was completed first is dropped. An open one is never dropped, for its result
    is still to come, and does not count: however many are open, a result that has just come is there for who asks.
    """

    def __init__(self, max_records: int = RECORDS, max_bytes: int = BYTES) -> None:
        self.max_records = max_records
        self.max_bytes = max_bytes
        #: The bytes of those that are completed.
        self.size = 0
        self._ends = 0
        self._completed = 0
        self._records: dict[str, _Kept] = {}
        self._count = 0
        #: The completed ones, in that order; entries of records that are gone are passed over.
        self._done: deque[tuple[int, str]] = deque()

    def __len__(self) -> int:
        return len(self._records)

    def add_record(self, record: Record) -> None:
        """See `Records`."""
        msg_id = record["msg_id"]
        if msg_id in self._records:
            return
        self._count += 1
        kept = self._records[msg_id] = _Kept(self._count, record)
        if record["completed"] is not None:
            self._complete(kept)

    def update_record(self, msg_id: str, changes: Record) -> None:
        """See `Records`."""
        kept = self._records.get(msg_id)
        if kept is None:
            return
        fields = kept.whole()
        if fields["completed"] is None:
            fields.update(changes)
            if fields["completed"] is not None:
                self._complete(kept)
            return
        grown = size_of(changes) - size_of({name: fields[name] for name in changes})
        fields.update(changes)
        self._grow(kept, grown)

    def update_open(self, msg_id: str, changes: Record) -> None:
        """See `Records`."""
        kept = self._records.get(msg_id)
        if kept is not None and kept.fields["completed"] is None:
            self.update_record(msg_id, changes)

    def append_output(self, msg_id: str, stream: str, text: str) -> None:
        """See `Records`."""
        kept = self._records.get(msg_id)
        if kept is not None:
            kept.streams.setdefault(stream, []).append(text)
            if kept.fields["completed"] is not None:
                self._grow(kept, len(text))

    def drop_matching(self, query: Mapping[str, Any]) -> None:
        """See `Records`."""
        for kept in self._matching(query):
            self._drop(kept)
        # The queue may not grow with what is gone.
        if len(self._done) > 2 * len(self._records) + 64:
            self._done = deque(entry for entry in self._done if self._entered(entry) is not None)

    def find(self, query: Mapping[str, Any], keys: Sequence[str]) -> list[Record]:
        """See `Records`."""
        found = sorted(self._matching(query), key=lambda kept: (kept.fields["submitted"] or "", kept.number))
        return [{key: kept.fields[key] for key in keys} for kept in found]

    def flush(self) -> None:
        """Nothing is durable in memory."""

    def close(self) -> None:
        """Nothing is open."""

    def _matching(self, query: Mapping[str, Any]) -> list[_Kept]:
        fits = predicate(query)
        asked = narrowed(query)
        candidates: Iterable[_Kept] = self._records.values()
        if "msg_id" in asked.among:
            wanted = asked.among["msg_id"]
            candidates = [self._records[msg_id] for msg_id in wanted if msg_id is not None and msg_id in self._records]
        return [kept for kept in candidates if fits(kept.whole())]

    def _complete(self, kept: _Kept) -> None:
        self._ends += 1
        kept.done = self._ends
        self._done.append((kept.done, kept.fields["msg_id"]))
        self._completed += 1
        self._grow(kept, _OVERHEAD + size_of(kept.whole()))

    def _grow(self, kept: _Kept, size: int) -> None:
        kept.size += size
        self.size += size
        self._cull()

    def _cull(self) -> None:
        while self._done and (self._completed > self.max_records or self.size > self.max_bytes):
            count = max(1, int(self._completed * CULLED))
            while count and self._done:
                kept = self._entered(self._done.popleft())
                if kept is not None:
                    self._drop(kept)
                    count -= 1

    def _entered(self, entry: tuple[int, str]) -> _Kept | None:
        """The record of an entry of the queue, unless it was dropped (and perhaps another one added) since."""
        kept = self._records.get(entry[1])
        return kept if kept is not None and kept.done == entry[0] else None

    def _drop(self, kept: _Kept) -> None:
        del self._records[kept.fields["msg_id"]]
        self.size -= kept.size
        if kept.fields["completed"] is not None:
            self._completed -= 1

"""Records on a server of MongoDB, through pymongo (the extra `mongodb`).

Writes are collected and sent as one batch before a query is answered and at latest `FLUSH_PERIOD` after the first of
them: a hub that waited for the server at each message would be slow. A batch that could not be sent is kept and sent
again; every write in it may be repeated.

Fields in which only texts stand are fields of the documents, which the server searches; other fields are JSON in
binary, because documents of MongoDB hold neither every number nor every key that JSON has. What a query demands of
those is decided by the same matcher as everywhere. Buffers, output and what is large stand in collections of their own.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count, groupby
from operator import itemgetter
from time import monotonic_ns
from typing import Any, Final

import msgspec
from pymongo import DeleteMany, MongoClient, ReplaceOne, UpdateOne
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import PyMongoError

from conformance.reference.storage.blobs import cut, lengths, pieces
from conformance.reference.storage.selection import Selection, shares
from protocol.roles.records import BUFFERS, FIELDS, FLUSH_PERIOD, STREAMS, TEXTS, Record, StoreError
from protocol.wire import Frame

Document = dict[str, Any]

Write = UpdateOne | ReplaceOne[Document] | DeleteMany

#: A document may have 16 MiB; what is larger than a piece is kept outside of it.
PIECE: Final = 4 << 20
#: So many values of a list travel together, and so many messages are known to be on record without asking.
_MANY: Final = 10_000
_PATIENCE_MS: Final = 5_000

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode


def connect(address: str) -> "MongoRecords":
    """The records on the server at an address. Raises StoreError if it cannot be reached or understood."""
    # The address may hold a password: it appears in no text.
    try:
        client: MongoClient[Document] = MongoClient(address, serverSelectionTimeoutMS=_PATIENCE_MS)
    except PyMongoError as error:
        raise StoreError(f"the address of the MongoDB server is wrong: {type(error).__name__}") from error
    try:
        return MongoRecords(client.get_default_database("ippkit"))
    except StoreError as error:
        client.close()
        raise StoreError(f"the MongoDB server cannot be used: {type(error.__cause__).__name__}") from error


@contextmanager
def _plainly() -> Iterator[None]:
    try:
        yield
    except PyMongoError as error:
        raise StoreError(f"MongoDB: {error}") from error


class MongoRecords:
    """The store in a database of MongoDB. See `protocol.roles.records.Records`, also for its methods.

    The database belongs to one Hub at a time; its collections are `records`, `pieces` and `output`.
    """

    def __init__(self, database: Database[Document]) -> None:
        self._database = database
        self._records = database["records"]
        self._pieces = database["pieces"]
        self._output = database["output"]
        self._batch: list[tuple[str, Write]] = []
        self._first_write = 0
        #: Messages that are on record, as far as known without asking the server, the latest last.
        self._known: dict[str, None] = {}
        with _plainly():
            for field in ("number", "engine_uuid", "completed"):
                self._records.create_index(field)
            self._pieces.create_index("msg_id")
            self._output.create_index("msg_id")
            highest = max(map(_highest, (self._records, self._pieces, self._output)))
        self._numbers = count(highest + 1)

    def add_record(self, record: Record) -> None:
        """See `Records`."""
        msg_id = record["msg_id"]
        # A message that only the server knows keeps its record, too; its output must be kept apart from this one's.
        if msg_id in self._known or (any(record[stream] for stream in STREAMS) and self._is_known(msg_id)):
            return
        self._learn(msg_id)
        document = {"number": next(self._numbers)}
        document |= {field: self._outside(msg_id, field, record[field]) for field in FIELDS if field not in STREAMS}
        self._write("records", UpdateOne({"_id": msg_id}, {"$setOnInsert": document}, upsert=True))
        for stream in STREAMS:
            if record[stream]:
                self._print(msg_id, stream, record[stream])

    def update_record(self, msg_id: str, changes: Record) -> None:
        """See `Records`."""
        self._update({"_id": msg_id}, msg_id, changes)

    def update_open(self, msg_id: str, changes: Record) -> None:
        """See `Records`."""
        self._update({"_id": msg_id, "completed": None}, msg_id, changes)

    def append_output(self, msg_id: str, stream: str, text: str) -> None:
        """See `Records`."""
        if self._is_known(msg_id):
            self._print(msg_id, stream, text)

    def drop_matching(self, query: Mapping[str, Any]) -> None:
        """See `Records`."""
        self.flush()
        dropped = [document["_id"] for document in self._matching(query, ())]
        for msg_id in dropped:
            self._known.pop(msg_id, None)
        with _plainly():
            for share in shares(dropped, _MANY):
                self._records.delete_many({"_id": {"$in": share}})
                self._pieces.delete_many({"msg_id": {"$in": share}})
                self._output.delete_many({"msg_id": {"$in": share}})

    def find(self, query: Mapping[str, Any], keys: Sequence[str]) -> list[Record]:
        """See `Records`."""
        self.flush()
        found = self._matching(query, (*keys, "submitted"))
        found.sort(key=lambda record: (record["submitted"] or "", record["number"]))
        return [{key: record[key] for key in keys} for record in found]

    def flush(self) -> None:
        """See `Records`."""
        if not self._batch:
            return
        with _plainly():
            for name, group in groupby(self._batch, itemgetter(0)):
                self._database[name].bulk_write([write for _, write in group])
        self._batch = []

    def close(self) -> None:
        """See `Records`."""
        self.flush()
        self._database.client.close()

    # -- writing -------------------------------------------------------------------------------------------------------

    def _write(self, collection: str, write: Write) -> None:
        now = monotonic_ns()
        if not self._batch:
            self._first_write = now
        self._batch.append((collection, write))
        if now - self._first_write >= FLUSH_PERIOD:
            self.flush()

    def _update(self, where: Document, msg_id: str, changes: Record) -> None:
        if not self._is_known(msg_id):
            return
        kept = {field: self._outside(msg_id, field, changes[field]) for field in changes if field not in STREAMS}
        if kept:
            self._write("records", UpdateOne(where, {"$set": kept}))
        for stream in STREAMS:
            if stream in changes:
                self._write("output", DeleteMany({"msg_id": msg_id, "stream": stream}))
                self._print(msg_id, stream, changes[stream])

    def _print(self, msg_id: str, stream: str, text: str) -> None:
        size = PIECE // 4  # in characters, of at most four bytes
        for at in range(0, len(text), size):
            number = next(self._numbers)
            piece = {"number": number, "msg_id": msg_id, "stream": stream, "text": text[at : at + size]}
            self._write("output", ReplaceOne({"_id": number}, piece, upsert=True))

    def _outside(self, msg_id: str, field: str, value: Any) -> Any:
        """A field as its document holds it; what does not belong there is written beside it, before it."""
        if value is None or field in TEXTS:
            return value
        if field in BUFFERS:
            return {"lengths": lengths(value), "pieces": self._keep(msg_id, value)}
        encoded = _encode(value)
        return encoded if len(encoded) <= PIECE else {"pieces": self._keep(msg_id, [encoded])}

    def _keep(self, msg_id: str, frames: Sequence[Frame]) -> list[int]:
        numbers = []
        for data in pieces(frames, PIECE):
            number = next(self._numbers)
            piece = {"number": number, "msg_id": msg_id, "data": data}
            self._write("pieces", ReplaceOne({"_id": number}, piece, upsert=True))
            numbers.append(number)
        return numbers

    def _is_known(self, msg_id: str) -> bool:
        if msg_id in self._known:
            return True
        self.flush()
        with _plainly():
            is_there = self._records.find_one({"_id": msg_id}, {"_id": 1}) is not None
        if is_there:
            self._learn(msg_id)
        return is_there

    def _learn(self, msg_id: str) -> None:
        self._known[msg_id] = None
        if len(self._known) > _MANY:
            del self._known[next(iter(self._known))]

    # -- reading -------------------------------------------------------------------------------------------------------

    def _matching(self, query: Mapping[str, Any], keys: Sequence[str]) -> list[Document]:
        """The records that fit, with these fields, `_id` and `number`."""
        selection = Selection(query, keys, _MANY)
        not_null: Document = {field: {"$ne": None} for field in selection.not_null}
        found = []
        with _plainly():
            for question in selection.questions:
                where = not_null | {field: {"$in": list(among)} for field, among in question.items()}
                for document in self._records.find(where, dict.fromkeys(("number", *selection.fields), 1)):
                    record = {field: self._read(document, field) for field in selection.fields}
                    if selection.fits(record):
                        found.append(record | {"_id": document["_id"], "number": document["number"]})
        return found

    def _read(self, document: Document, field: str) -> Any:
        if field in STREAMS:
            printed = self._output.find({"msg_id": document["_id"], "stream": field}).sort("_id", 1)
            return "".join(piece["text"] for piece in printed)
        value = document[field]
        if value is None or field in TEXTS:
            return value
        if field in BUFFERS:
            return cut(self._joined(value["pieces"]), value["lengths"])
        return _decode(b"".join(self._joined(value["pieces"])) if isinstance(value, dict) else value)

    def _joined(self, numbers: list[int]) -> Iterator[bytes]:
        for piece in self._pieces.find({"_id": {"$in": numbers}}).sort("_id", 1) if numbers else ():
            yield piece["data"]


def _highest(collection: Collection[Document]) -> int:
    found = list(collection.find({}, {"number": 1}).sort("number", -1).limit(1))
    return int(found[0]["number"]) if found else 0

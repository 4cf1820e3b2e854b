"""Records in a file of SQLite.

Writes are collected in a transaction, which is committed before a query is answered and at latest `FLUSH_PERIOD` after
its first write; with a write-ahead log what was committed survives the death of the process at any moment. The file
is locked for as long as it is open: two Hubs cannot share one.

Fields in which only texts stand are columns that SQLite searches; other fields are JSON, and what a query demands of
them is decided by the same matcher as everywhere. Buffers are kept apart in pieces, output as the texts that came.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from time import monotonic_ns
from typing import Any, Final, TypeVar, cast

import msgspec

from conformance.reference.storage.blobs import cut, lengths, pieces
from conformance.reference.storage.selection import Selection
from protocol.roles.records import BUFFERS, FIELDS, FLUSH_PERIOD, STREAMS, TEXTS, Record, StoreError

#: Of the tables below; kept in the file, so that another layout is refused and not misread.
LAYOUT: Final = 1
PIECE: Final = 64 << 20
#: So many values stand in one statement.
_MANY: Final = 500

_COLUMNS: Final = ", ".join(f"{field} {'TEXT' if field in (*TEXTS, *STREAMS) else 'BLOB'}" for field in FIELDS)
_TABLES: Final = f"""
    CREATE TABLE records (number INTEGER PRIMARY KEY AUTOINCREMENT, {_COLUMNS}, UNIQUE (msg_id));
    CREATE INDEX by_engine ON records (engine_uuid, completed);
    CREATE INDEX by_submission ON records (submitted, number);
    CREATE INDEX still_open ON records (queue, engine_uuid) WHERE completed IS NULL;
    CREATE TABLE pieces (number INTEGER, field TEXT, place INTEGER, data BLOB, PRIMARY KEY (number, field, place));
    CREATE TABLE output (number INTEGER, stream TEXT, text TEXT);
    CREATE INDEX by_number ON output (number);
    PRAGMA user_version = {LAYOUT};
"""
_INSERT: Final = f"INSERT OR IGNORE INTO records ({', '.join(FIELDS)}) VALUES ({', '.join('?' * len(FIELDS))})"  # noqa: S608
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode

Method = TypeVar("Method", bound=Callable[..., Any])


def _plainly(method: Method) -> Method:
    """Errors of SQLite as one kind that every caller knows."""

    @wraps(method)
    def call(self: "SqliteRecords", *args: Any) -> Any:
        try:
            return method(self, *args)
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {error}") from error

    return cast(Method, call)


class SqliteRecords:
    """The store in a file. See `protocol.roles.records.Records`, also for its methods.

    Raises StoreError if the file cannot be opened, is no database of records, or is in use.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._first_write = 0
        try:
            # Requests and results are nobody else's business; SQLite's own files beside it follow its mode.
            path.touch(mode=0o600)
            self._db = sqlite3.connect(path, isolation_level=None, timeout=0, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise StoreError(f"{path}: {why}") from error
        try:
            self._prepare()
        except (sqlite3.Error, StoreError) as error:
            self._db.close()
            is_locked = isinstance(error, sqlite3.OperationalError) and "locked" in str(error)
            raise StoreError(f"{path}: {'in use by another controller' if is_locked else error}") from error

    def _prepare(self) -> None:
        execute = self._db.execute
        execute("PRAGMA locking_mode = EXCLUSIVE")
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = NORMAL")
        execute("BEGIN IMMEDIATE")
        (layout,) = execute("PRAGMA user_version").fetchone()
        if layout not in (0, LAYOUT):
            raise StoreError(f"has layout {layout} of another version; this one reads layout {LAYOUT}")
        if layout == 0:
            (tables,) = execute("SELECT count(*) FROM sqlite_master").fetchone()
            if tables:
                raise StoreError("is a database of something else")
            for statement in _TABLES.split(";"):
                execute(statement)
        execute("COMMIT")

    @_plainly
    def add_record(self, record: Record) -> None:
        """See `Records`."""
        self._begin()
        added = self._db.execute(_INSERT, [_written(field, record[field]) for field in FIELDS])
        if added.rowcount:
            self._keep_buffers(added.lastrowid, record)

    @_plainly
    def update_record(self, msg_id: str, changes: Record) -> None:
        """See `Records`."""
        self._update(msg_id, changes, "")

    @_plainly
    def update_open(self, msg_id: str, changes: Record) -> None:
        """See `Records`."""
        self._update(msg_id, changes, " AND completed IS NULL")

    @_plainly
    def append_output(self, msg_id: str, stream: str, text: str) -> None:
        """See `Records`."""
        self._begin()
        self._db.execute("INSERT INTO output SELECT number, ?, ? FROM records WHERE msg_id = ?", (stream, text, msg_id))

    @_plainly
    def drop_matching(self, query: Mapping[str, Any]) -> None:
        """See `Records`."""
        numbers = [(number,) for number, _ in self._matching(query, ())]
        self._begin()
        for table in ("records", "pieces", "output"):
            self._db.executemany(f"DELETE FROM {table} WHERE number = ?", numbers)  # noqa: S608

    @_plainly
    def find(self, query: Mapping[str, Any], keys: Sequence[str]) -> list[Record]:
        """See `Records`."""
        self.flush()
        found = sorted(self._matching(query, (*keys, "submitted")), key=_by_submission)
        return [{key: record[key] for key in keys} for _, record in found]

    @_plainly
    def flush(self) -> None:
        """See `Records`."""
        if self._db.in_transaction:
            self._db.execute("COMMIT")

    @_plainly
    def close(self) -> None:
        """See `Records`."""
        self.flush()
        self._db.close()

    def _begin(self) -> None:
        now = monotonic_ns()
        if self._db.in_transaction:
            if now - self._first_write < FLUSH_PERIOD:
                return
            self._db.execute("COMMIT")
        self._db.execute("BEGIN IMMEDIATE")
        self._first_write = now

    def _update(self, msg_id: str, changes: Record, condition: str) -> None:
        self._begin()
        places = ", ".join(f"{field} = ?" for field in changes)
        values = [_written(field, value) for field, value in changes.items()]
        row = self._db.execute(
            f"UPDATE records SET {places} WHERE msg_id = ?{condition} RETURNING number",  # noqa: S608
            (*values, msg_id),
        ).fetchone()
        if row is None:
            return
        for field in changes:
            if field in BUFFERS:
                self._db.execute("DELETE FROM pieces WHERE number = ? AND field = ?", (row[0], field))
            elif field in STREAMS:
                self._db.execute("DELETE FROM output WHERE number = ? AND stream = ?", (row[0], field))
        self._keep_buffers(row[0], changes)

    def _keep_buffers(self, number: int | None, fields: Record) -> None:
        for field in BUFFERS:
            buffers = fields.get(field)
            if buffers:
                self._db.executemany(
                    "INSERT INTO pieces VALUES (?, ?, ?, ?)",
                    ((number, field, place, data) for place, data in enumerate(pieces(buffers, PIECE))),
                )

    def _matching(self, query: Mapping[str, Any], keys: Sequence[str]) -> list[tuple[int, dict[str, Any]]]:
        """The numbers of the records that fit, with these fields of them."""
        selection = Selection(query, keys, _MANY)
        columns = ", ".join(("number", *selection.fields))
        found: list[tuple[int, dict[str, Any]]] = []
        for question in selection.questions:
            values: list[str] = []
            conditions = [f"{field} IS NOT NULL" for field in selection.not_null]
            conditions += [_among(field, among, values) for field, among in question.items()]
            where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
            for number, *row in self._db.execute(f"SELECT {columns} FROM records{where}", values).fetchall():  # noqa: S608
                read = zip(selection.fields, row, strict=True)
                record = {field: self._read(number, field, value) for field, value in read}
                if selection.fits(record):
                    found.append((number, record))
        return found

    def _read(self, number: int, field: str, value: Any) -> Any:
        if value is None or field in TEXTS:
            return value
        if field in STREAMS:
            more = self._db.execute(
                "SELECT text FROM output WHERE number = ? AND stream = ? ORDER BY rowid", (number, field)
            )
            return value + "".join(text for (text,) in more)
        if field in BUFFERS:
            data = self._db.execute(
                "SELECT data FROM pieces WHERE number = ? AND field = ? ORDER BY place", (number, field)
            )
            return cut((piece for (piece,) in data), _decode(value))
        return _decode(value)


def _by_submission(found: tuple[int, dict[str, Any]]) -> tuple[str, int]:
    return found[1]["submitted"] or "", found[0]


def _written(field: str, value: Any) -> Any:
    """A field as its column holds it."""
    if value is None or field in TEXTS or field in STREAMS:
        return value
    return _encode(lengths(value) if field in BUFFERS else value)


def _among(field: str, among: Sequence[str | None], values: list[str]) -> str:
    texts = [value for value in among if value is not None]
    values += texts
    condition = f"{field} IN ({', '.join('?' * len(texts))})"
    return f"({condition} OR {field} IS NULL)" if None in among else condition

"""The stores of records: the same answers from all of them, limits in memory, survival on disk."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mongomock
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from pymongo.errors import PyMongoError

from conformance.reference.storage import open_records
from conformance.reference.storage import sqlite as sqlite_store
from conformance.reference.storage.blobs import cut, lengths, pieces
from conformance.reference.storage.mongodb import MongoRecords
from conformance.reference.storage.sqlite import SqliteRecords
from protocol.roles.matching import QueryError, predicate
from protocol.roles.records import (
    BUFFERS,
    FIELDS,
    STREAMS,
    MemoryRecords,
    Records,
    StoreError,
    narrowed,
    new_record,
    normal_date,
    normal_query,
)

SERVER = os.environ.get("IPPKIT_MONGODB_URL")


class Bulk(mongomock.collection.BulkOperationBuilder):  # type: ignore[misc]
    """mongomock's, for a pymongo newer than it knows: that one names a sort order, which is none."""

    def add_update(self, *args: Any, sort: None = None, **options: Any) -> None:
        assert sort is None
        super().add_update(*args, **options)

    def add_replace(self, *args: Any, sort: None = None, **options: Any) -> None:
        assert sort is None
        super().add_replace(*args, **options)


@pytest.fixture(autouse=True)
def newer_pymongo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mongomock.collection, "BulkOperationBuilder", Bulk)


def date(second: int) -> str:
    return f"2026-01-05T12:00:{second:02d}.000000Z"


# -- the model ---------------------------------------------------------------------------------------------------------

IDS = st.sampled_from(["a", "b", "c", "d", "ü_1"])
ENGINES = st.sampled_from(["e1", "e2", None])
MOMENTS = st.sampled_from([date(1), date(2), date(3)])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["k", "l", "0", "a.b", "$x"]), inner),
    max_leaves=5,
)  # fmt: skip
OBJECTS = st.dictionaries(st.sampled_from(["k", "l", "0", "a.b", "$x"]), JSON, max_size=3)
FRAMES = st.lists(st.binary(max_size=40) | st.binary(max_size=5).map(memoryview), max_size=3).map(tuple)
TEXTS = st.sampled_from(["", "x", "line\n", "\0ü"])

REQUESTS = st.builds(
    new_record,
    IDS,
    header=OBJECTS,
    metadata=OBJECTS,
    content=st.none() | OBJECTS,
    buffers=FRAMES,
    submitted=MOMENTS,
    client_uuid=st.sampled_from(["c1", None]),
    engine_uuid=ENGINES,
    queue=st.sampled_from(["mux", "task", None]),
    label=JSON,
    stdout=TEXTS,
)
RESULTS = st.fixed_dictionaries(
    {"completed": MOMENTS},
    optional={
        "engine_uuid": ENGINES,
        "result_header": OBJECTS,
        "result_content": OBJECTS,
        "result_metadata": OBJECTS,
        "result_buffers": FRAMES,
        "received": MOMENTS,
        "started": MOMENTS,
    },
)
CHANGES = st.fixed_dictionaries(
    {"resubmitted": IDS}, optional={"error": OBJECTS, "execute_input": st.text(max_size=3), "stderr": TEXTS}
)
OPERANDS = JSON | IDS | ENGINES | MOMENTS
CONDITIONS = (
    OPERANDS.filter(lambda value: not isinstance(value, dict) or not any(key.startswith("$") for key in value))
    | st.dictionaries(st.sampled_from(["$eq", "$ne", "$lt", "$gt", "$lte", "$gte"]), OPERANDS, min_size=1, max_size=2)
    | st.dictionaries(st.sampled_from(["$in", "$nin", "$all"]), st.lists(OPERANDS, max_size=4), min_size=1, max_size=2)
    | st.fixed_dictionaries({"$exists": st.booleans()})
    | st.fixed_dictionaries({"$glob": st.sampled_from(["*", "e?", "[a-c]"])})
    | st.just({"$mod": [2, 1]})
)
KEYS = st.sampled_from(
    ["msg_id", "engine_uuid", "completed", "queue", "submitted", "resubmitted", "header.k", "label", "label.0",
     "stdout", "content.k.l", "nothing", "result_content", "label.k.k", "error"]
)  # fmt: skip
QUERIES = st.dictionaries(KEYS, CONDITIONS, max_size=3)


def plain(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with its buffers as bytes, so that two can be compared."""
    return {
        key: [bytes(each) for each in value] if key in BUFFERS and value is not None else value
        for key, value in record.items()
    }


class Stores(RuleBasedStateMachine):
    """Every store beside the model: a list of dictionaries."""

    def __init__(self) -> None:
        super().__init__()
        self.model: list[dict[str, Any]] = []
        self.stores: dict[str, Records] = {}

    @initialize()
    def begin(self) -> None:
        Stores.number = getattr(Stores, "number", 0) + 1
        self.path = Path(os.environ["IPPKIT_TEST_DIR"]) / f"{Stores.number}.sqlite"
        self.database: Any = mongomock.MongoClient()["ippkit"]
        self.stores = {
            "memory": MemoryRecords(),
            "sqlite": SqliteRecords(self.path),
            "mongomock": MongoRecords(self.database),
        }
        if SERVER:
            from pymongo import MongoClient

            self.server: Any = MongoClient(SERVER)[f"ippkit_test_{os.getpid()}_{Stores.number}"]
            self.stores["server"] = MongoRecords(self.server)

    def teardown(self) -> None:
        if SERVER and hasattr(self, "server"):
            self.server.client.drop_database(self.server.name)
        for store in self.stores.values():
            store.close()

    def one(self, msg_id: str) -> dict[str, Any] | None:
        return next((record for record in self.model if record["msg_id"] == msg_id), None)

    @rule(record=REQUESTS)
    def add(self, record: dict[str, Any]) -> None:
        if self.one(record["msg_id"]) is None:
            self.model.append(dict(record))
        for store in self.stores.values():
            store.add_record(record)

    @rule(msg_id=IDS, changes=CHANGES)
    def update(self, msg_id: str, changes: dict[str, Any]) -> None:
        record = self.one(msg_id)
        if record is not None:
            record.update(changes)
        for store in self.stores.values():
            store.update_record(msg_id, changes)

    @rule(msg_id=IDS, changes=RESULTS)
    def finish(self, msg_id: str, changes: dict[str, Any]) -> None:
        record = self.one(msg_id)
        if record is not None and record["completed"] is None:
            record.update(changes)
        for store in self.stores.values():
            store.update_open(msg_id, changes)

    @rule(msg_id=IDS, stream=st.sampled_from(STREAMS), text=TEXTS)
    def output(self, msg_id: str, stream: str, text: str) -> None:
        record = self.one(msg_id)
        if record is not None:
            record[stream] += text
        for store in self.stores.values():
            store.append_output(msg_id, stream, text)

    @rule(query=QUERIES)
    def drop(self, query: dict[str, Any]) -> None:
        fits = predicate(query)
        self.model = [record for record in self.model if not fits(record)]
        for store in self.stores.values():
            store.drop_matching(query)

    @rule(query=QUERIES, keys=st.lists(st.sampled_from(FIELDS), unique=True))
    def find(self, query: dict[str, Any], keys: list[str]) -> None:
        fits = predicate(query)
        found = sorted(filter(fits, self.model), key=lambda record: record["submitted"])
        wanted = [plain({key: record[key] for key in keys}) for record in found]
        for name, store in self.stores.items():
            assert [plain(record) for record in store.find(query, keys)] == wanted, name

    @rule()
    def restart(self) -> None:
        self.stores["sqlite"].close()
        self.stores["sqlite"] = SqliteRecords(self.path)
        self.stores["mongomock"].flush()
        self.stores["mongomock"] = MongoRecords(self.database)

    @invariant()
    def all_is_there(self) -> None:
        if self.stores:
            self.find({}, list(FIELDS))


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IPPKIT_TEST_DIR", str(tmp_path))
    return tmp_path


def test_all_stores_answer_the_same(directory: Path) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    quick = settings(max_examples=40, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Stores, settings=quick)
    assert list(directory.iterdir())


# -- the query language ------------------------------------------------------------------------------------------------

RECORD: dict[str, Any] = {
    "n": 7, "f": 2.5, "t": "text", "yes": True, "null": None, "list": [1, "two", None, [3]], "empty": [],
    "object": {"a": 1, "b": {"c": [{"d": 1}, {"d": 2}, 5]}}, "objects": [{"k": 1}, {"k": 2, "m": 3}],
}  # fmt: skip

FITTING: list[dict[str, Any]] = [
    {}, {"n": 7}, {"n": 7.0}, {"t": "text", "n": 7}, {"null": None}, {"nothing": None}, {"nothing.deeper": None},
    {"t.deeper": None}, {"list": "two"}, {"list": None}, {"list": [1, "two", None, [3]]}, {"list": [3]},
    {"object": {"b": {"c": [{"d": 1}, {"d": 2}, 5]}, "a": 1}}, {"object.a": 1}, {"object.b.c.d": 2},
    {"object.b.c.0.d": 1}, {"list.1": "two"}, {"objects.m": None}, {"objects": {"k": 1}}, {"empty": []},
    {"n": {"$eq": 7}}, {"n": {"$ne": 8}}, {"nothing": {"$ne": 1}}, {"n": {"$lt": 8}}, {"n": {"$lt": 7.5}},
    {"n": {"$lte": 7}}, {"n": {"$gt": 6}}, {"n": {"$gte": 7}}, {"n": {"$gt": 6, "$lt": 8}}, {"t": {"$gt": "s"}},
    {"yes": {"$gt": False}}, {"null": {"$gte": None}}, {"nothing": {"$lte": None}}, {"list": {"$gt": 0}},
    {"list": {"$gt": 0, "$lt": "z"}}, {"object": {"$gte": {"a": 1, "b": {"c": [{"d": 1}, {"d": 2}, 5]}}}},
    {"n": {"$in": [1, 7]}}, {"null": {"$in": [None]}}, {"nothing": {"$in": [None]}}, {"list": {"$in": ["two"]}},
    {"n": {"$nin": [1, 2]}}, {"n": {"$nin": []}}, {"nothing": {"$nin": [1]}}, {"list": {"$all": [1, "two"]}},
    {"n": {"$all": [7]}}, {"n": {"$mod": [4, 3]}}, {"n": {"$mod": [-4, 3]}}, {"f": {"$mod": [2, 0]}},
    {"list": {"$mod": [2, 1]}}, {"null": {"$exists": True}}, {"nothing": {"$exists": False}},
    {"object.b": {"$exists": 1}}, {"t": {"$glob": "te*"}}, {"t": {"$glob": "t??t"}}, {"list": {"$glob": "tw[aeo]"}},
]  # fmt: skip

UNFIT: list[dict[str, Any]] = [
    {"n": 8}, {"n": True}, {"yes": 1}, {"n": "7"}, {"t": "Text"}, {"n": None}, {"t": "text", "n": 8}, {"list": 3},
    {"list": [1]}, {"object": {"a": 1}}, {"object": {"a": 1, "b": {}}}, {"object.c": 1}, {"list.9": 1},
    {"n": {"$ne": 7}}, {"null": {"$ne": None}}, {"nothing": {"$ne": None}}, {"list": {"$ne": 1}}, {"n": {"$lt": 7}},
    {"n": {"$lt": "8"}}, {"t": {"$lt": 8}}, {"null": {"$lt": 8}}, {"null": {"$gt": None}}, {"yes": {"$gt": 0}},
    {"nothing": {"$gte": 0}}, {"object": {"$gt": {"a": 0}}}, {"n": {"$gt": 6, "$lt": 7}}, {"n": {"$in": []}},
    {"n": {"$in": [[7]]}}, {"n": {"$nin": [7]}}, {"nothing": {"$nin": [None]}}, {"list": {"$all": []}},
    {"list": {"$all": [1, 2]}}, {"n": {"$mod": [4, 1]}}, {"t": {"$mod": [2, 0]}}, {"yes": {"$mod": [2, 1]}},
    {"null": {"$exists": False}}, {"nothing": {"$exists": True}}, {"t": {"$glob": "T*"}}, {"n": {"$glob": "*"}},
]  # fmt: skip


@pytest.mark.parametrize("query", FITTING, ids=repr)
def test_a_query_selects_what_fits(query: dict[str, Any]) -> None:
    assert predicate(query)(RECORD)


@pytest.mark.parametrize("query", UNFIT, ids=repr)
def test_a_query_passes_over_what_does_not_fit(query: dict[str, Any]) -> None:
    assert not predicate(query)(RECORD)


if SERVER:
    #: Ours alone: shell patterns, and objects that are equal in any order and have none.
    OURS = ("$glob", "'b': {'c': [{'d': 1}, {'d': 2}, 5]}, 'a': 1", "{'$gt': {'a'")

    @pytest.mark.parametrize(("query", "fits"), [(q, True) for q in FITTING] + [(q, False) for q in UNFIT], ids=repr)
    def test_the_language_is_that_of_mongodb(query: dict[str, Any], fits: bool) -> None:
        if any(part in repr(query) for part in OURS):
            return
        from pymongo import MongoClient

        with MongoClient(SERVER) as client:  # type: ignore[var-annotated]
            collection = client[f"ippkit_test_{os.getpid()}"]["language"]
            collection.replace_one({"_id": 1}, {"_id": 1, **RECORD}, upsert=True)
            assert collection.count_documents(query) == fits
            client.drop_database(f"ippkit_test_{os.getpid()}")


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


BAD: list[Any] = [
    None, [], "text", {"n": {"$no_such": 1}}, {"$or": []}, {"$where": "1"}, {"n": {"$gt": 1, "x": 2}}, {"": 1},
    {"n": {"$in": 1}}, {"n": {"$nin": "text"}}, {"n": {"$all": {}}}, {"n": {"$mod": [0, 1]}}, {"n": {"$mod": [1]}},
    {"n": {"$mod": ["a", "b"]}}, {"n": {"$mod": 2}}, {"n": {"$glob": 1}}, {"n": deep(100)}, {"n": {"$eq": deep(100)}},
    {".".join("a" * 100): 1},
]  # fmt: skip


@pytest.mark.parametrize("query", BAD, ids=lambda query: repr(query)[:40])
def test_a_query_that_cannot_be_understood_is_refused(query: Any) -> None:
    with pytest.raises(QueryError, match=r"\w{3}"):
        predicate(query)


def test_a_refusal_names_the_operator_and_the_field() -> None:
    with pytest.raises(QueryError, match=r"unknown operator '\$nope' for 'queue'; there are \$eq"):
        predicate({"queue": {"$nope": 1}})


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("2026-01-05T12:00:00.000000Z", "2026-01-05T12:00:00.000000Z"),
        ("2026-01-05T12:00:00Z", "2026-01-05T12:00:00.000000Z"),
        ("2026-01-05T13:30:00.5+01:30", "2026-01-05T12:00:00.500000Z"),
        ("2026-01-05 12:00:00", "2026-01-05T12:00:00.000000Z"),
        ("0001-01-01T00:00:00+01:00", None),
        ("yesterday", None),
        (17, None),
    ],
)
def test_dates_have_one_form(written: object, normal: str | None) -> None:
    assert normal_date(written) == normal


def test_dates_of_a_query_are_put_into_that_form() -> None:
    query = {"submitted": {"$gte": "2026-01-05T13:00:00+01:00", "$in": ["2026-01-05T12:00:00Z", None]}, "label": "2026"}
    assert normal_query(query) == {"submitted": {"$gte": date(0), "$in": [date(0), None]}, "label": "2026"}


def test_narrowing_takes_only_what_an_index_can_decide() -> None:
    query = {"msg_id": {"$in": ["a", "b", "a"]}, "completed": {"$ne": None}, "engine_uuid": None}
    assert narrowed(query) == ({"msg_id": ("a", "b"), "engine_uuid": (None,)}, ("completed",), True)
    assert narrowed({"msg_id": {"$in": ["a", 1]}}) == ({}, (), False)
    assert narrowed({"header.k": "a", "queue": "mux"}) == ({"queue": ("mux",)}, (), False)


# -- the store in memory -----------------------------------------------------------------------------------------------


def fill(store: Records, count: int, done: bool = True, **fields: Any) -> None:
    for number in range(count):
        store.add_record(new_record(f"m{number:05d}", submitted=date(1), **fields))
        if done:
            store.update_open(f"m{number:05d}", {"completed": date(2)})


def ids(store: Records) -> list[str]:
    return [record["msg_id"] for record in store.find({}, ["msg_id"])]


def test_a_full_memory_drops_the_oldest_tenth() -> None:
    store = MemoryRecords(max_records=100)
    fill(store, 100)
    assert len(store) == 100
    fill(store, 101)
    assert ids(store) == [f"m{number:05d}" for number in range(10, 101)]


def test_open_records_are_never_dropped() -> None:
    store = MemoryRecords(max_records=20)
    fill(store, 50, done=False)
    assert len(store) == 50
    # Nor do they push out what has just been completed.
    store.update_open("m00049", {"completed": date(2)})
    assert "m00049" in ids(store)
    for number in range(21):
        store.update_open(f"m{number:05d}", {"completed": date(2)})
    # Those that were completed first are the first to go.
    assert len(store) == 48
    assert ids(store)[:2] == ["m00001", "m00002"]
    assert "m00049" not in ids(store)


def test_memory_is_bounded_by_bytes_too() -> None:
    store = MemoryRecords(max_bytes=1_000_000)
    fill(store, 100, buffers=(b"x" * 50_000,))
    assert store.size <= 1_000_000
    assert ids(store)[-1] == "m00099"
    store.append_output("m00099", "stdout", "y" * 1_000_000)
    assert store.size <= 1_000_000


def test_the_size_returns_to_nothing() -> None:
    store = MemoryRecords()
    fill(store, 50, buffers=(b"xyz",), content={"code": "1"})
    for number in range(50):
        store.append_output(f"m{number:05d}", "stdout", "text")
        store.update_record(f"m{number:05d}", {"error": {"ename": "E"}})
        store.update_record(f"m{number:05d}", {"error": None, "stdout": "other"})
    store.drop_matching({})
    assert (store.size, len(store)) == (0, 0)


def test_what_was_purged_and_added_again_is_not_dropped_for_its_past() -> None:
    store = MemoryRecords(max_records=10)
    fill(store, 10)
    store.drop_matching({"msg_id": "m00000"})
    for msg_id in ("m00000", "more", "most"):
        store.add_record(new_record(msg_id, submitted=date(3), completed=date(3)))
    assert "m00000" in ids(store)
    assert "m00001" not in ids(store)


def test_purges_leave_nothing_behind() -> None:
    store = MemoryRecords()
    for _ in range(20):
        fill(store, 100)
        store.drop_matching({"completed": {"$ne": None}})
    assert len(store._done) <= 64


# -- on disk -----------------------------------------------------------------------------------------------------------


def test_long_lists_of_ids_are_found(tmp_path: Path) -> None:
    store = SqliteRecords(tmp_path / "r.sqlite")
    fill(store, 1200, engine_uuid="e1")
    wanted = [f"m{number:05d}" for number in range(1200)]
    both = {"msg_id": {"$in": wanted}, "engine_uuid": {"$in": [f"e{number}" for number in range(600)]}}
    assert len(store.find(both, ["msg_id"])) == 1200
    store.drop_matching({"msg_id": {"$in": wanted[1:]}, "engine_uuid": "e1"})
    assert ids(store) == ["m00000"]
    store.close()


def test_large_buffers_are_kept_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_store, "PIECE", 10)
    store = SqliteRecords(tmp_path / "r.sqlite")
    buffers = (b"", b"abcdefghijklm", b"n" * 30, b"")
    store.add_record(new_record("a", buffers=buffers))
    assert store.find({}, ["buffers"]) == [{"buffers": buffers}]
    store.update_record("a", {"buffers": (b"short",), "result_buffers": ()})
    assert store.find({}, ["buffers", "result_buffers"]) == [{"buffers": (b"short",), "result_buffers": ()}]
    store.close()


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_buffers_survive_being_cut(size: int) -> None:
    buffers = (b"", b"abc", memoryview(b"defghij"), b"", b"k")
    found = list(pieces(buffers, size))
    assert all(0 < len(piece) <= size for piece in found)
    assert cut(found, lengths(buffers)) == tuple(map(bytes, buffers))


def test_two_controllers_cannot_share_a_file(tmp_path: Path) -> None:
    first = open_records(f"sqlite:{tmp_path / 'r.sqlite'}")
    with pytest.raises(StoreError, match="in use by another controller"):
        open_records(f"sqlite:{tmp_path / 'r.sqlite'}")
    first.close()
    open_records(f"sqlite:{tmp_path / 'r.sqlite'}").close()


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"no database at all, but long enough" * 10, "not a database"), (None, "No such file")],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, content: bytes | None, why: str) -> None:
    path = tmp_path / "r.sqlite"
    if content is None:
        path = tmp_path / "missing" / "r.sqlite"
    else:
        path.write_bytes(content)
    with pytest.raises(StoreError, match=why):
        SqliteRecords(path)


def test_nobody_else_may_read_the_file(tmp_path: Path) -> None:
    store = SqliteRecords(tmp_path / "r.sqlite")
    store.add_record(new_record("a"))
    store.flush()
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "r.sqlite": 0o600, "r.sqlite-wal": 0o600,
    }  # fmt: skip
    store.close()


def test_databases_of_others_are_refused(tmp_path: Path) -> None:
    import sqlite3
    from contextlib import closing

    for name, statement in (("other", "CREATE TABLE t (x)"), ("newer", "PRAGMA user_version = 99")):
        with closing(sqlite3.connect(tmp_path / name)) as database:
            database.execute(statement)
        with pytest.raises(StoreError, match=r"of something else|layout 99"):
            SqliteRecords(tmp_path / name)


@pytest.mark.parametrize("address", ["sqlite:", "file:x", "", "mongodb"])
def test_an_address_without_meaning_is_refused(address: str) -> None:
    with pytest.raises(StoreError, match=r"needs the path|no store"):
        open_records(address)


def test_what_a_server_did_not_take_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MongoRecords(mongomock.MongoClient()["ippkit"])
    store.add_record(new_record("kept", submitted="1", buffers=(b"x",)))
    with monkeypatch.context() as away:
        away.setattr(mongomock.collection.Collection, "bulk_write", gone)
        with pytest.raises(StoreError):
            store.find({}, ["msg_id"])
        with pytest.raises(StoreError):
            store.flush()
    assert store.find({}, ["msg_id", "buffers"]) == [{"msg_id": "kept", "buffers": (b"x",)}]


def gone(*_: object, **__: object) -> None:
    raise PyMongoError("nobody is there")


def test_without_pymongo_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "conformance.reference.storage.mongodb", raising=False)
    monkeypatch.setitem(sys.modules, "pymongo", None)
    with pytest.raises(StoreError, match="extra mongodb"):
        open_records("mongodb://127.0.0.1:1/records")


def test_a_server_that_is_not_there_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    from conformance.reference.storage import mongodb

    monkeypatch.setattr(mongodb, "_PATIENCE_MS", 50)
    with pytest.raises(StoreError, match="cannot be used") as refusal:
        open_records("mongodb://me:secret@127.0.0.1:1/records")
    assert "secret" not in str(refusal.value)


CHILD = """
import sys, time
from pathlib import Path
from conformance.reference.storage.sqlite import SqliteRecords
from protocol.roles.records import new_record

store = SqliteRecords(Path(sys.argv[1]))
store.add_record(new_record("shown", submitted="1", buffers=(b"x",)))
store.update_open("shown", {"completed": "2", "result_buffers": (b"y",)})
store.find({}, ["msg_id"])
written = []
begin = time.monotonic_ns()
now = begin
while now - begin < 300_000_000:
    now = time.monotonic_ns()
    store.add_record(new_record(f"m{len(written)}", submitted="1"))
    written.append(time.monotonic_ns())
# Old when the store was called for the last time: after that, a process that is held up can save nothing.
print(sum(1 for at in written if now - at >= 100_000_000), flush=True)
sys.stdin.read()
"""


def test_a_killed_hub_finds_again_what_it_had_shown_and_what_was_old_enough(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        old = int(child.stdout.readline())
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    store = SqliteRecords(path)
    (shown,) = store.find({"msg_id": "shown"}, ["completed", "buffers", "result_buffers"])
    assert shown == {"completed": "2", "buffers": (b"x",), "result_buffers": (b"y",)}
    found = set(ids(store))
    assert old > 0
    assert [number for number in range(old) if f"m{number}" not in found] == []
    store.close()

"""Which store an address means: `memory`, `memory:RECORDS`, `sqlite:PATH` or `mongodb://...`."""

from pathlib import Path

from protocol.roles.records import MemoryRecords, Records, StoreError


def check(address: str) -> None:
    """Raise StoreError, in one sentence, for an address that means no store."""
    scheme, separator, path = address.partition(":")
    if address == "memory" or (separator and scheme in ("mongodb", "mongodb+srv")):
        return
    if separator and scheme == "memory":
        if not path.isdecimal() or not int(path):
            raise StoreError(f"memory: takes the number of records to keep, not {path!r}")
    elif separator and scheme == "sqlite":
        if not path:
            raise StoreError("sqlite: needs the path of a file")
    else:
        raise StoreError(f"no store {scheme!r}: there are memory, memory:RECORDS, sqlite:PATH and mongodb://...")


def open_records(address: str) -> Records:
    """The store at an address. Raises StoreError, in one sentence, for an address or a store that cannot be used.

    Without a number the one in memory has its usual limit. A database that the address of a MongoDB server does not
    name is called `ippkit`.
    """
    # Each store is imported where it is asked for: pymongo is an extra, and a controller in memory needs neither.
    check(address)
    scheme, _, path = address.partition(":")
    if scheme == "memory":
        return MemoryRecords(int(path)) if path else MemoryRecords()
    if scheme == "sqlite":
        from conformance.reference.storage.sqlite import SqliteRecords

        return SqliteRecords(Path(path))
    try:
        from conformance.reference.storage.mongodb import connect
    except ModuleNotFoundError as error:
        raise StoreError("a store in MongoDB needs pymongo (pip install pymongo, or the extra mongodb)") from error

    return connect(address)

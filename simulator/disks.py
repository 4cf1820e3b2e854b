"""Records on a virtual disk: what was flushed survives a crash, and nothing else.

disk = Disk()
records = DiskRecords(disk)     # of one process; after its crash another one opens the same disk
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from protocol.roles.records import FIELDS, MemoryRecords, Record, StoreError
from simulator.rarity import never


class Disk:
    """What is durable, and the ways in which a disk fails."""

    def __init__(self) -> None:
        self.records: Final = MemoryRecords()
        #: What the next operations raise instead of being done: a full disk, a database that is gone.
        self.failure: str | None = None
        #: Called before what was written is made durable: a slow disk holds its process up.
        self.on_flush: Callable[[], object] | None = None


class DiskRecords:
    """The store of one process, in front of a disk: it sees all that it wrote, flushed or not."""

    def __init__(self, disk: Disk, rarely: Callable[[str], bool] = never) -> None:
        self.disk = disk
        self._rarely = rarely
        self._seen = MemoryRecords()
        for record in disk.records.find({}, FIELDS):
            self._seen.add_record(record)
        self._unflushed: list[tuple[str, tuple[Any, ...]]] = []

    def add_record(self, record: Record) -> None:
        """Take up a whole record."""
        self._do("add_record", record)

    def update_record(self, msg_id: str, changes: Record) -> None:
        """Set fields of a record."""
        self._do("update_record", msg_id, changes)

    def update_open(self, msg_id: str, changes: Record) -> None:
        """Set fields of a record that is still open."""
        self._do("update_open", msg_id, changes)

    def append_output(self, msg_id: str, stream: str, text: str) -> None:
        """Append to `stdout` or `stderr` of a record."""
        self._do("append_output", msg_id, stream, text)

    def drop_matching(self, query: Mapping[str, Any]) -> None:
        """Forget the records that a query selects."""
        self._do("drop_matching", query)

    def find(self, query: Mapping[str, Any], keys: Sequence[str]) -> list[Record]:
        """These fields of the records that a query selects."""
        self._check()
        return self._seen.find(query, keys)

    def flush(self) -> None:
        """Make durable what was written."""
        self._check()
        if self._unflushed and self.disk.on_flush is not None:
            self.disk.on_flush()
        for operation, arguments in self._unflushed:
            getattr(self.disk.records, operation)(*arguments)
        self._unflushed.clear()

    def close(self) -> None:
        """Flush."""
        self.flush()

    def _do(self, operation: str, *arguments: Any) -> None:
        self._check()
        getattr(self._seen, operation)(*arguments)
        self._unflushed.append((operation, arguments))
        if self._rarely("disk.writes-at-once"):
            self.flush()

    def _check(self) -> None:
        if self.disk.failure is not None:
            raise StoreError(self.disk.failure)


__all__ = ["Disk", "DiskRecords"]

"""Stores for the records of the Hub: SQLite in a file, MongoDB on a server. The one in memory is `MemoryRecords`.

`open_records` finds the store that an address names. Nothing here knows the protocol; what a store must do is said in
`protocol.roles.records`.
"""

from conformance.reference.storage.addresses import open_records

__all__ = ["open_records"]

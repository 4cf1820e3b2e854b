"""The database of a Hub on the disk of a simulated world: what was committed survives the process, and nothing else.

It is SQLite itself. What would be its file is an image among the files of the process, made anew by each commit: the
Hub that is started again opens that, and no file of this machine has to be taken away at the end.
"""

import sqlite3
from collections.abc import MutableMapping
from typing import Any


class Database(sqlite3.Connection):
    """A connection to the database with this name among the files of a process."""

    def __init__(self, files: MutableMapping[str, bytes], name: str, **options: Any) -> None:
        super().__init__(":memory:", **options)
        self._files, self._name = files, name
        if name in files:
            self.deserialize(files[name])

    def commit(self) -> None:
        """Make durable what was written."""
        super().commit()
        self._files[self._name] = self.serialize()


__all__ = ["Database"]

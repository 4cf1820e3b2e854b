"""The files that the kit reads: its own data, and the connection files of other people's clusters.

The kit's data (vectors, target descriptors, coverage rows) are shipped beside the code. In a checkout they stand in the
repository's own folders; the wheel carries them in `conformance/_data/`. `data` finds both, so no caller has to know.

A connection file holds the key with which everything is signed. So it is read only if nobody else could have read or
changed it, and no text made here ever contains its content.
"""

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from protocol.connection import ConnectionFile, ConnectionFileError, parse

_PACKAGE: Final = Path(__file__).resolve().parent
_SHIPPED: Final = _PACKAGE / "_data"

#: Larger than any connection file by orders of magnitude; a path to something else is noticed before it fills memory.
MAXIMUM_BYTES: Final = 1 << 20

F = TypeVar("F", bound=ConnectionFile)


def private(path: str, flags: int) -> int:
    """An `opener` for a file that nobody else may read, whether it was there before or not."""
    descriptor = os.open(path, flags, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor


def data(relative: str | os.PathLike[str]) -> Path:
    """Where a data file or folder of the kit is, such as `fixtures/targets/ipyparallel.toml`.

    `relative` is relative to the repository. The path need not exist: new vectors are written through this function
    too. Raises ValueError if it is absolute or leaves the repository.
    """
    path = Path(relative)
    if path.is_absolute() or path.drive or ".." in path.parts:
        raise ValueError(f"{str(relative)!r} is not a path inside the kit's data")
    return (_SHIPPED if _SHIPPED.is_dir() else _PACKAGE.parent) / path


@dataclass(frozen=True)
class FileOnDisk:
    """A connection file as it was found, however wrong it is.

    `mode` is its permission bits; `values` is empty if the content is no JSON object.
    """

    mode: int
    values: Mapping[str, object]


def look_at(path: str | os.PathLike[str]) -> FileOnDisk | None:
    """The connection file at `path` without any judgement, or None if there is none. For those who judge its writer."""
    try:
        with Path(path).open("rb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            content = stream.read(MAXIMUM_BYTES)
    except FileNotFoundError:
        return None
    try:
        values = json.loads(content)
    except ValueError:
        values = {}
    return FileOnDisk(mode, values if isinstance(values, dict) else {})


def read_connection_file(path: str | os.PathLike[str], kind: type[F]) -> F:
    """The connection file at `path`, of the kind that the caller expects.

    Raises ConnectionFileError, whose text names the file and says what to do about it, when the file is missing,
    half written, readable for others (POSIX only), no connection file of this kind, or inconsistent in itself.
    """
    file = Path(path)
    try:
        with open(file, "rb", opener=_opener) as stream:
            # The open file is asked, not the path: the path could name another file a moment later.
            found = os.fstat(stream.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ConnectionFileError.file(file, "a regular file", "something else")
            if os.name == "posix" and stat.S_IMODE(found.st_mode) & 0o177:
                mode = f"mode {stat.S_IMODE(found.st_mode):04o} (repair it with: chmod 600 {file})"
                raise ConnectionFileError.file(
                    file, "mode 0600, because it holds the key", mode, "connection.file-private"
                )
            content = stream.read(MAXIMUM_BYTES + 1)
    except FileNotFoundError:
        what = "nothing there (is the controller running, and is this its directory?)"
        raise ConnectionFileError.file(file, "a connection file", what) from None
    except OSError as error:
        raise ConnectionFileError.file(file, "a readable file", error.strerror or type(error).__name__) from None
    if len(content) > MAXIMUM_BYTES:
        raise ConnectionFileError.file(file, f"at most {MAXIMUM_BYTES} bytes", "more")
    return parse(content, kind, name=str(file))


def _opener(path: str, flags: int) -> int:
    # A named pipe would keep an ordinary open waiting for its writer.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))

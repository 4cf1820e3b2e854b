"""The connection files in a folder, of whatever kind they are."""

from pathlib import Path
from typing import Final

from conformance.files import look_at, read_connection_file
from protocol.connection import ClientFile, ConnectionFileError, EngineFile, KernelFile

Found = ClientFile | EngineFile | KernelFile
#: A key that only files of one kind have.
_MARKS: Final[dict[str, type[Found]]] = {"hb_ping": EngineFile, "notification": ClientFile, "shell_port": KernelFile}


def files_in(directory: Path) -> dict[Path, Found]:
    """The connection files in a folder, by path. Raises ConnectionFileError if there are none, or one is unusable."""
    found: dict[Path, Found] = {}
    for path in sorted(directory.glob("*.json")):
        kind = kind_of(path)
        if kind is not None:
            found[path] = read_connection_file(path, kind)
            if getattr(found[path], "ssh", ""):
                raise ConnectionFileError.file(
                    path, "addresses that can be reached", "an ssh server in front of them, and no relay opens tunnels",
                    "connection.addresses-from-file",
                )  # fmt: skip
    if not found:
        raise ConnectionFileError.file(
            directory, "connection files", "none (is this the directory of a controller, or of kernels?)"
        )
    return found


def kind_of(path: Path) -> type[Found] | None:
    """Which kind of connection file this is; None if it is none."""
    looked = look_at(path)
    values = looked.values if looked is not None else {}
    return next((kind for key, kind in _MARKS.items() if key in values), None)

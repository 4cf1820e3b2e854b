"""What the connection files of a controller must say before anybody can talk to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from conformance.harness.controller import Controller
    from conformance.model.ledger import Ledger

#: What both files must agree in, and what each of them must have: keys to the type of their value.
SHARED: Final = ("key", "registration", "pack", "unpack", "signature_scheme")
CLIENT: Final = {
    "key": str, "interface": str, "registration": int, "control": int, "mux": int, "task": int, "task_scheme": str,
    "iopub": int, "notification": int, "broadcast": int, "signature_scheme": str,
}  # fmt: skip
ENGINE: Final = {
    "key": str, "interface": str, "registration": int, "control": int, "mux": int, "task": int, "iopub": int,
    "hb_ping": int, "hb_pong": int, "broadcast": list, "signature_scheme": str,
}  # fmt: skip


def check_files(book: Ledger, controller: Controller) -> None:
    """Note what is wrong with the files that a controller has written."""
    files = controller.instance.on_disk()
    found: dict[str, dict[str, Any]] = {which: dict(file.values) for which, file in files.items()}
    for which, keys in (("client", CLIENT), ("engine", ENGINE)):
        file = found.get(which)
        if file is None:
            continue
        wrong = [key for key, kind in keys.items() if not isinstance(file.get(key), kind)]
        if wrong:
            slug = "connection.broadcast-ports-shape" if wrong == ["broadcast"] else f"connection.{which}-file-keys"
            book.accuse(slug, f"{wrong[0]} is {file.get(wrong[0])!r:.100} in the {which} file", keys[wrong[0]].__name__)
    if len(found) == 2:
        apart = [key for key in SHARED if found["client"].get(key) != found["engine"].get(key)]
        if apart:
            book.accuse("connection.files-agree", f"{apart[0]} differs between the files", "one value in both")


__all__ = ["check_files"]

"""How dictionaries become bytes and back, and what is said of bytes that are no dictionary.

Source: jupyter_client messaging.rst, "The Wire Protocol"; IPython commit a2c57acba,
docs/source/development/parallel_messages.txt, "Implementation".
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from protocol.errors import FrameName, LocalProtocolError, Problem

Frame = bytes | memoryview
Json = dict[str, Any]

#: What reading untrusted bytes may raise inside msgspec; everything else would be our own mistake. TypeError is what
#: older releases raise for a msgpack map whose key is a map.
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError, TypeError)
#: What writing a value of the caller may raise.
UNWRITABLE: Final = (msgspec.MsgspecError, UnicodeEncodeError, RecursionError, TypeError, ValueError, OverflowError)

#: The first byte of an object in each format: a check of one byte tells a dictionary from everything else.
_JSON_OBJECTS: Final = frozenset(b"{")
_MSGPACK_OBJECTS: Final = frozenset([*range(0x80, 0x90), 0xDE, 0xDF])


class Packer:
    """How dictionaries become bytes: `json` (the default everywhere) or `msgpack`.

    `orjson` writes the same bytes on the wire as `json`. `pickle` exists in real connection files and is refused:
    reading it would run code that the peer chose.
    """

    def __init__(self, name: str) -> None:
        library = {"json": msgspec.json, "orjson": msgspec.json, "msgpack": msgspec.msgpack}.get(name)
        if library is None:
            why = "reading pickle runs code chosen by the peer" if name == "pickle" else "no such packer"
            raise LocalProtocolError(
                Problem("message", "wire.packer-safe", "the packer json, orjson or msgpack", f"{name!r} ({why})")
            )
        self.name: Final = name
        self.encode: Final[Callable[[object], bytes]] = library.Encoder().encode
        self.decode: Final[Callable[[Frame], Json]] = library.Decoder(dict[str, Any]).decode
        self.decode_any: Final[Callable[[Frame], Any]] = library.Decoder().decode
        #: An empty dictionary in this format, so that the commonest part of all need not be decoded.
        self.empty: Final[bytes] = self.encode({})
        self.object_starts: Final = _MSGPACK_OBJECTS if name == "msgpack" else _JSON_OBJECTS

    def __repr__(self) -> str:
        return f"Packer({self.name!r})"


def unreadable(name: FrameName, frame: Frame, packer: Packer, error: Exception) -> Problem:
    """The problem of a dictionary frame that the packer could not read as an object with string keys."""
    try:
        value = packer.decode_any(frame)
    except UNREADABLE:
        what = f"{len(frame)} bytes that are not ({error})" if len(frame) else "an empty frame"
        return Problem(name, "wire.parts-readable", f"{packer.name}", what)
    what = "a map with other keys" if isinstance(value, dict) else kind_of(value)
    return Problem(name, "wire.parts-are-objects", "an object with string keys", what, "$")


def describe(value: Mapping[str, object], key: str) -> str:
    """What stands under a key, for an error text."""
    return kind_of(value[key]) if key in value else "nothing"


def kind_of(value: object) -> str:
    """A decoded value's kind in the words of JSON, for an error text."""
    names: dict[type, str] = {
        dict: "an object", list: "an array", str: "a string", bool: "a boolean", int: "an integer", float: "a number",
        bytes: "bytes",
    }  # fmt: skip
    return "null" if value is None else names.get(type(value), type(value).__name__)


__all__ = ["UNREADABLE", "UNWRITABLE", "Frame", "Json", "Packer", "describe", "kind_of", "unreadable"]

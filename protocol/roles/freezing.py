"""States and messages as nested tuples, and back.

Equal values freeze to equal tuples. The order of a dictionary is kept: it decides the bytes in which a message is sent.
"""

from functools import cache
from typing import Any, Final

from protocol.wire import DELIMITER, Codec, Message

_DICT: Final = "dict"
_LIST: Final = "list"
_TUPLE: Final = "tuple"


def freeze_value(value: Any) -> Any:
    """A value of JSON (or a tuple, or bytes) as something hashable; memory of a socket is copied."""
    if isinstance(value, dict):
        return (_DICT, *((key, freeze_value(item)) for key, item in value.items()))
    if isinstance(value, list):
        return (_LIST, *map(freeze_value, value))
    if isinstance(value, tuple):
        return (_TUPLE, *map(freeze_value, value))
    return bytes(value) if isinstance(value, memoryview) else value


def thaw_value(frozen: Any) -> Any:
    """What `freeze_value` was given."""
    if not isinstance(frozen, tuple):
        return frozen
    kind, *items = frozen
    if kind == _DICT:
        return {key: thaw_value(item) for key, item in items}
    if kind == _LIST:
        return [thaw_value(item) for item in items]
    return tuple(map(thaw_value, items))


def freeze_message(message: Message) -> tuple[Any, ...]:
    """A message as a tuple: the frames of a received one, the dictionaries of one that was made here."""
    if message.parts is not None and message.signature is not None and message._packer is not None:
        parts = tuple(map(bytes, message.parts))
        buffers = tuple(map(bytes, message.buffers))
        return ("frames", message._packer.name, message.identities, bytes(message.signature), parts, buffers)
    return (
        "made",
        message.identities,
        freeze_value(message.header),
        freeze_value(message.parent_header),
        freeze_value(message.metadata),
        freeze_value(message.content),
        tuple(map(bytes, message.buffers)),
    )


def thaw_message(frozen: tuple[Any, ...]) -> Message:
    """The message that `freeze_message` was given."""
    if frozen[0] == "frames":
        _, packer, identities, signature, parts, buffers = frozen
        return _codec(packer, len(parts)).open_header([*identities, DELIMITER, signature, *parts, *buffers])
    _, identities, header, parent, metadata, content, buffers = frozen
    return Message(
        thaw_value(header),
        parent_header=thaw_value(parent),
        metadata=thaw_value(metadata),
        content=thaw_value(content),
        buffers=buffers,
        identities=identities,
    )


@cache
def _codec(packer: str, parts: int) -> Codec:
    # Without a key: the signature was verified when the message came, and is kept as it is.
    return Codec(b"", packer=packer, metadata=parts == 4)

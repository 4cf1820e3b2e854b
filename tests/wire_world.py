"""What tests of `protocol.wire` share: a message, any parts under a signature that fits, and how they are refused."""

from collections.abc import Sequence
from typing import Any

import pytest

from protocol.errors import RemoteProtocolError
from protocol.wire import DELIMITER, Codec, Frame, Message

KEY = b"a5f3c9e2-0123456789abcdef01234567"
HEADER = {
    "msg_id": "1f0c_77_0",
    "msg_type": "queue_request",
    "username": "username",
    "session": "1f0c",
    "date": "2010-07-12T12:00:00.000000Z",
    "version": "5.4",
}


def request(**changes: Any) -> Message:
    fields: dict[str, Any] = {
        "parent_header": {"msg_id": "1f0c_77_9", "msg_type": "x"},
        "metadata": {"engine": "é"},
        "content": {"targets": [0, None, "ü"]},
    }
    return Message(HEADER, **(fields | changes))


def signed(codec: Codec, *parts: bytes, identities: Sequence[bytes] = (), buffers: Sequence[Frame] = ()) -> list[Frame]:
    """Frames with these dictionaries, however wrong, under a signature that fits."""
    return [*identities, DELIMITER, codec.sign(b"".join(parts)), *parts, *buffers]


def refusal(codec: Codec, frames: Sequence[Frame]) -> RemoteProtocolError:
    with pytest.raises(RemoteProtocolError) as caught:
        codec.open(frames)
    assert caught.value.problems
    return caught.value

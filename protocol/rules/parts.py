"""Reading the parts of an observed message without ever failing: what is wrong with a part, another rule says."""

from typing import Any

from protocol.errors import Problem, ProtocolError
from protocol.messages.reading import validate
from protocol.messages.registry import CHANNELS
from protocol.wire import DELIMITER, UNREADABLE, Frame, Message, Packer
from protocol.world import Observation

#: Channels whose frames are no messages.
RAW = frozenset({"heartbeat-ping", "heartbeat-pong", "heartbeat-engine-monitor", "kernel-heartbeat"})

#: The largest whole number that every reader of JSON holds exactly. Source: RFC 8259, section 6.
EXACT = 2**53
#: What is larger is no double at all.
LARGEST = 2**1023

_JSON = Packer("json")


def is_reply(message: Message) -> bool:
    """Whether a message on a request channel is an answer, by its name or by its parent."""
    return message.msg_type.endswith("_reply") or message.msg_type == "hub_error" or bool(parent_of(message))


def was_written(seen: Observation) -> bool:
    """Whether the frames of an observation were bytes before somebody looked at them.

    In a simulation a message passes as it is, and gets the bytes that the codec gives it when a rule touches them.
    """
    return type(seen.frames) is tuple or seen.message is None or seen.message.signature is not None


def signature_of(frames: tuple[Frame, ...]) -> bytes:
    """The signature frame, or b"" where there is none."""
    if DELIMITER not in frames:
        return b""
    at = frames.index(DELIMITER) + 1
    return bytes(frames[at]) if at < len(frames) else b""


def claimed_id(frames: tuple[Frame, ...]) -> str | None:
    """The msg_id that frames claim to have, whoever made them; None if they claim none."""
    at = frames.index(DELIMITER) + 2 if DELIMITER in frames else 0
    for frame in frames[at : at + 2]:
        try:
            header = _JSON.decode(frame)
        except UNREADABLE:
            continue
        if isinstance(header.get("msg_id"), str):
            return str(header["msg_id"])
    return None


def claimed_metadata(frames: tuple[Frame, ...]) -> dict[str, Any]:
    """The metadata that frames claim to have, whoever made them; {} if they cannot be read as JSON."""
    at = frames.index(DELIMITER) + 4 if DELIMITER in frames else 2
    try:
        return dict(_JSON.decode(frames[at])) if at < len(frames) else {}
    except UNREADABLE:
        return {}


def claimed_content(frames: tuple[Frame, ...]) -> dict[str, Any]:
    """The content that frames claim to have, whoever made them; {} if it cannot be read as JSON."""
    at = frames.index(DELIMITER) + 5 if DELIMITER in frames else 3
    try:
        return dict(_JSON.decode(frames[at])) if at < len(frames) else {}
    except UNREADABLE:
        return {}


def parent_of(message: Message) -> dict[str, Any]:
    """The parent header, or {} if it cannot be read."""
    try:
        return message.parent_header
    except ProtocolError:
        return {}


def lost_keys(header: dict[str, Any], parent: dict[str, Any]) -> list[str]:
    """The keys of a request's header that did not come back as they were sent in the parent header of what it caused.

    A receiver may fill in what an older or careless peer left out.
    """
    return sorted(key for key in header if key not in parent or not _is_kept(header[key], parent[key]))


def _is_kept(sent: object, back: object) -> bool:
    """Whether a value came back: a number as the nearest that a double can hold, for JSON promises no more."""
    if isinstance(sent, int) and isinstance(back, int | float) and EXACT < abs(sent) < LARGEST:
        return not isinstance(back, bool) and float(sent) == float(back)
    return sent == back


def content_of(message: Message) -> dict[str, Any]:
    """The content, or {} if it cannot be read: what is wrong with it is judged by another rule."""
    try:
        return message.content
    except ProtocolError:
        return {}


def content_seen(seen: Observation) -> dict[str, Any]:
    """The content of an observation, or {} if it holds no readable message."""
    return {} if seen.message is None else content_of(seen.message)


def whole(value: object) -> int | None:
    """A value that is an integer and no boolean, or None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def text_list(value: object) -> list[str]:
    """The strings of a list; a lone string counts as a list of one, anything else as none."""
    if isinstance(value, str):
        return [value]
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def part_problems(seen: Observation) -> tuple[Problem, ...]:
    """What keeps an observation from being a message, the content included."""
    if seen.error is not None:
        return seen.error.problems
    if seen.message is None:
        return ()
    try:
        _ = seen.message.content
    except ProtocolError as error:
        return error.problems
    return ()


def type_problems(seen: Observation, dialect: str) -> tuple[Problem, ...] | None:
    """How a readable message differs from its type; None where the table of messages says nothing of its channel."""
    if seen.message is None or seen.channel not in CHANNELS or seen.channel == "monitor":
        return None
    try:
        validate(seen.message, seen.channel, dialect)
    except ProtocolError as error:
        return error.problems
    return ()

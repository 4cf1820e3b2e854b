"""Signs of a dialect: what one message, or one socket, shows of who sent it, or has it.

The features and their values are those of `protocol.dialects`. A sign names a feature, what was seen, and the values of
the table that this may be. Messages are read without their type in mind, and whether they have three dictionaries or
four, so that every dialect can be read.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from protocol.dialects import UNRECORDED, Value, feature
from protocol.patterns import DIALECTS, Dialect
from protocol.recording import Ends
from protocol.rules.parts import RAW
from protocol.wire import DELIMITER, UNREADABLE, Frame

Json = Mapping[str, Any]

_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])
#: Fields of a task that moved from the header to the metadata.
_TASK_FIELDS: Final = frozenset({"after", "follow", "timeout", "targets", "retries"})
#: Types that were renamed: name -> feature.
_NAMES: Final = {
    "pyin": "kernel.execute-input", "execute_input": "kernel.execute-input", "pyout": "kernel.execute-result",
    "execute_result": "kernel.execute-result", "pyerr": "kernel.error", "error": "kernel.error",
    "data_pub": "iopub.data-type", "data_message": "iopub.data-type", "iopub_welcome": "iopub.welcome",
    "signal_request": "control.signal",
}  # fmt: skip


class Sign(NamedTuple):
    """`seen` in the words of a report, and the values of the feature that it may be."""

    feature: str
    seen: str
    values: tuple[Value, ...]

    def fits(self, dialect: Dialect) -> bool | None:
        """Whether it belongs to a dialect; None if nobody recorded how that does it."""
        known = feature(self.feature).value(dialect)
        return None if known == UNRECORDED else known in self.values

    @property
    def tells(self) -> bool:
        """Whether it tells any dialects apart."""
        return len({self.fits(dialect) for dialect in DIALECTS} - {None}) > 1


class Speech(NamedTuple):
    """A message as it can be read in any dialect."""

    dictionaries: int
    header: Json
    parent: Json
    metadata: Json
    content: Json

    @property
    def msg_type(self) -> str:
        """Its type, "" if it has none."""
        return str(self.header.get("msg_type", ""))


def read(frames: Sequence[Frame]) -> Speech | None:
    """A message of JSON with three or four dictionaries; None for anything else."""
    if DELIMITER not in frames:
        return None
    found: list[Json] = []
    for frame in frames[frames.index(DELIMITER) + 2 :][:4]:
        try:
            found.append(_OBJECT.decode(frame))
        except UNREADABLE:
            break
    if len(found) == 3:
        return Speech(3, found[0], found[1], {}, found[2])
    return Speech(4, *found) if len(found) == 4 else None


def of_message(channel: str, frames: Sequence[Frame]) -> Iterator[Sign]:
    """What a message shows of who made it."""
    speech = None if channel in RAW else read(frames)
    if speech is None:
        return
    yield Sign("envelope.dictionaries", f"{speech.dictionaries}", (speech.dictionaries,))
    version = speech.header.get("version")
    yield Sign("envelope.header-version", "none" if version is None else str(version), (version and "5.4",))
    look = _LOOKS.get(speech.msg_type)
    if look is not None:
        yield from look(speech)
    name = _NAMES.get(speech.msg_type)
    if name is not None:
        yield Sign(name, speech.msg_type, (speech.msg_type,))


def of_link(ends: Ends) -> Iterator[Sign]:
    """What the socket shows that has connected."""
    kind, identity = ends.near.socket_type, ends.near.routing_id
    if ends.kind == "client" and kind == "DEALER":
        yield Sign("sockets.client-identity", "set" if identity else "none", ("session" if identity else "none",))
    elif ends.kind == "engine" and ends.channel in ("mux", "task") and kind in ("ROUTER", "DEALER"):
        values = ("one ROUTER", "one ROUTER, or one per queue") if kind == "ROUTER" else ("one DEALER",)
        yield Sign("sockets.engine-shell", kind, values)
    elif ends.kind == "engine" and ends.channel == "iopub" and kind in ("PUB", "XPUB"):
        yield Sign("sockets.engine-iopub", kind, (kind,))


def of_relays(towards_clients: bytes, towards_engines: bytes) -> Sign:
    """What the identities of the two sockets of the MUX queue show."""
    seen = ", ".join(each.decode(errors="replace") or "none" for each in (towards_clients, towards_engines))
    return Sign("sockets.relay-identities", seen, (seen,))


# -- types of messages -------------------------------------------------------------------------------------------------


def _task(speech: Speech) -> Iterator[Sign]:
    for where, part in (("header", speech.header), ("metadata", speech.metadata)):
        if _TASK_FIELDS & part.keys():
            yield Sign("envelope.task-fields", where, (where,))
    if "bound" in speech.content:
        yield Sign("apply.bound", "bound", ("bound",))


def _registration(speech: Speech) -> Iterator[Sign]:
    keys = ", ".join(speech.content)
    if "queue" in speech.content:
        yield Sign("registration.request-keys", keys, ("queue, control, heartbeat",))
    elif "uuid" in speech.content:
        values: tuple[Value, ...] = ("uuid, id?",) if "id" in speech.content else ("uuid", "uuid, id?")
        yield Sign("registration.request-keys", keys, values)


def _registered(speech: Speech) -> Iterator[Sign]:
    content = speech.content
    if content.get("status") != "ok":
        return
    if "hb_period" in content:
        value = "status, id, hb_period, connection_info"
    else:
        value = "status, id, addresses" if "mux" in content or "heartbeat" in content else "status, id"
    yield Sign("registration.reply-keys", ", ".join(content), (value,))
    parent = "request" if speech.parent else "empty"
    yield Sign("registration.reply-parent", parent, (parent,))


def _connected(speech: Speech) -> Iterator[Sign]:
    content = speech.content
    if content.get("status") != "ok":
        return
    if "mux" in content or "task" in content:
        value = "status, engines, addresses or None"
    else:
        value = "status, engines" if "engines" in content else "status"
    yield Sign("connection.reply-keys", ", ".join(content), (value,))


def _notified(speech: Speech) -> Iterator[Sign]:
    for key in ("uuid", "queue"):
        if key in speech.content:
            yield Sign("notification.uuid-key", key, (key,))


def _results_wanted(speech: Speech) -> Iterator[Sign]:
    for key in ("status_only", "statusonly"):
        if key in speech.content:
            yield Sign("query.status-only-key", key, (key,))


def _queues(speech: Speech) -> Iterator[Sign]:
    if speech.content.get("status") == "error":
        yield Sign("query.refusal", "queue_reply", ("queue_reply",))
        return
    has_key = "unassigned" in speech.content
    yield Sign("query.queue-unassigned", "unassigned" if has_key else "none", ("unassigned" if has_key else None,))


def _refused(speech: Speech) -> Iterator[Sign]:
    if speech.parent.get("msg_type") == "queue_request":
        yield Sign("query.refusal", "hub_error", ("hub_error",))


def _streamed(speech: Speech) -> Iterator[Sign]:
    for key in ("text", "data"):
        if key in speech.content:
            yield Sign("kernel.stream-text", key, (key,))


_LOOKS: Final[Mapping[str, Callable[[Speech], Iterator[Sign]]]] = {
    "apply_request": _task,
    "execute_request": _task,
    "registration_request": _registration,
    "registration_reply": _registered,
    "connection_reply": _connected,
    "registration_notification": _notified,
    "unregistration_notification": _notified,
    "result_request": _results_wanted,
    "queue_reply": _queues,
    "hub_error": _refused,
    "stream": _streamed,
}

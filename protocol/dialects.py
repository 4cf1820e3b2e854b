"""The protocol as it was spoken: three dialects, and their differences as data.

* `ipython-0.1x`: IPython 0.11 to 0.13. Three dictionaries, MD5, addresses in replies. Not interoperable with today's
  peers; here for the codec, the socket patterns and the simulation.
* `documented`: the letter of the documents of 2012, which today's documents repeat nearly word for word.
* `ipyparallel-9`: what ipyparallel 9.2 was measured to speak; the default.

A dialect may rename, move or add; it never excuses a broken promise. What differs between dialects is looked up here
(`value("notification.uuid-key", dialect)`) and written nowhere else, except for socket patterns (`protocol.channels`)
and the content of message types (`protocol.messages`), whose rows name their dialects themselves.

Source: IPython commit 7bde2f380 (2011); IPython commit a2c57acba (2012), parallel_messages.txt; ipyparallel docs,
messages.md; the tagged sources of IPython 0.11 to 1.0; measured on ipyparallel 9.2.0 and ipykernel 7.4.0.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from protocol.deviations import DEVIATIONS, RELEASES, Deviation, Kind, Release
from protocol.patterns import DEFAULT_DIALECT
from protocol.patterns import DIALECTS as NAMES
from protocol.patterns import Dialect as Name
from protocol.wire import Codec, ReplayMemory

Value = str | int | None

#: The source was not read for this, so nobody should rely on either answer.
UNRECORDED: Final = "not recorded"


@dataclass(frozen=True, slots=True)
class Dialect:
    """One dialect, and what the codec has to know about it."""

    name: Name
    title: str
    doc: str
    metadata: bool
    scheme: str

    def codec(
        self, key: bytes = b"", *, scheme: str = "", packer: str = "json", replay: ReplayMemory | None = None
    ) -> Codec:
        """A codec for this dialect; `scheme` is for files that name another one. Raises LocalProtocolError."""
        return Codec(key, scheme=scheme or self.scheme, packer=packer, metadata=self.metadata, replay=replay)


class Feature(NamedTuple):
    """One property of the protocol, and its value in each dialect; None where the dialect has no such thing.

    `deviations` are the names of rows in `protocol.deviations`.
    """

    name: str
    doc: str
    old: Value
    documented: Value
    nine: Value
    kind: Kind
    source: str
    deviations: tuple[str, ...] = ()

    def value(self, dialect: str = DEFAULT_DIALECT) -> Value:
        """The value in one dialect. Raises KeyError, naming the dialects."""
        if dialect not in NAMES:
            raise KeyError(f"unknown dialect {dialect!r}; there are: {', '.join(NAMES)}")
        return (self.old, self.documented, self.nine)[NAMES.index(dialect)]

    @property
    def differs(self) -> bool:
        """Whether the dialects disagree; what was not recorded agrees with everything."""
        return len({self.old, self.documented, self.nine} - {UNRECORDED}) > 1


DIALECTS: Final = (
    Dialect("ipython-0.1x", "IPython 0.11 to 0.13", "three dictionaries, HMAC-MD5, addresses in replies", False,
        "hmac-md5"),
    Dialect("documented", "the documents of 2012 and today", "four dictionaries, uuid, statusonly", True,
        "hmac-sha256"),
    Dialect("ipyparallel-9", "ipyparallel 9.2", "as measured", True, "hmac-sha256"),
)  # fmt: skip

_2011: Final = "IPython commit 7bde2f380 (2011)"
_2012: Final = "IPython commit a2c57acba (2012), parallel_messages.txt"
_TAGS: Final = "tagged sources of IPython and ipyparallel"
_NINE: Final = "measured on ipyparallel 9.2.0"
_KERNEL: Final = "jupyter_client messaging.rst; IPython 0.11 to 0.13, messaging.txt"

FEATURES: Final = (
    # Envelope
    Feature("envelope.dictionaries", "dictionaries after the signature", 3, 4, 4, "addition", f"{_2012}, Split Sends",
        ("D27",)),
    Feature("envelope.signature-scheme", "scheme when no file names one", "hmac-md5", "hmac-sha256", "hmac-sha256",
        "default", _TAGS),
    Feature("envelope.header-version", "`version` in the header", None, None, "5.4", "addition", _NINE),
    Feature("envelope.task-fields", "where after, follow, timeout, targets, retries, status, engine are", "header",
        "metadata", "metadata", "moved", f"{_2012}, apply"),
    Feature("envelope.packer", "packer when no file names one", "json", "json", "json", "default", _TAGS),
    # Sockets and addresses
    Feature("sockets.names", "names of the socket types; the same bytes", "XREP, XREQ", "ROUTER, DEALER",
        "ROUTER, DEALER", "rename", _2011),
    Feature("sockets.client-identity", "IDENTITY of a client's DEALERs", "session", "none", "none", "moved",
        f"{_2011}, client.py; {_NINE}", ("D19",)),
    Feature("sockets.engine-shell", "an engine's execution sockets", "one ROUTER, or one per queue", "one DEALER",
        "one ROUTER", "layout", f"{_2011}, engine.py; {_2012}, Registration", ("D18",)),
    Feature("sockets.relay-identities", "IDENTITY of the MUX relay towards clients and engines", "mux, none",
        UNRECORDED, "mux_in, mux_out", "layout", f"{_2011}, ipcontrollerapp.py; {_NINE}"),
    Feature("sockets.heart-device", "what a heart is", "FORWARDER", "FORWARDER", "monitored queue", "layout",
        f"{_2011}, heartmonitor.py; {_NINE}", ("D21", "D22")),
    Feature("sockets.engine-iopub", "an engine's IOPub socket", "PUB", "PUB", "XPUB", "layout", _NINE),
    Feature("sockets.control-between", "who stands between control queue and engine", "kernel starter", None, "nanny",
        "layout", f"{_2011}, kernelstarter.py; {_NINE}", ("D17",)),
    Feature("sockets.broadcast", "a queue for many engines at once", None, None, "tree of schedulers", "addition",
        _NINE, ("D17",)),
    Feature("connection.file", "what tells a peer where to connect", "exec_key, url, ssh, location", "two files",
        "two files of 16 keys", "moved", f"{_TAGS}; {_NINE}"),
    Feature("connection.addresses", "where the other addresses come from", "replies", "file", "file", "moved",
        f"{_2011}, client.py; {_NINE}", ("D7",)),
    # Registration, connection, notification
    Feature("registration.request-keys", "keys of registration_request", "queue, control, heartbeat", "uuid",
        "uuid, id?", "addition", f"{_2012}, Registration; {_NINE}", ("D4",)),
    Feature("registration.reply-keys", "keys of a good registration_reply", "status, id, addresses", "status, id",
        "status, id, hb_period, connection_info", "addition", f"{_2012}, Registration; {_NINE}", ("D5",)),
    Feature("registration.reply-parent", "parent header of registration_reply", UNRECORDED, "request", "empty", "moved",
        _NINE, ("D5",)),
    Feature("registration.id-in-use", "an engine asks for an id in use", None, "error", "another id", "wording",
        f"{_2012}, Registration; {_NINE}", ("D6",)),
    Feature("connection.reply-keys", "keys of connection_reply", "status, engines, addresses or None", "status",
        "status, engines", "addition", f"{_2012}, Registration; {_NINE}", ("D7",)),
    Feature("notification.uuid-key", "key of the engine's identity in notifications", "queue", "uuid", "uuid", "rename",
        f"{_TAGS}; {_2012}, Notification"),
    # Heartbeat
    Feature("heartbeat.period", "period in milliseconds", 1000, 3000, 3000, "default", f"{_TAGS}; 3000 from 0.12.1 on"),
    Feature("heartbeat.misses", "consecutive misses that are forgiven", 1, 10, 10, "default", _TAGS),
    Feature("heartbeat.hearts-reported", "how the Hub learns of hearts", "a call in its process",
        "a call in its process", "new_heart, stopped_heart", "addition", _NINE, ("D17", "D26")),
    # Queries and storage
    Feature("query.status-only-key", "key that asks for the status only", "status_only", "statusonly", "status_only",
        "rename", f"{_2012}, Client Queries; {_NINE}", ("D1",)),
    Feature("query.result-targets", "`targets` of result_request", UNRECORDED, "ids or uuids", "never read", "wording",
        f"{_2012}, Client Queries", ("D2",)),
    Feature("query.result-values", "values of result_reply", UNRECORDED, "result messages", "records", "wording", _NINE,
        ("D3",)),
    Feature("query.queue-unassigned", "key of tasks without an engine in queue_reply", UNRECORDED, None, "unassigned",
        "addition", _NINE, ("D8",)),
    Feature("query.refusal", "type of a refused queue_request's answer", UNRECORDED, "queue_reply", "hub_error",
        "moved", _NINE, ("D9", "D26")),
    Feature("query.purge-nonexistent", "purge of an unknown message", UNRECORDED, "error", "ok", "broken promise",
        _NINE, ("D10",)),
    Feature("storage.default", "default store", "DictDB", "NoDB", "DictDB", "default", f"{_TAGS}; NoDB from 0.13 on",
        ("D28",)),
    Feature("storage.dead-engines", "set of engines that are gone", "dead_engines", "dead_engines", None, "layout",
        _TAGS),
    # Scheduling and execution
    Feature("task.hwm", "tasks that an engine may have at once; 0 is no limit", 0, 1, 1, "default",
        f"{_TAGS}; 1 from 0.13 on"),
    Feature("apply.request-buffers", "least number of buffers of apply_request", UNRECORDED, 3, 2, "wording",
        f"{_2012}, apply; {_NINE}", ("D14",)),
    Feature("apply.reply-buffers", "buffers of a good apply_reply", UNRECORDED, "1 or 2", "1 or more", "wording",
        f"{_2012}, apply; {_NINE}", ("D14",)),
    Feature("apply.bound", "key that chooses the namespace", "bound", None, None, "moved", f"{_2012}, apply"),
    Feature("apply.execute", "execute_request through the queues", UNRECORDED, None, "execute_request", "addition",
        _NINE, ("D16",)),
    # Control
    Feature("control.abort-null", "abort_request with msg_ids null", "aborts all", "aborts all", "no answer",
        "broken promise", f"{_2012}, Control Messages; {_NINE}", ("D11",)),
    Feature("control.shutdown-empty", "shutdown_request {} to an engine", "reply and exit", "reply and exit",
        "no answer", "broken promise", f"{_2012}, Control Messages; {_NINE}", ("D12",)),
    Feature("control.order", "control against execution", "control first", "control first", "no order", "layout",
        f"{_2012}, Control Messages; {_NINE}", ("D13",)),
    Feature("control.signal", "request that delivers a signal", None, None, "signal_request", "addition", _NINE,
        ("D26",)),
    # IOPub and kernel
    Feature("iopub.data-type", "type of published data", None, "data_pub", "data_message", "rename", _NINE, ("D15",)),
    Feature("iopub.welcome", "type that tells of a subscription", None, None, "iopub_welcome", "addition", _NINE,
        ("D26",)),
    Feature("kernel.execute-input", "type that repeats the code", "pyin", "execute_input", "execute_input", "rename",
        _KERNEL),
    Feature("kernel.execute-result", "type of a displayed result", "pyout", "execute_result", "execute_result",
        "rename", _KERNEL),
    Feature("kernel.error", "type of an error on IOPub", "pyerr", "error", "error", "rename", _KERNEL),
    Feature("kernel.stream-text", "key of a stream's text", "data", "text", "text", "rename", _KERNEL),
    Feature("kernel.aborted", "status of an aborted request, on the wire", "aborted", "aborted", "aborted", "wording",
        f"{_KERNEL}; the oldest texts say abort"),
    Feature("kernel.stdin-socket", "the kernel's stdin socket", "REQ; ROUTER from 0.12", "ROUTER", "ROUTER", "moved",
        _KERNEL),
    Feature("kernel.busy-around", "what busy and idle enclose", "execution", "every request", "every request",
        "addition", _KERNEL),
)  # fmt: skip


_FEATURES: Final = {row.name: row for row in FEATURES}


def dialect(name: str = DEFAULT_DIALECT) -> Dialect:
    """The dialect of this name. Raises KeyError, naming all there are."""
    for row in DIALECTS:
        if row.name == name:
            return row
    raise KeyError(f"unknown dialect {name!r}; there are: {', '.join(NAMES)}")


def feature(name: str) -> Feature:
    """The feature of this name. Raises KeyError, naming the nearest ones."""
    try:
        return _FEATURES[name]
    except KeyError:
        family = name.partition(".")[0]
        near = [one for one in _FEATURES if one.startswith(family)] or list(_FEATURES)
        raise KeyError(f"unknown feature {name!r}; there are: {', '.join(near)}") from None


def value(name: str, dialect: str = DEFAULT_DIALECT) -> Value:
    """What a feature is in a dialect. Raises KeyError for an unknown feature or dialect."""
    return feature(name).value(dialect)


__all__ = [
    "DEFAULT_DIALECT", "DEVIATIONS", "DIALECTS", "FEATURES", "RELEASES", "UNRECORDED", "Deviation", "Dialect",
    "Feature", "Kind", "Release", "Value", "dialect", "feature", "value",
]  # fmt: skip

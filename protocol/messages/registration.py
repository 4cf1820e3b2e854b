"""Registration of engines and connection of clients: the part of the query channel that everybody starts with.

Engines and clients use one ROUTER of the Hub, so that one address is enough to find everything else. A registration
stays pending until the engine's heart was heard; only then is the engine announced (see `notification`).

Source: IPython commit a2c57acba, docs/source/development/parallel_messages.txt, section "Registration".
"""

from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from protocol.messages.base import (
    ALL,
    DOCUMENTED,
    MODERN,
    NINE,
    OLD,
    Content,
    Empty,
    ErrorContent,
    MessageType,
    OkContent,
)

_DOC = "IPython commit a2c57acba, parallel_messages.txt, Registration"
_MEASURED = "measured on ipyparallel 9.2.0"
_HISTORY = "read from the source of IPython 0.11 to 0.13"

EngineId = Annotated[int, Meta(ge=0, description="Number of an engine: counted from 0, never used twice.")]
Uuid = Annotated[str, Meta(description="IDENTITY of the engine's sockets.")]
Address = Annotated[
    str | int | list[str] | None, Meta(description="Where to connect; null where the feature is not available.")
]


class RegistrationRequest(Content, frozen=True, kw_only=True):
    """An engine asks for its number."""

    uuid: Uuid
    id: Annotated[
        int | UnsetType | None, Meta(description="The number the engine would like; given if it is free.")
    ] = UNSET


class RegistrationRequestOld(Content, frozen=True, kw_only=True):
    """An engine names the identities of its sockets, which were three then."""

    queue: Annotated[str, Meta(description="IDENTITY of the socket that receives execution requests.")]
    control: Annotated[str | UnsetType, Meta(description="IDENTITY of the control socket.")] = UNSET
    heartbeat: Annotated[str | UnsetType, Meta(description="IDENTITY of the heart.")] = UNSET


class RegistrationReply(OkContent, frozen=True, kw_only=True):
    """The number given. Newer controllers add what the engine needs for its heart and its sockets."""

    id: EngineId
    hb_period: Annotated[int | UnsetType, Meta(description="Milliseconds between two pings.")] = UNSET
    connection_info: Annotated[
        dict[str, Any] | UnsetType, Meta(description="The connection file's addresses: interface and ports.")
    ] = UNSET


class RegistrationReplyOld(OkContent, frozen=True, kw_only=True):
    """The number given, and the addresses an engine connects to."""

    id: EngineId
    mux: Address | UnsetType = UNSET
    task: Address | UnsetType = UNSET
    control: Address | UnsetType = UNSET
    iopub: Address | UnsetType = UNSET
    heartbeat: Annotated[
        list[str] | UnsetType | None, Meta(description="Addresses of ping and pong, in this order.")
    ] = UNSET


class UnregistrationRequest(Content, frozen=True, kw_only=True):
    """An engine, or the nanny of one that died, takes it off the list."""

    id: Annotated[int | None, Meta(description="The engine's number; null when it never learned it.")]


class ConnectionReply(OkContent, frozen=True, kw_only=True):
    """The engines there are. Addresses come from the connection file."""

    engines: Annotated[
        dict[str, str], Meta(description="Engine id in decimal digits -> uuid, registered engines only.")
    ]


class ConnectionReplyDocumented(OkContent, frozen=True, kw_only=True):
    """Success; the documents promise addresses, of which null means that the function is not available."""

    engines: Annotated[dict[str, str] | UnsetType, Meta(description="Engine id in decimal digits -> uuid.")] = UNSET


class ConnectionReplyOld(OkContent, frozen=True, kw_only=True):
    """The engines, and the addresses a client connects to; null or absent means not available."""

    engines: Annotated[dict[str, str] | UnsetType, Meta(description="Engine id in decimal digits -> uuid.")] = UNSET
    mux: Address | UnsetType = UNSET
    task: Annotated[
        list[str] | UnsetType | None, Meta(description="Name of the scheduling scheme, then the address.")
    ] = UNSET
    control: Address | UnsetType = UNSET
    query: Address | UnsetType = UNSET
    notification: Address | UnsetType = UNSET
    iopub: Address | UnsetType = UNSET


_UUID = "e7a3b1c0-5d2f4a6b8c0d1e2f3a4b5c6d"

ROWS: tuple[MessageType, ...] = (
    MessageType(
        name="registration_request",
        family="registration",
        channels=("query",),
        sender=("engine",),
        receiver=("hub",),
        content=(RegistrationRequest,),
        doc="An engine asks to be registered under its uuid, which is the IDENTITY of all its sockets.",
        source=_DOC,
        dialects=MODERN,
        replies=("registration_reply",),
        errors=("reply", "hub_error"),
        parent="empty",
        example={"uuid": _UUID},
    ),
    MessageType(
        name="registration_request",
        family="registration",
        channels=("query",),
        sender=("engine",),
        receiver=("hub",),
        content=(RegistrationRequestOld,),
        doc="An engine asks to be registered under the identities of its queue, control and heartbeat sockets.",
        source=_HISTORY,
        dialects=(OLD,),
        replies=("registration_reply",),
        errors=("reply",),
        parent="empty",
        lived="IPython 0.11 to 0.13",
        example={"queue": _UUID, "control": _UUID, "heartbeat": _UUID},
    ),
    MessageType(
        name="registration_reply",
        family="registration",
        channels=("query",),
        sender=("hub",),
        receiver=("engine",),
        content=(RegistrationReply, ErrorContent),
        doc=(
            "The engine's number, or an error when its uuid is in use. ipyparallel 9.2 sends no parent header, so an "
            "engine tells it by the socket it asked on."
        ),
        source=f"{_DOC}; {_MEASURED}",
        dialects=MODERN,
        example={
            "status": "ok",
            "id": 0,
            "hb_period": 3000,
            "connection_info": {
                "interface": "tcp://127.0.0.1",
                "registration": 51000,
                "control": 51001,
                "mux": 51002,
                "task": 51003,
                "iopub": 51004,
                "hb_ping": 51005,
                "hb_pong": 51006,
                "broadcast": [51007, 51008],
            },
        },
    ),
    MessageType(
        name="registration_reply",
        family="registration",
        channels=("query",),
        sender=("hub",),
        receiver=("engine",),
        content=(RegistrationReplyOld, ErrorContent),
        doc="The engine's number and the addresses it connects to, or an error when an identity is in use.",
        source=f"{_DOC}; {_HISTORY}",
        dialects=(OLD,),
        lived="IPython 0.11 to 0.13",
        example={
            "status": "ok",
            "id": 0,
            "mux": "tcp://127.0.0.1:51002",
            "task": "tcp://127.0.0.1:51003",
            "control": "tcp://127.0.0.1:51001",
            "iopub": "tcp://127.0.0.1:51004",
            "heartbeat": ["tcp://127.0.0.1:51005", "tcp://127.0.0.1:51006"],
        },
    ),
    MessageType(
        name="unregistration_request",
        family="registration",
        channels=("query",),
        sender=("engine", "warden"),
        receiver=("hub",),
        content=(UnregistrationRequest,),
        doc="Takes an engine off the list, or cancels a pending registration. One-way: its effect is the notification.",
        source=_MEASURED,
        dialects=ALL,
        parent="empty",
        example={"id": 0},
    ),
    MessageType(
        name="connection_request",
        family="registration",
        channels=("query",),
        sender=("client", "task-scheduler", "broadcast-scheduler"),
        receiver=("hub",),
        content=(Empty,),
        doc="A client, or a scheduler that starts, asks which engines there are.",
        source=_DOC,
        dialects=ALL,
        replies=("connection_reply",),
        parent="empty",
    ),
    MessageType(
        name="connection_reply",
        family="registration",
        channels=("query",),
        sender=("hub",),
        receiver=("client", "task-scheduler", "broadcast-scheduler"),
        content=(ConnectionReply, ErrorContent),
        doc="The registered engines. Together with later notifications it gives the engine set.",
        source=_MEASURED,
        dialects=(NINE,),
        parent="request",
        example={"status": "ok", "engines": {"0": _UUID}},
    ),
    MessageType(
        name="connection_reply",
        family="registration",
        channels=("query",),
        sender=("hub",),
        receiver=("client", "task-scheduler", "broadcast-scheduler"),
        content=(ConnectionReplyDocumented, ErrorContent),
        doc="Success. The text also speaks of addresses, but its message shows none.",
        source=_DOC,
        dialects=(DOCUMENTED,),
        parent="request",
        example={"status": "ok"},
    ),
    MessageType(
        name="connection_reply",
        family="registration",
        channels=("query",),
        sender=("hub",),
        receiver=("client", "task-scheduler"),
        content=(ConnectionReplyOld, ErrorContent),
        doc="The registered engines and the addresses of every queue; what is null is not available.",
        source=f"{_DOC}; {_HISTORY}",
        dialects=(OLD,),
        parent="request",
        lived="IPython 0.11 to 0.13",
        example={
            "status": "ok",
            "engines": {"0": _UUID},
            "mux": "tcp://127.0.0.1:51012",
            "task": ["leastload", "tcp://127.0.0.1:51013"],
            "control": "tcp://127.0.0.1:51011",
            "query": "tcp://127.0.0.1:51010",
            "notification": "tcp://127.0.0.1:51015",
            "iopub": None,
        },
    ),
)

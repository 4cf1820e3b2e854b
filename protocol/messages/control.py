"""Messages to an engine that do not run code, and must not wait for code that runs.

They take the control queue, and in ipyparallel 9 the nanny that watches the engine's process stands in between: it
answers `signal_request` itself and passes everything else on.

Source: IPython commit a2c57acba, docs/source/development/parallel_messages.txt, section "Control Messages".
"""

from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from protocol.messages.apply import ReplyMetadata
from protocol.messages.base import ALL, NINE, Content, Empty, ErrorContent, MessageType, OkContent

_DOC = "IPython commit a2c57acba, parallel_messages.txt, Control Messages"
_MEASURED = "measured on ipyparallel 9.2.0"
_CHANNELS = ("control", "warden-link")
_UUID = "e7a3b1c0-5d2f4a6b8c0d1e2f3a4b5c6d"


class AbortRequest(Content, frozen=True, kw_only=True):
    """Which requests must not run any more."""

    msg_ids: Annotated[list[str] | str | None, Meta(description="msg_ids; null or [] for everything that is queued.")]


class SignalRequest(Content, frozen=True, kw_only=True):
    """A signal for the engine's process."""

    sig: Annotated[int | str, Meta(description="Number or name, such as SIGINT.")]


class EngineShutdownRequest(Content, frozen=True, kw_only=True):
    """End the engine. The documents show an empty content; ipyparallel 9.2 does not react without `restart`."""

    restart: Annotated[bool | UnsetType, Meta(description="Whether something will start it again.")] = UNSET


class ClearReply(OkContent, frozen=True):
    """The namespace is empty."""


class AbortReply(OkContent, frozen=True):
    """They will not run; each is answered as aborted."""


class SignalReply(OkContent, frozen=True):
    """The signal was sent."""


class EngineShutdownReply(OkContent, frozen=True, kw_only=True):
    """The engine is about to end."""

    restart: Annotated[bool | UnsetType, Meta(description="As asked.")] = UNSET


def _rows(
    name: str,
    request: type[Content],
    reply: type[Content],
    asks: str,
    answers: str,
    asked: dict[str, Any],
    answered: dict[str, Any],
    *,
    channels: tuple[str, ...] = _CHANNELS,
    dialects: tuple[str, ...] = ALL,
    source: str = _DOC,
    answerer: tuple[str, ...] = ("engine",),
) -> tuple[MessageType, MessageType]:
    return (
        MessageType(
            name=f"{name}_request",
            family="control",
            channels=channels,
            sender=("client",),
            receiver=answerer,
            content=(request,),
            doc=asks,
            source=source,
            dialects=dialects,
            replies=(f"{name}_reply",),
            errors=("reply",),
            parent="empty",
            example=asked,
        ),
        MessageType(
            name=f"{name}_reply",
            family="control",
            channels=channels,
            sender=answerer,
            receiver=("client",),
            content=(reply, ErrorContent),
            doc=answers,
            source=source,
            dialects=dialects,
            metadata=ReplyMetadata,
            parent="request",
            example=answered,
            example_metadata={"engine": _UUID} if answerer == ("engine",) else {},
        ),
    )


ROWS: tuple[MessageType, ...] = (
    *_rows(
        "clear", Empty, ClearReply, "Empties the engine's namespace.", "It is empty.", {}, {"status": "ok"},
    ),
    *_rows(
        "abort", AbortRequest, AbortReply,
        "Keeps queued requests from running: those named, or all.",
        "They will not run. Each of them is answered with the status `aborted`.",
        {"msg_ids": ["c11e0001-0a1b2c3d4e5f60718293a4b5_4242_1"]}, {"status": "ok"},
    ),
    *_rows(
        "signal", SignalRequest, SignalReply,
        "Sends a signal to the engine's process. The nanny does it, so it works while user code holds the engine.",
        "The signal was sent, or why not.",
        {"sig": "SIGINT"}, {"status": "ok"},
        channels=("control",), dialects=(NINE,), source=_MEASURED, answerer=("warden",),
    ),
    *_rows(
        "shutdown", EngineShutdownRequest, EngineShutdownReply,
        "Ends the engine: what is queued is aborted, the request is answered, the process exits.",
        "The engine is about to end. A copy goes out on IOPub, from which the Hub learns it.",
        {"restart": False}, {"status": "ok", "restart": False}, source=f"{_DOC}; {_MEASURED}",
    ),
)  # fmt: skip

"""What the Hub publishes: engines that come and go, and its own end. There is no topic frame.

Source: IPython commit a2c57acba, docs/source/development/parallel_messages.txt, section "Notification".
"""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from protocol.messages.base import MODERN, NINE, OLD, Content, MessageType
from protocol.messages.registration import EngineId, Uuid

_DOC = "IPython commit a2c57acba, parallel_messages.txt, Notification"


class EngineNotification(Content, frozen=True, kw_only=True):
    """The engine that came or went."""

    id: EngineId
    uuid: Uuid


class EngineNotificationOld(Content, frozen=True, kw_only=True):
    """The same when the key was still named after the engine's queue socket."""

    id: EngineId
    queue: Annotated[str, Meta(description="IDENTITY of the engine's queue socket.")]


class ShutdownNotification(Content, frozen=True, kw_only=True):
    """The Hub ends."""

    status: Annotated[str | UnsetType, Meta(description="'ok'.")] = UNSET


_UUID = "e7a3b1c0-5d2f4a6b8c0d1e2f3a4b5c6d"
_TO = ("client", "task-scheduler", "broadcast-scheduler")


def _notification(name: str, doc: str, old: bool) -> MessageType:
    return MessageType(
        name=name,
        family="notification",
        channels=("notification",),
        sender=("hub",),
        receiver=("client", "task-scheduler") if old else _TO,
        content=(EngineNotificationOld if old else EngineNotification,),
        doc=doc,
        source="read from the source of IPython 0.11 to 0.13" if old else _DOC,
        dialects=(OLD,) if old else MODERN,
        parent="empty",
        lived="IPython 0.11 to 0.13" if old else "",
        example={"id": 0, "queue" if old else "uuid": _UUID},
    )


_CAME = "An engine is registered: its heart was heard. Published once for every live engine."
_WENT = "An engine is gone: it asked to leave, its heart stopped, or it announced its shutdown. Published once."

ROWS: tuple[MessageType, ...] = (
    _notification("registration_notification", _CAME, old=False),
    _notification("registration_notification", _CAME, old=True),
    _notification("unregistration_notification", _WENT, old=False),
    _notification("unregistration_notification", _WENT, old=True),
    MessageType(
        name="shutdown_notification",
        family="notification",
        channels=("notification",),
        sender=("hub",),
        receiver=_TO,
        content=(ShutdownNotification,),
        doc="The Hub ends; the parent is the request that asked for it.",
        source="measured on ipyparallel 9.2.0",
        dialects=(NINE,),
        parent="request",
        example={"status": "ok"},
    ),
)

"""What the task scheduler tells the Hub.

Source: IPython commit a2c57acba, docs/source/development/parallel_messages.txt, section "Schedulers".
"""

from typing import Annotated

from msgspec import Meta

from protocol.messages.base import ALL, Content, MessageType


class TaskDestination(Content, frozen=True, kw_only=True):
    """Which engine got which task."""

    msg_id: Annotated[str, Meta(description="The task.")]
    engine_id: Annotated[str, Meta(description="uuid of the engine; not its number, despite the name.")]


ROWS: tuple[MessageType, ...] = (
    MessageType(
        name="task_destination",
        family="task",
        channels=("monitor",),
        sender=("task-scheduler",),
        receiver=("hub",),
        content=(TaskDestination,),
        doc="Sent as soon as a task is assigned; behind the prefix `tracktask` and the scheduler's session.",
        source="IPython commit a2c57acba, parallel_messages.txt, Schedulers",
        dialects=ALL,
        parent="any",
        example={
            "msg_id": "c11e0001-0a1b2c3d4e5f60718293a4b5_4242_6",
            "engine_id": "e7a3b1c0-5d2f4a6b8c0d1e2f3a4b5c6d",
        },
    ),
)

"""One task at the scheduler, and the states through which it goes."""

from typing import TYPE_CHECKING, Final

from protocol.roles.tables import StateTable
from protocol.roles.task.demands import Demands
from protocol.wire import Message

if TYPE_CHECKING:
    from protocol.roles.task.engines import Engine
    from protocol.roles.task.queues import Queue

NEW: Final = "new"
WAITING: Final = "waiting"
QUEUED: Final = "queued"
RUNNING: Final = "running"
ORPHANED: Final = "orphaned"
DONE: Final = "done"

_ANYWHERE: Final = "waiting | queued | running | done"
#: Where a task can be whose dependencies were met before and have left it an engine.
_PLACED: Final = "queued | running | done"

#: The life of a task. Which of the states follows is a matter of its demands, of who has room, and of its retries.
TASK: Final = StateTable(
    "a task",
    {
        NEW: {"submitted": _ANYWHERE},
        WAITING: {
            "dependency ended": _ANYWHERE,
            "timed out": DONE,
            "scheduler stopped": DONE,
        },
        QUEUED: {
            "engine free": RUNNING,
            "engine came": _PLACED,
            "engine gone": _PLACED,
            "dependency ended": _PLACED,
            "timed out": DONE,
            "nobody introduced": DONE,
            "scheduler stopped": DONE,
        },
        RUNNING: {
            "succeeded": DONE,
            "failed": _PLACED,
            "refused": _ANYWHERE,
            "engine gone": ORPHANED,
            "scheduler stopped": DONE,
        },
        ORPHANED: {
            "succeeded": DONE,
            "failed": _PLACED,
            "refused": _ANYWHERE,
            "grace over": _PLACED,
            "scheduler stopped": DONE,
        },
        DONE: {},
    },
    illegal=(
        "It does not concern the task: a reply of an engine that does not have it is dropped, a timer of an earlier "
        "stay is ignored, and the same request sent again changes nothing."
    ),
    meanings={
        "new": "it has just come in",
        "waiting": "for the tasks it depends on",
        "queued": "for an engine that it may go to",
        "running": "an engine has it",
        "orphaned": "that engine was unregistered, but its reply may still be under way",
        "done": "it has had its one reply, and is forgotten but for its outcome",
    },
)


class Task:
    """A request on its way. Its place in the order of submission is `seq`; `epoch` numbers its stays in the queue."""

    __slots__ = ("demands", "engine", "entry", "epoch", "id", "identities", "message", "queue", "seq", "state")

    def __init__(self, msg_id: str, identities: tuple[bytes, ...], message: Message, seq: int) -> None:
        self.id = msg_id
        #: The client, and whatever it put before the delimiter.
        self.identities = identities
        self.message = message
        self.seq = seq
        self.demands: Demands | None = None
        self.state = NEW
        #: Who has it, while it is running or orphaned.
        self.engine: Engine | None = None
        #: The queue it stands in, and its valid entry there, while it is queued.
        self.queue: Queue | None = None
        self.entry: tuple[int, Task] | None = None
        #: Of the timer that ends its stay in the queue; 0 if there is none.
        self.epoch = 0

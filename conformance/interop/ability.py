"""What an ability is, and what it is given.

An ability is one function with a docstring that says what must be true. It returns when it is; otherwise it raises.
What it raises, and what it looked at (`Wanted`), is all that travels from the client's process to whoever finds out
who was to blame.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeVar

import msgspec

T = TypeVar("T")

#: Seconds that each step of an ability may take. All take milliseconds; the rest is for a busy machine.
PATIENCE: Final = 10.0
#: Seconds between two looks at something that cannot be waited for.
STEP: Final = 0.01


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What messages must have shown for an ability to succeed, so that it can be looked for on the wire.

    value    the replies to `msg_ids` are good and hold these pickled plain values, one each (`expected`: a list)
    content  a reply named `name` (to one of `msg_ids`, if there are any) whose content has `expected` in it
    notice   a message named `name` on a channel to which all clients subscribe, whose content has `expected` in it
    reply    there are replies to `msg_ids`
    stream   what `msg_ids[0]` published on the stream `name` is the text `expected`
    """

    kind: Literal["value", "content", "notice", "reply", "stream"]
    msg_ids: tuple[str, ...] = ()
    name: str = ""
    expected: Any = None


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """How an ability failed.

    wrong    something else was found than had to be; `wanted` says what, if messages can show it
    error    the other side answered with errors that nobody expected; `names` are their `ename`s
    late     nothing came in time
    local    the client's own library raised something else
    absent   something that it needs, and that belongs to no party, is not installed
    hung     the client's process did not come back at all
    ended    the client's process ended
    """

    kind: Literal["wrong", "error", "late", "local", "absent", "hung", "ended"]
    text: str
    names: tuple[str, ...] = ()
    wanted: Wanted | None = None


class Broken(Exception):
    """What must be true is not."""

    def __init__(self, text: str, wanted: Wanted | None = None, *, is_late: bool = False) -> None:
        super().__init__(text)
        self.failure = Failure(kind="late" if is_late else "wrong", text=text, wanted=wanted)


class Absent(Exception):
    """Something that an ability needs is not installed; the text says what."""


class Deployment:
    """A cluster as an ability sees it: a client, and the means to look at its answers with a deadline.

    `client` is the library under test; `connect` gives another one of the same kind. `count` is how many engines there
    are at least, `patience` how many seconds each step may take. `directory` is for files that client and engines
    share, and `ask_bench` reaches whoever has the processes.
    """

    def __init__(self, directory: Path, count: int, patience: float, ask_bench: Callable[[str], bool]) -> None:
        self.directory = directory
        self.count = count
        self.patience = patience
        self.ask_bench = ask_bench
        self._files = 0

    def start_engine(self) -> None:
        """Have one more engine started; this does not wait for it."""
        self.ask_bench("start_engine")

    def is_controller_running(self) -> bool:
        """Whether the process of the controller is there."""
        return self.ask_bench("is_controller_running")

    def file(self) -> Path:
        """The path of a file that is not there yet."""
        self._files += 1
        return self.directory / f"shared-{self._files}"

    def equal(self, what: str, found: object, expected: object, wanted: Wanted | None = None) -> None:
        """Demand that two things are equal. Raises Broken."""
        if found != expected:
            raise Broken(f"{what}: expected {expected!r:.200}, found {found!r:.200}", wanted)

    def values(self, what: str, found: Any, expected: Any, msg_ids: Sequence[str]) -> None:
        """Demand the results of calls, where a reply for each id brings one of them. Raises Broken."""
        each = expected if len(msg_ids) > 1 else [expected]
        self.equal(what, found, expected, Wanted(kind="value", msg_ids=tuple(msg_ids), expected=each))

    def text(self, found: str, expected: str, name: str, msg_id: str) -> None:
        """Demand what was written to a stream. Raises Broken."""
        wanted = Wanted(kind="stream", msg_ids=(msg_id,), name=name, expected=expected)
        self.equal(name, found, expected, wanted)

    def true(self, what: str, holds: object, wanted: Wanted | None = None) -> None:
        """Demand that something holds. Raises Broken."""
        if not holds:
            raise Broken(f"not so: {what}", wanted)

    def silent(self, text: str, *msg_ids: str) -> Broken:
        """The exception that says that nothing came for these requests."""
        return Broken(f"no reply: {text}", Wanted(kind="reply", msg_ids=msg_ids), is_late=True)

    def until(self, what: str, look: Callable[[], T], wanted: Wanted | None = None, *, seconds: float = 0.0) -> T:
        """Look again and again until there is something; what there is. `seconds` in place of the patience.

        Raises Broken.
        """
        seconds = seconds or self.patience
        deadline = time.monotonic() + seconds
        while not (found := look()):
            if time.monotonic() > deadline:
                raise Broken(f"not within {seconds:g} s: {what}", wanted, is_late=True)
            time.sleep(STEP)
        return found


class Ability(NamedTuple):
    """One row of a table: the group and the name, the requirement that fails with it, and what runs.

    `is_last` says that the controller does not survive it.
    """

    name: str
    requirement: str
    run: Callable[[Any], None]
    is_last: bool = False

    @property
    def group(self) -> str:
        """The part of the name before the dot: which table shows it."""
        return self.name.partition(".")[0]

    @property
    def sentence(self) -> str:
        """What must be true."""
        return " ".join((self.run.__doc__ or "").split())


class Table(dict[str, Ability]):
    """The abilities of one kind of client by name, in the order in which they run."""

    def __call__(
        self, name: str, requirement: str, *, is_last: bool = False
    ) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
        """Add the function that is decorated."""

        def add(run: Callable[[Any], None]) -> Callable[[Any], None]:
            self[name] = Ability(name, requirement, run, is_last)
            return run

        return add


#: The groups, with their title and every ability in them, in the order in which they are shown.
COLUMNS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "direct": ("DirectView", ("apply", "execute", "push", "pull", "scatter", "gather", "map", "run", "errors")),
    "balanced": (
        "LoadBalancedView",
        ("apply", "execute", "map", "after", "any", "follow", "impossible", "unmet", "retries", "targets", "timeout"),
    ),
    "broadcast": ("BroadcastView", ("apply", "targets", "coalescing", "execute", "map", "errors")),
    "results": ("AsyncResult", ("wait", "timings", "patience")),
    "output": ("Output", ("stdout", "stderr", "display", "result", "error")),
    "hub": (
        "Hub",
        ("queue_status", "result_status", "get_result", "resubmit", "db_query", "hub_history", "purge", "become_dask"),
    ),
    "control": ("Control", ("abort", "abort_all", "clear", "signal")),
    "life": ("Life and death", ("registered", "joins", "killed", "engine_shutdown", "hub_shutdown")),
}

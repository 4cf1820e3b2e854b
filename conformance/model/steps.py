"""The alphabet of a conversation: what one of the parties does next.

A step names parties by small numbers and what they do by words, and means something in every state: who is not there
yet comes when it is first named, and what cannot be done (an answer when nothing was asked) is left out. So any step
may be taken out of a conversation and the rest can still be played, which is how failures become short; and a
conversation is a list of small objects that any language can read.

`about` counts backwards among what there is to be about: 0 is the latest.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal, get_args, get_type_hints

import msgspec

from conformance.model.orders import ANYWHERE, ORDERS, SIMPLE
from conformance.model.questions import QUESTIONS
from protocol.damage import DAMAGES, Chance

#: How many clients and engines a conversation has at most.
CLIENTS: Final = 3
ENGINES: Final = 4
#: How far back `about` reaches.
BACK: Final = 6

Queue = Literal["mux", "task", "control"]


class Step(msgspec.Struct, frozen=True, tag_field="do", forbid_unknown_fields=True, omit_defaults=True, tag=str.lower):
    """Base of all steps. A field is a number below a bound, a flag, or one of some words."""


class Begin(Step, frozen=True):
    """The controller is one that runs with these settings; only as the first step.

    `database`: its records are on the disk, and it remembers its engines, so that it can be killed and come again.
    """

    hwm: Literal[1, 2, 0] = 1
    scheme: Literal["leastload", "lru", "plainrandom", "twobin"] = "leastload"
    database: bool = False


class Register(Step, frozen=True):
    """An engine registers, and its heart begins to beat, or (`mute`) does not, or does so `once`.

    One that is there asks again. `returns`: under the name of the one before it, which has gone. `number`: it asks for
    an id that nobody has, one that somebody has, the one that would be given next, or none.
    """

    engine: int = 0
    heart: Literal["beats", "beats", "beats", "beats", "mute", "once"] = "beats"
    returns: bool = False
    number: Literal["none", "free", "next", "taken"] = "none"


class Nonsense(Step, frozen=True):
    """Somebody asks for a registration that cannot be granted."""

    engine: int = 0
    what: Literal["no-uuid", "uuid-number", "uuid-list", "id-text", "id-list"] = "no-uuid"


class Leave(Step, frozen=True):
    """An engine unregisters; or it vanishes with its connections, is shut down, or says goodbye twice or for nobody."""

    engine: int = 0
    how: Literal["properly", "properly", "vanishes", "shut-down", "twice", "for-nobody", "names-nobody"] = "properly"


class Heart(Step, frozen=True):
    """The heart of an engine stops, beats again or late, or says something that is no beat, once or from now on."""

    engine: int = 0
    how: Literal[
        "stop", "stop", "beat", "lag", "limp", "only-old", "only-altered", "late", "stutter", "alter", "repeat-old",
        "stranger", "garbage", "other-name",
    ] = "stop"  # fmt: skip


class Submit(Step, frozen=True):
    """A client asks an engine, through MUX or control, or whichever engine the scheduler picks; see `orders`."""

    client: int = 0
    queue: Queue = "mux"
    engine: int = 0
    order: str = "plain"
    about: int = 0


class Cast(Step, frozen=True):
    """A client asks several engines at once."""

    client: int = 0
    targets: Literal["all", "all", "one", "two", "with-unknown", "with-dead", "none", "missing", "unreadable"] = "all"
    coalesces: bool = False


class Answer(Step, frozen=True):
    """An engine answers the oldest request that it has not answered, or (`about`) a later one."""

    engine: int = 0
    about: int = 0
    how: Literal["ok", "ok", "ok", "failed", "aborted", "refused", "terse", "empty"] = "ok"


class Stray(Step, frozen=True):
    """An engine answers what it should not: once more, what another one has, or what nobody asked."""

    engine: int = 0
    what: Literal["again", "again-otherwise", "for-another", "unasked", "unreadable"] = "again"
    queue: Queue = "task"


class Print(Step, frozen=True):
    """An engine publishes output, about a request that it was given; or something that is none."""

    engine: int = 0
    what: Literal["stdout", "stdout", "stderr", "input", "result", "error", "status", "burst", "garbage"] = "stdout"


class Ask(Step, frozen=True):
    """Somebody asks the Hub something; see `questions`."""

    client: int = 0
    question: str = "connection"
    about: int = 0
    by: Literal["client", "client", "client", "engine"] = "client"


class Purge(Step, frozen=True):
    """A client has results forgotten."""

    client: int = 0
    what: Literal[
        "one", "two", "engine", "pending", "unknown", "unknown-engine", "nothing", "null", "mixed", "one-and-nobody",
        "pending-alone", "all",
    ] = "one"  # fmt: skip
    about: int = 0


class Resubmit(Step, frozen=True):
    """A client has the Hub submit again what was done before."""

    client: int = 0
    what: Literal["one", "one", "two", "unknown", "one-and-unknown", "nothing", "missing"] = "one"
    about: int = 0


class Damage(Step, frozen=True):
    """Somebody sends a message that was damaged, on some channel; `numbers` decide about all else."""

    who: Literal["client", "engine"] = "client"
    number: int = 0
    channel: Literal["query", "query", "mux", "task", "control", "broadcast"] = "query"
    kind: str = "drop"
    numbers: tuple[int, ...] = (0, 0, 0, 0)


class Replay(Step, frozen=True):
    """Somebody sends once more, byte for byte, what somebody sent before."""

    channel: Literal["query", "mux", "task", "control"] = "query"
    about: int = 0
    by: Literal["same", "other"] = "same"


class Forge(Step, frozen=True):
    """A stranger sends a good request under a signature of another key; the genuine one follows, or does not."""

    channel: Literal["query", "mux", "task"] = "query"
    is_followed: bool = True


class Frames(Step, frozen=True):
    """Somebody sends frames that are no message at all."""

    who: Literal["client", "engine"] = "client"
    number: int = 0
    channel: Literal["query", "mux", "task", "control", "broadcast"] = "query"
    what: Literal["empty", "lone", "delimiter", "many", "large"] = "empty"


class Wait(Step, frozen=True):
    """Time passes: some periods of the heart monitor, few or (where that costs nothing) many."""

    periods: int = 1
    is_long: bool = False


class Work(Step, frozen=True):
    """Every engine answers all that it has, so many rounds."""

    rounds: int = 1


class Quiet(Step, frozen=True):
    """Everybody waits until nothing is under way any more; then all views are compared."""


class Shutdown(Step, frozen=True):
    """A client tells the Hub to end. Nothing comes after that."""

    client: int = 0


class Restart(Step, frozen=True):
    """The controller is killed and started again, where it is a process that has a disk. Nothing comes after that."""

    client: int = 0


AnyStep = (
    Begin | Register | Nonsense | Leave | Heart | Submit | Cast | Answer | Stray | Print | Ask | Purge | Resubmit
    | Damage | Replay | Forge | Frames | Wait | Work | Quiet | Shutdown | Restart
)  # fmt: skip
Conversation = tuple[AnyStep, ...]

#: How often each kind of step is drawn, against the others.
WEIGHTS: Final[dict[type[Step], int]] = {
    Register: 8, Nonsense: 1, Leave: 3, Heart: 3, Submit: 20, Cast: 4, Answer: 14, Stray: 3, Print: 4, Ask: 14,
    Purge: 3, Resubmit: 2, Damage: 4, Replay: 2, Forge: 2, Frames: 2, Wait: 2, Work: 4, Quiet: 4,
}  # fmt: skip
#: What the names of fields allow, where that is not said by their types.
BOUNDS: Final[dict[str, int]] = {
    "client": CLIENTS, "engine": ENGINES, "number": ENGINES, "about": BACK, "periods": 8, "rounds": 3,
}  # fmt: skip
_NAMES: Final[dict[tuple[type[Step], str], Sequence[str]]] = {
    (Submit, "order"): tuple(ORDERS),
    (Ask, "question"): tuple(QUESTIONS),
    (Damage, "kind"): tuple(DAMAGES),
}


def choices(kind: type[Step]) -> dict[str, Sequence[Any]]:
    """What each field of a kind of step may hold; of the numbers of a damage, any."""
    found: dict[str, Sequence[Any]] = {}
    for name, hint in get_type_hints(kind).items():
        if (kind, name) in _NAMES:
            found[name] = _NAMES[kind, name]
        elif hint is int:
            found[name] = range(BOUNDS[name])
        elif hint is bool:
            found[name] = (False, True)
        elif get_args(hint) and not isinstance(get_args(hint)[0], type):
            found[name] = get_args(hint)
    return found


_KINDS: Final[list[type[Step]]] = [*WEIGHTS, Begin, Shutdown, Restart]
#: What a conversation may end with.
ENDS: Final = (Shutdown, Restart)
CHOICES: Final[dict[type[Step], dict[str, Sequence[Any]]]] = {kind: choices(kind) for kind in _KINDS}


#: Which orders mean something on which queue.
AT: Final[dict[str, tuple[str, ...]]] = {
    "mux": tuple(name for name in ORDERS if name in ANYWHERE),
    "control": tuple(name for name in ORDERS if name in SIMPLE),
    "task": tuple(name for name in ORDERS if name != "to-nobody"),
}


def mistake(step: Step) -> str | None:
    """What is wrong with a step that was read from a file, or None."""
    for name, values in CHOICES[type(step)].items():
        if (value := getattr(step, name)) not in values:
            kind = type(step).__name__.lower()
            words = ", ".join(dict.fromkeys(map(str, values)))
            known = f"a number below {len(values)}" if isinstance(values, range) else words
            return f"{kind} has no {name} {value!r}; it may be: {known}"
    return None


def draw(kind: type[Step], chance: Chance) -> Step:
    """A step of this kind."""
    fields: dict[str, Any] = {}
    for name, values in CHOICES[kind].items():
        fields[name] = values[chance.below(len(values))]
    if kind is Submit and fields["order"] not in AT[fields["queue"]]:
        fields["order"] = AT[fields["queue"]][chance.below(len(AT[fields["queue"]]))]
    if kind is Damage:
        fields["numbers"] = tuple(chance.below(1 << 16) for _ in range(4))
    return kind(**fields)


def draw_any(chance: Chance, kinds: Sequence[type[Step]]) -> Step:
    """A step of one of these kinds, which may be named several times."""
    return draw(kinds[chance.below(len(kinds))], chance)


def weighted(without: frozenset[type[Step]] = frozenset()) -> list[type[Step]]:
    """The kinds of steps, each as often as its weight says."""
    return [kind for kind, weight in WEIGHTS.items() if kind not in without for _ in range(weight)]

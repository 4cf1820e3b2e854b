"""The tables of a descriptor, as types. Their fields are its keys; `descriptor` says what each is for."""

from fnmatch import fnmatchcase
from typing import Annotated, Literal

import msgspec

from conformance.targets import versions
from protocol.world import MILLISECOND, SECOND

#: The pattern of a deviation that any case may show.
ANY = "*"


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every table of a descriptor."""


class Version(Table, frozen=True, kw_only=True):
    """How the target's version is asked for, and which versions this descriptor is about."""

    command: tuple[str, ...]
    accepts: str = ""


class Settings(Table, frozen=True, kw_only=True):
    """What a controller runs with that changes how it must behave. The defaults are those of ipyparallel."""

    scheme: Literal["leastload", "lru", "plainrandom", "twobin", "weighted", "pure"] = "leastload"
    hwm: Annotated[int, msgspec.Meta(ge=0)] = 1


class Controller(Table, frozen=True, kw_only=True):
    """How a controller is started, and where it writes its connection files; or where those of a running one are."""

    command: tuple[str, ...] = ()
    attach: bool = False
    client_file: str
    engine_file: str
    ready: Literal["answers", "files"] = "answers"
    environment: dict[str, str] = {}
    settings: Settings = Settings()
    options: dict[str, tuple[str, ...]] = {}


class Engine(Table, frozen=True, kw_only=True):
    """How an engine is started. The kit writes its connection file, `{engine_file}`, before."""

    command: tuple[str, ...]
    environment: dict[str, str] = {}
    options: dict[str, tuple[str, ...]] = {}


class Client(Table, frozen=True, kw_only=True):
    """How a client's driver is started. It is told by lines of JSON on its standard input what the client is to do."""

    command: tuple[str, ...]
    environment: dict[str, str] = {}


class Kernel(Table, frozen=True, kw_only=True):
    """How a plain kernel is started. The kit writes its connection file, `{kernel_file}`, before.

    With `attach` it runs already, and `kernel_file` says where its connection file is.
    """

    command: tuple[str, ...] = ()
    attach: bool = False
    kernel_file: str = ""
    environment: dict[str, str] = {}


class Samples(Table, frozen=True, kw_only=True):
    """Code in the language of the engine or kernel, one line or several each. A case that needs more says nothing.

    The kit replaces `{text}` by a word of letters and digits, `{seconds}` by a decimal number, `{count}` by an integer
    and `{name}` by the name of a variable. All other braces stay as they are.

    print             writes {text} and a line end to standard output
    stderr            writes {text} and a line end to standard error
    raise             ends with an error; {text} may be part of it
    sleep             takes {seconds} seconds, in which other threads of the engine may run
    value             an expression whose value is shown as a text that holds {text}
    many_lines        writes the numbers from 0 to {count} - 1, a line each, and flushes after each
    hold_interpreter  takes {seconds} seconds, in which no other code of the language runs in the engine
    input             asks whoever runs it for a line, with the prompt {text}
    publish           publishes data under the name {name}
    define            sets the variable {name}
    recall            uses the variable {name}, and ends with an error if it was never set

    For kernels also:

    busy              computes for {seconds} seconds, without waiting for anything
    read_line         asks for a line with the prompt {text}, and writes it to standard output
    password          asks for a password with the prompt {text}
    read_stdin        reads from the standard input of the process itself
    display           displays a value whose text holds {text}
    display_as        the same, under the display id {name}
    update_display    replaces what is displayed under the display id {name} by a value whose text holds {text}
    clear_output      clears what is displayed
    background        starts a thread that writes {text} after {seconds} seconds, and does not wait for it
    unencodable       writes a character that is none (half a surrogate pair, U+D800), then {text} and a line end
    undecodable       writes what the language puts for a byte that is no text, then {text} and a line end
    comm_target       makes {name} a target of comms
    incomplete        code to which a line is missing
    invalid           code that can never run
    """

    print: str = ""
    stderr: str = ""
    raise_: str = msgspec.field(name="raise", default="")
    sleep: str = ""
    value: str = ""
    many_lines: str = ""
    hold_interpreter: str = ""
    input: str = ""
    publish: str = ""
    define: str = ""
    recall: str = ""
    busy: str = ""
    read_line: str = ""
    password: str = ""
    read_stdin: str = ""
    display: str = ""
    display_as: str = ""
    update_display: str = ""
    clear_output: str = ""
    background: str = ""
    unencodable: str = ""
    undecodable: str = ""
    comm_target: str = ""
    incomplete: str = ""
    invalid: str = ""


class Timing(Table, frozen=True, kw_only=True):
    """The target's timers and the kit's patience; the unit is part of each name, the properties are nanoseconds.

    The defaults are those of ipyparallel without options.
    """

    heartbeat_period_ms: int = 3000
    allowed_misses: int = 10
    registration_timeout_s: int = 30
    scheduler_grace_s: float = 5.0
    durable_s: float = 2.5
    engine_timeout_s: float = 5.0
    engine_misses: int = 50
    reply_deadline_s: float = 10.0
    margin_s: float = 1.0
    start_deadline_s: float = 30.0
    stop_grace_s: float = 5.0

    def patient(self, seconds: float) -> "Timing":
        """The same timers of a target for whose answers somebody waits at least so long."""
        return msgspec.structs.replace(
            self,
            reply_deadline_s=max(self.reply_deadline_s, seconds),
            start_deadline_s=max(self.start_deadline_s, seconds),
            margin_s=max(self.margin_s, min(seconds, 5.0)),
        )

    @property
    def heartbeat_period(self) -> int:
        """Nanoseconds between two pings."""
        return self.heartbeat_period_ms * MILLISECOND

    @property
    def heart_failure(self) -> tuple[int, int]:
        """The window after the last beat, in nanoseconds, in which a silent engine must be declared dead.

        Source: measured on ipyparallel 9.2.0: between (misses + 1) and (misses + 2) periods.
        """
        return (self.allowed_misses + 1) * self.heartbeat_period, (self.allowed_misses + 2) * self.heartbeat_period

    @property
    def registration_timeout(self) -> int:
        """Nanoseconds after which a registered engine without a heartbeat is forgotten."""
        return self.registration_timeout_s * SECOND

    @property
    def scheduler_grace(self) -> int:
        """Nanoseconds between an engine's death and the EngineError for the tasks it had."""
        return round(self.scheduler_grace_s * SECOND)

    @property
    def durable(self) -> int:
        """Nanoseconds after which what was recorded in a database on disk survives the death of the controller.

        Source: measured on ipyparallel 9.2.0: it commits every two seconds.
        """
        return round(self.durable_s * SECOND)

    @property
    def engine_timeout(self) -> int:
        """Nanoseconds that an engine waits for the reply to its registration."""
        return round(self.engine_timeout_s * SECOND)

    @property
    def engine_watch(self) -> int:
        """Nanoseconds without a ping after which an engine must have given its controller up.

        Source: measured on ipyparallel 9.2.0: it looks every period and half a second.
        """
        return (self.engine_misses + 1) * (self.heartbeat_period + SECOND // 2)

    @property
    def reply_deadline(self) -> int:
        """Nanoseconds to wait for a reply before silence counts as a violation."""
        return round(self.reply_deadline_s * SECOND)

    @property
    def margin(self) -> int:
        """Nanoseconds that a busy machine may add to any of the target's own times."""
        return round(self.margin_s * SECOND)

    @property
    def announcement(self) -> int:
        """Nanoseconds until an engine whose heart beats must be announced: heard at a beat, noticed at the next."""
        return 3 * self.heartbeat_period + self.reply_deadline

    @property
    def start_deadline(self) -> int:
        """Nanoseconds that the target may take until it is ready."""
        return round(self.start_deadline_s * SECOND)

    @property
    def stop_grace(self) -> int:
        """Nanoseconds that the target may take to end by itself before it is killed."""
        return round(self.stop_grace_s * SECOND)


class Deviation(Table, frozen=True, kw_only=True):
    """A violation that is known: it does not fail a run unless it is unreviewed or the run is strict."""

    slug: str
    evidence: str
    reason: str
    case: str = ANY
    found: str = ""
    versions: str = ""
    intermittent: bool = False
    unreviewed: bool = False

    def covers(self, slug: str, case: str, version: str | None) -> bool:
        """Whether this is about a violation of `slug`, found by the case with this node id, in this version.

        `case` is a pattern with `*` and `?`; it is also compared with the part of the node id after the last `::`,
        without parameters. A deviation of certain versions does not cover a target whose version is unknown (None).
        """
        return slug == self.slug and _matches(case, self.case) and self.is_about(version)

    def excuses(self, slug: str, found: str) -> bool:
        """Whether this is about a violation of `slug` in a conversation that nobody wrote down, with these words.

        `found` is a pattern with `*` and `?`. Without one every violation of the slug is meant if every case is, but
        none of `wire.`: those are about all messages, and what is known of one says nothing of another.
        """
        if slug != self.slug:
            return False
        if self.found:
            return self.tells(found)
        return self.case == ANY and not slug.startswith("wire.")

    def tells(self, found: str) -> bool:
        """Whether this is about harm in these words, done by damage to a running target; any, if it names none."""
        return not self.found or fnmatchcase(found, self.found.replace("[", "[[]"))

    def is_about(self, version: str | None) -> bool:
        """Whether a target of this version is meant."""
        return not self.versions or (version is not None and versions.accepts(self.versions, version))


def _matches(case: str, pattern: str) -> bool:
    short = case.rpartition("::")[2].partition("[")[0]
    # Brackets are literal: node ids of parametrised cases contain them.
    glob = pattern.replace("[", "[[]")
    return fnmatchcase(case, glob) or fnmatchcase(short, glob)

"""Target descriptors: a TOML file that says what an implementation is, how it starts, and what it is known to break.

    name = "ipyparallel"                    # shown in reports
    dialect = "ipyparallel-9"
    roles = ["controller"]                  # or ["engine"]; each role has a table of its own
    features = ["db", "history"]            # what the target claims beyond the core; see FEATURES
    simulates = "reference"                 # only if it runs in virtual time: whose verdicts it must share

    [version]                               # optional
    command = ["{python}", "-c", "..."]     # prints the version on its first line
    accepts = ">=9.2,<10"

    [controller]
    command = ["{python}", "-m", "...", "--dir", "{dir}"]
    client_file = "{dir}/security/client.json"
    engine_file = "{dir}/security/engine.json"
    ready = "answers"                       # or "files": ready as soon as both files can be read
    environment = { NAME = "value" }

    [controller.settings]                   # what it runs with unless a case asks for something else
    scheme = "leastload"
    hwm = 1

    [controller.options]                    # arguments behind the command, by which a case may ask; see OPTIONS
    scheme = ["--scheme", "{scheme}"]

    [engine]                                # the kit is its controller, and writes {engine_file} before it starts
    command = ["my-engine", "--file={engine_file}", "--max-misses={engine_misses}"]
    environment = { NAME = "value" }

    [samples]                               # code in the language of the engine; see Samples
    print = "print('{text}')"

    [timing]                                # the target's own timers, as the command sets them
    heartbeat_period_ms = 100

    [[deviation]]                           # one per violation that is known and argued
    slug = "query.purge-pending-refused"
    case = "conformance/test_queries.py::*"
    versions = "<=9.2.0"
    evidence = "what was sent, what came back"
    reason = "why it is so, and where it is reported"

A controller is ready when it answers, an engine when its registration_request arrives.

Placeholders: `{dir}` the private directory in which the target runs, `{here}` the folder of the descriptor, `{python}`
this interpreter, `{client_file}`, `{engine_file}`, and every number of `[timing]` by its name, so that no timer is
written twice. `{{` and `}}` stand for braces, except in samples: there only the names of that sample stand for
something. An unknown key, feature or placeholder is an error that names the nearest known one: a typo must never
quietly weaken a run.
"""

import difflib
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import msgspec

from conformance.files import data
from conformance.targets import versions
from conformance.targets.errors import DescriptorError
from protocol import requirements
from protocol.patterns import CONTROLLER, ENGINE
from protocol.world import MILLISECOND, SECOND

FOLDER: Final = "fixtures/targets"
#: The target that can be given mutants.
SIMULATED: Final = "simulated"
#: The name of the connection file that the kit writes for an engine.
ENGINE_FILE: Final = "ipcontroller-engine.json"

Role = Literal["controller", "engine"]
Dialect = Literal["ipython-0.1x", "documented", "ipyparallel-9"]

#: Whose requirements a target of each role has to keep, as the registry names them.
ROLES: Final[Mapping[Role, frozenset[str]]] = {"controller": CONTROLLER | {"controller"}, "engine": frozenset(ENGINE)}

#: What a target of each role may have or lack. Cases name these words in `needs`; a target without one is not judged
#: by them.
FEATURES: Final[Mapping[Role, Mapping[str, str]]] = {
    "controller": {
        "queue": "queue_request and load_request",
        "results": "result_request",
        "purge": "purge_request",
        "db": "db_request with keys and operators",
        "history": "history_request",
        "resubmit": "resubmit_request",
        "dask": "become_dask_request and stop_distributed_request",
        "shutdown": "shutdown_request to the hub ends the whole controller",
        "requested-ids": "an engine may ask for its id when it registers",
        "mux": "the MUX queue",
        "tasks": "the task queue with dependencies and retries",
        "control": "the control queue",
        "iopub": "the IOPub queue",
        "broadcast": "the broadcast tree",
        "hub-process": "the Hub, which listens at the registration port, is a process without any of the queues",
    },
    "engine": {
        "apply": "apply_request, with functions of Python that are pickled by reference",
        "dependencies": "a call that raises ipyparallel's UnmetDependency is refused as such",
        "output": "what code writes, shows and raises is published on IOPub",
        "clear": "clear_request",
        "abort": "abort_request",
        "signal": "signal_request",
        "kernel-info": "kernel_info_request and is_complete_request, as a kernel answers them",
        "tasks": "requests through the task queue",
        "broadcast": "requests through the broadcast tree",
        "watch": "it ends by itself when the pings of its controller stop",
    },
}

#: What a case may ask of a controller of its own, and what the arguments of that option must bring about. A target
#: without an option is not judged by the cases that need it set.
OPTIONS: Final[Mapping[str, str]] = {
    "scheme": "the task scheduler chooses by `{scheme}`: leastload, lru, plainrandom, twobin, weighted or pure",
    "hwm": "an engine has at most `{hwm}` tasks at a time; 0 means any number",
    "broadcast_depth": "the broadcast tree has `{broadcast_depth}` levels below its root, each node with two branches",
    "curve": "everything is encrypted with CURVE",
    "signature_scheme": "messages are signed as `{signature_scheme}` says, such as hmac-sha512",
    "empty_key": "the key is empty, and messages are not signed",
    "database": "records are kept on disk, and are there for a controller that is started again in the same directory",
    "no_database": "no records are kept",
    "record_limit": "at most `{record_limit}` records are kept, the latest ones",
    "restore": "started in the directory of a controller that was killed, it goes on with its addresses and engines",
}

#: No settings: a target runs as its descriptor says.
AS_IT_IS: Final[Mapping[str, object]] = MappingProxyType({})

_PLACEHOLDER: Final = re.compile(r"\{\{|\}\}|\{([A-Za-z_]*)\}")


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every table of a descriptor."""


class Version(_Table, frozen=True, kw_only=True):
    """How the target's version is asked for, and which versions this descriptor is about."""

    command: tuple[str, ...]
    accepts: str = ""


class Settings(_Table, frozen=True, kw_only=True):
    """What a controller runs with that changes how it must behave. The defaults are those of ipyparallel."""

    scheme: Literal["leastload", "lru", "plainrandom", "twobin", "weighted", "pure"] = "leastload"
    hwm: Annotated[int, msgspec.Meta(ge=0)] = 1


class Controller(_Table, frozen=True, kw_only=True):
    """How a controller is started, and where it writes its connection files."""

    command: tuple[str, ...]
    client_file: str
    engine_file: str
    ready: Literal["answers", "files"] = "answers"
    environment: dict[str, str] = {}
    settings: Settings = Settings()
    options: dict[str, tuple[str, ...]] = {}


class Engine(_Table, frozen=True, kw_only=True):
    """How an engine is started. The kit writes its connection file, `{engine_file}`, before."""

    command: tuple[str, ...]
    environment: dict[str, str] = {}


class Samples(_Table, frozen=True, kw_only=True):
    """Code in the engine's own language, one line or several each. What cases need and is missing is not judged.

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
    define            sets the variable {name}
    recall            uses the variable {name}, and ends with an error if it was never set
    """

    print: str = ""
    stderr: str = ""
    raise_: str = msgspec.field(name="raise", default="")
    sleep: str = ""
    value: str = ""
    many_lines: str = ""
    hold_interpreter: str = ""
    input: str = ""
    define: str = ""
    recall: str = ""


#: What the kit has to be able to write into each sample.
SLOTS: Final[Mapping[str, str]] = {
    "print": "text", "stderr": "text", "sleep": "seconds", "value": "text", "many_lines": "count",
    "hold_interpreter": "seconds", "input": "text", "define": "name", "recall": "name",
}  # fmt: skip


class Timing(_Table, frozen=True, kw_only=True):
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


class Deviation(_Table, frozen=True, kw_only=True):
    """A violation that is known: it does not fail a run unless it is unreviewed or the run is strict."""

    slug: str
    evidence: str
    reason: str
    case: str = "*"
    versions: str = ""
    intermittent: bool = False
    unreviewed: bool = False

    def covers(self, slug: str, case: str, version: str | None) -> bool:
        """Whether this is about a violation of `slug`, found by the case with this node id, in this version.

        `case` is a pattern with `*` and `?`; it is also compared with the part of the node id after the last `::`,
        without parameters. A deviation of certain versions does not cover a target whose version is unknown (None).
        """
        return slug == self.slug and _matches(case, self.case) and self.is_about(version)

    def is_about(self, version: str | None) -> bool:
        """Whether a target of this version is meant."""
        return not self.versions or (version is not None and versions.accepts(self.versions, version))


class Target(_Table, frozen=True, kw_only=True):
    """A descriptor, read and checked. `file` is where it was read from.

    One that `simulates` another target is the kit's own roles in virtual time; nothing is started for it.
    """

    name: str
    dialect: Dialect
    roles: tuple[Role, ...]
    simulates: str = ""
    controller: Controller | None = None
    engine: Engine | None = None
    samples: Samples = Samples()
    version: Version | None = None
    features: tuple[str, ...] = ()
    timing: Timing = Timing()
    deviations: tuple[Deviation, ...] = msgspec.field(name="deviation", default=())
    file: str
    #: What is wrong with it on purpose: a name of `conformance.mutants`. No descriptor says so: see `load`.
    mutant: str = ""

    @property
    def is_simulated(self) -> bool:
        """Whether it runs in virtual time."""
        return bool(self.simulates)

    def placeholders(self, directory: Path, role: Role | None = None) -> dict[str, str]:
        """The value of every placeholder for a target that runs in `directory`, in this role or in none."""
        values = {"python": sys.executable, "here": str(Path(self.file).parent), "dir": str(directory)}
        values |= {name: _plain(value) for name, value in msgspec.structs.asdict(self.timing).items()}
        if role == "controller" and self.controller is not None:
            for name in ("client_file", "engine_file"):
                values[name] = expand(getattr(self.controller, name), values)
        if role == "engine":
            values["engine_file"] = str(directory / ENGINE_FILE)
        return values

    def arguments(self, settings: Mapping[str, object], directory: Path) -> list[str]:
        """What is put behind the command of a controller that a case asks to run with these settings."""
        options = self.controller.options if self.controller else {}
        values = self.placeholders(directory, "controller") | {name: str(value) for name, value in settings.items()}
        return [expand(text, values) for name in settings for text in options[name]]

    def deviation(self, slug: str, case: str, version: str | None) -> Deviation | None:
        """The first known deviation that covers a violation, or None."""
        return next((known for known in self.deviations if known.covers(slug, case, version)), None)


def known() -> list[str]:
    """The names of the descriptors that the kit brings along."""
    return sorted(path.stem for path in data(FOLDER).glob("*.toml"))


def load(name_or_path: str | Path) -> Target:
    """The target of this name, or of the descriptor file at this path (which ends in `.toml` or has a folder).

    `simulated+NAME` is the simulation with this mutant in it. Raises DescriptorError, in one sentence.
    """
    text = str(name_or_path)
    base, _, mutant = text.partition("+")
    if mutant and base == SIMULATED:
        return _infected(load(base), mutant)
    if isinstance(name_or_path, Path) or text.endswith(".toml") or "/" in text or "\\" in text:
        path = Path(name_or_path)
    else:
        if text not in known():
            choice = ", ".join(known()) or "none"
            raise DescriptorError(
                f"there is no target {text!r}{_hint(text, known())}; known targets: {choice}; or give the path of a "
                "descriptor file"
            )
        path = data(FOLDER) / f"{text}.toml"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DescriptorError(f"{path}: cannot be read: {error.strerror or error}") from None
    return parse(content, path)


def _infected(target: Target, mutant: str) -> Target:
    # The mutants are made of what is described here.
    from conformance.mutants import find

    try:
        find(mutant)
    except KeyError as error:
        raise DescriptorError(error.args[0]) from None
    return msgspec.structs.replace(target, name=f"{target.name}+{mutant}", mutant=mutant)


def parse(content: bytes, path: Path) -> Target:
    """The target that these bytes describe; `path` is where they stood. Raises DescriptorError, in one sentence."""
    try:
        raw = tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        raise DescriptorError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    except tomllib.TOMLDecodeError as error:
        raise DescriptorError(f"{path}: is not TOML: {error}") from None
    _check_names(raw, Target, path, "")
    try:
        target = msgspec.convert(raw | {"file": str(path.resolve()), "mutant": ""}, Target)
    except msgspec.ValidationError as error:
        sentence, _, where = str(error).partition(" - at ")
        where = where.strip("`").removeprefix("$.")
        raise DescriptorError(f"{path}: {where + ': ' if where else ''}{_lower(sentence)}") from None
    _check_values(target, path)
    return target


def expand(text: str, values: Mapping[str, str]) -> str:
    """A text with its placeholders filled in. Raises KeyError for an unknown one."""
    return _PLACEHOLDER.sub(lambda found: values[found[1]] if found[1] is not None else found[0][0], text)


def _check_names(raw: Mapping[str, Any], table: type[_Table], path: Path, where: str) -> None:
    # msgspec finds wrong names too, but not the name that was meant.
    fields = {field.encode_name: field for field in msgspec.structs.fields(table) if field.name != "file"}
    for key, value in raw.items():
        place = f"{where}{key}"
        if key not in fields:
            kind = "table" if isinstance(value, dict) else "key"
            allowed = f"; allowed here: {', '.join(fields)}" if not _hint(key, fields) else ""
            raise DescriptorError(f"{path}: unknown {kind} {place!r}{_hint(key, fields)}{allowed}")
        for inner in _inner_types(fields[key].type):
            if get_origin(inner) is Literal:
                for word in value if isinstance(value, list) else [value]:
                    if isinstance(word, str):
                        _check_word(word, get_args(inner), path, place)
            elif isinstance(inner, type) and issubclass(inner, _Table):
                entries = enumerate(value) if isinstance(value, list) else [("", value)]
                for number, entry in entries:
                    if isinstance(entry, dict):
                        _check_names(entry, inner, path, f"{place}[{number}]." if number != "" else f"{place}.")


def _inner_types(kind: Any) -> Iterable[Any]:
    if get_origin(kind) is Literal or not get_args(kind):
        return (kind,)
    return [inner for part in get_args(kind) for inner in _inner_types(part)]


def _check_values(target: Target, path: Path) -> None:
    def check_rule(rule: str, where: str) -> None:
        try:
            versions.parse(rule)
        except ValueError as error:
            raise DescriptorError(f"{path}: {where}: {error}") from None

    for name, number in msgspec.structs.asdict(target.timing).items():
        if number < 0 or (number == 0 and name != "allowed_misses"):
            raise DescriptorError(f"{path}: timing.{name}: expected a positive number, found {number}")
    if not target.roles:
        raise DescriptorError(f"{path}: roles: names no role; allowed: {', '.join(get_args(Role))}")
    started = () if target.is_simulated else target.roles
    for role in get_args(Role):
        if target.is_simulated and getattr(target, role) is not None:
            raise DescriptorError(f"{path}: roles: nothing is started for a simulated target, so there is no [{role}]")
        if (getattr(target, role) is None) == (role in started):
            what = f"the role {role!r} needs a table [{role}]" if role in target.roles else (
                f"there is a table [{role}], but {role!r} is not among the roles"
            )  # fmt: skip
            raise DescriptorError(f"{path}: roles: {what}")
    for feature in target.features:
        _check_word(feature, [name for role in target.roles for name in FEATURES[role]], path, "features")
    _check_samples(target, path)
    if target.version is not None:
        _check_command(target, None, target.version.command, path, "version.command")
        check_rule(target.version.accepts, "version.accepts")
    for role in started:
        _check_start(target, role, path)
    for index, deviation in enumerate(target.deviations):
        _check_word(deviation.slug, requirements.load(), path, f"deviation[{index}].slug")
        check_rule(deviation.versions, f"deviation[{index}].versions")
        for name in ("evidence", "reason"):
            if not getattr(deviation, name).strip() and not (name == "reason" and deviation.unreviewed):
                raise DescriptorError(f"{path}: deviation[{index}].{name}: is empty")


def _check_start(target: Target, role: Role, path: Path) -> None:
    table = getattr(target, role)
    if isinstance(table, Controller):
        for name in ("client_file", "engine_file"):
            _check_text(getattr(table, name), ("python", "here", "dir", *_timers()), path, f"controller.{name}")
    _check_command(target, role, table.command, path, f"{role}.command")
    values = target.placeholders(Path("dir"), role)
    for name, text in table.environment.items():
        _check_text(text, values, path, f"{role}.environment.{name}")
    for option, arguments in table.options.items() if isinstance(table, Controller) else ():
        _check_word(option, OPTIONS, path, "controller.options")
        for text in arguments:
            _check_text(text, (*values, option), path, f"controller.options.{option}")


def _check_command(target: Target, role: Role | None, command: tuple[str, ...], path: Path, where: str) -> None:
    if not command or not command[0].strip():
        raise DescriptorError(f"{path}: {where}: is empty")
    values = target.placeholders(Path("dir"), role)
    for text in command:
        _check_text(text, values, path, where)


def _check_samples(target: Target, path: Path) -> None:
    given = {field.encode_name: getattr(target.samples, field.name) for field in msgspec.structs.fields(Samples)}
    if any(given.values()) and "engine" not in target.roles:
        raise DescriptorError(f"{path}: samples: are code for an engine, and 'engine' is not among the roles")
    for name, text in given.items():
        slot = SLOTS.get(name)
        if text and slot and f"{{{slot}}}" not in text:
            raise DescriptorError(f"{path}: samples.{name}: lacks {{{slot}}}, in whose place the kit writes its own")


def _check_text(text: str, names: Iterable[str], path: Path, where: str) -> None:
    known_names = list(names)
    for found in _PLACEHOLDER.finditer(text):
        if found[1] is not None and found[1] not in known_names:
            raise DescriptorError(
                f"{path}: {where}: unknown placeholder {found[0]}{_hint(found[1], known_names)}"
                " (write {{ and }} for braces)"
            )


def _check_word(word: str, words: Iterable[str], path: Path, where: str) -> None:
    choice = list(words)
    if word not in choice:
        few = f"; allowed: {', '.join(choice)}" if len(choice) <= 20 else ""
        raise DescriptorError(f"{path}: {where}: unknown value {word!r}{_hint(word, choice)}{few}")


def _timers() -> list[str]:
    return [field.name for field in msgspec.structs.fields(Timing)]


def _hint(word: str, words: Iterable[str]) -> str:
    by_lower = {each.lower(): each for each in words}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return f", did you mean {by_lower[near[0]]!r}?" if near else ""


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _matches(case: str, pattern: str) -> bool:
    short = case.rpartition("::")[2].partition("[")[0]
    # Brackets are literal: node ids of parametrised cases contain them.
    glob = pattern.replace("[", "[[]")
    return fnmatchcase(case, glob) or fnmatchcase(short, glob)

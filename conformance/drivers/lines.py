"""What the kit and a driver say to each other, on the driver's standard input and output: one JSON object a line.

The driver begins: its first line is a `Hello`. Then the kit sends commands, each with a number that no other command
has, and the driver answers each once: with an `Ok`, or with a `Failed`. A command that waits for something must not
keep the driver from the next one, so answers come in any order; everything else is done in the order in which it was
told. Nothing else may be written to standard output. The driver ends when its standard input does.

One client at a time: `connect` makes it, `close` ends it, and forgets whatever it was asked. Engines are named by their
numbers, requests by the numbers of the commands that sent them. All times are seconds. What a client cannot be told
(a timeout, where it has none) is left out: it is for the kit to say what follows from that. A client that lacks
something altogether fails the command with the kind `unsupported`.
"""

from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

#: The version of this language; a driver says in its first line which one it speaks.
VERSION: Final = 1

Timeout = Annotated[float, Meta(ge=0, description="Seconds after which the command has to fail, with kind `timeout`.")]
Engines = Annotated[tuple[int, ...], Meta(description="Numbers of engines.")]
Queue = Annotated[
    Literal["mux", "task", "broadcast"],
    Meta(description="To each engine named; to any engine, or to one of those named; to all that are named at once."),
]


class Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="do"):
    """Base of the commands."""

    #: What a client must be able to do, as descriptors call it; "" for what every client can.
    feature: ClassVar[str] = ""
    id: Annotated[int, Meta(ge=1, description="The number of the command.")]


class Connect(Command, frozen=True, kw_only=True, tag="connect"):
    """Make a client of the controller that this connection file tells of; done when it knows the engines."""

    file: Annotated[str, Meta(description="Path of the connection file.")]
    timeout: Timeout


class Close(Command, frozen=True, kw_only=True, tag="close"):
    """Close the client, if there is one."""


class ListEngines(Command, frozen=True, kw_only=True, tag="engines"):
    """Tell which engines the client knows at this moment. Answer: `engines`."""


class Request(Command, frozen=True, kw_only=True):
    """Base of what sends work. Answer: `msg_ids`, as soon as it is sent, or surely going to be.

    For a task, `after` and `follow` are the commands that sent those on which it depends, `retries` how often it may be
    run again, and `within` how long it may wait for an engine.
    """

    queue: Queue = "mux"
    to: Engines = ()
    after: tuple[int, ...] = ()
    follow: tuple[int, ...] = ()
    retries: int = 0
    within: float | None = None
    coalescing: Annotated[bool, Meta(description="Of a broadcast: whether one reply is to come for all.")] = False


class Execute(Request, frozen=True, kw_only=True, tag="execute"):
    """Have code executed. It is no program: nobody runs it, the engines are the kit."""

    feature = "execute"
    code: str


class Apply(Request, frozen=True, kw_only=True, tag="apply"):
    """Have a function called, which is named as in Python: `operator.add`.

    An argument `{"bytes": N}` stands for N bytes.
    """

    feature = "apply"
    function: str
    args: tuple[Any, ...] = ()
    keywords: dict[str, Any] = {}


class Wait(Command, frozen=True, kw_only=True, tag="wait"):
    """Wait until requests are done, all or the first of them, or the time is up. Answer: `done`, not an error."""

    of: Annotated[tuple[int, ...], Meta(description="The commands that sent them.")]
    timeout: Annotated[float, Meta(ge=0)]
    until: Literal["all", "first"] = "all"


class Result(Command, frozen=True, kw_only=True, tag="result"):
    """Get what became of a request. Answer: `results`."""

    of: int
    timeout: Timeout


class Output(Command, frozen=True, kw_only=True, tag="output"):
    """Get what was written for a request that is done, when all of it has come. Answer: `output`."""

    feature = "output"
    of: int
    timeout: Timeout


class QueueStatus(Command, frozen=True, kw_only=True, tag="queue_status"):
    """Ask the Hub what engines have to do; all if none are named. Answer: `content`, of its reply."""

    feature = "queue"
    to: Engines = ()
    verbose: bool = False
    timeout: Timeout


class ResultStatus(Command, frozen=True, kw_only=True, tag="result_status"):
    """Ask the Hub which of these requests are done. Answer: `content`, of its reply."""

    feature = "results"
    msg_ids: tuple[str, ...]
    timeout: Timeout


class Purge(Command, frozen=True, kw_only=True, tag="purge"):
    """Let the Hub forget requests, or all of some engines."""

    feature = "purge"
    msg_ids: tuple[str, ...] | Literal["all"] = ()
    to: Engines = ()
    timeout: Timeout


class Resubmit(Command, frozen=True, kw_only=True, tag="resubmit"):
    """Have requests sent again by the Hub. Answer: `msg_ids`, the new ones in the order of the old.

    `result` then tells what became of the new ones, as the Hub says.
    """

    feature = "resubmit"
    msg_ids: tuple[str, ...]
    timeout: Timeout


class History(Command, frozen=True, kw_only=True, tag="history"):
    """Ask the Hub for all requests that it knows. Answer: `msg_ids`."""

    feature = "history"
    timeout: Timeout


class DbQuery(Command, frozen=True, kw_only=True, tag="db_query"):
    """Have the Hub look up records. Answer: `records`, with the buffers of each as the numbers of their bytes."""

    feature = "db"
    query: Annotated[dict[str, Any], Meta(description="Conditions, in the query language of MongoDB.")]
    keys: Annotated[tuple[str, ...] | None, Meta(description="Fields wanted; null for all but the buffers.")] = None
    timeout: Timeout


class Abort(Command, frozen=True, kw_only=True, tag="abort"):
    """Have engines drop requests that wait there."""

    feature = "abort"
    msg_ids: tuple[str, ...]
    to: Engines
    timeout: Timeout


class Clear(Command, frozen=True, kw_only=True, tag="clear"):
    """Have engines forget all names."""

    feature = "clear"
    to: Engines
    timeout: Timeout


class Signal(Command, frozen=True, kw_only=True, tag="signal"):
    """Have engines sent a signal."""

    feature = "signal"
    signal: int | str
    to: Engines
    timeout: Timeout


class Shutdown(Command, frozen=True, kw_only=True, tag="shutdown"):
    """End engines; or, with `hub`, all engines and then the controller."""

    feature = "shutdown"
    to: Engines = ()
    hub: bool = False
    timeout: Timeout


AnyCommand = (
    Connect | Close | ListEngines | Execute | Apply | Wait | Result | Output | QueueStatus | ResultStatus | Purge
    | Resubmit | History | DbQuery | Abort | Clear | Signal | Shutdown
)  # fmt: skip


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one request at one engine. Only what the status needs is there."""

    status: Literal["ok", "error", "aborted"]
    value: Annotated[Any, Meta(description="What a call returned, as JSON.")] = None
    ename: str = ""
    evalue: str = ""


class Written(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was written to the streams for one request."""

    stdout: str = ""
    stderr: str = ""


class Told(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a command has to tell; each command has its own key of these, or none.

    `results` and `output` have one entry for each engine that a request went to, in the order in which they were named.
    """

    engines: tuple[int, ...] | None = None
    msg_ids: tuple[str, ...] | None = None
    done: tuple[int, ...] | None = None
    results: tuple[Outcome, ...] | None = None
    output: tuple[Written, ...] | None = None
    content: dict[str, Any] | None = None
    records: tuple[dict[str, Any], ...] | None = None


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a command failed.

    `remote`: the Hub or an engine answered with an error. `timeout`: somebody did not answer in time, and `message`
    says who. `refused`: the client itself would not do it. `unsupported`: it has no such thing. `internal`: the driver
    has a mistake, which is held against nobody.
    """

    kind: Literal["remote", "timeout", "refused", "unsupported", "internal"]
    message: str = ""
    ename: str = ""
    evalue: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to a command: exactly one of `ok` and `error`."""

    id: int
    ok: Told | None = None
    error: Problem | None = None


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of a driver: that it is there, and which version of this language it speaks."""

    hello: Annotated[str, Meta(description="What it drives, in words.")]
    version: int = VERSION


_COMMANDS: Final = msgspec.json.Decoder(AnyCommand)
_encode: Final = msgspec.json.Encoder().encode


class LineError(ValueError):
    """A line that is none of this language; the text says why."""


def read_command(line: bytes) -> AnyCommand:
    """The command in a line. Raises LineError."""
    command: AnyCommand = _read(line, _COMMANDS)
    return command


def read_hello(line: bytes) -> Hello:
    """The first line of a driver. Raises LineError, also for another version."""
    hello: Hello = _read(line, _HELLO)
    if hello.version != VERSION:
        raise LineError(f"it speaks version {hello.version} of the drivers' language, and the kit version {VERSION}")
    return hello


def read_answer(line: bytes) -> Answer:
    """The answer in a line. Raises LineError."""
    answer: Answer = _read(line, _ANSWERS)
    if (answer.ok is None) == (answer.error is None):
        raise LineError("an answer has either `ok` or `error`")
    return answer


def write(line: AnyCommand | Answer | Hello) -> bytes:
    """A line, without its end."""
    return _encode(line)


def _read(line: bytes, decoder: msgspec.json.Decoder[Any]) -> Any:
    try:
        return decoder.decode(line)
    except msgspec.DecodeError as error:
        shown = line[:200].decode(errors="replace")
        raise LineError(f"{error}; the line was {shown!r}") from None


_HELLO: Final = msgspec.json.Decoder(Hello)
_ANSWERS: Final = msgspec.json.Decoder(Answer)


def schema() -> dict[str, Any]:
    """The JSON Schema of every line: a command for a driver, or what it says itself."""
    kinds = (AnyCommand, Hello, Answer)
    (command, hello, answer), definitions = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The lines between the kit and the driver of a client",
        "oneOf": [command, hello, {"allOf": [answer, {"oneOf": [{"required": ["ok"]}, {"required": ["error"]}]}]}],
        "$defs": definitions,
    }

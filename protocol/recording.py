"""Recordings: a stream of observations as JSON lines, to be judged again elsewhere and later.

The first line is an object with `format` ("ippkit-recording"), `version` (1) and the circumstances; each later line is
an observation, a fact, or (the last) the end:

    {"format": "ippkit-recording", "version": 1, "about": "...", "scheme": "hmac-sha256", "packer": "json",
     "setting": {"dialect": "ipyparallel-9", "period_ns": 100000000, ...}}
    {"seq": 1, "now": 1000, "observer": "client-1", "socket": "client-1/query", "channel": "query",
     "direction": "sent", "peer": "hub", "frames": ["<IDS|MSG>", "8a4f...", "{...}", "{}", "{}", "{}", {"hex": "00ff"}]}
    {"seq": 2, "now": 2000, "observer": "kit", "fact": "socket-closed", "data": {"socket": "client-1/query"}}
    {"end": 3000}

Times are nanoseconds of the recorder's clock. A frame is a string where it is printable UTF-8, else its hexadecimal
digits. `why` is there on damage sent on purpose. A key is written only if it was invented for tests (it begins with
`invented-`): then the reader checks the signatures itself. Otherwise each observation that was refused keeps its
`problems`, because nobody can find a wrong signature again without the key.

`vantage` is who recorded: `peer` (the default) is a party that wrote down what crossed its own sockets. `relay` lay
between the parties: its observers are the parties themselves, as far as they could be told apart, and frames are as on
the wire, without the identity that a ROUTER adds in front of what it receives and takes away from what it sends. The
fact `link` tells what is at both ends of a connection (`data` is that of `Ends`); the observations of a connection name
its number behind a `#`, at the end of their socket.

Recordings may be long: `Reader` reads line by line, and `head`, `line` and `end` write so.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final, Literal, get_args

import msgspec

from protocol.errors import FrameName, Problem, ProtocolError, RemoteProtocolError
from protocol.rules.parts import RAW
from protocol.rules.setting import Setting
from protocol.wire import Codec, Frame, Message
from protocol.world import Direction, Fact, Observation

FORMAT: Final = "ippkit-recording"
VERSION: Final = 1
#: Only keys that begin so are ever written down.
INVENTED: Final = "invented-"
#: The fields of a line that holds an observation; `why` and `problems` may be missing.
OBSERVATION_FIELDS: Final = (
    "seq", "now", "observer", "socket", "channel", "direction", "peer", "frames", "why", "problems"
)  # fmt: skip

RecordedBy = Literal["peer", "relay"]

_FRAME_NAMES: Final = frozenset(get_args(FrameName))


class RecordingError(ValueError):
    """A recording that cannot be read: which line and which field, what was expected and what stands there.

    The field `line` is the line as a whole.
    """

    def __init__(self, line: int, field: str, expected: str, found: str) -> None:
        self.line = line
        self.field = field
        self.expected = expected
        self.found = found
        place = f"line {line}" if field == "line" else f"line {line}, {field}"
        super().__init__(f"{place}: expected {expected}, found {found}")


class Accusation(msgspec.Struct, frozen=True, kw_only=True):
    """A violation that the recording is known to show."""

    requirement: str
    rule: str
    guilty: str
    evidence: tuple[int, ...]


class End(msgspec.Struct, frozen=True, kw_only=True):
    """What one end of a connection told of itself: `identity`, written as frames are, is None for types without one.

    `unreadable` says why nothing could be read of what it sent, and from which byte on.
    """

    socket_type: str = ""
    identity: str | dict[str, str] | None = None
    version: str = ""
    mechanism: str = ""
    unreadable: str = ""

    @property
    def routing_id(self) -> bytes:
        """The identity as bytes; empty if none is set."""
        if isinstance(self.identity, dict):
            return bytes.fromhex(self.identity.get("hex", ""))
        return (self.identity or "").encode()


class Ends(msgspec.Struct, frozen=True, kw_only=True):
    """A connection: `near` has connected and is `party`, of this kind (client, engine, frontend); `far` has bound.

    `closed_by` is near, far or relay; empty while the connection is open.
    """

    link: int
    party: str
    kind: str
    channel: str
    near: End = End()
    far: End = End()
    closed_by: str = ""

    @property
    def socket(self) -> str:
        """The name of the socket in its observations."""
        return f"{self.party}/{self.channel}#{self.link}"


def ends_of(fact: Fact) -> Ends | None:
    """What a fact `link` tells of a connection; None for any other fact, and for data that are of another form."""
    if fact.name != "link":
        return None
    try:
        ends = msgspec.convert(fact.data, Ends)
        _ = ends.near.routing_id, ends.far.routing_id
    except ValueError:
        return None
    return ends


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The circumstances in which a stream was recorded: the first line of a recording."""

    setting: Setting = Setting()
    about: str = ""
    key: str = ""
    scheme: str = "hmac-sha256"
    packer: str = "json"
    vantage: RecordedBy = "peer"
    violations: tuple[Accusation, ...] | None = None

    @property
    def codec(self) -> Codec:
        """The codec of the recording; without its key it verifies nothing."""
        return codec_of(self.key, self.scheme, self.packer, self.setting)


class Recording(Head, frozen=True, kw_only=True):
    """A whole stream, and the time at which it ended (nanoseconds)."""

    items: tuple[Observation | Fact, ...]
    end: int


def codec_of(key: str, scheme: str, packer: str, setting: Setting) -> Codec:
    """The codec that reads what was spoken under these circumstances."""
    return Codec(key.encode(), scheme=scheme, packer=packer, metadata=setting.dialect != "ipython-0.1x")


def open_frames(codec: Codec, channel: str, frames: tuple[Frame, ...]) -> tuple[Message | None, ProtocolError | None]:
    """What an observation of these frames holds: a message, or why it is none, or neither where frames are raw."""
    if channel in RAW:
        return None, None
    try:
        return codec.open(frames), None
    except ProtocolError as error:
        return None, error


def write(recording: Recording) -> Iterator[str]:
    """The lines of a recording, without line ends. Raises ValueError for a key that was not invented for tests."""
    yield head(recording)
    for item in recording.items:
        yield line(item, has_key=bool(recording.key))
    yield end(recording.end)


def head(recorded: Head) -> str:
    """The first line. Raises ValueError as `write`."""
    told: dict[str, object] = {"format": FORMAT, "version": VERSION, "about": recorded.about}
    if recorded.key:
        if not recorded.key.startswith(INVENTED):
            raise ValueError(f"only keys that begin with {INVENTED!r} are written into recordings")
        told["key"] = recorded.key
    told |= {"scheme": recorded.scheme, "packer": recorded.packer, "setting": recorded.setting}
    if recorded.vantage != "peer":
        told["vantage"] = recorded.vantage
    if recorded.violations is not None:
        told["violations"] = recorded.violations
    return _line(told)


def line(item: Observation | Fact, *, has_key: bool = False) -> str:
    """The line of an item; `has_key` says that the first line has the key, so that problems can be found again."""
    return _line(_fact(item) if isinstance(item, Fact) else _observation(item, with_problems=not has_key))


def end(now: int) -> str:
    """The last line."""
    return _line({"end": now})


def _line(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _fact(fact: Fact) -> dict[str, object]:
    return {"seq": fact.seq, "now": fact.now, "observer": fact.observer, "fact": fact.name, "data": fact.data}


def _observation(seen: Observation, *, with_problems: bool) -> dict[str, object]:
    line: dict[str, object] = {
        "seq": seen.seq,
        "now": seen.now,
        "observer": seen.observer,
        "socket": seen.socket,
        "channel": seen.channel,
        "direction": seen.direction,
        "peer": seen.peer,
        "frames": [written(bytes(frame)) for frame in seen.frames],
    }
    if seen.why is not None:
        line["why"] = seen.why
    if with_problems and seen.error is not None:
        line["problems"] = [
            {"frame": each.frame, "rule": each.rule, "expected": each.expected, "found": each.found, "path": each.path}
            for each in seen.error.problems
        ]
    return line


def written(frame: bytes) -> str | dict[str, str]:
    """How a frame stands in a recording."""
    try:
        text = frame.decode()
    except UnicodeDecodeError:
        return {"hex": frame.hex()}
    return text if text.isprintable() else {"hex": frame.hex()}


def read(lines: Iterable[str]) -> Recording:
    """The recording in these lines. Raises RecordingError."""
    reader = Reader(lines)
    items = tuple(reader)
    return Recording(items=items, end=reader.end, **msgspec.structs.asdict(reader.head))


class Reader:
    """A recording line by line: the head at once, the items when they are asked for, the end after the last of them.

    Raises RecordingError, from whatever reads the line. A recording that was cut off ends with its last item.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = enumerate(lines, 1)
        self.end = 0
        number, text = next(self._lines, (1, None))
        if text is None:
            raise RecordingError(number, "line", f"a first line with the format {FORMAT!r}", "nothing")
        self.head = Head(**_Line(number, text).head())

    def __iter__(self) -> Iterator[Observation | Fact]:
        codec, has_key = self.head.codec, bool(self.head.key)
        last, is_over = -1, False
        for number, text in self._lines:
            if is_over:
                raise RecordingError(number, "line", "nothing after the end", "one more line")
            line = _Line(number, text)
            if "end" in line.data:
                self.end = line.take("end", int, "an integer")
                is_over = True
                continue
            item = line.fact() if "fact" in line.data else line.observation(codec, has_key=has_key)
            if item.seq <= last:
                raise RecordingError(number, "seq", f"more than {last}", str(item.seq))
            last, self.end = item.seq, item.now
            yield item


class _Line:
    """One line while it is being read: every complaint names line and field."""

    def __init__(self, number: int, text: str) -> None:
        self.number = number
        try:
            data = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise RecordingError(number, "line", "a JSON object", f"text that is not JSON ({error})") from None
        if not isinstance(data, dict):
            raise RecordingError(number, "line", "a JSON object", f"{data!r:.60}")
        self.data: dict[str, Any] = data

    def take(self, field: str, kind: type, expected: str) -> Any:
        if field not in self.data:
            raise RecordingError(self.number, field, expected, "nothing")
        value = self.data[field]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise RecordingError(self.number, field, expected, f"{value!r:.60}")
        return value

    def text(self, field: str, default: str | None = None) -> str:
        if default is not None and field not in self.data:
            return default
        return str(self.take(field, str, "a string"))

    def converted(self, field: str, kind: Any, value: object) -> Any:
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            raise RecordingError(self.number, field, getattr(kind, "__name__", str(kind)), str(error)) from None

    def check_keys(self, known: Iterable[str]) -> None:
        for field in self.data:
            if field not in known:
                raise RecordingError(self.number, field, "no such field", f"{self.data[field]!r:.60}")

    def head(self) -> dict[str, Any]:
        if (found := self.data.get("format")) != FORMAT:
            raise RecordingError(self.number, "format", repr(FORMAT), repr(found))
        if (version := self.data.get("version")) != VERSION:
            raise RecordingError(self.number, "version", str(VERSION), repr(version))
        self.check_keys(("format", "version", "about", "key", "scheme", "packer", "setting", "vantage", "violations"))
        head: dict[str, Any] = {
            "about": self.text("about", ""),
            "key": self.text("key", ""),
            "scheme": self.text("scheme", "hmac-sha256"),
            "packer": self.text("packer", "json"),
            "setting": self.converted("setting", Setting, self.data.get("setting", {})),
            "vantage": self.converted("vantage", RecordedBy, self.text("vantage", "peer")),
        }
        if "violations" in self.data:
            head["violations"] = self.converted("violations", tuple[Accusation, ...], self.data["violations"])
        try:
            codec_of(head["key"], head["scheme"], head["packer"], head["setting"])
        except ProtocolError as error:
            raise RecordingError(self.number, "scheme or packer", "what the kit can read", str(error)) from None
        return head

    def common(self) -> dict[str, Any]:
        return {
            "seq": self.take("seq", int, "an integer"),
            "now": self.take("now", int, "nanoseconds"),
            "observer": self.text("observer"),
        }

    def fact(self) -> Fact:
        self.check_keys(("seq", "now", "observer", "fact", "data"))
        return Fact(**self.common(), name=self.text("fact"), data=self.take("data", dict, "an object"))

    def observation(self, codec: Codec, *, has_key: bool) -> Observation:
        self.check_keys(OBSERVATION_FIELDS)
        frames = tuple(self.frame(value) for value in self.take("frames", list, "a list of frames"))
        channel = self.text("channel")
        message, error = open_frames(codec, channel, frames)
        if not has_key and "problems" in self.data:
            message, error = None, RemoteProtocolError(*self.problems())
        return Observation(
            **self.common(),
            socket=self.text("socket"),
            channel=channel,
            direction=self.converted("direction", Direction, self.text("direction")),
            peer=self.text("peer"),
            frames=frames,
            message=message,
            error=error,
            why=self.text("why") if "why" in self.data else None,
        )

    def frame(self, value: object) -> bytes:
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, dict) and list(value) == ["hex"] and isinstance(value["hex"], str):
            try:
                return bytes.fromhex(value["hex"])
            except ValueError:
                pass
        raise RecordingError(self.number, "frames", 'a string or {"hex": digits}', f"{value!r:.60}")

    def problems(self) -> list[Problem]:
        found = []
        for value in self.take("problems", list, "a list of problems"):
            fields = self.converted("problems", dict[str, str], value)
            if set(fields) - {"path"} != {"frame", "rule", "expected", "found"} or fields["frame"] not in _FRAME_NAMES:
                raise RecordingError(self.number, "problems", "frame, rule, expected, found and path", repr(fields))
            found.append(Problem(**fields))
        return found

"""What unit tests of roles share: an environment, shorthands for messages, and events that no role expects."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from protocol.errors import Problem, RemoteProtocolError
from protocol.messages import build
from protocol.roles.base import (
    Arrived,
    Effect,
    Exit,
    Finished,
    Fired,
    Forward,
    Found,
    Malformed,
    Output,
    Raw,
    Role,
    Send,
    SendRaw,
    SetTimer,
    Started,
    Stopping,
    Unreachable,
)
from protocol.wire import Codec, Message, ReplayMemory

MS = 1_000_000
SECOND = 1000 * MS
EFFECTS = Effect.__args__
CODEC = Codec(b"key")


class FakeEnv:
    """Counts instead of drawing; keeps the marks."""

    def __init__(self) -> None:
        self.count = 0
        self.marks: list[str] = []
        self.draws: list[int] = []

    def random(self, n: int) -> int:
        return self.draws.pop(0) % n if self.draws else 0

    def fresh_id(self) -> str:
        self.count += 1
        return f"id-{self.count}"

    def date(self, now: int) -> str:
        return f"2026-01-05T12:00:{now // SECOND % 60:02d}.{now % SECOND // 1000:06d}Z"

    def rarely(self, place: str) -> bool:  # noqa: ARG002 - nothing unusual happens here
        return False

    def mark(self, slug: str) -> None:
        self.marks.append(slug)


def message(msg_type: str, content: Any = None, msg_id: str = "m1", **fields: Any) -> Message:
    """A message as a role's socket yields it: it crossed the wire, and its content is not decoded yet."""
    fields.setdefault("session", "client-session")
    return wired(build(msg_type, content, msg_id=msg_id, **fields))


def wired(made: Message, replay: ReplayMemory | None = None) -> Message:
    """What the receiver sees of a message; identities stay as given."""
    codec = CODEC if replay is None else Codec(b"key", replay=replay)
    return codec.open_header(codec.encode(made))


def unreadable(msg_type: str, msg_id: str = "m1", *, part: int = 3, identities: Sequence[bytes] = ()) -> Message:
    """A signed message one of whose parts is no JSON: 1 the parent, 2 the metadata, 3 the content."""
    frames = CODEC.encode(build(msg_type, msg_id=msg_id, session="s"))
    parts = list(frames[2:])
    parts[part] = b"\xff{"
    return CODEC.open_header([*identities, b"<IDS|MSG>", CODEC.sign(b"".join(parts)), *parts])


def sent(effects: Sequence[Effect], socket: str = "", msg_type: str = "") -> list[Message]:
    """The messages that were sent or forwarded, of one socket and type."""
    return [
        one.message
        for one in effects
        if isinstance(one, Send | Forward) and socket in ("", one.socket) and msg_type in ("", one.message.msg_type)
    ]


def of(effects: Sequence[Effect], kind: type) -> list[Any]:
    """The effects of one kind."""
    return [one for one in effects if isinstance(one, kind)]


_texts = st.sampled_from(["", "m1", "m2", "engine-a", "engine-b", "ok", "error", "aborted", "é", "0"])
_scalars = st.none() | st.booleans() | st.integers(-2, 5) | st.floats(allow_nan=False, allow_infinity=False) | _texts
_values = st.recursive(_scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3))
_identities = st.lists(st.sampled_from([b"", b"client", b"engine-a", b"engine-b", b"\x00abcd", b"in"]), max_size=4)
_KEYS = [
    "msg_ids", "uuid", "id", "sig", "status", "engines", "restart", "code", "silent", "hb_period", "targets", "content",
    "is_coalescing", "original_msg_id", "engine", "broadcast_targets", "execution_count", "hearts", "msg_id",
    "is_broadcast", "cursor_pos", "dependencies_met", "timeout", "after", "follow", "retries", "query", "keys",
]  # fmt: skip
_dicts = st.dictionaries(st.sampled_from(_KEYS), _values | st.lists(st.tuples(_texts, st.integers(-1, 4)).map(list)))


@st.composite
def messages(draw: st.DrawFn, types: Sequence[str]) -> Message:
    """Any signed message, often of the types given, some with a part that cannot be read."""
    msg_type = draw(st.sampled_from([*types, "strange_request", "strange_reply", ""]))
    identities = draw(_identities)
    msg_id = draw(st.sampled_from(["m1", "m2", "m3", "id-1", "id-2", "m1_engine-a"]))
    if draw(st.integers(0, 7)) == 0:
        return unreadable(msg_type, msg_id, part=draw(st.integers(1, 3)), identities=identities)
    parent = draw(st.just({}) | _dicts | st.builds(lambda one: {"msg_id": one}, _texts | st.just("id-1")))
    fields: dict[str, Any] = {
        "parent": parent, "metadata": draw(_dicts), "buffers": draw(st.lists(st.binary(max_size=4), max_size=3)),
        "identities": identities,
    }  # fmt: skip
    made = build(msg_type, draw(_dicts), msg_id=msg_id, **fields)
    return wired(made) if draw(st.booleans()) else made


def events(
    sockets: Sequence[str],
    types: Sequence[str],
    timers: Sequence[str] = (),
    results: st.SearchStrategy[Any] | None = None,
) -> st.SearchStrategy[Any]:
    """Any event, on sockets that exist and on one that does not."""
    where = st.sampled_from([*sockets, "nowhere"])
    frames = st.lists(st.sampled_from([b"", b"\x00", b"\x01", b"engine-a", b"1.5", b"x" * 40]), max_size=4).map(tuple)
    broken = RemoteProtocolError(Problem("delimiter", "wire.delimiter-present", "one", "none"))
    outcome = _values if results is None else results | _values
    return st.one_of(
        st.builds(Started, st.none() | _values),
        st.builds(Arrived, where, messages(types)),
        st.builds(Arrived, where, messages(types)),
        st.builds(Raw, where, frames),
        st.builds(Malformed, where, frames, st.just(broken)),
        st.builds(Fired, st.sampled_from([*timers, "none"]), st.integers(0, 6)),
        st.builds(Found, st.integers(0, 4), st.lists(_dicts, max_size=2), st.none() | st.just("broken")),
        st.builds(Finished, st.integers(0, 6), outcome),
        st.builds(Output, st.integers(0, 6), st.sampled_from(["stream", "x"]), _dicts, st.none() | _dicts),
        st.just(Stopping()),
        st.builds(Unreachable, where, st.sampled_from([b"", b"engine-a"]), messages(types)),
    )  # fmt: skip


def drive(role: Role, steps: Sequence[tuple[int, Any]], clock: int = 0) -> list[list[Effect]]:
    """The effects of each event; every step says how much time passes before it. Stops behind an Exit.

    Each effect must be one that exists, and every message must be one that could be sent.
    """
    seen = []
    for delay, event in steps:
        clock += delay
        effects = list(role.handle(clock, event))
        for effect in effects:
            assert isinstance(effect, EFFECTS), effect
            if isinstance(effect, Send):
                CODEC.encode(effect.message)
            elif isinstance(effect, Forward):
                assert all(type(one) is bytes for one in effect.identities)
            elif isinstance(effect, SetTimer):
                assert effect.at >= clock
            elif isinstance(effect, SendRaw):
                assert all(isinstance(one, bytes | memoryview) for one in effect.frames)
        seen.append(effects)
        if any(isinstance(one, Exit) for one in effects):
            break
    return seen


def check_freeze(make: Any, before: Sequence[tuple[int, Any]], after: Sequence[tuple[int, Any]]) -> None:
    """A role thawed from another's state has that state, and goes on in the same way."""
    first_env, second_env = FakeEnv(), FakeEnv()
    first = make(first_env)
    effects = drive(first, before)
    if effects and any(isinstance(one, Exit) for one in effects[-1]):
        return
    frozen = first.freeze()
    hash(frozen)
    second = make(second_env)
    second.thaw(frozen)
    assert second.freeze() == frozen
    second_env.count = first_env.count
    clock = sum(delay for delay, _ in before)
    assert drive(second, after, clock) == drive(first, after, clock)
    assert second.freeze() == first.freeze()

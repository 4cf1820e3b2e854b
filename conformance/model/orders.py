"""What a client may ask for when it submits work: metadata good and bad, strange buffers, ids of others.

An order is a function of the ledger, of what the step is about and of an engine; its plan says what is sent and, for a
task, what the scheduler must make of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from conformance.harness.actors import APPLY_BUFFERS
from conformance.model.ledger import Dependency, Intent, Job, Ledger, Peer
from protocol.wire import DELIMITER, Json

if TYPE_CHECKING:
    from collections.abc import Mapping

NOBODY: Final = "nobody-has-this"
NEVER: Final = "never-submitted"
CODE: Final = {"code": "1 + 1", "silent": False, "store_history": True, "user_expressions": {},
               "allow_stdin": False, "stop_on_error": True}  # fmt: skip


@dataclass
class Plan:
    """What is sent. With `why` it is sent as it is, whether or not it fits its type."""

    metadata: Json = field(default_factory=dict)
    intent: Intent = field(default_factory=Intent)
    buffers: tuple[bytes, ...] = APPLY_BUFFERS
    msg_type: str = "apply_request"
    content: object = None
    header: Mapping[str, Any] = field(default_factory=dict)
    why: str | None = None
    #: Somebody else's id, or one's own for the second time.
    repeats: Job | None = None
    #: It depends on itself.
    on_itself: str = ""
    #: Content that no relay can read, and none has to.
    octets: bytes = b""


Order = Callable[[Ledger, int, Peer | None], Plan]


def _steered(intent: Intent | None = None, why: str | None = None, /, **metadata: object) -> Plan:
    return Plan(metadata=dict(metadata), intent=intent or Intent(), why=why)


def _on(dependency: Dependency) -> Json:
    return {
        "dependencies": list(dependency.ids), "all": dependency.all, "success": dependency.success,
        "failure": dependency.failure,
    }  # fmt: skip


def _earlier(book: Ledger, about: int, number: int = 1) -> tuple[str, ...]:
    """The ids of one or two tasks that were submitted before."""
    jobs = [job for job in book.of("task") if not job.is_muddled and not job.intent.is_odd and job.client is not None]
    if not jobs:
        return ()
    first = len(jobs) - 1 - about % len(jobs)
    return tuple(jobs[(first - step) % len(jobs)].msg_id for step in range(min(number, len(jobs))))


def _depending(field_: str, *, number: int = 1, form: str = "object", **flags: bool) -> Order:
    def plan(book: Ledger, about: int, peer: Peer | None) -> Plan:
        ids = _earlier(book, about, number)
        if not ids:
            return Plan()
        wanted = Dependency(ids, **flags)
        value: object = _on(wanted) if form == "object" else list(ids) if form == "list" else ids[0]
        both = field_ == "both"
        intent = Intent(
            after=wanted if both or field_ == "after" else None, follow=wanted if both or field_ == "follow" else None
        )
        if form == "on-engine" and peer is not None:
            intent = Intent(after=intent.after, follow=intent.follow, targets=(peer.uuid,))
            return _steered(intent, **{field_: list(ids), "targets": [peer.uuid]})
        return _steered(intent, **({"after": value, "follow": value} if both else {field_: value}))

    return plan


def _targets(book: Ledger, which: str, peer: Peer | None) -> Plan:
    here = [each.uuid for each in book.here]
    gone = [each.uuid for each in book.gone]
    own = [peer.uuid] if peer is not None and peer.state == "here" else here[:1]
    named = {
        "one": own, "two": here[:2], "unknown": [NOBODY], "dead": gone[:1] or [NOBODY], "mixed": [NOBODY, *own],
        "nobody": [],
    }[which]  # fmt: skip
    return _steered(Intent(targets=tuple(named)), targets=named)


def _aimed(which: str) -> Order:
    return lambda book, _, peer: _targets(book, which, peer)


def _limited(*, is_aimed: bool = False, **limit: float) -> Order:
    """A task with `retries` or a `timeout`, for one engine or for any."""

    def plan(_: Ledger, __: int, peer: Peer | None) -> Plan:
        targets = [peer.uuid] if is_aimed and peer is not None and peer.state == "here" else []
        more: Json = {"targets": targets} if targets else {}
        return _steered(Intent(targets=tuple(targets), **limit), **limit, **more)  # type: ignore[arg-type]

    return plan


def _odd(**metadata: object) -> Order:
    return lambda *_: _steered(Intent(is_odd=True), "fields that cannot be read", **metadata)


def _must_fail(slug: str, **metadata: object) -> Order:
    return lambda *_: _steered(Intent(must_fail=slug), **metadata)


def _mux_id(book: Ledger, about: int, _: Peer | None) -> Plan:
    job = book.about(about, book.of("mux"))
    return _steered(Intent(is_odd=True), after=[job.msg_id]) if job is not None else Plan()


def _unknown_beside(book: Ledger, about: int, _: Peer | None) -> Plan:
    ids = [NEVER, *_earlier(book, about)]
    return _steered(Intent(must_fail="dependency.unknown-id-refused"), after=ids)


def _repeated(book: Ledger, about: int, _: Peer | None) -> Plan:
    job = book.about(about, [job for job in book.of("task") if job.client is not None and not job.is_muddled])
    return Plan(repeats=job, why="an id for the second time") if job is not None else Plan()


#: Everything that may be asked for. Those without a word for tasks are plain on other queues, and the other way round.
ORDERS: Final[dict[str, Order]] = {
    "plain": lambda *_: Plan(),
    "plain-too": lambda *_: Plan(),
    "code": lambda *_: Plan(msg_type="execute_request", content=CODE, buffers=()),
    "many-buffers": lambda *_: Plan(buffers=tuple(b"%d" % number for number in range(12))),
    "delimiter-inside": lambda *_: Plan(buffers=(b"f", DELIMITER, b"g", DELIMITER)),
    "empty-buffers": lambda *_: Plan(buffers=(b"f", b"", b"", b"x" * 70_000)),
    "strange-type": lambda *_: Plan(
        msg_type="strange_request", why="a type that nobody knows", intent=Intent(is_odd=True)
    ),
    "more-keys": lambda *_: Plan(metadata={"nobody knows": [1, None, "ü"]}, header={"more": {"than": "usual"}}),
    "opaque-content": lambda *_: Plan(content={"big": "ü" * 300, "deep": [[[[]]]]}, why="content of its own"),
    "no-object": lambda *_: Plan(octets=b"[1]", why="content that is no object"),
    "label": lambda *_: _steered(label="by the book"),
    "to-nobody": lambda *_: Plan(intent=Intent(must_fail="nobody")),
    "target": _aimed("one"),
    "two-targets": _aimed("two"),
    "unknown-target": _aimed("unknown"),
    "dead-target": _aimed("dead"),
    "one-known-target": _aimed("mixed"),
    "no-targets": _aimed("nobody"),
    "after": _depending("after"),
    "after-list": _depending("after", form="list"),
    "after-name": _depending("after", form="name"),
    "after-two": _depending("after", number=2),
    "after-either": _depending("after", number=2, all=False),
    "after-failure": _depending("after", success=False, failure=True),
    "after-any-end": _depending("after", success=True, failure=True),
    "after-two-any-end": _depending("after", number=2, success=True, failure=True),
    "after-either-failure": _depending("after", number=2, all=False, success=False, failure=True),
    "follow": _depending("follow"),
    "follow-list": _depending("follow", form="list"),
    "follow-name": _depending("follow", form="name"),
    "follow-two": _depending("follow", number=2),
    "follow-either": _depending("follow", number=2, all=False),
    "follow-any-end": _depending("follow", success=True, failure=True),
    "follow-either-any-end": _depending("follow", number=2, all=False, success=True, failure=True),
    "after-and-follow": _depending("both"),
    "follow-target": _depending("follow", form="on-engine"),
    "after-unknown": _must_fail("dependency.unknown-id-refused", after=[NEVER]),
    "follow-unknown": _must_fail("dependency.unknown-id-refused", follow=[NEVER]),
    "after-unknown-too": _unknown_beside,
    "after-itself": lambda *_: Plan(on_itself="after", intent=Intent(must_fail="dependency.self-refused")),
    "after-mux": _mux_id,
    "after-nothing": lambda *_: _steered(after=[], follow=[]),
    "after-null": lambda *_: _steered(after=None, follow=None),
    "after-empty-object": lambda *_: _steered(after=_on(Dependency(())), follow=_on(Dependency(()))),
    "retry": _limited(retries=1),
    "retries": _limited(retries=2),
    "retry-there": _limited(retries=1, is_aimed=True),
    "soon": _limited(timeout=0.3),
    "soon-there": _limited(timeout=0.3, is_aimed=True),
    "late": _limited(timeout=60.0),
    "after-number": _odd(after=17),
    "after-numbers": _odd(after=[17]),
    "after-object": _odd(after={"all": True}),
    "follow-lists": _odd(follow=[["a"]]),
    "targets-number": _odd(targets=17),
    "targets-objects": _odd(targets=[{}]),
    "timeout-word": _odd(timeout="soon"),
    "timeout-list": _odd(timeout=[1]),
    "timeout-beyond": _odd(timeout=1e300),
    "retries-word": _odd(retries="x"),
    "retries-null": _odd(retries=None),
    "repeated": _repeated,
    "foreign": _repeated,
}
#: The orders that mean something on control, and on MUX.
SIMPLE: Final = frozenset({"plain", "plain-too", "code", "more-keys", "label", "to-nobody"})
ANYWHERE: Final = SIMPLE | {
    "many-buffers",
    "delimiter-inside",
    "empty-buffers",
    "strange-type",
    "opaque-content",
    "no-object",
}

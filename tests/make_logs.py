"""The recorded logs in fixtures/logs: for each rule one stream that keeps it and one that breaks it.

A scenario arranges something valid; the refused log differs in the one thing that `broken` changes. Run this file to
write the logs again; a test compares.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from protocol.recording import Accusation, Recording, codec_of, open_frames, write
from protocol.rules.setting import Setting
from protocol.wire import DELIMITER, Frame, Message
from protocol.world import MILLISECOND, SECOND, Fact, Observation

LOGS = Path(__file__).parent.parent / "fixtures" / "logs"
KEY = "invented-key-of-the-recorded-logs"
PERIOD = 100 * MILLISECOND
SETTING = Setting(
    period_ns=PERIOD,
    allowed_misses=2,
    registration_timeout_ns=SECOND,
    reply_deadline_ns=2 * SECOND,
    margin_ns=PERIOD,
)
DATE = "2026-01-05T12:00:00.000000Z"
HOST = {
    "iopub": "engine",
    "mux": "mux-relay",
    "control": "control-relay",
    "task": "task-scheduler",
    "heartbeat-ping": "heart-monitor",
    "heartbeat-pong": "heart-monitor",
    "monitor": "heart-monitor",
    "kernel-shell": "kernel",
    "kernel-iopub": "kernel",
    "kernel-stdin": "kernel",
    "kernel-heartbeat": "kernel",
}
ERROR = {"status": "error", "ename": "KeyError", "evalue": "no", "traceback": ["KeyError: no"]}
OK = {"status": "ok"}


class Story:
    """A stream being written: a virtual clock, parties with one socket per channel, a Hub that says what is told."""

    def __init__(self) -> None:
        self.setting = SETTING
        self.codec = codec_of(KEY, "hmac-sha256", "json", SETTING)
        self.items: list[Observation | Fact] = []
        self.now = SECOND
        self.beats = 0
        self.sent = 0
        self.ids = 0
        self.offence: Observation | None = None

    def wait(self, duration: int) -> None:
        self.now += duration

    def see(
        self, party: str, channel: str, direction: str, frames: Sequence[Frame], why: str | None = None
    ) -> Observation:
        self.now += MILLISECOND
        message, error = open_frames(self.codec, channel, tuple(frames))
        seen = Observation(
            seq=len(self.items) + 1, now=self.now, observer=party, socket=f"{party}/{channel}", channel=channel,
            direction=direction, peer=HOST.get(channel, "hub"), frames=tuple(frames), message=message, error=error,
            why=why,
        )  # fmt: skip
        self.items.append(seen)
        return seen

    def fact(self, name: str, /, **data: object) -> None:
        self.note("kit", name, **data)

    def note(self, party: str, about: str, /, **data: object) -> Fact:
        """A fact of somebody's inner state."""
        self.now += MILLISECOND
        fact = Fact(seq=len(self.items) + 1, now=self.now, observer=party, name=about, data=data)
        self.items.append(fact)
        return fact

    def message(self, session: str, msg_type: str, content: object = None, *, header: Mapping[str, Any] | None = None,
                parent: Any = None, **fields: Any) -> Message:  # fmt: skip
        self.sent += 1
        head = {"msg_id": f"{session}_{self.sent}", "msg_type": msg_type, "username": "kit", "session": session,
                "date": DATE, "version": "5.4"}  # fmt: skip
        head = {key: value for key, value in (head | dict(header or {})).items() if value is not None}
        return Message(head, parent_header=parent, content=content, **fields)

    def frames(self, message: Message, parts: Mapping[int, bytes] | None = None) -> list[Frame]:
        """The frames of a message, some of its dictionaries (0 is the header) exchanged before it is signed."""
        # Not the codec's own encoder, which refuses to write what is wrong.
        dictionaries = (message.header, message.parent_header, message.metadata, message.content)
        packed = [(parts or {}).get(index, self.codec.packer.encode(each)) for index, each in enumerate(dictionaries)]
        return [*message.identities, DELIMITER, self.codec.sign(b"".join(packed)), *packed, *message.buffers]

    def ask(self, party: str, msg_type: str, content: object = None, **fields: Any) -> Observation:
        return self.see(party, "query", "sent", self.frames(self.message(party, msg_type, content, **fields)))

    def answer(self, request: Observation, msg_type: str, content: object = None, *,
               parts: Mapping[int, bytes] | None = None, party: str = "",
               damage: Callable[[list[Frame]], list[Frame]] = list, **fields: Any) -> Observation:  # fmt: skip
        fields = {"parent": request.message.header if request.message else {}} | fields
        message = self.message("hub", msg_type, content, **fields)
        return self.see(party or request.observer, "query", "received", damage(self.frames(message, parts)))

    def asked(self, party: str, kind: str, request: object, reply: object, **fields: Any) -> Observation:
        """A request and its answer."""
        return self.answer(self.ask(party, f"{kind}_request", request), f"{kind}_reply", reply, **fields)

    def connect(self, engines: Mapping[str, str] | None = None, party: str = "client-1", **fields: Any) -> Observation:
        return self.asked(party, "connection", {}, {"status": "ok", "engines": dict(engines or {})}, **fields)

    def notify(self, msg_type: str, number: int | None = None, uuid: str = "", party: str = "listener", *,
               same: Observation | None = None, **fields: Any) -> Observation:  # fmt: skip
        content = OK if number is None else {"id": number, "uuid": uuid}
        frames = same.frames if same else self.frames(self.message("hub", msg_type, content, **fields))
        return self.see(party, "notification", "received", frames)

    def came(self, number: int, uuid: str, party: str = "listener", **fields: Any) -> Observation:
        return self.notify("registration_notification", number, uuid, party, **fields)

    def went(self, number: int, uuid: str, party: str = "listener", **fields: Any) -> Observation:
        return self.notify("unregistration_notification", number, uuid, party, **fields)

    def register(self, uuid: str, number: int | None = None, party: str = "", **reply: Any) -> Observation:
        """A registration that is granted; the engine stays pending."""
        number = self.ids if number is None else number
        self.ids = max(self.ids, number) + 1
        request = self.ask(party or uuid, "registration_request", {"uuid": uuid})
        content = {"status": "ok", "id": number, "hb_period": PERIOD // MILLISECOND} | reply
        return self.answer(request, "registration_reply", content, parent={})

    def refuse(self, uuid: str, party: str, msg_type: str = "registration_reply", **fields: Any) -> Observation:
        """A registration that is refused."""
        fields = ({"parent": {}} if msg_type == "registration_reply" else {}) | fields
        return self.answer(self.ask(party, "registration_request", {"uuid": uuid}), msg_type, ERROR, **fields)

    def ping(self, uuid: str = "a", text: bytes | None = None, *, again: bool = False) -> Observation:
        """One ping, at the right time unless it is `again`: another party's sight of the same one."""
        if not again:
            self.now = SECOND + (self.beats + 1) * PERIOD if self.now < SECOND + (self.beats + 1) * PERIOD else self.now
            self.beats += 1
        return self.see(f"{uuid}-heart", "heartbeat-ping", "received", [self.lifetime if text is None else text])

    @property
    def lifetime(self) -> bytes:
        return f"{self.beats * PERIOD / SECOND:.6f}".encode()

    def beat(self, uuid: str = "a", times: int = 1) -> Observation:
        """Pings that the heart answers; the last answer."""
        for _ in range(times):
            ping = self.ping(uuid)
            pong = self.see(f"{uuid}-heart", "heartbeat-pong", "sent", ping.frames, "raw by design: a heart's answer")
        return pong

    def live(self, uuid: str = "a") -> Observation:
        """A whole registration, announced to a listener that was there before; the announcement."""
        if not any(isinstance(item, Fact) and item.name == "subscribed" for item in self.items):
            self.fact("subscribed", socket="listener/notification")
        number = self.ids
        self.register(uuid)
        self.beat(uuid)
        return self.came(number, uuid)


class Scenario(NamedTuple):
    build: Callable[[Story, bool], Observation | Fact | None]
    guilty: str
    also: tuple[str, ...]


SCENARIOS: dict[str, Scenario] = {}


def log(
    rule: str, *also: str, guilty: str = "hub"
) -> Callable[[Callable[[Story, bool], Any]], Callable[[Story, bool], Any]]:
    """Register the scenario of a rule; its refused log breaks the rules `also` as well, inevitably.

    The scenario returns the item that must be among the evidence, or None for the last one.
    """

    def add(build: Callable[[Story, bool], Any]) -> Callable[[Story, bool], Any]:
        assert rule not in SCENARIOS, rule
        SCENARIOS[rule] = Scenario(build, guilty, also)
        return build

    return add


def make(rule: str, *, broken: bool) -> Recording:
    """The accepted or the refused log of a rule."""
    scenario, story = SCENARIOS[rule], Story()
    offence = scenario.build(story, broken) or next(i for i in reversed(story.items) if isinstance(i, Observation))
    violations = [
        Accusation(
            requirement=".".join(name.split(".")[:2]), rule=name, guilty=scenario.guilty, evidence=(offence.seq,)
        )
        for name in ((rule, *scenario.also) if broken else ())
    ]
    about = f"{rule}: {'broken' if broken else 'kept'}"
    return Recording(
        items=tuple(story.items),
        end=story.now,
        setting=story.setting,
        about=about,
        key=KEY,
        violations=tuple(violations),
    )


def path_of(rule: str, *, broken: bool) -> Path:
    return LOGS / f"{rule}.{'refused' if broken else 'accepted'}.jsonl"


def render(rule: str, *, broken: bool) -> str:
    return "".join(f"{line}\n" for line in write(make(rule, broken=broken)))


def load() -> dict[str, Scenario]:
    """All scenarios by the name of their rule."""
    import log_kernel_scenarios
    import log_query_scenarios
    import log_scenarios
    import log_work_scenarios

    assert log_kernel_scenarios
    assert log_scenarios
    assert log_query_scenarios
    assert log_work_scenarios
    return SCENARIOS


def main() -> None:
    load()

    LOGS.mkdir(parents=True, exist_ok=True)
    for old in LOGS.glob("*.jsonl"):
        old.unlink()
    for rule in SCENARIOS:
        for broken in (False, True):
            path_of(rule, broken=broken).write_text(render(rule, broken=broken), encoding="utf-8")


if __name__ == "__main__":
    import sys

    # Scenarios register themselves in the module `make_logs`, not in `__main__`.
    sys.path.insert(0, str(Path(__file__).parent))
    import make_logs

    make_logs.main()

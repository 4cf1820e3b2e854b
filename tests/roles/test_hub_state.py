"""The Hub under any events: it never fails, its state can be moved, and its promises hold in any order of things."""

from typing import Any

import pytest
from hub_desk import CLIENT, OK, TIMEOUT, Desk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from role_world import SECOND, FakeEnv, check_freeze, drive, events, message, messages, wired

from protocol.messages import build
from protocol.roles.base import Arrived, Found, Started
from protocol.roles.hub import REQUESTS, Hub, HubConfig
from protocol.roles.records import MemoryRecords, new_record
from protocol.wire import Message

TYPES = [
    *REQUESTS, "new_heart", "stopped_heart", "task_destination", "apply_request", "apply_reply", "stream", "error",
    "execute_input", "execute_result", "shutdown_reply", "status",
]  # fmt: skip
PREFIXES = [b"in", b"out", b"intask", b"outtask", b"tracktask", b"inbcast", b"outbcast", b"iopub", b"heartmonitor"]
UUIDS = ["engine-a", "engine-b", "engine-c"]
IDS = ["m1", "m2", "m3"]


@st.composite
def queue_traffic(draw: st.DrawFn) -> Arrived:
    """Any message behind a prefix of the monitor, often of something that is known."""
    made = draw(messages(TYPES))
    front = [draw(st.sampled_from(PREFIXES)), *draw(st.lists(st.sampled_from([b"engine-a", b"", CLIENT]), max_size=2))]
    made.identities = tuple(front)
    return Arrived("monitor", made)


@st.composite
def sensible(draw: st.DrawFn) -> Arrived:
    """A request or verdict that does something."""
    uuid, msg_id = draw(st.sampled_from(UUIDS)), draw(st.sampled_from(IDS))
    kind = draw(st.integers(0, 7))
    if kind == 0:
        return _query("registration_request", {"uuid": uuid})
    if kind == 1:
        return _query("unregistration_request", {"id": draw(st.integers(0, 3))})
    if kind == 2:
        verdict = draw(st.sampled_from(["new_heart", "stopped_heart"]))
        return _seen(verdict, {"hearts": [uuid]}, b"heartmonitor", b"", session=draw(st.sampled_from(["x", "y"])))
    if kind == 3:
        return _seen("apply_request", {}, b"in", uuid.encode(), CLIENT, msg_id=msg_id)
    if kind == 4:
        return _seen("apply_reply", OK, b"out", CLIENT, uuid.encode(), parent={"msg_id": msg_id})
    if kind == 5:
        return _seen("stream", {"name": "stdout", "text": "x"}, b"iopub", b"t", parent={"msg_id": msg_id})
    if kind == 6:
        return _query("purge_request", {"msg_ids": [msg_id]})
    return _query(draw(st.sampled_from(["queue_request", "history_request"])), {"targets": None})


def _query(msg_type: str, content: Any) -> Arrived:
    return Arrived("query", message(msg_type, content, identities=[CLIENT]))


def _seen(msg_type: str, content: Any, *identities: bytes, **fields: Any) -> Arrived:
    return Arrived("monitor", message(msg_type, content, identities=identities, **fields))


FOUND = st.builds(
    Found,
    st.integers(1, 6),
    st.lists(
        st.builds(
            new_record, st.sampled_from(IDS), header=st.just({"msg_id": "m1", "msg_type": "apply_request"}),
            engine_uuid=st.sampled_from([*UUIDS, None]), queue=st.sampled_from(["mux", "task", None]),
            completed=st.sampled_from([None, "2026-01-05T12:00:01.000000Z"]), metadata=st.just({"is_broadcast": True}),
        ),
        max_size=3,
    ),
    st.sampled_from([None, None, "broken"]),
)  # fmt: skip
TIMERS = ["registration:0", "registration:1", "stranded:0", "stranded:-1", "shutdown", "registration:", "stranded:x"]
EVENTS = st.one_of(
    events(list(Hub.SOCKETS), TYPES, TIMERS), queue_traffic(), sensible(), sensible(), FOUND,
    st.builds(Started, st.just({"engines": {"0": "engine-a"}, "next_id": 1})),
)  # fmt: skip
STEPS = st.lists(st.tuples(st.integers(0, 40 * SECOND), EVENTS), max_size=25)


def make(env: FakeEnv) -> Hub:
    return Hub(HubConfig(notes=True), env)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_no_event_makes_the_hub_fail(steps: Any) -> None:
    drive(make(FakeEnv()), steps)


@settings(max_examples=200, deadline=None)
@given(STEPS, STEPS)
def test_a_state_can_be_moved(before: Any, after: Any) -> None:
    check_freeze(make, before, after)


def deep(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {"x": value}
    return value


@pytest.mark.parametrize("msg_type", [*REQUESTS, "stream", "new_heart"])
def test_deeply_nested_parts_do_no_harm(msg_type: str) -> None:
    hub = make(FakeEnv())
    nest = deep(600)
    for key in ("query", "targets", "msg_ids", "uuid", "hearts", "keys", "text"):
        made = build(msg_type, {key: nest}, msg_id="m", metadata={"label": nest}, identities=[CLIENT])
        hub.handle(0, Arrived("query", wired(made)))
        for prefix in PREFIXES:
            made.identities = (prefix, b"engine-a", CLIENT)
            hub.handle(0, Arrived("monitor", wired(made)))


# -- promises, in any order of things ----------------------------------------------------------------------------------


class Life(RuleBasedStateMachine):
    """Engines that come and go, their hearts, requests to them, restarts of the Hub: what is told stays consistent."""

    def __init__(self) -> None:
        super().__init__()
        self.records = MemoryRecords()
        self.desk = Desk(records=self.records)
        self.state: Any = None
        self.announced: dict[int, str] = {}
        self.numbers: list[int] = []
        self.heard = 0
        self.sent: dict[str, Message] = {}
        self.done: dict[str, Any] = {}
        self.count = 0

    def follow(self) -> None:
        """Fold what was published, as a client does; each step must make sense."""
        for msg_type, number, uuid in self.desk.published()[self.heard :]:
            if msg_type == "registration_notification":
                assert number not in self.announced
                self.announced[number] = uuid
            else:
                assert self.announced.pop(number) == uuid
            self.heard += 1

    @rule(uuid=st.sampled_from(UUIDS), wanted=st.none() | st.integers(0, 6))
    def register(self, uuid: str, wanted: int | None) -> None:
        reply = self.desk.ask("registration_request", {"uuid": uuid, "id": wanted}).content
        if reply["status"] == "ok":
            assert reply["id"] not in self.numbers
            self.numbers.append(reply["id"])
            assert uuid not in self.announced.values()
        self.follow()

    @rule(uuid=st.sampled_from(UUIDS), is_new=st.booleans(), session=st.sampled_from(["x", "x", "x", "y"]))
    def verdict(self, uuid: str, is_new: bool, session: str) -> None:
        (self.desk.heard if is_new else self.desk.stopped)(uuid, session=session)
        self.follow()
        assert is_new or uuid not in self.announced.values()

    @rule(number=st.integers(0, 8))
    def leave(self, number: int) -> None:
        self.desk.send("unregistration_request", {"id": number})
        self.follow()
        assert number not in self.announced

    @rule(nanoseconds=st.sampled_from([SECOND, TIMEOUT // 2, TIMEOUT, 3 * TIMEOUT]))
    def wait(self, nanoseconds: int) -> None:
        self.desk.let_pass(nanoseconds)
        self.follow()

    @rule(uuid=st.sampled_from(UUIDS), is_task=st.booleans())
    def submit(self, uuid: str, is_task: bool) -> None:
        self.count += 1
        msg_id = f"m{self.count}"
        if is_task:
            self.sent[msg_id] = self.desk.task(msg_id)
            self.desk.assigned(self.sent[msg_id], uuid)
        else:
            self.sent[msg_id] = self.desk.mux(uuid, msg_id)
        if not is_task and uuid not in self.announced.values() and msg_id not in self.desk.history():
            del self.sent[msg_id]

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), uuid=st.sampled_from(UUIDS))
    def result(self, data: st.DataObject, uuid: str) -> None:
        msg_id = data.draw(st.sampled_from(sorted(self.sent)))
        if self.desk.record(msg_id)["queue"] == "mux":
            self.desk.mux_result(uuid, self.sent[msg_id])
        else:
            self.desk.task_result(uuid, self.sent[msg_id])

    @precondition(lambda self: self.done)
    @rule(data=st.data())
    def purge(self, data: st.DataObject) -> None:
        msg_id = data.draw(st.sampled_from(sorted(self.done)))
        self.desk.told("purge_request", {"msg_ids": [msg_id]})
        del self.sent[msg_id], self.done[msg_id]
        assert self.desk.refused("result_request", {"msg_ids": [msg_id]}) == "result_reply"

    @rule()
    def restart(self) -> None:
        self.state = [self.state, *self.desk.kept][-1]
        self.desk = Desk(state=self.state, records=self.records, has_new_scheduler=False, now=self.desk.now)
        self.heard = 0

    @rule()
    def move(self) -> None:
        state = self.desk.hub.freeze()
        self.desk.hub = Hub(self.desk.hub.config, self.desk.env)
        self.desk.hub.thaw(state)
        assert self.desk.hub.freeze() == state

    @invariant()
    def everybody_is_told_the_same(self) -> None:
        assert {int(number): uuid for number, uuid in self.desk.engines().items()} == self.announced
        assert len(set(self.announced.values())) == len(self.announced)
        pending, completed = self.desk.status_of(*self.sent)
        assert sorted(pending + completed) == sorted(self.sent)
        assert sorted(self.desk.history()) == sorted(self.sent)
        reply = self.desk.queues(None)
        queued = set(reply["unassigned"])
        for number in self.announced:
            entry = reply[str(number)]
            queued |= {*entry["queue"], *entry["tasks"]}
            assert set(entry["completed"]) <= set(completed)
        assert queued <= set(pending)
        for msg_id in completed:
            result = self.desk.record(msg_id)["result_header"]
            assert self.done.setdefault(msg_id, result) == result
        assert set(self.done) <= set(completed)

    def teardown(self) -> None:
        # In the end every request through MUX to an engine that is gone has an end.
        self.desk.let_pass(3 * TIMEOUT)
        self.follow()
        for msg_id in self.status("pending"):
            record = self.desk.record(msg_id)
            assert record["queue"] == "task" or record["engine_uuid"] in self.announced.values()

    def status(self, place: str) -> list[str]:
        found: list[str] = self.desk.told("result_request", {"msg_ids": list(self.sent), "status_only": True})[place]
        return found


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)

"""The client: its view of the engines, its open requests, and waits that end."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from role_world import SECOND, FakeEnv, check_freeze, drive, events, message, of, sent, unreadable

from protocol.messages import validate
from protocol.roles.base import Arrived, Effect, Exit, Fired, Note, SetTimer, Started, Stopping
from protocol.roles.client import Client, ClientConfig, Ended

BUFFERS = [b"f", b"info"]


class Desk:
    """A client of two engines, and the other side of all its sockets."""

    def __init__(self, *, start: bool = True, **config: Any) -> None:
        self.env = FakeEnv()
        self.client = Client(ClientConfig(**config), self.env)
        self.now = 0
        self.count = 0
        if start:
            self.do(Started())
            self.listed({"0": "engine-a", "1": "engine-b"})

    def do(self, event: Any) -> list[Effect]:
        return list(self.client.handle(self.now, event))

    def arrives(self, socket: str, msg_type: str, content: Any = None, **fields: Any) -> list[Effect]:
        self.count += 1
        return self.do(Arrived(socket, message(msg_type, content, f"peer-{self.count}", **fields)))

    def listed(self, engines: Any, asked: str = "") -> list[Effect]:
        return self.arrives(
            "query", "connection_reply", {"status": "ok", "engines": engines},
            parent={"msg_id": asked or self.client.asked},
        )  # fmt: skip

    def notified(self, what: str, number: int, uuid: str) -> list[Effect]:
        return self.arrives("notification", f"{what}_notification", {"id": number, "uuid": uuid})

    def ask(self, socket: str = "mux", msg_type: str = "apply_request", **fields: Any) -> str:
        if socket in ("mux", "control"):
            fields.setdefault("engine", 0)
        if msg_type == "apply_request":
            fields.setdefault("buffers", BUFFERS)
        msg_id, self.effects = self.client.request(self.now, socket, msg_type, **fields)
        return msg_id

    def reply(self, msg_id: str, socket: str = "mux", msg_type: str = "apply_reply", **fields: Any) -> list[Effect]:
        fields.setdefault("identities", [b"engine-a"] if socket in ("mux", "control") else [])
        content = fields.pop("content", {"status": "ok"})
        return self.arrives(socket, msg_type, content, parent={"msg_id": msg_id}, **fields)

    def statuses(self, msg_id: str) -> list[str]:
        return [one.status for one in self.client.answers(msg_id)]

    @property
    def view(self) -> dict[int, str]:
        return self.client.engines.uuids


# -- requests and replies ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("socket", ["mux", "control", "task", "query"])
def test_requests_are_as_the_registry_says(socket: str) -> None:
    desk = Desk()
    msg_type, content = {
        "mux": ("apply_request", {}), "task": ("apply_request", {}), "query": ("queue_request", {"targets": None}),
        "control": ("abort_request", {"msg_ids": None}),
    }[socket]  # fmt: skip
    desk.ask(socket, msg_type, content=content)
    (request,) = sent(desk.effects, socket)
    validate(request, socket, local=True)
    assert request.identities == ((b"engine-a",) if socket in ("mux", "control") else ())


def test_a_reply_ends_its_request_and_no_other_whatever_the_order() -> None:
    desk = Desk()
    first, second = desk.ask(), desk.ask("mux", engine="engine-b")
    desk.reply(second, identities=[b"engine-b"], buffers=[b"2"])
    assert (desk.statuses(first), desk.statuses(second)) == ([], ["ok"])
    desk.reply(first, buffers=[b"1"])
    (answer,) = desk.client.answers(first)
    assert (answer.buffers, answer.engine, answer.local) == ((b"1",), "engine-a", False)


def test_duplicate_late_and_foreign_replies_are_ignored() -> None:
    desk = Desk()
    msg_id = desk.ask()
    desk.reply(msg_id, identities=[b"engine-b"])
    desk.reply(msg_id, socket="task")
    desk.reply(msg_id, msg_type="execute_reply")
    desk.reply("other")
    desk.do(Arrived("mux", message("apply_reply", {"status": "ok"})))
    assert desk.statuses(msg_id) == []
    desk.reply(msg_id)
    desk.reply(msg_id, content={"status": "error"})
    assert desk.statuses(msg_id) == ["ok"]
    desk.client.forget(msg_id)
    desk.reply(msg_id)
    assert desk.statuses(msg_id) == []


def test_refusals_have_types_of_their_own() -> None:
    desk = Desk()
    asked = desk.ask("query", "dance_request")
    desk.reply(asked, "query", "hub_error", content={"status": "error"})
    assert desk.statuses(asked) == ["error"]
    task = desk.ask("task", "execute_request")
    desk.reply(task, "task", "apply_reply", content={"status": "error"})
    assert desk.statuses(task) == ["error"]


def test_a_reply_that_cannot_be_read_ends_its_request_as_an_error() -> None:
    desk = Desk()
    asked = desk.ask("query", "history_request")
    broken = message("history_reply", parent={"msg_id": asked})
    frames = unreadable("history_reply")
    broken.parts, broken._content = (*broken.parts[:3], frames.parts[3]), None  # type: ignore[index]
    desk.do(Arrived("query", broken))
    assert desk.statuses(asked) == ["error"]


def test_a_task_reply_tells_its_engine_by_envelope_or_metadata() -> None:
    for fields in ({"identities": [b"engine-b"]}, {"metadata": {"engine": "engine-b"}}):
        desk = Desk()
        task = desk.ask("task")
        desk.reply(task, "task", **fields)
        assert desk.client.answers(task)[0].engine == "engine-b"


# -- broadcast ---------------------------------------------------------------------------------------------------------


def test_a_broadcast_ends_with_the_last_targets_reply() -> None:
    desk = Desk()
    msg_id = desk.ask("broadcast", targets=[0, "engine-b"])
    (request,) = sent(desk.effects, "broadcast")
    validate(request, "broadcast", local=True)
    assert request.metadata["targets"] == [["engine-a", 0], ["engine-b", 1]]
    for engine in ("engine-a", "engine-a", "engine-c"):
        desk.reply(f"{msg_id}_{engine}", "broadcast", metadata={"original_msg_id": msg_id, "engine": engine})
    assert desk.statuses(msg_id) == ["ok"]
    assert msg_id in desk.client.open
    desk.reply(f"{msg_id}_engine-b", "broadcast")
    assert [one.engine for one in desk.client.answers(msg_id)] == ["engine-a", "engine-b"]
    assert msg_id not in desk.client.open


def test_a_coalesced_reply_and_a_refusal_end_a_broadcast_at_once() -> None:
    desk = Desk()
    together = desk.ask("broadcast", targets=[0, 1], coalescing=True)
    desk.reply(f"{together}_engine-b", "broadcast", metadata={"original_msg_id": together}, buffers=[b"1", b"2"])
    assert desk.statuses(together) == ["ok"]
    refused = desk.ask("broadcast", targets=[0, 1])
    desk.reply(refused, "broadcast", content={"status": "error"})
    assert desk.statuses(refused) == ["error"]
    assert not desk.client.open


def test_a_broadcast_to_an_engine_that_is_gone_reaches_the_others() -> None:
    desk = Desk()
    msg_id = desk.ask("broadcast", targets=[0, 7])
    assert sent(desk.effects, "broadcast")[0].metadata["targets"] == [["engine-a", 0]]
    assert [(one.engine, one.local) for one in desk.client.answers(msg_id)] == [("7", True)]
    nobody = desk.ask("broadcast", targets=[7])
    assert not sent(desk.effects)
    assert desk.statuses(nobody) == ["error"]
    assert nobody not in desk.client.open


# -- engines -----------------------------------------------------------------------------------------------------------


def test_the_view_is_the_snapshot_and_the_notifications_in_any_order_and_number() -> None:
    desk = Desk(start=False)
    desk.do(Started())
    asked = desk.client.asked
    for _ in range(2):
        desk.notified("registration", 1, "engine-b")
    desk.notified("unregistration", 0, "engine-a")
    desk.notified("registration", 2, "engine-c")
    desk.listed({"0": "engine-a", "1": "engine-b"}, asked)
    assert desk.view == {1: "engine-b", 2: "engine-c"}
    desk.notified("unregistration", 1, "engine-b")
    desk.notified("unregistration", 1, "engine-b")
    assert desk.view == {2: "engine-c"}


def test_a_refresh_finds_what_notifications_missed() -> None:
    desk = Desk(refresh=30 * SECOND, grace=0, notes=True)
    msg_id = desk.ask()
    effects = desk.do(Fired("refresh", 0))
    assert of(effects, SetTimer) == [SetTimer("refresh", 30 * SECOND)]
    desk.notified("registration", 5, "engine-f")
    effects = desk.listed({"1": "engine-b", "4": "engine-e"})
    assert desk.view == {1: "engine-b", 4: "engine-e", 5: "engine-f"}
    assert desk.client.engines.ids == {uuid: number for number, uuid in desk.view.items()}
    assert of(effects, Note)[-1].data["engines"] == sorted(desk.view.items())
    assert [one.local for one in desk.client.answers(msg_id)] == [True]


def test_an_engine_that_returned_under_a_new_number_is_another_one() -> None:
    desk = Desk(grace=0)
    msg_id = desk.ask()
    desk.notified("registration", 8, "engine-a")
    assert desk.view == {1: "engine-b", 8: "engine-a"}
    assert desk.statuses(msg_id) == ["error"]


@pytest.mark.parametrize(
    ("msg_type", "content"),
    [
        ("registration_notification", {"id": "x", "uuid": "engine-c"}),
        ("registration_notification", {"id": 5}),
        ("registration_notification", {"id": True, "uuid": "engine-c"}),
        ("unregistration_notification", {"id": -1, "uuid": "engine-a"}),
        ("party_notification", {"id": 0, "uuid": "engine-a"}),
    ],
)
def test_strange_notifications_change_nothing(msg_type: str, content: Any) -> None:
    desk = Desk()
    assert not desk.arrives("notification", msg_type, content)
    assert desk.view == {0: "engine-a", 1: "engine-b"}


@pytest.mark.parametrize("engines", [None, [], {"x": "engine-c", "²": "engine-d", "9" * 30: "e"}, {"3": 4}])
def test_a_strange_snapshot_adds_nobody(engines: Any) -> None:
    desk = Desk(start=False)
    desk.do(Started())
    desk.listed(engines)
    assert desk.view == {}


# -- death -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("socket", ["mux", "control"])
def test_a_dead_engines_requests_end_as_engine_errors_within_the_grace(socket: str) -> None:
    desk = Desk()
    lost, other = desk.ask(socket), desk.ask(socket, engine=1)
    effects = desk.notified("unregistration", 0, "engine-a")
    assert of(effects, SetTimer) == [SetTimer("grace", SECOND, 1)]
    assert desk.statuses(lost) == []
    desk.do(Fired("grace", 1))
    (answer,) = desk.client.answers(lost)
    assert (answer.content["ename"], answer.engine, answer.local) == ("EngineError", "engine-a", True)
    desk.reply(lost, socket)
    assert len(desk.client.answers(lost)) == 1
    assert other in desk.client.open


def test_a_reply_that_was_on_its_way_counts() -> None:
    desk = Desk()
    msg_id = desk.ask()
    desk.notified("unregistration", 0, "engine-a")
    desk.reply(msg_id)
    desk.do(Fired("grace", 1))
    assert [(one.status, one.local) for one in desk.client.answers(msg_id)] == [("ok", False)]


def test_tasks_are_the_schedulers_business() -> None:
    desk = Desk(grace=0)
    task = desk.ask("task")
    desk.notified("unregistration", 0, "engine-a")
    assert desk.statuses(task) == []


def test_a_request_to_nobody_ends_at_once() -> None:
    desk = Desk()
    for engine in (9, "engine-x", None):
        msg_id = desk.ask(engine=engine)
        assert not desk.effects
        assert [(one.content["ename"], one.local) for one in desk.client.answers(msg_id)] == [("EngineError", True)]


def test_when_the_controller_shuts_down_everything_ends() -> None:
    desk = Desk()
    ids = [desk.ask(), desk.ask("task"), desk.ask("broadcast", targets=[0, 1]), desk.ask("query", "shutdown_request")]
    desk.arrives("notification", "shutdown_notification", {"status": "ok"})
    desk.reply(ids[3], "query", "shutdown_reply")
    desk.do(Fired("grace", 1))
    assert [desk.statuses(one) for one in ids] == [["error"], ["error"], ["error", "error"], ["ok"]]
    late = desk.ask("task")
    assert desk.statuses(late) == ["error"]
    assert not desk.client.open


# -- waits -------------------------------------------------------------------------------------------------------------


def test_a_wait_ends_with_its_last_request() -> None:
    desk = Desk()
    ids = [desk.ask(), desk.ask("task")]
    number, effects = desk.client.wait(0, ids, 9 * SECOND)
    assert effects == (SetTimer("wait", 9 * SECOND, number),)
    desk.reply(ids[0])
    assert desk.client.outcome(number) is None
    desk.reply(ids[1], "task")
    assert desk.client.outcome(number) == Ended(tuple(ids), ())
    assert not desk.do(Fired("wait", number))
    assert desk.client.outcome(number) is None


def test_a_wait_for_what_is_done_has_ended() -> None:
    desk = Desk()
    msg_id = desk.ask()
    desk.reply(msg_id)
    number, effects = desk.client.wait(0, [msg_id, "never sent"], SECOND)
    assert (effects, desk.client.outcome(number)) == ((), Ended((msg_id, "never sent"), ()))


def test_at_its_deadline_a_wait_names_who_is_silent_and_the_requests_stay_open() -> None:
    desk = Desk()
    done = desk.ask()
    ids = [
        desk.ask(), desk.ask("task"), desk.ask("query", "history_request"), desk.ask("broadcast", targets=[0, 1]),
        desk.ask("broadcast", targets=[0, 1], coalescing=True), desk.ask("control", "clear_request", engine=1),
    ]  # fmt: skip
    number, _ = desk.client.wait(0, [done, *ids], SECOND)
    desk.reply(done)
    desk.reply(f"{ids[3]}_engine-a", "broadcast")
    desk.do(Fired("wait", number))
    assert desk.client.outcome(number) == Ended(
        (done,),
        tuple(
            zip(
                ids,
                ["engine 0 (engine-a)", "the task scheduler", "the hub", "engines 1 (engine-b)",
                 "the broadcast scheduler", "engine 1 (engine-b)"],
                strict=True,
            )
        ),
    )  # fmt: skip
    desk.reply(ids[0])
    assert desk.statuses(ids[0]) == ["ok"]
    again, _ = desk.client.wait(0, ids[:1], SECOND)
    assert desk.client.outcome(again) == Ended((ids[0],), ())


def test_two_waits_for_one_request_end_both() -> None:
    desk = Desk()
    msg_id = desk.ask()
    numbers = [desk.client.wait(0, [msg_id, msg_id], at)[0] for at in (SECOND, 2 * SECOND)]
    desk.do(Fired("wait", numbers[0]))
    assert desk.client.outcome(numbers[0]) == Ended((), ((msg_id, "engine 0 (engine-a)"),))
    desk.reply(msg_id)
    assert desk.client.outcome(numbers[1]) == Ended((msg_id,), ())


# -- output ------------------------------------------------------------------------------------------------------------


def test_output_is_kept_with_its_request_also_after_the_reply() -> None:
    desk = Desk()
    msg_id = desk.ask()
    several = desk.ask("broadcast", targets=[0, 1])

    def prints(parent: str, text: str) -> None:
        desk.arrives("iopub", "stream", {"name": "stdout", "text": text}, parent={"msg_id": parent}, identities=[b"t"])

    prints(msg_id, "a")
    desk.reply(msg_id)
    prints(msg_id, "b")
    prints("foreign", "c")
    prints(f"{several}_engine-b", "d")
    desk.arrives("iopub", "iopub_welcome", {"subscription": ""})
    assert [one.content["text"] for one in desk.client.outputs(msg_id)] == ["a", "b"]
    assert [one.content["text"] for one in desk.client.outputs(several)] == ["d"]
    desk.client.forget(several)
    prints(f"{several}_engine-b", "e")
    assert desk.client.outputs(several) == ()
    assert not desk.client.copies


def test_a_client_that_wants_no_output_keeps_none() -> None:
    desk = Desk(keep_output=False)
    msg_id = desk.ask()
    desk.arrives("iopub", "stream", {"name": "stdout", "text": "x"}, parent={"msg_id": msg_id})
    assert desk.client.outputs(msg_id) == ()


# -- as a whole --------------------------------------------------------------------------------------------------------


def test_a_client_ends_without_a_word() -> None:
    assert Desk().do(Stopping()) == [Exit()]


_TYPES = [
    "apply_reply", "execute_reply", "hub_error", "connection_reply", "registration_notification", "stream",
    "unregistration_notification", "shutdown_notification", "abort_reply", "history_reply",
]  # fmt: skip
_REQUESTS = [
    {"socket": "mux", "msg_type": "apply_request", "engine": 0},
    {"socket": "control", "msg_type": "abort_request", "engine": "engine-b"},
    {"socket": "task", "msg_type": "execute_request"},
    {"socket": "query", "msg_type": "history_request"},
    {"socket": "broadcast", "msg_type": "apply_request", "targets": (0, 1, 2)},
    {"socket": "broadcast", "msg_type": "apply_request", "targets": ("engine-a",), "coalescing": True},
]
_STEPS = st.lists(
    st.tuples(st.just(1), events(list(Client.SOCKETS), _TYPES, ["wait", "grace", "refresh"])), max_size=40
)


@settings(max_examples=200)
@given(_STEPS, st.integers(0, 1))
def test_every_event_has_an_answer_and_every_wait_an_end(steps: Sequence[tuple[int, Any]], grace: int) -> None:
    def make(env: FakeEnv) -> Client:
        client = Client(ClientConfig(grace=grace, refresh=1, notes=True), env)
        client.handle(0, Started())
        client.handle(0, Arrived("query", message(
            "connection_reply", {"status": "ok", "engines": {"0": "engine-a", "1": "engine-b"}},
            parent={"msg_id": client.asked},
        )))  # fmt: skip
        ids = [client.request(0, **fields)[0] for fields in _REQUESTS]  # type: ignore[arg-type]
        client.wait(0, ids, 99)
        client.wait(0, ids[:2], 99)
        return client

    client = make(FakeEnv())
    waits = list(client.waits)
    drive(client, steps)
    for number in waits:
        client.handle(99, Fired("wait", number))
    assert not client.waits
    assert not any(client.waiting.values())
    assert all(len(client.answers(msg_id)) <= 3 for msg_id in client.replies)
    assert all(client.answers(msg_id) for msg_id in client.replies if msg_id not in client.open)
    check_freeze(make, steps[:20], steps[20:])

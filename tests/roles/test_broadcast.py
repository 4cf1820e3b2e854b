"""The tree of broadcast schedulers: every target is reached once and answered for once, whoever dies."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from role_world import CODEC, SECOND, FakeEnv, check_freeze, drive, events, message, of, sent, unreadable

from protocol.channels import socket_for
from protocol.messages import build, validate
from protocol.roles.base import (
    AGAIN,
    Arrived,
    Effect,
    Exit,
    Fired,
    Forward,
    Send,
    SetTimer,
    Started,
    Stopping,
    Unreachable,
)
from protocol.roles.broadcast import (
    BroadcastConfig,
    BroadcastScheduler,
    leaf_index,
    name_of,
    nodes,
)
from protocol.wire import Message

CLIENT = b"client"
GRACE = 5 * SECOND


class Tree:
    """All nodes of a tree with the links between them, engines 0 to n - 1 with uuids e0, e1, ..., and a client."""

    def __init__(self, depth: int = 1, engines: int = 4) -> None:
        self.depth = depth
        self.env = FakeEnv()
        self.nodes = {
            path: BroadcastScheduler(BroadcastConfig(path=path, depth=depth), self.env) for path in nodes(depth)
        }
        self.now = 0
        self.to_client: list[Message] = []
        self.to_monitor: list[Message] = []
        self.at_engines: list[tuple[str, Message]] = []
        self.timers: list[tuple[int, str, SetTimer]] = []
        self.live: dict[int, str] = {}
        for path in self.nodes:
            self.do(path, Started())
        for number in range(engines):
            self.notify("registration", number, f"e{number}")

    def do(self, path: str, event: Any) -> None:
        for effect in self.nodes[path].handle(self.now, event):
            if isinstance(effect, SetTimer):
                self.timers.append((effect.at, path, effect))
            elif isinstance(effect, Send | Forward):
                self.carry(path, effect)

    def carry(self, path: str, effect: Send | Forward) -> None:
        identities = effect.identities if isinstance(effect, Forward) else effect.message.identities
        frames = (
            CODEC.forward(effect.message, identities) if isinstance(effect, Forward) else CODEC.encode(effect.message)
        )
        arrived = CODEC.open_header(frames)
        me = name_of(path).encode()
        if effect.socket == "client":
            assert identities[0] == CLIENT
            arrived.identities = identities[1:]
            self.to_client.append(arrived)
        elif effect.socket == "monitor":
            self.to_monitor.append(arrived)
        elif effect.socket == "query":
            assert arrived.msg_type == "connection_request"
        elif effect.socket == "parent":
            assert identities[0] == name_of(path[:-1]).encode()
            arrived.identities = (me, *identities[1:])
            self.do(path[:-1], Arrived(f"child{path[-1]}", arrived))
        elif effect.socket.startswith("child"):
            child = path + effect.socket[-1]
            assert identities[0] == name_of(child).encode()
            arrived.identities = (me, *identities[1:])
            self.do(child, Arrived("parent", arrived))
        else:
            assert effect.socket == "engine"
            arrived.identities = (me, *identities[1:])
            self.at_engines.append((identities[0].decode(), arrived))

    def leaf(self, number: int) -> str:
        return nodes(self.depth)[-(1 << self.depth) :][leaf_index(number, self.depth)]

    def notify(self, what: str, number: int, uuid: str) -> None:
        for path in self.nodes:
            self.do(path, Arrived("notification", message(f"{what}_notification", {"id": number, "uuid": uuid})))

    def request(
        self, numbers: Sequence[int], msg_id: str = "b0", *, coalescing: bool = False, msg_type: str = "apply_request"
    ) -> None:
        metadata = {
            "targets": [[f"e{number}", number] for number in numbers], "is_broadcast": True,
            "is_coalescing": coalescing, "label": "all",
        }  # fmt: skip
        content = {} if msg_type == "apply_request" else {"code": "1"}
        one = message(
            msg_type, content, msg_id, metadata=metadata, buffers=[b"f", b"info"], identities=[CLIENT], date="now"
        )
        self.do("0", Arrived("client", one))

    def reply(self, uuid: str, request: Message, status: str = "ok", **metadata: Any) -> None:
        about = {
            "engine": uuid, "status": status, "started": f"2026-01-01T00:00:0{uuid[-1]}.000000Z", "is_broadcast": True,
            "is_coalescing": request.metadata["is_coalescing"], "original_msg_id": request.metadata["original_msg_id"],
        }  # fmt: skip
        content = {"status": status} | ({"ename": "E", "evalue": uuid, "traceback": []} if status == "error" else {})
        made = build(
            request.msg_type.replace("request", "reply"), content, msg_id=f"r-{uuid}-{request.msg_id}-{self.now}",
            parent=request, metadata=about | metadata, buffers=[uuid.encode()] if status == "ok" else [],
        )  # fmt: skip
        arrived = CODEC.open_header(CODEC.encode(made))
        leaf = request.identities[0].decode()
        arrived.identities = (uuid.encode(), *request.identities[1:])
        self.do(leaf.removeprefix("sub_scheduler_"), Arrived("engine", arrived))

    def answer_all(self, **statuses: str) -> None:
        for uuid, request in self.at_engines:
            self.reply(uuid, request, statuses.get(uuid, "ok"))

    def pass_time(self, until: int) -> None:
        self.now = until
        due = [each for each in self.timers if each[0] <= until]
        self.timers = [each for each in self.timers if each[0] > until]
        for _, path, timer in due:
            self.do(path, Fired(timer.timer, timer.epoch))

    def is_quiet(self) -> bool:
        return not any(node.open or node.copies or node.at for node in self.nodes.values())


# -- the way down ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_each_target_is_reached_once_through_its_leaf(depth: int) -> None:
    tree = Tree(depth, engines=10)
    tree.request([1, 4, 9, 4])
    assert sorted(uuid for uuid, _ in tree.at_engines) == ["e1", "e4", "e9"]
    for uuid, request in tree.at_engines:
        number = int(uuid[1:])
        path = tree.leaf(number)
        way = [name_of(path[:length]).encode() for length in range(len(path), 0, -1)]
        assert request.identities == (*way, CLIENT)
        assert request.msg_id == f"b0_{uuid}"
        assert request.buffers == (b"f", b"info")
        assert {key: request.header[key] for key in ("session", "date")} == {"session": "client-session", "date": "now"}
        assert request.metadata["original_msg_id"] == "b0"
        assert request.metadata["targets"] == [[uuid, number]]
        validate(request, "broadcast")


def test_leaves_are_in_the_order_of_the_engines_file() -> None:
    assert nodes(0) == ("0",)
    assert nodes(2) == ("0", "00", "01", "000", "001", "010", "011")
    assert [leaf_index(number, 2) for number in range(5)] == [0, 1, 2, 3, 0]


def test_every_node_opens_the_sockets_of_its_place() -> None:
    for depth in range(4):
        for path in nodes(depth):
            sockets = BroadcastScheduler(BroadcastConfig(path=path, depth=depth), FakeEnv()).sockets
            assert ("client" in sockets) is ("monitor" in sockets) is (path == "0")
            assert ("engine" in sockets) is ("query" in sockets) is (len(path) == depth + 1)
            assert ("child0" in sockets) is (len(path) <= depth)
            for spec in sockets.values():
                assert socket_for(spec.channel, "broadcast-scheduler", side=spec.side)  # type: ignore[arg-type]


# -- the way up --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_without_coalescing_every_target_answers(depth: int) -> None:
    tree = Tree(depth)
    tree.request([0, 1, 2, 3])
    tree.answer_all(e2="error")
    assert sorted((one.metadata["engine"], one.content["status"]) for one in tree.to_client) == [
        ("e0", "ok"), ("e1", "ok"), ("e2", "error"), ("e3", "ok"),
    ]  # fmt: skip
    for one in tree.to_client:
        assert one.identities == ()
        assert one.metadata["original_msg_id"] == "b0"
        assert one.parent_header["msg_id"] == f"b0_{one.metadata['engine']}"
        validate(one, "broadcast")
    assert tree.is_quiet()


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
@pytest.mark.parametrize("msg_type", ["apply_request", "execute_request"])
def test_with_coalescing_there_is_one_reply_with_all_buffers_in_order(depth: int, msg_type: str) -> None:
    tree = Tree(depth)
    tree.request([3, 2, 1, 0], coalescing=True, msg_type=msg_type)
    for uuid, request in tree.at_engines[:-1]:
        tree.reply(uuid, request)
    assert not tree.to_client
    tree.reply(*tree.at_engines[-1])
    (reply,) = tree.to_client
    targets = reply.metadata["broadcast_targets"]
    assert sorted(targets) == [[f"e{number}", number] for number in range(4)]
    assert [bytes(each).decode() for each in reply.buffers] == [uuid for uuid, _ in targets]
    if depth == 0:
        assert targets == [["e3", 3], ["e2", 2], ["e1", 1], ["e0", 0]]
    assert reply.msg_type == msg_type.replace("request", "reply")
    assert reply.parent_header["msg_id"] == "b0"
    assert (reply.metadata["status"], reply.metadata["original_msg_id"], reply.metadata["label"]) == ("ok", "b0", "all")
    assert reply.metadata["started"] == "2026-01-01T00:00:00.000000Z"
    if msg_type == "apply_request":
        validate(reply, "broadcast")
    assert tree.is_quiet()


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_failed_target_does_not_hide_the_others(depth: int) -> None:
    tree = Tree(depth)
    tree.request([0, 1, 2, 3], coalescing=True)
    tree.answer_all(e1="error", e3="aborted")
    (reply,) = tree.to_client
    assert (reply.metadata["status"], reply.content["status"]) == ("error", "error")
    assert sorted(reply.metadata["failed_targets"]) == [["e1", 1], ["e3", 3]]
    assert sorted(bytes(each) for each in reply.buffers) == [b"e0", b"e2"]
    assert len(reply.metadata["broadcast_targets"]) == 4


def test_everything_accepted_is_recorded() -> None:
    tree = Tree()
    tree.request([0, 1])
    tree.answer_all()
    tree.request([0, 1], "b1", coalescing=True)
    tree.at_engines = tree.at_engines[2:]
    tree.answer_all()
    assert [(one.identities, one.msg_type) for one in tree.to_monitor] == [
        ((b"inbcast", CLIENT), "apply_request"),
        ((b"outbcast", CLIENT), "apply_reply"),
        ((b"outbcast", CLIENT), "apply_reply"),
        ((b"inbcast", CLIENT), "apply_request"),
        ((b"outbcast", CLIENT), "apply_reply"),
    ]


def test_duplicate_late_foreign_and_unreadable_replies() -> None:
    tree = Tree(engines=2)
    tree.request([0, 1])
    (_, first), (_, second) = tree.at_engines
    tree.reply("e1", first)
    assert not tree.to_client
    tree.reply("e0", first)
    tree.now += 1
    tree.reply("e0", first)
    assert len(tree.to_client) == 1
    odd = message("apply_reply", {"status": "ok"}, "r1", parent=second.header)
    broken = unreadable("apply_reply")
    odd.parts, odd._content = (*odd.parts[:3], broken.parts[3]), None  # type: ignore[index]
    odd.identities = (b"e1", *second.identities[1:])
    tree.do("01", Arrived("engine", odd))
    assert [one.content["status"] for one in tree.to_client] == ["ok", "error"]
    assert tree.is_quiet()


def test_an_engine_that_forgets_the_clients_id_is_helped() -> None:
    tree = Tree(0, engines=1)
    tree.request([0])
    tree.reply(*tree.at_engines[0], original_msg_id="")
    assert tree.to_client[0].metadata["original_msg_id"] == "b0"


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "metadata",
    [{}, {"targets": None}, {"targets": []}, {"targets": ["e0"]}, {"targets": [["e0"]]}, {"targets": [["e0", "0"]]},
     {"targets": [["e0", -1]]}, {"targets": [["e0", True]]}, {"targets": [["", 0]]}, {"targets": [["<IDS|MSG>", 0]]},
     {"targets": [["é", 0]]}],
)  # fmt: skip
def test_a_broadcast_without_readable_targets_is_refused_and_the_tree_works_on(metadata: Any) -> None:
    tree = Tree()
    tree.do("0", Arrived("client", message("apply_request", msg_id="bad", metadata=metadata, identities=[CLIENT])))
    (refusal,) = tree.to_client
    assert (refusal.msg_type, refusal.content["status"]) == ("apply_reply", "error")
    assert refusal.parent_header["msg_id"] == refusal.metadata["original_msg_id"] == "bad"
    validate(refusal, "broadcast")
    assert not tree.to_monitor
    tree.request([0, 1])
    tree.answer_all()
    assert len(tree.to_client) == 3


def test_what_cannot_be_read_is_refused_and_what_is_no_request_is_dropped() -> None:
    tree = Tree()
    for part in (2, 3):
        tree.do("0", Arrived("client", unreadable("apply_request", part=part, identities=[CLIENT])))
    assert [one.content["status"] for one in tree.to_client] == ["error", "error"]
    tree.do("0", Arrived("client", message("apply_reply", identities=[CLIENT])))
    assert len(tree.to_client) == 2


def test_an_id_that_is_in_use_is_not_used_again() -> None:
    tree = Tree(0)
    tree.request([0, 1])
    tree.request([0, 1])
    assert len(tree.at_engines) == 2
    tree.answer_all()
    assert len(tree.to_client) == 2


# -- the dead ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("coalescing", [False, True])
def test_a_dead_engine_is_answered_for_after_the_grace(depth: int, coalescing: bool) -> None:
    tree = Tree(depth)
    tree.request([0, 1, 2], coalescing=coalescing)
    for uuid, request in tree.at_engines:
        if uuid != "e1":
            tree.reply(uuid, request)
    tree.notify("unregistration", 1, "e1")
    tree.pass_time(GRACE - 1)
    assert len(tree.to_client) == (0 if coalescing else 2)
    tree.pass_time(GRACE)
    assert len(tree.to_client) == (1 if coalescing else 3)
    last = tree.to_client[-1]
    assert last.content["ename"] == "EngineError"
    assert last.content["engine_info"] == {}
    if coalescing:
        assert last.metadata["failed_targets"] == [["e1", 1]]
        assert sorted(bytes(each) for each in last.buffers) == [b"e0", b"e2"]
    else:
        assert (last.metadata["engine"], last.parent_header["msg_id"]) == ("e1", "b0_e1")
    validate(last, "broadcast")
    tree.answer_all()
    assert len(tree.to_client) == (1 if coalescing else 3)
    assert tree.is_quiet()


def test_a_reply_within_the_grace_counts() -> None:
    tree = Tree(engines=1)
    tree.request([0])
    tree.notify("unregistration", 0, "e0")
    tree.answer_all()
    tree.pass_time(GRACE)
    assert [one.content["status"] for one in tree.to_client] == ["ok"]


def test_an_unknown_engine_is_tried_and_then_answered_for() -> None:
    tree = Tree(engines=2)
    tree.request([0, 1, 7])
    assert [uuid for uuid, _ in tree.at_engines] == ["e0", "e1", "e7"]
    tree.answer_all()
    tree.pass_time(GRACE)
    assert len(tree.to_client) == 3
    tree = Tree(engines=2)
    tree.request([7])
    tree.pass_time(GRACE)
    assert [one.content["ename"] for one in tree.to_client] == ["EngineError"]


def test_an_engine_that_the_leaf_learns_of_later_is_waited_for() -> None:
    tree = Tree(engines=2)
    tree.request([2])
    tree.notify("registration", 2, "e2")
    tree.pass_time(GRACE)
    assert not tree.to_client
    tree.answer_all()
    assert [one.content["status"] for one in tree.to_client] == ["ok"]


def test_an_engine_named_with_a_wrong_id_is_answered_for() -> None:
    tree = Tree(engines=2)
    metadata = {"targets": [["e0", 1]], "is_coalescing": False}
    tree.do("0", Arrived("client", message("apply_request", metadata=metadata, identities=[CLIENT])))
    tree.pass_time(GRACE)
    assert [one.content["ename"] for one in tree.to_client] == ["EngineError"]


def test_a_copy_for_an_engine_that_is_not_connected_is_sent_again_until_it_is_answered_for() -> None:
    tree = Tree(0)
    leaf = tree.nodes["0"]
    tree.request([0, 1])
    (_, lost), _ = tree.at_engines
    envelope = (b"e0", CLIENT)
    unsent = lost.replace(identities=envelope)
    for _ in range(2):
        effects = leaf.handle(tree.now, Unreachable("engine", b"e0", unsent))
        (timer,) = of(effects, SetTimer)
        assert timer.at == tree.now + AGAIN
        (again,) = sent(leaf.handle(timer.at, Fired("again", timer.epoch)), "engine")
        assert (again.identities, again.msg_id) == (envelope, "b0_e0")
        assert not leaf.handle(timer.at, Fired("again", timer.epoch))
    (timer,) = of(leaf.handle(tree.now, Unreachable("engine", b"e0", unsent)), SetTimer)
    tree.answer_all()
    assert not leaf.handle(timer.at, Fired("again", timer.epoch))
    assert not leaf.handle(timer.at, Unreachable("engine", b"e0", unsent))
    assert tree.is_quiet()


def test_a_leaf_asks_the_hub_which_engines_there_are_and_again() -> None:
    leaf = BroadcastScheduler(BroadcastConfig(path="0", depth=0, refresh=9), FakeEnv())
    (asked,) = sent(leaf.handle(0, Started()), "query")
    reply = message("connection_reply", {"status": "ok", "engines": {"3": "e3"}}, parent=asked.header)
    assert not leaf.handle(0, Arrived("query", message("connection_reply", {}, parent=asked.header)))
    leaf.handle(0, Arrived("query", reply))
    assert leaf.view.uuids == {3: "e3"}
    metadata = {"targets": [["e3", 3]], "is_coalescing": False}
    leaf.handle(0, Arrived("client", message("apply_request", metadata=metadata, identities=[CLIENT])))
    effects = leaf.handle(SECOND, Fired("refresh", 0))
    assert of(effects, SetTimer) == [SetTimer("refresh", SECOND + 9)]
    (asked,) = sent(effects, "query")
    empty = message("connection_reply", {"status": "ok", "engines": {}}, parent=asked.header)
    assert of(leaf.handle(SECOND, Arrived("query", empty)), SetTimer) == [SetTimer("grace", SECOND + GRACE, 1)]


# -- as a whole --------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(0, 3))
def test_whatever_happens_there_is_one_reply_per_target_or_one_for_all(data: st.DataObject, depth: int) -> None:
    tree = Tree(depth, engines=5)
    requests: dict[str, tuple[set[int], bool]] = {}
    for _ in range(data.draw(st.integers(1, 12))):
        what = data.draw(st.sampled_from(["request", "reply", "die", "register", "time"]))
        if what == "request":
            numbers = data.draw(st.lists(st.integers(0, 6), min_size=1, max_size=5))
            coalescing = data.draw(st.booleans())
            msg_id = f"b{len(requests)}"
            requests[msg_id] = (set(numbers), coalescing)
            tree.request(numbers, msg_id, coalescing=coalescing)
        elif what == "reply" and tree.at_engines:
            uuid, request = data.draw(st.sampled_from(tree.at_engines))
            tree.now += 1
            tree.reply(uuid, request, data.draw(st.sampled_from(["ok", "error", "aborted"])))
        elif what in ("die", "register"):
            number = data.draw(st.integers(0, 6))
            tree.notify("unregistration" if what == "die" else "registration", number, f"e{number}")
        else:
            tree.pass_time(tree.now + data.draw(st.sampled_from([1, GRACE])))
    for number in range(7):
        tree.notify("unregistration", number, f"e{number}")
    tree.pass_time(tree.now + GRACE)
    tree.pass_time(tree.now + GRACE)
    for msg_id, (numbers, coalescing) in requests.items():
        replies = [one for one in tree.to_client if one.metadata["original_msg_id"] == msg_id]
        if coalescing:
            assert len(replies) == 1
            targets = replies[0].metadata["broadcast_targets"]
            failed = replies[0].metadata.get("failed_targets", [])
            assert sorted(targets) == sorted([f"e{number}", number] for number in numbers)
            assert [bytes(each).decode() for each in replies[0].buffers] == [
                uuid for uuid, number in targets if [uuid, number] not in failed
            ]
        else:
            assert sorted(one.metadata["engine"] for one in replies) == sorted(f"e{number}" for number in numbers)
    assert tree.is_quiet()
    assert not any(node.graces for node in tree.nodes.values())


_TYPES = [
    "apply_request", "apply_reply", "execute_request", "connection_reply", "registration_notification",
    "unregistration_notification",
]  # fmt: skip


@pytest.mark.parametrize(("path", "depth"), [("0", 0), ("0", 1), ("01", 1), ("00", 2)])
@settings(max_examples=60)
@given(data=st.data())
def test_every_event_has_an_answer_and_the_state_can_be_carried_over(
    path: str, depth: int, data: st.DataObject
) -> None:
    def make(env: FakeEnv) -> BroadcastScheduler:
        return BroadcastScheduler(BroadcastConfig(path=path, depth=depth, refresh=1), env)

    named = {"targets": [["engine-a", 0], ["engine-b", 1]], "is_coalescing": data.draw(st.booleans())}
    request = message(
        "apply_request", metadata=named | {"original_msg_id": "m1"}, identities=[b"above", CLIENT], buffers=[b"x"]
    )
    replies = [
        message(
            "apply_reply", {"status": "ok"}, f"r-{sender}", parent={"msg_id": f"m1_{sender}"}, buffers=[b"1"],
            metadata={"original_msg_id": "m1", "is_coalescing": True, "broadcast_targets": named["targets"]},
            identities=[sender.encode(), b"above", CLIENT],
        )
        for sender in ("engine-a", "engine-b", f"sub_scheduler_{path}0", f"sub_scheduler_{path}1")
    ]  # fmt: skip
    known = st.builds(Arrived, st.sampled_from(["client", "parent"]), st.just(request)) | st.builds(
        Arrived, st.sampled_from(["engine", "child0", "child1"]), st.sampled_from(replies)
    )
    sockets = list(BroadcastScheduler.SOCKETS)
    steps = data.draw(
        st.lists(
            st.tuples(st.sampled_from([0, 1, GRACE]), known | events(sockets, _TYPES, ["grace", "refresh"])),
            max_size=25,
        )
    )
    drive(make(FakeEnv()), steps)
    check_freeze(make, steps[:12], steps[12:])


def test_a_scheduler_ends_when_told() -> None:
    effects: Sequence[Effect] = BroadcastScheduler(BroadcastConfig(), FakeEnv()).handle(0, Stopping())
    assert of(effects, Exit) == [Exit()]

"""Blame from messages alone: what was passed on, what was not, and what is held against nobody."""

from collections.abc import Sequence
from typing import Any

import pytest

from conformance.interop.ability import Failure, Wanted
from conformance.interop.blame import UNDETERMINED, blame, includes
from conformance.interop.traffic import Traffic, Window
from conformance.interop.witness import Charge, Witness
from conformance.relay.hops import CONTROLLER, Hop
from protocol.messages import build
from protocol.pickles import write
from protocol.wire import Codec, Message

CODEC = Codec(b"key")
ANN, ONE, TWO = "the client", "engine-1 (ours)", "engine-2 (ours)"
SLUG = "apply.returns-value"


class Tape:
    """Hops as a relay would have written them down."""

    def __init__(self) -> None:
        self.hops: list[Hop] = []
        self._replies = 0

    def hop(self, party: str, message: Message, *, is_up: bool, channel: str = "mux", link: int = 0) -> None:
        self.hops.append(
            Hop(
                seq=len(self.hops) + 1, now=0, party=party, kind="client" if party == ANN else "engine",
                channel=channel, link=link or len(party), is_up=is_up,
                frames=tuple(map(bytes, CODEC.encode(message))),
            )
        )  # fmt: skip

    def ask(self, msg_id: str, engine: str = ONE, channel: str = "mux", *, way: str = "client engine") -> Message:
        """A request, as far as `way` says it came."""
        made = build("apply_request", msg_id=msg_id, session="ann", buffers=[b"f", b"i"], identities=(engine.encode(),))
        for party in way.split():
            self.hop(ANN if party == "client" else engine, made, is_up=party == "client", channel=channel)
        return made

    def answer(
        self, request: Message, engine: str = ONE, *, channel: str = "mux", way: str = "engine client",
        value: Any = 42, **content: Any,
    ) -> None:  # fmt: skip
        """The reply to it, as far as `way` says it came."""
        self._replies += 1
        made = build(
            "apply_reply", {"status": "ok"} | content, msg_id=f"r{self._replies}", session=engine,
            parent=request.header, buffers=[write(value)],
        )  # fmt: skip
        for party in way.split():
            self.hop(ANN if party == "client" else engine, made, is_up=party == "engine", channel=channel)

    def blame(self, failure: Failure, charges: Sequence[Charge] = (), **more: Any) -> tuple[str, str]:
        traffic = Traffic(CODEC)
        found = blame(failure, SLUG, Window(traffic, traffic.take(self.hops), **more), charges, ANN)
        return found.party, found.requirement


def late(*msg_ids: str) -> Failure:
    return Failure(kind="late", text="nothing came", wanted=Wanted(kind="reply", msg_ids=msg_ids))


def wrong(wanted: Wanted) -> Failure:
    return Failure(kind="wrong", text="not that", wanted=wanted)


@pytest.mark.parametrize(
    ("asked", "answered", "party", "requirement"),
    [
        ("client", "", CONTROLLER, "mux.routes-by-identity"),
        ("client engine", "", ONE, "apply.answered"),
        ("client engine", "engine", CONTROLLER, "mux.reply-to-requester"),
        ("client engine", "engine client", UNDETERMINED, SLUG),
    ],
)
def test_the_missing_step_of_a_chain_has_a_party(asked: str, answered: str, party: str, requirement: str) -> None:
    tape = Tape()
    request = tape.ask("m1", way=asked)
    if answered:
        tape.answer(request, way=answered)
    assert tape.blame(late("m1")) == (party, requirement)


def test_an_engine_that_had_something_else_to_do_first_is_not_blamed() -> None:
    tape = Tape()
    tape.ask("long")
    tape.ask("m1")
    assert tape.blame(late("m1")) == (UNDETERMINED, SLUG)
    assert tape.blame(late("long")) == (ONE, "apply.answered")


def test_an_engine_is_not_blamed_for_what_nobody_waited_for() -> None:
    tape = Tape()
    tape.ask("long")
    assert tape.blame(late()) == (UNDETERMINED, SLUG)


def test_what_nobody_waited_for_in_vain_is_not_looked_for() -> None:
    tape = Tape()
    tape.ask("m1", way="client")
    assert tape.blame(Failure(kind="local", text="a mistake of the client's")) == (UNDETERMINED, SLUG)


def test_a_task_may_wait_while_an_engine_is_busy() -> None:
    tape = Tape()
    tape.ask("t1", channel="task", way="client")
    assert tape.blame(late("t1")) == (CONTROLLER, "task.some-engine-runs")
    tape.ask("long", engine=TWO)
    assert tape.blame(late("t1")) == (UNDETERMINED, SLUG)
    assert tape.blame(late("t1"), gone=frozenset({TWO})) == (CONTROLLER, "task.some-engine-runs")


def test_one_reply_for_all_waits_for_all() -> None:
    tape = Tape()
    request = tape.ask("b1", channel="broadcast")
    tape.hop(TWO, request, is_up=False, channel="broadcast")
    tape.answer(request, channel="broadcast", way="engine")
    assert tape.blame(late("b1")) == (TWO, "apply.answered")
    tape.answer(request, TWO, channel="broadcast", way="engine")
    assert tape.blame(late("b1")) == (CONTROLLER, "broadcast.reply-per-target")


def test_nothing_is_owed_to_a_connection_that_was_closed() -> None:
    tape = Tape()
    tape.hop(ANN, build("history_request", msg_id="q1", session="ann"), is_up=True, channel="query", link=5)
    assert tape.blame(late()) == (CONTROLLER, "wire.every-request-answered")
    assert tape.blame(late(), closed=frozenset({5})) == (UNDETERMINED, SLUG)


@pytest.mark.parametrize(("is_told", "party"), [(False, CONTROLLER), (True, ANN)])
def test_the_death_of_an_engine_is_told_and_heeded(is_told: bool, party: str) -> None:
    tape = Tape()
    about = {"uuid": "u1", "id": 0}
    tape.hop(ONE, build("registration_request", {"uuid": "u1"}, msg_id="e1", session="u1"), is_up=True, channel="query")
    tape.ask("m1")
    if is_told:
        notice = build("unregistration_notification", about, msg_id="n1", session="hub")
        tape.hop(ANN, notice, is_up=False, channel="notification")
    requirement = "mux.dead-engine-inferred" if is_told else "notification.unregistration-published"
    assert tape.blame(late("m1"), gone=frozenset({ONE})) == (party, requirement)


def test_a_request_to_an_engine_that_is_gone_is_not_lost() -> None:
    tape = Tape()
    tape.hop(ONE, build("registration_request", {"uuid": ONE}, msg_id="e1", session="u1"), is_up=True, channel="query")
    notice = build("unregistration_notification", {"uuid": ONE, "id": 0}, msg_id="n1", session="hub")
    tape.hop(ANN, notice, is_up=False, channel="notification")
    tape.ask("m1", way="client")
    assert tape.blame(late("m1"), gone=frozenset({ONE})) == (UNDETERMINED, SLUG)


@pytest.mark.parametrize(
    ("sent", "got", "party"),
    [(42, 42, ANN), (43, 43, ONE), (42, 43, CONTROLLER)],
)
def test_a_wrong_value_is_the_fault_of_whoever_made_it_wrong(sent: int, got: int, party: str) -> None:
    tape = Tape()
    request = tape.ask("m1")
    tape.answer(request, way="engine", value=sent)
    if sent == got:
        hop = tape.hops[-1]
        tape.hops.append(
            Hop(seq=4, now=0, party=ANN, kind="client", channel="mux", link=1, is_up=False, frames=hop.frames)
        )
    else:
        tape.answer(request, way="client", value=got)
    found, requirement = tape.blame(wrong(Wanted(kind="value", msg_ids=("m1",), expected=[42])))
    assert found == party
    assert requirement == (SLUG if party != CONTROLLER else "wire.relayed-parts-unchanged")


def test_values_that_cannot_be_read_without_loading_them_show_nothing() -> None:
    tape = Tape()
    tape.answer(tape.ask("m1"), value=[1, {"a": 2}])
    assert tape.blame(wrong(Wanted(kind="value", msg_ids=("m1",), expected=[[1]]))) == (UNDETERMINED, SLUG)


def test_an_error_is_its_authors() -> None:
    tape = Tape()
    tape.answer(tape.ask("m1"), status="error", ename="KeyError", evalue="x", traceback=[])
    assert tape.blame(Failure(kind="error", text="KeyError", names=("KeyError",))) == (ONE, SLUG)
    assert tape.blame(Failure(kind="error", text="ValueError", names=("ValueError",))) == (UNDETERMINED, SLUG)
    expected = {"status": "error", "ename": "TypeError"}
    assert tape.blame(wrong(Wanted(kind="content", msg_ids=("m1",), expected=expected))) == (ONE, SLUG)
    shown = expected | {"ename": "KeyError"}
    assert tape.blame(wrong(Wanted(kind="content", msg_ids=("m1",), expected=shown))) == (ANN, SLUG)


def test_what_was_broken_beside_a_request_is_not_why_it_has_no_reply() -> None:
    tape = Tape()
    tape.answer(tape.ask("m1"))
    tape.ask("m2")
    odd = Charge(3, ONE, "wire.message-type-known", "_request", "_request")
    assert tape.blame(late("m2"), [odd]) == (ONE, "apply.answered")
    assert tape.blame(late("m1"), [odd]) == (ONE, "wire.message-type-known")
    assert tape.blame(late("m2"), [odd._replace(seq=5)]) == (ONE, "wire.message-type-known")
    assert tape.blame(late(), [odd]) == (ONE, "wire.message-type-known")


def test_a_charge_comes_before_all_else() -> None:
    tape = Tape()
    tape.ask("m1", way="client")
    charge = Charge(1, ANN, "wire.date-utc", "apply_request", "no zone")
    assert tape.blame(late("m1"), [charge]) == (ANN, "wire.date-utc")


@pytest.mark.parametrize("author", [ANN, ONE])
def test_whoever_passes_on_what_another_said_is_not_charged(author: str) -> None:
    tape = Tape()
    request = build("apply_request", msg_id="m1", session="ann", buffers=[b"f", b"i"], identities=(b"one",))
    reply = build("apply_reply", {"status": "ok"}, msg_id="r1", session="one", parent=request.header, buffers=[b"N."])
    bad = {"date": "yesterday"}
    if author == ANN:
        request = request.replace(header=request.header | bad)
    else:
        reply = reply.replace(header=reply.header | bad)
    for party, message, is_up in ((ANN, request, True), (ONE, request, False), (ONE, reply, True), (ANN, reply, False)):
        tape.hop(party, message, is_up=is_up)
    charges = Witness().look(Traffic(CODEC).take(tape.hops))
    assert [charge.party for charge in charges if charge.requirement == "wire.date-utc"] == [author]


@pytest.mark.parametrize(
    ("found", "expected", "holds"),
    [({"a": 1, "b": 2}, {"a": 1}, True), ({"a": {"x": 1, "y": 2}}, {"a": {"y": 2}}, True), ({"a": 1}, {"b": 1}, False),
     ([1], [1], True), ([1, 2], [1], False), (None, {"a": 1}, False)],
)  # fmt: skip
def test_what_includes_what(found: object, expected: object, holds: bool) -> None:
    assert includes(found, expected) is holds

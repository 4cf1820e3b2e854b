"""Recordings of a relay: who is named, what is kept out, and who is accused of what."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from relay_tape import CODEC, ENGINE, KEY, Tape, build
from test_cli import run

from conformance.relay.hops import Link, Peer
from conformance.relay.jury import TIMED, Charge, Jury
from conformance.report.reading import of_file
from protocol import recording
from protocol.recording import Reader, RecordingError, ends_of
from protocol.wire import Codec
from protocol.world import Fact, Observation


def judged(tape: Tape, **more: Any) -> list[Charge]:
    reader = Reader(tape.lines())
    jury = Jury(reader.head.setting, reader.head.codec, **more)
    found = [charge for item in reader for charge in jury.observe(item)]
    return found + jury.finish(reader.end)


def told(charges: list[Charge]) -> set[tuple[str, str, str]]:
    return {(charge.role, charge.who, charge.violation.requirement) for charge in charges}


def whole() -> Tape:
    tape = Tape()
    tape.register()
    tape.connect()
    for number in range(3):
        tape.work(number)
    return tape


# -- what is written ---------------------------------------------------------------------------------------------------


def test_signatures_are_kept_and_the_key_is_not() -> None:
    text = whole().text()
    assert KEY not in text
    assert CODEC.sign(b"") not in text.encode()
    read = recording.read(text.splitlines())
    (seen, *_) = [item for item in read.items if isinstance(item, Observation)]
    # With the key everything can still be verified.
    assert CODEC.open(seen.frames).msg_type == "registration_request"
    assert list(recording.write(read)) == text.splitlines()


def test_parties_are_told_apart_by_identity_and_by_session() -> None:
    tape = whole()
    tape.say("engine/iopub", build("status", msg_id="e-9", session="engine"), is_up=True)
    tape.say("client/iopub", build("status", msg_id="e-9", session="engine"), is_up=False)
    seen = {(item.socket, item.peer) for item in tape.read().items if isinstance(item, Observation)}
    assert seen == {
        ("engine-1/query#1", "controller"), ("client-1/query#2", "controller"), ("client-1/mux#3", "controller"),
        ("engine-1/mux#4", "controller"), ("engine-1/iopub#5", "controller"), ("subscriber-1/iopub#6", "controller"),
    }  # fmt: skip


def test_both_ends_of_each_connection_are_written_before_what_crosses_it_and_when_it_ends() -> None:
    tape = whole()
    tape.close("client/mux")
    tape.open("client/iopub")
    known: dict[str, str] = {}
    for item in tape.read().items:
        if isinstance(item, Fact):
            ends = ends_of(item)
            assert ends is not None
            known[ends.socket] = ends.closed_by
        else:
            assert known[item.socket] == ""
    # One that was silent all the time is told in the end.
    assert known["client-1/mux#3"] == "near"
    assert known["subscriber-1/iopub#5"] == ""
    ends = [ends_of(item) for item in tape.read().items if isinstance(item, Fact)]
    (mux,) = [each for each in ends if each and each.channel == "mux" and each.kind == "engine"]
    assert (mux.near.socket_type, mux.near.routing_id) == ("ROUTER", ENGINE.encode())
    assert (mux.far.socket_type, mux.far.routing_id) == ("ROUTER", b"mux_out")


def test_what_could_not_be_read_is_counted_with_its_reason() -> None:
    tape = Tape()
    tape.open("client")
    tape.open("engine")
    hidden = Peer(version=(3, 1), mechanism="CURVE", unreadable="byte 64: it is hidden")
    link = Link(number=3, party="clients", kind="client", channel="mux", near=hidden)
    for known in (link, replace(link, far=hidden)):
        tape.capture(known)
    assert (tape.capture.connections, tape.capture.unread) == (3, {3: "byte 64: it is hidden"})
    (ends,) = [
        each for item in tape.read().items if isinstance(item, Fact) and (each := ends_of(item)) and each.link == 3
    ]
    assert ends.near.unreadable == "byte 64: it is hidden"


def test_a_wrong_signature_is_told_although_the_key_is_not() -> None:
    tape = Tape()
    forged = Codec(b"other").encode(build("connection_request", msg_id="c", session="s"))
    tape.say("client", [bytes(each) for each in forged], is_up=True)
    (seen,) = [item for item in tape.read().items if isinstance(item, Observation)]
    assert seen.error is not None
    assert seen.error.rules == ("wire.signature-verified",)
    assert told(judged(tape)) == {("client", "client-1", "wire.signature-sent")}


@pytest.mark.parametrize("data", [{}, {"link": "x"}, {"near": {"identity": {"hex": "0"}}}])
def test_a_connection_of_another_form_is_none(data: dict[str, object]) -> None:
    common = {"link": 1, "party": "p", "kind": "client", "channel": "mux"}
    assert ends_of(Fact(seq=1, now=1, observer="relay", name="link", data=common | data)) is None or not data
    assert ends_of(Fact(seq=1, now=1, observer="relay", name="link", data=data)) is None


def test_what_was_cut_off_ends_with_its_last_item_and_a_wrong_line_is_named() -> None:
    lines = whole().text().splitlines()
    reader = Reader(lines[:-1])
    items = list(reader)
    assert reader.end == items[-1].now
    broken = Reader([*lines[:4], "{"])
    with pytest.raises(RecordingError, match="line 5"):
        list(broken)
    with pytest.raises(RecordingError, match="vantage"):
        Reader([lines[0].replace('"relay"', '"moon"')])


# -- who is accused ----------------------------------------------------------------------------------------------------


def test_a_cluster_that_keeps_the_rules_is_accused_of_nothing() -> None:
    tape = whole()
    jury = Jury(tape.read().setting, CODEC)
    assert judged(tape) == []
    for item in tape.read().items:
        jury.observe(item)
    assert set(jury.roles) == {"controller", "engine", "client"}
    assert "wire.relayed-parts-unchanged" in jury.exercised["controller", "controller"]
    assert "wire.reply-parent" in jury.exercised["engine", "engine-1"]
    assert "wire.header-complete" in jury.exercised["client", "client-1"]
    assert jury.unobservable & TIMED
    assert "task.done-is-stable" in jury.unobservable


def test_each_party_is_accused_of_its_own_mistakes() -> None:
    hub = Tape()
    hub.connect(parent_header={})
    assert told(judged(hub)) == {("controller", "controller", "wire.reply-parent")}
    queue = Tape()
    queue.register()
    queue.work(replies=2)
    assert ("controller", "controller", "wire.at-most-one-reply") in told(judged(queue))


def test_what_an_engine_said_first_is_not_held_against_who_passes_it_on() -> None:
    tape = Tape()
    tape.register()
    tape.work(status=7)
    found = told(judged(tape))
    assert ("engine", "engine-1", "wire.content-matches-type") in found
    assert {role for role, _, _ in found} == {"engine"}


@pytest.mark.parametrize("last", [b"{}", b"[]"])
def test_what_is_no_message_is_held_only_against_who_said_it_first(last: bytes) -> None:
    tape = Tape()
    tape.register()
    nonsense = [b"<IDS|MSG>", b"", b"{}", b"{}", b"{}"]
    tape.say("client/mux", [ENGINE.encode(), *nonsense, b"{}"], is_up=True)
    # A queue passes it on behind another envelope; or says something of its own.
    tape.say("engine/mux", [b"mux_out", b"client", *nonsense, last], is_up=False)
    blamed = {role for role, _, slug in told(judged(tape)) if slug == "wire.header-msg-id"}
    assert blamed == ({"client"} if last == b"{}" else {"client", "controller"})


def test_nothing_is_concluded_from_who_is_not_recorded() -> None:
    tape = Tape()
    tape.connect()
    asked = build("apply_request", msg_id="m", session="ann", buffers=[b"f", b"i"], identities=(b"unseen",))
    answer = build("apply_reply", {"status": "ok"}, msg_id="a", session="unseen", parent=asked.header, buffers=[b"r"])
    tape.say("client/mux", asked, is_up=True)
    tape.say("client/mux", answer.replace(identities=(b"unseen",)), is_up=False)
    # An engine that is not recorded has answered.
    assert judged(tape) == []
    assert told(judged(tape, is_whole=True)) == {("controller", "controller", "wire.reply-true")}
    assert judged(whole(), is_whole=True) == []


def test_a_controller_that_started_again_begins_anew() -> None:
    tape = Tape()
    for _ in range(2):
        tape.register()
        tape.close("engine", by="far")
    assert judged(tape) == []
    same = Tape()
    for _ in range(2):
        same.register()
        same.close("engine")
    # The same Hub may not give one id to two.
    assert ("controller", "controller", "registration.id-unique") in told(judged(same))


def test_a_kernel_is_judged_by_what_its_frontends_got() -> None:
    tape = Tape()
    asked = build("kernel_info_request", msg_id="k-1", session="me")
    tape.say("frontend", asked, is_up=True)
    tape.say("frontend", build("kernel_info_reply", msg_id="k-2", session="k", parent={"msg_id": "k-1"}), is_up=False)
    assert ("kernel", "kernel", "wire.reply-parent") in told(judged(tape))


# -- the commands ------------------------------------------------------------------------------------------------------


def test_a_recording_is_checked_and_the_report_is_that_of_the_suite(tmp_path: Path) -> None:
    result = run("check", str(whole().write(tmp_path / "good.jsonl")))
    assert (result.exit_code, result.stderr) == (0, "")
    assert "0 violated" in result.stdout
    assert "need the controller's timers" in result.stdout
    tape = Tape()
    tape.connect(parent_header={})
    path = tape.write(tmp_path / "bad.jsonl")
    result = run("check", str(path), "--requirement", "wire.*")
    assert result.exit_code == 1
    for expected in ("MUST wire.reply-parent", "at fault: controller", "client-1/query#1", f"ippkit check {path}"):
        assert expected in result.stdout
    assert run("check", str(path), "--requirement", "broadcast.*").exit_code == 5
    timers = ("--ping", "3000", "--misses", "10", "--registration-timeout", "30")
    assert "controller's timers" not in run("check", str(path), *timers).stdout


def test_wrong_input_is_one_sentence(tmp_path: Path) -> None:
    path = whole().write(tmp_path / "good.jsonl")
    noise, peers, binary = (tmp_path / name for name in ("noise", "peers", "binary"))
    noise.write_text("noise\n", encoding="utf-8")
    peers.write_text('{"format": "ippkit-recording", "version": 1}\n', encoding="utf-8")
    binary.write_bytes(b"\xff\xfe")
    for arguments, status, why in (
        ([str(noise)], 4, "line 1"),
        ([str(peers)], 4, "no relay has recorded it"),
        ([str(binary)], 4, "it is not text"),
        ([str(path), "--ping", "3"], 4, "or none of them"),
        ([str(path), "--target", "nobody"], 4, "no target 'nobody'"),
        (
            [str(path), "--target", "ipykernel"],
            4,
            "ipykernel is no controller and no engine and no client, and nothing",
        ),
    ):
        result = run("check", *arguments)
        assert (result.exit_code, result.stdout) == (status, "")
        assert why in result.stderr
        assert result.stderr.count("\n") == 1


def test_a_recording_is_drawn_with_everybody_in_it(tmp_path: Path) -> None:
    tape = whole()
    tape.close("client/mux", by="far")
    story = of_file(tape.write(tmp_path / "capture.jsonl"))
    assert story.lanes == ("client-1", "controller", "engine-1")
    (line,) = [line for line in story.lines if line.msg_id == "m-1"]
    assert (line.sender, line.receivers) == ("client-1", ("engine-1",))
    events = [line.what for line in story.lines if line.kind == "event"]
    assert "mux: DEALER to ROUTER" in events
    assert "mux: is hung up on" in events
    assert story.violations == ()

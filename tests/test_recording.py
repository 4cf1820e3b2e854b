"""Recordings: what is written is what is read, keys stay out, and a wrong line is named with its field."""

import json
from typing import Any

import pytest
from make_logs import KEY, Story

from protocol import recording
from protocol.recording import Recording, RecordingError
from protocol.rules import RULES, Judge, Setting
from protocol.wire import Codec
from protocol.world import Fact, Observation


def story() -> Story:
    story = Story()
    story.fact("subscribed", socket="listener/notification")
    story.connect(buffers=[b"\x00\xff", b"", b"\n", "käse".encode()])
    story.see("client-1", "query", "sent", [b"\xff", b"junk"], why="damage")
    story.beat("a")
    return story


def lines(key: str = KEY, **fields: Any) -> list[str]:
    told = story()
    return list(
        recording.write(Recording(items=tuple(told.items), end=told.now, setting=told.setting, key=key, **fields))
    )


def altered(index: int, **fields: Any) -> list[str]:
    text = lines()
    data = json.loads(text[index]) | fields
    text[index] = json.dumps({key: value for key, value in data.items() if value is not ...})
    return text


def test_what_is_written_is_read_again() -> None:
    told = story()
    log = recording.read(lines(about="a story"))
    assert log.end == told.now
    assert log.about == "a story"
    assert log.setting == told.setting
    assert [item.seq for item in log.items] == [item.seq for item in told.items]
    for read, seen in zip(log.items, told.items, strict=True):
        if isinstance(seen, Fact):
            assert read == seen
        else:
            assert isinstance(read, Observation)
            assert [bytes(frame) for frame in read.frames] == [bytes(frame) for frame in seen.frames]
            assert (read.message, read.why, read.peer) == (seen.message, seen.why, seen.peer)
            assert getattr(read.error, "problems", None) == getattr(seen.error, "problems", None)


def test_writing_what_was_read_gives_the_same_lines() -> None:
    assert list(recording.write(recording.read(lines()))) == lines()


def test_printable_frames_are_text_and_others_hexadecimal() -> None:
    reply = json.loads(lines()[3])
    assert reply["frames"][0] == "<IDS|MSG>"
    assert reply["frames"][-4:] == [{"hex": "00ff"}, "", {"hex": "0a"}, "käse"]


def test_only_an_invented_key_is_written() -> None:
    with pytest.raises(ValueError, match="invented-"):
        lines(key="7d1e4b52-0a1b2c3d4e5f60718293a4b5")
    without = "\n".join(lines(key=""))
    assert KEY not in without
    assert '"key"' not in without


def test_without_the_key_the_recorded_problems_stand_for_the_check() -> None:
    told = Story()
    told.connect(damage=lambda frames: [frames[0], Codec(b"other").sign(b""), *frames[2:]])
    log = recording.read(recording.write(Recording(items=tuple(told.items), end=told.now, setting=told.setting)))
    bad = log.items[-1]
    assert isinstance(bad, Observation)
    assert bad.message is None
    assert bad.error is not None
    assert bad.error.rules == ("wire.signature-verified",)
    judge = Judge(RULES, log.setting)
    judge.feed(log.items, log.end)
    assert [violation.rule for violation in judge.violations] == ["wire.signature-sent"]


def test_a_recording_that_was_cut_off_ends_with_its_last_item() -> None:
    text = lines()
    assert recording.read(text[:-1]).end == json.loads(text[-2])["now"]


@pytest.mark.parametrize(
    ("text", "line", "field"),
    [
        ([], 1, "line"),
        (["no json"], 1, "line"),
        (["[1]"], 1, "line"),
        (['{"format": "pcap"}'], 1, "format"),
        (altered(0, version=2), 1, "version"),
        (altered(0, colour="blue"), 1, "colour"),
        (altered(0, key=7), 1, "key"),
        (altered(0, packer="pickle"), 1, "scheme or packer"),
        (altered(0, setting={"period_ns": "long"}), 1, "setting"),
        (altered(0, violations=[{}]), 1, "violations"),
        (altered(1, data=[]), 2, "data"),
        (altered(1, fact=1), 2, "fact"),
        (altered(2, seq=1), 3, "seq"),
        (altered(2, seq=True), 3, "seq"),
        (altered(2, now="noon"), 3, "now"),
        (altered(2, socket=...), 3, "socket"),
        (altered(2, direction="up"), 3, "direction"),
        (altered(2, frames="frames"), 3, "frames"),
        (altered(2, frames=[{"hex": "0"}]), 3, "frames"),
        (altered(2, frames=[7]), 3, "frames"),
        (altered(2, message="x"), 3, "message"),
        (altered(4, why=7), 5, "why"),
        ([*lines(), lines()[-1]], 9, "line"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_named_with_its_field(text: list[str], line: int, field: str) -> None:
    with pytest.raises(RecordingError) as caught:
        recording.read(text)
    assert (caught.value.line, caught.value.field) == (line, field)
    place = f"line {line}" if field == "line" else f"line {line}, {field}"
    assert str(caught.value).startswith(f"{place}: expected ")


@pytest.mark.parametrize(
    "problem",
    [
        {"frame": "tail", "rule": "r", "expected": "e", "found": "f"},
        {"frame": "header", "rule": "r", "expected": "e"},
        {"frame": "header", "rule": "r", "expected": "e", "found": 7},
        "a problem",
    ],
)
def test_a_wrong_problem_is_named(problem: object) -> None:
    text = lines(key="")
    text[4] = json.dumps(json.loads(text[4]) | {"problems": [problem]})
    with pytest.raises(RecordingError, match="line 5, problems: expected"):
        recording.read(text)


def test_the_setting_has_the_defaults_of_the_measured_implementation() -> None:
    log = recording.read(['{"format": "ippkit-recording", "version": 1}', '{"end": 0}'])
    assert log.setting == Setting()
    assert log.items == ()

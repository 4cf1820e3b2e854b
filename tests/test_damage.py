"""Damaged messages: the decoder is judged, and so is the judge."""

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, NoReturn

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conformance import fuzz as fuzzing
from conformance.cli import main
from conformance.fuzz import Fuzzer
from protocol import damage as damaging
from protocol import strategies
from protocol.damage import DAMAGES, ON_THE_WAY, Chance, Damaged, Drawn, Given, damage, misjudged, misread
from protocol.errors import Problem, RemoteProtocolError
from protocol.messages import example, lookup
from protocol.strange import READABLE_VALUES, UNREADABLE_VALUES, with_value
from protocol.strategies import Typed
from protocol.wire import DELIMITER, Codec, Frame, Message

HEADER = {"msg_id": "1f0c_77_0", "msg_type": "queue_request", "session": "1f0c"}
GOOD = Message(
    HEADER,
    parent_header={"msg_id": "1f0c_77_9", "msg_type": "x"},
    metadata={"engine": "e"},
    content={"targets": [0], "more": {"a": 1}},
    identities=[b"one", b"two"],
    buffers=[b"buffer", b""],
)
CODECS = [
    Codec(key, packer=packer, metadata=metadata)
    for key in (b"", b"key")
    for packer in ("json", "msgpack")
    for metadata in (True, False)
]
QUICK = settings(max_examples=300, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


def attempt(codec: Codec, frames: Sequence[Frame], part: str) -> object:
    """The decoded part of a message, or the refusal; any other exception is a defect and passes through."""
    try:
        return getattr(codec.open(frames), part)
    except RemoteProtocolError as error:
        return error


# The decoder


@settings(QUICK)
@given(strategies.envelopes(), strategies.codecs(), strategies.damages(), strategies.chances())
def test_any_damaged_envelope_is_accepted_or_blamed_rightly(
    message: Message, codec: Codec, kind: str, chance: Chance
) -> None:
    assert misjudged(codec, damage(kind, codec, codec.encode(message), chance)) is None


@settings(QUICK)
@given(strategies.typed_messages(), st.data(), strategies.damages(), strategies.chances())
def test_any_damaged_message_is_read_or_blamed_rightly(
    typed: Typed, data: st.DataObject, kind: str, chance: Chance
) -> None:
    codec = data.draw(strategies.codecs(typed.dialect))
    damaged = damage(kind, codec, codec.encode(typed.message), chance)
    assert misjudged(codec, damaged) is None
    assert misread(codec, damaged, typed.channel, typed.dialect) is None


@settings(QUICK)
@given(
    strategies.envelopes(),
    strategies.codecs(),
    st.lists(st.sampled_from(list(ON_THE_WAY)), min_size=2, max_size=5),
    strategies.chances(),
)
def test_damage_upon_damage_is_blamed_rightly(message: Message, codec: Codec, kinds: list[str], chance: Chance) -> None:
    assert misjudged(codec, damage("+".join(kinds), codec, codec.encode(message), chance)) is None


@settings(QUICK)
@given(
    st.lists(st.one_of(st.binary(max_size=30), st.just(DELIMITER), st.just(b"{}")), max_size=10), strategies.codecs()
)
def test_frames_from_nowhere_are_refused_by_our_own_error(frames: list[Frame], codec: Codec) -> None:
    found = attempt(codec, frames, "header")
    if isinstance(found, RemoteProtocolError):
        assert found.problems
    else:
        assert isinstance(found, dict)
        assert isinstance(found["msg_id"], str)


@settings(QUICK)
@given(st.binary(max_size=60), st.sampled_from(["json", "msgpack"]))
def test_signed_bytes_that_are_no_dictionary_are_refused_by_our_own_error(octets: bytes, packer: str) -> None:
    codec = Codec(b"key", packer=packer)
    parts = [bytes(part) for part in codec.encode(Message(HEADER))[2:]]
    for index in range(4):
        broken = [*parts[:index], octets, *parts[index + 1 :]]
        found = attempt(codec, [DELIMITER, codec.sign(b"".join(broken)), *broken], "content")
        if isinstance(found, RemoteProtocolError):
            assert found.frames == (codec.parts[index],)
        else:
            assert isinstance(found, dict)


@pytest.mark.parametrize("packer", ["json", "msgpack"])
def test_every_unreadable_value_is_refused_and_every_strange_one_is_read(packer: str) -> None:
    codec = Codec(b"key", packer=packer)
    parts = [bytes(part) for part in codec.encode(GOOD)[4:8]]
    for values, readable in ((UNREADABLE_VALUES[packer], False), (READABLE_VALUES[packer], True)):
        for name, value in values.items():
            for index, part in enumerate(codec.parts):
                broken = [*parts[:index], with_value(codec, parts[index], value), *parts[index + 1 :]]
                found = attempt(codec, [DELIMITER, codec.sign(b"".join(broken)), *broken], part)
                if readable:
                    assert isinstance(found, dict), name
                    assert "~" in found
                else:
                    assert isinstance(found, RemoteProtocolError), name
                    assert found.frames == (part,)


# The judge: what may be said, kind by kind


def draws(kind: str, codec: Codec, message: Message = GOOD, count: int = 60) -> list[Damaged]:
    chance = Drawn(Random(kind).random)
    return [damage(kind, codec, codec.encode(message), chance) for _ in range(count)]


SIGNED = Codec(b"key")


@pytest.mark.parametrize("kind", DAMAGES)
def test_every_kind_of_damage_changes_something(kind: str) -> None:
    for codec in CODECS:
        frames = tuple(codec.encode(GOOD))
        if codec.key or "signature" not in kind:
            assert any(damaged.frames != frames for damaged in draws(kind, codec))


@pytest.mark.parametrize("kind", ["unreadable-value", "broken-part", "not-an-object", "nameless"])
def test_a_dictionary_broken_by_its_sender_is_blamed_alone(kind: str) -> None:
    for codec in CODECS:
        for damaged in draws(kind, codec):
            assert len(damaged.required) == 1 or damaged.content == "unreadable"
            assert damaged.required <= {"header", "parent_header", "metadata"}


@pytest.mark.parametrize("kind", ["wrong-signature", "signature-over-others"])
def test_a_wrong_signature_blames_the_signature_alone(kind: str) -> None:
    found = {damaged.required for damaged in draws(kind, SIGNED)}
    assert frozenset({"signature"}) in found
    assert all(damaged.allowed <= {"signature"} for damaged in draws(kind, SIGNED))
    assert all(not damaged.required for damaged in draws(kind, Codec(b"")))


def test_a_flipped_bit_is_accepted_where_nothing_is_signed() -> None:
    frames = SIGNED.encode(GOOD)
    verdicts = {at: damage("flip-bit", SIGNED, frames, Given([at, 0, 0])).required for at in range(len(frames))}
    assert verdicts == {
        0: frozenset(),
        1: frozenset(),
        2: {"delimiter"},
        **{at: {"signature"} for at in range(3, 8)},
        8: frozenset(),
        9: frozenset(),  # an empty buffer has no bits
    }


def test_the_first_of_two_delimiters_counts() -> None:
    early = damage("two-delimiters", SIGNED, SIGNED.encode(GOOD), Given([0]))
    assert early.required == {"signature"}
    assert {"signature", "header", "parent_header"} <= early.allowed
    assert damage("two-delimiters", SIGNED, SIGNED.encode(GOOD), Given([9])).required == frozenset()


def test_a_cut_message_misses_what_was_behind() -> None:
    frames = SIGNED.encode(GOOD)
    required = [damage("truncate", SIGNED, frames, Given([kept])).required for kept in range(2, len(frames))]
    names = ["signature", "header", "parent_header", "metadata", "content"]
    assert required == [{"delimiter"}, *[set(names[n:]) for n in range(5)], frozenset(), frozenset()]


def test_a_part_that_left_no_trace_is_not_missed() -> None:
    # An empty dictionary dropped, and a buffer that looks like one in its place: the signed bytes are the same.
    message = GOOD.replace(parent_header={}, metadata={}, content={}, buffers=[b"{}"])
    damaged = damage("drop", SIGNED, SIGNED.encode(message), Given([5]))
    assert damaged.required == frozenset()
    assert SIGNED.open(damaged.frames) == message.replace(buffers=[])


def test_a_kind_that_does_not_exist_is_a_key_error() -> None:
    for kind in ("crumple", "drop+crumple", "drop+nameless"):
        with pytest.raises(KeyError):
            damage(kind, SIGNED, SIGNED.encode(GOOD), Given([]))


# The judge: whom it accuses. Each of these decoders makes one mistake.


class TrustsEverybody(Codec):
    """Verifies nothing."""

    def open_header(self, frames: Sequence[Frame]) -> Message:
        return Codec(b"", packer=self.packer.name, metadata=len(self.parts) == 4).open_header(frames)


class TakesTheLastDelimiter(Codec):
    """Looks for the delimiter from the end."""

    def open_header(self, frames: Sequence[Frame]) -> Message:
        at = len(frames) - 1 - list(frames)[::-1].index(DELIMITER) if DELIMITER in frames else 0
        return super().open_header(frames[at:] if DELIMITER in frames[:at] else frames)


class StumblesOverShortMessages(Codec):
    """Unpacks without looking how much there is."""

    def open_header(self, frames: Sequence[Frame]) -> Message:
        _signature, _header, _parent = frames[list(frames).index(DELIMITER) + 1 :][:3]
        return super().open_header(frames)


class BlamesTheHeader(Codec):
    """Says that it was the header, whatever it was."""

    def refuse(self, frames: Sequence[Frame]) -> NoReturn:  # noqa: ARG002 (the mistake)
        raise RemoteProtocolError(Problem("header", "wire.parts-readable", "json", "something else"))


class GivesNoReason(Codec):
    """Refuses without a word."""

    def refuse(self, frames: Sequence[Frame]) -> NoReturn:  # noqa: ARG002 (the mistake)
        raise RemoteProtocolError


class StopsAtTheFirstProblem(Codec):
    """Names one part that is missing, and keeps the others for the next time."""

    def refuse(self, frames: Sequence[Frame]) -> NoReturn:
        raise RemoteProtocolError(self.problems(frames)[-1])


class LosesABuffer(Codec):
    """Forgets the last buffer."""

    def open_header(self, frames: Sequence[Frame]) -> Message:
        opened = super().open_header(frames)
        opened.buffers = opened.buffers[:-1]
        return opened


class SignsBuffersToo(Codec):
    """Takes buffers for signed, and refuses a message without the two it was sent with."""

    def open_header(self, frames: Sequence[Frame]) -> Message:
        opened = super().open_header(frames)
        if len(opened.buffers) != 2:
            raise RemoteProtocolError(Problem("buffers", "wire.signature-verified", "two buffers", "others"))
        return opened


class ReadsLeniently(Codec):
    """Reads JSON as Python's own library does: NaN, lone surrogates and bad UTF-8 pass."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        object.__setattr__(self.packer, "decode", lambda frame: json.loads(bytes(frame).decode("utf-8", "replace")))


class LosesTheContent(Codec):
    """Cannot read any content."""

    def open(self, frames: Sequence[Frame]) -> Message:
        opened = super().open(frames)
        assert opened.parts is not None
        opened.parts = (*opened.parts[:-1], b"?")
        return opened


MISTAKES = [
    TrustsEverybody, TakesTheLastDelimiter, StumblesOverShortMessages, BlamesTheHeader, GivesNoReason,
    StopsAtTheFirstProblem, LosesABuffer, SignsBuffersToo, ReadsLeniently, LosesTheContent,
]  # fmt: skip


@pytest.mark.parametrize("mistaken", MISTAKES, ids=lambda mistaken: mistaken.__name__)
def test_a_decoder_that_makes_a_mistake_is_accused(mistaken: Callable[..., Codec]) -> None:
    right, wrong = Codec(b"key"), mistaken(b"key")
    accused = {
        kind: complaint
        for kind in DAMAGES
        for damaged in draws(kind, right)
        if (complaint := misjudged(wrong, damaged))
    }
    assert accused
    assert not any(misjudged(right, damaged) for kind in DAMAGES for damaged in draws(kind, right))


def test_reading_is_judged_too(monkeypatch: pytest.MonkeyPatch) -> None:
    row = lookup("queue_request", "query")
    assert row is not None
    every = [damaged for kind in DAMAGES for damaged in draws(kind, SIGNED, example(row))]
    assert not any(misread(SIGNED, damaged, "query", "ipyparallel-9") for damaged in every)

    def careless(codec: Codec, frames: Sequence[Frame], *_: str) -> Message:
        return codec.open_header(frames)

    monkeypatch.setattr(damaging, "read", careless)
    complaints = {misread(SIGNED, damaged, "query", "ipyparallel-9") for damaged in every}
    assert "read, although content is wrong" in complaints
    assert "read, although metadata is wrong" in complaints


# The loop


def kinds_and_frames(seed: int, count: int) -> list[tuple[str, list[bytes]]]:
    fuzzer = Fuzzer(seed)
    samples = [fuzzer.sample(number) for number in range(count)]
    return [(sample.kind, [bytes(frame) for frame in sample.codec.encode(sample.message)]) for sample in samples]


def test_a_seed_gives_the_same_examples_and_another_seed_others() -> None:
    assert kinds_and_frames(3, 200) == kinds_and_frames(3, 200)
    assert kinds_and_frames(3, 200) != kinds_and_frames(4, 200)


def test_an_example_can_be_made_again_alone() -> None:
    alone = Fuzzer(3).sample(150)
    assert (alone.kind, [bytes(frame) for frame in alone.codec.encode(alone.message)]) == kinds_and_frames(3, 151)[150]


def test_many_messages_are_judged_rightly() -> None:
    *_, report = Fuzzer(1).run(3000)
    assert report.failures == []
    assert report.examples.total() == 3000
    assert set(DAMAGES) < set(report.examples)
    assert report.refused["good"] == report.refused["strange-value"] == 0
    assert 0 < report.refused.total() < 3000


def test_failures_are_shown_smallest_first_with_the_command_that_repeats_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Codec, "_signature_problems", lambda *_: [])
    *_, report = Fuzzer(1).run(500)
    sizes = [failure.size for failure in report.smallest()]
    assert sizes == sorted(sizes)
    assert len(sizes) > 1
    smallest = report.smallest()[0]
    assert smallest.size == min(failure.size for failure in report.failures)

    result = CliRunner().invoke(main, ["fuzz", "wire", "--seed", "1", "--examples", "500"])
    assert result.exit_code == 1
    assert smallest.command in result.output
    assert "judged wrongly, in" in result.output
    again = CliRunner().invoke(main, smallest.command.split()[1:])
    assert again.exit_code == 1
    assert smallest.complaint.partition(":")[0] in again.output


def test_a_run_ends_after_too_many_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzing, "misjudged", lambda *_: "broken")
    *_, report = Fuzzer(1).run(100_000, most_failures=7)
    assert len(report.failures) == 7


def test_good_messages_that_are_lost_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Codec, "forward", lambda _, message, identities: [*identities, *message.buffers])
    *_, report = Fuzzer(1).run(100)
    assert {failure.complaint for failure in report.failures} >= {"forwarded with other frames"}


def test_the_command_says_how_much_it_did() -> None:
    result = CliRunner().invoke(main, ["fuzz", "wire", "--examples", "400"])
    assert result.exit_code == 0
    assert "400 messages of seed 0" in result.output
    assert "All judged rightly." in result.output
    one = CliRunner().invoke(main, ["fuzz", "wire", "--only", "7"])
    assert one.exit_code == 0
    assert "Example 7 of seed 0" in one.output

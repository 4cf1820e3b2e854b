"""Reading along a connection: whatever is said is told, however it is cut, and garbage is named and passes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.relay.zmtp import (
    GREETING,
    Command,
    Decoder,
    Event,
    Greeting,
    Multipart,
    Ready,
    Subscription,
    Unreadable,
    encode,
)


def greeting(mechanism: bytes = b"NULL", minor: int = 1) -> bytes:
    return b"\xff" + bytes(8) + b"\x7f\x03" + bytes([minor]) + mechanism.ljust(20, b"\0") + bytes(32)


def command(name: bytes, data: bytes = b"", *, is_long: bool = False) -> bytes:
    body = bytes([len(name)]) + name + data
    if is_long or len(body) > 255:
        return b"\x06" + len(body).to_bytes(8, "big") + body
    return bytes([4, len(body)]) + body


def ready(socket_type: bytes = b"DEALER", identity: bytes | None = b"") -> bytes:
    told = [(b"Socket-Type", socket_type)] + ([] if identity is None else [(b"Identity", identity)])
    return command(b"READY", b"".join(bytes([len(n)]) + n + len(v).to_bytes(4, "big") + v for n, v in told))


def decode(stream: bytes, cuts: list[int] | None = None, *, keeps_raw: bool = False) -> tuple[list[Event], Decoder]:
    decoder = Decoder(keeps_raw=keeps_raw)
    edges = [0, *sorted(cuts or []), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges)]
    return [event for piece in pieces for event in decoder.feed(piece)], decoder


SHORT, LONG = b"a" * 255, b"b" * 256
#: An event -> the bytes that say so, in a stream of a DEALER.
SAID = st.one_of(
    st.lists(st.one_of(st.binary(max_size=8), st.sampled_from([SHORT, LONG])), min_size=1, max_size=4).map(
        lambda frames: (Multipart(frames=tuple(frames)), encode(frames))
    ),
    st.tuples(st.sampled_from([b"PING", b"PONG", b"NEW"]), st.binary(max_size=4), st.booleans()).map(
        lambda told: (Command(name=told[0].decode(), data=told[1]), command(told[0], told[1], is_long=told[2]))
    ),
    st.tuples(st.binary(max_size=4), st.booleans()).map(
        lambda told: (
            Subscription(topic=told[0], is_wanted=told[1]),
            command(b"SUBSCRIBE" if told[1] else b"CANCEL", told[0]),
        )
    ),
)


@given(st.lists(SAID, max_size=6), st.lists(st.integers(0, 400), max_size=12), st.booleans())
def test_whatever_is_said_is_told_however_it_is_cut(
    said: list[tuple[Event, bytes]], cuts: list[int], keeps_raw: bool
) -> None:
    stream = greeting() + ready(identity=b"me") + b"".join(raw for _, raw in said)
    events, decoder = decode(stream, [cut % (len(stream) + 1) for cut in cuts], keeps_raw=keeps_raw)
    first, second, *rest = [event for event in events if type(event) is not Event]
    assert isinstance(first, Greeting)
    assert (first.version, first.mechanism, first.is_server) == ((3, 1), "NULL", False)
    assert isinstance(second, Ready)
    assert (second.socket_type, second.identity) == ("DEALER", b"me")
    raws = [raw for _, raw in said] if keeps_raw else [b""] * len(said)
    assert [(type(event), {**_fields(event)}) for event in rest] == [
        (type(event), _fields(event) | {"raw": raw}) for (event, _), raw in zip(said, raws, strict=True)
    ]
    assert decoder.is_readable
    assert decoder.unfinished == 0


def _fields(event: Event) -> dict[str, object]:
    return {name: getattr(event, name) for name in event.__struct_fields__}


@given(st.binary(max_size=300), st.sampled_from([b"", greeting(), greeting() + ready()]), st.data())
def test_no_bytes_are_lost_and_nothing_is_raised_whatever_comes(noise: bytes, head: bytes, data: st.DataObject) -> None:
    stream = head + noise
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=6))
    decoder = Decoder(keeps_raw=True)
    passed = b""
    edges = [0, *sorted(cuts), len(stream)]
    for start, end in pairwise(edges):
        if not decoder.is_readable:
            passed += stream[start:end]
            continue
        for event in decoder.feed(stream[start:end]):
            passed += event.raw
            if isinstance(event, Unreadable):
                assert 0 <= event.at <= len(stream)
                assert event.expected
                assert event.found
    assert stream.startswith(passed)
    # Only what is not complete is kept back: garbage passes at once.
    assert decoder.is_readable or passed == stream


def test_a_greeting_passes_piece_by_piece_because_each_side_waits_for_the_other() -> None:
    decoder = Decoder(keeps_raw=True)
    head = greeting()
    assert [event.raw for event in decoder.feed(head[:10])] == [head[:10]]
    assert [event.raw for event in decoder.feed(head[10:12])] == [head[10:12]]
    (event,) = decoder.feed(head[12:] + b"\x04")
    assert isinstance(event, Greeting)
    assert event.raw == head[12:]


def test_a_command_between_two_frames_of_a_message_is_no_part_of_it() -> None:
    stream = greeting() + ready() + b"\x01\x01a" + command(b"PING", b"\0\0") + b"\x00\x01b"
    events, _ = decode(stream, keeps_raw=True)
    assert [type(event).__name__ for event in events] == ["Greeting", "Ready", "Command", "Multipart"]
    assert [event.raw for event in events[2:]] == [command(b"PING", b"\0\0"), b"\x01\x01a\x00\x01b"]


@pytest.mark.parametrize("socket_type", [b"SUB", b"XSUB", b"DEALER"])
def test_before_3_1_a_subscription_is_a_message_of_a_subscriber(socket_type: bytes) -> None:
    events, _ = decode(greeting(minor=0) + ready(socket_type, None) + encode([b"\x01topic"]) + encode([b"\x00topic"]))
    if socket_type == b"DEALER":
        assert events[2:] == [Multipart(frames=(b"\x01topic",)), Multipart(frames=(b"\x00topic",))]
    else:
        assert events[2:] == [Subscription(topic=b"topic", is_wanted=wanted) for wanted in (True, False)]
    assert isinstance(events[1], Ready)
    assert events[1].identity is None


@pytest.mark.parametrize(
    ("stream", "at", "expected", "found"),
    [
        (b"GET / HTTP/1.1\r\n", 0, "255", "71 (0x47)"),
        (b"\x01\x00", 0, "ZMTP 3", "ZMTP 1.0"),
        (b"\xff" + bytes(10), 0, "ZMTP 3", "ZMTP 1.0"),
        (b"\xff" + bytes(8) + b"\x7f\x01", 0, "ZMTP 3", "ZMTP 2.0"),
        (greeting(b"CURVE"), GREETING, "the mechanism NULL", "CURVE"),
        (greeting(b"PLAIN"), GREETING, "the mechanism NULL", "PLAIN"),
        (greeting(b"\x01"), 12, "the name of a mechanism", "x01"),
        (greeting() + encode([b"x"]), GREETING, "READY or ERROR", "a message"),
        (greeting() + b"\x08", GREETING, "flags", "8 (0x08)"),
        (greeting() + b"\x05", GREETING, "flags", "5 (0x05)"),
        (greeting() + command(b""), GREETING + 2, "name", "0 (0x00)"),
        (greeting() + b"\x04\x00", GREETING + 2, "name", "empty"),
        (greeting() + b"\x04\x02\x05R", GREETING + 2, "name", "5 (0x05)"),
        (greeting() + command(b"READY", b"\x01a\0\0\0\x09b"), GREETING + 8, "a property", "9 bytes"),
        (greeting() + command(b"READY", b"\x09a"), GREETING + 8, "a property", ""),
        (greeting() + ready() + b"\x02" + b"\xff" * 8, GREETING + len(ready()) + 1, "a size", "18446744073709551615"),
    ],
)  # fmt: skip
def test_what_fits_nothing_is_named_with_its_byte(stream: bytes, at: int, expected: str, found: str) -> None:
    events, decoder = decode(stream + b"and what follows", [min(7, len(stream))])
    wrong = events[-1]
    assert isinstance(wrong, Unreadable)
    assert wrong.at == at
    assert expected in wrong.expected
    assert found in wrong.found
    assert str(wrong) == f"byte {at}: expected {wrong.expected}, found {wrong.found}"
    assert not decoder.is_readable
    assert list(decoder.feed(greeting() + ready())) == []
    if wrong.expected == "ZMTP 3":
        assert isinstance(events[0], Greeting)
        assert f"{events[0].version[0]}.{events[0].version[1]}" in wrong.found


def test_nobody_is_ready_before_the_refusal_of_an_error() -> None:
    events, decoder = decode(greeting() + command(b"ERROR", b"\x05wrong"))
    assert events[1:] == [Command(name="ERROR", data=b"\x05wrong")]
    assert decoder.ready is None
    assert decoder.is_readable

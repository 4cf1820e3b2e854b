"""Signatures tell who holds the key, and a memory of them what was seen before: forged and repeated messages."""

import hmac
from collections.abc import Callable, Mapping

import pytest
from wire_world import KEY, refusal, request

from protocol.errors import LocalProtocolError
from protocol.wire import DELIMITER, Codec, Frame, ReplayMemory, signer

# Signatures


@pytest.mark.parametrize("digest", ["md5", "sha1", "sha224", "sha256", "sha384", "sha512", "blake2b", "sha3_512"])
@pytest.mark.parametrize("size", [1, 63, 64, 65, 127, 128, 129, 200, 1000])
def test_the_signature_is_the_standard_hmac(digest: str, size: int) -> None:
    key = bytes(n % 251 for n in range(size))
    sign = signer(key, f"hmac-{digest}")
    for data in (b"", b"x", b"x" * 1000):
        assert sign(data) == hmac.new(key, data, digest).hexdigest().encode()


def test_a_signer_keeps_nothing_of_what_it_signed() -> None:
    sign = signer(KEY, "hmac-sha256")
    assert sign(b"one") == sign(b"one") != sign(b"two")


def test_an_empty_key_makes_an_empty_frame_and_checks_nothing() -> None:
    codec = Codec(b"")
    frames = codec.encode(request())
    assert frames[1] == b""
    assert codec.open([DELIMITER, b"whatever", *frames[2:]]) == request()


@pytest.mark.parametrize("scheme", ["", "hmac", "hmac-", "sha256", "hmac-nothing", "HMAC-sha256", "hmac-shake_128"])
def test_an_unknown_scheme_is_the_callers_mistake(scheme: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        Codec(KEY, scheme=scheme)
    assert caught.value.rules == ("wire.signature-scheme",)


WRONG_SIGNATURES: Mapping[str, tuple[Callable[[list[Frame]], bytes], str]] = {
    "another value": (lambda _: b"0" * 64, "another value"),
    "empty": (lambda _: b"", "an empty frame"),
    "uppercase": (lambda frames: bytes(frames[1]).upper(), "uppercase digits"),
    "short": (lambda frames: bytes(frames[1])[:-1], "63 bytes"),
    "long": (lambda frames: bytes(frames[1]) + b"0", "65 bytes"),
    "raw": (lambda frames: bytes.fromhex(bytes(frames[1]).decode()), "32 bytes"),
    "not ascii": (lambda _: b"\xff" * 64, "another value"),
    "other key": (lambda frames: signer(b"other", "hmac-sha256")(b"".join(frames[2:6])), "another value"),
    "three parts": (lambda frames: signer(KEY, "hmac-sha256")(b"".join(frames[2:5])), "another value"),
}


@pytest.mark.parametrize(("forge", "what"), WRONG_SIGNATURES.values(), ids=WRONG_SIGNATURES.keys())
def test_a_wrong_signature_is_refused(forge: Callable[[list[Frame]], bytes], what: str) -> None:
    frames = Codec(KEY).encode(request())
    error = refusal(Codec(KEY), [DELIMITER, forge(frames), *frames[2:]])
    assert error.rules == ("wire.signature-verified",)
    assert error.frames == ("signature",)
    assert error.problems[0].found == what


@pytest.mark.parametrize("index", [2, 3, 4, 5], ids=["header", "parent_header", "metadata", "content"])
def test_every_dictionary_is_signed(index: int) -> None:
    frames = Codec(KEY).encode(request())
    frames[index] = bytes(frames[index])[:-1] + b" }"
    assert refusal(Codec(KEY), frames).frames == ("signature",)


def test_identities_and_buffers_are_not_signed() -> None:
    frames = Codec(KEY).encode(request(identities=[b"a"], buffers=[b"b"]))
    opened = Codec(KEY).open([b"other", b"route", *frames[1:-1], b"other", b"buffers"])
    assert opened.identities == (b"other", b"route")
    assert opened.buffers == (b"other", b"buffers")


def test_the_boundaries_between_parts_are_not_signed() -> None:
    # The signature covers the bytes in a row: the protocol cannot tell where one dictionary ended. What saves a
    # receiver is that half a dictionary cannot be read.
    frames = Codec(KEY).encode(request())
    error = refusal(Codec(KEY), [*frames[:2], bytes(frames[2])[:-1], b"}" + bytes(frames[3]), *frames[4:]])
    assert error.frames == ("header", "parent_header")


@pytest.mark.parametrize("scheme", ["hmac-md5", "hmac-sha256", "hmac-sha512"])
def test_no_error_tells_the_right_signature_or_the_key(scheme: str) -> None:
    codec = Codec(KEY, scheme=scheme)
    frames = codec.encode(request(content={}))
    right = bytes(frames[1])
    for wrong in (b"", right.upper(), right[:-1], b"0" * len(right), right + b"0"):
        for tail in (frames[2:], [b"{", *frames[3:]], [b"\xff", b"[]", b"", b"{}"]):
            error = refusal(codec, [DELIMITER, wrong, *tail])
            text = f"{error} {error!r} {codec!r}".lower()
            real = codec.sign(b"".join(tail[:4])).decode()
            assert real not in text
            assert KEY.decode() not in text


# Replays


def test_a_second_copy_is_refused() -> None:
    codec = Codec(KEY, replay=ReplayMemory())
    frames = Codec(KEY).encode(request())
    codec.open(frames)
    error = refusal(codec, [b"another route", *frames])
    assert error.rules == ("wire.replay-refused",)
    assert error.frames == ("signature",)


def test_a_forged_copy_does_not_spoil_the_genuine_message() -> None:
    codec = Codec(KEY, replay=ReplayMemory())
    genuine = Codec(KEY).encode(request())
    forged = [*genuine[:5], b'{"targets":null}']
    assert refusal(codec, forged).rules == ("wire.signature-verified",)
    assert codec.open(genuine) == request()


def test_without_a_key_nothing_is_taken_for_a_copy() -> None:
    codec = Codec(b"", replay=ReplayMemory())
    frames = codec.encode(request())
    assert codec.open(frames) == codec.open(frames)


def test_a_copy_in_a_memoryview_is_a_copy() -> None:
    codec = Codec(KEY, replay=ReplayMemory())
    frames = Codec(KEY).encode(request())
    codec.open([memoryview(frame) for frame in frames])
    assert refusal(codec, frames).rules == ("wire.replay-refused",)


def test_the_memory_forgets_the_oldest_first() -> None:
    memory = ReplayMemory(capacity=2)
    assert [memory.admit(name) for name in (b"a", b"b", b"a", b"c")] == [True, True, False, True]
    assert [memory.admit(name) for name in (b"c", b"b", b"a")] == [False, False, True]

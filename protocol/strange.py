"""Encoded values that are hard to read, and values that only look so: what a sender with the key may write.

Every unreadable value is refused by the format itself (RFC 8259 for JSON, as strict UTF-8; the msgpack specification)
or by a bound that a reader needs (depth, size of numbers); the readable ones are within both.
"""

from collections.abc import Mapping
from typing import Final

from protocol.wire import Codec, Frame

#: Values that stand in an otherwise good dictionary and make it unreadable.
UNREADABLE_VALUES: Final[Mapping[str, Mapping[str, bytes]]] = {
    "json": {
        "nan": b"NaN",
        "infinity": b"-Infinity",
        "huge number": b"1e400",
        "huge integer": b"9" * 5000,
        "deep arrays": b"[" * 100_000 + b"]" * 100_000,
        "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        "lone surrogate": b'"\\ud800"',
        "reversed surrogates": b'"\\ude00\\ud83d"',
        "not utf-8": b'"\xff"',
        "overlong utf-8": b'"\xc0\xaf"',
        "encoded surrogate": b'"\xed\xa0\x80"',
        "control character": b'"\n"',
        "leading zero": b"01",
        "hexadecimal": b"0x1f",
        "half a number": b"1.",
        "half a string": b'"x',
        "single quotes": b"'x'",
        "trailing comma": b"[1,]",
        "comment": b"1/**/",
        "misspelt": b"True",
    },
    "msgpack": {
        "never used": b"\xc1",
        "not utf-8": b"\xa1\xff",
        "encoded surrogate": b"\xa3\xed\xa0\x80",
        "longer than the frame": b"\xdd\xff\xff\xff\xff",
        "longer string than the frame": b"\xdb\xff\xff\xff\xff",
        "key that is a map": b"\x81\x80\x01",
        "bad timestamp": b"\xd7\xff" + b"\xff" * 8,
        "deep arrays": b"\x91" * 100_000 + b"\xc0",
        "deep maps": b"\x81\xa1a" * 100_000 + b"\xc0",
    },
}
#: Values that look strange and are good all the same.
READABLE_VALUES: Final[Mapping[str, Mapping[str, bytes]]] = {
    "json": {
        "large integer": b"-" + b"9" * 30,
        "largest number": b"1.7976931348623157e308",
        "vanishing number": b"1e-400",
        "nested": b"[" * 50 + b"]" * 50,
        "same key twice": b'1,"~":2',
        "null character": b'"\\u0000"',
        "pair of surrogates": b'"\\ud83d\\ude00"',
        "four bytes of utf-8": "\U0001f600".encode().join([b'"', b'"']),
        "spaces": b" \t\r\n1 \n",
        "delimiter": b'"<IDS|MSG>"',
    },
    "msgpack": {
        "largest integer": b"\xcf" + b"\xff" * 8,
        "nan": b"\xcb\x7f\xf8\0\0\0\0\0\0",
        "binary": b"\xc4\x01\xff",
        "extension": b"\xd4\x05x",
        "timestamp": b"\xd6\xff\0\0\0\x01",
        "other keys": b"\x82\x01\x02\xc0\x03",
        "nested": b"\x91" * 50 + b"\xc0",
        "delimiter": b"\xa9<IDS|MSG>",
    },
}


def with_value(codec: Codec, part: Frame, value: bytes) -> bytes:
    """An encoded dictionary with one more entry in front, `~`, whose encoded value is given."""
    octets = bytes(part)
    if codec.packer.name != "msgpack":
        return b'{"~":' + value + (b"}" if octets == codec.packer.empty else b"," + octets[1:])
    wide = {0xDE: 3, 0xDF: 5}.get(octets[0])
    count, rest = (octets[0] & 15, octets[1:]) if wide is None else (int.from_bytes(octets[1:wide]), octets[wide:])
    return b"\xdf" + (count + 1).to_bytes(4) + b"\xa1~" + value + rest


__all__ = ["READABLE_VALUES", "UNREADABLE_VALUES", "with_value"]

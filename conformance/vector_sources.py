"""Where the test vectors come from: the registry, the damage tables, and the few things that need a hand.

Every vector is made from fixed values or from a generator seeded with the vector's own name, so the same source gives
the same files on every machine.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, Final

from conformance.vectors import Vector, make, rendered
from protocol.applybuffers import CANNING, pack_object, pack_request
from protocol.damage import DAMAGES, Drawn, damage, misjudged
from protocol.errors import RemoteProtocolError
from protocol.messages import NINE, OLD, REGISTRY, MessageType, build, example, examples, read
from protocol.messages.examples import DATE
from protocol.pickles import Global, Instance
from protocol.pickles import write as pickled
from protocol.requirements import get
from protocol.strange import READABLE_VALUES, UNREADABLE_VALUES, with_value
from protocol.wire import DELIMITER, Codec, Frame, Json, Message

KEY: Final = b"5f0c2b1e-9d3a7c6b5e4f3a2b1c0d9e8f"
IDENTITY: Final = b"e7a3b1c0-5d2f4a6b8c0d1e2f3a4b5c6d"
HEADER: Final[Json] = {
    "msg_id": "c11e0001-0a1b2c3d4e5f60718293a4b5_4242_7",
    "msg_type": "queue_request",
    "username": "username",
    "session": "c11e0001-0a1b2c3d4e5f60718293a4b5",
    "date": DATE,
    "version": "5.4",
}
_TYPED: Final = ("wire.message-type-known", "wire.content-matches-type", "wire.metadata-matches-type")
_JSON: Final = Codec(KEY)
_MSGPACK: Final = Codec(KEY, packer="msgpack")
_UNSIGNED: Final = Codec(b"")
_OLD: Final = Codec(KEY, scheme="hmac-md5", metadata=False)


def files() -> dict[str, bytes]:
    """Every vector file and the manifest, by name."""
    made: dict[str, tuple[str, Sequence[Vector]]] = {}
    for family in dict.fromkeys(row.family for row in REGISTRY):
        rows = [row for row in REGISTRY if row.family == family]
        about = f"Messages of the family {family}: every type in every dialect, and one mistake of each kind in each."
        made[f"{family}.json"] = about, [vector for row in rows for vector in _messages(row)]
    for name, (about, source) in _SOURCES.items():
        made[name] = about, list(source())
    return rendered(made)


# Every message type


#: What the oldest dialect has of its own, which its messages show. Nobody who speaks it can be started.
_OF_OLD: Final = (
    "connection.addresses-in-reply",
    "connection.scheme-with-task-address",
    "kernel.connect-reply-old-keys",
    "kernel.old-iopub-names",
    "kernel.old-stream-key",
    "notification.queue-key",
    "registration.queue-and-heart-identities",
    "stdin.historical-req",
    "wire.task-fields-in-header",
)


def _shown(row: MessageType, dialect: str) -> list[str]:
    """The requirements of its dialect that a message shows."""
    if dialect != OLD:
        return []
    of_old = [get(slug) for slug in _OF_OLD]
    return ["wire.three-dictionaries", *(each.slug for each in of_old if row.name in each.messages
            and not set(row.channels).isdisjoint(each.channels))]  # fmt: skip


def _codec(dialect: str) -> Codec:
    return _OLD if dialect == OLD else _JSON


def _identifier(row: MessageType) -> str:
    """A name for a row; `channels` tell apart rows that share the name."""
    return f"{row.channels[0]}.{row.name}"


def _messages(row: MessageType) -> Iterator[Vector]:
    if row.is_raw:
        yield make(
            f"{_identifier(row)}.raw",
            f"{row.name} on {row.channels[0]} is bare frames: whoever expects a message there finds none.",
            ["heartbeat.raw-not-message", "wire.delimiter-present"],
            _JSON,
            row.raw_example,
        )
        return
    if not row.dialects:
        frames = _JSON.encode(example(row))
        yield make(
            f"{_identifier(row)}.withdrawn",
            f"{row.name} was withdrawn; to a receiver of today it is an unknown type.",
            ["wire.message-type-known"],
            _JSON,
            frames,
            place=(row.channels[0], NINE),
        )
        return
    for dialect in row.dialects:
        place = (row.channels[0], dialect)
        codec = _codec(dialect)
        for number, message in enumerate(examples(row, dialect)):
            status = message.content.get("status", "")
            kind = status if number and isinstance(status, str) else "example"
            frames = codec.encode(message.replace(identities=[IDENTITY]))
            yield make(
                f"{_identifier(row)}.{dialect}.{kind}",
                f"A valid {row.name_in(dialect)}{f' with status {status}' if number else ''} in {dialect}.",
                (*_TYPED, *_shown(row, dialect)),
                codec,
                frames,
                place=place,
            )
        yield from _broken(row, dialect, codec)
    newest = row.dialects[-1]
    if newest != OLD:
        yield make(
            f"{_identifier(row)}.{newest}.msgpack",
            f"A valid {row.name_in(newest)} packed with msgpack.",
            (*_TYPED, "wire.pack-unpack-inverse"),
            _MSGPACK,
            _MSGPACK.encode(example(row, newest)),
            place=(row.channels[0], newest),
        )


def _broken(row: MessageType, dialect: str, codec: Codec) -> Iterator[Vector]:
    """The first key that may not be missing, the first value of a wrong type, and too few buffers."""
    good = example(row, dialect)
    tries: Mapping[str, Callable[[Json, str], Json]] = {
        "missing": lambda part, key: {name: value for name, value in part.items() if name != key},
        "wrong-type": lambda part, key: part | {key: [{}] if not isinstance(part[key], list) else {"x": 1.5}},
    }
    for part, slug in (("content", "wire.content-matches-type"), ("metadata", "wire.metadata-matches-type")):
        for what, change in tries.items():
            for key in getattr(good, part):
                frames = codec.encode(good.replace(**{part: change(getattr(good, part), key)}))
                if not _is_refused(codec, frames, row, dialect):
                    continue
                sentence = "is missing" if what == "missing" else "has a wrong type"
                yield make(
                    f"{_identifier(row)}.{dialect}.{part}-{what}",
                    f"{row.name_in(dialect)} whose {part} is wrong: `{key}` {sentence}.",
                    [slug],
                    codec,
                    frames,
                    place=(row.channels[0], dialect),
                )
                break
    if row.buffers.minimum and good.content.get("status") in (None, "ok"):
        yield make(
            f"{_identifier(row)}.{dialect}.buffers-missing",
            f"{row.name_in(dialect)} with {row.buffers.minimum - 1} buffers, one fewer than it needs.",
            ["wire.buffer-count"],
            codec,
            codec.encode(good.replace(buffers=good.buffers[: row.buffers.minimum - 1])),
            place=(row.channels[0], dialect),
        )


def _is_refused(codec: Codec, frames: Sequence[Frame], row: MessageType, dialect: str) -> bool:
    try:
        read(codec, frames, row.channels[0], dialect)
    except RemoteProtocolError:
        return True
    return False


# The envelope


def _message(**changes: Any) -> Message:
    fields: dict[str, Any] = {
        "parent_header": {},
        "metadata": {},
        "content": {"targets": None, "verbose": True},
        "identities": [b"client"],
    }
    return Message(HEADER, **(fields | changes))


def _envelopes() -> Iterator[Vector]:
    for count in (0, 1, 2, 20):
        identities = [b"%d\0\xff" % n for n in range(count)]
        yield make(
            f"envelope.identities-{count}",
            f"{count} identities stand before the delimiter.",
            ["wire.delimiter-present"],
            _JSON,
            _JSON.encode(_message(identities=identities)),
        )
    shapes: Mapping[str, tuple[str, str, dict[str, Any]]] = {
        "identity-empty": ("An empty frame is an identity too.", "wire.delimiter-present", {"identities": [b"", b"a"]}),
        "buffers": ("Three buffers, one empty.", "wire.buffers-any-number", {"buffers": [b"one", b"", b"\0\xff"]}),
        "buffers-many": ("Three hundred buffers.", "wire.buffers-any-number", {"buffers": [b"b"] * 300}),
        "buffer-large": ("A buffer of one MiB.", "wire.buffers-any-number", {"buffers": [bytes(1 << 20)]}),
        "buffer-delimiter": (
            "A buffer equal to the delimiter.", "wire.first-delimiter-counts", {"buffers": [DELIMITER, b"x"]},
        ),
        "text": (
            "Text of many scripts.", "wire.parts-readable",
            {"content": {"é": 'ü\U0001f600\u2028"\\/\b\x7f', "": "\0", "numbers": [0, -1, 1.5, 1e300, 2**53]}},
        ),
        "parent": ("A parent header.", "wire.parts-are-objects", {"parent_header": HEADER}),
        "header-short": ("A header of only what is needed.", "wire.header-optional-fields", {}),
    }  # fmt: skip
    for name, (summary, slug, changes) in shapes.items():
        message = _message(**changes)
        if name == "header-short":
            message = message.replace(header={"msg_id": "1", "msg_type": "x"})
        for codec in (_JSON, _MSGPACK):
            yield make(f"envelope.{name}.{codec.packer.name}", summary, [slug], codec, codec.encode(message))
    keys = {"empty": b"", "one": b"k", "block": b"K" * 64, "longer": b"K" * 65, "binary": bytes(range(256))}
    for scheme in ("hmac-md5", "hmac-sha1", "hmac-sha256", "hmac-sha512"):
        for name, key in keys.items():
            codec = Codec(key, scheme=scheme)
            slugs = ["wire.signature-scheme", "wire.signature-sent" if key else "wire.empty-key-unsigned"]
            summary = f"Signed by {scheme} with a key of {len(key)} bytes." if key else "No key, so nothing is signed."
            yield make(f"envelope.{scheme}.key-{name}", summary, slugs, codec, codec.encode(_message()))
    yield make(
        "envelope.three-dictionaries",
        "The oldest dialect: no metadata frame, signed by md5.",
        ["wire.three-dictionaries", "wire.signature-md5"],
        _OLD,
        _OLD.encode(_message(metadata={})),
    )
    spaced = [b' { "msg_type" : "x" ,\n"msg_id":"1"}', b"{ }", b"{\t}", b'{"a" : [ 1 , 2.0 ] } ']
    yield make(
        "envelope.spaces",
        "White space and the order of keys are the writer's choice, and signed as written.",
        ["wire.signature-covers-dictionaries"],
        _JSON,
        [DELIMITER, _JSON.sign(b"".join(spaced)), *spaced],
    )


def _values() -> Iterator[Vector]:
    for codec in (_JSON, _MSGPACK):
        packer = codec.packer.name
        parts = [bytes(part) for part in codec.encode(_message(identities=[]))[2:]]
        for table, fault in ((UNREADABLE_VALUES, "unreadable"), (READABLE_VALUES, "readable")):
            for name, value in table[packer].items():
                for index, part in enumerate(codec.parts):
                    if len(value) > 10_000 and part != "content":
                        continue
                    broken = [*parts[:index], with_value(codec, parts[index], value), *parts[index + 1 :]]
                    yield make(
                        f"values.{packer}.{name.replace(' ', '-')}.{part}",
                        f"{part} with a value that is {fault}: {name}.",
                        ["wire.parts-readable"],
                        codec,
                        [DELIMITER, codec.sign(b"".join(broken)), *broken],
                    )


_DRAWS: Final = 8
_SLUGS: Final = {
    "two-delimiters": "wire.first-delimiter-counts",
    "no-delimiter": "wire.delimiter-present",
    "truncate": "wire.all-parts-present",
    "drop": "wire.all-parts-present",
    "wrong-signature": "wire.signature-verified",
    "signature-over-others": "wire.signature-covers-dictionaries",
    "not-an-object": "wire.parts-are-objects",
    "nameless": "wire.header-msg-id",
    "wrong-type": "wire.header-optional-fields",
}


def _damages() -> Iterator[Vector]:
    names = {_JSON: "json", _MSGPACK: "msgpack", _UNSIGNED: "unsigned", _OLD: "oldest"}
    for kind in DAMAGES:
        for codec, codec_name in names.items():
            message = _message(
                parent_header=HEADER, metadata={} if codec is _OLD else {"label": "x"}, buffers=[b"one", b"two"]
            )
            good = codec.encode(message)
            chance = Drawn(Random(f"{kind} {codec_name}").random)  # noqa: S311 (examples, no secrets)
            seen = {tuple(good)}
            for number in range(_DRAWS):
                damaged = damage(kind, codec, good, chance)
                if damaged.frames in seen or max(map(len, damaged.frames), default=0) > 10_000:
                    continue
                seen.add(damaged.frames)
                assert misjudged(codec, damaged) is None, kind
                yield make(
                    f"damage.{kind}.{codec_name}.{number}",
                    f"A good message after the damage `{kind}`.",
                    [_SLUGS.get(kind, "wire.parts-readable")],
                    codec,
                    damaged.frames,
                )


def _histories() -> Iterator[Vector]:
    genuine = _JSON.encode(_message())
    other = _JSON.encode(_message().replace(header=HEADER | {"msg_id": "another"}))
    forged = [*genuine[:-1], b'{"targets":0}']
    rerouted = [b"somebody else", *genuine[1:]]
    cases: Mapping[str, tuple[str, str, Codec, Sequence[Frame], Sequence[Sequence[Frame]]]] = {
        "copy": ("The same frames a second time.", "wire.replay-refused", _JSON, genuine, [genuine]),
        "copy-later": ("A copy after other messages.", "wire.replay-refused", _JSON, genuine, [genuine, other]),
        "copy-rerouted": ("A copy by another route.", "wire.replay-refused", _JSON, rerouted, [genuine]),
        "new": ("Another message of the same sender.", "wire.replay-refused", _JSON, other, [genuine]),
        "after-forged": (
            "A genuine message after a forged one with its signature.", "wire.forged-copy-does-not-block", _JSON,
            genuine, [forged],
        ),
        "after-cut": ("A genuine message after half of it.", "wire.sender-recovers", _JSON, genuine, [genuine[:4]]),
        "unsigned-copy": (
            "Without a key a message is not known again.", "wire.empty-key-unsigned", _UNSIGNED,
            _UNSIGNED.encode(_message()), [_UNSIGNED.encode(_message())],
        ),
    }  # fmt: skip
    for name, (summary, slug, codec, frames, before) in cases.items():
        yield make(f"history.{name}", summary, [slug], codec, frames, before=before)


# Apply messages


def _apply(msg_type: str, buffers: Sequence[Frame], content: Json | None = None) -> list[Frame]:
    message = build(msg_type, content, msg_id=HEADER["msg_id"], session=HEADER["session"], date=DATE, buffers=buffers)
    return _JSON.encode(message)


_ADD: Final = Global("operator", "add")
_LARGE: Final = b"L" * 5000


def _calls() -> Iterator[Vector]:
    calls: Mapping[str, tuple[str, list[bytes]]] = {
        "none": ("f()", pack_request(Global("time", "time"))),
        "argument": ("f(1)", pack_request(_ADD, 1)),
        "arguments": ("f(...) with every plain type", pack_request(
            _ADD, None, True, -1, 2**70, 1.5, "é", b"bytes", [], (), {}, [1, [2, [3]]], (1, (2,)), {"a": {"b": [1]}},
        )),
        "keywords": ("f(a=1, b='x')", pack_request(_ADD, keywords={"b": "x", "a": 1})),
        "both": ("f(1, key=2)", pack_request(_ADD, 1, keywords={"key": 2})),
        "large": ("f(large bytes), which travel in a buffer of their own", pack_request(_ADD, _LARGE)),
        "large-keyword": ("f(key=large bytes)", pack_request(_ADD, keywords={"key": _LARGE})),
        "nested-large": ("f([small, large, large])", pack_request(_ADD, [b"small", _LARGE, _LARGE], {"k": _LARGE})),
        "many": ("f() with seventy items, beyond the limit of looking inside", pack_request(_ADD, [b"x"] * 70)),
    }  # fmt: skip
    for name, (summary, buffers) in calls.items():
        slugs = ["apply.request-buffers", "apply.argument-counts-true"]
        yield make(
            f"calls.{name}", f"apply_request: {summary}.", slugs, _JSON, _apply("apply_request", buffers), call=True
        )
    good = pack_request(_ADD, 1, _LARGE, keywords={"key": 2})
    info = {"nargs": 2, "narg_bufs": 3, "kw_keys": ["key"]}
    canned = Instance(Global(CANNING, "CannedBytes"), ())
    canned.state = {"buffers": [None]}
    wrong: Mapping[str, tuple[str, list[bytes]]] = {
        "no-buffers": ("no buffers at all", []),
        "one-buffer": ("a function and nothing else", good[:1]),
        "empty-function": ("an empty buffer for a function", [b"", *good[1:]]),
        "garbage": ("text where pickles belong", [b"not", b"pickles"]),
        "cut-pickle": ("a pickle that ends in its middle", [good[0][:-1], *good[1:]]),
        "function-pieces-missing": ("a function whose piece is missing", [pickled(canned), *good[1:2]]),
        "info-list": ("a list for the info", [good[0], pickled([1]), *good[2:]]),
        "info-code": ("an info that would import something", [good[0], pickled({"nargs": _ADD}), *good[2:]]),
        "info-negative": ("a negative count", [good[0], pickled(info | {"nargs": -1}), *good[2:]]),
        "info-no-names": ("keyword names that are no list", [good[0], pickled(info | {"kw_keys": "key"}), *good[2:]]),
        "too-few": ("fewer buffers than the info counts", good[:-2]),
        "keyword-missing": ("no buffer for the keyword", good[:-1]),
        "too-many": ("a buffer that nothing counts", [*good, pickled(1)]),
        "piece-missing": ("an argument without its piece", [*good[:3], *good[4:]]),
        "miscounted": ("more arguments than buffers of them", [good[0], pickled(info | {"nargs": 3}), *good[2:]]),
    }
    for name, (summary, buffers) in wrong.items():
        yield make(
            f"calls.wrong.{name}",
            f"apply_request with {summary}.",
            ["apply.request-buffers", "apply.garbage-buffers-error"],
            _JSON,
            _apply("apply_request", buffers),
            call=True,
        )
    results = {
        "none": None,
        "number": 42,
        "large": _LARGE,
        "list": [_LARGE, b"small", _LARGE],
        "nested": {"a": [1, {}]},
    }
    for name, value in results.items():
        frames = _apply("apply_reply", pack_object(value), {"status": "ok"})
        slugs = ["apply.returns-value", "apply.reply-buffers-at-least-one"]
        yield make(f"calls.result.{name}", f"apply_reply with a result: {name}.", slugs, _JSON, frames, call=True)
    for name, buffers in {"no-buffers": [], "garbage": [b"?"], "too-many": [pickled(1), pickled(2)]}.items():
        frames = _apply("apply_reply", buffers, {"status": "ok"})
        slugs = ["apply.reply-buffers-at-least-one"]
        yield make(f"calls.result.wrong.{name}", f"apply_reply with {name}.", slugs, _JSON, frames, call=True)


_SOURCES: Final[Mapping[str, tuple[str, Callable[[], Iterator[Vector]]]]] = {
    "envelope-good.json": ("Envelopes of every shape, all good.", _envelopes),
    "envelope-values.json": ("Values that are hard to read, and values that only look so.", _values),
    "envelope-damage.json": ("A good message after every kind of damage.", _damages),
    "envelope-history.json": ("What earlier messages change: copies and forgeries.", _histories),
    "apply-calls.json": ("What the buffers of apply messages hold, told without loading a pickle.", _calls),
}

__all__ = ["files"]

"""Hypothesis strategies: envelopes of every shape, and messages of every type, derived from the registry.

What is drawn is valid unless its name says otherwise; `protocol.damage` breaks it. Values stay within what both packers
can hold and what a JSON reader gives back unchanged: text without surrogates, integers of 64 bits, finite numbers.

This is the only file of the package that imports hypothesis, and nothing in the package imports it.
"""

from functools import cache
from typing import Any, Final, NamedTuple

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from msgspec import inspect

from protocol.damage import DAMAGES, Chance, Given
from protocol.messages import OLD, REGISTRY, Content, KeyedContent, MessageType, Metadata
from protocol.wire import DELIMITER, Codec, Frame, Json, Message

SCHEMES: Final = ("hmac-sha256", "hmac-md5", "hmac-sha1", "hmac-sha512", "hmac-blake2b")
PACKERS: Final = ("json", "msgpack", "orjson")

#: (row, dialect) of every message that has an envelope and that a receiver of that dialect knows.
SPOKEN: Final = tuple((row, dialect) for row in REGISTRY for dialect in row.dialects if not row.is_raw)


class Typed(NamedTuple):
    """A message with the place where it is valid."""

    message: Message
    row: MessageType
    channel: str
    dialect: str


# The envelope


def text(max_size: int = 20) -> SearchStrategy[str]:
    """Text of any script, without surrogates, which no packer can write."""
    return st.text(st.characters(exclude_categories=["Cs"]), max_size=max_size)


def identities(max_size: int = 3) -> SearchStrategy[list[bytes]]:
    """Routing identities: any bytes but the delimiter."""
    usual = st.sampled_from([b"", b"\0\x80\0\0\x2a", b"engine.0.stdout", b"e7a3b1c0-5d2f4a6b8c0d1e2f3a4b5c6d"])
    one = st.one_of(usual, st.binary(max_size=40)).filter(lambda identity: identity != DELIMITER)
    return st.lists(one, max_size=max_size)


def keys() -> SearchStrategy[bytes]:
    """Keys: none, usual ones, and ones longer than a block of the hash."""
    return st.one_of(st.sampled_from([b"", b"5f0c2b1e-9d3a7c6b5e4f3a2b1c0d9e8f"]), st.binary(max_size=200))


def schemes() -> SearchStrategy[str]:
    """Signature schemes."""
    return st.sampled_from(SCHEMES)


def packers() -> SearchStrategy[str]:
    """Names of packers."""
    return st.sampled_from(PACKERS)


def codecs(dialect: str | None = None) -> SearchStrategy[Codec]:
    """Codecs with any key, scheme and packer; the oldest dialect has no metadata frame."""
    with_metadata = st.booleans() if dialect is None else st.just(dialect != OLD)
    return st.builds(Codec, keys(), scheme=schemes(), packer=packers(), metadata=with_metadata)


def json_values(max_leaves: int = 6) -> SearchStrategy[Any]:
    """Any value of JSON."""
    leaves = st.one_of(
        st.none(), st.booleans(), _integers(None, None), st.floats(allow_nan=False, allow_infinity=False), text()
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(text(), inner, max_size=4)),
        max_leaves=max_leaves,
    )


def json_objects(max_size: int = 4) -> SearchStrategy[Json]:
    """Dictionaries of JSON values."""
    return st.dictionaries(text(), json_values(), max_size=max_size)


def buffers(minimum: int = 0, maximum: int | None = None) -> SearchStrategy[list[Frame]]:
    """Buffers: bytes or views, empty ones and ones that look like parts of the envelope among them."""
    contents = st.one_of(st.binary(max_size=64), st.sampled_from([DELIMITER, b"{}", bytes(2000)]))
    most = minimum + 3 if maximum is None else maximum
    return st.lists(
        st.one_of(contents, contents.map(lambda octets: memoryview(octets))), min_size=minimum, max_size=most
    )


def headers(msg_type: str | None = None) -> SearchStrategy[Json]:
    """Headers: `msg_id` and `msg_type`, and some of the other keys."""
    return st.fixed_dictionaries(
        {"msg_id": text(40), "msg_type": text(30) if msg_type is None else st.just(msg_type)},
        optional={
            "username": text(),
            "session": text(40),
            "date": st.sampled_from(["2010-07-12T12:00:00.000001Z", "2026-01-05T12:00:00+01:00", "yesterday", ""]),
            "version": st.sampled_from(["5.4", "4.1", "99.0", ""]),
            "subshell_id": st.none() | text(),
        },
    )


def envelopes() -> SearchStrategy[Message]:
    """Messages of any shape, of types that nobody knows."""
    return st.builds(
        Message,
        headers(),
        parent_header=st.one_of(st.just({}), headers(), json_objects()),
        metadata=json_objects(),
        content=json_objects(),
        buffers=buffers(),
        identities=identities(),
    )


# Every message type


def messages(row: MessageType, dialect: str | None = None) -> SearchStrategy[Message]:
    """Messages of one type as a dialect (by default the newest of the row) names it. Raises ValueError for a raw row.

    Without a metadata frame, as in the oldest dialect, metadata is empty.
    """
    if row.is_raw:
        raise ValueError(f"{row.name} has no envelope")
    return _messages(row, dialect or (row.dialects[-1] if row.dialects else None))


def typed_messages() -> SearchStrategy[Typed]:
    """Messages of all types, each with a channel and a dialect in which it is valid."""
    return st.sampled_from(SPOKEN).flatmap(
        lambda spoken: st.builds(
            Typed, messages(*spoken), st.just(spoken[0]), st.sampled_from(spoken[0].channels), st.just(spoken[1])
        )
    )


def any_message() -> SearchStrategy[Message]:
    """Messages of all types of the registry."""
    return typed_messages().map(lambda typed: typed.message)


def contents(row: MessageType) -> SearchStrategy[Json]:
    """Content of one type, in any of its alternatives."""
    return st.one_of([values(kind) for kind in row.content])


@cache
def values(kind: type[Content] | type[Metadata]) -> SearchStrategy[Json]:
    """Dictionaries that are valid content or metadata of this type, sometimes with a key that nobody knows."""
    known = _of_type(inspect.type_info(kind), {})
    if not issubclass(kind, KeyedContent):
        return known
    fixed = {*kind.__struct_encode_fields__, kind.__struct_config__.tag_field, "status"}
    names = st.from_regex(kind.entry_keys, fullmatch=True) if kind.entry_keys else st.integers(0, 99).map(str) | text()
    entries = st.dictionaries(
        names.filter(lambda name: name not in fixed), _of_type(inspect.type_info(kind.entry_type), {}), max_size=3
    )
    return st.builds(lambda own, more: {**own, **more}, known, entries)


@cache
def _messages(row: MessageType, dialect: str | None) -> SearchStrategy[Message]:
    header, metadata = headers(row.name if dialect is None else row.name_in(dialect)), values(row.metadata)
    if row.metadata_in == "header":
        # What belongs to the header itself wins over a stray key of the metadata.
        header = st.builds(lambda own, more: {**more, **own}, header, metadata)
    if row.metadata_in == "header" or dialect == OLD:
        metadata = st.just({})
    nothing: SearchStrategy[Json] = st.just({})
    parents = {"empty": nothing, "request": headers(), "any": nothing | headers()}
    return st.builds(
        Message,
        header,
        parent_header=parents[row.parent],
        metadata=metadata,
        content=contents(row),
        buffers=buffers(row.buffers.minimum, row.buffers.maximum),
        identities=identities(),
    )


def _of_type(kind: inspect.Type, known: dict[type, SearchStrategy[Any]]) -> SearchStrategy[Any]:
    """What a field of this type may hold on the wire."""
    match kind:
        case inspect.Metadata():
            return _of_type(kind.type, known)
        case inspect.AnyType():
            return json_values()
        case inspect.NoneType():
            return st.none()
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType():
            return _integers(_first(kind.ge, kind.gt, 1), _first(kind.le, kind.lt, -1))
        case inspect.FloatType():
            return st.floats(
                _first(kind.ge, kind.gt, 0), _first(kind.le, kind.lt, 0), allow_nan=False, allow_infinity=False,
                exclude_min=kind.gt is not None, exclude_max=kind.lt is not None,
            )  # fmt: skip
        case inspect.StrType():
            if kind.pattern is not None:
                return st.from_regex(kind.pattern, alphabet=st.characters(exclude_categories=["Cs"]))
            least = kind.min_length or 0
            return st.text(
                st.characters(exclude_categories=["Cs"]), min_size=least, max_size=kind.max_length or least + 20
            )
        case inspect.LiteralType():
            return st.sampled_from(kind.values)
        case inspect.UnionType():
            return st.one_of([_of_type(each, known) for each in kind.types])
        case inspect.ListType() | inspect.VarTupleType():
            least = kind.min_length or 0
            most = least + 3 if kind.max_length is None else min(kind.max_length, least + 3)
            return st.lists(_of_type(kind.item_type, known), min_size=least, max_size=most)
        case inspect.TupleType():
            return st.tuples(*[_of_type(each, known) for each in kind.item_types]).map(list)
        case inspect.DictType():
            least = kind.min_length or 0
            names = _of_type(kind.key_type, known)
            return st.dictionaries(names, _of_type(kind.value_type, known), min_size=least, max_size=least + 3)
        case inspect.StructType():
            return _of_struct(kind, known)
        case _:
            raise TypeError(f"no strategy for {kind!r}; add one where the message types gained this kind of field")


def _of_struct(kind: inspect.StructType, known: dict[type, SearchStrategy[Any]]) -> SearchStrategy[Json]:
    if kind.cls in known:
        return known[kind.cls]
    made: SearchStrategy[Json] = st.deferred(lambda: built)
    known[kind.cls] = made
    keyed = issubclass(kind.cls, KeyedContent)
    is_all_data = issubclass(kind.cls, KeyedContent) and not kind.cls.entry_keys
    fields = [field for field in kind.fields if not (keyed and field.name == "entries")]
    required = {field.encode_name: _of_type(field.type, known) for field in fields if field.required}
    optional = {field.encode_name: _of_type(field.type, known) for field in fields if not field.required}
    tag = {} if kind.tag_field is None else {kind.tag_field: st.just(kind.tag)}
    if not kind.forbid_unknown_fields and not is_all_data:
        optional["x-unknown"] = json_values(2)
    built = st.fixed_dictionaries({**tag, **required}, optional=optional)
    return built


def _first(inclusive: Any, exclusive: Any, step: int) -> Any:
    return inclusive if inclusive is not None else None if exclusive is None else exclusive + step


def _integers(least: int | None, most: int | None) -> SearchStrategy[int]:
    return st.integers(-(2**63) if least is None else least, 2**64 - 1 if most is None else most)


# Damage


def damages() -> SearchStrategy[str]:
    """Kinds of damage."""
    return st.sampled_from(list(DAMAGES))


def chances() -> SearchStrategy[Chance]:
    """Numbers for a damage."""
    return st.lists(st.integers(0, 2**16), max_size=6).map(Given)


__all__ = [
    "PACKERS",
    "SCHEMES",
    "SPOKEN",
    "Typed",
    "any_message",
    "buffers",
    "chances",
    "codecs",
    "contents",
    "damages",
    "envelopes",
    "headers",
    "identities",
    "json_objects",
    "json_values",
    "keys",
    "messages",
    "packers",
    "schemes",
    "text",
    "typed_messages",
    "values",
]

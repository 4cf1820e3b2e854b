"""Checking a message against its type: quickly when it is right, completely when it is not.

The fast path converts the decoded dictionaries straight into the row's types. When that fails, the message is looked
at again with the JSON Schemas derived from the same types, which find every problem and not only the first, and each
is reported with its frame and its path. Whatever bytes arrive, nothing but a ProtocolError leaves this module.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

import msgspec

from protocol.errors import FrameName, LocalProtocolError, Problem, ProtocolError, RemoteProtocolError
from protocol.messages.base import Content, KeyedContent, MessageType, Metadata, Reading
from protocol.messages.registry import DEFAULT_DIALECT, INDEX, check_place, names
from protocol.wire import DELIMITER, UNREADABLE, Codec, Frame, Json, Message, describe, unreadable

_convert: Final = msgspec.convert
#: Twice as quick as calling the class, which goes through a function of Python.
_reading: Final = tuple.__new__
#: What converting decoded values may raise: a value of a wrong type, or one that cannot even be looked at.
_UNFIT: Final = (*UNREADABLE, TypeError, KeyError)
_CONTENT: Final = "wire.content-matches-type"
_METADATA: Final = "wire.metadata-matches-type"


class _Plan:
    """What the fast path needs to know of a row, worked out once."""

    __slots__ = (
        "bare", "blank", "decode", "in_header", "maximum", "metadata", "minimum", "plain", "row", "simple", "tagged",
    )  # fmt: skip

    def __init__(self, row: MessageType) -> None:
        self.row = row
        tags = [(kind, kind.__struct_config__.tag) for kind in row.content]
        self.tagged: dict[str, type[Content]] = {tag: kind for kind, tag in tags if isinstance(tag, str)}
        self.plain: tuple[type[Content], ...] = tuple(kind for kind, tag in tags if tag is None)
        only = self.plain[0] if len(row.content) == 1 and self.plain else None
        self.simple = None if only is None or issubclass(only, KeyedContent) else only
        self.metadata = row.metadata
        self.decode = _strict_decoder(row.metadata)
        self.in_header = row.metadata_in == "header"
        self.minimum = row.buffers.minimum
        self.maximum = float("inf") if row.buffers.maximum is None else row.buffers.maximum
        #: Metadata and content of `{}`, where they may be empty: types are frozen, so one value serves all messages.
        self.blank: Metadata | None
        self.bare: Content | None
        try:
            self.blank = _convert({}, row.metadata)
        except msgspec.ValidationError:
            self.blank = None
        try:
            self.bare = self.content_of({})
        except (msgspec.ValidationError, KeyError):
            self.bare = None

    def fits(self, header: Json, metadata: Json | None, content: Json | None) -> bool:
        """Whether dictionaries are right for the row's types; None stands for one that could not be decoded."""
        try:
            if self.in_header or metadata is not None:
                _convert(header if self.in_header else metadata, self.metadata)
            if content is not None:
                self.content_of(content)
        except _UNFIT:
            return False
        return True

    def content_of(self, data: Json) -> Content:
        """The typed content. Raises one of _UNFIT."""
        if self.simple is not None:
            return _convert(data, self.simple)
        status = data.get("status")
        kind = self.tagged.get(status) if type(status) is str else None
        if kind is not None:
            return _keyed(data, kind) if issubclass(kind, KeyedContent) else _convert(data, kind)
        for alternative in self.plain[:-1]:
            try:
                return _convert(data, alternative)
            except _UNFIT:
                continue
        if not self.plain:
            raise KeyError("status")
        last = self.plain[-1]
        return _keyed(data, last) if issubclass(last, KeyedContent) else _convert(data, last)


@cache
def _strict_decoder(kind: type[Metadata]) -> Callable[[Frame], Any] | None:
    """Reads JSON straight into a type of the same fields that refuses other keys; None if the type is too deep.

    Values under keys that a type does not know are skipped unread when bytes are decoded into it: bad UTF-8, a lone
    surrogate or 1e400 would pass. So metadata with such keys, or with types inside, takes the longer way.
    """
    fields = msgspec.structs.fields(kind)
    if any(field.default_factory is not msgspec.NODEFAULT for field in fields):
        return None
    hints = {name: _without_structs(hint) for name, hint in get_type_hints(kind, include_extras=True).items()}
    strict = msgspec.defstruct(
        kind.__name__,
        [
            (field.name, hints[field.name]) if field.required else (field.name, hints[field.name], field.default)
            for field in fields
        ],
        bases=(kind,),
        module=kind.__module__,
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )
    return msgspec.json.Decoder(strict).decode if len(msgspec.json.schema_components([strict])[1]) == 1 else None


def _without_structs(hint: Any) -> Any:
    """A field's type without the structs among its alternatives."""
    if get_origin(hint) is Annotated:
        bare, *more = get_args(hint)
        return Annotated[_without_structs(bare), *more]
    if get_origin(hint) is UnionType or get_origin(hint) is Union:
        plain = [each for each in get_args(hint) if not (isinstance(each, type) and issubclass(each, msgspec.Struct))]
        return Union[tuple(plain)]  # noqa: UP007 (made at run time)
    return hint


def _keyed(data: Json, kind: type[KeyedContent]) -> KeyedContent:
    fixed: Json = {}
    entries: Json = {}
    known, is_entry = _fixed_keys(kind), _entry_keys(kind.entry_keys)
    for key, value in data.items():
        if key in known:
            fixed[key] = value
        elif is_entry is None or is_entry(key):
            entries[key] = _convert(value, kind.entry_type)
    content: KeyedContent = _convert(fixed, kind)
    return msgspec.structs.replace(content, entries=entries)


@cache
def _entry_keys(pattern: str) -> Callable[[str], object] | None:
    return re.compile(pattern).fullmatch if pattern else None


def _fixed_keys(kind: type[KeyedContent]) -> frozenset[str]:
    tag = kind.__struct_config__.tag_field
    return frozenset(name for name in kind.__struct_encode_fields__ if name != "entries") | ({tag} if tag else set())


_PLANS: Final[Mapping[tuple[str, str, str], _Plan]] = {
    key: plan
    for row, plan in {row: _Plan(row) for row in INDEX.values() if not row.is_raw}.items()
    for key, same in INDEX.items()
    if same is row
}


def read(codec: Codec, frames: Sequence[Frame], channel: str, dialect: str = DEFAULT_DIALECT) -> Reading:
    """The message in these frames, verified, decoded and checked against its type on this channel.

    Buffers beyond those of the type are tolerated, as unknown keys are. Traffic of the Hub's monitor is read with the
    channel that its prefix names (`in` and `out`: mux, `intask` and `outtask`: task, `iopub`: iopub, ...); only
    `tracktask` and `heartmonitor` announce types of the channel `monitor`.

    Raises RemoteProtocolError with every problem of the message, each with its frame and JSON path; ValueError for a
    channel or dialect that does not exist.
    """
    try:
        message = codec.open_header(frames)
        plan = _PLANS[message.header["msg_type"], channel, dialect]
        packer = codec.packer
        empty = packer.empty
        parts: Any = message.parts
        frame = parts[1]
        message._parent = {} if frame == empty else packer.decode(frame)
        if plan.in_header or len(parts) == 3:
            message._metadata = {} if len(parts) == 3 else packer.decode(parts[2])
            metadata = _convert(message.header if plan.in_header else {}, plan.metadata)
        elif (frame := parts[2]) == empty and plan.blank is not None:
            message._metadata = {}
            metadata = plan.blank
        else:
            metadata = None
            if plan.decode is not None and packer.name != "msgpack":
                # Straight into the type; the dictionary is made when somebody looks at it.
                try:
                    metadata = plan.decode(frame)
                except UNREADABLE:
                    metadata = None
            if metadata is None:
                message._metadata = data = packer.decode(frame)
                metadata = _convert(data, plan.metadata)
        frame = parts[-1]
        content = plan.bare if frame == empty else None
        if content is None:
            message._content = data = packer.decode(frame)
            content = plan.content_of(data)
        else:
            message._content = {}
    except (ProtocolError, *_UNFIT) as error:
        if isinstance(error, ProtocolError) and "wire.replay-refused" in error.rules:
            raise
        check_place(channel, dialect)
        raise RemoteProtocolError(*problems(codec, frames, channel, dialect, error)) from None
    if len(message.buffers) < plan.minimum:
        raise RemoteProtocolError(_buffer_problem(plan.row, len(message.buffers)))
    return _reading(Reading, (message, plan.row, content, metadata))


def validate(message: Message, channel: str, dialect: str = DEFAULT_DIALECT, *, local: bool = False) -> Reading:
    """A message checked against its type, without bytes: one that was built here, or opened before.

    `local` says that we made it: then buffers beyond those of its type are a mistake too.
    Raises LocalProtocolError if `local`, else RemoteProtocolError, with every problem; ValueError for a channel or
    dialect that does not exist.
    """
    header = message.header
    msg_type, count = header.get("msg_type"), len(message.buffers)
    plan = _PLANS.get((msg_type, channel, dialect)) if type(msg_type) is type(header.get("msg_id")) is str else None
    if plan is not None and plan.minimum <= count and not (local and count > plan.maximum):
        try:
            typed = plan.content_of(message.content)
            about = _convert(header if plan.in_header else message.metadata, plan.metadata)
            return _reading(Reading, (message, plan.row, typed, about))
        except (ProtocolError, *_UNFIT):
            # All that is wrong is to be told, not only what was found first.
            pass
    check_place(channel, dialect)
    found: list[Problem] = []
    try:
        metadata = message.metadata
        content = message.content
        found += _header_problems(header)
        if not found:
            plan = _PLANS.get((header["msg_type"], channel, dialect))
            if plan is None:
                found.append(_unknown(header["msg_type"], channel, dialect))
            else:
                row = plan.row
                try:
                    reading = Reading(
                        message,
                        row,
                        plan.content_of(content),
                        _convert(header if plan.in_header else metadata, plan.metadata),
                    )
                except _UNFIT as error:
                    found += _typed_problems(row, header, metadata, content, error)
                if count < plan.minimum or (local and count > plan.maximum):
                    found.append(_buffer_problem(row, count))
    except ProtocolError as error:
        found += error.problems
    if found:
        raise (LocalProtocolError if local else RemoteProtocolError)(*found)
    return reading


def problems(
    codec: Codec,
    frames: Sequence[Frame],
    channel: str,
    dialect: str = DEFAULT_DIALECT,
    cause: Exception | None = None,
) -> list[Problem]:
    """Everything wrong with these frames as a message of this channel; an empty list if nothing is.

    `cause` is what the fast path raised; it is reported when nothing else is found.
    """
    found = codec.problems(frames)
    if DELIMITER not in frames:
        return found
    rest = frames[frames.index(DELIMITER) + 2 :]
    parts = dict(zip(codec.parts, rest, strict=False))
    values: dict[FrameName, Json] = {}
    for name, frame in parts.items():
        try:
            values[name] = codec.packer.decode(frame)
        except UNREADABLE as error:
            if name == "content":
                found.append(unreadable(name, frame, codec.packer, error))
    header = values.get("header", {})
    msg_type = header.get("msg_type")
    if not isinstance(msg_type, str):
        return found
    plan = _PLANS.get((msg_type, channel, dialect))
    if plan is None:
        return [*found, _unknown(msg_type, channel, dialect)]
    metadata = values.get("metadata") if "metadata" in codec.parts else {}
    content = values.get("content")
    # A wrong signature is the commonest refusal; the schemas need not be asked when the types have nothing to say.
    if not plan.fits(header, metadata, content):
        found += _typed_problems(plan.row, header, metadata, content, None if found else cause)
    count = len(rest) - len(codec.parts)
    if 0 <= count < plan.minimum:
        found.append(_buffer_problem(plan.row, count))
    return found


def _typed_problems(
    row: MessageType, header: Json, metadata: Json | None, content: Json | None, cause: Exception | None
) -> list[Problem]:
    """What is wrong with dictionaries that could be decoded; None stands for one that could not."""
    # Only a message that is wrong pays for the schema library.
    from protocol import schema

    where: FrameName = "metadata"
    if row.metadata_in == "header":
        where, metadata = "header", header
    found: list[Problem] = []
    if metadata is not None:
        found += schema.problems(row.metadata, metadata, where, _METADATA)
    if content is not None:
        found += schema.content_problems(row, content, _CONTENT)
    if not found and isinstance(cause, Exception) and not isinstance(cause, ProtocolError):
        found.append(_from_cause(row, metadata, content, cause))
    return found


def _from_cause(row: MessageType, metadata: Json | None, content: Json | None, cause: Exception) -> Problem:
    """The problem that only the fast path sees, such as a whole number written as 1.0 where an integer belongs."""
    where: FrameName = "content"
    if metadata is not None and content is not None:
        try:
            _convert(metadata, row.metadata)
        except _UNFIT:
            where = "header" if row.metadata_in == "header" else "metadata"
    rule = _CONTENT if where == "content" else _METADATA
    match = re.fullmatch(r"Expected (?P<want>.*?), got (?P<got>.*?)(?: - at `(?P<path>.*)`)?", str(cause), re.DOTALL)
    if match is None:
        return Problem(where, rule, f"the fields of {row.name}", f"{type(cause).__name__}: {cause}", "$")
    return Problem(where, rule, match["want"].replace("`", ""), match["got"].replace("`", ""), match["path"] or "$")


def _header_problems(header: Mapping[str, Any]) -> list[Problem]:
    return [
        Problem("header", f"wire.header-{key.replace('_', '-')}", "a string", describe(header, key), f"$.{key}")
        for key in ("msg_id", "msg_type")
        if type(header.get(key)) is not str
    ]


def _unknown(msg_type: str, channel: str, dialect: str) -> Problem:
    from difflib import get_close_matches

    known = names(channel, dialect)
    near = get_close_matches(msg_type, known, n=3, cutoff=0.8) or known
    expected = f"a message type of channel {channel} in {dialect}: {', '.join(near)}"
    return Problem("header", "wire.message-type-known", expected, repr(msg_type[:200]), "$.msg_type")


def _buffer_problem(row: MessageType, count: int) -> Problem:
    least, most = row.buffers.minimum, row.buffers.maximum
    if most is None:
        expected = f"at least {least} buffers"
    elif least == most:
        expected = f"{least} buffers" if least else "no buffers"
    else:
        expected = f"{least} to {most} buffers"
    return Problem("buffers", "wire.buffer-count", expected, str(count))

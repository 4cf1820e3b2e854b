"""The fields of a content or metadata type as rows of a table, read from the type itself."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import inspect

from protocol.messages.base import Content, KeyedContent, Metadata

_NAMES: Final = {
    inspect.StrType: "string",
    inspect.IntType: "integer",
    inspect.FloatType: "number",
    inspect.BoolType: "true or false",
    inspect.NoneType: "null",
    inspect.AnyType: "anything",
    inspect.DictType: "object",
    inspect.BytesType: "bytes",
    inspect.RawType: "anything",
}


class Field(NamedTuple):
    """One key: `presence` is required, optional, or the value that a missing key stands for."""

    name: str
    kind: str
    presence: str
    doc: str


class Shape(NamedTuple):
    """The keys of one type. `name` is empty for the type itself and names the types inside it."""

    name: str
    doc: str
    fields: tuple[Field, ...]


def shapes(kind: type[Content] | type[Metadata]) -> tuple[Shape, ...]:
    """The type, and every object type that its fields mention."""
    inner: dict[str, inspect.StructType] = {}
    own = inspect.type_info(kind)
    assert isinstance(own, inspect.StructType)
    fields = list(_fields(own, inner))
    if issubclass(kind, KeyedContent):
        fields = [field for field in fields if field.name != "entries"]
        entry = inspect.type_info(kind.entry_type)
        which = f"each key that matches {kind.entry_keys}" if kind.entry_keys else "any other key"
        fields.append(Field(which, _kind(entry, inner), "one per entry", _doc(entry)))
    found = [Shape("", "", tuple(fields))]
    seen: set[str] = set()
    while waiting := [name for name in inner if name not in seen]:
        name = waiting[0]
        seen.add(name)
        found.append(Shape(name, _summary(inner[name].cls), tuple(_fields(inner[name], inner))))
    return tuple(found)


def _summary(kind: type[object]) -> str:
    return (kind.__doc__ or "").split("\n")[0]


def _fields(kind: inspect.StructType, inner: dict[str, inspect.StructType]) -> Iterator[Field]:
    if kind.tag_field is not None:
        yield Field(kind.tag_field, repr(kind.tag).replace("'", '"'), "required", "")
    for field in kind.fields:
        yield Field(field.encode_name, _kind(field.type, inner), _presence(field), _doc(field.type))


def _presence(field: inspect.Field) -> str:
    if field.required:
        return "required"
    default = field.default if field.default is not msgspec.NODEFAULT else _made(field.default_factory)
    if default is msgspec.UNSET or default is None:
        return "optional"
    return f"optional, default {msgspec.json.encode(default).decode()}"


def _made(factory: Any) -> object:
    return None if factory is msgspec.NODEFAULT else factory()


def _doc(kind: inspect.Type) -> str:
    if isinstance(kind, inspect.Metadata):
        return str((kind.extra_json_schema or {}).get("description", "")) or _doc(kind.type)
    if isinstance(kind, inspect.UnionType):
        return next(filter(None, map(_doc, kind.types)), "")
    return ""


def _kind(kind: inspect.Type, inner: dict[str, inspect.StructType]) -> str:
    """A type in words."""
    if isinstance(kind, inspect.Metadata):
        return _kind(kind.type, inner)
    if isinstance(kind, inspect.UnionType):
        return " or ".join(dict.fromkeys(_kind(each, inner) for each in kind.types))
    if isinstance(kind, inspect.LiteralType):
        return " or ".join(msgspec.json.encode(value).decode() for value in kind.values)
    if isinstance(kind, inspect.ListType | inspect.VarTupleType | inspect.SetType):
        items = _kind(kind.item_type, inner)
        return "array" if items == "anything" else f"array of ({items})" if " or " in items else f"array of {items}"
    if isinstance(kind, inspect.TupleType):
        return f"array of {', '.join(_kind(each, inner) for each in kind.item_types)}"
    if isinstance(kind, inspect.DictType):
        values = _kind(kind.value_type, inner)
        return "object" if values == "anything" else f"object of {values}"
    if isinstance(kind, inspect.StructType):
        inner.setdefault(kind.cls.__name__, kind)
        return kind.cls.__name__
    if isinstance(kind, inspect.IntType) and kind.ge is not None:
        return f"integer from {kind.ge}"
    return _NAMES.get(type(kind), "anything")

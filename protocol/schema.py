"""JSON Schemas (2020-12) of the message types, derived from the rows; and what they find wrong with a message.

A schema describes one message as an object of its parts: `header`, `parent_header`, `metadata`, `content` are
dictionaries, `buffers` is an array whose length matters and whose items are opaque. Unknown keys are allowed
everywhere, because the protocol demands that receivers ignore them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

import msgspec
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from protocol.errors import FrameName, Problem
from protocol.messages.base import OLD, Content, KeyedContent, MessageType, Metadata
from protocol.messages.registry import REGISTRY
from protocol.wire import UNREADABLE, Json

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"

_HEADER_TEXT: Final[Mapping[str, str]] = {
    "session": "One value for everything that one party sends from one process.",
    "username": "Who runs the party.",
    "date": "When the message was made, ISO 8601.",
    "version": "Version of the message protocol, such as 5.4.",
}
_KINDS: Final[Mapping[str, str]] = {
    "null": "null",
    "boolean": "a boolean",
    "integer": "an integer",
    "number": "a number",
    "string": "a string",
    "array": "an array",
    "object": "an object",
}


def schema(row: MessageType, dialect: str | None = None) -> Json:
    """The schema of one row, complete in itself, under the name that it has in a dialect, or all its names.

    The result is a fresh dictionary: `{"$schema", "$id", "title", "description", "type", "properties", "required",
    "$defs"}`.
    """
    definitions: Json = {}
    body = _body(row, dialect, definitions)
    return {"$schema": DRAFT, "$id": f"urn:ippkit:{identifier(row)}", **body, "$defs": definitions}


def document(rows: Iterable[MessageType] = REGISTRY) -> Json:
    """One schema with all rows: `$defs` holds every content type and every message, the latter under `identifier`."""
    definitions: Json = {}
    messages = {identifier(row): _body(row, None, definitions) for row in rows if not row.is_raw}
    return {
        "$schema": DRAFT,
        "$id": "urn:ippkit:messages",
        "title": "Messages of the IPython Parallel protocol",
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in messages],
        "$defs": dict(sorted({**definitions, **messages}.items())),
    }


def identifier(row: MessageType) -> str:
    """A name that no other row has: `query.registration_request`, with the dialect where that is needed to tell."""
    name = f"{row.channels[0]}.{row.name}"
    same = [other for other in REGISTRY if f"{other.channels[0]}.{other.name}" == name]
    return name if len(same) == 1 or row is same[0] else f"{name}.{'-'.join(row.dialects) or 'withdrawn'}"


def content_schema(kind: type[Content] | type[Metadata]) -> Json:
    """The schema of one content or metadata type, with its own `$defs`."""
    definitions: Json = {}
    reference = _reference(kind, definitions)
    return {**reference, "$defs": definitions}


def _body(row: MessageType, dialect: str | None, definitions: Json) -> Json:
    names = row.all_names if dialect is None else (row.name_in(dialect),)
    header: Json = {
        "type": "object",
        "description": "What the message is and where it comes from.",
        "properties": {
            "msg_id": {"type": "string", "description": "Unique; replies name it in their parent header."},
            "msg_type": {"const": names[0]} if len(names) == 1 else {"enum": list(names)},
            **{key: {"type": "string", "description": text} for key, text in _HEADER_TEXT.items()},
        },
        "required": ["msg_id", "msg_type"],
    }
    metadata: Json = _reference(row.metadata, definitions)
    if row.metadata_in == "header":
        header = {"allOf": [metadata, header]}
    contents = [_reference(kind, definitions) for kind in row.content]
    parts: Json = {
        "header": header,
        "parent_header": {"type": "object", "description": _PARENTS[row.parent]},
        "metadata": metadata,
        "content": contents[0] if len(contents) == 1 else {"anyOf": contents},
        "buffers": {"type": "array", "minItems": row.buffers.minimum},
    }
    if row.metadata_in == "header" or row.dialects == (OLD,):
        del parts["metadata"]
    if row.buffers.holds:
        parts["buffers"]["description"] = row.buffers.holds
    withdrawn = {} if row.dialects else {"deprecated": True}
    return {
        "title": names[0],
        "description": row.doc,
        "$comment": f"{', '.join(row.sender)} -> {', '.join(row.receiver)} on {', '.join(row.channels)}",
        **withdrawn,
        "type": "object",
        "properties": parts,
        "required": [key for key in parts if key != "buffers" or row.buffers.minimum],
    }


_PARENTS: Final[Mapping[str, str]] = {
    "request": "The header of the request that is answered.",
    "empty": "Empty: the message answers nothing.",
    "any": "The header of the message that caused this one, or empty.",
}


def _reference(kind: type[Content] | type[Metadata], definitions: Json) -> Json:
    """A reference to a type's schema, which is put among the definitions with everything it refers to."""
    wanted: list[Any] = [kind]
    if issubclass(kind, KeyedContent):
        wanted.append(kind.entry_type)
    made, components = msgspec.json.schema_components(wanted, ref_template="#/$defs/{name}")
    if issubclass(kind, KeyedContent):
        own: Json = components[kind.__name__]
        own["properties"] = {key: value for key, value in own["properties"].items() if key != "entries"}
        if kind.entry_keys:
            own["patternProperties"] = {f"^{kind.entry_keys}$": made[1]}
        else:
            own["additionalProperties"] = made[1]
    definitions.update(components)
    result: Json = made[0]
    return result


@cache
def _validator(kind: type[Content] | type[Metadata]) -> Draft202012Validator:
    return Draft202012Validator(content_schema(kind))


def content_problems(row: MessageType, content: Json, rule: str) -> list[Problem]:
    """Everything wrong with the content of a message of this row."""
    tagged = {kind.__struct_config__.tag: kind for kind in row.content if kind.__struct_config__.tag is not None}
    plain = [kind for kind in row.content if kind.__struct_config__.tag is None]
    status = content.get("status")
    if isinstance(status, str) and status in tagged:
        return problems(tagged[status], content, "content", rule)
    if not plain:
        found = "nothing" if "status" not in content else _shown(status)
        return [Problem("content", rule, f"one of {', '.join(map(repr, tagged))}", found, "$.status")]
    attempts = [problems(kind, content, "content", rule) for kind in plain]
    return min(attempts, key=len)


def problems(kind: type[Content] | type[Metadata], data: Json, frame: FrameName, rule: str) -> list[Problem]:
    """Everything in which a dictionary differs from its type, in the order of the paths."""
    try:
        found = [
            Problem(frame, rule, expected, what, path)
            for error in _validator(kind).iter_errors(data)
            for path, expected, what in _explain(error, ())
        ]
    except (*UNREADABLE, TypeError):
        # A value that cannot even be put into words; the fast path's own sentence is used instead.
        return []
    return sorted(dict.fromkeys(found), key=lambda problem: problem.path)


def json_path(parts: Sequence[str | int]) -> str:
    """A JSON path: `$.a[0]['b c']`."""
    text = "$"
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.isidentifier():
            text += f".{part}"
        else:
            text += f"[{part[:200]!r}]"
    return text


def _explain(error: ValidationError, above: tuple[str | int, ...]) -> Iterator[tuple[str, str, str]]:
    """(path, expected, found) of one error, or of the errors inside the alternative that was meant."""
    at = (*above, *error.relative_path)
    value: Any = error.instance
    demand: Any = error.validator_value
    match error.validator:
        case "required":
            for key in demand:
                if key not in value:
                    yield json_path((*at, key)), _wanted(_property(error.schema, key)), "nothing"
        case "anyOf":
            groups: dict[int, list[ValidationError]] = {}
            for inner in error.context:
                groups.setdefault(int(inner.relative_schema_path[0]), []).append(inner)
            # An alternative whose outer shape fits is the one that was meant.
            meant = [
                group
                for group in groups.values()
                if not any(not inner.relative_path and inner.validator in _SHAPES for inner in group)
            ]
            if len(meant) == 1:
                for inner in meant[0]:
                    yield from _explain(inner, at)
            else:
                yield json_path(at), _wanted(error.schema), _shown(value)
        case "minimum":
            yield json_path(at), f"at least {demand}", _shown(value)
        case "maximum":
            yield json_path(at), f"at most {demand}", _shown(value)
        case _:
            yield json_path(at), _wanted(error.schema), _shown(value)


def _property(demand: Any, key: str) -> Any:
    """The schema of one key; a tag that a definition demands without describing it is just a string."""
    properties = demand.get("properties", {}) if isinstance(demand, dict) else {}
    return properties.get(key, {"type": "string"})


_SHAPES: Final = ("type", "enum", "const")


def _wanted(demand: Any) -> str:
    """What a schema demands, in words."""
    if not isinstance(demand, dict):
        return "another value"
    if "enum" in demand:
        return " or ".join(repr(value) for value in demand["enum"])
    if "const" in demand:
        return repr(demand["const"])
    if "anyOf" in demand:
        return " or ".join(dict.fromkeys(_wanted(each) for each in demand["anyOf"]))
    if "$ref" in demand:
        return "an object"
    kind = _KINDS.get(demand.get("type", ""), "a value")
    if kind == "an array" and isinstance(demand.get("items"), dict) and demand["items"]:
        return f"an array of {_wanted(demand['items'])}"
    return f"{kind}, at least {demand['minimum']}" if "minimum" in demand else kind


def _shown(value: object) -> str:
    """A value as it appears in a report: its kind, and itself if it is short."""
    match value:
        case None:
            return "null"
        case bool() | float():
            return repr(value)
        case int():
            return repr(value) if abs(value) < 1 << 64 else "an integer of more than 64 bits"
        case str():
            return repr(value) if len(value) <= 60 else f"a string of {len(value)} characters"
        case list():
            return "an array"
        case dict():
            return "an object"
        case _:
            return f"a value of type {type(value).__name__}"

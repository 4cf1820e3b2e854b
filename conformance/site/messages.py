"""Pages of message types: one page per family, one section per name, one part per row."""

from collections.abc import Iterator
from typing import Final

from conformance.exchanges import bytes_text, pretty
from conformance.site import markdown as md
from conformance.site.fields import Shape, shapes
from protocol.messages import REGISTRY, example, requirements_of
from protocol.messages.base import MessageType, Metadata
from protocol.messages.registry import DIALECTS
from protocol.requirements import FAMILIES

_PARENTS: Final = {
    "request": "the header of the request that it answers",
    "empty": "empty",
    "any": "the header of whatever caused it, or empty",
}


def label(row: MessageType) -> str:
    """The label of the section that describes a row."""
    return f"message.{row.family}.{row.name}"


def families() -> tuple[str, ...]:
    """The families that have message types."""
    return tuple(family for family in FAMILIES if any(row.family == family for row in REGISTRY))


def pages() -> Iterator[tuple[str, str]]:
    """Name and text of every page, the index first."""
    yield "messages", _index()
    for family in families():
        yield f"messages/{family}", _family(family)


def _index() -> str:
    rows = []
    for family in families():
        for name, group in _groups(family):
            first = group[0]
            rows.append(
                (
                    md.link(md.code(name), label(first)),
                    f"{', '.join(first.sender)} → {', '.join(first.receiver)}",
                    md.codes(dict.fromkeys(channel for row in group for channel in row.channels)),
                    md.prose(first.doc),
                )
            )
    return md.page(
        md.heading(1, "Messages", "messages"),
        "Every message type that the kit knows. A type has a page section with its fields, what answers it and an "
        "example. How a message is put into frames is told in [Wire format](../wire.md).",
        md.table(("type", "direction", "channels", "what it is"), rows),
        md.toctree((f"{family} <messages/{family}>" for family in families()), ":hidden:"),
    )


def _groups(family: str) -> list[tuple[str, list[MessageType]]]:
    groups: dict[str, list[MessageType]] = {}
    for row in REGISTRY:
        if row.family == family:
            groups.setdefault(row.name, []).append(row)
    return list(groups.items())


def _family(family: str) -> str:
    parts = [md.heading(1, f"Messages: {family}", f"messages.{family}")]
    for name, group in _groups(family):
        parts.append(md.heading(2, md.code(name), label(group[0])))
        for row in group:
            if len(group) > 1:
                parts.append(md.heading(3, md.prose(_variant(row, group))))
            parts += _row(row)
        parts += _requirements(group)
    return md.page(*parts)


def _variant(row: MessageType, group: list[MessageType]) -> str:
    where = f"on {', '.join(row.channels)}" if len({each.channels for each in group}) > 1 else ""
    when = f"in {', '.join(row.dialects)}" if row.dialects else "withdrawn"
    alike = [each for each in group if each.channels == row.channels]
    return " ".join(filter(None, (where, when if len(alike) > 1 or not where else ""))).capitalize()


def _row(row: MessageType) -> Iterator[str]:
    yield md.prose(row.doc)
    yield md.definitions(
        [
            ("Direction", f"{', '.join(row.sender)} → {', '.join(row.receiver)}"),
            ("Channels", ", ".join(md.link(md.code(name), f"channel.{name}") for name in row.channels)),
            ("Dialects", md.codes(row.dialects) or "none today"),
            ("Other names", ", ".join(f"{md.code(name)} in {md.code(when)}" for when, name in row.names.items())),
            ("Lived", md.prose(row.lived)),
            ("Framing", "bare frames, without delimiter, signature or dictionaries" if row.is_raw else ""),
            ("Parent header", "" if row.is_raw else _PARENTS[row.parent]),
            ("Answered by", _answers(row)),
            ("Refused by", _refusals(row)),
            ("Buffers", _buffers(row)),
            ("Source", md.prose(row.source)),
        ]
    )
    if row.is_raw:
        frames = "\n".join(f"frame {number}: {bytes_text(frame)}" for number, frame in enumerate(row.raw_example, 1))
        yield md.fence("text", frames)
    else:
        yield from _contents(row)
        yield from _example(row)


def _requirements(group: list[MessageType]) -> Iterator[str]:
    """Which requirements name the type, in whatever dialect."""
    demands = {each.slug: each for row in group for each in requirements_of(row)}
    if demands:
        yield "**Requirements**"
        yield "\n".join(
            f"* {md.link(md.code(each.slug), each.slug)} {md.level(each.level)} {md.prose(each.text)}"
            for each in demands.values()
        )


def _answers(row: MessageType) -> str:
    if not row.replies:
        return ""
    return ", ".join(_to_type(name, row) for name in row.replies)


def _to_type(name: str, near: MessageType) -> str:
    found = [other for other in REGISTRY if name in other.all_names]
    same = [other for other in found if set(other.channels) & set(near.channels)]
    return md.link(md.code(name), label((same or found)[0])) if found else md.code(name)


def _refusals(row: MessageType) -> str:
    ways = {"reply": 'the reply with `status` `"error"`', "hub_error": _to_type("hub_error", row)}
    return " or ".join(ways[name] for name in row.errors)


def _buffers(row: MessageType) -> str:
    least, most, holds = row.buffers
    if most == 0:
        return ""
    count = f"at least {least}" if most is None else str(least) if least == most else f"{least} to {most}"
    return f"{count}: {md.prose(holds)}" if holds else count


def _contents(row: MessageType) -> Iterator[str]:
    several = len(row.content) > 1
    for kind in row.content:
        tag = kind.__struct_config__.tag
        name = f'Content when `status` is `"{tag}"`' if several and tag else "Content"
        found = shapes(kind)
        if found[0].fields:
            yield f"**{name}**"
            yield from map(_shape, found)
        else:
            yield f"**{name}**: `{{}}`"
    if row.metadata is not Metadata and (found := shapes(row.metadata))[0].fields:
        yield "**Metadata**" + (", in the header" if row.metadata_in == "header" else "")
        yield from map(_shape, found)


def _shape(shape: Shape) -> str:
    body = md.table(
        ("key", "type", "", "meaning"),
        [
            (
                md.code(field.name) if " " not in field.name else field.name,
                md.prose(field.kind),
                md.prose(field.presence),
                md.prose(field.doc),
            )
            for field in shape.fields
        ],
    )
    return f"{md.code(shape.name)}: {md.prose(shape.doc)}\n\n{body}" if shape.name else body


def _example(row: MessageType) -> Iterator[str]:
    dialect = next((name for name in reversed(DIALECTS) if name in row.dialects), None)
    message = example(row, dialect)
    parts = {"header": message.header} if row.metadata_in == "header" else {}
    if message.metadata:
        parts["metadata"] = message.metadata
    parts["content"] = message.content
    lines = [f"{name}: {pretty(value, 84)}" for name, value in parts.items()]
    lines += [f"buffer {number}: {bytes_text(buffer)}" for number, buffer in enumerate(message.buffers, 1)]
    if len(lines) == 1:
        yield "**Example** of the content"
        yield md.fence("json", pretty(message.content, 84))
    else:
        yield "**Example**"
        yield md.fence("text", "\n".join(lines))

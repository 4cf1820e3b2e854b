"""Pages of channels: an overview, and one page per channel with its diagram and its ends."""

from collections.abc import Iterator

from conformance.exchanges import PREFERRED
from conformance.site import markdown as md
from conformance.site.diagrams import channel_diagram, newest
from conformance.site.messages import label
from conformance.site.overview import cluster_overview, kernel_overview
from protocol.channels import CHANNELS, DEVICES, PREFIXES, Address, Channel, Device, End
from protocol.messages import REGISTRY
from protocol.patterns import ALIASES, SLOTS, Envelope
from protocol.requirements import load


def pages() -> Iterator[tuple[str, str]]:
    """Name and text of every page, the index first."""
    yield "channels", _index()
    for channel in CHANNELS:
        yield f"channels/{channel.name}", _channel(channel)


def _index() -> str:
    aliases = " and ".join(f"{md.code(old)} is {md.code(new)}" for old, new in ALIASES.items())
    return md.page(
        md.heading(1, "Channels", "channels"),
        "A channel is a pair of sockets that can talk to each other, with everything that is fixed about it. The "
        "controller binds every socket of a cluster that others connect to. Engines and clients only connect.",
        "Arrows show who sends. Socket types stand at the two ends of a line. Dashed lines stay inside the controller: "
        "everything behind the `monitor` line sends the hub a copy of its traffic. Select a name to read more.",
        md.raw(cluster_overview(lambda name: f"channels/{name}.html")),
        "A plain kernel is simpler: it binds five sockets, and frontends connect.",
        md.raw(kernel_overview(lambda name: f"channels/{name}.html")),
        f"Old documents use other names for two socket types: {aliases}.",
        md.table(
            ("channel", "between", "what it carries"),
            [
                (md.link(md.code(each.name), f"channel.{each.name}"), ", ".join(each.roles), md.prose(each.doc))
                for each in CHANNELS
            ],
        ),
        "The numbers and layout of sockets are how a peer is built. The kit follows them when it plays a peer, and "
        "observes them in others. No MUST demands them.",
        md.heading(2, "Devices", "devices"),
        "A device passes messages on without reading them. One that stands between two ROUTER sockets exchanges the "
        "first two frames: who sent the message, and who is to get it. A monitored device sends a copy of everything "
        "to a third socket, behind a frame that tells the direction.",
        _devices(DEVICES),
        md.toctree((f"{each.name} <channels/{each.name}>" for each in CHANNELS), ":hidden:"),
    )


def _channel(channel: Channel) -> str:
    return md.page(*_parts(channel))


def _parts(channel: Channel) -> Iterator[str]:
    yield md.heading(1, f"Channel {channel.name}", f"channel.{channel.name}")
    yield md.prose(channel.doc)
    yield md.raw(channel_diagram(channel))
    rest = "" if channel.framing == "raw" else ", `…` is the delimiter and the rest of the message"
    yield (
        f"The channel as {md.code(newest(channel))} has it. The frames above an arrow are what its sender writes, "
        f"those below it what its receiver reads{rest}."
    )
    if channel.framing == "raw":
        yield "Messages on this channel are bare frames: no delimiter, no signature, no dictionaries."
    yield md.definitions(
        (md.code(slot), SLOTS[slot]) for slot in dict.fromkeys(slot for each in _envelopes(channel) for slot in each)
    )
    yield md.heading(2, "Ends")
    yield md.table(
        ("role", "socket", "before the delimiter" if channel.framing == "message" else "frames"),
        [_end(end, channel) for end in channel.ends],
    )
    devices = [each for each in DEVICES if channel.name in (each.front.channel, each.back.channel)]
    if devices:
        yield md.heading(2, "Devices")
        yield _devices(devices)
    if channel.name == "monitor":
        yield md.heading(2, "Prefixes")
        yield _prefixes()
    types = [row for row in REGISTRY if channel.name in row.channels]
    if types:
        yield md.heading(2, "Messages")
        # Rows of one name differ by dialect only, and that is told where the link leads.
        first = {(row.name, row.sender): row for row in reversed(types)}
        yield md.table(
            ("type", "direction", "what it is"),
            [
                (
                    md.link(md.code(row.name), label(row)),
                    f"{', '.join(row.sender)} → {', '.join(row.receiver)}",
                    md.prose(row.doc),
                )
                for row in reversed(first.values())
            ],
        )
    demands = [each for each in load().values() if channel.name in each.channels]
    if demands:
        yield md.heading(2, "Requirements")
        yield md.table(
            ("requirement", "", "text"),
            [(md.link(md.code(each.slug), each.slug), md.level(each.level), md.prose(each.text)) for each in demands],
        )
    yield f"Source: {md.prose(channel.source)}"


def _envelopes(channel: Channel) -> list[Envelope]:
    return [envelope for end in channel.ends for envelope in (*end.sends, *end.receives)]


def _end(end: End, channel: Channel) -> tuple[str, str, str]:
    detail = [f"{end.side} side" if end.side else "", f"scheme {md.code(end.variant)}" if end.variant else ""]
    missing = [name for name in channel.dialects if name not in end.dialects]
    role = [f"**{end.role}**", *filter(None, detail), "" if not missing else f"in {md.codes(end.dialects)}"]
    socket = [f"{md.code(end.socket)} {end.attach}s"]
    if end.identity.rule != "none" or end.socket in ("ROUTER", "DEALER"):
        socket.append(f"identity: {_identity(end)}")
    if end.also:
        socket.append(f"{md.codes(end.also)} serves as well")
    socket += [md.code(f"{name} {value!r}") for name, value in end.options]
    socket.append(f"address: {_address(end.address)}")
    envelopes = [
        f"{verb} {_either(found)}" for verb, found in (("sends", end.sends), ("receives", end.receives)) if found
    ]
    return md.lines([*role, md.prose(end.note)]), md.lines(socket), md.lines(envelopes)


def _address(address: Address) -> str:
    key = address.key if address.source == "internal" else f"`{address.key}` in the {address.source}"
    return md.prose(key)


def _identity(end: End) -> str:
    words = {"none": "none", "engine-uuid": "the engine's uuid", "session": "the session id"}
    return words.get(end.identity.rule) or md.code(end.identity.value)


def _either(envelopes: tuple[Envelope, ...]) -> str:
    return " or ".join(md.code(" ".join(f"[{slot}]" for slot in each)) if each else "nothing" for each in envelopes)


def _devices(devices: tuple[Device, ...] | list[Device]) -> str:
    return md.table(
        ("device", "kind", "joins", "what it does"),
        [
            (
                md.lines([f"**{each.name}**", f"scheme {md.code(each.variant)}" if each.variant else ""]),
                each.kind,
                md.lines([_port(each.front.channel, each.front.side), _port(each.back.channel, each.back.side)]),
                md.lines([md.prose(each.doc), *_behaviour(each)]),
            )
            for each in devices
        ],
    )


def _port(channel: str, side: str) -> str:
    return md.link(md.code(channel), f"channel.{channel}") + (f", {side} side" if side else "")


def _behaviour(device: Device) -> Iterator[str]:
    if device.swap:
        yield "Exchanges the first two frames."
    if device.in_prefix is not None:
        prefixes = [
            md.code(each.decode()) if each else "an empty frame"
            for each in (device.in_prefix, device.out_prefix or b"")
        ]
        yield f"Prefixes of the copies: {' and '.join(dict.fromkeys(prefixes))}."
    if device.handles:
        yield f"Handles itself: {md.codes(device.handles)}."
    if set(device.dialects) != set(PREFERRED):
        yield f"In {md.codes(device.dialects)}."


def _prefixes() -> str:
    return md.table(
        ("prefix", "emitter", "then, before the delimiter", "what it is"),
        [
            (
                md.code(each.name.decode()),
                each.role,
                _either(each.rest),
                md.prose(each.doc)
                + ("" if set(each.dialects) == set(PREFERRED) else f" (in {md.codes(each.dialects)})"),
            )
            for each in PREFIXES
        ],
    )

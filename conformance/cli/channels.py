"""`ippkit channels`: every socket pattern of the protocol."""

from collections.abc import Iterator

import click

from conformance.cli.tables import print_json, print_table
from protocol.channels import CHANNELS, DEVICES, PREFIXES, Channel, End, channel
from protocol.patterns import DEFAULT_DIALECT, DIALECTS, SLOTS, Envelope


def _envelopes(alternatives: tuple[Envelope, ...]) -> str | None:
    return " | ".join("[" + ", ".join(one) + "]" for one in alternatives) or None


def _ends(row: Channel, dialect: str) -> Iterator[End]:
    return (end for end in row.ends if dialect in end.dialects)


def _who(end: End) -> str:
    return end.role + (f", {end.side} side" if end.side else "") + (f" ({end.variant})" if end.variant else "")


def _record(row: Channel, dialect: str) -> dict[str, object]:
    return {
        "name": row.name,
        "doc": row.doc,
        "source": row.source,
        "framing": row.framing,
        "ends": [
            {
                "role": end.role,
                "side": end.side,
                "variant": end.variant,
                "socket": end.socket,
                "also": list(end.also),
                "attach": end.attach,
                "identity": {"rule": end.identity.rule, "value": end.identity.value},
                "address": {"source": end.address.source, "key": end.address.key},
                "sends": [list(one) for one in end.sends],
                "receives": [list(one) for one in end.receives],
                "options": {name: value.decode() if isinstance(value, bytes) else value for name, value in end.options},
                "note": end.note,
            }
            for end in _ends(row, dialect)
        ],
    }


@click.command()
@click.argument("names", nargs=-1, metavar="[CHANNEL]...")
@click.option("--dialect", type=click.Choice(DIALECTS), default=DEFAULT_DIALECT, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the channels as JSON.")
def channels(names: tuple[str, ...], dialect: str, as_json: bool) -> None:
    """Show every channel, or those named: sockets, identities, addresses, and the frames before the delimiter."""
    try:
        rows = [channel(name) for name in names] or list(CHANNELS)
    except KeyError as error:
        raise click.UsageError(error.args[0]) from None
    rows = [row for row in rows if dialect in row.dialects]
    if as_json:
        print_json([_record(row, dialect) for row in rows])
        return
    if not rows:
        click.echo(f"In {dialect} there is no such channel.")
        return
    print_table(
        f"Channels in {dialect}",
        ("channel", "end", "socket", "identity", "address", "sends", "receives"),
        (
            (
                row.name if index == 0 else "",
                _who(end),
                f"{end.socket} {end.attach}",
                end.identity,
                end.address,
                _envelopes(end.sends),
                _envelopes(end.receives),
            )
            for row in rows
            for index, end in enumerate(_ends(row, dialect))
        ),
    )
    if names:
        return
    print_table(
        "Devices",
        ("device", "kind", "front", "back", "first two frames", "monitor prefixes"),
        (
            (
                row.name,
                row.kind,
                row.front.channel,
                row.back.channel,
                "exchanged" if row.swap else "as they are",
                None if row.in_prefix is None else f"{row.in_prefix!r}, {row.out_prefix!r}",
            )
            for row in DEVICES
            if dialect in row.dialects
        ),
    )
    print_table(
        "Monitor prefixes",
        ("prefix", "then, up to the delimiter", "from", "what"),
        ((row.name.decode(), _envelopes(row.rest), row.role, row.doc) for row in PREFIXES if dialect in row.dialects),
    )
    print_table("Frames of an envelope", ("slot", "meaning"), SLOTS.items())

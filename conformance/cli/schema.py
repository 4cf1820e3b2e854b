"""`ippkit schema`: the JSON Schemas of the message types, of descriptors, reports, and the lines of a driver."""

import json
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

import click

from conformance.cli.tables import print_json
from conformance.drivers import lines
from conformance.report.data import report_schema
from conformance.targets.schema import descriptor_schema
from protocol import schema as schemas
from protocol.messages import DEFAULT_DIALECT, DIALECTS, REGISTRY, MessageType, rows
from protocol.messages.registry import CHANNELS


def _chosen(msg_type: str | None, channel: str | None, dialect: str | None) -> list[MessageType]:
    """The rows that are meant; click.UsageError with the nearest names if there are none."""
    if channel is not None and channel not in CHANNELS:
        raise click.UsageError(f"no channel {channel!r}{_nearest(channel, CHANNELS)}")
    if msg_type is None:
        chosen = [
            row
            for row in REGISTRY
            if (channel is None or channel in row.channels) and (dialect is None or dialect in row.dialects)
        ]
        what = "no message type with a header"
    else:
        everywhere = rows(msg_type)
        if not everywhere:
            names = {name for row in REGISTRY if not row.is_raw for name in row.all_names}
            raise click.UsageError(f"no message type {msg_type!r}{_nearest(msg_type, names)}")
        if all(row.is_raw for row in everywhere):
            raise click.UsageError(f"{msg_type} is raw: bytes without a header or content, which no schema describes")
        chosen = list(rows(msg_type, channel, dialect))
        places = sorted({place for row in everywhere for place in row.channels})
        what = f"{msg_type} travels on {', '.join(places)}, not"
        if not dialect and any(DEFAULT_DIALECT in row.dialects for row in chosen):
            # A bare name means today's message; --dialect asks for another.
            chosen = [row for row in chosen if DEFAULT_DIALECT in row.dialects]
    chosen = [row for row in chosen if not row.is_raw]
    if not chosen:
        raise click.UsageError(what + (f" on {channel}" if channel else "") + (f" in {dialect}" if dialect else ""))
    return chosen


def _nearest(value: str, known: Iterable[str]) -> str:
    near = get_close_matches(value, list(known))
    return f"; did you mean {' or '.join(near)}?" if near else ""


@click.command()
@click.argument("msg_type", required=False)
@click.option("--channel", metavar="CHANNEL", help="Only as it travels on this channel.")
@click.option("--dialect", type=click.Choice(DIALECTS), help="Only as it is spoken in this dialect.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write one file per message type into this directory.",
)
@click.option("--descriptor", is_flag=True, help="That of the descriptor of a target, in place of messages.")
@click.option("--driver", is_flag=True, help="That of the lines between the kit and the driver of a client.")
@click.option("--report", is_flag=True, help="That of report.json, in place of messages.")
def schema(
    msg_type: str | None,
    channel: str | None,
    dialect: str | None,
    out: Path | None,
    *,
    descriptor: bool,
    driver: bool,
    report: bool,
) -> None:
    """Print the JSON Schema (2020-12) of a message type, or of all of them in one document.

    Where a name means several things, such as a shutdown_request to the Hub and to an engine, all of them are printed;
    --channel and --dialect narrow it.
    """
    others = {"descriptor": (descriptor, descriptor_schema), "driver": (driver, lines.schema)}
    others["report"] = (report, report_schema)
    asked = [name for name, (is_asked, _) in others.items() if is_asked]
    if asked:
        if msg_type or channel or dialect or out or len(asked) > 1:
            raise click.UsageError(f"--{asked[0]} goes with nothing else")
        print_json(others[asked[0]][1]())
        return
    chosen = _chosen(msg_type, channel, dialect)
    if out is None:
        print_json(schemas.schema(chosen[0], dialect) if len(chosen) == 1 else schemas.document(chosen))
        return
    out.mkdir(parents=True, exist_ok=True)
    for row in chosen:
        text = json.dumps(schemas.schema(row, dialect), indent=2, ensure_ascii=False)
        (out / f"{schemas.identifier(row)}.json").write_text(text + "\n", encoding="utf-8")
    click.echo(f"{len(chosen)} schemas in {out}")

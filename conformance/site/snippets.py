"""Parts of hand-written pages that are taken from the code, so that they cannot grow old.

Pictures of the envelope, a worked signature, what a descriptor can say; and one requirement with its case and its rule,
as the guide to writing them shows them.
"""

import ast
import inspect
import re
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Final, get_args

import click
import msgspec

import conformance
from conformance.catalogue import cases
from conformance.cli import COMMANDS
from conformance.cli import main as cli
from conformance.drivers import lines
from conformance.exchanges import KEY
from conformance.judges import rules_of
from conformance.onreal.tour import World, kept
from conformance.reference.code import CELLS
from conformance.site import markdown as md
from conformance.site.diagrams import envelope_diagram
from conformance.targets import descriptor, vocabulary
from conformance.targets.profiles import PROFILES
from protocol import requirements
from protocol.messages import example, rows
from protocol.roles.assembly import UNREAD_OUTPUT, ControllerConfig, processes
from protocol.roles.engine import EngineConfig
from protocol.roles.hub.engines import REMEMBERED
from protocol.roles.hub.traffic import EARLY_BYTES, EARLY_MESSAGES
from protocol.roles.records import BYTES, RECORDS
from protocol.roles.task import TaskConfig
from protocol.signature import ReplayMemory
from protocol.wire import Codec
from simulator.scenarios import SCENARIOS

#: The requirement that the guide follows from its text to its rule.
SHOWN: Final = "registration.duplicate-uuid-refused"


#: The bounds of what the reference remembers: of what, how much, and what becomes of the rest.
LIMITS: Final = (
    (
        f"records in memory ({md.code('--db memory')})",
        f"{RECORDS:,} records, and {BYTES >> 30} GiB",
        "the oldest tenth of those with a result is dropped",
    ),
    ("signatures accepted before, for each process", f"{ReplayMemory().capacity:,}", "the oldest is forgotten"),
    (
        "outcomes of finished tasks, for dependencies",
        f"{TaskConfig().remember:,}",
        "the oldest is forgotten; who depends on it is refused",
    ),
    ("engines that are gone, for questions about them", f"{REMEMBERED:,}", "the oldest is forgotten"),
    (
        "output whose request the Hub has not seen yet",
        f"of {EARLY_MESSAGES:,} requests, and {EARLY_BYTES >> 20} MiB",
        "the oldest is dropped",
    ),
    ("output that a client does not read", f"{UNREAD_OUTPUT:,} messages", "further output is dropped for this client"),
    (
        "finished jobs of an engine whose threads may still print",
        f"{EngineConfig(uuid='').remembered:,}",
        "what the oldest still print belongs to no request",
    ),
    (
        "ids that an abort named before they came to an engine",
        f"{EngineConfig(uuid='').remembered:,}",
        "the oldest is forgotten: its request is run",
    ),
    ("texts of executed code on an engine, for tracebacks", f"{CELLS:,}", "tracebacks show no lines of the oldest"),
)


def _default(key: msgspec.structs.FieldInfo) -> str:
    """What stands for a key that is missing, as JSON."""
    return msgspec.json.encode(key.default if key.default is not msgspec.NODEFAULT else {}).decode()


def _driver() -> str:
    """The commands that a driver is given: their keys, and what they do."""
    rows = []
    for command in get_args(lines.AnyCommand):
        keys = [field for field in msgspec.structs.fields(command) if field.name != "id"]
        shown = ", ".join(md.code(key.name if key.required else f"{key.name}={_default(key)}") for key in keys)
        what = " ".join((inspect.getdoc(command) or "").split())
        feature = md.code(command.feature) if command.feature else ""
        rows.append((md.code(command.__struct_config__.tag), md.prose(what), shown, feature))
    return md.table(("do", "what", "keys beside `id`", "feature"), rows)


def parts() -> Iterator[tuple[str, str]]:
    """Name and text of every part."""
    yield "envelope", md.raw(envelope_diagram())
    yield "signature", _signature()
    yield "descriptor", md.docstring(descriptor.__doc__ or "", "toml")
    yield (
        "features",
        md.table(
            ("role", "feature", "what the target must do"),
            [
                (role, md.code(name), md.prose(text))
                for role, features in vocabulary.FEATURES.items()
                for name, text in features.items()
            ],
        ),
    )
    yield (
        "profiles",
        md.table(
            ("profile", "what the target does", "features", "samples that it needs"),
            [
                (
                    md.code(name),
                    md.prose(profile.text),
                    ", ".join(map(md.code, profile.features)),
                    ", ".join(map(md.code, profile.samples)),
                )
                for name, profile in PROFILES.items()
            ],
        ),
    )
    yield "real-faults", _real_faults()
    yield (
        "options",
        md.table(
            ("option", "what its arguments bring about"),
            [(md.code(name), md.prose(text)) for name, text in vocabulary.OPTIONS.items()],
        ),
    )
    yield (
        "engine-options",
        md.table(
            ("option", "what its arguments bring about"),
            [(md.code(name), md.prose(text)) for name, text in vocabulary.ENGINE_OPTIONS.items()],
        ),
    )
    yield (
        "commands",
        md.table(
            ("command", "what it does"),
            [(md.code(f"ippkit {name}"), md.prose(entry.summary)) for name, entry in COMMANDS.items()],
        ),
    )
    yield "driver", _driver()
    yield "processes", _processes()
    yield "limits", md.table(("of what", "how much is kept", "then"), LIMITS)
    for name in ("controller", "engine", "submit"):
        yield f"options-{name}", _options(name)
    yield "example-requirement", md.fence("toml", _requirement(SHOWN))
    yield "example-case", md.fence("python", _case(cases()[SHOWN][0]))
    yield "example-rule", md.fence("python", inspect.getsource(rules_of(SHOWN)[0]).rstrip())


def _processes() -> str:
    """The processes of the reference controller, with the roles that each of them plays."""
    made = processes(ControllerConfig(interface=""))
    # The system keeps fifteen characters of a name.
    return md.table(
        ("process", "roles"),
        [
            (
                md.code(f"ippkit-{name}"[:15]),
                ", ".join(md.link(role, f"role.{role}") for role in dict.fromkeys(node.role for node in nodes)),
            )
            for name, nodes in made.items()
        ],
    )


def _options(command: str) -> str:
    """The options of an `ippkit` command, as its help has them."""
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    context = click.Context(found, info_name=command)
    rows = []
    for param in found.params:
        record = param.get_help_record(context)
        if record is None or not isinstance(param, click.Option):
            continue
        name, _, choices = record[0].partition(" [")
        lead, bracket, default = " ".join(record[1].split()).partition(" [")
        one_of = f" One of {md.codes(choices.rstrip(']').split('|'))}." if choices else ""
        rows.append((md.code(name), md.prose(lead) + one_of + md.prose(bracket + default)))
    return md.table(("option", "meaning"), rows)


#: How the verdict on a scenario is shown in a cell.
WORDS: Final = {
    "held": "✓", "known": "k", "broken": "✗", "undecided": "u", "not applicable": "/", "kit error": "e",
}  # fmt: skip


def _real_faults() -> str:
    """Every scenario on every world that was toured, and below it what there is to say of single ones."""
    # Clusters have one table, plain kernels another one.
    clusters = [world for world in kept() if not world.verdicts.keys().isdisjoint(SCENARIOS)]
    kernels = [world for world in kept() if world not in clusters]
    parts = [_verdicts(worlds) for worlds in (clusters, kernels) if worlds]
    for world in (*clusters, *kernels):
        about = " ".join(filter(None, (world.name, world.version)))
        pace = f", {world.pace:g} times as slow as in virtual time" if world.pace else ""
        notes = [(md.code(name), word, md.prose(why)) for name, (word, why) in world.verdicts.items() if why]
        parts.append(f"**{about}**, on {world.date}{pace}.")
        if notes:
            parts.append(md.table(("scenario", "verdict", ""), notes))
    return "\n".join(parts)


def _verdicts(worlds: Sequence[World]) -> str:
    seen = dict.fromkeys(name for world in worlds for name in world.verdicts)
    words = {name: [WORDS.get(world.verdicts.get(name, ("", ""))[0], "") for world in worlds] for name in seen}
    head = ("scenario", *(world.name for world in worlds))
    return md.table(head, ((md.code(name), *each) for name, each in words.items())) + "\n"


def _signature() -> str:
    """One small message, frame by frame, with what it takes to compute its signature."""
    message = example(rows("connection_request")[0])
    frames = [bytes(frame).decode() for frame in Codec(KEY).encode(message)]
    names = ("delimiter", "signature", "header", "parent header", "metadata", "content")
    return md.page(
        "With the key",
        md.fence("text", KEY.decode()),
        f"a {md.code(message.msg_type)} leaves a client's DEALER as these {len(frames)} frames:",
        md.fence("text", "\n".join(f"{name:14} {frame}" for name, frame in zip(names, frames, strict=True))),
        "The signature is the hexadecimal HMAC-SHA256 of the last four, joined without anything between them:",
        md.fence(
            "python",
            "import hashlib, hmac\n\n"
            "signed = header + parent_header + metadata + content\n"
            "signature = hmac.new(key, signed, hashlib.sha256).hexdigest()",
        ),
    )


def _requirement(slug: str) -> str:
    """The table of a requirement, as it stands in the registry's file."""
    name = f"{slug.partition('.')[0].replace('-', '_')}.toml"
    text = resources.files(requirements).joinpath(name).read_text("utf-8")
    tables = re.split(r"(?m)^(?=\[\[requirement\]\])", text)
    return next(table for table in tables if f'slug = "{slug}"' in table).rstrip()


def _case(name: str) -> str:
    """The source of a case (`test_module.py::test_function`), with the imports that it needs."""
    module, _, function = name.partition("::")
    text = (Path(conformance.__file__).parent / module).read_text("utf-8")
    body = ast.parse(text).body
    found = next(node for node in body if isinstance(node, ast.FunctionDef) and node.name == function)
    used = {node.id for node in ast.walk(found) if isinstance(node, ast.Name)}
    imports = [
        f"from {node.module} import {', '.join(names)}"
        for node in body
        if isinstance(node, ast.ImportFrom) and (names := [each.name for each in node.names if each.name in used])
    ]
    source = text.splitlines()[found.decorator_list[0].lineno - 1 : found.end_lineno]
    return "\n".join([*imports, "", "", *source])

"""The page about the data files that the kit brings along: recorded logs, vectors, schemas, target descriptors."""

from conformance.files import data
from conformance.judges import LOGS, logs_of, rules_of
from conformance.site import markdown as md
from conformance.site.snippets import SHOWN
from conformance.targets import descriptor
from protocol import recording
from protocol.rules import RULES


def page() -> str:
    """The text of the page."""
    accepted, refused = logs_of(rules_of(SHOWN)[0])
    return md.page(
        md.heading(1, "Fixtures", "fixtures"),
        "The kit brings data files along that need no Python to be useful. In a checkout they are in `fixtures/`; the "
        "wheel carries them in `conformance/_data/fixtures/`.",
        md.heading(2, "Recorded logs", "fixtures.logs"),
        f"{md.code(LOGS + '/')} holds two short logs for each of the {len(RULES)} rules: {md.code(accepted)} is a "
        f"conversation that the rule accepts, and {md.code(refused)} is one that it refuses. They are the proof that a "
        "rule can tell right from wrong. A refused log says in its first line, under `violations`, who must be accused "
        "of what, and which observations show it.",
        md.docstring(recording.__doc__ or ""),
        md.heading(2, "JSON Schemas", "fixtures.schemas"),
        "`ippkit schema` prints JSON Schemas of the message types, derived from the same types as the reference.",
        md.heading(2, "Target descriptors", "fixtures.targets"),
        f"{md.code(descriptor.FOLDER + '/')} holds the descriptors that the kit knows by name:",
        "\n".join(
            f"* {md.code(name)}" for name in sorted(path.stem for path in data(descriptor.FOLDER).glob("*.toml"))
        ),
        "[Getting started](../getting-started.md) tells how to write one.",
    )

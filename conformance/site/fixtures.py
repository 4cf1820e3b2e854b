"""The page about the data files that the kit brings along: recorded logs, vectors, schemas, target descriptors."""

import json

from conformance import vectors
from conformance.exchanges import pretty
from conformance.files import data
from conformance.judges import LOGS, logs_of, rules_of
from conformance.site import markdown as md
from conformance.site.snippets import SHOWN
from conformance.targets import descriptor
from protocol import recording
from protocol.rules import RULES


def _vector_files() -> str:
    manifest = json.loads((data(vectors.FOLDER) / vectors.MANIFEST).read_text("utf-8"))
    return md.table(
        ("file", "accepted", "refused", "what it holds"),
        [
            (md.code(each["file"]), str(each["accepted"]), str(each["refused"]), md.prose(each["about"]))
            for each in manifest["files"]
        ],
    )


def _smallest(file: str) -> vectors.Vector:
    """The shortest signed JSON vector of a file that is accepted."""
    found: list[vectors.Vector] = json.loads((data(vectors.FOLDER) / file).read_text("utf-8"))["vectors"]
    good = [each for each in found if each["key"] and each["packer"] == "json" and "accepted" in each]
    return min(good, key=lambda each: len(str(each)))


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
        md.heading(2, "Vectors", "fixtures.vectors"),
        "Vectors are for whoever writes a codec, in whatever language. Each gives the frames of one message with the "
        "key, and says what a receiver must find in them, or why it must refuse them. Your test does this for each:",
        "1. Join the hexadecimal digits to frames and decode them with the vector's key, scheme and packer.\n"
        "2. With `accepted`, compare what you decoded.\n"
        "3. With `refused`, check that you refuse. The problems name the frame and the requirement that is broken.",
        "`ippkit vectors check` does this with the kit's own codec.",
        _vector_files(),
        md.docstring(vectors.__doc__ or ""),
        "A whole vector:",
        md.fence("json", pretty(_smallest("envelope-good.json"), 84)),
        md.heading(2, "JSON Schemas", "fixtures.schemas"),
        "`ippkit schema` prints JSON Schemas of the message types, derived from the same types as the reference.",
        md.heading(2, "Target descriptors", "fixtures.targets"),
        f"{md.code(descriptor.FOLDER + '/')} holds the descriptors that the kit knows by name:",
        "\n".join(
            f"* {md.code(name)}" for name in sorted(path.stem for path in data(descriptor.FOLDER).glob("*.toml"))
        ),
        "[Getting started](../getting-started.md) tells how to write one.",
    )

"""The JSON Schema of a descriptor, for editors that complete and check while one writes.

It follows from the types of the tables, and so never says more than they do; what has to fit together (a role and its
table, a placeholder and what it stands for) is found when the descriptor is read.
"""

from typing import Any, Final, get_args

import msgspec

from conformance.targets.checking import INTERNAL
from conformance.targets.descriptor import Target
from conformance.targets.profiles import PROFILES
from conformance.targets.vocabulary import ENGINE_OPTIONS, FEATURES, OPTIONS, Role
from protocol import requirements
from protocol.schema import DRAFT

_TEXTS: Final = {
    "name": "The name under which verdicts are reported.",
    "dialect": "Which revision of the protocol it speaks.",
    "roles": "What it plays; each role has a table of its own.",
    "simulates": "Only for the kit's own roles in virtual time: the target whose verdicts they must share.",
    "profile": "What it claims as a whole; the core profile of a role first.",
    "features": "What it claims besides, feature by feature.",
    "requirements": "Newer demands than those of this revision of the rule set do not fail.",
    "deviation": "Violations that are known and argued.",
}


def descriptor_schema() -> dict[str, Any]:
    """The schema (2020-12) of the data in a descriptor; a fresh dictionary."""
    (top,), definitions = msgspec.json.schema_components([Target], ref_template="#/$defs/{name}")
    name = top["$ref"].rpartition("/")[2]
    body = definitions.pop(name)
    for internal in INTERNAL:
        del body["properties"][internal]
    body["required"] = [each for each in body["required"] if each not in INTERNAL]
    properties = body["properties"]
    for key, text in _TEXTS.items():
        properties[key]["description"] = text
    properties["roles"] |= {"minItems": 1, "uniqueItems": True}
    properties["profile"]["items"] = {"anyOf": [_word(each, profile.text) for each, profile in PROFILES.items()]}
    # What a word means in one role it may not mean in another, so that each role says so.
    features = [_word(word, f"{role}: {text}") for role in get_args(Role) for word, text in FEATURES[role].items()]
    properties["features"]["items"] = {"anyOf": features}
    properties["requirements"] |= {"minimum": 1, "maximum": requirements.revision()}
    for table, known in (("Controller", OPTIONS), ("Engine", ENGINE_OPTIONS)):
        options = definitions[table]["properties"]["options"]
        arguments = options.pop("additionalProperties")
        options["additionalProperties"] = False
        options["properties"] = {option: {**arguments, "description": text} for option, text in known.items()}
    definitions["Deviation"]["properties"]["slug"]["enum"] = list(requirements.load())
    return {
        "$schema": DRAFT,
        "$id": "urn:ippkit:descriptor",
        **body,
        "title": "Descriptor of a target of ippkit",
        "description": "What an implementation is, how it starts, what it claims, and what it is known to break.",
        "$defs": definitions,
    }


def _word(word: str, text: str) -> dict[str, str]:
    return {"const": word, "description": text}

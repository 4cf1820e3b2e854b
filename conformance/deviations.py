"""Violations that were found and that a descriptor does not list yet, written into it for somebody to look at.

An entry that the kit writes is unreviewed: it excuses nothing until a person gives the reason and takes that word out.
Nothing else in the file is touched.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from conformance.harness.verdict import Result
from conformance.targets import DescriptorError
from conformance.targets.descriptor import Target, parse

#: How much of what was found an entry says.
_LONGEST: Final = 500


def unlisted(results: Sequence[Result], target: Target, version: str | None) -> list[Result]:
    """The violations of a target that no entry of its descriptor covers, one for each requirement and case.

    Rules watch every case, and see the same in most of them: what one accuses is one, whatever the case was about.
    """
    found: dict[tuple[str, str], Result] = {}
    for each in results:
        is_accusation = each.target == target.name and each.verdict in ("failed", "warned")
        if is_accusation and target.deviation(each.requirement, each.case, version) is None:
            found.setdefault((each.requirement, "" if each.by_rule else each.case), each)
    return list(found.values())


def entry(result: Result, version: str | None) -> str:
    """The table of a descriptor that lists a violation as unreviewed."""
    case = result.case.rpartition("::")[2]
    lines = [
        "[[deviation]]",
        f"slug = {_text(result.requirement)}",
        # What rules saw belongs to no case.
        *([f"case = {_text(case)}"] if case.startswith("test_") and not result.by_rule else []),
        *([f"versions = {_text(f'=={version}')}"] if version else []),
        f"evidence = {_text(result.summary[:_LONGEST] or 'see the report')}",
        'reason = ""',
        "unreviewed = true",
    ]
    return "\n".join(lines) + "\n"


def update(results: Sequence[Result], target: Target, version: str | None) -> int:
    """Add what is not listed to the file of a descriptor; how many entries.

    Raises OSError if it cannot be written, and DescriptorError, with the file as it was, if it would not be read again.
    """
    found = unlisted(results, target, version)
    if not found:
        return 0
    path = Path(target.file)
    before = path.read_text("utf-8")
    text = before.rstrip("\n") + "\n\n" + "\n".join(entry(each, version) for each in found)
    try:
        parse(text.encode(), path)
    except DescriptorError as error:
        raise DescriptorError(f"the new deviations do not fit the file: {error}") from None
    path.write_text(text, "utf-8")
    return len(found)


def _text(text: str) -> str:
    # A string of JSON is one of TOML, but for one control character that JSON leaves as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")

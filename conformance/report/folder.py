"""The folder of `--report`: a front page, the pages of violations, and the same for machines.

index.html          to be read: what was judged, what was found; works from disk, in light and dark
violations/*.html   a page for each violation, in which one can step through what happened
report.json         everything, see `conformance.report.data`
junit.xml           for a build server: only violations are failures; what the kit could not do is an error
badge.json          for shields.io (endpoint); with several targets also badge-NAME.json
"""

import html
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, Final

import msgspec

from conformance.report.cases import plain
from conformance.report.data import JUDGED, Judged, Judgement, Report
from conformance.report.sequence import style

#: Where the pages of violations are, within the folder.
VIOLATIONS: Final = "violations"
_SUBJECT: Final = "IPython Parallel protocol"
#: What XML 1.0 cannot hold.
_UNHELD: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(folder: Path, report: Report) -> None:
    """Write a report into a folder that exists, beside the pages of its violations; older pages are removed."""
    pages = {each.page for each in report.judgements}
    for page in (folder / VIOLATIONS).glob("*.html"):
        if f"{VIOLATIONS}/{page.name}" not in pages:
            page.unlink()
    (folder / "index.html").write_text(front_page(report), encoding="utf-8")
    (folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    (folder / "junit.xml").write_text(junit(report) + "\n", encoding="utf-8")
    badges = {"badge.json": badge(report.targets)}
    if len(report.targets) > 1:
        badges |= {f"badge-{plain(target.name)}.json": badge([target]) for target in report.targets}
    for name, content in badges.items():
        (folder / name).write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")


# -- for people --------------------------------------------------------------------------------------------------------


def front_page(report: Report) -> str:
    """The page that shows the whole report."""
    names = ", ".join(" ".join(filter(None, (target.name, target.version))) for target in report.targets)
    return Template(_file("front.html")).substitute(
        title=html.escape(f"Conformance of {names}"),
        style=style() + _file("theme.css") + _file("front.css"),
        # Within a script only this character can end it.
        data=msgspec.json.encode(report).decode().replace("<", "\\u003c"),
        script=_file("front.js"),
    )


def _file(name: str) -> str:
    return (files("conformance.report") / name).read_text(encoding="utf-8")


# -- for machines ------------------------------------------------------------------------------------------------------


def junit(report: Report) -> str:
    """JUnit XML: one suite per target, one case per case and per rule that judged something.

    A violation is a failure. A mistake of the kit, or a target that could not be used, is an error. What was not judged
    is skipped. What is known or only a warning stands in the output of a case that passes.
    """
    top = ET.Element("testsuites", name="ippkit", time=f"{report.seconds:.1f}")
    for target in report.targets:
        suite = ET.SubElement(top, "testsuite", name=target.name, timestamp=report.started.removesuffix("+00:00"))
        cases: dict[tuple[str, str], list[Judgement]] = {}
        for each in report.judgements:
            if each.target == target.name:
                module, _, function = each.case.partition("::")
                cases.setdefault((module, function or each.requirement), []).append(each)
        counts = dict.fromkeys(("failures", "errors", "skipped"), 0)
        for (module, name), members in cases.items():
            element = ET.SubElement(
                suite, "testcase", name=name, classname=f"{target.name}.{module.removesuffix('.py').replace(' ', '_')}",
                time=f"{max(each.seconds for each in members):.3f}",
            )  # fmt: skip
            kind = _outcome(element, members)
            if kind:
                counts[kind] += 1
        suite.attrib |= {"tests": str(len(cases)), **{kind: str(count) for kind, count in counts.items()}}
    ET.indent(top)
    return ET.tostring(top, encoding="unicode", xml_declaration=True)


def _outcome(case: ET.Element, members: Sequence[Judgement]) -> str:
    """Say what came of a case, and return as what it is counted; empty if it passed."""
    violated = [each for each in members if each.verdict == "failed"]
    broken = [each for each in members if each.verdict == "kit error"]
    if violated:
        _element(case, "failure", violated)
    elif broken:
        _element(case, "error", broken)
    elif not any(each.verdict in JUDGED for each in members):
        _element(case, "skipped", members)
        return "skipped"
    told = [each for each in members if each.verdict in ("known", "warned", "new", "observed")]
    if told:
        lines = (f"{each.verdict}: {each.requirement}: {each.summary}" for each in told)
        ET.SubElement(case, "system-out").text = _held("\n".join(lines))
    return "failures" if violated else "errors" if broken else ""


def _element(case: ET.Element, kind: str, members: Sequence[Judgement]) -> None:
    first = members[0]
    # What ends a case ends it for all its requirements, and is told once.
    text = "\n\n".join(dict.fromkeys(each.details or each.summary for each in members))
    told = {"type": first.requirement, "message": _held(f"{first.requirement}: {first.summary}")}
    element = ET.SubElement(case, kind, told)
    if kind != "skipped":
        element.text = _held(text)


def _held(text: str) -> str:
    return _UNHELD.sub("\ufffd", text)


def badge(targets: Sequence[Judged]) -> dict[str, Any]:
    """What shields.io asks of an endpoint."""
    violated = sum(len(target.violated) for target in targets)
    judged = sum(len(target.judged) for target in targets)
    known = sum(verdict == "known" for target in targets for verdict in target.requirements.values())
    if any("kit error" in target.verdicts for target in targets):
        message, color = "not usable", "lightgrey"
    elif not judged:
        message, color = "not judged", "lightgrey"
    elif violated:
        message, color = f"{violated} of {judged} violated", "red"
    elif known:
        message, color = f"{judged} judged, {known} known deviations", "yellowgreen"
    else:
        message, color = f"{judged} judged, conforms", "brightgreen"
    return {"schemaVersion": 1, "label": _SUBJECT, "message": message, "color": color}


__all__ = ["VIOLATIONS", "badge", "front_page", "junit", "write"]

"""The findings: each deviation of a real implementation has a page, and each page what it promises."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FINDINGS = ROOT / "docs" / "findings"
PAGES = sorted(path for path in FINDINGS.glob("*.md") if path.stem != "index")
SCRIPTS = sorted(path for path in (FINDINGS / "scripts").glob("*.py") if path.stem != "raw")
HARM = ("high", "medium", "low")
TARGETS = ("ipyparallel", "ipyparallel-engine", "ipyparallel-client", "ipykernel")


def about(page: Path) -> dict[str, str]:
    """What stands at the head of a page."""
    _, head, _ = page.read_text(encoding="utf-8").split("---\n", 2)
    return dict(line.split(": ", 1) for line in head.splitlines())


def listed(page: Path, name: str) -> list[str]:
    return about(page)[name].strip("[]").split(", ")


@pytest.mark.parametrize("target", TARGETS)
def test_every_deviation_has_a_finding_and_every_finding_a_deviation(target: str) -> None:
    descriptor = tomllib.loads((ROOT / "fixtures" / "targets" / f"{target}.toml").read_text(encoding="utf-8"))
    # What a later release has mended is history.
    broken = {each["slug"] for each in descriptor["deviation"] if not each["versions"].startswith("<9.0")}
    told = {slug for page in PAGES if target in listed(page, "targets") for slug in listed(page, "requirements")}
    assert broken <= told
    of_it_alone = {
        slug for page in PAGES if listed(page, "targets") == [target] for slug in listed(page, "requirements")
    }
    assert of_it_alone <= broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_who_is_hurt_what_happens_and_what_would_help(page: Path) -> None:
    text, head = page.read_text(encoding="utf-8"), about(page)
    assert head["harm"] in HARM
    headings = re.findall("^## (.*)$", text, re.MULTILINE)
    assert [each for each in headings if each != "By hand"] == ["Who is hurt", "What happens", "Versions", "Remedy"]
    script = FINDINGS / "scripts" / f"{page.stem}.py"
    assert script.exists() == (head["security"] == "false")
    assert (f"scripts/{script.name}" in text) == script.exists()
    # A traceback would name the folders of whoever ran it.
    assert 'File \\"/' not in text


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_stands_alone_and_comes_to_a_conclusion(script: Path) -> None:
    tree = ast.parse(script.read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)} | {
        name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names
    }
    assert not {"conformance", "protocol", "simulator"} & {str(name).partition(".")[0] for name in imported}
    assert "conclude(" in script.read_text(encoding="utf-8")
    assert (FINDINGS / f"{script.stem}.md").exists()


def test_the_index_ranks_every_finding_by_harm() -> None:
    text = (FINDINGS / "index.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+) \| ([^|]+) \| \[(.*?)\]\((.*?)\.md\)( \(security\))? \|$", text, re.MULTILINE)
    assert sorted(row[3] for row in rows) == [page.stem for page in PAGES]
    assert [HARM.index(row[0]) for row in rows] == sorted(HARM.index(row[0]) for row in rows)
    for harm, target, title, stem, security in rows:
        page = FINDINGS / f"{stem}.md"
        head = about(page)
        assert (harm, f"[{target}]", bool(security)) == (head["harm"], head["targets"], head["security"] == "true")
        assert f"# {title}\n" in page.read_text(encoding="utf-8")

"""The coverage of the source documents: no line is missing, no target dangles; and `ippkit coverage` shows it."""

from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner, Result

from conformance.cli import main
from conformance.cli.coverage import KINDS, CoverageError, Row, load, open_targets, read, spans
from protocol.channels import CHANNELS
from protocol.messages import REGISTRY
from protocol.requirements import Dialect, Role
from protocol.requirements import load as requirements

DOCUMENTS = list(load().documents)


def lines_of(*entries: int | str) -> set[int]:
    return {line for entry in entries for first, last in spans(entry) for line in range(first, last + 1)}


def run(*args: str) -> Result:
    return CliRunner().invoke(main, ["coverage", *args])


def rows_of(document: str) -> list[Row]:
    return [row for row in load().row if row.document == document]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_rows_and_blank_lines_are_the_whole_document(document: str) -> None:
    about = load().documents[document]
    said = lines_of(*(row.line for row in rows_of(document)))
    blank = lines_of(*about.blank)
    assert said & blank == set()
    assert said | blank == set(range(1, about.lines + 1))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_rows_are_in_the_order_of_the_document(document: str) -> None:
    starts = [spans(row.line)[0][0] for row in rows_of(document)]
    assert starts == sorted(starts)


def test_every_row_belongs_to_a_document_and_every_document_has_rows() -> None:
    assert {row.document for row in load().row} == set(DOCUMENTS)
    assert len(DOCUMENTS) == 5


def test_no_sentence_stands_twice() -> None:
    rows = [(row.document, row.line, row.paraphrase) for row in load().row]
    assert len(rows) == len(set(rows))


def test_no_target_dangles() -> None:
    known = {
        "requirements": set(requirements()),
        "messages": {row.name for row in REGISTRY},
        "channels": {channel.name for channel in CHANNELS},
        "roles": set(get_args(Role)),
        "scenarios": set(load().scenarios),
        "dialect": set(get_args(Dialect)),
    }
    dangling = [
        f"{row.document} {row.line}: {name}"
        for row in load().row
        if row.kind != "discarded"
        for name in row.targets
        if name not in known[row.kind]
    ]
    assert dangling == []


def test_what_was_discarded_has_a_reason() -> None:
    discarded = [row.discarded for row in load().row if row.kind == "discarded"]
    assert discarded
    for reason in discarded:
        head, _, rest = reason.partition(": ")
        assert head in {"not protocol", "discussed, not adopted"}
        assert len(rest) > 5


def test_work_stealing_was_discussed_and_the_five_commands_became_messages() -> None:
    rows = rows_of("heartbeat mail 2010")
    assert any("work stealing" in row.discarded for row in rows)
    commands = {row.paraphrase.partition(":")[0]: row.requirements[1] for row in rows if row.line in range(62, 67)}
    assert commands == {
        "beat": "heartbeat.echo-keeps-alive",
        "abort": "control.abort-by-id",
        "signal": "control.signal-delivered",
        "exit": "control.shutdown-exits",
        "reset": "control.clear-empties-namespace",
    }


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_requirement_that_cites_a_document_is_the_target_of_a_row_there(document: str) -> None:
    cited_as = load().documents[document].cited_as
    targets = {slug for row in rows_of(document) for slug in row.requirements}
    citing = {
        slug for slug, each in requirements().items() if any(source.startswith(cited_as) for source in each.source)
    }
    assert citing
    assert citing - targets == set()


def test_every_planned_scenario_is_described_and_asked_for() -> None:
    used = {name for row in load().row for name in row.scenarios}
    assert used == set(load().scenarios)
    assert all(text.endswith(".") for text in load().scenarios.values())


HEAD = '[documents.note]\ncitation = "a note"\ncited_as = "a note"\nlines = 2\nblank = ["2"]\n[scenarios]\n'


@pytest.mark.parametrize(
    ("rest", "complaint"),
    [
        ('[[row]]\ndocument = "note"\nline = 1\nparaphrase = "p"\n', "line 1 has 0 targets"),
        (
            '[[row]]\ndocument = "note"\nline = 1\nparaphrase = "p"\nroles = ["hub"]\ndialect = "documented"\n',
            "line 1 has 2 targets",
        ),
        ('[[row]]\ndocument = "note"\nline = 1\nparaphrase = "p"\nslug = "x"\n', "slug"),
        ("[[row]\n", "coverage.toml"),
    ],
)
def test_a_mistake_in_the_file_is_refused(tmp_path: Path, rest: str, complaint: str) -> None:
    path = tmp_path / "coverage.toml"
    path.write_text(HEAD + rest)
    with pytest.raises(CoverageError, match=complaint):
        read(path)


def test_a_line_is_a_number_a_range_or_several() -> None:
    assert spans(7) == [(7, 7)]
    assert spans("3-5, 9") == [(3, 5), (9, 9)]


@pytest.mark.parametrize("wrong", ["", "x", "5-3", "3-", "-3", "1--2"])
def test_what_is_no_line_is_refused(wrong: str) -> None:
    with pytest.raises(CoverageError, match="neither a line nor a range"):
        spans(wrong)


def test_a_row_is_open_while_one_of_its_targets_has_no_test() -> None:
    row = Row(document="note", line=1, paraphrase="p", requirements=("a.b", "a.c"))
    assert open_targets(row, {}) == ()
    assert open_targets(row, {"a.c": None}) == ("a.c",)
    assert open_targets(Row(document="note", line=1, paraphrase="p", channels=("mux",)), {"mux": None}) == ()
    assert open_targets(Row(document="note", line=1, paraphrase="p", scenarios=("storm",)), {}) == ("storm",)


def test_the_command_shows_every_row_and_the_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "900")
    result = run()
    assert result.exit_code == 0
    for row in load().row:
        assert row.paraphrase in result.stdout
    for document in DOCUMENTS:
        assert document in result.stdout
        assert f"{len(rows_of(document))} rows: " in result.stdout
    assert all(f" {kind}" in result.stdout for kind in KINDS)


def test_one_document_can_be_chosen() -> None:
    result = run("--document", "kernel mail 2010")
    assert result.exit_code == 0
    assert "kernel mail 2010" in result.stdout
    assert "heartbeat mail 2010" not in result.stdout


def test_only_open_rows_can_be_chosen() -> None:
    result = run("--open")
    assert result.exit_code == 0
    shown = [line for line in result.stdout.splitlines() if "(open)" in line]
    assert shown
    assert "work stealing" not in result.stdout
    assert "(open)" not in "".join(line for line in result.stdout.splitlines() if "not protocol" in line)


def test_a_wrong_document_is_one_sentence_and_status_4() -> None:
    result = run("--document", "the bible")
    assert result.exit_code == 4
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("ippkit: no document 'the bible'; the documents are 'messaging.txt 2010'")

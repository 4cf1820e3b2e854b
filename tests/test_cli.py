"""The command `ippkit`: what it says and how it ends."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from conformance.cli import COMMANDS, Entry, ExitStatus, LazyGroup, main
from protocol.channels import CHANNELS
from protocol.errors import Problem, RemoteProtocolError


def run(*args: str) -> Result:
    return CliRunner().invoke(main, args)


def group(command: Callable[[], object]) -> LazyGroup:
    """A group with one command that does as told."""
    made = LazyGroup("ippkit", entries={})
    made.add_command(click.Command("do", callback=command))
    return made


def only_sentence(result: Result) -> str:
    """The one line on stderr; nothing is on stdout, and there is no traceback."""
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("ippkit: ")
    return lines[0]


def test_help_lists_every_command_without_importing_any() -> None:
    code = (
        "import sys; from conformance.cli import main; main(['--help'], standalone_mode=False);"
        "heavy = {'rich', 'pytest', 'hypothesis', 'zmq', 'jsonschema', 'msgspec'} & set(sys.modules);"
        "sys.exit(' '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0
    for name, entry in COMMANDS.items():
        assert f"  {name} " in done.stdout
        assert entry.summary.endswith(".")


def test_the_installed_command_is_this_group() -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert result.output.startswith("ippkit ")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_can_be_asked_for_help(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"Usage: ippkit {name} ") or result.output.startswith("usage:")


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ((), "a command is missing; there are: test, "),
        (("vectors",), "a command is missing; there are: check, write (see ippkit vectors --help)"),
        (("fuzz",), "a command is missing; there are: target, wire (see ippkit fuzz --help)"),
        (("tset",), "no such command: tset; did you mean test?"),
        (("doctor", "ipyparallel@nowhere"), "there is no bin/python (see ippkit venv)"),
        (
            ("simulate", "clock-of-the-hub-jumps", "--trace", "nowhere/t.jsonl"),
            "nowhere/t.jsonl cannot be written: there is no folder",
        ),
        (("simulate", "mass-death", "--seed", "1", "--seeds", "1..2"), "give one of them"),
        (("controller", "--db", "bogus"), "no store 'bogus'"),
        (("controller", "--db", "sqlite:"), "needs the path of a file"),
        (("controller", "--ip", "999.1.1.1"), "'999.1.1.1' is neither an IPv4 address"),
        (("controller", "--engine-ip", "999.1.1.1"), "'999.1.1.1' is neither an IPv4 address"),
        (("test", "-t"), "requires an argument. (see ippkit test --help)"),
        (("zzz",), "no such command: zzz (see ippkit --help)"),
        (("--frobnicate",), "No such option"),
        (("dialects", "--frobnicate"), "No such option"),
        (("dialects", "extra"), "unexpected extra argument"),
        (("channels", "muks"), "unknown channel 'muks'; there are: query"),
        (("channels", "--dialect", "latest"), "'latest' is not one of"),
    ],
)
def test_wrong_usage_is_one_sentence_and_status_4(args: tuple[str, ...], sentence: str) -> None:
    result = run(*args)
    assert result.exit_code == 4
    assert sentence in only_sentence(result)


def test_several_processes_without_xdist_are_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conformance.cli.test.find_spec", lambda _: None)
    result = run("test", "-t", "reference", "-n", "2")
    assert result.exit_code == 4
    assert "ippkit[xdist]" in only_sentence(result)


def test_statuses_are_those_that_the_help_text_promises() -> None:
    assert {status.name: status.value for status in ExitStatus} == {
        "CONFORMS": 0,
        "VIOLATIONS": 1,
        "UNUSABLE": 3,
        "USAGE": 4,
        "NOTHING_SELECTED": 5,
        "OPEN": 6,
        "INTERRUPTED": 130,
    }
    promise = run("--help").output
    assert all(f"{status.value} " in promise for status in ExitStatus if status is not ExitStatus.INTERRUPTED)


def test_a_protocol_error_is_one_sentence_and_status_3() -> None:
    def fail() -> None:
        raise RemoteProtocolError(Problem("header", "wire.header-msg-id", "a string", "null", "$.msg_id"))

    result = CliRunner().invoke(group(fail), ["do"])
    assert result.exit_code == 3
    assert "header $.msg_id: expected a string, found null" in only_sentence(result)


def test_a_missing_file_is_one_sentence_and_status_3() -> None:
    def fail() -> None:
        Path("/nonexistent/controller.json").read_bytes()

    result = CliRunner().invoke(group(fail), ["do"])
    assert result.exit_code == 3
    assert "/nonexistent/controller.json" in only_sentence(result)


def test_a_file_that_may_not_be_read_is_named_first() -> None:
    def refuse() -> None:
        raise PermissionError(13, "Permission denied", "DIR/client.json")

    result = CliRunner().invoke(group(refuse), ["do"])
    assert result.exit_code == ExitStatus.UNUSABLE
    assert only_sentence(result) == "ippkit: DIR/client.json: Permission denied"


def test_text_of_many_lines_becomes_one_sentence() -> None:
    def fail() -> None:
        raise click.ClickException("the controller died:\n  no license\n")

    result = CliRunner().invoke(group(fail), ["do"])
    assert only_sentence(result) == "ippkit: the controller died: no license"


def test_a_command_that_cannot_be_imported_says_what_is_missing() -> None:
    made = LazyGroup("ippkit", entries={"do": Entry("conformance.cli.nothing_here:do", "Do.")})
    result = CliRunner().invoke(made, ["do"])
    assert result.exit_code == 3
    assert "No module named 'conformance.cli.nothing_here'" in only_sentence(result)


def test_an_interrupt_is_no_traceback() -> None:
    def fail() -> None:
        raise KeyboardInterrupt

    result = CliRunner().invoke(group(fail), ["do"])
    assert result.exit_code == 130
    assert "interrupted" in result.stderr


def test_a_defect_of_the_kit_is_not_hidden() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    assert isinstance(CliRunner().invoke(group(fail), ["do"]).exception, ZeroDivisionError)


@pytest.mark.parametrize("status", [0, 1, 5, 6])
def test_a_command_returns_or_exits_with_its_status(status: int) -> None:
    def leave() -> None:
        click.get_current_context().exit(status)

    assert CliRunner().invoke(group(lambda: status), ["do"]).exit_code == status
    assert CliRunner().invoke(group(leave), ["do"]).exit_code == status


def test_a_command_that_returns_something_else_conforms() -> None:
    assert CliRunner().invoke(group(lambda: "done"), ["do"]).exit_code == 0


def test_channels_are_shown_with_devices_and_prefixes() -> None:
    result = run("channels")
    assert result.exit_code == 0
    for row in CHANNELS:
        assert (row.name in result.output) == ("ipyparallel-9" in row.dialects)
    assert "heart-monitored" in result.output
    assert "incontrol" in result.output


def test_a_table_in_a_pipe_fits_a_page_unless_more_room_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    table = run("interop", "--list").output.splitlines()
    assert max(map(len, table)) <= 120
    # No word is broken for that.
    assert any("dependency.follow-same-engine" in line for line in table)
    monkeypatch.setenv("COLUMNS", "400")
    assert len(run("interop", "--list").output.splitlines()) < len(table)


def test_one_channel_of_one_dialect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    result = run("channels", "mux", "--dialect", "ipython-0.1x")
    assert "session" in result.output
    assert "connection_reply: mux" in result.output
    assert "notification" not in result.output


def test_a_channel_that_a_dialect_does_not_have() -> None:
    result = run("channels", "broadcast", "--dialect", "documented")
    assert result.exit_code == 0
    assert result.output == "In documented there is no such channel.\n"


def test_channels_as_json() -> None:
    told = json.loads(run("channels", "mux", "query", "--json").output)
    assert [row["name"] for row in told] == ["mux", "query"]
    engine = next(end for end in told[0]["ends"] if end["role"] == "engine")
    assert engine["socket"] == "ROUTER"
    assert engine["sends"] == [["relay", "client"]]
    assert engine["address"] == {"source": "engine file", "key": "mux"}

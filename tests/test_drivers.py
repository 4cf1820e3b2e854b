"""The language of drivers: what both sides refuse, what its schema says, and that the drivers keep to it."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from conformance.cli import main
from conformance.drivers import lines
from conformance.drivers.lines import Answer, AnyCommand, Hello, LineError, Outcome, Problem, Told
from conformance.harness.clients import clients
from conformance.harness.driver import Driver
from conformance.targets import TargetUnusable, load
from conformance.targets.descriptor import parse

VALIDATOR = Draft202012Validator(lines.schema())
#: What each command needs beside its number.
NEEDED: dict[str, Any] = {
    "file": "/f", "timeout": 0.5, "code": "1", "function": "operator.add", "of": (1,), "msg_ids": ("a",), "to": (2,),
    "signal": "SIGINT", "query": {},
}  # fmt: skip


def command(kind: type[AnyCommand], number: int = 3) -> AnyCommand:
    """A command of a kind, with what it needs."""
    needed = {name: NEEDED[name] for name in kind.__struct_fields__ if name in NEEDED}
    if kind in (lines.Result, lines.Output):
        needed["of"] = 1
    return kind(id=number, **needed)


class Mute(Driver):
    """A driver to which nothing is passed on."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []

    def unusable(self, sentence: str) -> TargetUnusable:
        return TargetUnusable(sentence)

    def send(self, line: bytes) -> None:
        self.sent.append(line)

    def write_file(self, name: str, content: bytes) -> str:
        raise AssertionError((name, content))


def clock() -> int:
    return 7


@pytest.mark.parametrize("kind", get_args(AnyCommand), ids=lambda kind: kind.__struct_config__.tag)
def test_a_command_is_read_as_it_was_written_and_fits_the_schema(kind: type[AnyCommand]) -> None:
    written = lines.write(command(kind))
    assert b"\n" not in written
    assert lines.read_command(written) == command(kind)
    VALIDATOR.validate(json.loads(written))


@pytest.mark.parametrize(
    "line",
    [
        Hello(hello="mine"),
        Answer(id=1, ok=Told()),
        Answer(id=2, ok=Told(results=(Outcome(status="ok", value=[1]), Outcome(status="error", ename="E")))),
        Answer(id=3, error=Problem(kind="timeout", message="the hub")),
    ],
)
def test_what_a_driver_says_fits_the_schema(line: Hello | Answer) -> None:
    VALIDATOR.validate(json.loads(lines.write(line)))


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"[]", b'{"do": "fly", "id": 1}', b'{"do": "wait", "id": 1, "of": [1]}', b'{"id": 1}', b"\xff"],
    ids=repr,
)
def test_a_line_that_is_no_command_is_refused(line: bytes) -> None:
    with pytest.raises(LineError):
        lines.read_command(line)


@pytest.mark.parametrize("text", ['{"do": "fly", "id": 1}', '{"id": 1, "ok": {"done": "x"}}', '{"hello": 3}'])
def test_the_schema_refuses_what_is_no_line(text: str) -> None:
    assert not VALIDATOR.is_valid(json.loads(text))


def test_keys_of_tomorrow_are_ignored() -> None:
    line = lines.write(command(lines.Wait))[:-1] + b', "of_tomorrow": 1}'
    assert lines.read_command(line) == command(lines.Wait)


def test_a_driver_of_another_version_is_refused() -> None:
    with pytest.raises(LineError, match="speaks version 2"):
        lines.read_hello(lines.write(Hello(hello="later", version=2)))


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"Connecting...", "none of the drivers' language"),
        (b'{"id": 1}', "either `ok` or `error`"),
        (lines.write(Answer(id=99, ok=Told())), "command 99, which it was not given"),
    ],
)
def test_a_driver_that_says_something_else_is_a_mistake_of_the_driver(line: bytes, complaint: str) -> None:
    driver = Mute()
    driver.hear(lines.write(Hello(hello="mine")))
    driver.tell(lines.Close, clock)
    with pytest.raises(TargetUnusable, match=complaint):
        driver.hear(line)


def test_an_answer_ends_its_command_and_no_other() -> None:
    driver = Mute()
    driver.hear(lines.write(Hello(hello="mine")))
    one, other = driver.tell(lines.Close, clock), driver.tell(lines.ListEngines, clock)
    assert [lines.read_command(line).id for line in driver.sent] == [1, 2]
    driver.hear(lines.write(Answer(id=2, ok=Told(engines=(5,)))))
    assert not one.is_answered
    assert other.answer == Answer(id=2, ok=Told(engines=(5,)))
    with pytest.raises(TargetUnusable, match="a second time"):
        driver.hear(lines.write(Answer(id=2, ok=Told())))


@pytest.mark.parametrize("name", ["ours", "theirs"])
def test_a_driver_goes_on_after_nonsense_and_ends_with_its_input(name: str, tmp_path: Path) -> None:
    told = [
        b"nonsense",
        lines.write(lines.Connect(id=1, file=str(tmp_path / "missing.json"), timeout=1.0)),
        lines.write(lines.ListEngines(id=2)),
        lines.write(lines.Result(id=3, of=77, timeout=0.1)),
        lines.write(lines.Close(id=4)),
    ]
    done = subprocess.run(
        [sys.executable, "-m", f"conformance.drivers.{name}"],
        input=b"".join(line + b"\n" for line in told), capture_output=True, timeout=60, check=True, cwd=tmp_path,
    )  # fmt: skip
    hello, *answers = done.stdout.splitlines()
    lines.read_hello(hello)
    assert b"not a command" in done.stderr
    found = {answer.id: answer for answer in map(lines.read_answer, answers)}
    # What waits may be cut off by the end of the input; nothing here does, but in a thread of its own.
    assert {1, 2, 4} <= found.keys()
    assert found[1].error is not None
    assert found[1].error.kind == "refused"
    assert "missing.json" in found[1].error.message
    assert found[2].error is not None
    assert found[4].ok is not None


PAGE = (Path(__file__).parent.parent / "docs" / "client-driver.md").read_text(encoding="utf-8")


def test_the_descriptor_of_the_page_is_accepted(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert parse(text.encode(), tmp_path / "mine.toml").roles == ("client",)


def test_the_conversation_of_the_page_is_one() -> None:
    (text,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    driver, asked = Mute(), 0
    for line in text.splitlines():
        who, said = line[0], line[2:].encode()
        VALIDATOR.validate(json.loads(said))
        if who == ">":
            command = lines.read_command(said)
            asked += 1
            fields = {name: getattr(command, name) for name in command.__struct_fields__ if name != "id"}
            assert driver.tell(type(command), clock, **fields).command == command
        else:
            driver.hear(said)
    assert driver.is_there
    assert len(driver.sent) == asked > 0
    assert not driver._pending


def test_the_command_shows_the_schema() -> None:
    shown = CliRunner().invoke(main, ["schema", "--driver"])
    assert (shown.exit_code, json.loads(shown.stdout)) == (0, json.loads(json.dumps(lines.schema())))
    refused = CliRunner().invoke(main, ["schema", "--driver", "apply_request"])
    assert (refused.exit_code, refused.stdout) == (4, "")
    assert "--driver goes with nothing else" in refused.stderr


def test_a_driver_that_lacks_what_was_declared_is_told_the_way_out() -> None:
    with clients(load("simulated-client")).fresh() as client:
        pending = client.tell(lines.Close)
        client.answer(pending)
        pending.end(Answer(id=pending.command.id, error=Problem(kind="unsupported", message="not yet")))
        with pytest.raises(
            TargetUnusable, match="`close`: unsupported: not yet; what a client lacks is not to be decl"
        ):
            client.answer(pending)

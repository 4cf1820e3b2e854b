"""The certificate of the virtual sockets: a short one, what it notices, and how it tells."""

import ast
import os
import subprocess
import sys
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from socket_mutants import MUTANTS, Mutant, kinds_with

from conformance.certify import campaign
from conformance.certify.campaign import Campaign, Found
from conformance.certify.compare import Divergence, compare, is_safe
from conformance.certify.operations import FAMILIES, VALUES, Draw, Operation
from conformance.certify.replay import replay
from conformance.certify.script import script
from conformance.certify.shrink import shrink
from conformance.cli import main
from simulator.sockets.pipe import Pipe
from simulator.sockets.pipeline import Push

#: Sequences of its family after which a mutant counts as unnoticed.
PATIENCE = 600


def caught(mutant: type[Mutant]) -> tuple[list[Operation], Divergence] | None:
    """The first sequence in which a mutant differs from libzmq."""
    kinds = kinds_with(mutant)
    tried = number = 0
    while tried < PATIENCE:
        draw = Draw(f"mutants/{number}")
        number += 1
        operations = draw.sequence()
        # A mutant may not know where libzmq ends its process, which here would be ours.
        if draw.family != mutant.FAMILY or not is_safe(operations):
            continue
        tried += 1
        found = compare(operations, kinds)
        if found is not None:
            return operations, found
    return None


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_rule_is_noticed(name: str) -> None:
    assert caught(MUTANTS[name]) is not None


def test_a_short_certificate_over_inproc() -> None:
    short = Campaign(count=1000, seed=20, transport="inproc", jobs=2, shrunk=0)
    for _ in short.run():
        pass
    assert short.summary.done == 1000
    assert [found.text for found in short.summary.divergences + short.summary.crashes] == []


def test_a_short_certificate_over_tcp() -> None:
    short = Campaign(count=40, seed=20, transport="tcp", jobs=2, shrunk=0)
    for _ in short.run():
        pass
    assert short.summary.done == 40
    assert [found.text for found in short.summary.divergences + short.summary.crashes] == []


class KeepsTheLast(Mutant):
    """Of what waits for a connection, only the last message is kept."""

    REPLACES = (Push,)

    def attach(self, pipe: Pipe, is_local: bool = False) -> None:
        super().attach(pipe, is_local)  # type: ignore[misc]
        pipe.peer.queue = deque(pipe.peer.queue, maxlen=1)


def test_a_rule_that_is_broken_over_tcp_is_noticed() -> None:
    operations = [
        Operation("open", 0, ("PUSH", ())),
        Operation("open", 1, ("PULL", ())),
        Operation("connect", 0, ("tcp-0",)),
        Operation("send", 0, (None, (b"m000001",))),
        Operation("send", 0, (None, (b"m000002",))),
        Operation("bind", 1, ("tcp-0",)),
        Operation("drain", 1),
    ]
    assert replay(operations) is None
    found = replay(operations, kinds_with(KeepsTheLast))
    assert found is not None
    assert found.index == 6


def test_what_differs_is_shortened_to_a_script_that_needs_only_pyzmq(tmp_path: Path) -> None:
    mutant = MUTANTS["TakesTheSecond"]
    seen = caught(mutant)
    assert seen is not None
    operations, found = seen
    kinds = kinds_with(mutant)
    fewer = shrink(operations[: found.index + 1], lambda some: compare(some, kinds) if is_safe(some) else None)
    again = compare(fewer, kinds)
    assert again is not None
    assert again.index == len(fewer) - 1
    assert len(fewer) <= 8
    text = script(fewer, again, title="A mutant", addresses={name: f"inproc://{name}" for name in names(fewer)})
    file = tmp_path / "shown.py"
    file.write_text(text)
    ran = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stderr == ""
    assert len(ran.stdout.splitlines()) == 2 * len(fewer)
    assert set(imported(text)) == {"time", "zmq"}
    # The script shows what libzmq did, not what the mutant did.
    assert str(again.real if again.what == "events" else again.index) in ran.stdout


def names(operations: list[Operation]) -> set[str]:
    return {str(one.value[0]) for one in operations if one.name in ("bind", "connect", "unbind", "disconnect")}


def imported(text: str) -> list[str]:
    return [alias.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import) for alias in node.names]


def test_every_operation_can_be_written_as_a_script() -> None:
    drawn = [operation for number in range(30) for operation in Draw(f"scripts/{number}").sequence()]
    assert {operation.name for operation in drawn} == set(VALUES)
    text = script(
        drawn, Divergence(0, "outcome", None, None), title="All", addresses=dict.fromkeys(names(drawn), "inproc://x")
    )
    ast.parse(text)


def test_sequences_depend_on_nothing_but_their_seed() -> None:
    assert Draw("1").sequence() == Draw("1").sequence()
    assert Draw("1").sequence() != Draw("2").sequence()
    assert {Draw(f"{number}").family for number in range(100)} == set(FAMILIES)


def test_a_process_that_dies_costs_its_sequence_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    died = tmp_path / "died"
    monkeypatch.setattr(campaign, "_work", partial(dying, str(died)))
    mine = Campaign(count=6, seed=0, transport="inproc", jobs=1)
    for _ in mine.run():
        pass
    assert mine.summary.done == 6
    assert mine.summary.accidents == [1]
    assert [(found.number, found.text) for found in mine.summary.crashes] == [(3, "killed its process twice")]
    assert not mine.summary.is_certified


def dying(mark: str, pipe: Any, _seed: int, numbers: range, _transport: str, _shrinking: int) -> None:
    """Work that ends its process in sequence 1 once, and in sequence 3 always."""
    for number in numbers:
        pipe.send(("begin", number))
        if number == 3 or (number == 1 and not Path(mark).exists()):
            Path(mark).touch()
            os._exit(6)
        pipe.send(("end", None))
    pipe.send(("done", None))


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["-n", "20", "--transport", "inproc"], 0, "inproc: 20 sequences, none differs"),
        (["--only", "3", "--transport", "inproc"], 0, "agrees"),
        (["-n", "0"], 4, "0 is not in the range"),
        (["--transport", "udp"], 4, "'udp' is not one of"),
    ],
)
def test_the_command(arguments: list[str], status: int, words: str) -> None:
    result = CliRunner().invoke(main, ["certify-sockets", *arguments])
    assert result.exit_code == status
    assert words in result.output


def test_the_command_says_what_differs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = Found(2, "step 1, events: libzmq {0: 2}, virtual {0: 0}", "print('shown')\n")
    monkeypatch.setattr(Campaign, "run", lambda self: iter([self.summary.divergences.append(found) or self.summary]))
    result = CliRunner().invoke(main, ["certify-sockets", "--transport", "inproc"])
    assert result.exit_code == 1
    assert "1 differs" in result.output
    assert "print('shown')" in result.output
    result = CliRunner().invoke(main, ["certify-sockets", "--transport", "inproc", "--scripts", str(tmp_path)])
    assert (tmp_path / "inproc-2.py").read_text() == "print('shown')\n"


RUN = """
import hashlib
from conformance.certify.operations import Draw
from conformance.certify.replay import VirtualNet
from simulator.sockets import LibraryAborts
digest = hashlib.blake2b()
for number in range(20):
    world = VirtualNet(number)
    try:
        for operation in Draw(f"determinism/{number}", transport="tcp").sequence():
            digest.update(repr((world.perform(operation), world.rest())).encode())
    except LibraryAborts as end:
        digest.update(str(end).encode())
print(digest.hexdigest())
"""


def test_virtual_sockets_do_the_same_in_every_process() -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", RUN],
            env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("0", "4711")
    }  # fmt: skip
    assert len(outputs) == 1

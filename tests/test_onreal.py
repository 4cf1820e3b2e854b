"""Scenarios on real processes: the reference keeps what is demanded, and nobody is left over."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from unittest.mock import MagicMock

import msgspec
import pytest
from click.testing import CliRunner
from reference_cluster import PATIENCE, wait_for
from simulating import simulate

from conformance.cli import main
from conformance.onreal import run, tour
from conformance.onreal.cluster import RealCluster
from conformance.onreal.driven import DrivenClient
from conformance.onreal.engines import RealEngine
from conformance.onreal.faults import ACTS, THEMSELVES, RealTrouble, ends_of
from conformance.onreal.kernels import KERNELS, KernelScenario, Stage
from conformance.onreal.run import Found, Setup, Verdict, reason, timed
from conformance.onreal.speech import spoken
from conformance.onreal.watching import Watcher
from conformance.relay.hops import Hop
from conformance.relay.rewriting import Drop, of
from conformance.targets import TargetUnusable
from conformance.targets.descriptor import load
from conformance.targets.process import Running
from conformance.targets.tables import Samples
from protocol.world import SECOND, Work
from simulator.faults import vocabulary
from simulator.lacking import Lacking
from simulator.scenarios import SCENARIOS

REAL = ("--on", "reference")


@pytest.mark.parametrize(
    "name",
    [
        "engine-dies-with-requests-of-its-own",  # signals
        "replies-are-doubled",  # messages that the relay touches
        "garbage-on-every-channel",  # strangers
    ],
)
def test_the_reference_keeps_what_a_scenario_demands(name: str) -> None:
    result = simulate(name, *REAL, "--pace", "3")
    if result.exit_code == 6:  # the machine was busy: nothing was decided, so with more patience
        result = simulate(name, *REAL, "--pace", "10")
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"{name} on reference: {SCENARIOS[name].text[:20]}")
    assert result.output.endswith("nothing was violated.\n")


def test_a_client_behind_a_driver_is_asked_what_a_scenario_asks() -> None:
    result = simulate("aborted-in-the-queue", "--on", "reference-client", "--pace", "3")
    if result.exit_code == 6:  # the machine was busy: nothing was decided, so with more patience
        result = simulate("aborted-in-the-queue", "--on", "reference-client", "--pace", "10")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("aborted-in-the-queue on reference with reference-client")
    assert result.output.endswith("nothing was violated.\n")


def test_a_plain_kernel_has_scenarios_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    result = simulate("requests-to-a-kernel-are-doubled", "--on", "ipykernel")
    if result.exit_code == 6:  # the machine was busy: nothing was decided
        result = simulate("requests-to-a-kernel-are-doubled", "--on", "ipykernel")
    assert result.exit_code == 0, result.output
    assert result.output.endswith("nothing was violated.\n")

    def deaf(stage: Stage) -> None:
        frontend = stage.kernel.frontend()
        with stage.touching(Drop(of("execute_reply"))):
            stage.expect_done(frontend, stage.printing(frontend, 1), "kernel.execute-answered")

    monkeypatch.setitem(KERNELS, "deaf", KernelScenario("deaf", deaf, "Nobody hears it.", touches=True))
    result = simulate("deaf", "--on", "ipykernel")
    if result.exit_code == 6:  # the machine was busy: nothing was decided
        result = simulate("deaf", "--on", "ipykernel")
    assert result.exit_code == 1, result.output
    assert "kernel.execute-answered: " in result.output
    result = simulate("mass-death", "--on", "ipykernel")
    assert result.exit_code == 5
    assert result.output.endswith(
        "Not applicable: needs a controller and its engines, and a plain kernel has neither.\n"
    )


def test_what_the_language_of_drivers_has_no_word_for_is_not_applicable() -> None:
    client = DrivenClient.__new__(DrivenClient)
    with pytest.raises(Lacking, match="a purge_request"):
        client.query("purge_request", {})


def test_engines_without_python_are_sent_what_their_samples_say() -> None:
    samples = Samples(print="say({text})", raise_="end", sleep="rest({seconds})")
    work = Work(takes=SECOND, prints=2, fails=True)
    lines = ["say(line 0)", "rest(1.000000)", "say(line 1)", "rest(1.000000)", "end"]
    assert spoken(samples, work, 2.0).splitlines() == lines
    assert spoken(samples, Work(), 2.0) == ""
    for lacking in (Work(crashes=True), Work(refuses=("*",)), Work(takes=SECOND, holds=True)):
        with pytest.raises(Lacking):
            spoken(samples, lacking, 2.0)


def test_a_demand_that_is_not_met_is_told_and_drawn(broken: str, tmp_path: Path) -> None:
    diagram, trace = tmp_path / "out.txt", tmp_path / "out.jsonl"
    drawn = ("--trace", str(trace), "--diagram", str(diagram))
    result = simulate(broken, *REAL, *drawn)
    if result.exit_code == 6:  # the machine was busy: nothing was decided, so with more patience
        result = simulate(broken, *REAL, *drawn, "--pace", "10")
    assert result.exit_code == 1, result.output
    assert "wire.reply-true: everything should have ended with 'ok'" in result.output
    assert result.output.endswith("1 violation.\n")
    assert "apply_request" in diagram.read_text()
    assert trace.stat().st_mode & 0o077 == 0
    assert CliRunner().invoke(main, ["check", str(trace)]).exit_code == 0


def test_what_crosses_the_relay_is_judged_whatever_a_scenario_demands(tmp_path: Path) -> None:
    text = Path(load("reference").file).read_text(encoding="utf-8")
    for before, after in (
        ('name = "reference"', 'name = "chatty"'),
        ('"-m", "conformance.reference",', f'"{Path(__file__).parent / "chatty_controller.py"}",'),
    ):
        assert before in text
        text = text.replace(before, after)
    descriptor = tmp_path / "chatty.toml"
    descriptor.write_text(text, encoding="utf-8")
    result = simulate("garbage-on-every-channel", "--on", str(descriptor))
    assert result.exit_code == 1, result.output
    assert "wire.at-most-one-reply: controller: reply 2 to one queue_request" in result.output


def left_over(folder: Path) -> list[str]:
    """The processes that work in a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(folder) in words:
            found.append(words)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_who_interrupts_it_leaves_nothing_behind(tmp_path: Path) -> None:
    # Its engine's heart is missed only after a minute, so it surely runs when it is interrupted.
    arguments = ["simulate", "heart-killed-while-the-engine-works", "--on", "reference", "--pace", "30"]
    # What a shell starts in the background has it ignored, and passes that on.
    listens = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    script = f"{listens}; from conformance.cli import main; main({arguments})"
    process = subprocess.Popen(
        [sys.executable, "-c", script], env=os.environ | {"TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert wait_for(lambda: any(" engine " in words for words in left_over(tmp_path)))
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=3 * PATIENCE)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert left_over(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (REAL, "--on runs a scenario, or all of them"),
        (("mass-death", "--on", "no-such-target"), "there is no target"),
        (("kernel-is-killed", *REAL), "is for plain kernels, and reference is none"),
        (("kernel-is-killed",), "is for a plain kernel: name one with --on"),
        (("mass-death", "--on", "ipykernel", "--engines-of", "reference-engine"), "ipykernel is no controller"),
        (("mass-death", "--on", "simulated"), "is not started as real processes"),
        (("mass-death", *REAL, "--engines-of", "reference"), "is no engine"),
        (("mass-death", "--on", "reference-engine", "--engines-of", "ipyparallel-engine"), "is no controller"),
        (("mass-death", *REAL, "--faults", "none"), "--faults is for virtual time"),
        (("mass-death", "--keep", "x.json"), "--keep is for all"),
        (("mass-death", "--engines-of", "ipyparallel-engine"), "goes with --on"),
        (("all", *REAL, "--trace", "x.jsonl"), "for one scenario"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_sentence(arguments: tuple[str, ...], sentence: str) -> None:
    result = simulate(*arguments)
    assert result.exit_code == 4
    assert sentence in result.output
    assert "Traceback" not in result.output


def test_what_real_processes_cannot_do_is_not_applicable() -> None:
    result = simulate("clock-of-the-hub-jumps", *REAL)
    assert result.exit_code == 5
    assert result.output.endswith("Not applicable: needs clocks that can be set.\n")


def test_every_fault_is_done_or_refused_here_too() -> None:
    assert set(ACTS) | set(THEMSELVES) == set(vocabulary())
    assert not set(ACTS) & set(THEMSELVES)


def test_a_controller_that_lost_a_port_to_somebody_else_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    accused = Found(requirement="task.no-starvation", role="controller", guilty="", text="nothing came")
    cluster = MagicMock()
    monkeypatch.setattr(run, "RealCluster", lambda *_, **__: cluster)
    monkeypatch.setattr(run, "_happen", lambda _, __, verdict, ___: verdict.found.append(accused))
    monkeypatch.setattr(run, "_judge", lambda *_: None)
    setup = Setup(name="slow-joiner", controller=load("reference"), engine=load("reference-engine"))
    cluster.running.robbed.return_value = ""
    assert run.carry_out(setup).word == "broken"
    cluster.running.robbed.return_value = "somebody else holds the port 4321"
    verdict = run.carry_out(setup)
    assert (verdict.word, "4321" in verdict.undecided) == ("undecided", True)


def test_engines_that_wait_at_a_port_of_somebody_else_are_not_its_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = MagicMock(engines=[])
    cluster.running.target.timing.start_deadline = 0
    cluster.running.robbed.return_value = ""
    cluster.running.unusable.side_effect = lambda text: TargetUnusable(text)
    with pytest.raises(TargetUnusable, match="3 engines were never registered"):
        RealCluster._wait(cluster, lambda: False, "3 engines were never registered")
    cluster.running.robbed.return_value = "somebody else holds the port 4321"

    def robbed(*_: object, **__: object) -> None:
        RealCluster._wait(cluster, lambda: False, "3 engines were never registered")

    monkeypatch.setattr(run, "RealCluster", robbed)
    setup = Setup(name="slow-joiner", controller=load("reference"), engine=load("reference-engine"))
    verdict = run.carry_out(setup)
    assert (verdict.word, verdict.undecided) == (
        "undecided", "3 engines were never registered, as somebody else holds the port 4321",
    )  # fmt: skip


def test_timers_are_those_of_scenarios_where_a_command_sets_them() -> None:
    setup = Setup(name="mass-death", controller=load("reference"), engine=load("reference-engine"), pace=3.0)
    controller, engine, pace = timed(setup)
    assert pace == 3.0
    assert (controller.timing.heartbeat_period_ms, controller.timing.allowed_misses) == (300, 8)
    assert (controller.timing.registration_timeout_s, controller.timing.scheduler_grace_s) == (9, 3.0)
    assert (engine.timing.engine_timeout_s, engine.timing.engine_misses) == (15.0, 50)
    # ipyparallel's scheduler has a grace of its own, whatever anybody says.
    theirs, _, _ = timed(msgspec.structs.replace(setup, controller=load("ipyparallel")))
    assert theirs.timing.scheduler_grace_s == load("ipyparallel").timing.scheduler_grace_s


def test_the_pace_follows_from_hearts_that_nobody_can_set() -> None:
    controller = load("ipyparallel")
    assert controller.controller is not None
    command = tuple(word for word in controller.controller.command if "HeartMonitor" not in word)
    slow = msgspec.structs.replace(
        controller,
        controller=msgspec.structs.replace(controller.controller, command=command),
        timing=msgspec.structs.replace(controller.timing, heartbeat_period_ms=3000, allowed_misses=10),
    )
    setup = Setup(name="mass-death", controller=slow, engine=load("reference-engine"))
    assert timed(setup) == (slow, setup.engine, pytest.approx(11 * 3.0 / 0.9))


@pytest.mark.parametrize(
    ("slug", "scenario", "expected"),
    [
        ("registration.can-return", "pongs-are-lost", "The heart monitor tells"),
        ("registration.can-return", "one-way-to-an-engine", "The heart monitor tells"),
        ("wire.every-request-answered", "failing-task-is-retried", "A task is never run again"),
        # Every scenario demands it, so that it says nothing of another one.
        ("wire.every-request-answered", "mass-death", ""),
        ("registration.identity-unique", "mass-death", ""),
    ],
)
def test_what_is_known_is_told_apart(slug: str, scenario: str, expected: str) -> None:
    setup = Setup(name=scenario, controller=load("ipyparallel"), engine=load("reference-engine"))
    found = Found(requirement=slug, role="controller", guilty="", text="")
    told = reason(setup, found)
    assert told.startswith(expected)
    assert bool(told) == bool(expected)


@pytest.mark.parametrize(
    ("channel", "is_up", "expected"),
    [
        ("query", True, ("engine-1/query", "hub/query")),
        ("task", False, ("tasks/task", "engine-1/task")),
        ("heartbeat-ping", False, ("hearts/heartbeat-ping", "engine-1.heart/ping")),
        ("heartbeat-pong", True, ("engine-1.heart/pong", "hearts/heartbeat-pong")),
    ],
)
def test_ways_are_called_as_in_a_simulation(channel: str, is_up: bool, expected: tuple[str, str]) -> None:
    hop = Hop(seq=1, now=0, party="engine-1", kind="engine", channel=channel, link=1, is_up=is_up, frames=(b"x",))
    assert ends_of(hop) == expected


def test_verdicts_take_the_place_of_the_last_ones_of_the_same_world(tmp_path: Path) -> None:
    broken = Found(requirement="wire.reply-true", role="controller", guilty="", text="wire.reply-true: no")
    known = msgspec.structs.replace(broken, reason="so it is")
    verdicts = [
        Verdict(name="a"),
        Verdict(name="b", found=[known]),
        Verdict(name="c", found=[known, broken]),
        Verdict(name="d", lacking="wings"),
        Verdict(name="e", undecided="held up"),
        Verdict(name="f", error="one\ntwo"),
    ]
    words = ["held", "known", "broken", "not applicable", "undecided", "kit error"]
    assert [each.word for each in verdicts] == words
    path = tmp_path / "worlds.json"
    tour.keep(path, "ipyparallel", verdicts[:1])
    for last in (verdicts, [Verdict(name="a", undecided="late")]):
        tour.keep(path, "reference", last, version="1", pace=2.0)
    worlds = msgspec.json.decode(path.read_bytes(), type=list[tour.World])
    assert [each.name for each in worlds] == ["reference", "ipyparallel"]
    told = {name: why for name, (_, why) in worlds[0].verdicts.items()}
    assert told["b"] == "wire.reply-true"
    assert worlds[0].verdicts["a"] == ("undecided", "late")
    assert (told["d"], told["e"], told["f"]) == ("needs wings", "held up", "two")


class Hub:
    """Stands for a cluster whose Hub has given up an engine that lives, and for that engine."""

    name = uuid = "engine-1"
    is_alive = has_heart = is_able = True

    def __init__(self, asked: int, is_faulty: bool) -> None:
        self.done: list[str] = []
        cluster = RealCluster.__new__(RealCluster)
        cluster.pace, cluster.started_again = 1.0, []
        cluster.troubles = cast("list[RealTrouble]", [SimpleNamespace(is_over=not is_faulty, fault=None)])
        cluster.engines = cast("list[RealEngine]", [self])
        cluster.watcher = cast("Watcher", SimpleNamespace(asked=lambda *_: asked))
        cluster.running = cast("Running", SimpleNamespace(target=load("reference")))
        cluster.clients = []
        vars(cluster).update(_partitions=[], _is_down=False, _ever={0: self.uuid}, _run=self.run, _answered=1 << 63,
                             _epoch=0, last_registered={})  # fmt: skip
        self.cluster = cluster

    def run(self, predicate: Callable[[], bool], _: int) -> bool:
        self.done.append("time passes")
        return predicate()

    def end(self) -> None:
        self.done.append("it is ended")

    def start(self) -> None:
        self.done.append("it is started")


@pytest.mark.parametrize(
    ("asked", "is_faulty", "is_long", "expected"),
    [(1, False, True, True), (2, False, True, False), (1, True, True, False), (1, False, False, False)],
    ids=["forgotten", "asks by itself", "during a fault", "soon"],
)
def test_an_engine_that_does_not_ask_again_is_started_again(
    asked: int, is_faulty: bool, is_long: bool, expected: bool
) -> None:
    hub = Hub(asked, is_faulty)
    hub.cluster.run_until(lambda: False, hub.cluster.now + (20 * SECOND if is_long else SECOND))
    assert hub.cluster.started_again == (["engine-1"] if expected else [])
    assert ("it is ended, time passes, it is started" in ", ".join(hub.done)) is expected

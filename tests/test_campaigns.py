"""Campaigns: blocks of seeds on whatever carries them out, a journal, and workers that die."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from simulating import simulate

from conformance.campaigns import (
    Block,
    Journal,
    UnsuitableJournalError,
    UnusableWorkersError,
    Workers,
    blocks,
    drive,
    processes,
)
from conformance.simulating import RARE, Report, Summary
from simulator.run import Setup

SHORT = "engine-dies-twice"


class Here(Executor):
    """Everything at once, in this process; `deadly` seeds kill the worker, so often."""

    def __init__(self, deadly: dict[int, int], error: type[Exception]) -> None:
        self.deadly = deadly
        self.error = error
        self.is_broken = False

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if self.is_broken:
            raise self.error("broken")
        for seed in args[1].seeds:
            if self.deadly.get(seed):
                self.deadly[seed] -= 1
                self.is_broken = self.error is BrokenProcessPool
                future.set_exception(self.error("a worker died"))
                return future
        future.set_result(fn(*args, **kwargs))
        return future


def here(deadly: dict[int, int] | None = None, error: type[Exception] = BrokenProcessPool) -> Workers:
    known = deadly or {}
    return Workers(2, lambda: Here(known, error))


def whole(workers: Workers, chosen: Sequence[Block]) -> tuple[Summary, list[int]]:
    summary, seeds = Summary(), []
    for block, part in drive(workers, Setup(), chosen):
        summary.merge(part)
        seeds += block.seeds
    return summary, seeds


# -- blocks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 64])
def test_blocks_hold_every_seed_that_is_not_done_once(workers: int) -> None:
    done = {"swarm": {3, 4, 50, 99}, "other": {1}}
    found = Counter(
        (block.name, seed) for block in blocks(["swarm", "other"], range(100), workers, done) for seed in block.seeds
    )
    wanted = {(name, seed) for name in ("swarm", "other") for seed in range(100) if seed not in done[name]}
    assert found == Counter(wanted)


def test_a_million_seeds_are_not_listed_beforehand() -> None:
    first = next(blocks(["swarm"], range(1, 1_000_001), 2))
    assert first == Block("swarm", 1, 25)


# -- workers that die --------------------------------------------------------------------------------------------------


def test_a_campaign_runs_everything_on_any_executor(broken: str) -> None:
    summary, _ = whole(here(), [Block(broken, 0, 2), Block(SHORT, 0, 5)])
    assert summary.done == 9
    assert [each.setup.seed for each in summary.failed] == [0, 1, 2]
    assert set(summary.marks) | set(summary.unreached) == set(RARE)


@pytest.mark.parametrize("error", [BrokenProcessPool, RuntimeError])
def test_a_worker_that_dies_loses_no_seed(error: type[Exception]) -> None:
    summary, seeds = whole(here({4: 1}, error), [Block(SHORT, first, first + 2) for first in range(0, 9, 3)])
    assert sorted(seeds) == list(range(9)), "each seed once"
    assert summary.done == 9
    assert not summary.failed


@pytest.mark.parametrize("error", [BrokenProcessPool, RuntimeError])
def test_a_seed_that_kills_its_worker_is_named_and_nobody_else(error: type[Exception]) -> None:
    summary, seeds = whole(here({4: 99}, error), [Block(SHORT, first, first + 2) for first in range(0, 9, 3)])
    assert sorted(seeds) == list(range(9))
    (failed,) = summary.failed
    assert failed.setup.seed == 4
    assert failed.error.startswith("none of 2 tries came back, with nothing else running\n")


def test_a_pool_whose_process_was_killed_is_begun_again() -> None:
    pools: list[ProcessPoolExecutor] = []
    real = processes(1)

    def opened() -> Executor:
        pool = real.open()
        assert isinstance(pool, ProcessPoolExecutor)
        pools.append(pool)
        return pool

    seeds: list[int] = []
    with closing(drive(Workers(1, opened), Setup(), [Block(SHORT, seed, seed) for seed in range(6)])) as driven:
        for block, part in driven:
            if not seeds:
                (victim,) = pools[0]._processes
                os.kill(victim, signal.SIGKILL)
            assert not part.failed
            seeds += block.seeds
    assert sorted(seeds) == list(range(6))
    assert len(pools) == 2


# -- replies that are lost ---------------------------------------------------------------------------------------------


class Forgetful(Here):
    """Of these seeds no result ever comes back, so often; with `is_deaf`, of nothing at all."""

    def __init__(self, lost: dict[int, int], *, is_deaf: bool = False) -> None:
        super().__init__({}, RuntimeError)
        self.lost = lost
        self.is_deaf = is_deaf

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self.is_deaf:
            return Future()
        for seed in args[1].seeds if args else ():
            if self.lost.get(seed):
                self.lost[seed] -= 1
                return Future()
        if not args:
            future: Future[Any] = Future()
            future.set_result(fn())
            return future
        return super().submit(fn, *args, **kwargs)


def forgetful(executor: Forgetful) -> Workers:
    # What comes back has come back when it is handed over, so that it is never waited for.
    return Workers(2, lambda: executor, patience=0.01)


def test_a_lost_reply_loses_no_seed_and_is_told() -> None:
    told: list[str] = []
    chosen = [Block(SHORT, first, first + 2) for first in range(0, 9, 3)]
    found = list(drive(forgetful(Forgetful({4: 1})), Setup(), chosen, told.append))
    assert sorted(seed for block, _ in found for seed in block.seeds) == list(range(9)), "each seed once"
    assert not any(part.failed for _, part in found)
    assert told == ["No worker has answered for 0 s: 3 runs are done again, one by one."]


def test_a_seed_that_never_ends_is_named_and_nobody_else() -> None:
    chosen = [Block(SHORT, first, first + 2) for first in range(0, 9, 3)]
    summary, seeds = whole(forgetful(Forgetful({4: 99})), chosen)
    assert sorted(seeds) == list(range(9))
    (failed,) = summary.failed
    assert failed.setup.seed == 4
    assert "no answer within 0 s" in failed.error


def test_workers_that_are_all_gone_end_the_campaign() -> None:
    with pytest.raises(UnusableWorkersError, match="no worker answers any more"):
        whole(forgetful(Forgetful({}, is_deaf=True)), [Block(SHORT, 0, 2)])


@pytest.mark.parametrize(
    ("is_refused", "sentence"),
    [(True, "nothing can be handed to the workers any more: closed"), (False, "no worker answers any more")],
)
def test_a_connection_that_is_gone_ends_the_campaign(is_refused: bool, sentence: str) -> None:
    class Gone(Here):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            if args:
                return super().submit(fn, *args, **kwargs)
            if is_refused:
                raise OSError("closed")
            future: Future[Any] = Future()
            future.cancel()
            return future

    gone = Workers(2, lambda: Gone({1: 99}, RuntimeError), patience=0.01)
    with pytest.raises(UnusableWorkersError, match=sentence):
        whole(gone, [Block(SHORT, 0, 2)])


def test_the_command_says_that_nobody_answers_and_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deaf = forgetful(Forgetful({}, is_deaf=True))
    monkeypatch.setattr("conformance.cli.campaign.workers", lambda *_: deaf)
    path = tmp_path / "journal"
    result = simulate(SHORT, "--seeds", "0..2", "--executor", "dask:tcp://127.0.0.1:1", "--resume", str(path))
    assert result.exit_code == 3, result.output
    assert f"no worker answers any more, within 0 s; 0 runs are in {path}" in " ".join(result.output.split())


# -- the journal -------------------------------------------------------------------------------------------------------


def test_a_campaign_goes_on_where_its_journal_ends(tmp_path: Path, broken: str) -> None:
    path, like = tmp_path / "journal", Setup(tasks=7)
    first = Journal(path, like)
    part = Summary(done=3, excused=2, marks={"task.timed-out": 4})
    part.failed.append(Report(Setup(name=broken, seed=1, tasks=7), ("some.thing: wrong",)))
    first.add(Block(broken, 0, 2), part)
    with path.open("a") as file:
        file.write('{"name": "swarm", "first": 3, "la')
    again = Journal(path, like)
    assert again.done == {broken: {0, 1, 2}}
    assert again.summary == part
    again.add(Block(broken, 3, 3), Summary(done=1))
    assert Journal(path, like).done == {broken: {0, 1, 2, 3}}, "what was torn off is gone for good"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("hello\n", "is no journal of a campaign"),
        ("[]\n", "is no journal of a campaign"),
        ('{"kind": "ippkit campaign"}\n', "is no journal of a campaign"),
    ],
)
def test_what_is_no_journal_is_left_alone(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "journal"
    path.write_text(text)
    with pytest.raises(UnsuitableJournalError, match=sentence):
        Journal(path, Setup())
    assert path.read_text() == text


def test_the_command_goes_on_with_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    first = simulate(SHORT, "--seeds", "0..2", "--jobs", "1", "--resume", str(path))
    assert first.exit_code == 0, first.output
    lines = path.read_text().splitlines()
    assert len(lines) == 1 + 3
    again = simulate(SHORT, "--seeds", "0..2", "--jobs", "auto", "--resume", str(path))
    assert again.exit_code == 0, again.output
    assert f"{path}: 3 runs are done already." in again.output
    assert f"{SHORT}: 3 runs, nothing was violated" in again.output
    assert path.read_text().splitlines() == lines, "nothing was done twice"
    other = simulate(SHORT, "--seeds", "0..2", "--engines", "5", "--resume", str(path))
    assert other.exit_code == 4
    assert "is the journal of another campaign: engines is None there, 5 here" in other.output


def test_a_journal_says_what_failed(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, Setup())
    journal.add(Block(SHORT, 0, 1), Summary(done=2, failed=[Report(Setup(name=SHORT, seed=1), error="oh")]))
    result = simulate(SHORT, "--seeds", "0..1", "--resume", str(path))
    assert result.exit_code == 1
    assert f"ippkit simulate {SHORT} --seed 1" in result.output
    assert json.loads(path.read_text().splitlines()[1])["failed"] == [{"seed": 1, "violations": [], "error": "oh"}]


def test_the_failed_are_shown_with_their_commands(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    failed = [Report(Setup(seed=seed), violations=("a.b: broken",) * 5) for seed in range(1, 9)]
    failed.append(Report(Setup(seed=0), error="a traceback"))
    Journal(path, Setup()).add(Block("swarm", 0, 9), Summary(done=10, failed=failed))
    result = simulate("--seeds", "0..9", "--resume", str(path))
    assert result.exit_code == 1
    assert "ippkit simulate swarm --seed 0\n  the kit itself failed:\na traceback" in result.output
    assert "ippkit simulate swarm --seed 3\n  a.b: broken\n  a.b: broken\n  a.b: broken\n  and 2 more" in result.output
    assert "4 more failed: swarm 5, swarm 6" in result.output


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["--seeds", "0..3", "--jobs", "many"], 4, "'many' is neither auto nor a number of processes"),
        (["--seeds", "0..3", "--jobs", "0"], 4, "'0' is neither auto nor a number"),
        (["--seeds", "0..3", "--executor", "slurm:x"], 4, "'slurm:x' is not dask:ADDRESS or ipyparallel:PROFILE"),
        (["--seeds", "0..3", "--executor", "dask"], 4, "'dask' is not dask:ADDRESS"),
        (["--resume", "x"], 4, "--executor and --resume are for campaigns: give --seeds A..B"),
        (["--seeds", "0..3", "--executor", "ipyparallel:no-such.json"], 3, "no controller of ipyparallel answers as"),
    ],
)
def test_a_campaign_that_cannot_be_is_one_sentence(arguments: list[str], status: int, sentence: str) -> None:
    result = simulate(SHORT, *arguments)
    assert result.exit_code == status, result.output
    assert sentence in result.output
    assert len(result.output.splitlines()) == 1


def test_a_cluster_that_is_not_installed_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    result = simulate(SHORT, "--seeds", "0..3", "--executor", "dask:tcp://127.0.0.1:1")
    assert result.exit_code == 3, result.output
    assert "pip install 'ippkit[dask]'" in result.output


# -- clusters ----------------------------------------------------------------------------------------------------------


@contextmanager
def cluster(kind: str) -> Iterator[str]:
    helper = Path(__file__).with_name("campaign_cluster.py")
    process = subprocess.Popen(
        [sys.executable, str(helper), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        where = process.stdout.readline().strip()
        assert where, "the cluster did not start"
        yield where
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


#: Where Dask is installed, ipyparallel answers a `become_dask_request` otherwise; so it has its own environment.
HAS_DASK = importlib.util.find_spec("distributed") is not None


@pytest.mark.parametrize(
    "kind", [pytest.param("dask", marks=pytest.mark.skipif(not HAS_DASK, reason="needs the extra dask")), "ipyparallel"]
)
def test_a_campaign_runs_on_a_cluster(kind: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from conformance.cli import main; main()", "simulate", SHORT, "--seeds", "0..9"]
    with cluster(kind) as where:
        done = subprocess.run(
            [*command, "--executor", f"{kind}:{where}", "--resume", str(tmp_path / "journal")],
            capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{SHORT}: 10 runs, nothing was violated" in done.stdout
    assert Journal(tmp_path / "journal", Setup()).done == {SHORT: set(range(10))}

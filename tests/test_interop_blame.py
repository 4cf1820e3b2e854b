"""Who is to blame for a red cell: parties that are broken on purpose are named, and nobody when it cannot be known."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from reference_cluster import PATIENCE as WAIT
from reference_cluster import children, end, is_alive, run, wait_for

from conformance.files import data
from conformance.interop import calls, matrix
from conformance.interop.ability import Failure
from conformance.interop.bench import Bench, Parties, Unusable
from conformance.interop.blame import UNDETERMINED, blame
from conformance.interop.rows import CONTROLLERS, ENGINES, KIT, ROWS
from conformance.interop.traffic import Traffic, Window
from conformance.interop.worker import describe
from protocol.requirements import get
from protocol.wire import Codec

pytestmark = pytest.mark.skipif(not Path("/proc/self/comm").exists(), reason="the processes are looked up in /proc")

(OURS,) = (row for row in ROWS if row.name == "ours-ours-ours")
SCRIPT = Path(__file__).with_name("broken_parties.py")
#: Seconds; whatever is broken here is silent for so long.
PATIENCE = 2.0


def parties(fault: str, directory: Path) -> Parties:
    """The parties of the reference, one of them broken."""
    command = (sys.executable, str(SCRIPT), fault)
    which = fault.partition("-")[0]
    if which == "client":
        # A client that hangs is given up after a multiple of this.
        return Parties(client=command, patience=0.5)
    if which == "engine":
        return Parties(engines=ENGINES | {KIT: (*command, "--file={file}")}, patience=PATIENCE)
    text = data("fixtures/targets/reference.toml").read_text(encoding="utf-8")
    broken = text.replace('"-m", "conformance.reference"', f'"{SCRIPT}", "{fault}"')
    assert broken != text
    path = directory / "broken.toml"
    path.write_text(broken, encoding="utf-8")
    return Parties(controllers=CONTROLLERS | {KIT: str(path)}, patience=PATIENCE)


@pytest.mark.parametrize(
    ("fault", "ability", "party", "requirement"),
    [
        ("engine-adds-one", "direct.apply", "engine-", "apply.returns-value"),
        ("engine-ignores-calls", "balanced.apply", "engine-", "apply.answered"),
        ("engine-raises", "direct.apply", "engine-", "apply.returns-value"),
        ("engine-mumbles", "output.stdout", "engine-", "kernel.stream-complete"),
        ("client-adds-one", "direct.apply", "the client", "apply.returns-value"),
        ("controller-loses-requests", "direct.apply", "the controller", "mux.routes-by-identity"),
        ("controller-loses-replies", "direct.apply", "the controller", "mux.reply-to-requester"),
        ("controller-loses-control", "control.clear", "the controller", "control.routes-by-identity"),
        ("controller-loses-output", "output.stderr", "the controller", "iopub.reaches-all-clients"),
        ("controller-changes-replies", "direct.apply", "the controller", "wire.relayed-parts-unchanged"),
        ("controller-hides-deaths", "life.killed", "the controller", "notification.unregistration-published"),
        ("controller-ignores-queries", "hub.hub_history", "the controller", "wire.every-request-answered"),
        ("client-hangs", "direct.apply", UNDETERMINED, "apply.returns-value"),
        ("client-ends", "direct.apply", UNDETERMINED, "apply.returns-value"),
    ],
)
def test_a_broken_party_is_named(tmp_path: Path, fault: str, ability: str, party: str, requirement: str) -> None:
    (cell,) = matrix.run_row(OURS, [ability], parties=parties(fault, tmp_path))
    assert cell.verdict == "fails", cell
    assert cell.blame is not None
    assert cell.blame.party.startswith(party), cell
    assert cell.blame.requirement == requirement, cell
    assert get(cell.blame.requirement)
    assert cell.blame.how


def test_a_cluster_with_a_failure_is_not_used_again(tmp_path: Path) -> None:
    told: list[str] = []
    cells = matrix.run_row(
        OURS, ["direct.apply", "direct.execute"], parties=parties("engine-adds-one", tmp_path),
        tell=lambda cell: told.append(cell.ability),
    )  # fmt: skip
    assert {cell.ability: cell.verdict for cell in cells} == {"direct.apply": "fails", "direct.execute": "works"}
    assert told == ["direct.apply", "direct.execute"]


@pytest.mark.parametrize("fault", ["", "client-hangs"])
def test_nothing_outlives_a_bench(tmp_path: Path, fault: str) -> None:
    with Bench(OURS, parties(fault, tmp_path) if fault else None) as bench:
        assert bench.run("direct.apply" if fault else "life.joins") is None or fault
        processes = bench.processes()
        assert len(processes) > 5
    assert not [pid for pid in processes if is_alive(pid)]


def test_a_row_on_which_nothing_ever_comes_is_given_up(tmp_path: Path) -> None:
    made = msgspec.structs.replace(parties("engine-ignores-calls", tmp_path), patience=0.3)
    names = [f"balanced.{name}" for name in ("apply", "map", "after", "follow", "impossible", "targets")]
    cells = matrix.run_row(OURS, names, parties=made)
    assert [cell.verdict for cell in cells] == ["fails"] * matrix.GIVE_UP + ["unusable"] * (6 - matrix.GIVE_UP)
    assert "given up" in cells[-1].text


@contextlib.contextmanager
def started(directory: Path) -> Iterator[tuple["subprocess.Popen[str]", set[int]]]:
    """The command, with everything running, and the ids of its children."""
    # Tests that run in the background of a shell inherit that an interrupt is ignored.
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heeding}; from conformance.cli import main; main()"
    command = (sys.executable, "-c", code, "interop", "--only", OURS.name)
    process = run("env", f"TMPDIR={directory}", *command)
    try:
        # The supervisors of the controller and of two engines, and the client.
        assert wait_for(lambda: len(children(process.pid)) >= 4)
        yield process, set(children(process.pid))
    finally:
        end(process)


def test_an_interrupt_ends_everything(tmp_path: Path) -> None:
    with started(tmp_path) as (process, family):
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=WAIT)
        assert (process.returncode, errors.strip()) == (130, "ippkit: interrupted")
        assert not [pid for pid in family if is_alive(pid)]
        assert list(tmp_path.iterdir()) == []


def test_a_kill_leaves_nothing_either(tmp_path: Path) -> None:
    with started(tmp_path) as (process, family):
        process.kill()
        process.communicate(timeout=WAIT)
        assert wait_for(lambda: not [pid for pid in family if is_alive(pid)])
        assert wait_for(lambda: not list(tmp_path.iterdir()))


@pytest.mark.parametrize("which", ["controller", "engine"])
def test_a_row_that_cannot_be_run_says_why_and_accuses_nobody(tmp_path: Path, which: str) -> None:
    command = (sys.executable, "-c", "import sys; sys.exit('there is no such thing')")
    if which == "engine":
        made = Parties(engines=ENGINES | {KIT: command})
    else:
        (tmp_path / "none.toml").write_text(
            'name = "none"\ndialect = "ipyparallel-9"\nroles = ["controller"]\n'
            '[controller]\ncommand = ["{python}", "-c", "import sys; sys.exit(\'there is no such thing\')"]\n'
            'client_file = "{dir}/c.json"\nengine_file = "{dir}/e.json"\n',
            encoding="utf-8",
        )
        made = Parties(controllers=CONTROLLERS | {KIT: str(tmp_path / "none.toml")})
    with pytest.raises(Unusable, match=r"row ours-ours-ours: .*there is no such thing"):
        Bench(OURS, made)
    cells = matrix.run_row(OURS, ["direct.apply", "direct.map"], parties=made)
    assert {(cell.ability, cell.verdict) for cell in cells} == {
        ("direct.apply", "unusable"), ("direct.map", "unusable"),
    }  # fmt: skip
    assert all("there is no such thing" in cell.text for cell in cells)


@pytest.mark.parametrize("kind", ["wrong", "error", "late", "local", "hung", "ended"])
def test_without_traffic_nobody_is_blamed(kind: str) -> None:
    window = Window(Traffic(Codec(b"key")), [], frozenset())
    failure = Failure(kind=kind, text="it did not work", names=("ValueError",))  # type: ignore[arg-type]
    found = blame(failure, "apply.answered", window, [], "the client")
    assert (found.party, found.requirement, found.how) == (UNDETERMINED, "apply.answered", "it did not work")


def test_what_a_client_raises_by_itself_says_where() -> None:
    try:
        _ = {}["missing"]  # type: ignore[var-annotated]
    except KeyError as error:
        failure = describe(error)
    assert failure.kind == "local"
    assert "test_interop_blame.py" in failure.text


# -- what runs on engines ----------------------------------------------------------------------------------------------


def test_a_file_is_awaited_until_something_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(TimeoutError):
        calls.await_file(str(path), 0.0)
    path.touch()
    with pytest.raises(TimeoutError):
        calls.await_file(str(path), 0.0)
    path.write_text("go", encoding="utf-8")
    assert calls.await_file(str(path), 0.0) == "go"

"""What runs already is judged, and neither started, nor ended, nor disturbed."""

import subprocess
import sys
from pathlib import Path

import pytest
from test_descriptors import ATTACHED, make

from conformance.doctor import STEPS, tried
from conformance.harness.attaching import controllers
from conformance.harness.verdict import NotApplicable
from conformance.targets import Target, TargetUnusable, load
from conformance.targets.attached import AttachedController, AttachedKernel
from conformance.targets.process import start
from conformance.targets.tables import Timing

DESCRIPTOR = """
name = "running"
dialect = "ipyparallel-9"
roles = ["controller"]
profile = ["controller-core", "controller-tasks", "controller-queries"]
features = ["shutdown"]
[controller]
attach = true
client_file = "{directory}/ipcontroller-client.json"
engine_file = "ipcontroller-engine.json"
[timing]
heartbeat_period_ms = 50
allowed_misses = 16
registration_timeout_s = 3
"""


def test_behind_curve_everything_is_judged_but_signatures() -> None:
    with start(load("reference"), {"curve": True}) as running:
        done = suite(
            running.client_path.parent, "-k", "second_engine_with_a_live or forged_registration or heart_in_a_device"
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "0 violated" in done.stdout
        assert "PASSED" in done.stdout
        assert "its connection file has no key, and without one nothing is signed: 1 case" in done.stdout
        assert running.is_running


def suite(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = directory / "running.toml"
    path.write_text(DESCRIPTOR.replace("{directory}", str(directory)))
    command = [sys.executable, "-m", "pytest", "--pyargs", "conformance", "-p", "no:cacheprovider", "-v", *arguments]
    command += ["--target", str(path)]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=100, check=False)


def test_a_running_controller_is_judged_and_goes_on() -> None:
    with start(load("reference")) as running:
        directory = running.client_path.parent
        done = suite(directory, "-k", "second_engine_with_a_live or purge_of_all or nothing_behind")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "0 violated" in done.stdout
        assert "every result forgotten, and the target is somebody else's; --destructive allows it" in done.stdout
        assert "it needs a target of its own, and what the kit is attached to is not started again" in done.stdout
        assert running.is_running
        # Harm is done only if that was asked for, and at the end.
        done = suite(directory, "--destructive", "-k", "purge_of_all or answered_and_published or exactly_one_engine")
        assert done.returncode == 0, done.stdout + done.stderr
        order = [line.split("::")[1].partition("[")[0] for line in done.stdout.splitlines() if "PASSED" in line]
        assert order[-1] == "test_a_request_to_shut_down_is_answered_and_published"
        assert order[0] == "test_a_task_reaches_exactly_one_engine"
        while running.is_running:
            running.process.wait(1.0)


def test_cases_on_what_runs_do_not_run_side_by_side(tmp_path: Path) -> None:
    done = suite(tmp_path, "-n", "2")
    assert done.returncode == 4
    assert "running runs already, and its cases cannot run side by side: leave out -n" in done.stderr


def attached(directory: Path) -> Target:
    return make(ATTACHED, directory / "mine.toml")


def test_what_does_not_run_is_said_in_one_sentence(tmp_path: Path) -> None:
    target = attached(tmp_path)
    with pytest.raises(TargetUnusable, match=r"client\.json: No such file or directory; does it run\?"):
        AttachedController(target)
    (tmp_path / "kernel.json").write_text("{")
    with pytest.raises(TargetUnusable, match=r"kernel\.json: "):
        AttachedKernel(target)


def test_beside_engines_of_others_no_engine_of_the_kit_registers() -> None:
    with controllers(load("simulated")).fresh() as subject:
        subject.avoid_strangers(2, may_register=False)
        with pytest.raises(NotApplicable, match=r"engines of its own \(2\), and one of the kit's could"):
            subject.engine()
        subject.need("mux")
        with pytest.raises(NotApplicable, match=r"which would be given the tasks"):
            subject.need("tasks")
        subject.avoid_strangers(2, may_register=True)
        assert subject.engine().registered().id is not None


def test_the_doctor_leaves_out_what_would_disturb_engines_of_others() -> None:
    with controllers(load("simulated")).fresh() as subject:
        subject.avoid_strangers(1, may_register=False)
        steps = dict(STEPS["controller"])
        assert tried(steps["an engine"], subject).startswith("left out: the cluster has engines of its own (1)")


def test_whoever_is_patient_waits_at_least_so_long() -> None:
    patient = Timing(reply_deadline_s=3.0, margin_s=1.0, heartbeat_period_ms=50).patient(60.0)
    assert (patient.reply_deadline_s, patient.margin_s, patient.heartbeat_period_ms) == (60.0, 5.0, 50)
    assert Timing(reply_deadline_s=300.0).patient(60.0).reply_deadline_s == 300.0

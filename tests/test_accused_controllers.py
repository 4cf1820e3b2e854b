"""Every mistake of a controller is found by the case that is about it, under the name of the requirement it breaks.

All broken controllers are judged in one run of the suite, each by the one case that must find it.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from broken_controller import FAULTS

from conformance.mutants.unproved import REAL_CONTROLLERS, REASONS

HERE = Path(__file__).parent

#: One run of the suite with some fifteen controllers, on a machine that may do other things.
pytestmark = pytest.mark.timeout(600)

#: Fault -> the case that must find it, and the requirement that is broken.
FOUND = {
    "silent-end": ("test_open_tasks_are_answered_when_the_controller_is_told_to_end", "task.stop-answered"),
    "waits-for-the-hub": ("test_a_stopped_hub_delays_no_request_through_mux", "storage.passive"),
    "copies-for-who-listens": (
        "test_what_passed_while_the_hub_stood_still_is_on_record_later", "storage.requests-recorded",
    ),
    "drops-the-newest": ("test_a_full_store_drops_the_oldest", "storage.limits-drop-oldest"),
    "drops-what-waits": ("test_a_full_store_drops_nothing_that_is_pending", "storage.limits-spare-pending"),
    "one-condition": (
        "test_questions_have_the_same_answers_when_records_are_on_disk", "storage.sqlite-same-answers",
    ),
    "writes-at-the-end": (
        "test_results_on_disk_survive_the_death_of_the_controller", "storage.persistent-survives",
    ),
    "forgets-engines": ("test_a_restored_controller_goes_on_with_its_peers", "registration.state-survives-restore"),
    "fresh-key": ("test_a_restored_controller_goes_on_with_its_peers", "connection.restore-keeps-addresses"),
    "keeps-its-files": (
        "test_files_that_contradict_each_other_are_not_used", "connection.mismatched-files-not-reused",
    ),
    "never-asks": ("test_a_scheduler_that_starts_later_learns_of_the_engines_there", "task.learns-engines-late"),
    "no-database": ("test_a_hub_without_database_says_so", "storage.nodb-says-so"),
    "other-hash": ("test_messages_are_signed_with_the_hash_that_the_file_names", "wire.signature-scheme"),
    "no-key": ("test_without_a_key_nothing_is_signed_and_every_signature_is_taken", "wire.empty-key-unsigned"),
    "for-everybody": ("test_only_the_owner_may_read_a_file_with_the_key", "connection.file-private"),
    "no-status": ("test_a_hub_without_database_says_so", "storage.nodb-status-works"),
    "no-purges": ("test_a_hub_without_database_says_so", "storage.nodb-purge-ok"),
    "encrypt": ("test_with_curve_the_files_have_the_servers_key_and_no_other", "connection.curve-empties-key"),
}  # fmt: skip


def descriptor(directory: Path, fault: str) -> Path:
    text = (HERE.parent / "fixtures" / "targets" / "reference.toml").read_text(encoding="utf-8")
    for before, after in (
        ('name = "reference"', f'name = "{fault}"'),
        ('"-m", "conformance.reference",', f'"{HERE / "broken_controller.py"}", "{fault}",'),
        ("[controller.options]", "[controller.options]\nno_database = []\nsignature_scheme = []\nempty_key = []"),
        ('curve = ["--curve"]', "curve = []"),
        ("reply_deadline_s = 5.0", "reply_deadline_s = 1.5"),
    ):
        assert before in text, before
        text = text.replace(before, after)
    path = directory / f"{fault}.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("targets")
    targets = [word for fault in FOUND for word in ("--target", str(descriptor(directory, fault)))]
    chosen = " or ".join(f"({case} and {fault})" for fault, (case, _) in FOUND.items())
    command = [sys.executable, "-m", "pytest", "--pyargs", "conformance", "-p", "no:cacheprovider", "-n", "2", "-q",
               *targets, "-k", chosen]  # fmt: skip
    said = ""
    for _ in range(2):
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=280, check=False)
        assert done.returncode == 1, done.stdout[-4000:] + done.stderr
        said += done.stdout
        if " undecided" not in done.stdout.splitlines()[-1]:
            break
        # The kit was held up by others. What it could not judge it is asked once more.
    return said


def test_every_fault_has_a_case() -> None:
    assert FOUND.keys() == FAULTS.keys()


def test_what_only_real_controllers_show_is_found_here() -> None:
    assert set(REASONS["controller"][REAL_CONTROLLERS]) <= {slug for _, slug in FOUND.values()}


@pytest.mark.parametrize("fault", FOUND)
def test_a_mistake_is_found_under_its_name(verdicts: str, fault: str) -> None:
    case, slug = FOUND[fault]
    failed = re.compile(rf"_ {case}\[{fault}[^]]*\] _+\n(?:\[gw\d.*\n)?MUST {re.escape(slug)}\n")
    warned = re.compile(rf"- warnings of {fault} -+\n{re.escape(slug)} ")
    assert failed.search(verdicts) or warned.search(verdicts), verdicts[-6000:]

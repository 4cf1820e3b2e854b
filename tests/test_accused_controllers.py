"""Every mistake of a controller is found by the case that is about it, under the name of the requirement it breaks.

All broken controllers are judged in one run of the suite, each by the one case that must find it.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from broken_controller import FAULTS

HERE = Path(__file__).parent

#: One run of the suite with some thirty controllers, on a machine that may do other things.
pytestmark = pytest.mark.timeout(300)

#: Fault -> the case that must find it, and the requirement that is broken.
FOUND = {
    "newest-first": ("test_under_lru_the_engine_that_waited_longest_is_next", "task.lru-order"),
    "one-more-than-the-mark": ("test_an_engine_holds_as_many_tasks_as_the_mark_says", "task.hwm-respected"),
    "zero-is-one": ("test_without_a_mark_every_task_is_given_out_at_once", "task.hwm-zero-unlimited"),
    "pure-and-picky": ("test_the_pure_scheduler_hands_out_in_turn_whatever_a_task_says", "task.pure-reads-nothing"),
    "tasks-of-all": ("test_nobody_knows_where_the_pure_scheduler_sends_tasks", "query.queue-pure-tasks-empty"),
    "one-name-for-all": ("test_a_task_for_an_unknown_engine_is_refused", "task.own-error-names"),
    "silent-end": ("test_open_tasks_are_answered_when_the_controller_is_told_to_end", "task.stop-answered"),
    "somebody-did-it": ("test_a_reply_names_the_engine_that_ran_the_task_and_tells_its_outcome", "wire.reply-true"),
    "silence-is-refusal": (
        "test_a_reply_that_does_not_speak_of_dependencies_is_a_result", "apply.metadata-dependencies-met",
    ),
    "two-branches-at-most": ("test_a_tree_of_any_depth_reaches_every_engine", "broadcast.reaches-each-target"),
    "numbers-go-back": ("test_ids_go_on_rising_after_a_refusal", "registration.id-never-reused"),
    "waits-for-the-hub": ("test_a_stopped_hub_delays_no_request_through_mux", "storage.passive"),
    "copies-for-who-listens": (
        "test_what_passed_while_the_hub_stood_still_is_on_record_later", "storage.requests-recorded",
    ),
    "pending-until-fetched": (
        "test_every_message_is_in_one_place_and_what_engines_hold_is_pending", "storage.pending-completed-disjoint",
    ),
    "records-no-mux": ("test_a_request_through_mux_is_on_record_with_its_result", "storage.requests-recorded"),
    "one-queue": ("test_a_task_is_on_record_with_its_result", "storage.queue-named"),
    "no-client": ("test_a_request_through_mux_is_on_record_with_its_result", "storage.client-and-engine-named"),
    "no-label": ("test_a_record_has_all_its_fields_before_and_after_the_result", "storage.record-fields"),
    "completed-long-ago": ("test_the_times_of_a_record_follow_each_other", "storage.times-ordered"),
    "last-word-counts": ("test_a_second_result_does_not_change_the_record", "storage.late-result-once"),
    "on-record-when-given-out": (
        "test_a_task_is_on_record_before_an_engine_has_it", "storage.intask-recorded-on-submission",
    ),
    "aborted-is-completed": (
        "test_an_aborted_task_has_a_result_and_does_not_count_as_completed", "storage.aborted-not-completed-by-engine",
    ),
    "forgets-the-dead": (
        "test_a_result_is_there_when_client_and_engine_have_gone", "storage.results-of-dead-engines",
    ),
    "decides-about-tasks": (
        "test_a_task_of_a_dead_engine_is_pending_until_the_scheduler_has_decided",
        "storage.stranded-tasks-left-to-scheduler",
    ),
    "done-is-still-queued": (
        "test_every_message_is_in_one_place_and_what_engines_hold_is_pending", "storage.sets-within-pending",
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
    "no-database": ("test_a_hub_without_database_says_so", "storage.nodb-says-so"),
    "other-hash": ("test_messages_are_signed_with_the_hash_that_the_file_names", "wire.signature-scheme"),
    "no-key": ("test_without_a_key_nothing_is_signed_and_every_signature_is_taken", "wire.empty-key-unsigned"),
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
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 1, done.stdout[-4000:] + done.stderr
    return done.stdout


def test_every_fault_has_a_case() -> None:
    assert FOUND.keys() == FAULTS.keys()


@pytest.mark.parametrize("fault", FOUND)
def test_a_mistake_is_found_under_its_name(verdicts: str, fault: str) -> None:
    case, slug = FOUND[fault]
    failed = re.compile(rf"_ {case}\[{fault}[^]]*\] _+\n(?:\[gw\d.*\n)?MUST {re.escape(slug)}\n")
    warned = re.compile(rf"- warnings of {fault} -+\n{re.escape(slug)} ")
    assert failed.search(verdicts) or warned.search(verdicts), verdicts[-6000:]

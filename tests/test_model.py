"""The model of conversations: it finds mistakes by itself, makes them short, keeps them, and accuses nobody else."""

from pathlib import Path
from types import SimpleNamespace
from typing import Literal, cast

import msgspec
import pytest
from click.testing import CliRunner, Result

from conformance.cli import main
from conformance.harness.actors import Client, Engine
from conformance.harness.controller import Controller
from conformance.model.answers import entries
from conformance.model.hunt import Failure, Hunt
from conformance.model.ledger import Job, Ledger, Peer, Run
from conformance.model.matters import open_matters
from conformance.model.player import Player
from conformance.model.stage import KitFailed, Stage, avoided, key_of
from conformance.model.steps import (
    CHOICES,
    WEIGHTS,
    Answer,
    Ask,
    Begin,
    Cast,
    Conversation,
    Leave,
    Purge,
    Quiet,
    Register,
    Restart,
    Shutdown,
    Step,
    Submit,
    Wait,
    Work,
    draw,
    mistake,
)
from conformance.model.vectors import VectorError, conversation_from, read, vector_of, write
from conformance.targets import Deviation, load
from protocol.damage import Given
from protocol.roles.task import TaskScheduler
from protocol.wire import Message
from protocol.world import SECOND, Observation

#: Mistakes of different kinds: of the Hub, of a relay, of the scheduler, of the heart monitor.
FOUND = ("answers-who-asked-last", "holds-two", "gives-up-early")


def hunted(mutant: str, conversations: int = 40) -> Hunt:
    search = Hunt(Stage(load(f"simulated+{mutant}")))
    for _ in range(conversations):
        if search.step():
            return search
    pytest.fail(f"{mutant} was not found in {conversations} conversations")


@pytest.fixture(scope="module")
def innocent() -> Stage:
    return Stage(load("simulated"))


def test_a_controller_that_makes_no_mistake_is_accused_of_none(innocent: Stage) -> None:
    search = Hunt(innocent, seed=3)
    found = [failure.violation for _ in range(12) for failure in search.step()]
    assert found == []
    assert search.progress.steps > 12 * 10
    assert len(search.coverage) > 60


@pytest.mark.parametrize("kind", CHOICES, ids=lambda kind: kind.__name__)
def test_each_kind_of_step_can_be_played_in_any_state(kind: type[Step], innocent: Stage) -> None:
    rows = [draw(kind, Given([number] * 20)) for number in range(3)]
    conversation = msgspec.convert(msgspec.to_builtins([*rows, Register(), Quiet(), *rows]), Conversation)
    outcome = innocent.play(conversation)
    assert outcome.violations == []
    assert len(outcome.marks) >= 1


def test_a_name_that_expired_and_came_again_accuses_nobody(innocent: Stage) -> None:
    late = (Register(heart="mute"), Wait(periods=7, is_long=True), Register(), Quiet(), Wait(periods=4))
    assert innocent.play(late).violations == []


def test_what_an_engine_had_that_has_just_vanished_is_not_over_yet(innocent: Stage) -> None:
    conversation = (
        Register(), Wait(periods=2), Submit(), Quiet(), Leave(how="vanishes"), Ask(question="results-done"),
    )  # fmt: skip
    assert innocent.play(conversation).violations == []


@pytest.mark.parametrize("is_known", [False, True])
def test_who_was_given_up_answers_late_only_where_that_harms_nobody(is_known: bool) -> None:
    stage = Stage(load("simulated"))
    stage.avoid = frozenset({"task.stranger-reply-dropped"} if is_known else ())
    outcome = stage.play((
        Register(), Wait(periods=2), Submit(queue="task", order="retry"), Register(engine=1), Wait(periods=2),
        Leave(), Quiet(), Work(),
    ))  # fmt: skip
    late = [
        seen for seen in outcome.observations
        if (seen.observer, seen.channel, seen.direction) == ("engine-1", "task", "sent")
    ]  # fmt: skip
    assert outcome.violations == []
    assert len(late) == (0 if is_known else 1)


def test_a_task_need_not_follow_to_where_another_was_refused(innocent: Stage) -> None:
    conversation = (
        Register(), Purge(), Submit(queue="task"), Submit(queue="task", order="follow-any-end"), Submit(queue="task"),
        Register(engine=1), Wait(periods=2), Submit(queue="task", engine=3), Work(rounds=0), Answer(how="refused"),
        Submit(queue="task", order="follow-either-any-end", about=5),
    )  # fmt: skip
    assert innocent.play(conversation).violations == []


def test_a_registration_whose_heart_is_not_heard_gives_its_name_back() -> None:
    late = (Register(heart="mute"), Wait(periods=7, is_long=True), Register(), Quiet())
    found = Stage(load("simulated+waits-for-ever")).play(late).violations
    assert "registration.request-answered" in {each.requirement for each in found}


@pytest.mark.parametrize("mutant", FOUND)
def test_a_mistake_is_found_without_being_told(mutant: str) -> None:
    assert hunted(mutant).failures


#: One engine that is given three tasks at once, and what has nothing to do with it.
CROWDED: Conversation = (
    Ask(), Register(), Quiet(), Ask(question="history"), Submit(queue="mux"), Answer(), Submit(queue="task"),
    Wait(), Submit(queue="task", client=2), Cast(), Submit(queue="task"), Quiet(), Purge(),
)  # fmt: skip


def crowded() -> tuple[Hunt, Failure]:
    """The failure of one who gives an engine two tasks where only one may be, in this conversation."""
    stage = Stage(load("simulated+holds-two"))
    search, outcome = Hunt(stage), stage.play(CROWDED)
    violation = next(each for each in outcome.violations if each.requirement == "task.hwm-respected")
    return search, Failure(key_of(violation), violation, outcome, 0)


def test_a_failure_is_made_short_and_still_fails_in_the_same_way() -> None:
    search, failure = crowded()
    search.shorten(failure)
    assert len(failure.outcome.conversation) <= 4
    assert failure.key in Stage(search.target).play(failure.outcome.conversation).keys
    assert failure.is_short


def test_each_way_to_fail_is_told_once() -> None:
    search = hunted("answers-in-pairs")
    keys = set(search.failures)
    told = [failure.key for _ in range(4) for failure in search.step()]
    assert len(told) == len(set(told))
    assert keys.isdisjoint(told)
    assert sum(failure.count for failure in search.failures.values()) > len(search.failures)


def test_the_same_seed_has_the_same_conversations(innocent: Stage) -> None:
    one, other = Hunt(innocent, seed=7), Hunt(innocent, seed=7)
    for _ in range(3):
        one.step()
        other.step()
    assert one.corpus
    assert one.corpus == other.corpus
    assert one.coverage == other.coverage


def test_a_hunt_goes_on_where_it_stopped(innocent: Stage, tmp_path: Path) -> None:
    first = Hunt(innocent, seed=1, folder=tmp_path)
    for _ in range(4):
        first.step()
    first.save()
    second = Hunt(innocent, seed=1, folder=tmp_path)
    assert second.corpus == first.corpus
    assert second.coverage == first.coverage
    assert second._number == 4


def test_what_a_descriptor_lists_is_known_and_not_told() -> None:
    target = load("simulated+holds-two")
    listed = Deviation(slug="task.hwm-respected", evidence="by hand", reason="two are better")
    outcome = Stage(msgspec.structs.replace(target, deviations=(listed,))).play(CROWDED)
    assert "task.hwm-respected" in {each.requirement for each in outcome.known}
    assert "task.hwm-respected" not in {each.requirement for each in outcome.violations}


def test_what_was_found_must_fit_what_a_descriptor_lists() -> None:
    listed = Deviation(slug="wire.reply-true", evidence="by hand", reason="so it is", found="a reply of *")
    assert listed.excuses("wire.reply-true", "a reply of nobody")
    assert not listed.excuses("wire.reply-true", "another reply")
    assert not listed.excuses("wire.reply-parent", "a reply of nobody")
    # What is known of one message says nothing of another.
    assert not Deviation(slug="wire.reply-true", evidence="by hand", reason="so it is").excuses("wire.reply-true", "x")


def test_what_a_descriptor_lists_of_one_case_is_avoided_and_not_known_in_conversations() -> None:
    of_a_case = Deviation(slug="query.db-all", evidence="by hand", reason="so it is", case="test_everything")
    in_words = Deviation(slug="query.history-once", evidence="by hand", reason="so it is", found="* twice")
    assert not of_a_case.excuses("query.db-all", "a refusal")
    assert in_words.excuses("query.history-once", "3 entries, some twice")
    assert avoided([of_a_case, in_words]) == {"query.db-all"}


#: On real sockets: something is done and known, then the controller is killed and comes again.
RESTARTED: Conversation = (
    Begin(database=True), Register(), Quiet(), Submit(), Quiet(), Work(), Restart(),
)  # fmt: skip


@pytest.mark.parametrize("lost", [(), ("database",)], ids=["kept", "lost"])
def test_what_was_known_before_a_restart_is_known_after_it(
    lost: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    restart, restarts = Controller.restart, []

    def restarted(self: Controller) -> None:
        self._settings = {name: value for name, value in self._settings.items() if name not in lost}
        restart(self)
        restarts.append(self)

    monkeypatch.setattr(Controller, "restart", restarted)
    stage = Stage(load("reference"))
    try:
        outcome = stage.play(RESTARTED)
    finally:
        stage.close()
    assert len(restarts) == 1
    expected = {"storage.persistent-survives"} if lost else set()
    assert {each.requirement for each in outcome.violations} == expected


def test_a_kit_that_cannot_play_a_conversation_says_so_and_goes_on(
    innocent: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stumble(_: Player, __: Step) -> None:
        raise ZeroDivisionError("a mistake of the kit")

    monkeypatch.setattr(Player, "do_quiet", stumble)
    with pytest.raises(KitFailed, match="a mistake of the kit") as failed:
        innocent.play((Register(), Quiet()))
    assert failed.value.conversation == (Register(), Quiet())
    monkeypatch.setattr(Hunt, "_invent", lambda *_: (Quiet(),))
    found = ippkit("hunt", "--minutes", "0.001", "--out", str(tmp_path / "found"))
    assert found.exit_code == 3
    assert "ZeroDivisionError: a mistake of the kit" in found.output


def test_every_step_can_be_written_and_read_again() -> None:
    for kind in WEIGHTS:
        step = draw(kind, Given([2, 1, 3, 0, 1, 2, 5]))
        assert mistake(step) is None
        again = msgspec.json.decode(msgspec.json.encode([step]), type=Conversation)
        assert again == (step,)


# -- vectors and commands ----------------------------------------------------------------------------------------------


def ippkit(*words: str) -> Result:
    return CliRunner().invoke(main, words)


@pytest.fixture(scope="module")
def vector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    _, failure = crowded()
    folder = tmp_path_factory.mktemp("vectors")
    return write(folder, vector_of(failure.outcome, failure.violation, target="simulated+holds-two", seed=0))


def test_a_vector_says_what_was_said_and_what_was_allowed(vector: Path) -> None:
    found = read(vector)
    assert vector.name == f"{found.requirement}-1.json"
    assert found.blame == "the target"
    assert found.expected
    assert found.roles["client-1"] == "client"
    sent = [row for row in found.frames if row["direction"] == "sent"]
    assert {"utf8": "<IDS|MSG>"} in sent[0]["frames"]
    assert max(row["step"] for row in found.frames) < len(found.steps)
    assert conversation_from_steps(vector) == found.steps


def conversation_from_steps(vector: Path) -> Conversation:
    path = vector.with_suffix(".steps")
    path.write_bytes(msgspec.json.encode(msgspec.json.decode(vector.read_bytes())["steps"]))
    return conversation_from(path)


def test_a_vector_is_replayed_and_explained(vector: Path) -> None:
    result = ippkit("replay", str(vector))
    assert result.exit_code == 1
    assert f"MUST {read(vector).requirement}" in result.output
    assert "at fault: the target" in result.output
    assert "what happened:" in result.output


def test_a_replay_on_somebody_who_makes_no_mistake_says_so(vector: Path) -> None:
    result = ippkit("replay", str(vector), "-t", "simulated")
    assert result.exit_code == 0
    assert "Nothing is violated" in result.output


WRONG = {
    "{": "is no conversation: Input data was truncated",
    "[]": "is no conversation: Expected `object`, got `array`",
    '{"format": "other", "target": "t", "seed": 0, "requirement": "r", "blame": "b", "found": "f", "expected": [], '
    '"steps": []}': "its format is 'other'",
    '{"format": "ippkit-conversation-1", "target": "t", "seed": 0, "requirement": "r", "blame": "b", "found": "f", '
    '"expected": [], "steps": [{"do": "submit", "order": "no-such"}]}': "step 1: submit has no order 'no-such'",
    '{"format": "ippkit-conversation-1", "target": "t", "seed": 0, "requirement": "r", "blame": "b", "found": "f", '
    '"expected": [], "steps": [{"do": "dance"}]}': "Invalid value 'dance'",
}


@pytest.mark.parametrize(("text", "sentence"), WRONG.items(), ids=range(len(WRONG)))
def test_a_file_that_is_no_vector_gets_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(text)
    with pytest.raises(VectorError) as refused:
        read(path)
    assert sentence in str(refused.value)
    result = ippkit("replay", str(path))
    assert result.exit_code == 4
    assert len(result.output.strip().splitlines()) == 1


def test_a_hunt_tells_of_each_failure_and_how_to_see_it_again(tmp_path: Path) -> None:
    result = ippkit(
        "hunt", "--mutant", "answers-in-pairs", "--minutes", "0.2", "--first", "--out", str(tmp_path / "found")
    )
    assert result.exit_code == 1
    assert "query.answered-in-order" in result.output
    path = next((tmp_path / "found").glob("*.json"))
    assert f"ippkit replay {path} -t simulated+answers-in-pairs" in result.output
    assert "one way to fail" in result.output or "ways to fail" in result.output


def test_a_hunt_that_finds_nothing_shows_what_it_reached(tmp_path: Path) -> None:
    result = ippkit("hunt", "--minutes", "0.01", "--corpus", str(tmp_path / "corpus"), "--out", str(tmp_path / "out"))
    assert result.exit_code == 0
    assert "nothing was violated" in result.output
    assert "kinds of message" in result.output
    assert (tmp_path / "corpus" / "state.json").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("-t", "no-such-target"), "no-such-target"),
        (("--mutant", "no-such-mutant"), "no-such-mutant"),
        (("-t", "reference-engine"), "is no controller"),
        (("--minutes", "0"), "--minutes"),
    ],
)
def test_wrong_words_get_one_sentence(words: tuple[str, ...], sentence: str) -> None:
    result = ippkit("hunt", *words)
    assert result.exit_code == 4
    assert sentence in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_a_conversation_ends_with_the_controller(innocent: Stage) -> None:
    outcome = innocent.play((Register(), Shutdown(), Quiet()))
    assert outcome.violations == []
    types = [each.message.msg_type for each in outcome.observations if each.message is not None]
    assert "shutdown_reply" in types
    assert "shutdown_notification" in types


def test_a_role_that_falls_before_anything_is_said_to_it_is_accused(monkeypatch: pytest.MonkeyPatch) -> None:
    def falls(*_: object) -> None:
        raise TypeError("no engine was expected")

    monkeypatch.setattr(TaskScheduler, "_came", falls)
    outcome = Stage(load("simulated")).play([])
    (violation,) = outcome.violations
    assert violation.requirement == "wire.malformed-harms-nobody"
    assert "TypeError: no engine was expected while tasks" in violation.found


@pytest.mark.parametrize("was_refused", [True, False])
@pytest.mark.parametrize("has_vanished", [True, False])
def test_a_task_may_have_been_given_to_an_engine_whose_death_is_not_known_yet(
    has_vanished: bool, was_refused: bool
) -> None:
    book, timing = Ledger(hwm=1, is_alone=False), load("ipyparallel").timing
    for slot, is_there in enumerate((True, not has_vanished)):
        engine = cast("Engine", SimpleNamespace(is_open=is_there, uuid=f"engine-{slot}", name=f"engine-{slot}"))
        book.peers.append(
            Peer(slot, engine, state="here" if is_there else "gone", gone_at=0 if is_there else 3 * SECOND)
        )
    header = {"msg_id": "client-1_1", "msg_type": "apply_request"}
    job = Job(Message(header, metadata={}, content={}), cast("Client", SimpleNamespace()), "task", at=SECOND)
    if was_refused:
        other = Peer(2, cast("Engine", SimpleNamespace(is_open=True, uuid="engine-2", name="engine-2")), state="here")
        book.peers.append(other)
        job.runs.append(Run(other, cast("Observation", SimpleNamespace()), at=SECOND, end="refused"))
    book.add(job)
    (matter,) = open_matters(book, timing, SECOND)
    assert matter.slug == ("task.unmet-is-rerouted" if was_refused else "task.no-starvation")
    since = 3 * SECOND + timing.scheduler_grace + timing.margin if has_vanished else SECOND
    assert matter.due == since + timing.reply_deadline


def test_what_was_given_to_somebody_who_took_a_contested_name_is_lost_with_that_one() -> None:
    book, timing = Ledger(hwm=1, is_alone=False), load("ipyparallel").timing
    for slot, state in enumerate(("here", "gone")):
        engine = cast("Engine", SimpleNamespace(is_open=not slot, uuid=f"engine-{slot}", name=f"engine-{slot}"))
        book.peers.append(Peer(slot, engine, state=cast("Literal['here', 'gone']", state)))
    book.contested.add("engine-1")
    header = {"msg_id": "client-1_1", "msg_type": "apply_request"}
    book.add(Job(Message(header, metadata={}, content={}), cast("Client", SimpleNamespace()), "task", at=SECOND))
    player = cast("Player", SimpleNamespace(book=book))

    def announce(msg_type: str, now: int) -> None:
        message = Message({"msg_id": "hub_1", "msg_type": msg_type}, content={"id": 9, "uuid": "engine-1"})
        assert book.is_strange("engine-1")
        Player._note_stranger(player, message, "engine-1", cast("Observation", SimpleNamespace(now=now)))

    announce("registration_notification", 2 * SECOND)
    assert list(open_matters(book, timing, SECOND)) == []
    announce("unregistration_notification", 3 * SECOND)
    (matter,) = open_matters(book, timing, SECOND)
    assert matter.due == 3 * SECOND + timing.scheduler_grace + timing.margin + timing.reply_deadline
    assert book.findings == []


@pytest.mark.parametrize(("is_listed", "is_verbose"), [(True, True), (True, False), (False, True), (False, False)])
def test_the_hub_may_know_where_a_task_is_before_its_engine_has_read_it(is_listed: bool, is_verbose: bool) -> None:
    book = Ledger()
    peer = Peer(0, cast("Engine", SimpleNamespace(id=2)), state="here")
    header = {"msg_id": "m1", "msg_type": "apply_request"}
    job = Job(Message(header, metadata={}, content={}), cast("Client", SimpleNamespace()), "task", at=SECOND)
    book.add(job)
    lists: dict[str, list[str]] = {"queue": [], "completed": [], "tasks": ["m1"] if is_listed else []}
    entry = lists if is_verbose else {name: len(ids) for name, ids in lists.items()}
    check = entries(book, [peer], verbose=is_verbose)
    assert list(check(Message({}, content={"2": entry}))) == []
    lists["queue"] = ["m1"]
    if is_verbose:
        assert [each.slug for each in check(Message({}, content={"2": lists}))] == ["query.queue-mux-outstanding"]

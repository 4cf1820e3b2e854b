"""A hunt says of each failure whether it came again, and whether it needs what the controller had heard before."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from conformance.cli import main
from conformance.model.hunt import ALONE, Failure, Hunt
from conformance.model.stage import Outcome, Stage, key_of
from conformance.model.steps import Ask, Conversation, Quiet, Register, Submit, Wait
from conformance.model.vectors import Vector, read, vector_of, write
from conformance.targets import load
from protocol.rules import Violation

NEEDED: Conversation = (Ask(), Register())
OTHERS: tuple[Conversation, ...] = ((Ask(),), NEEDED, (Wait(),), (Quiet(),))
WHOLE: Conversation = (Register(), Ask(), Submit(queue="task"), Wait(), Quiet())


def violation() -> Violation:
    return Violation(
        requirement="task.no-starvation", rule="task.no-starvation.model", guilty="the target", evidence=(),
        found="the apply_request one came to no engine", allowed=("it runs",), now=0,
    )  # fmt: skip


class Scripted(Stage):
    """A stage on which a task starves, or does not, by what was said before; it notes what it is asked to play."""

    def __init__(self, needs: Sequence[Conversation] | None) -> None:
        super().__init__(load("simulated"))
        self.needs = needs
        self.played: list[tuple[Conversation, Sequence[Conversation] | None]] = []

    def play(self, conversation: Conversation, *, after: Sequence[Conversation] | None = None) -> Outcome:
        self.played.append((conversation, after))
        is_failing = (
            self.needs is not None
            and any(isinstance(step, Submit) for step in conversation)
            and all(each in (after or ()) for each in self.needs)
        )
        return Outcome(conversation, [violation()] if is_failing else [])


def shortened(stage: Stage) -> Failure:
    outcome = Outcome(WHOLE, [violation()], before=OTHERS)
    failure = Failure(key_of(violation()), violation(), outcome, 0)
    Hunt(stage).shorten(failure)
    return failure


def test_what_fails_by_itself_needs_nothing_before_it() -> None:
    stage = Scripted(needs=())
    failure = shortened(stage)
    assert failure.is_again is True
    assert failure.before == ()
    assert [type(step) for step in failure.outcome.conversation] == [Submit]
    assert stage.played[0] == (WHOLE, ())


def test_what_fails_only_after_another_conversation_is_told_with_that_one_alone() -> None:
    failure = shortened(Scripted(needs=[NEEDED]))
    assert failure.is_again is True
    assert failure.before == (NEEDED,)
    assert [type(step) for step in failure.outcome.conversation] == [Submit]


def test_what_does_not_fail_again_is_left_as_it_was_and_said_to_be_so() -> None:
    stage = Scripted(needs=None)
    failure = shortened(stage)
    assert failure.is_again is False
    assert failure.outcome.conversation == WHOLE
    assert [after for _, after in stage.played] == [()] * ALONE + [OTHERS]


def test_a_controller_that_others_have_talked_to_is_known_by_what_they_said() -> None:
    stage = Stage(load("reference"))
    try:
        first = stage.play((Register(), Wait(periods=2)))
        second = stage.play((Ask(),))
        fresh = stage.play((Ask(),), after=())
        after = stage.play((Ask(),), after=[(Quiet(),)])
    finally:
        stage.close()
    assert (first.before, second.before) == ((), ((Register(), Wait(periods=2)),))
    assert (fresh.before, after.before) == ((), ((Quiet(),),))
    assert [each for outcome in (first, second, fresh, after) for each in outcome.violations] == []


@pytest.mark.parametrize("before", [(), (NEEDED,)])
def test_a_vector_holds_what_must_be_said_before(before: tuple[Conversation, ...], tmp_path: Path) -> None:
    vector = vector_of(Outcome((Ask(),)), violation(), target="simulated", seed=3, before=before)
    path = write(tmp_path, vector)
    found = read(path)
    assert isinstance(found, Vector)
    assert (found.before, found.steps, found.seed) == (before, (Ask(),), 3)
    result = CliRunner().invoke(main, ["replay", str(path)])
    assert result.exit_code == 0
    assert ("after other conversations (1)" in result.output) is bool(before)


def test_a_hunt_says_of_what_did_not_come_again_that_it_is_to_be_read_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Conversation] = []

    def play(_: Stage, conversation: Conversation, **__: object) -> Outcome:
        seen.append(conversation)
        # Only the very first one fails.
        return Outcome(conversation, [violation()] if len(seen) == 1 else [])

    monkeypatch.setattr(Stage, "play", play)
    result = CliRunner().invoke(main, ["hunt", "--first", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert f"it did not come again in {ALONE} plays" in result.output
    assert read(tmp_path / "task.no-starvation-1.json").steps == seen[0]

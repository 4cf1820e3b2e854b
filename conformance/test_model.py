"""Conversations that nobody wrote down: Hypothesis invents them, and a ledger knows what everybody is owed.

Several clients, engines and hearts do what they like, right and wrong, and in the end everything that is open must be
done, everybody must be able to work, and all views must agree. `ippkit hunt` does the same without end. The
conversations are the same in every run.
"""

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from conformance.harness.case import needs, requirement
from conformance.harness.controller import Controller
from conformance.model.machine import machine
from conformance.model.stage import avoided
from conformance.targets.descriptor import Target

#: Conversations with a controller in virtual time, and with a real one; and the steps of each, at most.
VIRTUAL, REAL, STEPS = 10, 3, 30


@needs("queue", "results", "purge", "db", "history", "resubmit", "mux", "tasks", "control", "iopub", "broadcast")
@requirement("wire.every-request-answered")
def test_conversations_that_nobody_wrote_down(fresh_controller: Controller, target: Target) -> None:
    known = [each for each in target.deviations if not each.unreviewed]
    conversations = machine(
        fresh_controller,
        avoid=avoided(known),
        is_excused=lambda slug, found: any(each.excuses(slug, found) for each in known),
    )
    run_state_machine_as_test(
        conversations,
        settings=settings(
            max_examples=VIRTUAL if target.is_simulated else REAL,
            stateful_step_count=STEPS,
            derandomize=True,
            database=None,
            deadline=None,
            # A real controller does not do the same twice, and a short conversation is what `ippkit hunt` looks for.
            phases=[Phase.generate, *([Phase.shrink] if target.is_simulated else [])],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
    if conversations.collected:
        raise conversations.collected[0]

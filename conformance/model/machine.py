"""Conversations that Hypothesis invents: a state machine with one rule for each kind of step.

    run_state_machine_as_test(lambda: machine(player), settings=...)

There are no bundles: steps name parties by small numbers, and mean something in every state (`steps`), so that
whatever Hypothesis leaves out, to find the shortest conversation that fails, the rest can be played.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from conformance.harness.verdict import Finding, Violated, finding_of
from conformance.model.player import Player
from conformance.model.stage import key_of
from conformance.model.steps import AT, CHOICES, WEIGHTS, Damage, Register, Step, Submit, Wait

if TYPE_CHECKING:
    from conformance.harness.controller import Controller


def steps_of(kind: type[Step]) -> st.SearchStrategy[Step]:
    """Steps of one kind."""
    fields: dict[str, st.SearchStrategy[Any]] = {
        name: st.sampled_from(values) for name, values in CHOICES[kind].items()
    }  # fmt: skip
    if kind is Damage:
        fields["numbers"] = st.tuples(*[st.integers(0, (1 << 16) - 1)] * 4)
    if kind is Submit:
        return st.one_of(
            [st.builds(kind, **fields | {"queue": st.just(queue), "order": st.sampled_from(orders)})
             for queue, orders in AT.items()]
        )  # fmt: skip
    return st.builds(kind, **fields)


class Conversations(RuleBasedStateMachine):
    """Base of the machines: a controller that all conversations of a run share, and what came of them.

    A violation ends a conversation when all of it was played, so that what is shrunk fails in the end, and not on the
    way: which message shows a mistake first is a matter of the moment.
    """

    controller: Controller
    is_excused: Callable[[str, str], bool]
    avoid: frozenset[str]
    #: What was found where nothing can be repeated.
    collected: list[Violated]

    def __init__(self) -> None:
        super().__init__()
        self.controller.end_case()
        self.controller.begin_case()
        self.player = Player(self.controller, avoid=self.avoid, is_known=self.is_excused)
        self.player.begin()
        for step in (Register(engine=0), Register(engine=1), Wait(periods=2)):
            self.player.play(step)

    def teardown(self) -> None:
        """Let everything end, then judge."""
        self.player.finish()
        seen = self.player.violations()
        self.player.leave()
        found = [each for each in seen if not self.is_excused(each.requirement, each.found)]
        if found:
            first = min(found, key=key_of)
            violated = Violated(_with_steps(finding_of(first), self.player.steps), first.requirement)
            if self.player.is_virtual:
                raise violated
            # A real controller need not do the same again, and Hypothesis would ask it to.
            self.collected.append(violated)


def _with_steps(finding: Finding, steps: list[Step]) -> Finding:
    told = "; ".join(map(repr, steps))
    return Finding(f"{finding.found}\nafter: {told}", finding.allowed, finding.guilty, finding.evidence)


def machine(
    controller: Controller, *, avoid: frozenset[str], is_excused: Callable[[str, str], bool]
) -> type[Conversations]:
    """The machine whose conversations are had with this controller; kinds of steps come as often as their weights."""
    rules: dict[str, Any] = {}
    for kind, weight in WEIGHTS.items():
        for number in range(max(1, weight // 4)):
            name = f"{kind.__name__.lower()}_{number}"
            rules[name] = rule(step=steps_of(kind))(_playing(name))
    own = {"controller": controller, "avoid": avoid, "is_excused": staticmethod(is_excused), "collected": []}
    return type("Conversation", (Conversations,), rules | own)


def _playing(name: str) -> Callable[[Conversations, Step], None]:
    def play(self: Conversations, step: Step) -> None:
        self.player.play(step)

    # Hypothesis tells rules apart by name.
    play.__name__ = name
    return play


__all__ = ["Conversations", "machine", "steps_of"]

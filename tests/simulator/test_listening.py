"""Rules say what they listen to, so that most are not called for most messages: nothing may get lost by that."""

from typing import Any

import pytest

from protocol.rules import Judge, Rule
from protocol.rules.framework import Kind, Note, Observe
from protocol.wire import Message
from simulator import recorder
from simulator.run import Outcome, Setup, run


class Attentive(Judge):
    """Calls every rule for everything on its channels."""

    def is_deaf_to(self, output: Message) -> bool:  # noqa: ARG002 - as the base
        return False

    def _who_hears(self, key: tuple[Any, ...]) -> tuple[Observe, ...]:
        listeners = (Rule.listener(rule, Kind(*key)) for rule in self.rules)
        return tuple(one for one in listeners if one is not None)

    def _who_heeds(self, name: str) -> tuple[Note, ...]:  # noqa: ARG002 - as the base
        return tuple(rule.note for rule in self.rules)


def verdict(outcome: Outcome) -> tuple[list[str], list[str], frozenset[str]]:
    assert outcome.judgement is not None
    return outcome.violations, outcome.excused, outcome.judgement.exercised


@pytest.mark.parametrize("seed", [3, 8])
def test_whoever_does_not_listen_would_have_nothing_to_say(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = Setup(seed=seed)
    found = verdict(run(setup))
    monkeypatch.setattr(recorder, "Judge", Attentive)
    assert verdict(run(setup)) == found
    assert len(found[2]) > 50

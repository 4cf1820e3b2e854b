"""The text of an accusation: which part of the traffic it shows."""

from types import SimpleNamespace
from typing import Any

import make_logs

from conformance.judging import by_rules
from protocol.rules import RULES, Judge
from protocol.world import Observation

LATER = 40


def accusation(case_start: int) -> str:
    """What is told of a second answer to one request, seen by a rule while a case runs that began at `case_start`."""
    story = make_logs.Story()
    request = story.ask("client-1", "connection_request", {})
    for _ in range(2):
        story.answer(request, "connection_reply", {"status": "ok", "engines": {}})
    for _ in range(LATER):
        story.connect(party="client-2")
    judge = Judge(RULES, story.setting)
    judge.feed(story.items, story.now)
    seen = [item for item in story.items if isinstance(item, Observation)]
    subject: Any = SimpleNamespace(
        name="demo", world=SimpleNamespace(observations=story.items), observations=seen[case_start:], robbed=str
    )
    (result,) = by_rules("test_a.py::test_x", subject, judge.violations, command="ippkit test -t demo")
    assert result.requirement == "wire.at-most-one-reply"
    return result.details


def test_what_a_rule_saw_in_this_case_is_shown_with_the_traffic_of_the_case() -> None:
    told = accusation(case_start=0)
    assert told.count("client-1/query") == 3
    assert "client-2/query" in told


def test_what_a_rule_saw_before_this_case_is_shown_with_the_traffic_of_its_sockets_then() -> None:
    told = accusation(case_start=LATER)
    assert told.count("client-1/query") == 3
    assert told.count("\n!") >= 2
    assert "client-2/query" not in told

"""The version rules of 2011."""

from typing import Any

import pytest

from protocol.versions import RULES, check, numbers


@pytest.mark.parametrize(
    ("version", "expected"),
    [("2.1.4", (2, 1, 4)), ("2.1.10", (2, 1, 10)), ("2.1.7rc2", (2, 1, 7, 2)), ("2.1", (2, 1)), ("v3", (3,))],
)
def test_a_version_is_its_numbers(version: str, expected: tuple[int, ...]) -> None:
    assert numbers(version) == expected


def test_text_without_numbers_is_no_version() -> None:
    with pytest.raises(ValueError, match="'unknown' is no version"):
        check("pyzmq", "unknown")


@pytest.mark.parametrize(
    ("component", "version", "how", "expected"),
    [
        ("pyzmq", "2.1.3", {}, "refuse"),
        ("pyzmq", "2.1.4", {}, "pass"),
        ("pyzmq", "2.1", {}, "refuse"),
        ("pyzmq", "2.1.10", {}, "pass"),
        ("pyzmq", "10.0.0", {}, "pass"),
        ("pyzmq", "2.1dev", {}, "pass"),
        ("pyzmq", "2.0.10dev", {"platform": "windows"}, "pass"),
        ("pyzmq", "2.1.4", {"platform": "windows"}, "refuse"),
        ("pyzmq", "2.1.6", {"platform": "windows"}, "refuse"),
        ("pyzmq", "2.1.7", {"platform": "windows"}, "pass"),
        ("pyzmq", "2.1.10", {"platform": "windows"}, "pass"),
        ("pyzmq", "2.1.4", {"platform": "windows", "package": "IPython.zmq"}, "pass"),
        ("pyzmq", "2.1.3", {"package": "IPython.zmq"}, "refuse"),
        ("libzmq", "2.1.11", {}, "pass"),
        ("libzmq", "3.2.5", {}, "pass"),
        ("libzmq", "4.0.0", {}, "warn"),
        ("libzmq", "10.0.0", {}, "warn"),
        ("libzmq", "2.2.0", {"text": "before"}, "pass"),
        ("libzmq", "3.0.0", {"text": "before"}, "warn"),
        ("libzmq", "4.3.5", {"text": "before"}, "warn"),
    ],
)
def test_what_happens_with_a_version(component: Any, version: str, how: dict[str, Any], expected: str) -> None:
    assert check(component, version, **how) == expected


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_its_effect_exactly_at_its_limit(rule: Any) -> None:
    how = {"package": rule.packages[0], "platform": rule.platforms[0], "text": rule.texts[0]}
    at_limit = check(rule.component, rule.limit, **how)
    below = check(rule.component, ".".join(map(str, (*numbers(rule.limit)[:-1], -1))).replace("-1", "") + "0", **how)
    assert at_limit == (rule.effect if rule.side == "from" else "pass")
    if numbers(rule.limit)[-1]:
        assert below == (rule.effect if rule.side == "below" else "pass")

"""Patterns of messages that are allowed, and how far a message is from each.

A failure shows every message that was allowed in that state, and the nearest one field by field.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from conformance.harness.verdict import Finding, Violated
from protocol.world import Observation

Check = Callable[[object], str | None]


class Missing:
    """Stands for a key that must not be there."""

    def __repr__(self) -> str:
        return "nothing"


ABSENT = Missing()


def one_of(*values: object) -> Check:
    """A value that equals one of these."""

    def check(found: object) -> str | None:
        return None if found in values else f"one of {list(values)!r}"

    return check


def kind(*types: type) -> Check:
    """A value of one of these types; a boolean is not an integer."""

    def check(found: object) -> str | None:
        fits = isinstance(found, types) and (bool in types or not isinstance(found, bool))
        return None if fits else "a value of type " + " or ".join(each.__name__ for each in types)

    return check


def containing(**fields: object) -> Check:
    """An object with at least these fields."""

    def check(found: object) -> str | None:
        if not isinstance(found, Mapping):
            return "an object"
        wrong = [text for key, wanted in fields.items() if (text := compare(found, key, wanted))]
        return "; ".join(wrong) or None

    return check


def compare(found: Mapping[str, object], key: str, wanted: object) -> str | None:
    """How the value under a key differs from what is wanted, or None."""
    if wanted is ABSENT:
        return f"{key}: allowed nothing, found {found[key]!r}" if key in found else None
    if key not in found:
        return f"{key}: missing"
    value = found[key]
    if callable(wanted):
        allowed = wanted(value)
        return f"{key}: allowed {allowed}, found {value!r}" if allowed else None
    same = value == wanted and isinstance(value, bool) == isinstance(wanted, bool)
    return None if same else f"{key}: allowed {wanted!r}, found {value!r}"


@dataclass(frozen=True)
class Pattern:
    """A message type with some fields of its content fixed."""

    msg_type: str
    content: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        fields = ", ".join(f"{key}={'…' if callable(value) else repr(value)}" for key, value in self.content.items())
        return f"{self.msg_type} {{{fields}}}"

    def differences(self, observation: Observation) -> list[str]:
        """Each way in which an observed message does not fit; empty if it fits."""
        message = observation.message
        if message is None:
            return [f"the message cannot be read: {observation.error}"]
        found = [] if message.msg_type == self.msg_type else [
            f"msg_type: allowed {self.msg_type!r}, found {message.msg_type!r}"
        ]  # fmt: skip
        content = message.content
        return found + [text for key, wanted in self.content.items() if (text := compare(content, key, wanted))]


def ok(msg_type: str, **content: object) -> Pattern:
    """A successful reply."""
    return Pattern(msg_type, {"status": "ok", **content})


def error(msg_type: str, **content: object) -> Pattern:
    """A reply that reports an error, with the keys every error carries."""
    shape = {"status": "error", "ename": kind(str), "evalue": kind(str), "traceback": kind(list)}
    return Pattern(msg_type, {**shape, **content})


def refusal(msg_type: str) -> tuple[Pattern, Pattern]:
    """Both shapes in which the Hub may say no: in the reply of the request, or as a `hub_error`."""
    return error(msg_type), error("hub_error")


def expect_one_of(observation: Observation, patterns: Sequence[Pattern], requirement: str | None = None) -> None:
    """Raise Violated unless the message fits one of the patterns."""
    distances = sorted(((pattern.differences(observation), str(pattern)) for pattern in patterns), key=_distance)
    if not distances[0][0]:
        return
    message = observation.message
    what = "an unreadable message" if message is None else f"{message.msg_type} {shorten(message.content)}"
    nearest = tuple(distances[0][0])
    finding = Finding(what, tuple(map(str, patterns)), evidence=(observation.seq,), nearest=nearest)
    if observation.error is not None:
        finding = Finding(what, tuple(map(str, patterns)), evidence=(observation.seq,),
                          problems=observation.error.problems, nearest=nearest)  # fmt: skip
    raise Violated(finding, requirement)


def _distance(entry: tuple[list[str], str]) -> tuple[bool, int]:
    # A message of the wrong type is further away than one with several wrong fields.
    differences = entry[0]
    return any(text.startswith("msg_type:") for text in differences), len(differences)


def shorten(value: object, limit: int = 300) -> str:
    """A value as text of bounded length. Of an error its traceback comes last: it would leave no room for the rest."""
    if isinstance(value, Mapping) and "traceback" in value:
        value = {key: value[key] for key in sorted(value, key=lambda key: key == "traceback")}
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"

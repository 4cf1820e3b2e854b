"""Conversations that failed, as files that any language can read and anybody can play again.

    {"format": "ippkit-conversation-1", "target": "…", "seed": 7,
     "requirement": "task.no-starvation", "blame": "the target", "found": "…", "expected": ["it runs"],
     "roles": {"client-1": "client", "engine-1": "engine"},
     "steps": [{"do": "register", "engine": 0}, …], "before": [[{"do": "register"}, …], …],
     "frames": [{"step": 0, "at": 0.001, "party": "engine-1", "channel": "query", "direction": "sent",
                 "frames": [{"utf8": "<IDS|MSG>"}, {"hex": "ff"}, …]}, …]}

`steps` is what `ippkit replay` plays (`conformance.model.steps`), after the conversations of
`before`, if there must be any, with the same controller; `frames` are what was said when it failed, for those
who have no kit: whose socket of which channel, when (seconds), and what. Heartbeats are left out, and what is longer
than `LONGEST` bytes is cut and marked.
"""

from __future__ import annotations

import bisect
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from conformance.model.stage import Outcome
from conformance.model.steps import Conversation, mistake
from protocol.rules import Violation
from protocol.world import SECOND

FORMAT: Final = "ippkit-conversation-1"
LONGEST: Final = 4096


class VectorError(Exception):
    """A file that is no vector, in a sentence."""


class Vector(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """See the module."""

    format: str
    target: str
    seed: int
    requirement: str
    blame: str
    found: str
    expected: tuple[str, ...]
    steps: Conversation
    before: tuple[Conversation, ...] = ()
    roles: dict[str, str] = {}
    frames: tuple[dict[str, Any], ...] = ()


def vector_of(
    outcome: Outcome, violation: Violation, *, target: str, seed: int, before: Sequence[Conversation] = ()
) -> Vector:
    """The vector of a conversation that failed in this way, after these others."""
    start = outcome.observations[0].now if outcome.observations else 0
    parties = dict.fromkeys(each.observer for each in outcome.observations)
    return Vector(
        format=FORMAT, target=target, seed=seed, requirement=violation.requirement, blame=violation.guilty,
        found=violation.found, expected=violation.allowed, steps=outcome.conversation,
        before=tuple(before),
        roles={party: party.rpartition("-")[0] or party for party in parties},
        frames=tuple(
            {
                "step": max(0, bisect.bisect_right(outcome.marks, each.seq) - 1),
                "at": round((each.now - start) / SECOND, 6),
                "party": each.observer,
                "channel": each.channel,
                "direction": each.direction,
                "frames": [_frame(bytes(frame)) for frame in each.frames],
                **({"why": each.why} if each.why else {}),
            }
            for each in outcome.observations
        ),
    )  # fmt: skip


def _frame(octets: bytes) -> dict[str, object]:
    more: dict[str, object] = {"length": len(octets)} if len(octets) > LONGEST else {}
    shown = octets[:LONGEST]
    try:
        return {"utf8": shown.decode()} | more
    except UnicodeDecodeError:
        return {"hex": shown.hex()} | more


def write(folder: Path, vector: Vector) -> Path:
    """Write a vector into a folder; its name says which requirement, and which one of it."""
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w.-]+", "-", vector.requirement)
    number = 1
    while (path := folder / f"{name}-{number}.json").exists():
        number += 1
    path.write_text(json.dumps(msgspec.to_builtins(vector), ensure_ascii=False, indent=1) + "\n", "utf-8")
    return path


def read(path: Path) -> Vector:
    """A vector from a file. Raises VectorError with a sentence, and OSError."""
    try:
        vector = msgspec.json.decode(path.read_bytes(), type=Vector)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise VectorError(f"{path} is no conversation: {error}") from None
    if vector.format != FORMAT:
        raise VectorError(f"{path} is no conversation: its format is {vector.format!r}, and not {FORMAT!r}")
    for steps in (*vector.before, vector.steps):
        _check(path, steps)
    return vector


def _check(path: Path, steps: Conversation) -> None:
    for number, step in enumerate(steps, 1):
        if wrong := mistake(step):
            raise VectorError(f"{path} is no conversation: step {number}: {wrong}")


def conversation_from(path: Path) -> Conversation:
    """The steps alone, as a corpus keeps them. Raises VectorError and OSError."""
    try:
        steps = msgspec.json.decode(path.read_bytes(), type=Conversation)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise VectorError(f"{path} is no conversation: {error}") from None
    _check(path, steps)
    return steps


__all__ = ["FORMAT", "Vector", "VectorError", "conversation_from", "read", "vector_of", "write"]

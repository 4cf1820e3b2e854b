"""Stories from what the kit writes down: a run of the simulator, its trace, or a recording.

A trace names messages and does not hold them; but it begins with the setup, from which the whole run follows. So the
run is done once more, with everything kept, and the digest tells whether it came out the same.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from conformance.relay.jury import Jury
from conformance.report.story import Line, Story, lane_of, of_items
from conformance.simulating import carry_out, command, hooks_of
from conformance.targets.errors import TargetUnusable
from protocol import recording
from protocol.recording import Recording, RecordingError, ends_of
from protocol.rules import RULES, Judge, Vantage
from protocol.world import Fact, Observation
from simulator.faults import vocabulary
from simulator.plans import Event
from simulator.recorder import Recorder
from simulator.run import SWARM, Outcome, Setup
from simulator.scenarios import SCENARIOS


class UnreadableStory(ValueError):
    """A file that holds no story; the text says which file, and why."""


def setup_from(path: Path) -> Setup:
    """The setup of a trace (`ippkit simulate --trace`), from which its run follows. Raises UnreadableStory, OSError."""
    _, head = _read(path)
    if isinstance(head, dict) and "setup" in head:
        return _setup(path, head)
    raise UnreadableStory(f"{path}: no trace of ippkit simulate")


def _read(path: Path) -> tuple[list[str], Any]:
    """The lines of a file, and what the first one holds; None if that is no JSON."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise UnreadableStory(f"{path}: neither a trace nor a recording: it is not text") from None
    try:
        return lines, json.loads(lines[0]) if lines else None
    except ValueError:
        return lines, None


def of_file(path: Path) -> Story:
    """The story of a trace (`ippkit simulate --trace`) or of a recording. Raises UnreadableStory, and OSError."""
    lines, head = _read(path)
    if isinstance(head, dict) and "setup" in head:
        return _of_trace(_setup(path, head), head)
    if isinstance(head, dict) and "format" in head:
        try:
            return of_recording(recording.read(lines), path.name)
        except RecordingError as error:
            raise UnreadableStory(f"{path}: {error}") from None
    raise UnreadableStory(f"{path}: neither a trace of ippkit simulate nor a recording")


def _of_trace(setup: Setup, head: dict[str, Any]) -> Story:
    story, digest = replayed(setup)
    if digest == head.get("digest"):
        return story
    note = "This is the run as it is now: the trace was written by a kit in which it went otherwise."
    return msgspec.structs.replace(story, notes=(note, *story.notes))


def _setup(path: Path, head: dict[str, Any]) -> Setup:
    try:
        setup = setup_of(head["setup"])
    except (msgspec.ValidationError, TypeError) as error:
        raise UnreadableStory(f"{path}: its setup cannot be read: {error}") from None
    except KeyError as error:
        raise UnreadableStory(f"{path}: its setup cannot be read: nothing is known of {error}") from None
    if setup.name not in (SWARM, *SCENARIOS):
        raise UnreadableStory(f"{path}: there is no scenario {setup.name!r} from which it could follow")
    try:
        hooks_of(setup)
    except KeyError as error:
        raise UnreadableStory(f"{path}: its setup cannot be read: {error.args[0]}") from None
    except TargetUnusable as error:
        raise UnreadableStory(f"{path}: cannot be run again: {error}") from None
    return setup


def setup_of(written: dict[str, Any]) -> Setup:
    """The setup as a trace has it. Raises ValidationError, TypeError or KeyError for one that is none."""
    setup = msgspec.convert({**written, "plan": None}, Setup)
    if written["plan"] is None:
        return setup
    # A plan holds faults of any kind: which one it is, its tag says.
    kinds = {kind.__name__: kind for kind in vocabulary()}
    plan = [
        Event(
            at=msgspec.convert(each["at"], int),
            fault=msgspec.convert(each["fault"], kinds[each["fault"]["type"]]),
            lasts=msgspec.convert(each["lasts"], int | None),
        )
        for each in written["plan"]
    ]
    return msgspec.structs.replace(setup, plan=tuple(plan))


def replayed(setup: Setup) -> tuple[Story, str]:
    """The story of a run, and the digest of its trace: it is carried out with everything written down."""
    outcome = carry_out(msgspec.structs.replace(setup, has_trace=True, is_judged=True, keeps_items=True))
    return of_outcome(outcome), outcome.digest


def of_outcome(outcome: Outcome) -> Story:
    """The story of a run whose items were kept."""
    setup, judgement = outcome.setup, outcome.judgement
    assert judgement is not None
    recorder = judgement.recorder
    assert recorder.keeps_items
    name = setup.name if setup.name == SWARM else f"{setup.name}: {SCENARIOS[setup.name].text}"
    notes = [*(f"Excused: {each}" for each in outcome.excused)]
    if setup.plan is None:
        notes.insert(0, f"Replay: {command(setup)}")
    evidence = {str(violation): violation.evidence for violation in judgement.violations}
    story = of_items(
        recorder.items,
        title=f"{name} (seed {setup.seed})",
        violations=[(text, evidence.get(text, ())) for text in outcome.violations],
        marks=_faults(recorder),
        lost={msg_id: loss.fault.name for msg_id, loss in recorder.losses.items()},
        is_whole=True,
    )
    return msgspec.structs.replace(story, notes=tuple(notes))


def _faults(recorder: Recorder) -> Iterator[Line]:
    """Where each fault begins and ends; what a process reports of the same is not told twice."""
    begin = recorder.items[0].now if recorder.items else 0
    known = {lane_of(item.observer) for item in recorder.items}
    struck: set[tuple[int, str]] = set()
    for fault in recorder.faults:
        lanes = tuple(dict.fromkeys(lane_of(who) for who in fault.who if lane_of(who) in known))
        if lanes and all((fault.began, lane) in struck for lane in lanes):
            continue
        struck |= {(fault.began, lane) for lane in lanes}
        where = {"sender": lanes[0] if lanes else "", "receivers": lanes[1:]}
        remark = "" if fault.is_inside else "outside ZeroMQ's contract"
        yield Line(kind="fault", at=fault.began - begin, what=fault.name, remark=remark, **where)  # type: ignore[arg-type]
        end = recorder.ends.get(fault.number)
        if end is not None and end > fault.began:
            yield Line(kind="healed", at=end - begin, what=f"over: {fault.name}", **where)  # type: ignore[arg-type]


def of_recording(recorded: Recording, name: str) -> Story:
    """The story of a recording, judged by all rules whose vantage it has."""
    if recorded.vantage == "relay":
        return _of_relay(recorded, name)
    vantages: list[Vantage] = ["peer"]
    if any(isinstance(item, Observation) and item.channel == "monitor" for item in recorded.items):
        vantages.append("monitor")
    judge = Judge(RULES, recorded.setting, vantages)
    judge.feed(recorded.items, recorded.end)
    return of_items(
        recorded.items,
        title=recorded.about or name,
        violations=[(str(violation), violation.evidence) for violation in judge.violations],
    )


def _of_relay(recorded: Recording, name: str) -> Story:
    """A relay saw everybody: each party is judged, and a connection is an event."""
    jury = Jury(recorded.setting, recorded.codec)
    charges = [charge for item in recorded.items for charge in jury.observe(item)]
    charges += jury.finish(recorded.end)
    return of_items(
        recorded.items,
        title=recorded.about or name,
        violations=[(str(charge.violation), charge.violation.evidence) for charge in charges],
        marks=_connections(recorded),
    )


def _connections(recorded: Recording) -> Iterator[Line]:
    begin = recorded.items[0].now if recorded.items else 0
    for item in recorded.items:
        ends = ends_of(item) if isinstance(item, Fact) else None
        if ends is None:
            continue
        what = f"{ends.channel}: {ends.near.socket_type or 'a socket'} to {ends.far.socket_type or 'a socket'}"
        if ends.closed_by:
            what = f"{ends.channel}: {'hangs up' if ends.closed_by == 'near' else 'is hung up on'}"
        unreadable = ends.near.unreadable or ends.far.unreadable
        yield Line(kind="event", at=item.now - begin, sender=ends.party, what=what, remark=unreadable, seqs=(item.seq,))


__all__ = ["UnreadableStory", "of_file", "of_outcome", "of_recording", "replayed", "setup_from"]

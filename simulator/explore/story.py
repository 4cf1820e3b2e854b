"""The story of a path through the states: what happened, step by step, with the names of engines kept throughout.

A search looks at one of several states that differ in names only; a story is told in those of its beginning. So the
steps are taken once more, one after the other, without exchanging names: whatever is told did happen.
"""

from typing import Literal, NamedTuple

from simulator.explore.machines import FAILS, OK
from simulator.explore.names import task_id, uuid
from simulator.explore.world import (
    ANSWERS,
    ASKED,
    BOOK,
    COPIES,
    FIRST,
    TO_CLIENT,
    TO_SCHEDULER,
    TOLD_BACK,
    TOLD_CLIENT,
    TOLD_SCHEDULER,
    Action,
    Happened,
    State,
    World,
)

#: Who is at the two ends of each connection.
_ENDS = {
    TO_SCHEDULER: ("client", "tasks"),
    TO_CLIENT: ("tasks", "client"),
    TOLD_SCHEDULER: ("hub", "tasks"),
    TOLD_CLIENT: ("hub", "client"),
    ANSWERS: ("hub", "tasks"),
    COPIES: ("tasks", "hub"),
    ASKED: ("client", "hub"),
    TOLD_BACK: ("hub", "client"),
}
_ARRIVALS = {
    "to-scheduler": TO_SCHEDULER,
    "to-client": TO_CLIENT,
    "told-scheduler": TOLD_SCHEDULER,
    "told-client": TOLD_CLIENT,
    "answer": ANSWERS,
    "told-back": TOLD_BACK,
}


class Step(NamedTuple):
    """One thing that happened: to `who`, or from whom; `to` is who took the message, empty if it is none.

    `what` says it, with the ids that it is about; `so` is what became of tasks. A message that is lost `is_lost`.
    """

    kind: Literal["message", "event", "fault"]
    who: str
    to: str
    what: str
    so: str = ""
    is_lost: bool = False


def tell(world: World, path: list[State]) -> list[Step]:
    """The steps of a path that `search.explore` found in this world."""
    steps, now = [], path[0]
    for following in path[1:]:
        happened = _next(world, now, following)
        steps.append(_step(world, now, happened))
        now = happened.state
    return steps


def _next(world: World, now: State, following: State) -> Happened:
    for happened in (*world.happens(now), *world.faults(now)):
        if world.sorted(happened.state) == following:
            return happened
    raise AssertionError("a path that cannot be walked: states were taken for one that are not")


def _step(world: World, now: State, happened: Happened) -> Step:
    kind, *about = happened.action
    so = _became(world, now, happened.state)
    if isinstance(kind, tuple):
        return _of_engine(world, now, kind, about[0], so)
    if kind in _ARRIVALS:
        at = _ARRIVALS[kind]
        return Step("message", *_ENDS[at], _message(world, world.pipes.head[now[at]]), so)
    if kind == "to-records":
        at = about[0]
        return Step("message", *_ENDS[at], _message(world, world.pipes.head[now[at]]), so)
    if kind == "purge":
        return Step("event", "client", "", f"asks the Hub to forget {task_id(about[0])}", so)
    if kind == "drops":
        return _dropped(world, now, about)
    if kind == "submit":
        return Step("event", "client", "", f"submits {task_id(world.client.submitted(now[1]))}", so)
    if kind == "timer":
        return Step("event", "tasks", "", f"its timer runs out: {_timer(about[0][0])}", so)
    if kind == "asks":
        return Step("fault", "tasks", "", "asks the Hub which engines there are", so)
    return Step("event", "hub", "", "scheduler and client ask which engines there are, and are told", so)


def _of_engine(world: World, now: State, choice: Action, engine: int, so: str) -> Step:
    name, slot = uuid(engine), world.slots.values[now[FIRST + engine]]
    match choice:
        case ("to-engine",):
            return Step("message", "tasks", name, _message(world, world.pipes.head[slot.inward]), so)
        case ("from-engine",):
            return Step("message", name, "tasks", _message(world, world.pipes.head[slot.outward]), so)
        case ("ends", job, outcome):
            (task,) = (task for number, task in world.engine.jobs(slot.machine) if number == job)
            how = {OK: "has run", FAILS: "has failed at"}.get(outcome, "refuses, its dependencies unmet:")
            return Step("event" if outcome == OK else "fault", name, "", f"{how} {task_id(task)}", so)
        case ("registers",):
            return Step("event", "hub", "", f"has {name} registered{' again' if slot.lives else ''}", so)
        case ("taken-for-dead",):
            alive = ", which lives" if slot.is_live else ""
            return Step("fault" if slot.is_live else "event", "hub", "", f"takes {name} for dead{alive}", so)
        case ("dies", kept):
            lost = len(world.pipes.values[slot.inward]) + len(world.pipes.values[slot.outward]) - kept
            what = f"dies, and {lost} message{'s' if lost > 1 else ''} with it" if lost else "dies"
            return Step("fault", name, "", what, so)
    raise AssertionError(choice)


def _dropped(world: World, now: State, about: list[int | str]) -> Step:
    if len(about) == 1:
        (at,) = about
        assert isinstance(at, int)
        who, to = _ENDS[at]
        return Step("message", who, to, _message(world, world.pipes.head[now[at]]), is_lost=True)
    way, engine = about
    assert isinstance(engine, int)
    slot = world.slots.values[now[FIRST + engine]]
    ends = ("tasks", uuid(engine)) if way == "inward" else (uuid(engine), "tasks")
    pipe = slot.inward if way == "inward" else slot.outward
    return Step("message", *ends, _message(world, world.pipes.head[pipe]), is_lost=True)


def _message(world: World, number: int) -> str:
    message, task = world.messages.whole[number], world.messages.task[number]
    content = message.content
    about = task_id(task) if task >= 0 else ""
    if "uuid" in content:
        about = f"{content['uuid']}, number {content['id']}"
    elif "engines" in content:
        about = ", ".join(content["engines"].values()) or "nobody"
    status = content.get("status", "")
    how = f" {content.get('ename') or status}" if status else ""
    return f"{message.msg_type} {about}{how}".strip()


def _timer(name: str) -> str:
    kind, _, about = name.partition(":")
    if kind == "grace":
        return "the time of grace of an engine is over"
    return f"{about} is sent again" if about else kind


def _became(world: World, before: State, after: State) -> str:
    said = []
    for task, (was, now) in enumerate(
        zip(world.books.values[before[BOOK]][0], world.books.values[after[BOOK]][0], strict=True)
    ):
        if (was.place, was.at) != (now.place, now.at):
            where = f" at {uuid(now.at)}" if now.at >= 0 else ""
            said.append(f"{task_id(task)} is {now.place}{where}")
    return ", ".join(said)


def text(steps: list[Step]) -> list[str]:
    """The story for a terminal, a line for each step."""
    width = max((len(step.who) for step in steps), default=0)
    lines = []
    for number, step in enumerate(steps, 1):
        mark = "!" if step.kind == "fault" or step.is_lost else " "
        arrow = f"──✕ {step.to}:" if step.is_lost else f"──> {step.to}:" if step.to else "***"
        so = f"   ({step.so})" if step.so else ""
        lines.append(f"{mark}{number:4}  {step.who:<{width}} {arrow} {step.what}{so}")
    return lines


__all__ = ["Step", "tell", "text"]

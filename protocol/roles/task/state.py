"""The state of a task scheduler as nested tuples, and back.

Tasks and engines are given in their order, not with the numbers that keep it, so that states which behave alike are
equal. Timers live outside: their epochs are kept as they are.
"""

from typing import TYPE_CHECKING, Any

from protocol.roles.freezing import freeze_message, thaw_message
from protocol.roles.task.demands import thaw_demands
from protocol.roles.task.engines import Engine
from protocol.roles.task.outcomes import Outcome
from protocol.roles.task.tasks import QUEUED, WAITING, Task

if TYPE_CHECKING:
    from protocol.roles.task.placing import Placing


def freeze(scheduler: "Placing") -> tuple[Any, ...]:
    """The whole state: session, epochs, roster, engines by their order, dead ones, tasks, queue of barred, outcomes."""
    engines = sorted(scheduler.engines.values(), key=lambda engine: engine.stamp)
    return (
        scheduler.voice.session,
        scheduler.epoch,
        scheduler.resync,
        scheduler.roster.freeze(),
        tuple(map(_freeze_engine, engines)),
        scheduler.pool.freeze(),
        tuple((epoch, *_freeze_engine(engine)) for epoch, engine in scheduler.graves.items()),
        tuple(map(_freeze_task, scheduler.tasks.values())),
        tuple(task.id for task in scheduler.barred.tasks()),
        scheduler.outcomes.freeze(),
    )


def thaw(scheduler: "Placing", frozen: tuple[Any, ...]) -> None:
    """Take up a state that `freeze` gave."""
    session, epoch, resync, roster, engines, array, graves, tasks, barred, outcomes = frozen
    scheduler.reset()
    scheduler.voice.session = session
    scheduler.epoch, scheduler.resync = epoch, resync
    scheduler.roster.thaw(roster)
    for outcome in outcomes:
        scheduler.outcomes.add(Outcome(*outcome))
    for each in tasks:
        task = _thaw_task(scheduler, each)
        scheduler.tasks[task.id] = task
    for each in engines:
        engine = _thaw_engine(scheduler, each)
        scheduler.tail = engine.stamp = scheduler.tail + 1
        scheduler.engines[engine.uuid] = engine
        scheduler.numbers[engine.number] = engine.uuid
    for number, *each in graves:
        engine = scheduler.graves[number] = _thaw_engine(scheduler, each)
        engine.is_live = False
    for engine in scheduler.engines.values():
        if len(engine.pending) < scheduler.limit:
            scheduler.pool.offer(engine)
    scheduler.pool.thaw([scheduler.engines[uuid] for uuid in array])
    for task, each in zip(scheduler.tasks.values(), tasks, strict=True):
        _link(scheduler, task)
        if each[-2] == "general":
            scheduler.general.add(task)
        elif each[-2] == "named":
            scheduler.named.add(task, each[-1], _alive(scheduler, each[-1]))
    names = {each[0]: each[-1] for each in tasks}
    for msg_id in barred:
        scheduler.barred.add(scheduler.tasks[msg_id], names[msg_id], _alive(scheduler, names[msg_id]))


def renumbered(frozen: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[int, int]]:
    """The same state with its epochs counted from 1 in the order of their places, and old -> new of those that count.

    An epoch only tells a timer from others: states that differ in nothing else behave alike. A timer whose epoch is
    not named here means nothing any more.
    """
    numbers: dict[int, int] = {}

    def number(epoch: int) -> int:
        return numbers.setdefault(epoch, len(numbers) + 1) if epoch else 0

    session, _, resync, roster, engines, pool, graves, tasks, *rest = frozen
    resync = number(resync)
    graves = tuple((number(epoch), *each) for epoch, *each in graves)
    tasks = tuple(
        (*each[:3], number(each[3]), demands and (*demands[:-1], number(demands[-1])), *each[5:])
        for each in tasks
        for demands in (each[4],)
    )
    return (session, len(numbers), resync, roster, engines, pool, graves, tasks, *rest), numbers


def _freeze_engine(engine: Engine) -> tuple[Any, ...]:
    return (engine.uuid, engine.number, tuple(engine.pending))


def _thaw_engine(scheduler: "Placing", frozen: tuple[Any, ...] | list[Any]) -> Engine:
    uuid, number, pending = frozen
    engine = Engine(uuid, number)
    for msg_id in pending:
        task = engine.pending[msg_id] = scheduler.tasks[msg_id]
        task.engine = engine
    return engine


def _freeze_task(task: Task) -> tuple[Any, ...]:
    demands = task.demands
    kind = "" if task.queue is None else task.queue.kind
    return (
        task.id,
        freeze_message(task.message),
        task.state,
        task.epoch,
        None if demands is None else demands.freeze(),
        kind,
        demands.names if demands is not None and kind in ("named", "barred") else (),
    )


def _thaw_task(scheduler: "Placing", frozen: tuple[Any, ...]) -> Task:
    msg_id, message, state, epoch, demands, _, _ = frozen
    thawed = thaw_message(message)
    scheduler.seq += 1
    task = Task(msg_id, thawed.identities, thawed, scheduler.seq)
    task.state, task.epoch = state, epoch
    task.demands = thaw_demands(demands)
    return task


def _link(scheduler: "Placing", task: Task) -> None:
    if task.state in (WAITING, QUEUED) and task.demands is not None:
        for need in task.demands.needs:
            for each in need.left:
                scheduler.dependents.setdefault(each, {})[task.id] = task


def _alive(scheduler: "Placing", names: tuple[bytes, ...]) -> int:
    return sum(name in scheduler.engines for name in names)

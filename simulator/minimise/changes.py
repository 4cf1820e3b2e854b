"""Smaller runs from a run: steps left out, engines and clients fewer, values simpler.

Whatever is left out takes along what needs it: with a client go its requests, with a task the dependencies on it. Time
that passed before a step passes before the next one, so that the rest happens when it did. Who comes later is renamed,
also where a fault names it.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import takewhile
from typing import Any, Final, NamedTuple

import msgspec

from protocol.world import MILLISECOND, SECOND
from simulator.minimise.steps import Case, Kind, Ref, Step


def without(case: Case, numbers: frozenset[int]) -> Case:
    """The case without the steps of these numbers, and what hangs on them."""
    gone: set[Ref] = set()
    kept: list[Step] = []
    carried = 0
    for number, step in enumerate(case.steps):
        needed = (step.who, *step.args, *step.named.values())
        if number in numbers or any(isinstance(one, Ref) and _whole(one) in gone for one in needed):
            carried += step.after
            if step.makes is not None:
                gone.add(step.makes)
            continue
        kept.append(
            msgspec.structs.replace(
                step, after=step.after + carried, args=_pruned(step.args, gone), named=_pruned(step.named, gone)
            )
        )
        carried = 0
    # A demand that is about nothing is met.
    steps = tuple(step for step in kept if not (step.is_demand and step.args[:1] == ((),)))
    smaller = msgspec.structs.replace(case, steps=steps, rest=case.rest + carried)
    for ref in sorted(gone, key=lambda ref: -ref.number):
        if ref.kind in ("client", "engine"):
            smaller = _renumbered(smaller, ref.kind, ref.number)
    return smaller


def without_engine(case: Case, number: int) -> Case:
    """The case without one of the engines that are there from the beginning."""
    ref = Ref(kind="engine", number=number)
    needing = frozenset(
        place
        for place, step in enumerate(case.steps)
        if ref in (step.who, *step.args, *step.named.values()) and not step.is_demand
    )
    pruned = [
        msgspec.structs.replace(step, args=_pruned(step.args, {ref}), named=_pruned(step.named, {ref}))
        if place not in needing
        else step
        for place, step in enumerate(case.steps)
    ]
    smaller = without(msgspec.structs.replace(case, steps=tuple(pruned)), needing)
    return _renumbered(msgspec.structs.replace(smaller, engines=case.engines - 1), "engine", number)


def _whole(ref: Ref) -> Ref:
    return Ref(kind="task", number=ref.number) if ref.kind == "id" else ref


def _pruned(value: Any, gone: set[Ref]) -> Any:
    """A value without what is not there any more."""
    if isinstance(value, tuple):
        return tuple(_pruned(each, gone) for each in value if not (isinstance(each, Ref) and _whole(each) in gone))
    if isinstance(value, dict):
        return {
            key: _pruned(each, gone)
            for key, each in value.items()
            if not (isinstance(each, Ref) and _whole(each) in gone)
        }
    return value


def _renumbered(case: Case, kind: Kind, gone: int) -> Case:
    """The case with the names of those that came after an engine or client that is not there any more."""
    steps = tuple(
        msgspec.structs.replace(
            step,
            who=_renamed(step.who, kind, gone),
            args=_renamed(step.args, kind, gone),
            named=_renamed(step.named, kind, gone),
            makes=_renamed(step.makes, kind, gone),
        )
        for step in case.steps
    )
    return msgspec.structs.replace(case, steps=steps)


def _renamed(value: Any, kind: Kind, gone: int) -> Any:
    if isinstance(value, Ref):
        later = value.kind == kind and value.number > gone
        return Ref(kind=kind, number=value.number - 1) if later else value
    if isinstance(value, str):
        # Nobody has the number 0: what is about somebody who is gone is about nobody.
        return re.sub(
            rf"\b{kind}-(\d+)\b",
            lambda found: f"{kind}-{0 if int(found[1]) == gone else int(found[1]) - (int(found[1]) > gone)}",
            value,
        )
    if isinstance(value, tuple):
        return tuple(_renamed(each, kind, gone) for each in value)
    if isinstance(value, dict):
        return {key: _renamed(each, kind, gone) for key, each in value.items()}
    if isinstance(value, msgspec.Struct):
        fields = {name: _renamed(getattr(value, name), kind, gone) for name in value.__struct_fields__}
        return msgspec.structs.replace(value, **fields)
    return value


# -- simpler values ----------------------------------------------------------------------------------------------------


class Slot(NamedTuple):
    """A value of a case that could be simpler: its name, itself, and the case with another in its place."""

    name: str
    value: Any
    put: Callable[[Any], Case]
    simplest: tuple[Any, ...] = ()


#: Seeds that are tried first: the tests run scenarios with 1.
_SEEDS: Final = (1, 0)


def schedule(case: Case) -> Iterator[Slot]:
    """Who is served in which order, and what happens how long after what."""
    for name in case.config:
        rest = {key: value for key, value in case.config.items() if key != name}
        yield Slot(name, case.config[name], partial(_ignoring, _with(case, config=rest)), (None,))
    yield Slot("jitter", case.jitter, lambda value: _with(case, jitter=value), (0,))
    better = tuple(takewhile(lambda seed: seed != case.seed, _SEEDS))
    if better:
        yield Slot("seed", case.seed, lambda value: _with(case, seed=value), better)
    for place, step in enumerate(case.steps):
        yield Slot(f"time before step {place + 1}", step.after, partial(_after, case, place))
    yield Slot("time before everything is healed", case.rest, lambda value: _with(case, rest=value))


def values(case: Case) -> Iterator[Slot]:
    """What steps are given: durations, counts, conditions."""
    for place, step in enumerate(case.steps):
        if step.is_demand:
            continue
        for key in step.named:
            others = {name: value for name, value in step.named.items() if name != key}
            yield Slot(key, step.named[key], partial(_ignoring, _at(case, place, named=others)), (None,))
        for name, value, put in _inner(step):
            yield Slot(name, value, partial(_putting, case, place, put), _simplest(name, value))


def _inner(step: Step) -> Iterator[tuple[str, Any, Callable[[Any], Step]]]:
    """The values within the arguments of a step: fields of work and faults, members of lists, plain numbers."""
    for number, value in enumerate(step.args):

        def put(new: Any, number: int = number) -> Step:
            return msgspec.structs.replace(step, args=(*step.args[:number], new, *step.args[number + 1 :]))

        yield from _parts(f"argument {number + 1}", value, put)
    for key, value in step.named.items():

        def put_named(new: Any, key: str = key) -> Step:
            return msgspec.structs.replace(step, named={**step.named, key: new})

        yield from _parts(key, value, put_named)


def _parts(name: str, value: Any, put: Callable[[Any], Step]) -> Iterator[tuple[str, Any, Callable[[Any], Step]]]:
    if isinstance(value, msgspec.Struct) and not isinstance(value, Ref):
        for info in msgspec.structs.fields(value):
            field, held = info.name, getattr(value, info.name)
            is_usual = held == info.default
            # How many messages a fault may take is small when it is few, not when it is anything.
            if not is_usual or field == "at_most":
                yield field, held, partial(_setting, value, put, field)
    elif isinstance(value, tuple | int):
        yield name, value, put


def _simplest(name: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, bool):
        return (False,) if value else ()
    if isinstance(value, tuple):
        # A fault that is about nobody is another one.
        nothing = () if name in ("places", "refuses") else ((),)
        fewer = [(*value[:number], *value[number + 1 :]) for number in range(len(value))]
        return (*nothing, *(fewer if len(value) > 1 else ()))
    if name == "at_most":
        return tuple(few for few in (1, 2, 4) if few < value)
    if name == "share":
        return (1.0,)
    return (0.0,) if isinstance(value, float) else ()


def simpler(slot: Slot) -> Iterator[Any]:
    """Simpler values for a slot, the simplest first."""
    value = slot.value
    if slot.simplest:
        yield from (each for each in slot.simplest if each != value or each is None)
    elif isinstance(value, int) and not isinstance(value, bool) and value:
        size = abs(value)
        # One nanosecond is no simpler than many.
        tried = [
            0,
            *([1] if size < MILLISECOND else []),
            *(size >> shift for shift in (6, 3, 1)),
            *(_round(size, digits) for digits in (1, 2)),
        ]
        sign = -1 if value < 0 else 1
        for each in dict.fromkeys(tried):
            if each < size:
                yield sign * each
        if size % SECOND and size > SECOND:
            # A second more is easier to read than the nanoseconds.
            yield sign * (size // SECOND + 1) * SECOND


def _round(value: int, digits: int) -> int:
    unit: int = 10 ** max(len(str(value)) - digits, 0)
    return value // unit * unit


def _ignoring(case: Case, _: Any) -> Case:
    return case


def _after(case: Case, place: int, nanoseconds: Any) -> Case:
    return _at(case, place, after=nanoseconds)


def _putting(case: Case, place: int, put: Callable[[Any], Step], value: Any) -> Case:
    return _step(case, place, put(value))


def _setting(held: Any, put: Callable[[Any], Step], field: str, value: Any) -> Step:
    return put(msgspec.structs.replace(held, **{field: value}))


def _with(case: Case, **changes: Any) -> Case:
    return msgspec.structs.replace(case, **changes)


def _at(case: Case, place: int, **changes: Any) -> Case:
    return _step(case, place, msgspec.structs.replace(case.steps[place], **changes))


def _step(case: Case, place: int, step: Step) -> Case:
    return _with(case, steps=(*case.steps[:place], step, *case.steps[place + 1 :]))


__all__ = ["Slot", "schedule", "simpler", "values", "without", "without_engine"]

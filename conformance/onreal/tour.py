"""Many scenarios on one world of real processes, what came of each, and the table of it that the site shows."""

import datetime
import threading
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from conformance.files import data
from conformance.onreal.run import Setup, Verdict, carry_out
from conformance.targets.errors import TargetError, TargetUnusable

#: Where the last tours are kept for the site.
FILE: Final = "docs/real-faults.json"

#: How the world in virtual time is called.
SIMULATION: Final = "simulation"


class World(msgspec.Struct, frozen=True, kw_only=True):
    """A tour of all scenarios on one world: of each the word, and what else there is to say.

    `name` is that of the controller, with the engines where they are not the kit's; `pace` is 0 in virtual time.
    """

    name: str
    version: str | None = None
    date: str
    pace: float = 0.0
    verdicts: Mapping[str, tuple[str, str]]


def name_of(setup: Setup) -> str:
    """How a world is called: after its controller, and after its engines and clients where they are not the kit's."""
    if setup.is_kernel:
        return setup.controller.name
    others = [setup.engine.name] if setup.engine.name != "reference-engine" else []
    others += [setup.client.name] if setup.client is not None else []
    return " with ".join([setup.controller.name, *others])


#: Set when this process was interrupted: a worker of a pool is given what comes next all the same.
OVER: Final = threading.Event()


def try_out(setup: Setup) -> Verdict:
    """Carry out one scenario; what keeps it from being judged is part of the verdict."""
    if OVER.is_set():
        return Verdict(name=setup.name, error="interrupted")
    try:
        return carry_out(setup)
    except KeyboardInterrupt:
        OVER.set()
        raise
    except TargetUnusable as error:
        return Verdict(name=setup.name, error=error.details())
    except TargetError as error:
        return Verdict(name=setup.name, error=str(error))
    except Exception:
        return Verdict(name=setup.name, error=traceback.format_exc())


def tour(setups: Sequence[Setup], executor: Executor | None = None) -> Iterator[Verdict]:
    """Carry out scenarios, one after the other or as an executor has them; each verdict as soon as it is there."""
    if executor is None:
        yield from map(try_out, setups)
        return
    futures = [executor.submit(try_out, setup) for setup in setups]
    try:
        for future in as_completed(futures):
            yield future.result()
    finally:
        for future in futures:
            future.cancel()


def why(verdict: Verdict) -> str:
    """What else there is to say of a verdict, in one line."""
    if verdict.error:
        return verdict.error.strip().splitlines()[-1]
    if verdict.lacking:
        return f"needs {verdict.lacking}"
    if verdict.found:
        return ", ".join(dict.fromkeys(one.requirement for one in verdict.found))
    return verdict.undecided or (f"{len(verdict.excused)} excused" if verdict.excused else "")


@cache
def kept() -> list[World]:
    """The last tours, in the order of their names."""
    return msgspec.json.decode(data(FILE).read_bytes(), type=list[World])


def keep(path: Path, name: str, verdicts: Iterable[Verdict], *, version: str | None = None, pace: float = 0.0) -> None:
    """Put verdicts in the place of the last ones of the same world and scenario in a file, which need not be there."""
    before = msgspec.json.decode(path.read_bytes(), type=list[World]) if path.is_file() else []
    by_name = {each.name: each for each in before}
    last = by_name[name].verdicts if name in by_name else {}
    world = World(
        name=name, version=version, date=datetime.datetime.now(datetime.UTC).date().isoformat(), pace=pace,
        verdicts={**last, **{each.name: (each.word, why(each)) for each in verdicts}},
    )  # fmt: skip
    by_name[name] = world
    order = (SIMULATION, "reference")
    worlds = sorted(by_name.values(), key=lambda each: (order.index(each.name) if each.name in order else 9, each.name))
    path.write_bytes(msgspec.json.format(msgspec.json.encode(worlds), indent=1) + b"\n")


__all__ = ["FILE", "SIMULATION", "World", "keep", "kept", "name_of", "tour", "try_out", "why"]

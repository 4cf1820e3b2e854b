"""A case as a scenario in code: what one would write into `simulator/scenarios/`, ready to be pasted there."""

import textwrap
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from protocol.world import MILLISECOND, SECOND, Work
from simulator.faults import Fault
from simulator.minimise.search import SEEDS, Found
from simulator.minimise.steps import Case, Ref, Step

_WIDTH: Final = 120
_INDENT: Final = "    "
#: Numbers that are no nanoseconds.
_COUNTS: Final = frozenset({"prints", "retries", "count", "at_most", "per_mille", "bandwidth"})


def scenario_text(found: Found) -> str:
    """The whole file: what it imports, and the scenario."""
    case = found.case
    writer = _Writer(case)
    body = writer.body()
    is_virtual = "faults" in case.needs
    kind = "VirtualCluster" if is_virtual else "Cluster"
    writer.use("simulator.cluster" if is_virtual else "protocol.world", kind)
    writer.use("simulator.scenarios.scenario", "scenario")
    given = [f'"{need}"' for need in case.needs]
    given += [f"engines={case.engines}"] if case.engines != 3 else []
    given += ["is_inside=False"] if not case.is_inside else []
    given += [f"jitter={case.jitter}"] if case.jitter is not None else []
    given += [f"{key}={_literal(value)}" for key, value in case.config.items()]
    name = f"minimised_{found.setup.name.replace('-', '_')}_{found.setup.seed}"
    title = f"What was left of {found.setup.name}, seed {found.setup.seed}."
    lines = [
        f'"""{title}"""', "", *writer.imports(), "", "",
        f"@scenario({', '.join(given)})", f"def {name}(cluster: {kind}) -> None:", *_docstring(found), *body,
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _docstring(found: Found) -> Iterable[str]:
    mutant = f" and the mutant {found.setup.mutant}" if found.setup.mutant else ""
    said = found.text.partition(": ")[2].partition(" [#")[0].replace("\\", "/").replace('"', "'")
    seed = f"With the seed {found.case.seed}" if found.seeds < len(SEEDS) else "With any seed"
    requirement = found.blame.requirement
    what = f"{found.blame.guilty} breaks {requirement}" if found.blame.guilty else f"{requirement} is not met"
    lines = textwrap.wrap(f"{seed}{mutant}, {what}: {said}.", _WIDTH - 7 - len(_INDENT))
    if len(lines) == 1:
        return [f'{_INDENT}"""{lines[0]}"""']
    return [f'{_INDENT}"""{lines[0]}', *(_INDENT + line for line in lines[1:]), f'{_INDENT}"""']


def line_of(case: Case, number: int) -> str:
    """One step of a case in one line of code."""
    return _Writer(case).call(case.steps[number])


class _Writer:
    """Writes the steps of one case."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._used: dict[str, set[str]] = {}
        self._names = self._named()

    def use(self, module: str, name: str) -> None:
        self._used.setdefault(module, set()).add(name)

    def imports(self) -> list[str]:
        return [
            f"from {module} import {', '.join(sorted(names, key=_order))}"
            for module, names in sorted(self._used.items())
        ]

    def _named(self) -> dict[Ref, str]:
        """Names for what later steps speak of."""
        needed = {ref for step in self._case.steps for ref in _refs((step.who, step.args, step.named))}
        made = [step.makes for step in self._case.steps if step.makes is not None and step.makes in needed]
        names: dict[Ref, str] = {}
        for kind in ("client", "task", "trouble"):
            refs = [ref for ref in made if ref.kind == kind]
            names |= {ref: kind if len(refs) == 1 else f"{kind}_{number}" for number, ref in enumerate(refs, 1)}
        return names

    def body(self) -> list[str]:
        lines: list[str] = []
        for step in self._case.steps:
            lines += self._pause(step.after)
            made = f"{self._names[step.makes]} = " if step.makes in self._names else ""
            lines += _broken(made, *self._parts(step))
        return lines + self._pause(self._case.rest)

    def _pause(self, nanoseconds: int) -> list[str]:
        return [f"{_INDENT}cluster.run_for({self._time(nanoseconds)})"] if nanoseconds else []

    def call(self, step: Step) -> str:
        function, arguments = self._parts(step)
        return f"{function}({', '.join(arguments)})"

    def _parts(self, step: Step) -> tuple[str, list[str]]:
        """The function of a step, and its arguments."""
        arguments = [self._value(value) for value in step.args]
        arguments += [f"{name}={self._value(value, name)}" for name, value in step.named.items()]
        if step.is_demand:
            self.use("simulator.scenarios.scenario", step.does)
            return step.does, ["cluster", *arguments]
        return f"{'cluster' if step.who is None else self._value(step.who)}.{step.does}", arguments

    def _value(self, value: Any, name: str = "") -> str:
        if isinstance(value, Ref):
            if value.kind == "engine":
                return f"cluster.engines[{value.number - 1}]"
            whole = Ref(kind="task", number=value.number) if value.kind == "id" else value
            return self._names[whole] + (".msg_id" if value.kind == "id" else "")
        if isinstance(value, tuple):
            return f"[{', '.join(self._value(each) for each in value)}]"
        if isinstance(value, dict):
            return f"{{{', '.join(f'{_literal(key)}: {self._value(each, key)}' for key, each in value.items())}}}"
        if isinstance(value, Work | Fault):
            return self._struct(value)
        if isinstance(value, int) and not isinstance(value, bool) and name not in _COUNTS:
            return self._time(value)
        return _literal(value)

    def _struct(self, value: Work | Fault) -> str:
        self.use("protocol.world" if isinstance(value, Work) else "simulator.faults", type(value).__name__)
        given = []
        for info in msgspec.structs.fields(value):
            held = getattr(value, info.name)
            if held != info.default:
                # What a fault or work holds in a tuple has to be one.
                text = repr(held).replace("'", '"') if isinstance(held, tuple) else self._value(held, info.name)
                given.append(f"{info.name}={text}")
        return f"{type(value).__name__}({', '.join(given)})"

    def _time(self, nanoseconds: int) -> str:
        for unit, size in (("SECOND", SECOND), ("MILLISECOND", MILLISECOND)):
            if nanoseconds and nanoseconds % size == 0:
                self.use("protocol.world", unit)
                return unit if nanoseconds == size else f"{nanoseconds // size} * {unit}"
        return f"{nanoseconds:_}"


def _order(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions, as imports are sorted."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def _literal(value: Any) -> str:
    if isinstance(value, str):
        # Double quotes, as everywhere in this project.
        return msgspec.json.encode(value).decode()
    return repr(value)


def _refs(value: Any) -> set[Ref]:
    """Everything that a value speaks of; of a msg_id, its task."""
    if isinstance(value, Ref):
        return {value, Ref(kind="task", number=value.number)} if value.kind == "id" else {value}
    if isinstance(value, tuple):
        return set().union(*map(_refs, value))
    return _refs(tuple(value.values())) if isinstance(value, dict) else set()


def _broken(made: str, function: str, arguments: list[str]) -> list[str]:
    """A call, in as many lines as it needs."""
    line = f"{_INDENT}{made}{function}({', '.join(arguments)})"
    if len(line) <= _WIDTH:
        return [line]
    inner = f"{_INDENT * 2}{', '.join(arguments)}"
    rows = [inner] if len(inner) <= _WIDTH else [f"{_INDENT * 2}{argument}," for argument in arguments]
    return [f"{_INDENT}{made}{function}(", *rows, f"{_INDENT})"]


__all__ = ["line_of", "scenario_text"]

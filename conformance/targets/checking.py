"""What can be wrong with a descriptor, found before anything is started. A typo must never quietly weaken a run.

Every function raises `Mistake` at the first thing that is wrong.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin

import msgspec

from conformance.targets import versions
from conformance.targets.tables import Controller, Samples, Table, Timing
from conformance.targets.vocabulary import FEATURES, OPTIONS, RUN_CODE, SLOTS, Role
from protocol import requirements

if TYPE_CHECKING:
    from conformance.targets.descriptor import Target

_PLACEHOLDER: Final = re.compile(r"\{\{|\}\}|\{([A-Za-z_]*)\}")


class Mistake(Exception):
    """What is wrong, in one sentence that names the place; `place` is that of the key, such as `timing.margin_s`."""

    def __init__(self, place: str, sentence: str, *, is_complete: bool = False) -> None:
        super().__init__(sentence if is_complete else f"{place}: {sentence}")
        self.place = place


def expand(text: str, values: Mapping[str, str]) -> str:
    """A text with its placeholders filled in. Raises KeyError for an unknown one."""
    return _PLACEHOLDER.sub(lambda found: values[found[1]] if found[1] is not None else found[0][0], text)


def hint(word: str, words: Iterable[str]) -> str:
    """`, did you mean 'x'?` if there is a word like this one, else nothing."""
    by_lower = {each.lower(): each for each in words}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return f", did you mean {by_lower[near[0]]!r}?" if near else ""


def check_names(raw: Mapping[str, Any], table: type[Table], where: str = "") -> None:
    """Every key, and every word of a closed list, has to be a known one."""
    # msgspec finds wrong names too, but not the name that was meant.
    fields = {field.encode_name: field for field in msgspec.structs.fields(table) if field.name != "file"}
    for key, value in raw.items():
        place = f"{where}{key}"
        if key not in fields:
            kind = "table" if isinstance(value, dict) else "key"
            allowed = f"; allowed here: {', '.join(fields)}" if not hint(key, fields) else ""
            raise Mistake(place, f"unknown {kind} {place!r}{hint(key, fields)}{allowed}", is_complete=True)
        for inner in _inner_types(fields[key].type):
            if get_origin(inner) is Literal:
                for word in value if isinstance(value, list) else [value]:
                    if isinstance(word, str):
                        _check_word(word, get_args(inner), place)
            elif isinstance(inner, type) and issubclass(inner, Table):
                entries = enumerate(value) if isinstance(value, list) else [("", value)]
                for number, entry in entries:
                    if isinstance(entry, dict):
                        check_names(entry, inner, f"{place}[{number}]." if number != "" else f"{place}.")


def _inner_types(kind: Any) -> Iterable[Any]:
    if get_origin(kind) is Literal or not get_args(kind):
        return (kind,)
    return [inner for part in get_args(kind) for inner in _inner_types(part)]


def check_values(target: Target) -> None:
    """What is said in different places has to fit together, and every placeholder has to stand for something."""
    for name, number in msgspec.structs.asdict(target.timing).items():
        if number < 0 or (number == 0 and name != "allowed_misses"):
            raise Mistake(f"timing.{name}", f"expected a positive number, found {number}")
    started = _check_roles(target)
    for feature in target.features:
        _check_word(feature, [name for role in target.roles for name in FEATURES[role]], "features")
    _check_samples(target)
    if target.version is not None:
        _check_command(target, None, target.version.command, "version.command")
        _check_rule(target.version.accepts, "version.accepts")
    for role in started:
        _check_start(target, role)
    for index, deviation in enumerate(target.deviations):
        _check_word(deviation.slug, requirements.load(), f"deviation[{index}].slug")
        _check_rule(deviation.versions, f"deviation[{index}].versions")
        for name in ("evidence", "reason"):
            if not getattr(deviation, name).strip() and not (name == "reason" and deviation.unreviewed):
                raise Mistake(f"deviation[{index}].{name}", "is empty")


def _check_roles(target: Target) -> tuple[Role, ...]:
    """The roles for which something is started; each of them has a table, and no other has."""
    if not target.roles:
        raise Mistake("roles", f"names no role; allowed: {', '.join(get_args(Role))}")
    started = () if target.is_simulated else target.roles
    for role in get_args(Role):
        if target.is_simulated and target.table(role) is not None:
            raise Mistake("roles", f"nothing is started for a simulated target, so there is no [{role}]")
        if (target.table(role) is None) == (role in started):
            raise Mistake(
                "roles",
                f"the role {role!r} needs a table [{role}]"
                if role in target.roles
                else f"there is a table [{role}], but {role!r} is not among the roles",
            )
    return started


def _check_rule(rule: str, where: str) -> None:
    try:
        versions.parse(rule)
    except ValueError as error:
        raise Mistake(where, str(error)) from None


def _check_start(target: Target, role: Role) -> None:
    table = target.table(role)
    assert table is not None
    if isinstance(table, Controller):
        for name in ("client_file", "engine_file"):
            _check_text(getattr(table, name), ("python", "here", "dir", *_timers()), f"controller.{name}")
    _check_command(target, role, table.command, f"{role}.command")
    values = target.placeholders(Path("dir"), role)
    for name, text in table.environment.items():
        _check_text(text, values, f"{role}.environment.{name}")
    for option, arguments in table.options.items() if isinstance(table, Controller) else ():
        _check_word(option, OPTIONS, "controller.options")
        for text in arguments:
            _check_text(text, (*values, option), f"controller.options.{option}")


def _check_command(target: Target, role: Role | None, command: tuple[str, ...], where: str) -> None:
    if not command or not command[0].strip():
        raise Mistake(where, "is empty")
    values = target.placeholders(Path("dir"), role)
    for text in command:
        _check_text(text, values, where)


def _check_samples(target: Target) -> None:
    given = {field.encode_name: getattr(target.samples, field.name) for field in msgspec.structs.fields(Samples)}
    if any(given.values()) and RUN_CODE.isdisjoint(target.roles):
        raise Mistake("samples", "are code for an engine or a kernel, and neither is among the roles")
    for name, text in given.items():
        slot = SLOTS.get(name)
        if text and slot and f"{{{slot}}}" not in text:
            raise Mistake(f"samples.{name}", f"lacks {{{slot}}}, in whose place the kit writes its own")


def _check_text(text: str, names: Iterable[str], where: str) -> None:
    known = list(names)
    for found in _PLACEHOLDER.finditer(text):
        if found[1] is not None and found[1] not in known:
            raise Mistake(
                where, f"unknown placeholder {found[0]}{hint(found[1], known)} (write {{{{ and }}}} for braces)"
            )


def _check_word(word: str, words: Iterable[str], where: str) -> None:
    choice = list(words)
    if word not in choice:
        few = f"; allowed: {', '.join(choice)}" if len(choice) <= 20 else ""
        raise Mistake(where, f"unknown value {word!r}{hint(word, choice)}{few}")


def _timers() -> list[str]:
    return [field.name for field in msgspec.structs.fields(Timing)]

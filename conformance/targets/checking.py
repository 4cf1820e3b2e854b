"""What can be wrong with a descriptor, found before anything is started. A typo must never quietly weaken a run.

Every function raises `Mistake` at the first thing that is wrong.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, get_args, get_origin

import msgspec

from conformance.targets import versions
from conformance.targets.profiles import PROFILES, core_of
from conformance.targets.tables import Controller, Engine, Kernel, Samples, Table, Timing
from conformance.targets.vocabulary import ENGINE_OPTIONS, FEATURES, OPTIONS, RUN_CODE, SLOTS, Role
from protocol import requirements

if TYPE_CHECKING:
    from conformance.targets.descriptor import Target

T = TypeVar("T", bound=Table)

#: The internal fields of a target, which no descriptor has.
INTERNAL: Final = ("file", "mutant", "python")
_PLACEHOLDER: Final = re.compile(r"\{\{|\}\}|\{([A-Za-z_]*)\}")
#: A step on the way to a place: a key, or an index.
_STEP: Final = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
_HEADER: Final = re.compile(r"\s*(\[{1,2})\s*([A-Za-z0-9_.-]+)\s*\]{1,2}\s*(?:#.*)?$")
#: What msgspec says of types, and of a key that is not there.
_TYPE: Final = re.compile(r"`([a-z]+)(?: \| null)?`")
_NO_KEY: Final = re.compile(r"object missing required field `([^`]+)`")
#: Its names of types, as someone who writes TOML knows them.
_TYPES: Final[Mapping[str, str]] = {
    "array": "a list in [ ]", "object": "a table", "str": "text in quotes", "int": "a whole number",
    "float": "a number", "bool": "true or false",
}  # fmt: skip
_KEY: Final = re.compile(r"\s*([A-Za-z0-9_.-]+)\s*=")


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
    fields = {field.encode_name: field for field in msgspec.structs.fields(table) if field.name not in INTERNAL}
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


def check_types(raw: Mapping[str, Any], more: Mapping[str, object], table: type[T]) -> T:
    """The table with these values and, of those that no descriptor has, `more`; each has to be of its type."""
    try:
        return msgspec.convert(dict(raw) | dict(more), table)
    except msgspec.ValidationError as error:
        sentence, _, where = str(error).partition(" - at ")
        place = where.strip("`").removeprefix("$.").removeprefix("$")
        sentence = _in_words(sentence[:1].lower() + sentence[1:])
        found, is_there = _value_at(raw, place)
        if is_there and place:
            sentence += f", found {_short(found)}"
        raise Mistake(place, sentence, is_complete=not place) from None


def _in_words(sentence: str) -> str:
    """What msgspec found, in words for a file of TOML."""
    if no_key := _NO_KEY.fullmatch(sentence):
        return f"lacks the key {no_key[1]}"
    return _TYPE.sub(lambda found: _TYPES.get(found[1], found[0]), sentence)


def _value_at(raw: Mapping[str, Any], place: str) -> tuple[Any, bool]:
    """The value at a place such as `deviation[0].slug`, and whether there is one."""
    value: Any = raw
    for key, index in _STEP.findall(place):
        try:
            value = value[int(index)] if index else value[key]
        except (KeyError, IndexError, TypeError, ValueError):
            return None, False
    return value, not isinstance(value, dict)


def line_of(text: str, place: str) -> int | None:
    """The number of the line in which the key at a place stands, or its table; None if it is not to be found."""
    found: dict[str, int] = {}
    counts: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = header[2]
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = f"{table}[{counts[table]}]"
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            found.setdefault(f"{table}.{key[1]}" if table else key[1], number)
    while place and place not in found:
        place = place[: max(place.rfind("."), place.rfind("["), 0)]
    return found.get(place)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def check_values(target: Target) -> None:
    """What is said in different places has to fit together, and every placeholder has to stand for something."""
    for name, number in msgspec.structs.asdict(target.timing).items():
        if number < 0 or (number == 0 and name != "allowed_misses"):
            raise Mistake(f"timing.{name}", f"expected a positive number, found {number}")
    started = _check_roles(target)
    for profile in target.profile:
        _check_profile(target, profile)
    if target.requirements is not None and not 1 <= target.requirements <= requirements.revision():
        raise Mistake(
            "requirements",
            f"expected a revision from 1 to {requirements.revision()}, which is the present one, found "
            f"{target.requirements}",
        )
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
    if isinstance(table, Controller | Kernel) and table.attach:
        _check_attached(table, role)
        return
    if not table.command:
        raise Mistake(role, "lacks the key command, by which the target is started" + (
            ", or attach = true for one that runs already" if isinstance(table, Controller | Kernel) else ""
        ))  # fmt: skip
    if isinstance(table, Kernel) and table.kernel_file:
        raise Mistake("kernel.kernel_file", "is for a kernel that runs already, with attach = true")
    if isinstance(table, Controller):
        for name in ("client_file", "engine_file"):
            _check_text(getattr(table, name), ("python", "here", "dir", *_timers()), f"controller.{name}")
    _check_command(target, role, table.command, f"{role}.command")
    values = target.placeholders(Path("dir"), role)
    for name, text in table.environment.items():
        _check_text(text, values, f"{role}.environment.{name}")
    for option, arguments in table.options.items() if isinstance(table, Controller | Engine) else ():
        _check_word(option, OPTIONS if role == "controller" else ENGINE_OPTIONS, f"{role}.options")
        for text in arguments:
            _check_text(text, (*values, option), f"{role}.options.{option}")


def _check_attached(table: Controller | Kernel, role: Role) -> None:
    """Of what runs already, only the files are asked for."""
    started = ("command", "environment", *(("options",) if isinstance(table, Controller) else ()))
    for name in started:
        if getattr(table, name):
            raise Mistake(f"{role}.{name}", "is for a target that the kit starts, and attach = true says that it runs")
    files = ("client_file", "engine_file") if isinstance(table, Controller) else ("kernel_file",)
    for name in files:
        if not getattr(table, name):
            raise Mistake(role, f"lacks the key {name}, the connection file of what runs already")
        _check_text(getattr(table, name), ("here",), f"{role}.{name}")


def _check_profile(target: Target, name: str) -> None:
    _check_word(name, [each for each, profile in PROFILES.items() if profile.role in target.roles], "profile")
    profile = PROFILES[name]
    core = core_of(profile.role)
    if core not in target.profile:
        raise Mistake("profile", f"{name!r} builds on {core!r}, which is not among the profiles")
    missing = [sample for sample in profile.samples if not given_samples(target)[sample]]
    if missing:
        raise Mistake("profile", f"{name!r} cannot be judged without the samples {', '.join(missing)}")


def given_samples(target: Target) -> dict[str, str]:
    """The samples of a target by the names of their keys; missing ones are empty."""
    return {field.encode_name: getattr(target.samples, field.name) for field in msgspec.structs.fields(Samples)}


def _check_command(target: Target, role: Role | None, command: tuple[str, ...], where: str) -> None:
    if not command or not command[0].strip():
        raise Mistake(where, "is empty")
    values = target.placeholders(Path("dir"), role)
    for text in command:
        _check_text(text, values, where)


def _check_samples(target: Target) -> None:
    given = given_samples(target)
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

"""The query language of `db_request`: which records a question selects.

A query is an object of conditions, all of which must hold:

    {"engine_uuid": "e7a3…", "completed": {"$ne": null}, "header.session": "c11e…"}

A key names a field, with dots into nested objects and arrays. A value is compared for equality, unless it is an object
of operators. The meaning is MongoDB's: null equals a missing field; a number equals a number of another type but no
boolean; only values of one type are ordered; an array fits when itself or one of its elements does; `$ne` and `$nin`
are the opposites of `$eq` and `$in`. Unlike there, objects are equal in whatever order their keys stand, and objects
and arrays have no order. `$glob`, a shell pattern, is an addition.

Every store selects with this one matcher, or with something narrower first, so that all of them answer the same.

Source: ipyparallel documentation, "IPython's Task Database"; MongoDB manual, "Query and Projection Operators".
"""

import re
from collections.abc import Callable, Iterator, Mapping
from fnmatch import translate
from math import isfinite
from operator import ge, gt, le, lt
from typing import Any, Final

Predicate = Callable[[Mapping[str, Any]], bool]
#: What a condition decides on: the values that a path leads to, arrays followed by their elements.
_Test = Callable[[list[Any]], bool]

#: So deep may the objects and arrays of a query be nested, and so many steps may a path have.
DEPTH: Final = 64


class QueryError(ValueError):
    """A query that cannot be understood; the text says which part of it."""


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


_MISSING: Final = _Missing()


def predicate(query: object) -> Predicate:
    """Whether a record fits a query, as a function of the record. Raises QueryError."""
    if not isinstance(query, dict):
        raise QueryError(f"a query is an object, not {_name(query)}")
    conditions = [(_path(key), _condition(key, value)) for key, value in query.items()]
    if len(conditions) == 1:
        path, test = conditions[0]
        return lambda record: test(_reached(record, path))
    return lambda record: all(test(_reached(record, path)) for path, test in conditions)


def same(one: object, other: object) -> bool:
    """Whether two values of JSON are equal: 1 equals 1.0 and not true, objects in any order of their keys."""
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(same(value, other[key]) for key, value in one.items())
        )
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    return _family(one) == _family(other) and one == other


def _path(key: object) -> tuple[str, ...]:
    if not isinstance(key, str) or not key:
        raise QueryError(f"a field has a name, not {key!r}")
    if key.startswith("$"):
        raise QueryError(f"unknown operator {key!r} in the place of a field")
    path = tuple(key.split("."))
    if len(path) > DEPTH:
        raise QueryError(f"a field is reached in at most {DEPTH} steps, not {len(path)}")
    return path


def _condition(key: str, value: object) -> _Test:
    if isinstance(value, dict) and any(name.startswith("$") for name in value):
        tests = [_operator(key, name, operand) for name, operand in value.items()]
        return tests[0] if len(tests) == 1 else lambda found: all(test(found) for test in tests)
    return _equals(_checked(key, value))


def _operator(key: str, name: str, operand: object) -> _Test:
    make = OPERATORS.get(name)
    if make is None:
        raise QueryError(f"unknown operator {name!r} for {key!r}; there are {', '.join(OPERATORS)}")
    try:
        return make(_checked(key, operand))
    except QueryError as error:
        raise QueryError(f"{name} of {key!r}: {error}") from None


def _checked(key: str, value: Any) -> Any:
    """The value, unless it is nested too deep to be compared."""
    level, depth = [value], 0
    while level := [
        item
        for each in level
        if isinstance(each, dict | list)
        for item in (each.values() if isinstance(each, dict) else each)
    ]:
        depth += 1
        if depth > DEPTH:
            raise QueryError(f"the value of {key!r} is nested more than {DEPTH} deep")
    return value


def _reached(record: Mapping[str, Any], path: tuple[str, ...]) -> list[Any]:
    """The values under a path, `_MISSING` where it breaks off; each array is followed by its elements."""
    value = record.get(path[0], _MISSING)
    if len(path) == 1:
        return [value, *value] if isinstance(value, list) else [value]
    return [item for each in _walk(value, path, 1) for item in ([each, *each] if isinstance(each, list) else [each])]


def _walk(value: Any, path: tuple[str, ...], at: int) -> Iterator[Any]:
    # As deep as the path is long; a generator, because arrays make several values of one.
    if at == len(path):
        yield value
    elif isinstance(value, dict):
        yield from _walk(value.get(path[at], _MISSING), path, at + 1)
    elif isinstance(value, list):
        index = path[at]
        if index.isascii() and index.isdigit() and len(index) < 10 and int(index) < len(value):
            yield from _walk(value[int(index)], path, at + 1)
        for each in value:
            if isinstance(each, dict):
                yield from _walk(each, path, at)
    else:
        yield _MISSING


# -- operators ---------------------------------------------------------------------------------------------------------


def _family(value: object) -> str:
    """The name of the type within which values are compared."""
    if value is None or value is _MISSING:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else type(value).__name__


def _equals(operand: Any) -> _Test:
    if operand is None:
        return lambda found: not found or any(each is None or each is _MISSING for each in found)
    if isinstance(operand, str):
        return lambda found: operand in found
    return lambda found: any(same(operand, each) for each in found)


def _differs(operand: Any) -> _Test:
    equals = _equals(operand)
    return lambda found: not equals(found)


def _ordered(compare: Callable[[Any, Any], bool], or_equal: bool) -> Callable[[Any], _Test]:
    def make(operand: Any) -> _Test:
        family = _family(operand)
        if family in ("number", "text", "boolean"):
            return lambda found: any(_family(each) == family and compare(each, operand) for each in found)
        return _equals(operand) if or_equal else lambda found: False  # noqa: ARG005

    return make


def _listed(operand: Any) -> list[Any]:
    if not isinstance(operand, list):
        raise QueryError(f"needs an array, not {_name(operand)}")
    return operand


def _in(operand: Any) -> _Test:
    listed = _listed(operand)
    texts = frozenset(each for each in listed if isinstance(each, str))
    tests = [_equals(each) for each in listed if not isinstance(each, str)]
    return lambda found: (
        any(isinstance(each, str) and each in texts for each in found) or any(test(found) for test in tests)
    )


def _not_in(operand: Any) -> _Test:
    test = _in(operand)
    return lambda found: not test(found)


def _all(operand: Any) -> _Test:
    tests = [_equals(each) for each in _listed(operand)]
    return lambda found: bool(tests) and all(test(found) for test in tests)


def _modulo(operand: Any) -> _Test:
    pair = _listed(operand)
    if len(pair) != 2 or not all(map(_is_finite, pair)):
        raise QueryError(f"needs [divisor, remainder], two numbers, not {_name(operand)}")
    divisor, wanted = (int(each) for each in pair)
    if divisor == 0:
        raise QueryError("the divisor is 0")

    def test(found: list[Any]) -> bool:
        for each in found:
            if _is_finite(each):
                number = int(each)  # fractions are cut off, and the remainder has the sign of the number
                rest = abs(number) % abs(divisor)
                if (-rest if number < 0 else rest) == wanted:
                    return True
        return False

    return test


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _exists(operand: Any) -> _Test:
    wanted = bool(operand)
    return lambda found: any(each is not _MISSING for each in found) is wanted


def _glob(operand: Any) -> _Test:
    if not isinstance(operand, str):
        raise QueryError(f"needs a pattern, not {_name(operand)}")
    match = re.compile(translate(operand)).match
    return lambda found: any(isinstance(each, str) and match(each) is not None for each in found)


#: Every operator, and what makes a test of its operand; what stands not here is unknown.
OPERATORS: Final[Mapping[str, Callable[[Any], _Test]]] = {
    "$eq": _equals,
    "$ne": _differs,
    "$lt": _ordered(lt, or_equal=False),
    "$gt": _ordered(gt, or_equal=False),
    "$lte": _ordered(le, or_equal=True),
    "$gte": _ordered(ge, or_equal=True),
    "$in": _in,
    "$nin": _not_in,
    "$all": _all,
    "$mod": _modulo,
    "$exists": _exists,
    "$glob": _glob,
}


def _name(value: object) -> str:
    names: dict[type, str] = {dict: "an object", list: "an array", str: "a text", bool: "a boolean"}
    return "null" if value is None else names.get(type(value), "a number" if _family(value) == "number" else "this")

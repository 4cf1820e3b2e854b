"""The buffers of apply messages: which holds what, told without loading a byte of them.

A request carries, each as one or more buffers in this order:

    function | info | argument 0, argument 1, ... | keyword arguments in the order of their sorted names

`info` is a pickled dictionary `{"nargs": int, "narg_bufs": int, "kw_keys": [str]}`: how many arguments there are, how
many buffers they take together, and the names of the keyword arguments. A reply carries the result in the same way.

Every object is one pickle, followed by the large pieces that were taken out of it: where a piece was, the pickle has
None in the list `buffers` of a canned object, and that is how many buffers follow. Canned objects are looked for at
the top, and one level down in lists, tuples, sets and dictionaries of fewer than 64 items. Functions of modules are
pickled by reference; others are canned with their code.

Source: IPython commit a2c57acba, parallel_messages.txt, section "apply"; measured on ipyparallel 9.2.0.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from protocol.errors import Problem, RemoteProtocolError
from protocol.pickles import Dictionary, Global, Instance, PickleError, Set, Value, trace, write
from protocol.wire import Frame

_LAYOUT: Final = "apply.request-buffers"
_COUNTS: Final = "apply.argument-counts-true"
_TWO: Final = "apply.request-buffers-at-least-two"
_RESULT: Final = "apply.returns-value"
_ONE: Final = "apply.reply-buffers-at-least-one"

#: Containers of this many items or more are pickled without looking for canned objects in them.
MAX_ITEMS: Final = 64
#: Bytes above which a piece travels in a buffer of its own.
THRESHOLD: Final = 1024
CANNING: Final = "ipyparallel.serialize.canning"
_CANNING_MODULES: Final = (CANNING, "ipykernel.pickleutil", "IPython.utils.pickleutil")

#: What the pickle of the info dictionary may consist of: nothing in it can run code.
_INFO_OPCODES: Final = frozenset((
    "PROTO", "FRAME", "STOP", "MARK", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "GET", "BINGET", "LONG_BINGET",
    "NONE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "UNICODE", "BINUNICODE",
    "SHORT_BINUNICODE", "BINUNICODE8", "LIST", "EMPTY_LIST", "APPEND", "APPENDS", "DICT", "EMPTY_DICT", "SETITEM",
    "SETITEMS",
))  # fmt: skip

Role = Literal["function", "info", "argument", "keyword", "result"]


class Info(NamedTuple):
    """The second object of a request."""

    nargs: int
    narg_bufs: int
    kw_keys: tuple[str, ...]


class Part(NamedTuple):
    """What one buffer holds.

    `position` counts arguments and results from 0, `keyword` names a keyword argument. `out_of_band` marks a piece that
    was taken out of the pickle before it. `size` is in bytes; `holds` says in words what the pickle builds.
    """

    buffer: int
    role: Role
    size: int
    holds: str
    out_of_band: bool = False
    position: int | None = None
    keyword: str | None = None


class Function(NamedTuple):
    """How a request gives what to call: by reference, canned with its code, or built by another call.

    `name` is `module.qualname` where there is one.
    """

    by: Literal["reference", "canned", "other"]
    name: str


class Call(NamedTuple):
    """The buffers of a request, described."""

    function: Function
    info: Info
    parts: tuple[Part, ...]


class _Reader:
    """Walks over buffers, describes them, and gathers what is wrong with them."""

    def __init__(self, buffers: Sequence[Frame], rule: str) -> None:
        self.buffers = buffers
        self.rule = rule
        self.at = 0
        self.parts: list[Part] = []
        self.problems: list[Problem] = []

    def object(
        self, role: Role, end: int, position: int | None = None, keyword: str | None = None
    ) -> Value | PickleError:
        """Describe the next object, which must lie before buffer `end`; a PickleError stands for a broken one."""
        what = _title(role, position, keyword)
        if self.at >= end:
            rule = _COUNTS if role in ("argument", "keyword") else ""
            return self.refuse(f"the pickle of {what}", "no buffer", self.at, rule)
        index = self.at
        self.at += 1
        try:
            value = trace(bytes(self.buffers[index]))
        except PickleError as error:
            return self.refuse(f"the pickle of {what}", str(error), index)
        missing = _holes(value)
        self.parts.append(Part(index, role, _size(self.buffers[index]), holds(value), False, position, keyword))
        if self.at + missing > end:
            found = f"{max(end - self.at, 0)} before the next object" if end < len(self.buffers) else "the end"
            return self.refuse(f"{missing} buffers taken out of {what}", found, index)
        for piece in range(self.at, self.at + missing):
            self.parts.append(Part(piece, role, _size(self.buffers[piece]), "bytes", True, position, keyword))
        self.at += missing
        return value

    def refuse(self, expected: str, found: str, index: int, rule: str = "") -> PickleError:
        self.problems.append(Problem("buffers", rule or self.rule, expected, found, f"[{index}]"))
        return PickleError(found)

    def finish(self) -> tuple[Part, ...]:
        if self.problems:
            raise RemoteProtocolError(*self.problems)
        return tuple(self.parts)


def describe_request(buffers: Sequence[Frame]) -> Call:
    """What the buffers of an apply_request hold.

    Raises RemoteProtocolError with every problem; the paths are `[index of the buffer]`.
    """
    if len(buffers) < 2:
        raise RemoteProtocolError(
            Problem("buffers", _TWO, "a function and the info dictionary, 2 buffers at least", str(len(buffers)))
        )
    reader = _Reader(buffers, _LAYOUT)
    called = reader.object("function", len(buffers))
    if isinstance(called, PickleError):
        reader.finish()
    info = _info(reader)
    if info is None:
        reader.finish()
    assert info is not None
    middle = reader.at + info.narg_bufs
    if middle > len(buffers):
        reader.refuse(f"{info.narg_bufs} buffers of arguments", str(len(buffers) - reader.at), len(buffers), _COUNTS)
        reader.finish()
    for position in range(info.nargs):
        if isinstance(reader.object("argument", middle, position), PickleError):
            break
    else:
        if reader.at < middle:
            reader.refuse("no further buffer among the arguments", f"{middle - reader.at} more", reader.at, _COUNTS)
    reader.at = middle
    for key in info.kw_keys:
        if isinstance(reader.object("keyword", len(buffers), keyword=key), PickleError):
            break
    else:
        if reader.at < len(buffers):
            reader.refuse("no further buffer", f"{len(buffers) - reader.at} more", reader.at, _COUNTS)
    return Call(_function(called), info, reader.finish())


def describe_reply(buffers: Sequence[Frame], results: int | None = 1) -> tuple[Part, ...]:
    """What the buffers of an apply_reply hold: the result of one call, or of `results` calls one after the other.

    `results=None` takes as many as there are (a coalesced broadcast reply, a result_reply). Raises RemoteProtocolError
    with every problem.
    """
    if results and len(buffers) < results:
        wanted = f"a pickled result for each of {results} calls" if results > 1 else "a pickled result"
        raise RemoteProtocolError(Problem("buffers", _ONE, wanted, f"{len(buffers)} buffers"))
    reader = _Reader(buffers, _RESULT)
    done = 0
    while reader.at < len(buffers) and (results is None or done < results):
        if isinstance(reader.object("result", len(buffers), done), PickleError):
            reader.finish()
        done += 1
    if results is not None and done < results:
        reader.refuse(f"{results} results", str(done), reader.at)
    elif reader.at < len(buffers):
        reader.refuse("no further buffer", f"{len(buffers) - reader.at} more", reader.at)
    return reader.finish()


def _info(reader: _Reader) -> Info | None:
    index = reader.at
    expected = "the info dictionary {nargs, narg_bufs, kw_keys}"
    if index >= len(reader.buffers):
        reader.refuse(expected, "no buffer", index)
        return None
    reader.at += 1
    try:
        value = trace(bytes(reader.buffers[index]), _INFO_OPCODES)
    except PickleError as error:
        reader.refuse(f"{expected}, of plain values", str(error), index)
        return None
    if not isinstance(value, Dictionary):
        reader.refuse(expected, holds(value), index)
        return None
    keys = value.get("kw_keys")
    counts = [value.get("nargs"), value.get("narg_bufs")]
    before = len(reader.problems)
    for name, count in zip(("nargs", "narg_bufs"), counts, strict=True):
        if type(count) is not int or count < 0:
            found = holds(count) if name in value else "nothing"
            reader.refuse(f"{name}, a number of at least 0", found, index, _COUNTS)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        reader.refuse("kw_keys, a list of names", holds(keys) if "kw_keys" in value else "nothing", index, _COUNTS)
    if len(reader.problems) > before:
        return None
    info = Info(counts[0], counts[1], tuple(keys))
    text = f"{info.nargs} arguments in {info.narg_bufs} buffers, keywords {list(info.kw_keys)}"
    reader.parts.append(Part(index, "info", _size(reader.buffers[index]), text))
    return info


def _size(frame: Frame) -> int:
    return memoryview(frame).nbytes


def _is_canned(value: Value) -> bool:
    return isinstance(value, Instance) and isinstance(value.kind, Global) and value.kind.module in _CANNING_MODULES


def _state(value: Instance, key: str) -> Value:
    return value.state.get(key) if isinstance(value.state, Dictionary) else None


def _holes(value: Value) -> int:
    """How many pieces were taken out of an object."""
    if _is_canned(value):
        pieces = _state(value, "buffers")
        return sum(piece is None for piece in pieces) if isinstance(pieces, list) else 0
    items = _items(value)
    if items is None or len(items) >= MAX_ITEMS:
        return 0
    return sum(_holes(item) for item in items if _is_canned(item))


def _items(value: Value) -> Sequence[Value] | None:
    if isinstance(value, Dictionary):
        return [item for _, item in value.pairs]
    if isinstance(value, Set):
        return value.items
    return value if isinstance(value, list) or type(value) is tuple else None


def _function(value: Value) -> Function:
    if isinstance(value, Global):
        return Function("reference", str(value))
    return Function("canned" if _is_canned(value) else "other", _name(value))


def _name(value: Value, depth: int = 4) -> str:
    """The name of a function inside canned objects. A pickle may contain itself, hence the limit."""
    if not _is_canned(value) or depth == 0:
        return holds(value)
    module, name = _state(value, "module"), _state(value, "__name__")
    if isinstance(module, str) and isinstance(name, str):
        return f"{module}.{name}"
    for key in ("func", "obj", "f"):
        inner = _state(value, key)
        if inner is not None:
            return _name(inner, depth - 1)
    return holds(value)


def holds(value: Value) -> str:
    """What a traced value is, in a few words."""
    match value:
        case int() if value.bit_length() > 128:
            return "a long int"
        case None | bool() | int() | float():
            return repr(value)
        case str() | bytes() | bytearray():
            return f"{type(value).__name__} of {len(value)}"
        case Global():
            return str(value)
        case Instance():
            if not isinstance(value.kind, Global):
                return "an object"
            return value.kind.name if _is_canned(value) else f"an object made by {value.kind}"
        case Dictionary():
            return f"dict of {len(value.pairs)}"
        case Set():
            return f"set of {len(value.items)}"
        case list() | tuple():
            return f"{type(value).__name__} of {len(value)}"
        case _:
            return type(value).__name__


def _title(role: Role, position: int | None, keyword: str | None) -> str:
    if keyword is not None:
        return f"keyword argument {keyword!r}"
    return f"{role} {position}" if position is not None else f"the {role}"


# --- making buffers ---------------------------------------------------------------------------------------------------


def pack_request(
    function: Global, *args: Value, keywords: Mapping[str, Value] | None = None, threshold: int = THRESHOLD
) -> list[bytes]:
    """The buffers of a call of a function that is pickled by reference, such as `Global("operator", "add")`.

    Arguments are what `protocol.pickles.write` can write. Bytes, and bytes directly in a list, tuple or dictionary, are
    canned; those longer than `threshold` travel in buffers of their own.
    """
    packed_args = [buffer for arg in args for buffer in pack_object(arg, threshold)]
    keywords = keywords or {}
    names = sorted(keywords)
    packed_keywords = [buffer for name in names for buffer in pack_object(keywords[name], threshold)]
    info = {"nargs": len(args), "narg_bufs": len(packed_args), "kw_keys": names}
    return [write(function), write(info), *packed_args, *packed_keywords]


def pack_object(value: Value, threshold: int = THRESHOLD) -> list[bytes]:
    """The buffers of one argument, or of the result in a reply."""
    taken: list[bytes] = []

    def can(item: Value) -> Value:
        if not isinstance(item, bytes):
            return item
        canned = Instance(Global(CANNING, "CannedBytes"), ())
        large = len(item) > threshold
        canned.state = {"buffers": [None if large else item]}
        if large:
            taken.append(item)
        return canned

    match value:
        case list() if len(value) < MAX_ITEMS:
            value = [can(item) for item in value]
        case tuple() if type(value) is tuple and len(value) < MAX_ITEMS:
            value = tuple(can(item) for item in value)
        case dict() if len(value) < MAX_ITEMS:
            value = {key: can(value[key]) for key in sorted(value)}
        case _:
            value = can(value)
    return [write(value), *taken]

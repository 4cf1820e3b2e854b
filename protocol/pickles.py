"""Pickles as data: what a pickle would build, told from its opcodes, and plain pickles written by hand.

Nothing here loads a pickle. `trace` runs the opcodes over stand-ins: a global is only its name, an instance only its
class, its arguments and its state, and nothing is imported or called. That is enough to say what the buffers of an
apply message hold, and safe for bytes from anybody. `write` makes pickles of plain values and of names, byte for byte
the same in every version of Python, which is what test vectors need.
"""

import pickletools
import struct
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

Value = Any


class Global(NamedTuple):
    """Something that the pickle names: a function or a class, found by importing it."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Instance:
    """What calling something would give: the callable (`kind`), its arguments, and the state set afterwards."""

    __slots__ = ("args", "items", "kind", "state")

    def __init__(self, kind: Value, args: Value) -> None:
        self.kind = kind
        self.args = args
        self.state: Value = None
        self.items: list[Value] = []


class Dictionary:
    """A dictionary as its pairs, in the order of the pickle; keys may be anything, so nothing is hashed."""

    __slots__ = ("pairs",)

    def __init__(self) -> None:
        self.pairs: list[tuple[Value, Value]] = []

    def get(self, key: str) -> Value:
        """The value under a string key, the last one if there are several; None if there is none."""
        return next((value for name, value in reversed(self.pairs) if isinstance(name, str) and name == key), None)

    def __contains__(self, key: str) -> bool:
        return any(isinstance(name, str) and name == key for name, _ in self.pairs)


class Set:
    """A set or frozen set, its items in the order of the pickle."""

    __slots__ = ("items",)

    def __init__(self, items: Iterable[Value] = ()) -> None:
        self.items = list(items)


class PickleError(ValueError):
    """These bytes are no pickle, or one that is cut off."""


#: What pickletools raises for bytes that are no pickle, and the stand-in machine for opcodes that make no sense.
_BROKEN: Final = (
    ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError, struct.error,
)  # fmt: skip

_PLAIN: Final = frozenset((
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "STRING", "BINSTRING", "SHORT_BINSTRING",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE",
    "BINUNICODE8", "FLOAT", "BINFLOAT",
))  # fmt: skip
_CONSTANT: Final[dict[str, Callable[[], Value]]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": Dictionary,
    "EMPTY_SET": Set,
    "NEXT_BUFFER": lambda: Instance(Global("pickle", "PickleBuffer"), ()),
}
_QUIET: Final = frozenset(("PROTO", "FRAME", "READONLY_BUFFER"))


class _Machine:
    """The pickle machine over stand-ins."""

    def __init__(self) -> None:
        self.stack: list[Value] = []
        self.marked: list[list[Value]] = []
        self.memo: dict[int, Value] = {}

    def to_mark(self) -> list[Value]:
        items, self.stack = self.stack, self.marked.pop()
        return items

    def step(self, name: str, arg: Any) -> None:
        stack = self.stack
        if name in _PLAIN:
            stack.append(arg)
        elif name in _CONSTANT:
            stack.append(_CONSTANT[name]())
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self.memo[arg] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self.memo[arg])
        elif name == "MARK":
            self.marked.append(stack)
            self.stack = []
        elif name not in _QUIET:
            self.build(name, arg)

    def build(self, name: str, arg: Any) -> None:
        match name:
            case "APPEND":
                item = self.stack.pop()
                _extend(self.stack[-1], [item])
            case "APPENDS" | "ADDITEMS":
                items = self.to_mark()
                _extend(self.stack[-1], items)
            case "SETITEM":
                value, key = self.stack.pop(), self.stack.pop()
                _update(self.stack[-1], [key, value])
            case "SETITEMS":
                items = self.to_mark()
                _update(self.stack[-1], items)
            case "LIST":
                items = self.to_mark()
                self.stack.append(items)
            case "TUPLE":
                items = self.to_mark()
                self.stack.append(tuple(items))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(name[-1])
                items = self.stack[-count:]
                if len(items) != count:
                    raise IndexError(name)
                self.stack[-count:] = [tuple(items)]
            case "DICT":
                made = Dictionary()
                _update(made, self.to_mark())
                self.stack.append(made)
            case "FROZENSET":
                items = self.to_mark()
                self.stack.append(Set(items))
            case "GLOBAL" | "STACK_GLOBAL" | "INST" | "OBJ" | "REDUCE" | "NEWOBJ" | "NEWOBJ_EX" | "BUILD":
                self.make(name, arg)
            case "POP":
                if self.stack:
                    self.stack.pop()
                else:
                    self.to_mark()
            case "POP_MARK":
                self.to_mark()
            case "DUP":
                self.stack.append(self.stack[-1])
            case "EXT1" | "EXT2" | "EXT4":
                self.stack.append(Global("copyreg", f"extension_{arg}"))
            case "PERSID":
                self.stack.append(Instance(Global("pickle", "persistent_load"), arg))
            case "BINPERSID":
                self.stack.append(Instance(Global("pickle", "persistent_load"), self.stack.pop()))
            case _:
                raise ValueError(f"opcode {name}")

    def make(self, name: str, arg: Any) -> None:
        stack = self.stack
        match name:
            case "GLOBAL":
                stack.append(_named(*arg.split(" ", 1)))
            case "STACK_GLOBAL":
                qualified, module = stack.pop(), stack.pop()
                stack.append(_named(module, qualified))
            case "INST":
                args = self.to_mark()
                self.stack.append(Instance(_named(*arg.split(" ", 1)), tuple(args)))
            case "OBJ":
                kind, *args = self.to_mark()
                self.stack.append(Instance(kind, tuple(args)))
            case "NEWOBJ_EX":
                keywords, args, kind = stack.pop(), stack.pop(), stack.pop()
                stack.append(Instance(kind, (args, keywords)))
            case "BUILD":
                state = stack.pop()
                if isinstance(stack[-1], Instance):
                    stack[-1].state = state
            case _:
                args, kind = stack.pop(), stack.pop()
                stack.append(Instance(kind, args))


def _named(module: Value, name: Value) -> Global:
    if not (isinstance(module, str) and isinstance(name, str)):
        raise TypeError("a global without a name")
    return Global(module, name)


def _extend(target: Value, items: list[Value]) -> None:
    if isinstance(target, list):
        target.extend(items)
    elif isinstance(target, Set | Instance):
        target.items.extend(items)
    else:
        raise TypeError("not a container")


def _update(target: Value, items: list[Value]) -> None:
    if len(items) % 2:
        raise ValueError("a key without a value")
    pairs = list(zip(items[::2], items[1::2], strict=True))
    if isinstance(target, Dictionary):
        target.pairs.extend(pairs)
    elif isinstance(target, Instance):
        target.items.extend(pairs)
    else:
        raise TypeError("not a dictionary")


def trace(data: bytes, allowed: frozenset[str] | None = None) -> Value:
    """What a pickle would build, over stand-ins: plain values, lists and tuples as themselves, everything else as
    `Global`, `Instance`, `Dictionary` or `Set`. Bytes after the end are ignored, as loading ignores them.

    `allowed` limits the opcodes. Raises PickleError for anything that is no complete pickle, or one with other opcodes.
    """
    machine = _Machine()
    name = "no opcode"
    try:
        for opcode, arg, position in pickletools.genops(data):
            name = opcode.name
            if allowed is not None and name not in allowed:
                raise PickleError(f"opcode {name} at byte {position}")
            if name == "STOP":
                return machine.stack[-1]
            machine.step(name, arg)
    except PickleError:
        raise
    except _BROKEN as error:
        raise PickleError(f"no pickle, or a broken one (after {name}: {str(error)[:120]})") from None
    raise PickleError("a pickle without an end")


def write(value: Value) -> bytes:
    """A pickle (protocol 4) of None, booleans, integers, floats, strings, bytes, lists, tuples, string-keyed
    dictionaries, `Global` (by reference), and `Instance` of a Global without arguments and with a dictionary as state.

    Raises TypeError for anything else.
    """
    return b"\x80\x04" + _write(value) + b"."


def _write(value: Value) -> bytes:
    match value:
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            return _integer(value)
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return _sized(value.encode(), b"\x8c", b"X")
        case bytes():
            return _sized(value, b"C", b"B")
        case Global():
            return _write(value.module) + _write(value.name) + b"\x93"
        case list():
            return b"](" + b"".join(map(_write, value)) + b"e"
        case tuple():
            return b"(" + b"".join(map(_write, value)) + b"t"
        case dict():
            return b"}(" + b"".join(_write(key) + _write(item) for key, item in value.items()) + b"u"
        case Instance():
            return _write(value.kind) + b")\x81" + _write(value.state) + b"b"
        case _:
            raise TypeError(f"no pickle is written for {type(value).__name__}")


def _integer(value: int) -> bytes:
    if 0 <= value < 256:
        return b"K" + bytes((value,))
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    digits = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8b" + struct.pack("<i", len(digits)) + digits


def _sized(data: bytes, short: bytes, long: bytes) -> bytes:
    return (short + bytes((len(data),)) if len(data) < 256 else long + struct.pack("<I", len(data))) + data

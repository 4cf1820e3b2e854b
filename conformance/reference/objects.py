"""Objects to buffers and back, as apply messages carry them: the layout of `protocol.applybuffers`.

Loading a pickle runs what it says; whoever holds the key of a cluster may do that on its engines, that is what engines
are for. Functions are pickled by reference. Real ipyparallel clients can theirs, code and all, which needs ipyparallel
to undo; where it is not installed, only canned bytes are understood, and a call that needs more is refused in words.
"""

import importlib.util
import io
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from protocol.applybuffers import CANNING, MAX_ITEMS, THRESHOLD, pack_object
from protocol.pickles import write
from protocol.wire import Frame

PROTOCOL: Final = 4
_CANNED: Final = b"ipyparallel"


class UnpackError(ValueError):
    """Buffers that are no call or no value; the text says why."""


class CannedBytes:
    """Stands for the class of this name in ipyparallel: bytes, beside the pickle or in it."""

    buffers: list[Any]


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module == CANNING:
            if name == "CannedBytes":
                return CannedBytes
            raise UnpackError(f"this engine cannot undo a {name}, because ipyparallel is not installed here")
        return super().find_class(module, name)


def has_ipyparallel() -> bool:
    """Whether ipyparallel can be imported; it is not imported for this."""
    return importlib.util.find_spec("ipyparallel") is not None


def pack(function: Callable[..., Any], args: Sequence[Any], keywords: Mapping[str, Any]) -> list[Frame]:
    """The buffers of a call. Raises PicklingError, AttributeError or TypeError for what cannot be pickled."""
    packed_args = [buffer for arg in args for buffer in pack_value(arg)]
    names = sorted(keywords)
    info = {"nargs": len(args), "narg_bufs": len(packed_args), "kw_keys": names}
    packed_keywords = [buffer for name in names for buffer in pack_value(keywords[name])]
    return [pickle.dumps(function, PROTOCOL), write(info), *packed_args, *packed_keywords]


def pack_value(value: Any) -> list[Frame]:
    """The buffers of an argument or a result; large bytes travel beside the pickle, uncopied."""
    if isinstance(value, bytes) and len(value) > THRESHOLD:
        return [*pack_object(value)]
    return [pickle.dumps(value, PROTOCOL)]


def pack_result(value: Any) -> list[Frame]:
    """The buffers of a result: as ipyparallel has it, if the call brought it along."""
    serialize = _ipyparallel("serialize_object")
    return list(serialize(value)) if serialize is not None else pack_value(value)


def unpack(
    buffers: Sequence[Frame], namespace: dict[str, Any]
) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """Function, arguments and keyword arguments of a call; functions with their code see `namespace` as globals.

    Raises UnpackError, or whatever an object raises while it is made.
    """
    if len(buffers) < 2:
        raise UnpackError(f"a call takes at least two buffers, and there are {len(buffers)}")
    if any(_CANNED in bytes(buffer[:200]) for buffer in buffers) and has_ipyparallel():
        from ipyparallel.serialize import unpack_apply_message

        function, args, keywords = unpack_apply_message([bytes(buffer) for buffer in buffers], namespace)
        return function, tuple(args), dict(keywords)
    rest = list(buffers)
    function = _take(rest)
    info = _load(rest.pop(0)) if rest else None
    if not isinstance(info, dict) or not callable(function):
        raise UnpackError("the first two buffers are no function and no description of its arguments")
    try:
        end = len(rest) - int(info["narg_bufs"])
        args = tuple(_take(rest) for _ in range(info["nargs"]))
        if len(rest) != end:
            raise UnpackError("the arguments have other buffers than was said")
        keywords = {str(key): _take(rest) for key in info["kw_keys"]}
    except (KeyError, TypeError) as error:
        raise UnpackError(f"the description of the arguments is not right: {error}") from None
    if rest:
        raise UnpackError(f"{len(rest)} buffers are left over")
    return function, args, keywords


def unpack_values(buffers: Sequence[Frame]) -> list[Any]:
    """The results in the buffers of one or several replies. Raises UnpackError."""
    values = []
    if any(_CANNED in bytes(buffer[:200]) for buffer in buffers) and has_ipyparallel():
        from ipyparallel.serialize import deserialize_object

        rest: list[Any] = [bytes(buffer) for buffer in buffers]
        while rest:
            value, rest = deserialize_object(rest)
            values.append(value)
        return values
    rest = list(buffers)
    while rest:
        values.append(_take(rest))
    return values


def _take(rest: list[Any]) -> Any:
    """The next object, with the pieces that travel behind its pickle."""
    if not rest:
        raise UnpackError("a buffer is missing")
    value = _load(rest.pop(0))
    if isinstance(value, list | tuple) and len(value) < MAX_ITEMS:
        found = [_restore(item, rest) for item in value]
        return found if type(value) is list else tuple(found) if type(value) is tuple else value
    if type(value) is dict and len(value) < MAX_ITEMS:
        return {key: _restore(item, rest) for key, item in value.items()}
    return _restore(value, rest)


def _restore(value: Any, rest: list[Any]) -> Any:
    if not isinstance(value, CannedBytes):
        return value
    if value.buffers[0] is None:
        if not rest:
            raise UnpackError("a buffer is missing")
        return bytes(rest.pop(0))
    return bytes(value.buffers[0])


def _load(data: Frame) -> Any:
    try:
        return _Unpickler(io.BytesIO(data)).load()
    except (pickle.UnpicklingError, EOFError, IndexError) as error:
        raise UnpackError(f"a buffer is no pickle: {error}") from None


def _ipyparallel(name: str) -> Any:
    """A function of ipyparallel's serialisation, if somebody has imported that already."""
    import sys

    return getattr(sys.modules.get("ipyparallel.serialize"), name, None)

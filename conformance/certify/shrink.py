"""Fewer and simpler operations that still make the two worlds differ."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from conformance.certify.operations import Operation

Judge = Callable[[Sequence[Operation]], object | None]


def shrink(operations: Sequence[Operation], judge: Judge, *, attempts: int = 2000) -> list[Operation]:
    """The operations that are needed for `judge` to find something; it is called at most `attempts` times."""
    left = [attempts]

    def fails(some: Sequence[Operation]) -> bool:
        if left[0] <= 0:
            return False
        left[0] -= 1
        return judge(some) is not None

    kept = list(operations)
    size = max(1, len(kept) // 2)
    while size:
        index = len(kept)
        has_shrunk = False
        while index > 0:
            fewer = kept[: max(0, index - size)] + kept[index:]
            if fails(fewer):
                kept, has_shrunk = fewer, True
            index -= size
        if size > 1 or not has_shrunk:
            size //= 2
    for index, operation in enumerate(kept):
        for simpler in _simpler(operation):
            fewer = [*kept[:index], simpler, *kept[index + 1 :]]
            if fails(fewer):
                kept = fewer
                break
    return kept


def _simpler(operation: Operation) -> list[Operation]:
    if operation.name == "open":
        kind, options = operation.value
        assert isinstance(options, tuple)
        fewer = [options[:index] + options[index + 1 :] for index in range(len(options))]
        return [replace(operation, value=(kind, ())), *(replace(operation, value=(kind, one)) for one in fewer)]
    if operation.name == "burst":
        target, frames, _ = operation.value
        return [replace(operation, name="send", value=(target, frames))]
    if operation.name == "drain":
        return [replace(operation, name="recv")]
    return []

"""Buffers as one run of bytes with their lengths, in pieces that a database takes."""

from collections.abc import Iterable, Iterator, Sequence

from protocol.wire import Frame


def lengths(buffers: Sequence[Frame]) -> list[int]:
    """The number of bytes of each buffer."""
    return [memoryview(buffer).nbytes for buffer in buffers]


def pieces(buffers: Sequence[Frame], size: int) -> Iterator[bytes]:
    """All bytes of the buffers, one after the other, in pieces of at most `size` bytes."""
    if sum(lengths(buffers)) <= size:
        joined = b"".join(buffers)
        if joined:
            yield joined
        return
    piece = bytearray()
    for buffer in buffers:
        view = memoryview(buffer).cast("B")
        while view.nbytes:
            part = view[: size - len(piece)]
            piece += part
            view = view[part.nbytes :]
            if len(piece) == size:
                yield bytes(piece)
                piece.clear()
    if piece:
        yield bytes(piece)


def cut(found: Iterable[bytes], lens: Sequence[int]) -> tuple[bytes, ...]:
    """The buffers again."""
    joined = b"".join(found)
    buffers, at = [], 0
    for length in lens:
        buffers.append(joined[at : at + length])
        at += length
    return tuple(buffers)

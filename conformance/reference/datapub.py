"""Data that code publishes while it runs, beside its output: what `ipyparallel.datapub` is on engines of ipyparallel.

    from conformance.reference.datapub import publish_data
    publish_data({"progress": 0.5})

Clients of ipyparallel show it as `AsyncResult.data`.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from conformance.reference.objects import pack_result
from protocol.wire import Frame


class Publish(Protocol):
    """Publishes a message of a type with this content."""

    def __call__(self, kind: str, content: Mapping[str, Any], buffers: Sequence[Frame] = ()) -> None:
        """Do it."""


_engines: list[Publish] = []


@contextlib.contextmanager
def offered(publish: Publish) -> Iterator[None]:
    """Let code of this process publish data on an engine's behalf."""
    _engines.append(publish)
    try:
        yield
    finally:
        _engines.remove(publish)


def publish_data(data: Mapping[str, Any]) -> None:
    """Publish these names and values. Raises RuntimeError where no engine is, and what an unpicklable value raises."""
    if not _engines:
        raise RuntimeError("data can be published only by code that an engine runs")
    _engines[-1]("data_message", {"keys": [str(name) for name in data]}, pack_result(dict(data)))


__all__ = ["Publish", "offered", "publish_data"]

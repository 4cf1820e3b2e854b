"""How an engine is set up, and what its process tells it when a job has ended."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from protocol.wire import Frame


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Times are nanoseconds.

    `uuid` is the identity of all sockets and the session of all headers; `id` is the number to ask for. `timeout` is
    the wait for the registration reply. `misses` checks in a row without a ping end the engine, 0 switches that off; a
    check comes every heartbeat period (`period`, unless the registration reply tells another) plus `slack`.

    `returns`: whether an engine that was held up, or cut off for a while, asks to be registered again; the Hub
    refuses that if it never lost the engine. `refresh`: after so many checks it asks in any case, since nothing
    tells it that its beats no longer arrive, or that the Hub forgot it; 0 switches that off. `hosted` names the
    requests, such as `is_complete_request`, that the process answers itself, as `Run` jobs. `remembered` jobs that
    ended may still publish, from their threads; an abort that overtook what it names is remembered for as many ids.
    """

    uuid: str
    id: int | None = None
    timeout: int = 5_000_000_000
    misses: int = 50
    period: int = 3_000_000_000
    slack: int = 500_000_000
    returns: bool = True
    refresh: int = 0
    hosted: tuple[str, ...] = ()
    remembered: int = 100
    notes: bool = False


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ended: the result of its `Finished`.

    `content` of an error has `ename`, `evalue` and `traceback`; otherwise it holds what the reply needs beyond its
    status: `payload` and `user_expressions` of executed code, all of a hosted request's answer. `buffers` are the
    serialised value of an applied function. `dependencies_met` is False when the engine cannot run the task and another
    may.
    """

    status: Literal["ok", "error"] = "ok"
    content: dict[str, Any] = {}
    buffers: Sequence[Frame] = ()
    dependencies_met: bool = True


__all__ = ["EngineConfig", "Outcome"]

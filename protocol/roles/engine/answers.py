"""Answers to what a kernel is asked besides execution: the least that is correct.

An engine whose process knows more says so in `EngineConfig.hosted`; then the process answers. `unknown`, no candidates,
nothing found and an empty history are answers that every frontend must be able to take.

Source: jupyter_client messaging.rst, section "Messages on the shell (ROUTER/DEALER) channel".
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from protocol.messages import Content, Empty
from protocol.messages.kernel_shell import (
    CommInfoRequest,
    CompleteRequest,
    ExecuteRequest,
    InspectRequest,
    IsCompleteRequest,
    KernelHistoryRequest,
)
from protocol.roles.speech import content_of
from protocol.wire import Json, Message

KERNEL_INFO: Final[Json] = {
    "status": "ok",
    "protocol_version": "5.4",
    "implementation": "ippkit",
    "implementation_version": "0.1",
    "language_info": {"name": "python", "version": "3", "mimetype": "text/x-python", "file_extension": ".py"},
    "banner": "An engine of the IPython Parallel conformance kit",
    "help_links": [],
    "supported_features": [],
}


def _complete(content: Any) -> Json:
    length = len(content.code)
    at = length if content.cursor_pos is None else min(max(content.cursor_pos, 0), length)
    return {"status": "ok", "matches": [], "cursor_start": at, "cursor_end": at, "metadata": {}}


#: Message type -> the type of its content, and the answer to it.
ANSWERS: Final[Mapping[str, tuple[type[Content], Callable[[Any], Json]]]] = {
    "kernel_info_request": (Empty, lambda _: dict(KERNEL_INFO)),
    "is_complete_request": (IsCompleteRequest, lambda _: {"status": "unknown"}),
    "complete_request": (CompleteRequest, _complete),
    "inspect_request": (InspectRequest, lambda _: {"status": "ok", "found": False, "data": {}, "metadata": {}}),
    "history_request": (KernelHistoryRequest, lambda _: {"status": "ok", "history": []}),
    "comm_info_request": (CommInfoRequest, lambda _: {"status": "ok", "comms": {}}),
    "connect_request": (Empty, lambda _: {"status": "ok"}),
}


def read(message: Message, kind: type[Content]) -> Any:
    """The typed content of a request. Raises ValueError, which says what is wrong with it."""
    content = content_of(message)
    if content is None:
        raise ValueError("the content cannot be read")
    try:
        return msgspec.convert(content, kind)
    except (msgspec.ValidationError, UnicodeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def execute_fields(message: Message) -> tuple[bool, bool, bool]:
    """Of an execute request: whether it is silent, whether it counts, whether its error aborts what is queued."""
    content: ExecuteRequest = read(message, ExecuteRequest)
    silent = content.silent is True
    counts = not silent and content.store_history is not False and bool(content.code.strip())
    return silent, counts, content.stop_on_error is not False and not silent


__all__ = ["ANSWERS", "KERNEL_INFO", "execute_fields", "read"]

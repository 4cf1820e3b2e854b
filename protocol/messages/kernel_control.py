"""Requests to a kernel that may not wait for user code: shutdown, interrupt, debugger, subshells, usage.

Source: jupyter_client messaging.rst, section "Messages on the Control (ROUTER/DEALER) channel".
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from protocol.messages.base import ALL, MODERN, OLD, Content, Empty, MessageType, OkContent
from protocol.messages.kernel_shell import KERNEL_CHANNELS, pair

_SPEC = 'jupyter_client messaging.rst, section "Messages on the Control (ROUTER/DEALER) channel"'
_CONTROL = ("kernel-control",)


class KernelShutdownRequest(Content, frozen=True, kw_only=True):
    """End the kernel."""

    restart: Annotated[
        bool, Meta(description="Whether the launcher will start it again; the kernel itself never does.")
    ]


class KernelShutdownReply(Content, frozen=True, kw_only=True):
    """The kernel is about to end. Before protocol 5 there was no status."""

    restart: Annotated[bool, Meta(description="As asked.")]
    status: Literal["ok"] | UnsetType = UNSET


class InterruptReply(OkContent, frozen=True):
    """The interrupt is under way."""


class DebugRequest(Content, frozen=True, kw_only=True):
    """A request of the Debug Adapter Protocol."""

    type: Literal["request"]
    seq: Annotated[int, Meta(description="Number of the request; the response names it.")]
    command: Annotated[str, Meta(description="What the debugger shall do.")]
    arguments: Annotated[Any, Meta(description="Its arguments.")] = UNSET


class DebugReply(Content, frozen=True, kw_only=True):
    """A response of the Debug Adapter Protocol: there is no status, `success` tells."""

    type: Literal["response"]
    request_seq: Annotated[int, Meta(description="`seq` of the request.")]
    success: Annotated[bool, Meta(description="Whether it was done.")]
    command: Annotated[str, Meta(description="The command asked for.")]
    seq: int | UnsetType = UNSET
    message: Annotated[str | UnsetType, Meta(description="Why not.")] = UNSET
    body: Annotated[Any, Meta(description="The result.")] = UNSET


class CreateSubshellReply(OkContent, frozen=True, kw_only=True):
    """A subshell runs."""

    subshell_id: Annotated[str, Meta(description="What the headers of its requests name.")]


class DeleteSubshellRequest(Content, frozen=True, kw_only=True):
    """End a subshell."""

    subshell_id: Annotated[str, Meta(description="Which one.")]


class DeleteSubshellReply(OkContent, frozen=True):
    """It has ended."""


class ListSubshellReply(OkContent, frozen=True, kw_only=True):
    """The subshells there are."""

    subshell_id: Annotated[list[str], Meta(description="A list, although the key is in the singular.")]


class UsageReply(Content, frozen=True, kw_only=True):
    """What the kernel and its machine use; usually no status. The last four need a library and may be missing."""

    status: Literal["ok"] | UnsetType = UNSET

    hostname: str | UnsetType = UNSET
    pid: int | UnsetType = UNSET
    cpu_count: int | UnsetType | None = UNSET
    kernel_cpu: Annotated[float | UnsetType, Meta(description="Percent of one processor.")] = UNSET
    kernel_memory: Annotated[float | UnsetType, Meta(description="Bytes.")] = UNSET
    host_virtual_memory: Annotated[dict[str, Any] | UnsetType, Meta(description="Bytes, by kind.")] = UNSET
    host_cpu_percent: float | UnsetType = UNSET


_SUBSHELL = "5b5e110100112233445566778899aabb"
_SHUTDOWN_DOC = "Ends the kernel after an answer. The launcher, not the kernel, starts it again."

ROWS: tuple[MessageType, ...] = (
    *pair(
        "shutdown", KernelShutdownRequest, (KernelShutdownReply,), KERNEL_CHANNELS, ALL,
        _SHUTDOWN_DOC,
        "The kernel ends. A copy goes out on IOPub.",
        {"restart": False}, {"status": "ok", "restart": False}, source=_SPEC,
    ),
    *pair(
        "shutdown", KernelShutdownRequest, (KernelShutdownReply,), ("starter-up", "starter-down"), (OLD,),
        "The one request that a kernel starter handles itself, besides passing it down; it forwards all others unseen.",
        "The kernel ends; the starter makes sure of it.",
        {"restart": True}, {"restart": True},
        source="IPython commit 7bde2f380 (2011), file entry_point.py", lived="IPython 0.11 and 0.12",
    ),
    *pair(
        "interrupt", Empty, (InterruptReply,), _CONTROL, MODERN,
        "Interrupts what runs, for kernels that are not interrupted by a signal.",
        "The interrupt is under way; the request that ran is answered with an error.",
        {}, {"status": "ok"}, source=_SPEC,
    ),
    *pair(
        "debug", DebugRequest, (DebugReply,), _CONTROL, MODERN,
        "Talks to the debugger.",
        "The debugger's response, as its own protocol has it.",
        {"type": "request", "seq": 1, "command": "debugInfo", "arguments": {}},
        {"type": "response", "request_seq": 1, "success": True, "command": "debugInfo", "body": {"isStarted": False}},
        source=_SPEC,
    ),
    *pair(
        "create_subshell", Empty, (CreateSubshellReply,), _CONTROL, MODERN,
        "Starts a thread that answers shell requests of its own.",
        "The subshell runs.",
        {}, {"status": "ok", "subshell_id": _SUBSHELL}, source=_SPEC,
    ),
    *pair(
        "delete_subshell", DeleteSubshellRequest, (DeleteSubshellReply,), _CONTROL, MODERN,
        "Ends a subshell.",
        "It has ended.",
        {"subshell_id": _SUBSHELL}, {"status": "ok"}, source=_SPEC,
    ),
    *pair(
        "list_subshell", Empty, (ListSubshellReply,), _CONTROL, MODERN,
        "Asks which subshells there are.",
        "Their ids.",
        {}, {"status": "ok", "subshell_id": [_SUBSHELL]}, source=_SPEC,
    ),
    *pair(
        "usage", Empty, (UsageReply,), _CONTROL, MODERN,
        "Asks what the kernel uses of its machine. Undocumented.",
        "Processor and memory.",
        {}, {"hostname": "localhost", "pid": 4400, "cpu_count": 2}, source="measured on ipykernel 7.4.0",
    ),
)  # fmt: skip

"""What happens in the recorded logs of plain kernels. See make_logs."""

from typing import Any

import msgspec
from make_logs import OK, Story, log

from protocol.world import Observation

Seen = Observation | None


def ask(
    story: Story, msg_type: str, content: object = None, *, party: str = "frontend-1", **header: Any
) -> Observation:
    """A request on shell."""
    story.setting = msgspec.structs.replace(story.setting, role="kernel")
    message = story.message(party, msg_type, content, header=header)
    return story.see(party, "kernel-shell", "sent", story.frames(message))


def run(story: Story, party: str = "frontend-1") -> Observation:
    """A request for code."""
    return ask(story, "execute_request", {"code": "1"}, party=party)


def told(story: Story, channel: str, party: str, request: Observation, msg_type: str, content: object,
         **fields: Any) -> Observation:  # fmt: skip
    """Something that the kernel sends for a request."""
    assert request.message is not None
    message = story.message("kernel", msg_type, content, parent=request.message.header, **fields)
    return story.see(party, channel, "received", story.frames(message))


def answer(story: Story, request: Observation, count: int = 1, party: str = "") -> Observation:
    """The reply to a request for code."""
    content = OK | {"execution_count": count, "user_expressions": {}}
    return told(story, "kernel-shell", party or request.observer, request, "execute_reply", content)


def publish(story: Story, request: Observation, msg_type: str, **content: object) -> Observation:
    """Something that is published for a request."""
    return told(story, "kernel-iopub", "listener", request, msg_type, content, identities=[b"topic"])


def status(story: Story, request: Observation, state: str) -> Observation:
    """A status that is published for a request."""
    return publish(story, request, "status", execution_state=state)


def heard(story: Story) -> None:
    """A request of before, of which the listener has heard everything that comes when it listens already."""
    request = ask(story, "kernel_info_request", {})
    status(story, request, "busy")
    info = OK | {
        "protocol_version": "5.4", "implementation": "kit", "implementation_version": "1", "banner": "",
        "language_info": {"name": "kit", "version": "1", "mimetype": "text/plain", "file_extension": ".kit"},
    }  # fmt: skip
    told(story, "kernel-shell", "frontend-1", request, "kernel_info_reply", info)
    status(story, request, "idle")


@log("kernel.status-brackets", guilty="kernel")
def _(story: Story, broken: bool) -> Seen:
    heard(story)
    request = run(story)
    status(story, request, "busy")
    answer(story, request)
    last = status(story, request, "busy" if broken else "idle")
    status(story, request, "idle") if broken else None
    return last


@log("kernel.output-after-busy", guilty="kernel")
def _(story: Story, broken: bool) -> Seen:
    heard(story)
    request = run(story)
    early = publish(story, request, "stream", name="stdout", text="1") if broken else None
    status(story, request, "busy")
    offence = early or publish(story, request, "stream", name="stdout", text="1")
    answer(story, request)
    status(story, request, "idle")
    return offence


@log("kernel.execute-input-first", guilty="kernel")
def _(story: Story, broken: bool) -> Seen:
    heard(story)
    request = run(story)
    status(story, request, "busy")
    if broken:
        publish(story, request, "stream", name="stdout", text="1")
    offence = publish(story, request, "execute_input", code="1", execution_count=1)
    answer(story, request)
    status(story, request, "idle")
    return offence


@log("kernel.shell-fifo", guilty="kernel")
def _(story: Story, broken: bool) -> Seen:
    requests = [run(story), run(story)]
    for request in reversed(requests) if broken else requests:
        offence = answer(story, request)
    return offence


@log("kernel.execution-count", guilty="kernel")
def _(story: Story, broken: bool) -> Seen:
    answer(story, run(story), 2)
    return answer(story, run(story), 1 if broken else 3)


@log("kernel.reply-to-sender-only", guilty="kernel")
def _(story: Story, broken: bool) -> Seen:
    answer(story, run(story, "frontend-1"))
    request = run(story, "frontend-2")
    return answer(story, request, 2, "frontend-1" if broken else "frontend-2")


@log("stdin.goes-to-requester", guilty="kernel")
def _(story: Story, broken: bool) -> Seen:
    request = run(story)
    content = {"prompt": "who", "password": False}
    offence = told(story, "kernel-stdin", "frontend-2" if broken else "frontend-1", request, "input_request", content)
    answer(story, request)
    return offence


@log("kernel.heartbeat-echo", guilty="kernel")
def _(story: Story, broken: bool) -> Seen:
    story.see("frontend-1", "kernel-heartbeat", "sent", [b"ping"], "raw by design: a heartbeat")
    return story.see("frontend-1", "kernel-heartbeat", "received", [b"pong" if broken else b"ping"])

"""Kernels: what code writes, shows and raises, and the brackets around every request, on IOPub.

Source: jupyter_client messaging.rst, "Messages on the IOPub (PUB/SUB) channel"; measured on ipykernel 7.4.0.
"""

import pytest

from conformance.harness.case import needs, requirement
from conformance.harness.kernel import Frontend, KernelUnderTest
from conformance.harness.verdict import NotApplicable, violate
from protocol.wire import Json, Message
from protocol.world import Observation

#: How many lines code prints that prints many.
LINES = 1000


def done(frontend: Frontend, sample: str, content: dict[str, object] | None = None, **values: object) -> Message:
    """Code that has run, all of whose output has come."""
    request = frontend.execute(frontend.kernel.sample(sample, **values), content=content)
    frontend.kernel.done(request)
    return request


def barrier(frontend: Frontend) -> None:
    """Whatever was published late has come when another request is done."""
    frontend.kernel.done(frontend.send("kernel_info_request"))


def types(seen: list[Observation]) -> list[str]:
    """The types of what was published."""
    return [each.message.msg_type for each in seen if each.message]


def expect_brackets(frontend: Frontend, request: Message, requirement: str = "kernel.status-brackets") -> None:
    """What was published for a request must lie between one busy and one idle."""
    kernel = frontend.kernel
    started, limit = kernel.world.now, kernel.timing.reply_deadline
    if not kernel.world.run_until(lambda: "idle" in kernel.states(request), started + limit):
        kernel.expect_waited(started, limit)
        violate(f"the states {kernel.states(request)} for {request.msg_type}", "busy, then idle",
                requirement=requirement)  # fmt: skip
    barrier(frontend)
    if kernel.states(request) != ["busy", "idle"]:
        violate(f"the states {kernel.states(request)} for {request.msg_type}", "busy, then idle",
                requirement=requirement)  # fmt: skip
    found = types(kernel.outputs(request))
    if found[0] != "status" or found[-1] != "status":
        violate(", ".join(found), "status busy first, status idle last", requirement="kernel.output-after-busy")


# -- brackets ----------------------------------------------------------------------------------------------------------


@requirement("kernel.status-brackets", "kernel.output-after-busy", "kernel.idle-after-output")
@pytest.mark.parametrize("sample", ["print", "raise", "value", "many_lines"])
def test_output_lies_between_one_busy_and_one_idle(kernel: KernelUnderTest, sample: str) -> None:
    frontend = kernel.frontend()
    request = frontend.execute(kernel.sample(sample, text="hello", count=20))
    frontend.reply(request)
    kernel.world.run_until(lambda: "idle" in kernel.states(request), kernel.world.now + kernel.timing.reply_deadline)
    if sample == "many_lines" and kernel.text(request).count("\n") != 20:
        violate(f"{kernel.text(request)!r:.200} before idle", "20 lines", requirement="kernel.idle-after-output")
    expect_brackets(frontend, request)


QUESTIONS = {
    "kernel_info_request": {},
    "complete_request": {"code": "", "cursor_pos": 0},
    "inspect_request": {"code": "", "cursor_pos": 0},
    "is_complete_request": {"code": ""},
    "history_request": {"output": False, "raw": True, "hist_access_type": "tail", "n": 1},
    "comm_info_request": {},
    "connect_request": {},
}


@requirement("kernel.status-brackets")
@pytest.mark.parametrize(
    "msg_type",
    ["kernel_info_request", *(pytest.param(f"{word}_request".replace("-", "_"), marks=needs(word))
     for word in ("complete", "inspect", "is-complete", "history", "comm-info", "connect"))],
)  # fmt: skip
def test_each_request_is_bracketed(kernel: KernelUnderTest, msg_type: str) -> None:
    frontend = kernel.frontend()
    request = frontend.send(msg_type, QUESTIONS[msg_type])
    frontend.reply(request)
    expect_brackets(frontend, request)


@requirement("kernel.status-brackets")
def test_a_request_on_control_is_bracketed(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    request = frontend.send("kernel_info_request", channel="kernel-control")
    frontend.reply(request)
    expect_brackets(frontend, request)


@requirement("kernel.overlapping-brackets", "kernel.status-brackets")
def test_a_request_on_control_during_a_cell_has_brackets_of_its_own(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    running = frontend.execute(kernel.sample("sleep", seconds=0.3))
    kernel.until_running(running)
    question = frontend.send("kernel_info_request", channel="kernel-control")
    kernel.done(question)
    kernel.done(running)
    for request in (running, question):
        expect_brackets(frontend, request)


@requirement("kernel.unknown-type-bracketed")
def test_an_unknown_type_has_its_brackets(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    request = frontend.send("request_of_tomorrow", {"key": 1}, why="a type that nobody knows")
    expect_brackets(frontend, request, "kernel.unknown-type-bracketed")


@requirement("kernel.starting-once")
def test_a_kernel_that_starts_says_so_once(fresh_kernel: KernelUnderTest) -> None:
    said = [seen for seen in fresh_kernel.first_words if seen.message and seen.message.msg_type == "status"
            and seen.message.content.get("execution_state") == "starting"]  # fmt: skip
    if not said:
        raise NotApplicable("nobody heard it start: it spoke before anybody could hear it, or not at all")
    if len(said) > 1:
        violate(f"{len(said)} times status starting", "once", evidence=tuple(seen.seq for seen in said))
    assert said[0].message is not None
    if said[0].message.parent_header:
        violate(f"the parent header {said[0].message.parent_header!r:.200}", "{}", evidence=(said[0].seq,))


# -- streams -----------------------------------------------------------------------------------------------------------


@requirement("kernel.stream-complete")
@pytest.mark.parametrize(("sample", "stream"), [("print", "stdout"), ("stderr", "stderr")])
def test_what_code_writes_is_published(kernel: KernelUnderTest, sample: str, stream: str) -> None:
    request = done(kernel.frontend(), sample, text="hello")
    if kernel.text(request, stream) != "hello\n":
        violate(f"{stream}: {kernel.text(request, stream)!r:.200}", repr("hello\n"))


@requirement("kernel.stream-complete")
def test_many_lines_arrive_complete_and_in_order(kernel: KernelUnderTest) -> None:
    request = done(kernel.frontend(), "many_lines", count=LINES)
    found, wanted = kernel.text(request).splitlines(), [str(number) for number in range(LINES)]
    if found != wanted:
        at = next((n for n, (one, other) in enumerate(zip(found, wanted, strict=False)) if one != other), len(found))
        violate(f"{len(found)} lines, and {found[at : at + 3]!r} at line {at}", f"{LINES} lines in order")


@requirement("kernel.stream-complete")
def test_a_very_long_line_arrives_whole(kernel: KernelUnderTest) -> None:
    text = "x" * 300_000
    request = done(kernel.frontend(), "print", text=text)
    if kernel.text(request) != text + "\n":
        violate(f"{len(kernel.text(request))} characters", f"{len(text) + 1} characters")


@requirement("kernel.streams-apart", "kernel.stream-complete")
def test_each_stream_is_complete_by_itself(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    parts = [kernel.sample(("print", "stderr")[number % 2], text=f"word{number}") for number in range(6)]
    request = frontend.execute("\n".join(parts))
    kernel.done(request)
    for stream, first in (("stdout", 0), ("stderr", 1)):
        wanted = "".join(f"word{number}\n" for number in range(first, 6, 2))
        if kernel.text(request, stream) != wanted:
            violate(f"{stream}: {kernel.text(request, stream)!r:.200}", repr(wanted),
                    requirement="kernel.stream-complete")  # fmt: skip


@requirement("kernel.unencodable-output")
@pytest.mark.parametrize("sample", ["unencodable", "undecodable"])
def test_a_character_that_is_none_does_not_lose_the_text(kernel: KernelUnderTest, sample: str) -> None:
    frontend = kernel.frontend()
    request = frontend.execute(kernel.sample(sample, text="after"))
    kernel.done(request)
    if "after" not in kernel.text(request):
        violate(f"the text {kernel.text(request)!r:.200}", "a text that holds 'after'")


@requirement("kernel.background-output-parent")
def test_what_a_thread_writes_later_belongs_to_the_request_that_started_it(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    request = done(frontend, "background", seconds=0.2, text="late")
    other = done(frontend, "print", text="hello")
    started, limit = kernel.world.now, kernel.timing.reply_deadline
    kernel.world.run_until(lambda: "late" in kernel.text(request) + kernel.text(other), started + limit)
    if "late" not in kernel.text(request):
        kernel.expect_waited(started, limit)
        whose = "the request that ran last" if "late" in kernel.text(other) else "nobody's"
        violate(f"output of {whose}, or none", "output whose parent is the request that started the thread")


# -- what is shown -----------------------------------------------------------------------------------------------------


@requirement("kernel.execute-input-first")
def test_code_is_published_before_its_output(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    request = done(frontend, "print", text="hello")
    published = kernel.until_published(request, "execute_input")
    assert published.message is not None
    wanted = {"code": request.content["code"], "execution_count": frontend.reply(request).content["execution_count"]}
    for key, value in wanted.items():
        if published.message.content.get(key) != value:
            violate(f"{key} {published.message.content.get(key)!r:.200}", f"{value!r:.200}", evidence=(published.seq,))
    if types(kernel.outputs(request, "execute_input", "stream"))[0] != "execute_input":
        violate("output before the input", "execute_input first")


@requirement("kernel.execute-result")
def test_the_value_of_an_expression_is_published(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    request = done(frontend, "value", text="wanted")
    published = kernel.until_published(request, "execute_result")
    assert published.message is not None
    content = published.message.content
    if not isinstance(content.get("data"), dict) or "wanted" not in str(content["data"]):
        violate(f"{content!r:.200}", "data that shows 'wanted'", evidence=(published.seq,))
    if content.get("execution_count") != frontend.reply(request).content.get("execution_count"):
        violate(f"execution_count {content.get('execution_count')!r}", "that of the reply", evidence=(published.seq,))


@requirement("kernel.error-published")
def test_an_error_is_published_as_it_is_answered(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    request = done(frontend, "raise", text="badness")
    reply = frontend.reply(request)
    published = kernel.until_published(request, "error")
    assert published.message is not None
    for key in ("ename", "evalue", "traceback"):
        found, wanted = published.message.content.get(key), reply.content.get(key)
        if key not in published.message.content or found != wanted:
            violate(f"{key} {found!r:.200}", f"{wanted!r:.200}", evidence=(published.seq, reply.observation.seq))


@requirement("kernel.silent-quiet")
def test_a_silent_request_shows_neither_input_nor_value(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    request = done(frontend, "value", {"silent": True}, text="hidden")
    barrier(frontend)
    found = types(kernel.outputs(request, "execute_input", "execute_result"))
    if found:
        violate(f"{', '.join(found)} of a silent request", "nothing but its brackets")


@needs("display")
@requirement("kernel.display-data")
def test_what_code_displays_is_published(kernel: KernelUnderTest) -> None:
    expect_shown(kernel, done(kernel.frontend(), "display", text="shown"), "display_data", "shown")


@needs("display")
@requirement("kernel.display-data")
def test_a_display_with_an_id_can_be_updated(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    shown = expect_shown(
        kernel, done(frontend, "display_as", text="before", name="kit_display"), "display_data", "before"
    )
    updated = expect_shown(
        kernel, done(frontend, "update_display", text="after", name="kit_display"), "update_display_data", "after"
    )
    ids = [(content.get("transient") or {}).get("display_id") for content in (shown, updated)]
    if ids[0] is None or ids[0] != ids[1]:
        violate(f"the display ids {ids}", "one and the same")


def expect_shown(kernel: KernelUnderTest, request: Message, msg_type: str, text: str) -> Json:
    """Something of this type that shows a text must have been published."""
    published = kernel.until_published(request, msg_type)
    assert published.message is not None
    content = published.message.content
    if text not in str(content.get("data")):
        violate(f"{content!r:.200}", f"data that shows {text!r}", evidence=(published.seq,))
    if not isinstance(content.get("metadata"), dict):
        violate(f"metadata {content.get('metadata')!r:.100}", "an object", evidence=(published.seq,))
    return content


@needs("display")
@requirement("kernel.clear-output")
def test_clearing_says_whether_to_wait(kernel: KernelUnderTest) -> None:
    published = kernel.until_published(done(kernel.frontend(), "clear_output"), "clear_output")
    assert published.message is not None
    if not isinstance(published.message.content.get("wait"), bool):
        violate(f"{published.message.content!r:.200}", "wait: true or false", evidence=(published.seq,))


# -- who hears it ------------------------------------------------------------------------------------------------------


@requirement("kernel.iopub-to-all")
def test_every_frontend_hears_what_each_has_asked(kernel: KernelUnderTest) -> None:
    frontends = [kernel.frontend() for _ in range(2)]
    for frontend in frontends:
        frontend.subscribe()
    requests = [done(frontend, "print", text=frontend.name.replace("-", "")) for frontend in frontends]
    started, limit = kernel.world.now, kernel.timing.reply_deadline
    for listener in frontends:
        for request in requests:
            kernel.world.run_until(lambda: "idle" in heard_states(listener, request), started + limit)  # noqa: B023 - called at once
            heard = heard_types(listener, request)
            if heard != ["status", "execute_input", "stream", "status"]:
                kernel.expect_waited(started, limit)
                violate(f"{listener.name} heard {heard} of {request.msg_id}",
                        "status, execute_input, stream, status")  # fmt: skip


def heard_types(listener: Frontend, request: Message) -> list[str]:
    """What a frontend has heard of a request, by whose header it must be named whole; streams in one piece."""
    found: list[str] = []
    for seen in listener.heard:
        if seen.message is None or seen.message.parent_header != request.header:
            continue
        if seen.message.msg_type != "stream" or found[-1:] != ["stream"]:
            found.append(seen.message.msg_type)
    return found


def heard_states(listener: Frontend, request: Message) -> list[object]:
    """The states that a frontend has heard of a request."""
    return [seen.message.content.get("execution_state") for seen in listener.heard
            if seen.message and seen.message.parent_header.get("msg_id") == request.msg_id]  # fmt: skip


@needs("welcome")
@requirement("kernel.welcome-effective")
def test_after_its_welcome_a_subscriber_misses_nothing(new_kernel: KernelUnderTest) -> None:
    frontend, world = new_kernel.frontend(), new_kernel.world
    new_kernel.until_answered(frontend.send("kernel_info_request"))
    started, limit = world.now, new_kernel.timing.reply_deadline
    if not world.run_until(lambda: "iopub_welcome" in types(new_kernel.published), started + limit):
        new_kernel.expect_waited(started, limit)
        violate("no iopub_welcome", "one for the first subscription")
    expect_brackets(frontend, frontend.send("kernel_info_request"), "kernel.welcome-effective")

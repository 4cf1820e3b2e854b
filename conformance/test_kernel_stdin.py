"""Kernels: code asks for a line of input, and the frontend whose request runs gives it.

Source: jupyter_client messaging.rst, "Messages on the stdin (ROUTER/DEALER) channel"; measured on ipykernel 7.4.0.
"""

import pytest

from conformance.harness.case import needs, requirement
from conformance.harness.expect import error, kind, ok
from conformance.harness.kernel import Frontend, KernelUnderTest
from conformance.harness.verdict import violate
from protocol.wire import Message

pytestmark = needs("stdin")

ASKING = {"allow_stdin": True}


def asked(frontend: Frontend, sample: str = "read_line") -> Message:
    """Code that asks for a line with the prompt `who`, sent."""
    return frontend.execute(frontend.kernel.sample(sample, text="who"), content=ASKING)


def expect_read(frontend: Frontend, request: Message, line: str, requirement: str | None = None) -> None:
    """The code must have read this line, which it writes again."""
    frontend.reply(request).expect(ok("execute_reply"))
    frontend.kernel.until_idle(request)
    if frontend.kernel.text(request) != f"{line}\n":
        violate(f"the code read {frontend.kernel.text(request)!r:.200}", repr(line), requirement=requirement)


# -- question and answer -----------------------------------------------------------------------------------------------


@requirement("stdin.input-requested", "stdin.request-parent")
@pytest.mark.parametrize(("sample", "is_hidden"), [("read_line", False), ("password", True)])
def test_code_that_asks_makes_the_kernel_ask(kernel: KernelUnderTest, sample: str, is_hidden: bool) -> None:
    frontend = kernel.reader()
    request = asked(frontend, sample)
    prompt = frontend.prompt(request)
    frontend.give(prompt, "me")
    frontend.reply(request).expect(ok("execute_reply"))
    if prompt.msg_type != "input_request" or "who" not in str(prompt.content.get("prompt")):
        violate(f"{prompt.msg_type} {prompt.content!r:.200}", "input_request with the prompt 'who'")
    if prompt.content.get("password") is not is_hidden:
        violate(f"password {prompt.content.get('password')!r}", repr(is_hidden))
    if prompt.parent_header != request.header:
        violate(f"the parent header {prompt.parent_header!r:.300}", f"{request.header!r:.300}",
                requirement="stdin.request-parent")  # fmt: skip


@requirement("stdin.input-delivered")
@pytest.mark.parametrize("line", ["me", "", "déjà vu \U0001f600"], ids=["word", "empty", "unicode"])
def test_the_code_reads_what_the_frontend_gives(kernel: KernelUnderTest, line: str) -> None:
    frontend = kernel.reader()
    request = asked(frontend)
    frontend.give(frontend.prompt(request), line)
    expect_read(frontend, request, line)


@requirement("stdin.input-delivered")
def test_code_can_ask_twice(kernel: KernelUnderTest) -> None:
    frontend = kernel.reader()
    code = kernel.sample("read_line", text="first") + "\n" + kernel.sample("read_line", text="second")
    request = frontend.execute(code, content=ASKING)
    for line in ("one", "two"):
        frontend.give(frontend.prompt(request), line)
    expect_read(frontend, request, "one\ntwo")


@requirement("stdin.end-of-file")
def test_an_end_of_transmission_is_an_end_of_file(kernel: KernelUnderTest) -> None:
    frontend = kernel.reader()
    request = asked(frontend)
    frontend.give(frontend.prompt(request), "\x04")
    frontend.reply(request).expect(error("execute_reply"))


@requirement("stdin.no-status")
def test_a_question_has_no_brackets_of_its_own(kernel: KernelUnderTest) -> None:
    frontend = kernel.reader()
    request = asked(frontend)
    given = frontend.give(frontend.prompt(request), "me")
    kernel.done(request)
    kernel.done(frontend.send("kernel_info_request"))
    if kernel.states(given) or kernel.states(request) != ["busy", "idle"]:
        violate(f"the states {kernel.states(request)} of the request and {kernel.states(given)} of the reply",
                "one busy and one idle of the request")  # fmt: skip


# -- who may be asked --------------------------------------------------------------------------------------------------


@requirement("stdin.goes-to-requester")
def test_the_frontend_whose_code_runs_is_asked_and_no_other(kernel: KernelUnderTest) -> None:
    frontends = [kernel.reader() for _ in range(3)]
    for frontend in frontends:
        request = asked(frontend)
        prompt = frontend.prompt(request, requirement="stdin.goes-to-requester")
        frontend.give(prompt, frontend.name)
        expect_read(frontend, request, frontend.name, "stdin.input-delivered")
    for frontend in frontends:
        if frontend.prompts:
            violate(f"{frontend.name} was asked {1 + len(frontend.prompts)} times", "once",
                    evidence=(frontend.prompts[0].seq,))  # fmt: skip


@requirement("stdin.identity-shared")
@needs("stdin", "interrupt")
def test_a_frontend_with_another_identity_on_stdin_is_not_asked(kernel: KernelUnderTest) -> None:
    frontend = kernel.reader(identity=b"somebody else")
    request = asked(frontend)
    kernel.until_running(request)
    frontend.ask("interrupt_request", channel="kernel-control").expect(ok("interrupt_reply"))
    frontend.reply(request).expect(error("execute_reply"))
    if frontend.prompts:
        violate("a prompt under an identity that never asked for anything", "none",
                evidence=(frontend.prompts[0].seq,))  # fmt: skip


@requirement("stdin.not-allowed-error")
def test_code_that_may_not_ask_fails(kernel: KernelUnderTest) -> None:
    expect_unasked(kernel, {"allow_stdin": False})


@requirement("stdin.allow-default")
def test_code_may_not_ask_if_nothing_is_said(kernel: KernelUnderTest) -> None:
    expect_unasked(kernel, {})


def expect_unasked(kernel: KernelUnderTest, content: dict[str, object]) -> None:
    """Code must fail where it would ask, and nobody be asked."""
    frontend = kernel.reader()
    request = frontend.execute(kernel.sample("read_line", text="who"), content=content)
    kernel.world.run_until(
        lambda: bool(frontend.prompts or kernel.answers(request)), kernel.world.now + kernel.timing.reply_deadline
    )
    if frontend.prompts:
        seen = frontend.prompts.pop(0)
        assert seen.message is not None
        frontend.give(seen.message, "")
        violate("an input_request", "an error in the code", evidence=(seen.seq,))
    frontend.reply(request).expect(error("execute_reply"))


@requirement("stdin.no-raw-stdin")
def test_code_that_reads_the_standard_input_of_the_kernel_ends(kernel: KernelUnderTest) -> None:
    frontend = kernel.reader()
    request = frontend.execute(kernel.sample("read_stdin"))
    # It may read nothing, or fail.
    frontend.reply(request).expect(ok("execute_reply"), error("execute_reply"))
    kernel.expect_usable()


# -- what is no answer -------------------------------------------------------------------------------------------------


@requirement("stdin.stale-replies-dropped")
def test_a_line_that_was_given_before_anybody_asked_is_not_read(kernel: KernelUnderTest) -> None:
    frontend = kernel.reader()
    early = frontend.make("input_reply", {"value": "early"}, parent=frontend.message("execute_request").header)
    frontend.post(early, "kernel-stdin")
    # What was sent to stdin has arrived when what is sent later has gone round through shell several times.
    for _ in range(3):
        frontend.ask("kernel_info_request")
    request = asked(frontend)
    frontend.give(frontend.prompt(request), "asked")
    expect_read(frontend, request, "asked")


def _without_value(frontend: Frontend, prompt: Message) -> None:
    message = frontend.make("input_reply", {}, parent=prompt.header)
    frontend.send_raw(frontend.kernel.codec.encode(message), "no value", channel="kernel-stdin")


def _unsigned(frontend: Frontend, prompt: Message) -> None:
    message = frontend.make("input_reply", {"value": "forged"}, parent=prompt.header)
    frames = list(frontend.kernel.codec.encode(message))
    frames[1] = b"0" * 64
    frontend.send_raw(frames, "a wrong signature", channel="kernel-stdin")


def _of_another_type(frontend: Frontend, prompt: Message) -> None:
    message = frontend.make("input_request", {"value": "typed", "prompt": "", "password": False}, parent=prompt.header)
    frontend.send_raw(frontend.kernel.codec.encode(message), "another type", channel="kernel-stdin")


@requirement("stdin.malformed-not-taken")
@pytest.mark.parametrize("send", [_without_value, _unsigned, _of_another_type], ids=["no value", "forged", "type"])
def test_what_is_no_reply_is_not_read(kernel: KernelUnderTest, send: object) -> None:
    assert callable(send)
    frontend = kernel.reader()
    request = asked(frontend)
    prompt = frontend.prompt(request)
    send(frontend, prompt)
    # On the same socket: what comes first is read first, if it is read.
    frontend.give(prompt, "true")
    expect_read(frontend, request, "true")


@requirement("stdin.stranger-not-taken")
def test_a_line_of_somebody_who_was_not_asked_is_not_read(kernel: KernelUnderTest) -> None:
    frontend, stranger = kernel.reader(), kernel.reader()
    request = asked(frontend)
    prompt = frontend.prompt(request)
    stranger.give(prompt, "strange")
    # Two round trips later it has surely come, though on another socket.
    for _ in range(2):
        stranger.ask("kernel_info_request", channel="kernel-control")
    frontend.give(prompt, "true")
    expect_read(frontend, request, "true")


# -- while it waits ----------------------------------------------------------------------------------------------------


@requirement("stdin.others-work-while-waiting")
def test_control_and_heartbeat_are_served_while_code_waits(kernel: KernelUnderTest) -> None:
    frontend, other = kernel.reader(), kernel.frontend()
    request = asked(frontend)
    prompt = frontend.prompt(request)
    other.ask("kernel_info_request", channel="kernel-control").expect(ok("kernel_info_reply", banner=kind(str)))
    other.ping(b"alive", requirement="stdin.others-work-while-waiting")
    if frontend.answers(request):
        violate("the code ended before it was given anything", "it waits")
    frontend.give(prompt, "me")
    expect_read(frontend, request, "me", "stdin.input-delivered")


@needs("stdin", "interrupt")
@requirement("stdin.interrupt-ends-waiting")
def test_an_interrupt_ends_the_waiting(kernel: KernelUnderTest) -> None:
    frontend = kernel.reader()
    request = asked(frontend)
    frontend.prompt(request)
    frontend.ask("interrupt_request", channel="kernel-control").expect(ok("interrupt_reply"))
    frontend.reply(request).expect(error("execute_reply"))
    kernel.expect_usable()

"""Kernels: what goes past the queue: questions during a cell, interrupts, subshells, and the end.

Source: jupyter_client messaging.rst, "Messages on the Control (ROUTER/DEALER) channel", "Kernel interrupt", "Kernel
shutdown" and "Create subshell"; measured on ipykernel 7.4.0.
"""

import pytest

from conformance.harness.case import needs, requirement
from conformance.harness.coding import parent_id
from conformance.harness.expect import error, kind, ok
from conformance.harness.kernel import Frontend, KernelUnderTest
from conformance.harness.verdict import violate
from protocol.wire import Message
from protocol.world import SECOND

#: How long code runs during which something else is asked, and which is interrupted where that is possible, in seconds.
WHILE = 1.5
LONG = 30


def running(frontend: Frontend, sample: str = "sleep", seconds: float = WHILE, **content: object) -> Message:
    """Code that surely runs, and goes on for a while."""
    request = frontend.execute(frontend.kernel.sample(sample, seconds=seconds), content=content)
    frontend.kernel.until_running(request)
    return request


# -- past the queue ----------------------------------------------------------------------------------------------------


@requirement("kernel.control-during-cell")
def test_control_is_answered_while_code_runs(kernel: KernelUnderTest) -> None:
    frontend, other = kernel.frontend(), kernel.frontend()
    request = running(frontend)
    waiting = [frontend.execute(kernel.sample("print", text="waits")) for _ in range(10)]
    question = other.send("kernel_info_request", channel="kernel-control")
    other.reply(question).expect(ok("kernel_info_reply"))
    before = frontend.answers(request)
    if before and before[0].seq < other.answers(question)[0].seq:
        kernel.expect_unhindered(before[0].now - round(WHILE * SECOND), round(WHILE * SECOND))
        violate("an answer only after the code had ended", "an answer while it runs")
    for one in (request, *waiting):
        frontend.reply(one).expect(ok("execute_reply"), requirement="kernel.execute-answered")


@requirement("kernel.control-fifo")
def test_control_is_answered_in_the_order_sent(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    requests = [frontend.send("kernel_info_request", channel="kernel-control") for _ in range(50)]
    frontend.reply(requests[-1])
    order = [parent_id(seen) for seen in frontend.received]
    if order != [request.msg_id for request in requests]:
        violate(f"{len(order)} replies in another order", "one reply for each of 50 requests, in the order sent")


# -- interrupts --------------------------------------------------------------------------------------------------------


@needs("interrupt")
@requirement("kernel.interrupt-ends-cell")
@pytest.mark.parametrize("sample", ["sleep", "busy"])
def test_an_interrupt_ends_what_runs(kernel: KernelUnderTest, sample: str) -> None:
    frontend = kernel.frontend()
    request = running(frontend, sample, LONG)
    frontend.ask("interrupt_request", channel="kernel-control").expect(ok("interrupt_reply"))
    frontend.reply(request).expect(error("execute_reply"))
    kernel.expect_usable()


@needs("sigint")
@requirement("kernel.interrupt-ends-cell")
@pytest.mark.parametrize("sample", ["sleep", "busy"])
def test_a_signal_ends_what_runs(kernel: KernelUnderTest, sample: str) -> None:
    frontend = kernel.frontend()
    request = running(frontend, sample, LONG)
    kernel.interrupt()
    frontend.reply(request).expect(error("execute_reply"))
    kernel.expect_usable()


@needs("sigint")
@requirement("kernel.interrupt-idle-harmless")
def test_a_signal_while_nothing_runs_has_no_effect(kernel: KernelUnderTest) -> None:
    kernel.interrupt()
    kernel.expect_usable()


@needs("interrupt")
@requirement("kernel.interrupt-idle-harmless")
def test_an_interrupt_of_nothing_has_no_effect(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    frontend.ask("interrupt_request", channel="kernel-control").expect(ok("interrupt_reply"))
    kernel.expect_usable()


@needs("interrupt")
@requirement("kernel.interrupt-aborts-queue")
def test_what_waits_behind_an_interrupted_request_is_aborted(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    request = running(frontend, seconds=LONG, stop_on_error=True)
    waiting = frontend.execute(kernel.sample("print", text="waits"))
    # What was sent on shell before has arrived when what is sent on it later is known to have.
    kernel.let_pass(kernel.timing.margin // 10)
    frontend.ask("interrupt_request", channel="kernel-control").expect(ok("interrupt_reply"))
    frontend.reply(request).expect(error("execute_reply"), requirement="kernel.interrupt-ends-cell")
    reply = frontend.reply(waiting, requirement="kernel.aborted-answered")
    if reply.content.get("status") == "ok":
        violate("what waited behind the interrupted request was run", "it is aborted",
                evidence=(reply.observation.seq,))  # fmt: skip


# -- subshells ---------------------------------------------------------------------------------------------------------


def subshell(frontend: Frontend) -> str:
    """The id of a new subshell."""
    reply = frontend.ask("create_subshell_request", channel="kernel-control")
    reply.expect(ok("create_subshell_reply", subshell_id=kind(str)), requirement="kernel.subshells")
    return str(reply.content["subshell_id"])


def delete(frontend: Frontend, name: str) -> None:
    """Let a subshell end."""
    reply = frontend.ask("delete_subshell_request", {"subshell_id": name}, channel="kernel-control")
    reply.expect(ok("delete_subshell_reply"), requirement="kernel.subshells")


@needs("subshells")
@requirement("kernel.subshells")
def test_a_subshell_answers_while_the_main_shell_is_busy(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    name = subshell(frontend)
    listed = frontend.ask("list_subshell_request", channel="kernel-control").expect(ok("list_subshell_reply"))
    if name not in listed.content.get("subshell_id", ()):
        violate(f"{listed.content!r:.200}", f"a list with {name}", evidence=(listed.observation.seq,))
    request = running(frontend)
    inside = frontend.execute(kernel.sample("print", text="inside"), subshell_id=name)
    frontend.reply(inside).expect(ok("execute_reply"))
    before = frontend.answers(request)
    if before and before[0].seq < frontend.answers(inside)[0].seq:
        kernel.expect_unhindered(before[0].now - round(WHILE * SECOND), round(WHILE * SECOND))
        violate("an answer of the subshell only after the main shell", "an answer while that is busy")
    frontend.reply(request)
    delete(frontend, name)
    listed = frontend.ask("list_subshell_request", channel="kernel-control").expect(ok("list_subshell_reply"))
    if name in listed.content.get("subshell_id", ()):
        violate("a subshell that was deleted is listed", "a list without it", evidence=(listed.observation.seq,))


@needs("subshells")
@requirement("kernel.subshell-abort-apart")
def test_an_error_in_a_subshell_aborts_nothing_in_the_main_shell(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    name = subshell(frontend)
    request = running(frontend)
    waiting = frontend.execute(kernel.sample("print", text="waits"))
    bad = frontend.execute(kernel.sample("raise", text="badness"), content={"stop_on_error": True}, subshell_id=name)
    frontend.reply(bad).expect(error("execute_reply"), requirement="kernel.subshells")
    frontend.reply(request).expect(ok("execute_reply"))
    frontend.reply(waiting).expect(ok("execute_reply"))
    delete(frontend, name)


@needs("subshells")
@requirement("kernel.unknown-subshell-error")
def test_a_request_for_an_unknown_subshell_is_an_error(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    request = frontend.execute(kernel.sample("print", text="hello"), subshell_id="kit-never-created")
    frontend.reply(request).expect(error("execute_reply"))
    kernel.until_idle(request)
    if kernel.states(request) != ["busy", "idle"]:
        violate(f"the states {kernel.states(request)}", "busy, then idle", requirement="kernel.status-brackets")


@requirement("kernel.no-subshells-no-reply")
def test_a_question_about_subshells_harms_nobody(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    why = "a kernel without subshells need not know it"
    frontend.send("list_subshell_request", {}, channel="kernel-control", why=why)
    frontend.ask("kernel_info_request", channel="kernel-control").expect(ok("kernel_info_reply"))
    kernel.expect_usable()


# -- the end -----------------------------------------------------------------------------------------------------------


@requirement("kernel.shutdown-answered")
@pytest.mark.parametrize("restart", [False, True])
def test_a_shutdown_is_answered_and_the_kernel_ends(fresh_kernel: KernelUnderTest, restart: bool) -> None:
    frontend = fresh_kernel.frontend()
    reply = frontend.ask("shutdown_request", {"restart": restart}, channel="kernel-control")
    reply.expect(ok("shutdown_reply", restart=restart))
    fresh_kernel.expect_end()
    fresh_kernel.expect_no_process()


@requirement("kernel.shutdown-on-shell", "kernel.shutdown-copied-to-iopub")
def test_a_shutdown_on_shell_is_served(fresh_kernel: KernelUnderTest) -> None:
    frontend = fresh_kernel.frontend()
    request = frontend.send("shutdown_request", {"restart": False})
    reply = frontend.reply(request).expect(ok("shutdown_reply", restart=False))
    fresh_kernel.expect_end()
    for seen in fresh_kernel.outputs(request, "shutdown_reply"):
        if seen.message and seen.message.content != reply.content:
            violate(f"{seen.message.content!r:.200} on IOPub", f"{reply.content!r:.200}, or nothing",
                    requirement="kernel.shutdown-copied-to-iopub", evidence=(seen.seq,))  # fmt: skip


@requirement("kernel.shutdown-without-restart")
def test_a_shutdown_that_says_nothing_of_a_restart_is_answered(fresh_kernel: KernelUnderTest) -> None:
    frontend = fresh_kernel.frontend()
    request = frontend.send("shutdown_request", {}, channel="kernel-control", why="no restart")
    if frontend.is_later_served("kernel-control") and not frontend.answers(request):
        violate("no answer, and the kernel goes on", "shutdown_reply")
    reply = frontend.reply(request).expect(ok("shutdown_reply"), error("shutdown_reply"))
    if reply.content.get("status") == "ok":
        fresh_kernel.expect_end()
    else:
        fresh_kernel.expect_usable()


@requirement("kernel.shutdown-during-cell")
def test_a_shutdown_during_a_cell_is_answered_at_once(fresh_kernel: KernelUnderTest) -> None:
    frontend, other = fresh_kernel.frontend(), fresh_kernel.frontend()
    request = running(frontend)
    reply = other.ask("shutdown_request", {"restart": False}, channel="kernel-control").expect(ok("shutdown_reply"))
    early = frontend.answers(request)
    if early and early[0].seq < reply.observation.seq:
        fresh_kernel.expect_unhindered(early[0].now - round(WHILE * SECOND), round(WHILE * SECOND))
        violate("an answer only after the code had ended", "an answer at once")
    fresh_kernel.expect_end()


@requirement("kernel.restart-new-session")
def test_a_kernel_that_is_started_again_has_a_new_session(fresh_kernel: KernelUnderTest) -> None:
    frontend = fresh_kernel.frontend()
    last = frontend.ask("shutdown_request", {"restart": True}, channel="kernel-control").expect(ok("shutdown_reply"))
    fresh_kernel.expect_end()
    fresh_kernel.start_again()
    first = fresh_kernel.frontend().ask("kernel_info_request").expect(ok("kernel_info_reply"))
    sessions = [reply.message.header.get("session") for reply in (last, first)]
    if sessions[0] == sessions[1]:
        violate(f"the session {sessions[1]!r} again", "another", evidence=(first.observation.seq,))

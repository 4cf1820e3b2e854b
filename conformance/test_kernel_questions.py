"""Kernels: what they say of themselves, of code that is not run, and of code that was run.

Source: jupyter_client messaging.rst, "Introspection", "Completion", "History", "Code completeness", "Kernel info",
"Connect", "Comm info" and "Custom Messages"; measured on ipykernel 7.4.0.
"""

import pytest

from conformance.harness.case import needs, requirement
from conformance.harness.expect import containing, kind, ok, one_of
from conformance.harness.kernel import Frontend, KernelUnderTest
from conformance.harness.verdict import violate
from protocol.world import Observation

NAME = "kit_variable"
#: The beginning of that name.
PREFIX = "kit_vari"


def defined(kernel: KernelUnderTest) -> Frontend:
    """A frontend of a kernel in which the variable is set."""
    frontend = kernel.frontend()
    frontend.run(kernel.sample("define", name=NAME)).expect(ok("execute_reply"))
    return frontend


# -- about itself ------------------------------------------------------------------------------------------------------


@requirement("kernel.kernel-info")
@pytest.mark.parametrize("channel", ["kernel-shell", "kernel-control"])
def test_a_kernel_says_what_it_is(kernel: KernelUnderTest, channel: str) -> None:
    language = containing(name=kind(str), version=kind(str), mimetype=kind(str), file_extension=kind(str))
    reply = kernel.frontend().ask("kernel_info_request", channel=channel)
    reply.expect(
        ok("kernel_info_reply", protocol_version=kind(str), implementation=kind(str), implementation_version=kind(str),
           language_info=language, banner=kind(str)),
    )  # fmt: skip
    version = str(reply.content["protocol_version"]).split(".")
    if len(version) < 2 or not all(part.isdigit() for part in version):
        violate(f"protocol_version {reply.content['protocol_version']!r}", "X.Y", evidence=(reply.observation.seq,))


@requirement("kernel.supported-features-true", "kernel.subshells")
def test_subshells_that_are_announced_are_there(kernel: KernelUnderTest) -> None:
    expect_announced(kernel, "kernel subshells")
    frontend = kernel.frontend()
    reply = frontend.ask("list_subshell_request", channel="kernel-control")
    reply.expect(ok("list_subshell_reply", subshell_id=kind(list)))


@requirement("kernel.supported-features-true", "kernel.debug-reply")
def test_a_debugger_that_is_announced_is_there(kernel: KernelUnderTest) -> None:
    expect_announced(kernel, "debugger")
    question = {"type": "request", "seq": 7, "command": "debugInfo"}
    reply = kernel.frontend().ask("debug_request", question, channel="kernel-control")
    wanted = {"type": "response", "request_seq": 7, "command": "debugInfo", "success": True}
    for key, value in wanted.items():
        if reply.content.get(key) != value:
            violate(f"{key} {reply.content.get(key)!r}", repr(value), requirement="kernel.debug-reply",
                    evidence=(reply.observation.seq,))  # fmt: skip


@needs("debugger")
@requirement("kernel.debug-reply")
def test_a_debugger_says_no_to_what_it_does_not_know(kernel: KernelUnderTest) -> None:
    question = {"type": "request", "seq": 8, "command": "commandOfTomorrow", "arguments": {}}
    reply = kernel.frontend().ask("debug_request", question, channel="kernel-control")
    if reply.content.get("success") is not False or reply.content.get("request_seq") != 8:
        violate(f"{reply.content!r:.200}", "success false, request_seq 8", evidence=(reply.observation.seq,))


def expect_announced(kernel: KernelUnderTest, feature: str) -> None:
    """Without the feature among those that the kernel announces, the case says nothing."""
    info = kernel.frontend().ask("kernel_info_request").expect(ok("kernel_info_reply"))
    if feature not in (info.content.get("supported_features") or ()):
        kernel.need(feature)


@needs("connect")
@requirement("kernel.connect-reply-ports")
def test_a_kernel_tells_its_ports(kernel: KernelUnderTest) -> None:
    reply = kernel.frontend().ask("connect_request")
    for key in ("shell_port", "iopub_port", "stdin_port", "hb_port"):
        if reply.content.get(key) != getattr(kernel.world.file, key):
            violate(f"{key} {reply.content.get(key)!r}", f"{getattr(kernel.world.file, key)}, as in the file",
                    evidence=(reply.observation.seq,))  # fmt: skip


# -- about code that is not run ----------------------------------------------------------------------------------------

COMPLETION = {"matches": kind(list), "cursor_start": kind(int), "cursor_end": kind(int), "metadata": kind(dict)}


@needs("complete")
@requirement("kernel.complete")
def test_the_beginning_of_a_name_is_completed(kernel: KernelUnderTest) -> None:
    expect_completed(defined(kernel), PREFIX, 0)


@needs("complete")
@requirement("kernel.complete")
def test_completion_looks_at_the_cursor_and_not_at_the_end(kernel: KernelUnderTest) -> None:
    expect_completed(defined(kernel), PREFIX, 0, behind="\n" + kernel.sample("print", text="hello"))


@needs("complete")
@requirement("kernel.cursor-in-code-points")
@pytest.mark.parametrize("character", ["é", "\U0001f600"], ids=["two bytes", "two code units"])
def test_cursors_count_code_points(kernel: KernelUnderTest, character: str) -> None:
    before = kernel.sample("print", text=character) + "\n"
    expect_completed(defined(kernel), before + PREFIX, len(before))


def expect_completed(frontend: Frontend, code: str, start: int, *, behind: str = "") -> None:
    """The name at the end of the code must be completed, in its place."""
    reply = frontend.ask("complete_request", {"code": code + behind, "cursor_pos": len(code)})
    reply.expect(ok("complete_reply", **COMPLETION))
    content = reply.content
    # A candidate may stand for more than the name: what counts is what the code is in the end.
    results = [code[: content["cursor_start"]] + str(match) for match in content["matches"]]
    if code[:start] + NAME not in [result.rstrip(" =(") for result in results] or content["cursor_end"] != len(code):
        shown = {key: content[key] for key in ("cursor_start", "cursor_end")} | {"matches": content["matches"][:5]}
        violate(f"{shown!r:.300}", f"{NAME!r} from {start} to {len(code)}", evidence=(reply.observation.seq,))


@needs("inspect")
@requirement("kernel.inspect")
def test_a_name_that_is_known_is_explained(kernel: KernelUnderTest) -> None:
    frontend = defined(kernel)
    reply = frontend.ask("inspect_request", {"code": NAME, "cursor_pos": len(NAME)})
    reply.expect(ok("inspect_reply", found=True, data=kind(dict), metadata=kind(dict)))
    if not reply.content["data"]:
        violate("no data of a name that was found", "a mime object", evidence=(reply.observation.seq,))


@needs("inspect")
@requirement("kernel.inspect")
def test_a_name_that_is_unknown_is_no_error(kernel: KernelUnderTest) -> None:
    code = "kit_never_defined"
    reply = kernel.frontend().ask("inspect_request", {"code": code, "cursor_pos": len(code), "detail_level": 1})
    reply.expect(ok("inspect_reply", found=False, data=one_of({}), metadata=one_of({})))


@needs("is-complete")
@requirement("kernel.is-complete")
@pytest.mark.parametrize(
    ("sample", "status"), [("print", "complete"), ("incomplete", "incomplete"), ("invalid", "invalid")]
)
def test_a_kernel_says_whether_code_is_complete(kernel: KernelUnderTest, sample: str, status: str) -> None:
    reply = kernel.frontend().ask("is_complete_request", {"code": kernel.sample(sample, text="hello")})
    # Who cannot tell says so.
    if reply.content.get("status") not in (status, "unknown"):
        violate(f"status {reply.content.get('status')!r} for {sample} code", repr(status), "'unknown'",
                evidence=(reply.observation.seq,))  # fmt: skip
    if status != "incomplete" and "indent" in reply.content:
        violate(f"an indent with status {reply.content.get('status')!r}", "an indent only with 'incomplete'",
                evidence=(reply.observation.seq,))  # fmt: skip


# -- about code that was run -------------------------------------------------------------------------------------------


@needs("history")
@requirement("kernel.history")
def test_the_end_of_the_history_is_what_was_run_last(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    codes = remembered(frontend, "tail1", "tail2")
    lines = history(frontend, hist_access_type="tail", n=2)
    if [line[2] for line in lines] != codes:
        violate(f"{lines!r:.300}", f"{codes!r:.300}")


@needs("history")
@requirement("kernel.history")
def test_a_range_of_this_session_is_told(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    code = kernel.sample("print", text="ranged")
    number = frontend.run(code).expect(ok("execute_reply")).content["execution_count"]
    lines = history(frontend, hist_access_type="range", session=0, start=number, stop=number + 1)
    if [(line[1], line[2]) for line in lines] != [(number, code)]:
        violate(f"{lines!r:.300}", f"one line, {number} of this session: {code!r}")


@needs("history")
@requirement("kernel.history")
def test_the_history_can_be_searched(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    (code,) = remembered(frontend, "needle7")
    remembered(frontend, "hay")
    lines = history(frontend, hist_access_type="search", pattern="*needle7*", n=5)
    if code not in [line[2] for line in lines] or any("needle7" not in str(line[2]) for line in lines):
        violate(f"{lines!r:.300}", f"{code!r} and nothing else")


@needs("history")
@requirement("kernel.history")
def test_with_output_each_line_of_history_has_both(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    (code,) = remembered(frontend, "both")
    lines = history(frontend, hist_access_type="tail", n=1, output=True)
    pair = lines[-1][2] if lines else None
    if not isinstance(pair, list) or len(pair) != 2 or pair[0] != code:
        violate(f"{lines!r:.300}", f"[session, line, [{code!r}, output or null]]")


def remembered(frontend: Frontend, *words: str) -> list[str]:
    """Codes that were run and stored."""
    codes = [frontend.kernel.sample("print", text=word) for word in words]
    for code in codes:
        frontend.run(code).expect(ok("execute_reply"))
    return codes


def history(frontend: Frontend, *, output: bool = False, **how: object) -> list[list[object]]:
    """Lines of the history, each of three parts."""
    reply = frontend.ask("history_request", {"output": output, "raw": True, **how})
    reply.expect(ok("history_reply", history=kind(list)))
    lines: list[list[object]] = reply.content["history"]
    if any(not isinstance(line, list) or len(line) != 3 for line in lines):
        violate(f"{lines!r:.300}", "lists of session, line and input", evidence=(reply.observation.seq,))
    return lines


# -- comms -------------------------------------------------------------------------------------------------------------


@needs("comm-info")
@requirement("kernel.comm-info")
def test_without_comms_none_is_told(kernel: KernelUnderTest) -> None:
    reply = kernel.frontend().ask("comm_info_request", {"target_name": "kit.no.such.target"})
    reply.expect(ok("comm_info_reply", comms=one_of({})))


@needs("comm-info", "comms")
@requirement("kernel.comm-info")
def test_a_comm_that_was_opened_is_told(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    comm = f"{kernel.token}-comm"
    frontend.run(kernel.sample("comm_target", name="kit_target")).expect(ok("execute_reply"))
    kernel.until_idle(frontend.tell("comm_open", {"comm_id": comm, "target_name": "kit_target", "data": {}}))
    for question in ({}, {"target_name": "kit_target"}):
        reply = frontend.ask("comm_info_request", question).expect(ok("comm_info_reply", comms=kind(dict)))
        if reply.content["comms"].get(comm, {}).get("target_name") != "kit_target":
            violate(f"{reply.content!r:.300}", f"the comm {comm} of kit_target", evidence=(reply.observation.seq,))
    other = frontend.ask("comm_info_request", {"target_name": "kit_other"}).expect(ok("comm_info_reply"))
    if comm in other.content["comms"]:
        violate("a comm of another target", "those of the one that was asked for", evidence=(other.observation.seq,))
    kernel.until_idle(frontend.tell("comm_close", {"comm_id": comm, "data": {}}))
    last = frontend.ask("comm_info_request", {}).expect(ok("comm_info_reply"))
    if comm in last.content["comms"]:
        violate("a comm that was closed", "those that are open", evidence=(last.observation.seq,))


@needs("comms")
@requirement("kernel.comm-unknown-target-closed")
def test_a_comm_to_an_unknown_target_is_closed_again(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    comm = f"{kernel.token}-comm"
    request = frontend.tell("comm_open", {"comm_id": comm, "target_name": "kit.no.such.target", "data": {}})
    kernel.until_idle(request)
    frontend.kernel.done(frontend.send("kernel_info_request"))
    closed = [seen for seen in kernel.outputs(request, "comm_close") if _comm(seen) == comm]
    if len(closed) != 1:
        violate(f"{len(closed)} times comm_close with this comm_id", "once")


@needs("comms")
@requirement("kernel.comm-unknown-id-ignored")
def test_messages_of_an_unknown_comm_are_ignored(kernel: KernelUnderTest) -> None:
    frontend = kernel.frontend()
    for msg_type in ("comm_msg", "comm_close"):
        frontend.tell(msg_type, {"comm_id": "kit.never.opened", "data": {}})
    frontend.ask("kernel_info_request").expect(ok("kernel_info_reply"))
    kernel.expect_usable()
    if len(frontend.received) != 1:
        violate(f"{len(frontend.received) - 1} replies to what is ignored", "none")


def _comm(seen: Observation) -> object:
    return seen.message.content.get("comm_id") if seen.message else None

"""Kernels: heartbeats, which are any bytes, and come back whatever the kernel is doing.

Source: IPython messaging.txt, commit 'Add note about pure-zmq heartbeat messaging' (2010); jupyter_client
messaging.rst, "Heartbeat for kernels"; measured on ipykernel 7.4.0.
"""

import pytest

from conformance.harness.case import requirement
from conformance.harness.kernel import Frontend, KernelUnderTest
from conformance.harness.verdict import Undecided, violate
from protocol.wire import DELIMITER
from protocol.world import SECOND

PINGS = {
    "ping": b"ping", "empty": b"", "binary": bytes(range(256)), "delimiter": bytes(DELIMITER), "number": b"17.5",
    "large": b"\xff" * 1_000_000,
}  # fmt: skip
#: Code runs or holds the interpreter for so long, in seconds; a heartbeat has to come back before it ends.
WHILE = 1.5
#: An echo that took so long, in nanoseconds, and came when the code had ended, has waited for that.
BOUND = SECOND


def expect_echo(frontend: Frontend, *frames: bytes) -> int:
    """These frames must come back as they are; when that was."""
    seen = frontend.ping(*frames)
    if tuple(map(bytes, seen.frames)) != frames:
        shown = [bytes(frame)[:40] for frame in seen.frames[:5]]
        violate(f"{len(seen.frames)} frames {shown!r}", "the same bytes", evidence=(seen.seq,))
    return seen.now


@requirement("kernel.heartbeat-echo", "kernel.heartbeat-raw")
@pytest.mark.parametrize("content", PINGS.values(), ids=PINGS)
def test_a_heartbeat_comes_back_as_it_is(kernel: KernelUnderTest, content: bytes) -> None:
    expect_echo(kernel.frontend(), content)


@requirement("kernel.heartbeat-echo", "kernel.heartbeat-raw")
def test_several_frames_come_back_as_they_are(kernel: KernelUnderTest) -> None:
    expect_echo(kernel.frontend(), b"a", b"", b"b")


@requirement("kernel.heartbeat-echo")
def test_one_socket_can_ping_again_and_again(kernel: KernelUnderTest) -> None:
    socket = kernel.world.open("kernel-heartbeat", party="pinger")
    for number in range(50):
        socket.send_raw([b"%d" % number], "raw by design: a heartbeat")
        seen = socket.recv(kernel.world.now + kernel.timing.reply_deadline)
        if seen is None or tuple(map(bytes, seen.frames)) != (b"%d" % number,):
            violate(f"{seen.frames if seen else 'no echo'!r} of ping {number}", "the same bytes")
    socket.close()


@requirement("kernel.heartbeat-when-busy")
@pytest.mark.parametrize("sample", ["busy", "hold_interpreter"])
def test_a_heartbeat_comes_back_while_code_runs(kernel: KernelUnderTest, sample: str) -> None:
    frontend, begun = kernel.frontend(), kernel.world.now
    request = frontend.execute(kernel.sample(sample, seconds=WHILE))
    # That the code runs may not be told before it has ended: who publishes may need the interpreter.
    while not kernel.answers(request) and not kernel.is_over(begun, kernel.timing.reply_deadline):
        sent = kernel.world.now
        took = expect_echo(frontend, b"alive") - sent
        if took > BOUND and kernel.answers(request):
            # That code computes meanwhile is no excuse: a heart needs next to nothing of a processor.
            kernel.expect_steady(sent, BOUND)
            violate(f"an echo after {took / SECOND:.2f} s, when the code had ended", "an echo while it runs",
                    evidence=(kernel.answers(request)[0].seq,))  # fmt: skip
        kernel.let_pass(SECOND // 20)
    frontend.reply(request)
    if kernel.world.now - begun < BOUND:
        raise Undecided("the code that was to run for a while had ended before anything could be tried")

"""Plain kernels in trouble: scenarios of their own, for a kernel has neither a controller nor other engines.

Each is a short function of a `Stage`: a kernel, its process, and a relay between it and everybody. What it demands it
says as a case does. It happens as fast as the kernel goes; nothing is stretched by a pace.
"""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

from conformance.harness.deployment import date_of_now, new_token
from conformance.harness.expect import error, ok
from conformance.harness.kernel import Frontend, KernelUnderTest
from conformance.harness.kernelside import KernelSide
from conformance.harness.verdict import violate
from conformance.relay.hops import Link
from conformance.relay.relay import Relay
from conformance.relay.rewriting import Delay, Drop, Duplicate, Rule, of
from conformance.targets.descriptor import Target
from conformance.targets.listening import descendants
from conformance.targets.process import RunningKernel, start_kernel
from protocol.wire import Message
from protocol.world import MILLISECOND, SECOND
from simulator.lacking import Lacking

SHELL: Final = "kernel-shell"
#: Seconds that code runs while something happens, and that it would run if nothing did.
WHILE: Final = 3
LONG: Final = 60
#: Nanoseconds that something lasts, and by which messages are late.
LASTS: Final = SECOND
LATE: Final = 500 * MILLISECOND


class Stage:
    """A kernel that runs, behind a relay."""

    def __init__(self, target: Target) -> None:
        world = KernelSide(dialect=target.dialect)
        self.relay = Relay([])
        self.running: RunningKernel | None = None
        try:
            self.running = start_kernel(target, world.file)
            world.file = self.relay.copy("frontend", world.file)
            self.kernel = KernelUnderTest(
                world, target, token=new_token(), date=date_of_now, instance=self.running
            )  # fmt: skip
            self.kernel.settle()
            self.kernel.begin_case()
        except BaseException:
            self.relay.close()
            world.close()
            if self.running is not None:
                self.running.stop()
            raise

    def close(self) -> None:
        """End all of it."""
        assert self.running is not None
        self.relay.close()
        self.kernel.world.close()
        self.running.stop()

    # -- what can happen ---------------------------------------------------------------------------------------------

    def send(self, number: signal.Signals) -> None:
        """Send the process of the kernel a signal, and those that descend from it, where it is to stand still."""
        assert self.running is not None
        pid = self.running.process.pid
        whole = number in (signal.SIGSTOP, signal.SIGCONT)
        for each in [pid, *(descendants(pid) if whole else ())]:
            with suppress(ProcessLookupError):
                os.kill(each, number)

    def until_gone(self) -> None:
        """Wait for the end of its process, which is certain."""
        world = self.kernel.world
        world.run_until(lambda: not self.kernel.is_running, world.now + self.kernel.timing.start_deadline)

    @contextmanager
    def touching(self, *rules: Rule) -> Iterator[None]:
        """Let messages meet these rules meanwhile."""
        self.relay.rules = rules
        try:
            yield
        finally:
            self.relay.rules = ()

    # -- what is asked -----------------------------------------------------------------------------------------------

    def running_code(self, frontend: Frontend, seconds: float = WHILE) -> Message:
        """Code that surely runs, and goes on for a while."""
        request = frontend.execute(self.kernel.sample("sleep", seconds=seconds))
        self.kernel.until_running(request)
        return request

    def printing(self, frontend: Frontend, count: int) -> list[Message]:
        """So many requests that are done at once."""
        return [frontend.execute(self.kernel.sample("print", text=f"line{number}")) for number in range(count)]

    def expect_done(self, frontend: Frontend, requests: Sequence[Message], requirement: str) -> None:
        """Each is answered, once."""
        for request in requests:
            frontend.reply(request, requirement=requirement).expect(ok("execute_reply"), requirement=requirement)
        twice = [request.msg_id for request in requests if len(frontend.answers(request)) > 1]
        if twice:
            violate(f"{len(twice)} requests have two answers", "one each", requirement="wire.at-most-one-reply")


class KernelScenario(NamedTuple):
    """One scenario: its name, what happens, and whether messages are touched so that no rule can be held to them."""

    name: str
    run: Callable[[Stage], None]
    text: str
    touches: bool


#: Every scenario of kernels by its name.
KERNELS: Final[dict[str, KernelScenario]] = {}


def scenario(*, touches: bool = False) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
    """Register a scenario under the name of its function."""

    def register(run: Callable[[Stage], None]) -> Callable[[Stage], None]:
        name = run.__name__.replace("_", "-")
        KERNELS[name] = KernelScenario(name, run, " ".join((run.__doc__ or "").split()), touches)
        return run

    return register


# -- processes ---------------------------------------------------------------------------------------------------------


@scenario()
def kernel_stands_still(stage: Stage) -> None:
    """A kernel stands still, as SIGSTOP lets it, while code runs and more waits. When it goes on, all is answered."""
    frontend, other = stage.kernel.frontend(), stage.kernel.frontend()
    running = stage.running_code(frontend)
    waiting = stage.printing(frontend, 3)
    stage.send(signal.SIGSTOP)
    meanwhile = stage.printing(other, 3)
    stage.kernel.let_pass(LASTS)
    stage.send(signal.SIGCONT)
    stage.expect_done(frontend, [running, *waiting], "kernel.execute-answered")
    stage.expect_done(other, meanwhile, "kernel.execute-answered")


@scenario()
def kernel_is_interrupted_while_it_works(stage: Stage) -> None:
    """SIGINT comes while code runs and more waits. What runs ends with an error; the kernel goes on with the rest."""
    if "sigint" not in stage.kernel.features:
        raise Lacking("a kernel that heeds SIGINT")
    frontend = stage.kernel.frontend()
    running = stage.running_code(frontend, LONG)
    waiting = stage.printing(frontend, 3)
    stage.send(signal.SIGINT)
    frontend.reply(running, requirement="kernel.interrupt-ends-cell").expect(error("execute_reply"))
    stage.expect_done(frontend, waiting, "kernel.later-requests-run")


@scenario()
def kernel_is_killed(stage: Stage) -> None:
    """A kernel is killed while code runs, and started again with the same file. It serves at the same addresses, also
    whoever was connected before.
    """
    _dies(stage, signal.SIGKILL)


@scenario()
def kernel_crashes(stage: Stage) -> None:
    """A kernel ends as if its code had touched what is not there, SIGSEGV; see what happens when it is killed."""
    _dies(stage, signal.SIGSEGV)


@scenario()
def kernel_is_told_to_end(stage: Stage) -> None:
    """SIGTERM comes while nothing runs. The kernel goes on, or it ends, and a new one serves at the same addresses."""
    stage.send(signal.SIGTERM)
    world = stage.kernel.world
    if world.run_until(lambda: not stage.kernel.is_running, world.now + LASTS):
        stage.kernel.start_again()
    stage.kernel.expect_usable("kernel.binds-sockets")


def _dies(stage: Stage, number: signal.Signals) -> None:
    before = stage.kernel.frontend()
    stage.running_code(before, LONG)
    stage.send(number)
    stage.until_gone()
    stage.kernel.start_again()
    stage.kernel.expect_usable("kernel.binds-sockets")
    stage.expect_done(before, stage.printing(before, 1), "kernel.binds-sockets")


# -- connections -------------------------------------------------------------------------------------------------------


@scenario(touches=True)
def connections_to_a_kernel_break(stage: Stage) -> None:
    """All connections break while code runs, between messages and then within one. Frontends connect again by
    themselves, and are served.
    """
    frontend = stage.kernel.frontend()
    stage.running_code(frontend)
    stage.relay.cut(lambda _: True)
    stage.kernel.let_pass(LASTS)
    stage.expect_done(frontend, stage.printing(frontend, 3), "kernel.later-requests-run")
    stage.relay.cut_within(lambda link: link.channel == SHELL)
    frontend.execute(stage.kernel.sample("print", text="lost"))
    stage.kernel.let_pass(LASTS)
    stage.expect_done(frontend, stage.printing(frontend, 3), "kernel.later-requests-run")


@scenario()
def frontend_is_cut_off(stage: Stage) -> None:
    """Nothing passes between a kernel and one of its frontends for a while. Others are served; then it is, too."""
    cut, other = stage.kernel.frontend(), stage.kernel.frontend()
    stage.expect_done(cut, stage.printing(cut, 1), "kernel.execute-answered")

    def is_meant(link: Link) -> bool:
        return link.near.identity == cut.identity

    heal = stage.relay.part(is_meant)
    requests = stage.printing(cut, 3)
    stage.expect_done(other, stage.printing(other, 3), "kernel.many-frontends")
    stage.kernel.let_pass(LASTS)
    heal()
    stage.expect_done(cut, requests, "kernel.execute-answered")


@scenario(touches=True)
def kernel_hears_late(stage: Stage) -> None:
    """Everything to and from a kernel is late, in order. Each request has its answer."""
    frontend = stage.kernel.frontend()
    with stage.touching(Delay(of(), lambda _: LATE, stage.relay, keeps_order=True)):
        stage.expect_done(frontend, stage.printing(frontend, 5), "kernel.execute-answered")


# -- messages ----------------------------------------------------------------------------------------------------------


@scenario(touches=True)
def requests_to_a_kernel_are_doubled(stage: Stage) -> None:
    """Every request arrives twice. A replay is refused: each is run and answered once."""
    frontend = stage.kernel.frontend()
    with stage.touching(Duplicate(of("execute_request", channel=SHELL, is_up=True))):
        requests = stage.printing(frontend, 5)
        stage.expect_done(frontend, requests, "kernel.execute-answered")
        # Whatever the copies bring is there before that of a later request.
        stage.expect_done(frontend, [*requests, *stage.printing(frontend, 1)], "kernel.execute-answered")


@scenario(touches=True)
def requests_to_a_kernel_are_lost(stage: Stage) -> None:
    """Some requests never arrive, and some answers. Nobody else notices, and later requests are served."""
    frontend, other = stage.kernel.frontend(), stage.kernel.frontend()
    lost = Drop(of("execute_request", channel=SHELL, is_up=True), times=3)
    unheard = Drop(of("execute_reply", channel=SHELL, is_up=False), times=2)
    with stage.touching(lost, unheard):
        stage.printing(frontend, 5)
        stage.kernel.world.run_until(lambda: unheard.struck == 2, stage.kernel.world.now + LASTS)
    stage.expect_done(other, stage.printing(other, 3), "kernel.many-frontends")
    stage.expect_done(frontend, stage.printing(frontend, 3), "kernel.later-requests-run")


@scenario()
def garbage_for_a_kernel(stage: Stage) -> None:
    """Somebody without the key sends what is no message, on shell and on control. Those who work are served."""
    frontend, stranger = stage.kernel.frontend(), stage.kernel.frontend()
    running = stage.running_code(frontend)
    for channel in (SHELL, "kernel-control"):
        for frames in ([b"garbage"], [b""], [b"<IDS|MSG>", b"forged", b"{}", b"{}", b"{}", b"{}"]):
            stranger.send_raw(frames, "it is no message", channel=channel)
    stage.expect_done(frontend, [running, *stage.printing(frontend, 3)], "kernel.malformed-dropped")
    stage.kernel.expect_usable("kernel.malformed-dropped")


__all__ = ["KERNELS", "KernelScenario", "Stage"]

"""Every case about kernels is seen to fail: by a mistake in the relay before a real ipykernel, or by ipykernel itself.

One kernel serves all mistakes. What passes between it and the kit is rewritten, and the cases are called as they are.
"""

import ast
import importlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kernel_mistakes
import kernel_wire_mistakes
import msgspec
import pytest
from kernel_mischief import MISTAKES, every, published

import conformance
from conformance.harness.deployment import date_of_now, new_token
from conformance.harness.kernel import KernelUnderTest
from conformance.harness.kernelside import KernelSide
from conformance.harness.verdict import Undecided, Violated
from conformance.relay.relay import Relay
from conformance.relay.rewriting import Drop
from conformance.targets import load
from conformance.targets.process import start_kernel
from protocol.world import Observation

pytestmark = [
    pytest.mark.timeout(300),
    # One kernel serves all, so it must not be started once per worker.
    pytest.mark.xdist_group("kernel mistakes"),
]

#: The modules with mistakes; each adds its own to the table when it is imported.
TABLES = (kernel_mistakes, kernel_wire_mistakes)
SUITE = Path(conformance.__file__).parent
#: How often a case is tried until the machine was quick enough to judge.
TRIES = 3


def cases() -> dict[str, Callable[..., None]]:
    """Every case about kernels, by its name."""
    found = {}
    for path in sorted(SUITE.glob("test_kernel_*.py")):
        module = importlib.import_module(f"conformance.{path.stem}")
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found[node.name] = getattr(module, node.name)
    return found


CASES = cases()


def slugs(case: Callable[..., None]) -> list[str]:
    """The requirements that a case names."""
    marks = getattr(case, "pytestmark", [])
    return [slug for mark in marks if mark.name == "requirement" for slug in mark.args]


def parameters(case: Callable[..., None]) -> dict[str, Any]:
    """The first parameters that a case is run with."""
    first: dict[str, Any] = {}
    for mark in getattr(case, "pytestmark", []):
        if mark.name == "parametrize":
            names, values = mark.args[0], next(iter(mark.args[1]))
            names = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
            values = getattr(values, "values", values)
            first |= dict(zip(names, values if isinstance(values, tuple) else [values], strict=True))
    return first


class Bench:
    """A kernel behind a relay, started again when a mistake has left it unable to go on."""

    def __init__(self) -> None:
        target = load("ipykernel")
        timing = msgspec.structs.replace(target.timing, reply_deadline_s=2.0)
        self.target = msgspec.structs.replace(target, timing=timing)
        self.relay = Relay([])
        self.kernel: KernelUnderTest | None = None

    def ready(self) -> KernelUnderTest:
        """The kernel, with nothing rewritten."""
        self.relay.rules = []
        if self.kernel is not None and not self.recovers(self.kernel):
            self.stop()
        if self.kernel is None:
            world = KernelSide()
            running = start_kernel(self.target, world.file)
            world.file = self.relay.copy("frontend", world.file)
            self.kernel = KernelUnderTest(world, self.target, token=new_token(), date=date_of_now, instance=running)
            self.kernel.settle()
        return self.kernel

    def recovers(self, kernel: KernelUnderTest) -> bool:
        """Whether it goes on; code that a failed case has left waiting is interrupted."""
        if kernel.is_spent:
            kernel.instance.interrupt()
        return kernel.recovers()

    def stop(self) -> None:
        """End the kernel."""
        if self.kernel is not None:
            self.kernel.world.close()
            self.kernel.instance.stop()
            self.kernel = None

    def accused(self, name: str, mistake: str = "") -> str | None:
        """What a case accuses the kernel of that makes a mistake (or none)."""
        case = CASES[name]
        kernel = self.ready()
        kernel.begin_case()
        self.relay.rules = MISTAKES[mistake].rules() if mistake else []
        try:
            case(kernel, **parameters(case))
        except Violated as violated:
            kernel.distrust()
            return violated.requirement or slugs(case)[0]
        except Undecided:
            kernel.distrust()
        finally:
            self.relay.rules = []
            kernel.end_case()
        return None


@pytest.fixture(scope="session")
def bench() -> Iterator[Bench]:
    one = Bench()
    yield one
    one.stop()
    one.relay.close()


@pytest.mark.parametrize(("mistake", "case", "slug"), sorted(every()))
def test_a_mistake_is_found_under_its_name(bench: Bench, mistake: str, case: str, slug: str) -> None:
    # A busy machine may hide what is late, or call it missing; that says nothing about the case.
    assert any(bench.accused(case, mistake) == slug for _ in range(TRIES))


STARTING = "test_a_kernel_that_starts_says_so_once"


def test_a_kernel_that_says_twice_that_it_starts_is_found(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = bench.ready()
    # Whether its real first words are heard depends on who is quicker, the kernel or the connection of the subscriber.
    said = starting(kernel)
    monkeypatch.setattr(kernel, "first_words", [said])
    assert bench.accused(STARTING) is None
    monkeypatch.setattr(kernel, "first_words", [said, said])
    assert bench.accused(STARTING) == "kernel.starting-once"


def test_a_kernel_that_never_says_what_it_does_is_used_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = bench.ready()
    monkeypatch.setattr(kernel, "first_words", [])
    monkeypatch.setattr(kernel, "missing", {})
    bench.relay.rules = [Drop(published("status"))]
    kernel.explore()
    assert list(kernel.missing) == [kernel.brackets]
    kernel.end_case()
    kernel.distrust()
    assert any(kernel.recovers() for _ in range(TRIES))


def starting(kernel: KernelUnderTest) -> Observation:
    """What the kernel published about a request, made into the word that it starts, which belongs to no request."""
    kernel.begin_case()
    frontend = kernel.frontend()
    request = frontend.send("kernel_info_request")
    kernel.world.run_until(lambda: bool(kernel.states(request)), kernel.world.now + kernel.timing.reply_deadline)
    busy = next(seen for seen in kernel.published if seen.message is not None and seen.message.msg_type == "status")
    kernel.done(request)
    kernel.end_case()
    assert busy.message is not None
    word = busy.message.replace(content={"execution_state": "starting"}, parent_header={})
    return msgspec.structs.replace(busy, message=word)


def test_every_case_about_kernels_was_seen_to_fail() -> None:
    by_mistakes = {case for _, case, _ in every()} | {STARTING}
    by_ipykernel = {known.case for known in load("ipykernel").deviations}
    assert by_mistakes <= CASES.keys()
    assert CASES.keys() - by_mistakes - by_ipykernel == set()


def test_a_mistake_belongs_to_what_its_cases_name() -> None:
    odd = [(case, slug) for _, case, slug in every() if slug not in itertools.chain(slugs(CASES[case]), SHARED)]
    assert odd == []


#: What any case may accuse besides its own requirements.
SHARED = ("wire.reply-identities-echoed", "kernel.aborted-answered", "wire.sender-recovers")

"""A recording may be long: what is over and long ago is forgotten, and nobody is accused for that."""

from collections.abc import MutableMapping, MutableSet
from typing import Any

import pytest
from relay_tape import CODEC, ENGINE, Tape, build

from conformance.relay.jury import Charge, Jury
from protocol.recording import Reader
from protocol.rules import Judge
from protocol.rules.memory import Faded

MEMORY = 100


def work(tape: Tape, number: int) -> None:
    """A client has something run, and it prints."""
    tape.work(number)
    request = build("apply_request", msg_id=f"m-{number}", session="ann")
    output = build(
        "stream", {"name": "stdout", "text": "."}, msg_id=f"o-{number}", session=ENGINE, parent=request.header,
        identities=(b"engine.0.stdout",),
    )  # fmt: skip
    tape.say("engine/iopub", output, is_up=True)
    tape.say("client/iopub", output, is_up=False)


def tape_of(count: int) -> Tape:
    tape = Tape()
    tape.register()
    tape.connect()
    for number in range(count):
        work(tape, number)
    return tape


class Court:
    """A jury with little memory, and what it has found."""

    def __init__(self, *, is_whole: bool = False) -> None:
        self.jury: Jury | None = None
        self.is_whole = is_whole
        self.charges: list[Charge] = []
        self.sizes: list[int] = []

    def hear(self, tape: Tape, memory: int = MEMORY) -> list[str]:
        """The requirements that are broken; `sizes` has how much was kept after each hundredth item."""
        reader = Reader(tape.lines())
        self.jury = Jury(reader.head.setting, CODEC, is_whole=self.is_whole, memory=memory)
        for count, item in enumerate(reader):
            self.charges += self.jury.observe(item)
            if count % 100 == 99:
                self.sizes.append(kept(self.jury))
        self.charges += self.jury.finish(reader.end)
        return [each.violation.requirement for each in self.charges]


def kept(jury: Jury) -> int:
    """How many things all judges hold on to, in the ledger and in the rules."""
    return sum(_held(judge) for judge in jury.judges)


def _held(judge: Judge) -> int:
    ledger = judge.ledger
    owners = (ledger, ledger.jobs, ledger.engines, ledger.echoes, *judge.rules)
    return sum(_size(value) for owner in owners for value in vars(owner).values())


def _size(value: Any) -> int:
    if isinstance(value, MutableMapping):
        return sum(1 + _size(each) for each in value.values())
    return len(value) if isinstance(value, list | MutableSet) else 0


def test_what_is_kept_does_not_grow_with_the_recording() -> None:
    court = Court()
    assert court.hear(tape_of(1000)) == []
    early, late = max(court.sizes[:15]), max(court.sizes[15:])
    # Without forgetting it would have grown fourfold.
    assert len(court.sizes) >= 60
    assert late <= early * 1.1
    assert court.jury is not None
    assert court.jury.passed_over == 0


def test_without_a_limit_it_would_grow() -> None:
    court = Court()
    court.hear(tape_of(300), memory=10**6)
    assert court.sizes[-1] > 2 * court.sizes[len(court.sizes) // 3]


def test_what_is_wrong_is_found_however_late() -> None:
    tape = tape_of(400)
    tape.work(1000, replies=2)
    court = Court()
    assert court.hear(tape) == ["wire.at-most-one-reply"]


def test_what_stays_open_is_kept_until_the_end() -> None:
    tape = Tape()
    tape.register()
    asked = build("queue_request", {"targets": None, "verbose": False}, msg_id="open", session="ann")
    tape.say("client", asked, is_up=True)
    for number in range(400):
        work(tape, number)
    reply = build("connection_reply", {"status": "ok", "engines": {}}, msg_id="late", session="hub",
                  parent=asked.header)  # fmt: skip
    tape.say("client", reply, is_up=False)
    assert Court().hear(tape) == ["wire.reply-type"]


@pytest.mark.parametrize("is_whole", [False, True], ids=["a part", "everybody"])
def test_what_belongs_to_what_was_forgotten_is_not_judged(is_whole: bool) -> None:
    tape = tape_of(400)
    # A reply, and output, of the very first request.
    answer = build("apply_reply", {"status": "ok"}, msg_id="again", session="engine",
                   parent=build("apply_request", msg_id="m-0", session="ann").header, buffers=[b"r"])  # fmt: skip
    tape.say("client/mux", answer.replace(identities=(ENGINE.encode(),)), is_up=False)
    court = Court(is_whole=is_whole)
    assert court.hear(tape) == []
    assert court.jury is not None
    assert court.jury.passed_over == 1


def test_what_was_forgotten_long_ago_is_forgotten_twice() -> None:
    faded = Faded(10)
    faded.add(map(str, range(11)))
    faded.add(["eleven"])
    assert "3" in faded
    assert "eleven" in faded
    faded.add(map(str, range(20, 31)))
    faded.add(["last"])
    assert "3" not in faded
    assert len(faded) <= 24

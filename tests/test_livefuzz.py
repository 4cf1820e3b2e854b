"""Damaged messages at running targets: nobody notices them at a sound one, and harm is told with what does it."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from conformance.cli import main
from conformance.harness.observing import Unreachable
from conformance.harness.verdict import Undecided
from conformance.livefuzz.arena import HARM, Arena, Blow, Trouble
from conformance.livefuzz.blows import IN_A_ROW, Forge, kinds_at
from conformance.livefuzz.campaign import Campaign, Harm, case_of
from conformance.targets import TargetUnusable, load
from conformance.targets.tables import Deviation
from protocol.wire import Codec

#: Enough for three batches at a controller.
SOME = 840


def run(*args: str) -> Result:
    return CliRunner().invoke(main, ["fuzz", "target", *args])


def harms_of(campaign: Campaign, messages: int) -> list[Harm]:
    try:
        for _ in campaign.run(messages):
            pass
        return campaign.outcome.harms
    finally:
        campaign.close()


@pytest.mark.parametrize("target", ["simulated", "simulated-engine", "simulated-client"])
def test_nobody_notices_damage_at_a_sound_target(target: str) -> None:
    result = run("-t", target, "-n", "700")
    assert result.exit_code == 0, result.output
    assert "Nobody noticed anything." in result.output
    assert "700 messages of seed 0 at " in result.output


def test_the_summary_counts_by_socket_and_by_damage() -> None:
    result = run("-t", "simulated", "-n", "400", "--socket", "query", "--seed", "3")
    lines = [line.split() for line in result.output.splitlines()]
    (socket,) = [words for words in lines if words[:1] == ["query"]]
    assert socket[1] == "400"
    sent, dropped, answered, errors = (0 if word == "·" else int(word) for word in socket[1:5])
    assert sent == dropped + answered + errors
    assert dropped
    assert answered
    assert errors
    assert sum(int(words[1]) for words in lines[lines.index([]) :] if len(words) == 6 and words[1].isdigit()) == 400


def test_the_same_seed_strikes_the_same_blows() -> None:
    tallies = []
    for seed in (1, 1, 2):
        campaign = Campaign(load("simulated"), "controller", seed)
        assert not harms_of(campaign, SOME)
        tallies.append(campaign.outcome.tally)
    assert tallies[0] == tallies[1] != tallies[2]


def test_harm_is_narrowed_down_to_one_message_that_does_it_again() -> None:
    campaign = Campaign(load("simulated+dies-of-garbage"), "controller", 0, ["query"])
    harms = harms_of(campaign, SOME)
    assert [(len(harm.blows), harm.is_again) for harm in harms] == [(1, True)]
    (harm,) = harms
    assert [(each.requirement, each.where) for each in harm.troubles] == [(HARM, "the target")]
    assert harm.also
    number = str(harm.blows[0].number)
    again = run("-t", "simulated+dies-of-garbage", "--only", number)
    assert again.exit_code == 1
    assert f"to query: {harm.blows[0].kind} (message {number})" in again.output
    assert "its process has ended" in again.output
    assert run("-t", "simulated", "--only", number).exit_code == 0


@pytest.mark.parametrize("spots", [["query"], ["query", "mux"]])
def test_only_harm_that_one_blow_does_is_recognised_by_its_place(
    monkeypatch: pytest.MonkeyPatch, spots: list[str]
) -> None:
    campaign = Campaign(load("simulated"), "controller", 0)
    trouble = Trouble(HARM, "task of another peer", "no reply")
    monkeypatch.setattr(campaign, "_shows", lambda blows: ([trouble], [[b""] for _ in blows]))
    struck = [Blow(number, spot, "swap") for number, spot in enumerate(spots)]
    campaign.outcome.harms.append(Harm("controller", [trouble], struck, [], is_again=True))
    found = campaign._again([trouble], [Blow(7, "query", "add"), Blow(8, "task", "add"), Blow(9, "mux", "add")])
    campaign.close()
    assert (found is None) == (len(spots) > 1)
    assert found is None or [each.number for each in found.blows] == [7]


def test_a_target_that_cannot_be_started_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def unusable(*_: object) -> None:
        raise TargetUnusable("target simulated: ended with status 2 before it was ready")

    monkeypatch.setattr(Campaign, "arena", unusable)
    result = run("-t", "simulated", "-n", "10")
    assert result.exit_code == 3
    assert "ended with status 2 before it was ready" in result.output
    assert "Traceback" not in result.output


def test_harm_is_told_with_requirement_blame_and_what_repeats_it() -> None:
    result = run("-t", "simulated+dies-of-garbage", "-n", str(SOME), "--socket", "query")
    assert result.exit_code == 1
    told = result.output
    assert f"MUST {HARM}\n  Whatever one peer sends never alters" in told
    assert "at fault: the target; the target: its process has ended" in told
    assert "    [0] b" in told
    assert "again: ippkit fuzz target -t simulated+dies-of-garbage --role controller --seed 0 --only " in told
    assert told.count("again: ") == 1


def test_what_the_descriptor_lists_is_known_and_does_not_fail() -> None:
    entry = Deviation(slug=HARM, case="*harms_nobody_else*-query*", evidence="seen", reason="it is old")
    target = msgspec.structs.replace(load("simulated+dies-of-garbage"), deviations=(entry,))
    campaign = Campaign(target, "controller", 0, ["query"])
    (harm,) = harms_of(campaign, SOME)
    assert harm.known is entry
    assert not campaign.outcome.new
    strict = Campaign(target, "controller", 0, ["query"], is_strict=True)
    assert harms_of(strict, SOME) == strict.outcome.new != []


def test_a_batch_of_which_nothing_is_known_is_counted_apart_and_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    fight, fought = Arena.fight, []

    def held_up(self: Arena[Any], blows: Sequence[Blow]) -> list[Trouble]:
        fought.append(len(blows))
        if len(fought) == 2:
            raise Undecided("this process was held up")
        return fight(self, blows)

    monkeypatch.setattr(Arena, "fight", held_up)
    result = run("-t", "simulated", "-n", str(SOME))
    assert result.exit_code == 0, result.output
    assert f"{SOME} messages of seed 0" in result.output
    assert "1 more batches tell nothing" in result.output
    monkeypatch.setattr(Arena, "fight", lambda *_: (_ for _ in ()).throw(Undecided("held up for ever")))
    result = run("-t", "simulated", "-n", str(SOME))
    assert (result.exit_code, result.output) == (6, "Undecided: held up for ever\n")


def test_a_target_that_nobody_can_reach_any_more_is_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    strike = Arena.strike

    def unheard(self: Arena[Any], blow: Blow) -> None:
        if blow.spot == "query":
            raise Unreachable("nobody is connected")
        strike(self, blow)

    monkeypatch.setattr(Arena, "strike", unheard)
    (harm,) = harms_of(Campaign(load("simulated"), "controller", 0), 280)
    assert [(each.where, each.found) for each in harm.troubles] == [("the target", "nobody is connected")]
    assert {blow.spot for blow in harm.blows} == {"query"}


def test_harm_at_an_engine_names_its_socket() -> None:
    harms = harms_of(Campaign(load("simulated-engine+engine-dies-of-garbage"), "engine", 0, ["mux"]), SOME)
    assert harms
    assert {blow.spot for harm in harms for blow in harm.blows} == {"mux"}
    assert case_of("mine", "engine", "mux", "huge") == (
        "conformance/test_engine_framing.py::test_damage_harms_nobody_else[mine-mux-huge]"
    )


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("-t", "nobody"), "nobody"),
        (("-t", "simulated", "--socket", "quarry"), "there is no socket 'quarry'; there are: query, mux, "),
        (("-t", "simulated", "--role", "engine"), "simulated has not the role engine; it has: controller"),
        (("-t", "simulated", "--only", "1,x"), "'1,x' is no list of numbers"),
        (("-t", "simulated", "--only", "31"), "31 is the number of no blow at this target"),
        ((), "Missing option '-t'"),
    ],
)
def test_wrong_usage_is_one_sentence(args: tuple[str, ...], sentence: str) -> None:
    result = run(*args)
    assert result.exit_code == 4
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_every_kind_of_damage_makes_frames_at_every_spot() -> None:
    campaign = Campaign(load("simulated"), "controller", 0)
    try:
        arena: Arena[Any] = campaign.arena()
        forge = Forge(5, Codec(b"key"))
        for spot in arena.spots.values():
            for kind in kinds_at(spot):
                for number in range(IN_A_ROW):
                    assert forge.make(spot, kind, number)
    finally:
        campaign.close()


def test_a_blow_has_the_number_of_its_spot_and_kind() -> None:
    campaign = Campaign(load("simulated"), "controller", 4)
    try:
        arena = campaign.arena()
        blows = [blow for number in range(5) for blow in campaign.batch(arena, number)]
        assert len({blow.number for blow in blows}) == len(blows)
        assert [campaign.blow(arena, blow.number) for blow in blows] == blows
        assert isinstance(blows[0], Blow)
    finally:
        campaign.close()


@pytest.mark.parametrize(("second", "is_harm"), [(400 << 20, True), (130 << 20, False)])
def test_a_target_that_holds_ever_more_memory_is_told(
    monkeypatch: pytest.MonkeyPatch, second: int, is_harm: bool
) -> None:
    monkeypatch.setattr("conformance.livefuzz.campaign.LIFE", 280)
    sizes = iter([100 << 20, *[second] * 20])
    monkeypatch.setattr("conformance.livefuzz.rings.Ring.memory", lambda _: next(sizes))
    harms = harms_of(Campaign(load("simulated"), "controller", 0, ["notification", "heartbeat-pong"]), SOME)
    assert [each.where for harm in harms for each in harm.troubles] == ["the memory of the target"] * is_harm

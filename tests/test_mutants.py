"""Every mutant is killed under the name of what it breaks, and no variant is accused: one run of the suite tells."""

import json
import subprocess
import sys
from typing import Any

import pytest
from broken_engine import FAULTS
from click.testing import CliRunner
from engine_mischief import every

from conformance.catalogue import cases
from conformance.cli import main
from conformance.mutants import Mutant, Variant, find, load
from conformance.mutants.unproved import REAL_ENGINES, REASONS
from conformance.targets import DescriptorError
from conformance.targets import load as load_target
from protocol.requirements import load as load_requirements

#: One run of the suite with all mutants, on a machine that may do other things.
pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("mutants")]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the command says."""
    command = [sys.executable, "-c", "from conformance.cli import main; main()", "mutants", "--json", "--jobs", "2"]
    done = subprocess.run(
        command, cwd=tmp_path_factory.mktemp("mutants"), capture_output=True, text=True, timeout=580, check=False
    )
    assert done.returncode in (0, 1), done.stdout[-2000:] + done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def fates(told: dict[str, Any]) -> dict[str, Any]:
    """What it says of each mutant, by name."""
    return {fate["name"]: fate for fate in told["mutants"]}


@pytest.mark.parametrize("name", load())
def test_a_mutant_is_killed_under_its_name_and_a_variant_is_accused_of_nothing(
    fates: dict[str, Any], name: str
) -> None:
    fate = fates[name]
    assert fate["is_as_it_should_be"], fate


def test_what_no_mutant_proves_has_a_reason_and_nothing_else_has_one(told: dict[str, Any]) -> None:
    for role, reasons in REASONS.items():
        assert set(told["not_proved"][role]) == {slug for slugs in reasons.values() for slug in slugs}


def test_every_case_about_engines_was_seen_to_fail(fates: dict[str, Any]) -> None:
    seen = {case.partition("[")[0] for _, case, _ in every()}
    for fate in fates.values():
        if fate["judged_as"] == "engine":
            seen |= {case for slug in fate["breaks"] for case in fate["accused"].get(slug, ())}
    named = cases("engine")
    found = {case for names in named.values() for case in names}
    others = [slug for why, slugs in REASONS["engine"].items() if why != REAL_ENGINES for slug in slugs]
    assert found - seen <= {case for slug in others for case in named.get(slug, ())}


def test_what_only_real_engines_show_is_found_there() -> None:
    assert FAULTS
    assert set(REASONS["engine"][REAL_ENGINES]) <= {slug for _, _, slug in every()}


@pytest.mark.parametrize("mutant", load().values(), ids=list(load()))
def test_a_mutant_says_in_a_sentence_what_it_breaks(mutant: type[Mutant]) -> None:
    known = load_requirements()
    assert mutant.sentence().endswith(".")
    assert bool(mutant.breaks) != issubclass(mutant, Variant)
    assert [slug for slug in mutant.breaks if slug not in known] == []


def test_a_mutant_is_a_target() -> None:
    target = load_target("simulated+announces-twice")
    assert (target.name, target.mutant) == ("simulated+announces-twice", "announces-twice")
    assert target.is_simulated


def test_a_mutant_that_does_not_exist_is_one_sentence() -> None:
    with pytest.raises(DescriptorError, match="no mutant 'announces-twise'; did you mean 'announces-twice'"):
        load_target("simulated+announces-twise")
    with pytest.raises(KeyError):
        find("announces-twise")


def test_a_selection_that_selects_nothing_is_one_sentence_and_status_5() -> None:
    result = CliRunner().invoke(main, ["mutants", "nothing.*"])
    assert result.exit_code == 5
    assert result.stderr == "ippkit: no mutant matches 'nothing.*'\n"

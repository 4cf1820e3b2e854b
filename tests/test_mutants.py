"""Every mutant is killed under the name of what it breaks, and no variant is accused: one run of the suite tells."""

import json
import subprocess
import sys
from typing import Any

import pytest
from click.testing import CliRunner

from conformance.cli import main
from conformance.mutants import Mutant, Variant, find, load
from conformance.mutants.unproved import REASONS
from conformance.targets import DescriptorError
from conformance.targets import load as load_target
from protocol.requirements import load as load_requirements

#: One run of the suite with all mutants, on a machine that may do other things.
pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("mutants")]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the command says."""
    command = [sys.executable, "-c", "from conformance.cli import main; main()", "mutants", "--json"]
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
    assert set(told["not_proved"]) == {slug for slugs in REASONS.values() for slug in slugs}


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

"""The same seed gives the same trace in every CPython that is there, whatever its hash seed.

What a run needs of others is msgspec, which is fetched for each interpreter as pip does; where there is no interpreter,
or nothing can be fetched, nothing is said.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import simulator
from simulator.run import Setup, run

#: Runs of several kinds: everything drawn, faults within the contract, none, scenarios.
RUNS: list[dict[str, Any]] = [
    {"seed": 1, "tasks": 20},
    {"seed": 2, "tasks": 20, "faults": "lite"},
    {"seed": 3, "tasks": 20, "faults": "none", "is_encoded": True},
    {"name": "mass-death", "seed": 4},
    {"name": "frames-are-lost", "seed": 5},
]
VERSIONS = ("3.11", "3.12", "3.13")
PROGRAM = """
import json, sys
from simulator.run import Setup, run
print(sys.implementation.name, "%d.%d" % sys.version_info[:2])
for about in json.loads(sys.argv[1]):
    print(run(Setup(**about, has_trace=True)).digest)
"""


def digests() -> list[str]:
    """Those of the runs in this interpreter."""
    return [run(Setup(**about, has_trace=True)).digest for about in RUNS]


def interpreters(version: str) -> Iterator[str]:
    """Where one of this version may be: where commands are found, and what pyenv keeps."""
    name = f"python{version}"
    if (found := shutil.which(name)) is not None:
        yield found
    if (pyenv := shutil.which("pyenv")) is not None:
        asked = subprocess.run([pyenv, "root"], capture_output=True, text=True, timeout=30, check=False)
        root = Path(asked.stdout.strip())
        yield from map(str, sorted(root.glob(f"versions/{version}.*/bin/{name}")) if asked.stdout.strip() else ())


def is_one(python: str, version: str) -> bool:
    """Whether this starts a CPython of this version: a name may stand for none."""
    program = "import sys; print(sys.implementation.name, '%d.%d' % sys.version_info[:2])"
    told = subprocess.run([python, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    return told.stdout.split() == ["cpython", version]


@pytest.fixture(scope="module")
def here() -> list[str]:
    """The digests of this interpreter."""
    return digests()


@pytest.mark.parametrize("version", VERSIONS)
def test_the_same_seed_gives_the_same_trace(version: str, here: list[str], tmp_path: Path) -> None:
    python = next((each for each in interpreters(version) if is_one(each, version)), None)
    if python is None:
        pytest.skip(f"there is no CPython {version}")
    wanted = f"msgspec=={msgspec.__version__}"
    options = ["--only-binary", ":all:", "--no-deps", "--python-version", version, "--implementation", "cp"]
    fetch = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(tmp_path), *options, wanted]
    if subprocess.run(fetch, capture_output=True, timeout=120, check=False).returncode:
        pytest.skip(f"{wanted} for CPython {version} cannot be fetched")
    places = [str(Path(simulator.__file__).parents[1]), str(tmp_path)]
    there = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "PYTHONHASHSEED": "17"}
    told = subprocess.run(
        [python, "-c", PROGRAM, json.dumps(RUNS)], env=there, capture_output=True, text=True, timeout=300, check=False
    )
    assert told.stdout.splitlines() == [f"cpython {version}", *here], told.stderr[-2000:]


def test_every_run_is_one_of_its_own(here: list[str]) -> None:
    assert len(set(here)) == len(RUNS)

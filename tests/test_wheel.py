"""The installed kit does what the checkout does: a wheel is built, installed, and used from an empty directory."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
#: A short case, so that three runs of a real controller stay short.
CASE = "registration.reply-hb-period"

pytestmark = pytest.mark.timeout(300)


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON"))}
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has the kit from its wheel, and the kit's dependencies from this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    built = run(
        sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, CHECKOUT,
        cwd=folder,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("ippkit-*.whl")
    home = folder / "venv"
    venv.create(home, with_pip=True)
    own = home / "bin" / "python"
    assert run(own, "-m", "pip", "install", "--quiet", "--no-deps", wheel, cwd=folder).returncode == 0
    # A path file is read without the path files of the other place, so the editable checkout stays out of sight.
    packages = next((home / "lib").glob("python*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return own


def verdicts(done: subprocess.CompletedProcess[str]) -> list[str]:
    lines = done.stdout.splitlines()
    rows = [line.split() for line in lines if line.startswith(("registration", "total"))]
    assert rows, done.stdout + done.stderr
    return [" ".join(row) for row in rows] + [line for line in lines if "requirements judged" in line]


def test_the_wheel_is_found_where_it_was_installed(python: Path, tmp_path: Path) -> None:
    done = run(
        python, "-c", "import conformance, protocol; print(conformance.__file__, protocol.__file__)", cwd=tmp_path
    )
    assert str(CHECKOUT) not in done.stdout
    assert done.stdout.count("site-packages") == 2


def test_the_three_ways_to_run_the_suite_agree(python: Path, tmp_path: Path) -> None:
    options = ("--target", "ipyparallel", "--requirement", CASE)
    installed = run(python, "-m", "pytest", "--pyargs", "conformance", "-p", "no:cacheprovider", *options, cwd=tmp_path)
    command = run(python.parent / "ippkit", "test", *options, cwd=tmp_path)
    checkout = run(sys.executable, "-m", "pytest", "conformance/", "-p", "no:cacheprovider", *options, cwd=CHECKOUT)
    assert [done.returncode for done in (installed, command, checkout)] == [0, 0, 0], (
        installed.stdout + installed.stderr
    )
    assert verdicts(installed) == verdicts(command) == verdicts(checkout)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [["--help"], ["explain", CASE], ["dialects"], ["coverage"], ["schema", "queue_request"]], ids=" ".join
)
def test_installed_commands_find_their_data(python: Path, tmp_path: Path, arguments: list[str]) -> None:
    done = run(python.parent / "ippkit", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_an_installed_kit_can_draw_pages(python: Path, tmp_path: Path) -> None:
    arguments = ("simulate", "engine-dies-twice", "--diagram", "out.html")
    done = run(python.parent / "ippkit", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")

"""`ippkit venv`: another release of ipyparallel in an environment of its own, to be judged beside the installed one."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import click
import msgspec

import conformance
from conformance.targets import versions

#: What a release needs that is older than what pip would choose: the releases, and what goes with them.
PINS: Final = (
    # ipykernel 7 runs control requests and cells in its own loop, for which these engines were not made.
    ("<9.0", "ipykernel<7"),
)
_RELEASE: Final = re.compile(r"ipyparallel==(\d+(?:\.\d+)*\w*)")


def pinned(version: str) -> list[str]:
    """What pip is asked to install for a release of ipyparallel."""
    return [f"ipyparallel=={version}", *(pin for rule, pin in PINS if versions.accepts(rule, version))]


@click.command(epilog="Example: ippkit venv ipyparallel==8.8.0")
@click.argument("release", metavar="ipyparallel==VERSION")
@click.option("--dir", "folder", type=click.Path(path_type=Path), metavar="DIR",
              help="Where to make it.  [default: .venv-ipyparallel-VERSION]")  # fmt: skip
def venv(release: str, folder: Path | None) -> None:
    """Make a virtual environment with another release of ipyparallel, and with what that release works with.

    A target is judged with it by writing @DIR behind its name: -t ipyparallel@DIR, -t ipyparallel-client@DIR.
    """
    found = _RELEASE.fullmatch(release)
    if found is None:
        raise click.UsageError(f"{release!r} is no release; ipyparallel==8.8.0 is one")
    path = folder or Path(f".venv-ipyparallel-{found[1]}")
    if path.exists():
        raise click.UsageError(f"{path} is there already; name another with --dir, or remove it")
    wanted = pinned(found[1])
    click.echo(f"{path}: {', '.join(wanted)}")
    try:
        _run([sys.executable, "-m", "venv", str(path)], "no virtual environment could be made")
        install = [str(path / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*install, *wanted], "pip could not install that")
        lend_driver(path)
    except BaseException:
        # Half of one would be taken for a whole one the next time.
        shutil.rmtree(path, ignore_errors=True)
        raise
    click.echo(f"Judge it: ippkit test -t ipyparallel@{path}, and so for ipyparallel-engine and ipyparallel-client.")


def lend_driver(environment: Path) -> None:
    """Let the driver of clients be found in an environment: behind everything that is installed there itself."""
    folders = {Path(module.__file__ or "").parent.parent for module in (conformance, msgspec)}
    for packages in environment.glob("lib/python*/site-packages"):
        (packages / "ippkit.pth").write_text("".join(f"{folder}\n" for folder in sorted(folders)), encoding="utf-8")


def _run(command: list[str], failure: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - made of checked words
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise click.ClickException(f"{failure}: {said[-1] if said else f'status {done.returncode}'}")

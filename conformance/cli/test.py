"""`ippkit test`: the suite from anywhere, without knowing where it is installed."""

from importlib.util import find_spec

import click
import pytest

from conformance.catalogue import SUITE


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("-t", "--target", "targets", multiple=True, metavar="NAME|FILE", help="What to judge (repeatable).")
@click.option("--strict", is_flag=True, help="Known deviations count as violations.")
@click.option("--requirement", "requirements", multiple=True, metavar="GLOB", help="Only cases of these requirements.")
@click.option("--report", metavar="DIR", help="Write a report to look through, and for machines: see docs/reports.md.")
@click.option("--destructive", is_flag=True, help="Also what would harm a running cluster that the kit is attached to.")
@click.option("--patient", is_flag=True, help="Wait for answers as long as it takes, as somebody who debugs needs it.")
@click.option("--update-deviations", is_flag=True, help="Write what is not listed yet into the descriptor, unreviewed.")
@click.argument("pytest_args", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def test(
    context: click.Context,
    targets: tuple[str, ...],
    strict: bool,
    requirements: tuple[str, ...],
    report: str | None,
    update_deviations: bool,
    destructive: bool,
    patient: bool,
    pytest_args: tuple[str, ...],
) -> None:
    """Judge an implementation; further arguments go to pytest (`-k NAME`, `-x`, with the extra xdist `-n auto`).

    Exit status: 0 conforms (or only known deviations), 1 violations, 3 the target or the kit is not usable, 4 wrong
    usage, 5 nothing selected, 6 something demanded stayed undecided or blocked.
    """
    if find_spec("xdist") is None and any(each.startswith(("-n", "--numprocesses", "--dist")) for each in pytest_args):
        raise click.UsageError("several processes need pytest-xdist: pip install 'ippkit[xdist]'")
    arguments = [*SUITE]
    for name in targets:
        arguments += ["--target", name]
    for glob in requirements:
        arguments += ["--requirement", glob]
    if report is not None:
        arguments += ["--report", report]
    flags = {
        "--update-deviations": update_deviations, "--destructive": destructive, "--patient": patient,
        "--strict": strict,
    }  # fmt: skip
    arguments += [name for name, is_set in flags.items() if is_set]
    context.exit(pytest.main([*arguments, *pytest_args]))

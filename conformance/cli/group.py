"""The click group that loads a command when it is used, and turns every known failure into one sentence.

`ippkit --help` is answered from the table alone. A failure that the user can understand (wrong usage, a dead target, a
file that is not what it should be) is one sentence on stderr and an exit status; a traceback means a defect of the kit.
"""

import importlib
import sys
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import click

from protocol.errors import ProtocolError


class ExitStatus(IntEnum):
    """What the exit status of every `ippkit` command and of the suite says."""

    CONFORMS = 0
    VIOLATIONS = 1
    UNUSABLE = 3  # the target or the kit could not be used
    USAGE = 4
    NOTHING_SELECTED = 5
    OPEN = 6  # something demanded stayed undecided or blocked
    INTERRUPTED = 130  # what shells report for SIGINT


class Entry(NamedTuple):
    """Where a command is defined (`module:attribute`), and what it does in one line."""

    target: str
    summary: str


class LazyGroup(click.Group):
    """A group whose commands are rows of a table, imported on first use.

    A command's return value is the exit status if it is an integer; None means 0. A command raises click.UsageError
    for wrong arguments (status 4); ProtocolError and OSError (status 3) and TargetError (its own) may simply be let
    through.
    """

    def __init__(self, name: str, *, entries: Mapping[str, Entry], **kwargs: Any) -> None:
        super().__init__(name, no_args_is_help=False, **kwargs)
        self.entries = entries
        self._resolved = ""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the table's own order, which is that of the help text."""
        return [*self.entries, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, imported now; None if the table has none."""
        entry = self.entries.get(cmd_name)
        if entry is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = entry.target.partition(":")
        try:
            command = getattr(importlib.import_module(module), attribute)
        except ImportError as error:
            raise click.ClickException(f"the command {cmd_name} needs something that is missing: {error}") from error
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As in click, with the nearest names of the table when there is no such command."""
        import difflib

        name = args[0]
        if not name.startswith("-") and name not in self.list_commands(ctx):
            near = difflib.get_close_matches(name, self.entries)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise click.UsageError(f"no such command: {name}{hint}", ctx)
        self._resolved = name
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 (click's)
        """The table as the help text shows it; nothing is imported for it."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in self.entries.items()])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = "ippkit",
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run, and end the process with the exit status of the contract; returns only if not `standalone_mode`."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        try:
            result = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.UsageError as error:
            # An option without its value is told without its command.
            where = error.ctx.command_path if error.ctx is not None else f"{prog_name} {self._resolved}".strip()
            said = _sentence(error)
            # One hint is enough.
            hint = "" if "see ippkit" in said else f" (see {where} --help)"
            _fail(f"{said}{hint}", ExitStatus.USAGE)
        except click.ClickException as error:
            _fail(error.format_message(), ExitStatus.UNUSABLE)
        except OSError as error:
            # As a sentence for people: without the number, and the name first.
            is_about_file = error.filename is not None and error.strerror is not None
            _fail(f"{error.filename}: {error.strerror}" if is_about_file else str(error), ExitStatus.UNUSABLE)
        except ProtocolError as error:
            _fail(str(error), ExitStatus.UNUSABLE)
        except click.Abort:
            _fail("interrupted", ExitStatus.INTERRUPTED)
        except Exception as error:
            # Here, as the package of targets takes long to import, and whoever met a target has it already.
            from conformance.targets.errors import TargetError

            if not isinstance(error, TargetError):
                raise
            _fail(str(error), ExitStatus(error.exit_status))
        sys.exit(int(result) if isinstance(result, int) else ExitStatus.CONFORMS)


def _sentence(error: click.UsageError) -> str:
    """What is wrong with the arguments; where a group stands alone, what may follow it."""
    if error.message == "Missing command." and error.ctx is not None and isinstance(error.ctx.command, click.Group):
        return f"a command is missing; there are: {', '.join(error.ctx.command.list_commands(error.ctx))}"
    return error.format_message()


def _fail(text: str, status: ExitStatus) -> None:
    sentence = " ".join(text.split())
    click.echo(f"ippkit: {sentence}", err=True)
    sys.exit(status)

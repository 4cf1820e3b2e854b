"""The command `ippkit`, one module per group of subcommands.

Here stands only the table of commands. A row's module is imported when its command is used, so that
`ippkit --help` stays fast and a command without its extra does not disturb the others.
"""

from typing import Final

import click

from conformance.cli.group import Entry, ExitStatus, LazyGroup

COMMANDS: Final = {
    "test": Entry("conformance.cli.test:test", "Judge an implementation against the protocol."),
    "new-target": Entry("conformance.cli.newtarget:new_target", "Write a descriptor to start from."),
    "doctor": Entry("conformance.cli.doctor:doctor", "Start a target, and see step by step whether it answers at all."),
    "next": Entry("conformance.cli.next:next_step", "Name the first step that a half-built target does not reach."),
    "venv": Entry("conformance.cli.venv:venv", "Make a virtual environment with another release of ipyparallel."),
    "compare": Entry("conformance.cli.compare:compare", "Put reports of the suite beside each other."),
    "controller": Entry("conformance.cli.controller:controller", "Run the reference controller."),
    "engine": Entry("conformance.cli.engine:engine", "Run an engine of the reference, for any controller."),
    "submit": Entry("conformance.cli.submit:submit", "Call a function on a cluster."),
    "interop": Entry("conformance.cli.interop:interop", "Run real clients, controllers and engines together."),
    "explain": Entry("conformance.cli.explain:explain", "Show one requirement: text, source, example, cases."),
    "requirements": Entry("conformance.cli.requirements:requirements", "List the requirements."),
    "dialects": Entry("conformance.cli.dialects:dialects", "Show the protocol's dialects side by side."),
    "which-dialect": Entry("conformance.cli.which_dialect:which_dialect", "Tell which dialect peers speak."),
    "channels": Entry("conformance.cli.channels:channels", "Show every channel: sockets, addresses, envelopes."),
    "schema": Entry("conformance.cli.schema:schema", "Print the JSON Schema of a message type."),
    "vectors": Entry("conformance.cli.vectors:vectors", "Write or check the language-neutral test vectors."),
    "coverage": Entry("conformance.cli.coverage:coverage", "Show what became of each sentence of the documents."),
    "probe": Entry("conformance.cli.probe:probe", "Show what kind of socket listens at an address."),
    "certify-sockets": Entry("conformance.cli.certify:certify_sockets", "Compare the virtual sockets with libzmq."),
    "simulate": Entry("conformance.cli.simulate:simulate", "Let things go wrong in virtual time, and judge."),
    "explore": Entry("conformance.cli.explore:explore_", "Visit every order of events in a small world."),
    "minimise": Entry("conformance.cli.minimise:minimise", "Find the smallest run that fails as a trace does."),
    "record": Entry("conformance.cli.record:record", "Record what happens between the parties of a cluster."),
    "check": Entry("conformance.cli.check:check", "Judge a recording by the rules of the protocol."),
    "view": Entry("conformance.cli.view:view", "Draw what happened in a run, as a sequence diagram."),
    "mutants": Entry("conformance.cli.mutants:mutants", "Show which requirement finds which broken controller."),
    "fuzz": Entry("conformance.cli.fuzz:fuzz", "Search for messages that are judged wrongly, or harm others."),
    "hunt": Entry("conformance.cli.hunt:hunt", "Search for conversations in which a controller fails."),
    "replay": Entry("conformance.cli.replay:replay", "Play a conversation that failed once more, and explain it."),
}

main = click.version_option(package_name="ippkit", message="%(prog)s %(version)s")(
    LazyGroup(
        "ippkit",
        entries=COMMANDS,
        help="The conformance kit of the IPython Parallel protocol.",
        epilog="Exit status: 0 conforms, 1 violations, 3 target or kit not usable, 4 wrong usage, 5 nothing selected, "
        "6 something demanded stayed undecided or blocked.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
)

__all__ = ["COMMANDS", "Entry", "ExitStatus", "LazyGroup", "main"]

"""Profiles: what a target claims as a whole, so that nobody leaves out the one feature that it lacks.

A core profile is what makes a target of its role useful at all: it cannot be claimed in part. Every other profile of a
role builds on its core. What else a target can do is declared feature by feature.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from conformance.targets.vocabulary import Role


class Profile(NamedTuple):
    """One profile: the features that it stands for, and the samples without which its cases would say nothing."""

    role: Role
    text: str
    features: tuple[str, ...] = ()
    samples: tuple[str, ...] = ()


PROFILES: Final[Mapping[str, Profile]] = {
    "controller-core": Profile(
        "controller",
        "engines register, live and die, clients are told, and requests, replies and output find their way",
        ("mux", "control", "iopub"),
    ),
    "controller-tasks": Profile("controller", "tasks are given to engines, with dependencies and retries", ("tasks",)),
    "controller-queries": Profile(
        "controller",
        "the Hub remembers what was asked and answered, finds it, runs it again and forgets it",
        ("queue", "results", "purge", "db", "history", "resubmit"),
    ),
    "controller-broadcast": Profile("controller", "one message reaches many engines, by a tree", ("broadcast",)),
    "engine-core": Profile(
        "engine",
        "it registers, its heart beats, it runs code and answers, also with errors, and it ends when it is told",
        samples=("print", "raise", "sleep", "define", "recall"),
    ),
    "engine-control": Profile(
        "engine", "what waits is taken back, what runs interrupted, what is set cleared", ("abort", "clear", "signal")
    ),
    "engine-output": Profile(
        "engine", "what code writes, shows and raises is published", ("output",), ("stderr", "value", "many_lines")
    ),
    "engine-apply": Profile("engine", "it calls functions of Python", ("apply", "dependencies")),
    "client-core": Profile("client", "it sends code to engines, and knows what became of it", ("execute",)),
    "client-apply": Profile("client", "it sends functions of Python", ("apply",)),
    "client-tasks": Profile("client", "it lets a scheduler choose the engine", ("tasks",)),
    "client-queries": Profile(
        "client",
        "it asks the Hub, and can have results looked up or forgotten, or a task run again",
        ("queue", "results", "purge", "resubmit", "history", "db"),
    ),
    "client-output": Profile("client", "it gives what was written for a request", ("output",)),
    "client-control": Profile(
        "client",
        "it takes back what waits, clears and signals engines, and ends them and the controller",
        ("abort", "clear", "signal", "shutdown"),
    ),
    "client-broadcast": Profile("client", "it reaches many engines with one message", ("broadcast",)),
    "kernel-core": Profile(
        "kernel", "it runs code and answers, and says what it does", samples=("print", "raise", "sleep", "value"),
    ),
    "kernel-introspection": Profile(
        "kernel", "it completes, explains and remembers code", ("complete", "inspect", "history", "is-complete")
    ),
    "kernel-output": Profile("kernel", "code shows what frontends display", ("display", "expressions")),
    "kernel-comms": Profile("kernel", "code and frontends talk about objects", ("comm-info", "comms")),
    "kernel-stdin": Profile("kernel", "code can ask for a line", ("stdin",), ("read_line",)),
    "kernel-control": Profile("kernel", "what runs can be interrupted by a message", ("interrupt",)),
}  # fmt: skip


def core_of(role: Role) -> str:
    """The name of the profile on which all others of a role build."""
    return f"{role}-core"

"""The decorators of a case."""

import pytest

#: The requirements that a case tests: `@requirement("registration.duplicate-uuid-refused")`.
requirement = pytest.mark.requirement

#: The features without which a case says nothing about a target: `@needs("db")`.
needs = pytest.mark.needs

#: What the controller has to run with: `@settings(scheme="lru", hwm=(0, 2))`. Of several values each will do. A target
#: that runs so anyway is judged as it is; of another one a fresh controller is started with the first value, if its
#: descriptor has an option for that.
settings = pytest.mark.settings

#: The schemes under which a scheduler reads what steers a task.
READING = ("leastload", "lru", "plainrandom", "twobin", "weighted")

#: What only a system of processes and files has: in virtual time the case says nothing. `@needs_system("file modes")`.
needs_system = pytest.mark.needs_system

#: What would harm somebody else's target, to which the kit is attached: `@destructive("it floods the Hub")`. With
#: `ends=True` it is gone afterwards. The case runs only if that was allowed, after all others.
destructive = pytest.mark.destructive

#: Keys of the connection file that an engine is started with, by values of their own; for `new_engine`.
connection_file = pytest.mark.connection_file

__all__ = ["READING", "connection_file", "destructive", "needs", "requirement", "settings"]

"""Which versions of ZeroMQ and its binding the oldest dialect accepted, one rule per row.

Versions are compared number by number, never as text: as text "2.1.10" would come before "2.1.4". A development build
of pyzmq passes whatever its numbers are. A missing part counts as older: 2.1 is below 2.1.4.

Source: IPython commit 7bde2f380 (2011, XREQ/XREP to DEALER/ROUTER), files IPython/zmq/__init__.py and
IPython/parallel/__init__.py, before and after the change.
"""

import re
from typing import Final, Literal, NamedTuple

Component = Literal["pyzmq", "libzmq"]
Package = Literal["IPython.zmq", "IPython.parallel"]
Platform = Literal["windows", "other"]
Text = Literal["before", "after"]
Outcome = Literal["pass", "warn", "refuse"]


class VersionRule(NamedTuple):
    """`below`: versions under `limit` have the effect. `from`: versions from `limit` on have it."""

    component: Component
    side: Literal["below", "from"]
    limit: str
    effect: Literal["warn", "refuse"]
    packages: tuple[Package, ...]
    platforms: tuple[Platform, ...]
    texts: tuple[Text, ...]
    why: str


RULES: Final = (
    VersionRule(
        "pyzmq", "below", "2.1.4", "refuse", ("IPython.zmq",), ("windows", "other"), ("before", "after"),
        "the sockets of the kernel need it",
    ),
    VersionRule(
        "pyzmq", "below", "2.1.4", "refuse", ("IPython.parallel",), ("other",), ("before", "after"),
        "the same minimum as the kernel's",
    ),
    VersionRule(
        "pyzmq", "below", "2.1.7", "refuse", ("IPython.parallel",), ("windows",), ("before", "after"),
        "earlier builds for Windows do not carry parallel computing",
    ),
    VersionRule(
        "libzmq", "from", "3.0.0", "warn", ("IPython.zmq", "IPython.parallel"), ("windows", "other"), ("before",),
        "libzmq 3 was not expected to work",
    ),
    VersionRule(
        "libzmq", "from", "4.0.0", "warn", ("IPython.zmq", "IPython.parallel"), ("windows", "other"), ("after",),
        "libzmq 3 had proved to work, and nothing was known about 4",
    ),
)  # fmt: skip


def numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version in order: `2.1.10rc2` gives (2, 1, 10, 2). Raises ValueError if there are none."""
    found = tuple(int(digits) for digits in re.findall(r"[0-9]+", version))
    if not found:
        raise ValueError(f"{version!r} is no version: it has no number")
    return found


def check(
    component: Component,
    version: str,
    *,
    package: Package = "IPython.parallel",
    platform: Platform = "other",
    text: Text = "after",
) -> Outcome:
    """What happens with this version of a component, by the text before or after the change of 2011.

    Raises ValueError for a version without numbers.
    """
    if component == "pyzmq" and "dev" in version:
        return "pass"
    mine = numbers(version)
    for rule in RULES:
        if rule.component != component or package not in rule.packages or platform not in rule.platforms:
            continue
        limit = numbers(rule.limit)
        if text in rule.texts and (mine < limit if rule.side == "below" else mine >= limit):
            return rule.effect
    return "pass"

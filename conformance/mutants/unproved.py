"""What no mutant proves, and why: requirements that a role cannot break where mutants live, or that nobody can break.

`ippkit mutants` shows each with its reason; one without a reason is a gap, and so is one that a mutant does prove.
"""

from collections.abc import Mapping
from typing import Final

_SYSTEM: Final = (
    "only real processes show it, no simulated ones: broken reference controllers are accused of it instead, in "
    "tests/test_accused_controllers.py"
)
_EITHER: Final = "whatever a target does is allowed and only noted, so nothing breaks it"

#: Reason -> the requirements of which it speaks.
REASONS: Final[Mapping[str, tuple[str, ...]]] = {
    _SYSTEM: (
        "wire.signature-scheme",
        "wire.empty-key-unsigned",
        "connection.file-private",
        "connection.restore-keeps-addresses",
        "connection.curve-empties-key",
        "registration.state-survives-restore",
        "storage.sqlite-same-answers",
        "storage.limits-drop-oldest",
        "storage.limits-spare-pending",
        "storage.nodb-status-works",
        "storage.nodb-says-so",
        "storage.nodb-purge-ok",
        "storage.persistent-survives",
        "storage.passive",
        "task.stop-answered",
    ),
    _EITHER: ("registration.refused-id-consumed", "storage.backend-choice", "broadcast.tree-layout-free"),
    "both are one subscription to a relay, which cannot tell them apart": ("iopub.publisher-type-free",),
    "only a target of the dialect `documented` is asked so, and none is simulated": ("query.statusonly-accepted",),
    "it is read on the monitor channel, where neither the suite nor a simulated run listens; recorded logs prove its "
    "rule": ("heartbeat.hearts-reported",),
}


def reason(slug: str) -> str:
    """Why no mutant proves a requirement; empty if nobody has said."""
    return next((why for why, slugs in REASONS.items() if slug in slugs), "")


__all__ = ["REASONS", "reason"]

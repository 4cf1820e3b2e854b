"""What no mutant proves, and why: requirements that a role cannot break where mutants live, or that nobody can break.

`ippkit mutants` shows each with its reason; one without a reason is a gap, and so is one that a mutant does prove.
"""

from collections.abc import Mapping
from typing import Final

from conformance.targets.vocabulary import Role

REAL_CONTROLLERS: Final = (
    "only real processes show it, no simulated ones: broken reference controllers are accused of it instead, in "
    "tests/test_accused_controllers.py"
)
REAL_ENGINES: Final = (
    "only a real process shows it, or one that runs Python: broken engines are accused of it instead, in "
    "tests/test_engine_accusations.py"
)
_EITHER: Final = "whatever a target does is allowed and only noted, so nothing breaks it"

#: Role -> reason -> the requirements of which it speaks, where they are demanded of that role.
REASONS: Final[Mapping[Role, Mapping[str, tuple[str, ...]]]] = {
    "controller": {
        REAL_CONTROLLERS: (
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
            "connection.mismatched-files-not-reused",
            "task.learns-engines-late",
            "storage.passive",
            "task.stop-answered",
        ),
        _EITHER: ("registration.refused-id-consumed", "storage.backend-choice", "broadcast.tree-layout-free"),
        "both are one subscription to a relay, which cannot tell them apart": ("iopub.publisher-type-free",),
        "ZeroMQ hands over whole messages, so that no role sees half of one": ("wire.sends-never-half",),
        "only a target of the dialect `documented` is asked so, and none is simulated": ("query.statusonly-accepted",),
    },
    "engine": {
        REAL_ENGINES: (
            "wire.signature-scheme",
            "wire.empty-key-unsigned",
            "connection.file-extra-keys",
            "registration.identity-is-uuid",
            "registration.engine-connects-after-reply",
            "registration.engine-outlives-controller",
            "heart-device.beats-when-locked",
            "heart-device.beats-when-busy",
            "heart-device.ends-with-process",
            "heart-device.starts-after-reply",
            "heart-device.stops-cleanly",
            "heart-device.outlives-monitor",
            "heart-device.device-layout",
            "dependency.engine-check",
            "control.clear-empties-namespace",
            "control.shutdown-exits",
            "control.signal-delivered",
            "control.signal-by-number-or-name",
            "control.signal-bad-refused",
            "control.signal-before-engine",
            "apply.calls-function",
            "apply.returns-value",
            "apply.request-buffers-at-least-two",
            "apply.reply-buffers-only-ok",
            "apply.reply-buffers-at-least-one",
            "apply.large-data-uncopied",
            "apply.error-reply",
            "apply.error-names-engine",
            "apply.garbage-buffers-error",
            "apply.metadata-dependencies-met",
            "apply.namespace-persists",
            "apply.bound-withdrawn",
        ),
        "whoever breaks it returns other values or is not reached at all, and is accused of that": (
            "apply.request-buffers",
            "apply.arbitrary-objects",
            "broadcast.leaf-by-id",
        ),
        "only calls of Python have results that must have buffers, and simulated engines run none": (
            "wire.buffer-count",
        ),
        _EITHER: ("apply.buffers-three-documented", "connection.engine-socket-types"),
        "what an engine keeps for itself is not seen from outside": ("wire.replay-memory-bounded",),
        "its rule looks at what schedulers make of replies": ("wire.reply-true",),
    },
}


def reason(role: Role, slug: str) -> str:
    """Why no mutant proves a requirement; empty if nobody has said."""
    return next((why for why, slugs in REASONS[role].items() if slug in slugs), "")


__all__ = ["REAL_CONTROLLERS", "REAL_ENGINES", "REASONS", "reason"]

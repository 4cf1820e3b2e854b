"""The order in which a half-built implementation is best finished: each rung stands on those below it.

A rung is what a target must be able to do, with the requirements that say so. `ippkit next` climbs until a rung is not
met: what stands above it would fail for the same reason, and is not tried.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from conformance.targets.vocabulary import Role


class Rung(NamedTuple):
    """One step: what it is, and the requirements whose cases, where a case names them first, have to pass."""

    title: str
    slugs: tuple[str, ...]


LADDERS: Final[Mapping[Role, tuple[Rung, ...]]] = {
    "controller": (
        Rung("it writes both connection files", ("connection.client-file-keys", "connection.engine-file-keys")),
        Rung("the Hub answers clients", ("connection.request-answered",)),
        Rung("replies name their request", ("wire.reply-parent", "wire.reply-type")),
        Rung("what is signed wrongly is not believed", ("wire.signature-verified", "wire.delimiter-present")),
        Rung("engines are registered", ("registration.request-answered", "registration.reply-id")),
        Rung("the heart monitor pings", ("heartbeat.ping-single-frame", "heartbeat.ping-periodic")),
        Rung("an engine is there when its heart is heard", ("registration.heard-is-registered",)),
        Rung("clients are told of engines", ("notification.registration-published", "connection.engines-listed")),
        Rung("an engine whose heart stops is gone", ("heartbeat.silent-engine-removed",)),
        Rung("requests find engines, and replies clients", ("mux.routes-by-identity", "mux.reply-to-requester")),
        Rung("control has a queue of its own", ("control.routes-by-identity", "control.reply-to-requester")),
        Rung("output reaches all clients", ("iopub.reaches-all-clients",)),
        Rung("what the Hub does not understand is answered", ("query.unknown-type-hub-error",)),
        Rung("the Hub knows what became of a request", ("query.result-by-msg-id", "query.result-pending")),
        Rung("tasks are given to engines", ("task.some-engine-runs", "task.reply-to-requester")),
        Rung("tasks wait for others", ("dependency.after-waits",)),
        Rung("one message reaches many engines", ("broadcast.reaches-each-target", "broadcast.reply-per-target")),
    ),
    "engine": (
        Rung("it registers, and its heart beats", ("heart-device.prefix-is-uuid", "heart-device.echo-unchanged")),
        Rung("it is everywhere who it says it is", ("registration.identity-is-uuid",)),
        Rung("it runs code and answers", ("apply.execute-too", "kernel.execute-answered")),
        Rung("it answers who asked", ("kernel.many-frontends", "wire.reply-parent")),
        Rung("what fails is answered", ("apply.execute-error-reported",)),
        Rung("after an error it goes on", ("kernel.later-requests-run",)),
        Rung("what is signed wrongly is not run", ("wire.signature-verified", "wire.delimiter-present")),
        Rung("requests run one after the other, in their order", ("kernel.shell-fifo", "apply.one-at-a-time")),
        Rung("its heart beats while it works", ("heart-device.beats-when-busy",)),
        Rung("it ends when it is told", ("control.shutdown-answered",)),
        Rung("it gives up a controller that does not answer", ("registration.engine-gives-up",)),
        Rung("what code writes is published", ("iopub.stream-text", "iopub.status-brackets")),
        Rung("what waits can be taken back", ("control.abort-answered", "control.abort-by-id")),
        Rung("it calls functions", ("apply.answered", "apply.returns-value")),
    ),
    "client": (
        Rung("it connects, and knows the engines", ("client.learns-engines",)),
        Rung("its code reaches the engine", ("client.code-unchanged", "client.addresses-engine")),
        Rung("it follows what engines come and go", ("client.follows-notifications",)),
        Rung("what is signed wrongly is not believed", ("wire.signature-verified",)),
        Rung("it tells what became of a request", ("client.first-reply-counts", "client.error-told")),
        Rung("no request waits for a dead engine", ("mux.dead-engine-inferred",)),
        Rung("it waits as long as it was told, and no longer", ("client.wait-all", "client.wait-ends-in-time")),
        Rung("it names who is silent", ("client.silence-named", "client.connect-ends-in-time")),
        Rung("it asks the Hub", ("client.asks-hub",)),
        Rung("functions come back with their values", ("apply.client-gets-own-result",)),
    ),
    "kernel": (
        Rung("it binds what its file says", ("kernel.binds-sockets",)),
        Rung("its heart beats", ("kernel.heartbeat-echo",)),
        Rung("it says what it is", ("kernel.kernel-info",)),
        Rung("it runs code and answers", ("kernel.execute-answered",)),
        Rung("it says when it is busy and when it is idle", ("kernel.status-brackets",)),
        Rung("what code writes and shows is published", ("kernel.stream-complete", "kernel.execute-result")),
        Rung("it answers who asked", ("kernel.many-frontends",)),
        Rung("what fails is said, and the next request runs", ("kernel.error-published", "kernel.later-requests-run")),
        Rung("what is signed wrongly is not run", ("wire.signature-verified", "kernel.malformed-dropped")),
        Rung("its heart beats while it works", ("kernel.heartbeat-when-busy",)),
        Rung("it ends when it is told", ("kernel.shutdown-answered",)),
        Rung("what runs can be interrupted", ("kernel.interrupt-ends-cell",)),
        Rung("code can ask for a line", ("stdin.input-requested", "stdin.input-delivered")),
        Rung("it completes and explains", ("kernel.complete", "kernel.inspect")),
    ),
}  # fmt: skip

"""Marks: the rare branches of every role, and when each is taken.

A role calls `Env.mark` with the slug when it takes the branch. A campaign of simulations that never reached one of
them has not seen everything; the first part of a slug says whose branch it is.
"""

from collections.abc import Mapping
from typing import Final

MARKS: Final[Mapping[str, str]] = {
    "broadcast.coalesced-error": "A coalesced reply is an error, since at least one target failed.",
    "broadcast.dead-engine": "The grace for an engine that died or is not there is over; the leaf answers for it.",
    "broadcast.no-request": "A message from above is no request, or has no way back.",
    "broadcast.not-connected": "The engine that a copy is for is not connected; it is sent again.",
    "broadcast.refused": "A request without targets, or with targets or content that cannot be read, is refused.",
    "broadcast.repeated": "A request has the id of one that is still open.",
    "broadcast.unexpected-reply": "A reply is late, of an engine that was not asked, or no reply to anything.",
    "broadcast.unknown-engine": "A request names an engine that the Hub has not told of, or that another leaf serves.",
    "broadcast.unreadable-reply": "The content or metadata of an engine's reply cannot be read.",
    "client.bad-snapshot": "The Hub's answer on which engines there are cannot be read.",
    "client.foreign-reply": "A reply comes from an engine that was not asked.",
    "client.local-error": "A request gets an EngineError made by the client itself.",
    "client.no-such-engine": "A request is for an engine that is not there.",
    "client.silence": "A wait ends at its deadline while requests are open.",
    "client.stranded": "Open requests lose the engine or the controller that should answer them.",
    "client.unexpected-reply": "A reply is to nothing that is open, or of a type that does not answer it.",
    "client.unnoticed-death": "The Hub no longer lists an engine, and no notification said that it went.",
    "engine.aborted": "A queued request is answered as aborted.",
    "engine.aborted-on-arrival": "A request comes after the abort that names it, and is answered as aborted.",
    "engine.asks-again": "Pings return after a gap: the engine asks for registration again.",
    "engine.bad-control": "A control request is refused.",
    "engine.bad-request": "A request for code or knowledge cannot be read.",
    "engine.ended-while-running": "The engine ends while code runs, and answers for it.",
    "engine.never-lost": "A registration asked for again is refused: the Hub still had the engine.",
    "engine.no-pings": "The controller's pings stay away for too long.",
    "engine.no-registration-reply": "The Hub does not answer the registration in time.",
    "engine.not-connected": "The sockets named by the registration reply cannot be opened.",
    "engine.refused": "The Hub refuses the registration.",
    "engine.registered-again": "A registration asked for again is granted: the Hub had given the engine up.",
    "engine.unknown-job": "A job ends that is not running.",
    "engine.unknown-output": "Code publishes something that is not the code's to publish.",
    "engine.unknown-type": "A request is of a type that the engine does not know.",
    "heartmonitor.late-pong": "An answer to the ping before the present one.",
    "heartmonitor.listener-gone": "Nobody listens to the monitor any more.",
    "heartmonitor.listener-returned": "Somebody listens again while hearts are beating.",
    "heartmonitor.malformed-pong": "An answer has too few or too many frames, or comes before the first ping.",
    "heartmonitor.nameless-heart": "A heart's identity is not ASCII text.",
    "heartmonitor.recovered": "A heart on probation answers again.",
    "heartmonitor.stale-pong": "An answer to a ping of long ago, or to none.",
    "hub.beating-before-registration": "A registration comes from an engine whose heart was heard before.",
    "hub.death-not-reported": "The heart of a registered engine beats no more, and no message said so.",
    "hub.engine-restored": "An engine of before the restart is taken up, until it is known whether it beats.",
    "hub.heart-not-announced": "The heart of an engine beats that is not registered yet, and no message said so.",
    "hub.hearts-unreadable": "What the heart monitor says cannot be read.",
    "hub.late-result-in-time": "The result of an engine that is gone came before the Hub gave the request up.",
    "hub.lost-over-restart": "A request of before a restart can have no answer any more.",
    "hub.monitor-restarted": "Another heart monitor takes over, which knows no heart of before.",
    "hub.output-before-request": "Output came before the request that printed it.",
    "hub.registration-timed-out": "No heart was heard of an engine within the registration timeout.",
    "hub.request-repeated": "A request has the id of one that is open.",
    "hub.request-to-nobody": "A request was sent to an engine that was never there.",
    "hub.request-to-the-dead": "A request was sent to an engine that is gone.",
    "hub.result-unexpected": "A result belongs to no open request.",
    "hub.store-refused": "The store could not answer a query.",
    "hub.uuid-in-use": "A registration is refused, since its uuid is registered or pending.",
    "hub.waits-behind": "A request waits, since an earlier one of the same client waits for the store.",
    "relay.unaddressed": "A message has too few identities to be passed on.",
    "task.all-refused": "Every engine has refused the task.",
    "task.bad-demand": "The metadata that steers a task is wrong.",
    "task.engine-missing": "The Hub no longer lists an engine, and no notification said that it went.",
    "task.engine-replaced": "A uuid comes back under another number, and no notification said that it went.",
    "task.forgotten-dependency": "The outcome of a dependency was forgotten while the task was running.",
    "task.id-taken": "A task has the msg_id of another client's task.",
    "task.introduction": "A task is for engines that are not there yet; it waits a moment for their introduction.",
    "task.invalid-dependency": "A task depends on itself, or on a task that nobody knows.",
    "task.nobody-left": "No engine is left that may run the task.",
    "task.not-connected": "The engine that is given a task is not connected; it is sent again.",
    "task.reply-dropped": "A reply is late, or of an engine that does not have the task.",
    "task.retry-after-death": "A task whose engine died is run again.",
    "task.retry-on-same-engine": "A task is run again where it failed, since no other engine may have it.",
    "task.stale-notification": "An engine's coming or end is announced after its next life was heard of.",
    "task.submitted-again": "A client sends a task twice.",
    "task.timed-out": "A task was still queued when its time was over.",
    "task.unknown-type": "A task is a message of a type to which no engine replies.",
    "task.unreadable": "A part of the task cannot be read.",
    "task.unreadable-reply": "The metadata of an engine's reply cannot be read.",
    "warden.answers-for-child": "The child ended without answering a shutdown; the starter answers.",
    "warden.bad-signal": "A signal_request names no signal.",
    "warden.child-died": "The child ended although nobody wanted it to.",
    "warden.kill": "A child that was told to end has not, and is killed.",
    "warden.second-reply": "A shutdown_reply comes when the starter has answered, or nobody has asked.",
    "warden.start-failed": "The child could not be started again.",
}


#: Where a role may take a less usual way if `Env.rarely` says so, and what it does then.
RARELY: Final[Mapping[str, str]] = {
    "broadcast.asks-early": "A leaf that was told of an engine asks the Hub which engines there are.",
    "client.asks-early": "A client that was told of an engine asks the Hub which engines there are.",
    "engine.asks-early": "An engine asks for registration again though nothing has happened.",
    "engine.registers-late": "An engine waits a moment before it asks to be registered.",
    "heartmonitor.names-all-early": "The heart monitor names all hearts before it is time.",
    "task.asks-early": "The scheduler that was told of an engine asks the Hub which engines there are.",
    "task.fills-late": "An engine that has room again is thought of a moment later.",
}


def of(owner: str) -> Mapping[str, str]:
    """The marks whose slugs begin with this word."""
    return {slug: text for slug, text in MARKS.items() if slug.partition(".")[0] == owner}


__all__ = ["MARKS", "of"]

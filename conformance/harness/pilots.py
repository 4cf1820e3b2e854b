"""What a controller lacks of that on which most cases stand, seen by pilots before the first case.

Without registration there is no engine, and without a queue nothing that comes of it. A case that needs what is missing
is blocked by it, at once and by name (`Subject.stand_on`); the cases about that one thing accuse. So one missing part
is one message, and whatever does not need it is judged as ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from conformance.harness.verdict import Blocked, Undecided, Violated
from protocol.world import SECOND

if TYPE_CHECKING:
    from conformance.harness.actors import Client, Engine
    from conformance.harness.controller import Controller
    from protocol.wire import Message

#: The requirement that is broken if no heart is ever pinged.
PINGS: Final = "heartbeat.ping-periodic"

#: What must hold before there is an engine, in this order.
REGISTERED: Final = (
    "registration.request-answered", PINGS, "registration.heard-is-registered",
    "notification.registration-published",
)  # fmt: skip

#: Channel -> the requirement that is broken if its requests reach no engine, and its replies no client.
DELIVERY: Final[Mapping[str, tuple[str, str]]] = {
    "mux": ("mux.routes-by-identity", "mux.reply-to-requester"),
    "control": ("control.routes-by-identity", "control.reply-to-requester"),
    "task": ("task.some-engine-runs", "task.reply-to-requester"),
    "broadcast": ("broadcast.reaches-each-target", "broadcast.reply-per-target"),
}

#: The requirement that is broken if what engines publish reaches nobody.
OUTPUT: Final = "iopub.reaches-all-clients"

#: The buffers of a result that nobody reads: None, pickled.
RESULT: Final = (b"N.",)

_FEATURE: Final = {"mux": "mux", "control": "control", "task": "tasks", "broadcast": "broadcast"}


def missing_registration(controller: Controller) -> dict[str, str]:
    """Which step of a registration is missing, of a controller that announced none of a few engines."""
    engine = controller.engine(kind="pilot")
    try:
        try:
            engine.register()
        except Violated as violated:
            return {REGISTERED[0]: violated.finding.found}
        heart = engine.start_heart()
        found = "an engine whose heart beats was never announced"
        if controller.notifications.wait("registration_notification", uuid=engine.uuid) is not None:
            return {}
        if not heart.pings:
            return {PINGS: "the heart of a pilot was never pinged"}
        is_listed = engine.uuid in controller.client().engines().values()
        engine.leave()
    except Violated:
        return {}
    finally:
        engine.close()
    return {REGISTERED[3]: f"{found}, though the Hub lists it"} if is_listed else {REGISTERED[2]: found}


def missing_queues(controller: Controller) -> dict[str, str]:
    """The requirements of queues, of those that the target declares, that deliver no request, no reply or no output."""
    channels = [channel for channel in DELIVERY if _FEATURE[channel] in controller.features]
    output = ["iopub"] * ("iopub" in controller.features)
    if not channels and not output:
        return {}
    # One for all: a mistaken scheduler may later give work to what has left, which is seen where it has a socket.
    engine = controller.engine(kind="pilot").with_shell(*channels, *output)
    try:
        engine.registered()
    except (Blocked, Violated):
        return {}
    client, found = controller.client(), dict[str, str]()
    for channel in channels:
        # What did not come once may be late; what does not come a second time is missing.
        if _missing(client, engine, channel):
            found |= _missing(client, engine, channel)
    if output:
        found |= _missing_output(controller, engine)
    return found


def _missing_output(controller: Controller, engine: Engine) -> dict[str, str]:
    """The requirement about output, if what the engine publishes is never heard."""
    try:
        controller.listener(engine)
    except Blocked as blocked:
        return {blocked.prerequisite: blocked.why}
    except Undecided:
        pass
    return {}


def _missing(client: Client, engine: Engine, channel: str) -> dict[str, str]:
    """What a queue does not deliver: the requirement, and what was seen; nothing if a request came back answered."""
    world, limit = client.world, client.controller.timing.reply_deadline
    started, (reached, returned) = world.now, DELIVERY[channel]
    request = _ask(client, engine, channel)
    seen = engine.queue(channel).recv(started + limit)
    if seen is None:
        client.controller.expect_waited(started, limit)
        return {reached: f"the {request.msg_type} of a pilot reached no engine within {limit / SECOND:.1f} s"}
    if seen.message is None:
        return {}
    engine.answer(seen, channel=channel, buffers=() if channel == "control" else RESULT)
    started = world.now
    if client.queue(channel).recv(started + limit) is None:
        client.controller.expect_waited(started, limit)
        return {returned: f"the reply to the {request.msg_type} of a pilot did not come within {limit / SECOND:.1f} s"}
    return {}


def _ask(client: Client, engine: Engine, channel: str) -> Message:
    """Send a harmless request to the engine through a queue."""
    if channel == "control":
        return client.submit(engine, channel=channel, msg_type="clear_request", buffers=())
    if channel == "broadcast":
        metadata = {"targets": [[engine.uuid, engine.id]], "is_broadcast": True, "is_coalescing": False}
        return client.submit(None, channel=channel, metadata=metadata)
    return client.submit(engine, channel=channel)

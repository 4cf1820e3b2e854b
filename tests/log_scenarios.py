"""What happens in the recorded logs: wire, replies, registration, notification, heartbeat. See make_logs."""

from typing import Any

from make_logs import ERROR, KEY, OK, PERIOD, Story, log

from protocol.wire import DELIMITER, Codec, Frame
from protocol.world import SECOND, Observation

Seen = Observation | None


# -- wire: what every message must be ------------------------------------------------------------------------------


@log("wire.delimiter-present")
def _(story: Story, broken: bool) -> Seen:
    def damage(frames: list[Frame]) -> list[Frame]:
        return [frame for frame in frames if frame != DELIMITER] if broken else frames

    return story.connect(damage=damage)


@log("wire.all-parts-present")
def _(story: Story, broken: bool) -> Seen:
    return story.connect(damage=lambda frames: frames[:-1] if broken else frames)


@log("wire.signature-sent")
def _(story: Story, broken: bool) -> Seen:
    def damage(frames: list[Frame]) -> list[Frame]:
        wrong = Codec(KEY.encode() + b"-another").sign(b"".join(frames[2:]))
        return [frames[0], wrong, *frames[2:]] if broken else frames

    return story.connect(damage=damage)


@log("wire.signature-lowercase-hex", "wire.signature-sent")
def _(story: Story, broken: bool) -> Seen:
    return story.connect(damage=lambda frames: [frames[0], bytes(frames[1]).upper(), *frames[2:]] if broken else frames)


@log("wire.parts-readable")
def _(story: Story, broken: bool) -> Seen:
    return story.connect(parts={2: b"{" if broken else b"{}"})


@log("wire.parts-are-objects")
def _(story: Story, broken: bool) -> Seen:
    return story.connect(parts={2: b"[]" if broken else b"{}"})


@log("wire.header-msg-id")
def _(story: Story, broken: bool) -> Seen:
    return story.connect(header={"msg_id": 7} if broken else {})


@log("wire.header-msg-type")
def _(story: Story, broken: bool) -> Seen:
    return story.connect(header={"msg_type": 7} if broken else {})


@log("wire.numbers-finite", "wire.parts-readable")
def _(story: Story, broken: bool) -> Seen:
    return story.connect(parts={2: b'{"load": NaN}' if broken else b'{"load": 0.5}'})


@log("wire.header-complete")
def _(story: Story, broken: bool) -> Seen:
    return story.connect(header={"username": None} if broken else {})


@log("wire.date-utc")
def _(story: Story, broken: bool) -> Seen:
    return story.connect(
        header={"date": "2026-01-05T12:00:00.000000" if broken else "2026-01-05T12:00:00.000000+00:00"}
    )


@log("wire.msg-id-unique")
def _(story: Story, broken: bool) -> Seen:
    first = story.connect()
    assert first.message is not None
    return story.connect(header={"msg_id": first.message.msg_id} if broken else {})


@log("wire.session-constant")
def _(story: Story, broken: bool) -> Seen:
    story.connect()
    return story.connect(header={"session": "another" if broken else "hub"})


@log("wire.message-type-known")
def _(story: Story, broken: bool) -> Seen:
    return story.notify("engine_notification" if broken else "shutdown_notification")


@log("wire.content-matches-type")
def _(story: Story, broken: bool) -> Seen:
    return story.notify("registration_notification", -1 if broken else 0, "engine-x")


@log("wire.metadata-matches-type", guilty="engine")
def _(story: Story, broken: bool) -> Seen:
    metadata = {"engine": 7 if broken else "engine-a"}
    message = story.message("engine-a", "status", {"execution_state": "idle"}, metadata=metadata)
    return story.see("client-1", "iopub", "received", [b"engine.0.status", *story.frames(message)])


@log("wire.buffer-count", guilty="engine")
def _(story: Story, broken: bool) -> Seen:
    buffers = [] if broken else [b"\x80\x04K\x2a."]
    message = story.message(
        "engine-a", "data_message", {"keys": ["k"]}, metadata={"engine": "engine-a"}, buffers=buffers
    )
    return story.see("client-1", "iopub", "received", [b"datapub", *story.frames(message)])


# -- replies -------------------------------------------------------------------------------------------------------


@log("wire.reply-parent")
def _(story: Story, broken: bool) -> Seen:
    request = story.ask("client-1", "connection_request", header={"colour": "blue"})
    assert request.message is not None
    parent = dict(request.message.header)
    if broken:
        del parent["colour"]
    return story.answer(request, "connection_reply", {"status": "ok", "engines": {}}, parent=parent)


@log("wire.reply-type")
def _(story: Story, broken: bool) -> Seen:
    request = story.ask("client-1", "history_request", {})
    if broken:
        return story.answer(request, "purge_reply", OK)
    return story.answer(request, "history_reply", {"status": "ok", "history": []})


@log("wire.reply-status", "wire.content-matches-type")
def _(story: Story, broken: bool) -> Seen:
    return story.asked("client-1", "purge", {"msg_ids": ["m1"]}, {"status": "done" if broken else "ok"})


@log("wire.error-shape", "wire.content-matches-type")
def _(story: Story, broken: bool) -> Seen:
    content: dict[str, Any] = dict(ERROR)
    if broken:
        del content["traceback"]
    return story.asked("client-1", "purge", {"msg_ids": ["m1"]}, content)


@log("wire.reply-identities-echoed")
def _(story: Story, broken: bool) -> Seen:
    request = story.ask("client-1", "connection_request", {}, identities=[b"", b"mine"])
    back = [b"mine", b""] if broken else [b"", b"mine"]
    return story.answer(request, "connection_reply", {"status": "ok", "engines": {}}, identities=back)


@log("wire.at-most-one-reply")
def _(story: Story, broken: bool) -> Seen:
    request = story.ask("client-1", "connection_request", {})
    story.answer(request, "connection_reply", {"status": "ok", "engines": {}})
    return story.answer(request, "connection_reply", {"status": "ok", "engines": {}}) if broken else None


@log("wire.every-request-answered")
def _(story: Story, broken: bool) -> Seen:
    request = story.ask("client-1", "connection_request", {})
    if not broken:
        story.answer(request, "connection_reply", {"status": "ok", "engines": {}})
    story.wait(3 * SECOND)
    return request


def dropped(story: Story, broken: bool, frames: list[Frame], why: str, parent: dict[str, Any]) -> Seen:
    """Something that must not be answered, and a barrier behind it."""
    story.see("client-1", "query", "sent", frames, why=why)
    reply = None
    if broken:
        cause = story.items[-1]
        assert isinstance(cause, Observation)
        reply = story.answer(cause, "hub_error", ERROR, parent=parent)
    story.connect()
    return reply


@log("wire.delimiter-present.dropped")
def _(story: Story, broken: bool) -> Seen:
    frames = story.frames(story.message("client-1", "connection_request", {}))
    return dropped(story, broken, frames[1:], "no delimiter", {})


@log("wire.all-parts-present.dropped")
def _(story: Story, broken: bool) -> Seen:
    message = story.message("client-1", "connection_request", {})
    return dropped(story, broken, story.frames(message)[:-1], "no content", message.header)


@log("wire.unauthenticated-unanswered")
def _(story: Story, broken: bool) -> Seen:
    message = story.message("client-1", "connection_request", {})
    frames = Codec(b"another-key").encode(message)
    return dropped(story, broken, frames, "signed with another key", message.header)


@log("wire.replay-refused")
def _(story: Story, broken: bool) -> Seen:
    request = story.ask("client-1", "connection_request", {})
    story.answer(request, "connection_reply", {"status": "ok", "engines": {}})
    story.see("client-1", "query", "sent", request.frames, why="replayed")
    reply = story.answer(request, "connection_reply", {"status": "ok", "engines": {}}) if broken else None
    story.connect()
    return reply


@log("query.two-askers-kept-apart")
def _(story: Story, broken: bool) -> Seen:
    first = story.ask("client-1", "history_request", {})
    second = story.ask("client-2", "history_request", {})
    story.answer(first, "history_reply", {"status": "ok", "history": []}, party="client-2" if broken else "client-1")
    crossed = story.items[-1]
    story.answer(second, "history_reply", {"status": "ok", "history": []})
    return crossed if isinstance(crossed, Observation) else None


# -- registration ----------------------------------------------------------------------------------------------------


@log("registration.reply-id", "wire.content-matches-type")
def _(story: Story, broken: bool) -> Seen:
    return story.register("a", **({"id": "0"} if broken else {}))


@log("registration.reply-hb-period", "wire.content-matches-type")
def _(story: Story, broken: bool) -> Seen:
    return story.register("a", **({"hb_period": "100"} if broken else {}))


@log("registration.duplicate-uuid-refused")
def _(story: Story, broken: bool) -> Seen:
    story.live("a")
    return story.register("a", party="intruder") if broken else story.refuse("a", "intruder")


@log("registration.pending-uuid-refused")
def _(story: Story, broken: bool) -> Seen:
    story.register("a")
    return story.register("a", party="intruder") if broken else story.refuse("a", "intruder")


@log("registration.refusal-in-reply")
def _(story: Story, broken: bool) -> Seen:
    story.live("a")
    return story.refuse("a", "intruder", "hub_error" if broken else "registration_reply")


@log("registration.id-unique")
def _(story: Story, broken: bool) -> Seen:
    story.register("a", 0)
    return story.register("b", 0 if broken else 1)


@log("registration.id-never-reused")
def _(story: Story, broken: bool) -> Seen:
    story.live("a")
    story.ask("a", "unregistration_request", {"id": 0})
    story.went(0, "a")
    return story.register("b", 0 if broken else 1)


@log("registration.pending-expires")
def _(story: Story, broken: bool) -> Seen:
    story.register("a")
    story.wait(2 * SECOND)
    return story.refuse("a", "a") if broken else story.register("a")


@log("registration.can-return")
def _(story: Story, broken: bool) -> Seen:
    story.live("a")
    story.ask("a", "unregistration_request", {"id": 0})
    story.went(0, "a")
    return story.refuse("a", "a") if broken else story.register("a")


@log("registration.unregistration-unanswered")
def _(story: Story, broken: bool) -> Seen:
    story.register("a")
    request = story.ask("a", "unregistration_request", {"id": 0})
    answer = story.answer(request, "hub_error", ERROR) if broken else None
    story.connect(party="a")
    return answer


@log("registration.expiry-is-silent", "notification.no-death-without-life")
def _(story: Story, broken: bool) -> Seen:
    story.fact("subscribed", socket="listener/notification")
    story.register("a")
    story.ask("a", "unregistration_request", {"id": 0})
    return story.went(0, "a") if broken else None


@log("registration.pending-until-heard")
def _(story: Story, broken: bool) -> Seen:
    story.register("a")
    if not broken:
        story.beat("a")
    return story.came(0, "a")


@log("registration.heard-is-registered")
def _(story: Story, broken: bool) -> Seen:
    story.fact("subscribed", socket="listener/notification")
    registered = story.register("a")
    story.beat("a", 3)
    if not broken:
        story.came(0, "a")
    story.beat("a", 5)
    return registered


@log("registration.unregistration-honoured")
def _(story: Story, broken: bool) -> Seen:
    story.live("a")
    request = story.ask("a", "unregistration_request", {"id": 0})
    if not broken:
        story.went(0, "a")
    story.wait(3 * SECOND)
    return request


@log("registration.identity-unique")
def _(story: Story, broken: bool) -> Seen:
    return story.connect({"7": "x", "8": "x" if broken else "y"})


# -- connection ------------------------------------------------------------------------------------------------------


@log("connection.request-answered")
def _(story: Story, broken: bool) -> Seen:
    return story.asked("client-1", "connection", {}, ERROR) if broken else story.connect()


@log("connection.engines-listed")
def _(story: Story, broken: bool) -> Seen:
    return story.connect({"seven" if broken else "7": "x"})


@log("connection.only-heard-engines")
def _(story: Story, broken: bool) -> Seen:
    story.register("a")
    return story.connect({"0": "a"} if broken else {})


@log("connection.no-dead-engines")
def _(story: Story, broken: bool) -> Seen:
    story.live("a")
    story.ask("a", "unregistration_request", {"id": 0})
    story.went(0, "a")
    return story.connect({"0": "a"} if broken else {})


@log("connection.snapshot-agrees-with-notifications")
def _(story: Story, broken: bool) -> Seen:
    story.live("a")
    return story.connect({} if broken else {"0": "a"})


# -- notification ------------------------------------------------------------------------------------------------------


@log("notification.registration-once")
def _(story: Story, broken: bool) -> Seen:
    story.live("a")
    return story.came(0, "a") if broken else None


@log("notification.unregistration-once")
def _(story: Story, broken: bool) -> Seen:
    story.live("a")
    story.ask("a", "unregistration_request", {"id": 0})
    story.went(0, "a")
    return story.went(0, "a") if broken else None


@log("notification.registration-content")
def _(story: Story, broken: bool) -> Seen:
    story.register("a")
    story.beat("a")
    return story.came(5 if broken else 0, "a")


@log("notification.unregistration-content")
def _(story: Story, broken: bool) -> Seen:
    story.live("a")
    story.ask("a", "unregistration_request", {"id": 0})
    return story.went(0, "z" if broken else "a")


@log("notification.registered-before-unregistered")
def _(story: Story, broken: bool) -> Seen:
    if broken:
        story.went(4, "x")
    came = story.came(4, "x")
    if not broken:
        story.went(4, "x")
    return came


@log("notification.no-death-without-life")
def _(story: Story, broken: bool) -> Seen:
    story.fact("subscribed", socket="listener/notification")
    story.register("a")
    story.beat("a")
    if not broken:
        story.came(0, "a")
    story.ask("a", "unregistration_request", {"id": 0})
    return story.went(0, "a")


@log("notification.no-topic")
def _(story: Story, broken: bool) -> Seen:
    return story.came(4, "x", identities=[b"engines"] if broken else [])


@log("notification.all-subscribers")
def _(story: Story, broken: bool) -> Seen:
    first = [story.came(4, "x"), story.came(5, "y"), story.came(6, "z")]
    order = [0, 2] if broken else [0, 1, 2]
    for index in order:
        last = story.notify("", party="second", same=first[index])
    return last


@log("notification.shutdown-parent")
def _(story: Story, broken: bool) -> Seen:
    reply = story.asked("client-1", "shutdown", {}, OK)
    assert reply.message is not None
    return story.notify("shutdown_notification", parent={} if broken else reply.message.parent_header)


@log("notification.shutdown-published")
def _(story: Story, broken: bool) -> Seen:
    story.fact("subscribed", socket="listener/notification")
    reply = story.asked("client-1", "shutdown", {}, OK)
    assert reply.message is not None
    if not broken:
        story.notify("shutdown_notification", parent=reply.message.parent_header)
    story.wait(3 * SECOND)
    return reply


# -- heartbeat -------------------------------------------------------------------------------------------------------


@log("heartbeat.raw-not-message", "heartbeat.ping-single-frame", guilty="heart-monitor")
def _(story: Story, broken: bool) -> Seen:
    frames = story.frames(story.message("hub", "heartbeat")) if broken else [b"0.100000"]
    return story.see("a-heart", "heartbeat-ping", "received", frames)


@log("heartbeat.ping-single-frame", guilty="heart-monitor")
def _(story: Story, broken: bool) -> Seen:
    return story.see("a-heart", "heartbeat-ping", "received", [b"", b"0.100000"] if broken else [b"0.100000"])


@log("heartbeat.ping-is-lifetime", guilty="heart-monitor")
def _(story: Story, broken: bool) -> Seen:
    return story.ping(text=b"ping 1" if broken else b"0.1000000000001")


@log("heartbeat.ping-distinct", guilty="heart-monitor")
def _(story: Story, broken: bool) -> Seen:
    story.ping(text=b"0.1")
    return story.ping(text=b"0.1" if broken else b"0.2")


@log("heartbeat.lifetime-increases", guilty="heart-monitor")
def _(story: Story, broken: bool) -> Seen:
    story.ping(text=b"9.9")
    return story.ping(text=b"9.8" if broken else b"10.0")


@log("heartbeat.ping-periodic", guilty="heart-monitor")
def _(story: Story, broken: bool) -> Seen:
    story.fact("socket-opened", socket="a-heart/heartbeat-ping")
    story.ping()
    last = story.ping()
    story.wait((5 if broken else 2) * PERIOD)
    return last


@log("heartbeat.ping-matches-hb-period", guilty="heart-monitor")
def _(story: Story, broken: bool) -> Seen:
    story.register("a", **({"hb_period": 300} if broken else {}))
    story.beat("a", 5)
    return story.ping("a")


@log("heartbeat.lifetime-tracks-period", guilty="heart-monitor")
def _(story: Story, broken: bool) -> Seen:
    for number in range(6):
        story.ping(text=f"{number * (1.0 if broken else 0.1) + 0.1:.6f}".encode())
    return None


@log("heartbeat.ping-reaches-all", guilty="heart-monitor")
def _(story: Story, broken: bool) -> Seen:
    for number in range(3):
        story.ping("a")
        if number != 1 or not broken:
            story.ping("b", again=True)
    return None


@log("heartbeat.removal-not-early")
def _(story: Story, broken: bool) -> Seen:
    story.live("a")
    for _ in range(1 if broken else 3):
        story.ping("a")
    story.wait(PERIOD // 2)
    return story.went(0, "a")


@log("heartbeat.removal-in-time")
def _(story: Story, broken: bool) -> Seen:
    announced = story.live("a")
    for _ in range(3):
        story.ping("a")
    if not broken:
        story.wait(PERIOD // 2)
        story.went(0, "a")
    story.wait(SECOND)
    return announced


@log("heartbeat.unknown-heart-ignored")
def _(story: Story, broken: bool) -> Seen:
    story.fact("heart-started", party="stranger", uuid="s")
    ping = story.see("stranger", "heartbeat-ping", "received", [b"0.100000"])
    story.see("stranger", "heartbeat-pong", "sent", ping.frames, why="raw by design: a heart's answer")
    return story.came(4, "s" if broken else "x")


@log("heartbeat.hearts-reported", guilty="heart-monitor")
def _(story: Story, broken: bool) -> Seen:
    story.fact("overheard", socket="hub/monitor")
    for kind, heart in (("new_heart", "a"), ("stopped_heart", "b" if broken else "a")):
        message = story.message("heart-monitor", kind, {"hearts": [heart]})
        story.see("hub", "monitor", "received", [b"heartmonitor", b"", *story.frames(message)])
    return None

"""What happens in the recorded logs: work on the queues, and what roles note of their state. See make_logs."""

from typing import Any

from make_logs import OK, Story, log

from protocol.world import MILLISECOND, Fact, Observation

Seen = Observation | None
UNMET = {"status": "error", "ename": "UnmetDependency", "evalue": "", "traceback": []}
BUFFERS = (b"call", b"arguments")


class Work:
    """A client, engines that are registered and beat, and the tasks between them."""

    def __init__(self, story: Story, *engines: str) -> None:
        self.story = story
        self.engines = engines or ("a", "b")
        for uuid in self.engines:
            story.live(uuid)

    def leave(self, engine: str) -> None:
        """An engine says goodbye, and that is announced."""
        number = self.engines.index(engine)
        self.story.ask(engine, "unregistration_request", {"id": number})
        self.story.went(number, engine)

    def submit(self, **metadata: Any) -> Observation:
        message = self.story.message("client-1", "apply_request", {}, metadata=metadata, buffers=BUFFERS)
        return self.story.see("client-1", "task", "sent", self.story.frames(message))

    def give(self, request: Observation, engine: str = "a", **changes: Any) -> Observation:
        """The request arrives at an engine, with some of its parts changed."""
        assert request.message is not None
        message = request.message.replace(identities=(b"client-1",), **changes)
        return self.story.see(engine, "task", "received", self.story.frames(message))

    def finish(self, given: Observation, content: Any = None, *, met: bool = True) -> Observation:
        """The engine that has it answers."""
        assert given.message is not None
        content = content or OK
        about = {"engine": given.observer, "dependencies_met": met, "status": content["status"]}
        message = self.story.message(
            given.observer, "apply_reply", content, parent=given.message.header, metadata=about,
            buffers=(b"value",) if content is OK else (), identities=given.message.identities,
        )  # fmt: skip
        return self.story.see(given.observer, "task", "sent", self.story.frames(message))

    def pass_on(self, answer: Observation, engine: str = "", **changes: Any) -> Observation:
        """The answer arrives at the client."""
        assert answer.message is not None
        name = (engine or answer.observer).encode()
        message = answer.message.replace(identities=(name,), **changes)
        return self.story.see("client-1", "task", "received", self.story.frames(message))

    def run(self, request: Observation, engine: str = "a") -> Observation:
        return self.pass_on(self.finish(self.give(request, engine)))

    def say(self, request: Observation, ename: str, engine: str = "") -> Observation:
        """The scheduler answers with an error of its own."""
        assert request.message is not None
        content = {"status": "error", "ename": ename, "evalue": "", "traceback": []}
        message = self.story.message(
            "scheduler", "apply_reply", content, parent=request.message.header,
            metadata={"engine": engine} if engine else {}, identities=(engine.encode(),) if engine else (),
        )  # fmt: skip
        return self.story.see("client-1", "task", "received", self.story.frames(message))


@log("wire.at-most-one-reply.queues", guilty="task-scheduler")
def _(story: Story, broken: bool) -> Seen:
    work = Work(story)
    request = work.submit()
    work.run(request)
    return work.say(request, "EngineError") if broken else None


@log("wire.reply-true", guilty="task-scheduler")
def _(story: Story, broken: bool) -> Seen:
    work = Work(story)
    return work.pass_on(work.finish(work.give(work.submit())), "b" if broken else "a")


@log("wire.reply-true.timeout", guilty="task-scheduler")
def _(story: Story, broken: bool) -> Seen:
    work = Work(story)
    request = work.submit(timeout=0.35)
    story.wait((100 if broken else 350) * MILLISECOND)
    return work.say(request, "TaskTimeout")


@log("wire.reply-true.death", guilty="task-scheduler")
def _(story: Story, broken: bool) -> Seen:
    work = Work(story)
    request = work.submit()
    work.give(request)
    if not broken:
        work.leave("a")
    return work.say(request, "EngineError", "a")


@log("wire.relayed-parts-unchanged.requests", guilty="task-scheduler")
def _(story: Story, broken: bool) -> Seen:
    work = Work(story)
    request = work.submit(retries=1)
    failed = {"status": "error", "ename": "ValueError", "evalue": "", "traceback": []}
    work.finish(work.give(request), failed)
    return work.give(request, "b", metadata={"retries": 0}, **({"buffers": BUFFERS[::-1]} if broken else {}))


@log("wire.relayed-parts-unchanged.replies", guilty="task-scheduler")
def _(story: Story, broken: bool) -> Seen:
    work = Work(story)
    answer = work.finish(work.give(work.submit()))
    return work.pass_on(answer, **({"buffers": (b"other",)} if broken else {}))


@log("task.dispatches-bounded", guilty="task-scheduler")
def _(story: Story, broken: bool) -> Seen:
    work = Work(story)
    request = work.submit()
    work.finish(work.give(request), UNMET, met=broken)
    return work.give(request, "b")


@log("task.one-live-assignment", guilty="task-scheduler")
def _(story: Story, broken: bool) -> Seen:
    work = Work(story)
    request = work.submit(retries=1)
    work.give(request)
    if not broken:
        work.leave("a")
    return work.give(request, "b", metadata={"retries": 0})


@log("task.targets-respected", guilty="task-scheduler")
def _(story: Story, broken: bool) -> Seen:
    work = Work(story)
    return work.give(work.submit(targets=["b"]), "a" if broken else "b")


@log("task.refusing-engine-avoided", guilty="task-scheduler")
def _(story: Story, broken: bool) -> Seen:
    work = Work(story)
    request = work.submit(retries=1)
    work.finish(work.give(request), UNMET, met=False)
    return work.give(request, "a" if broken else "b")


@log("dependency.after-waits", guilty="task-scheduler")
def _(story: Story, broken: bool) -> Seen:
    work = Work(story)
    first = work.submit()
    assert first.message is not None
    second = work.submit(after=[first.message.msg_id])
    if not broken:
        work.run(first)
    story.wait(MILLISECOND)
    return work.give(second, "b")


@log("dependency.follow-same-engine", guilty="task-scheduler")
def _(story: Story, broken: bool) -> Seen:
    work = Work(story)
    first = work.submit()
    assert first.message is not None
    second = work.submit(follow={"dependencies": [first.message.msg_id], "all": False})
    work.run(first)
    return work.give(second, "b" if broken else "a")


@log("wire.refused-changes-nothing")
def _(story: Story, broken: bool) -> Seen:
    story.live("a")
    forged = story.frames(story.message("b", "registration_request", {"uuid": "b"}))
    forged[1] = b"0" * 64
    story.see("b", "query", "sent", forged, "forged")
    return story.came(1, "b") if broken else story.live("c")


@log("registration.reachable-when-registered", guilty="mux-relay")
def _(story: Story, broken: bool) -> Seen:
    Work(story, "a")
    story.fact("socket-opened", socket="a/mux")
    story.wait(story.setting.margin_ns)
    story.beat("a")
    message = story.message("client-1", "apply_request", {}, identities=(b"a",), buffers=BUFFERS)
    request = story.see("client-1", "mux", "sent", story.frames(message))
    if not broken:
        story.see("a", "mux", "received", story.frames(message.replace(identities=(b"client-1",))))
    story.beat("a", 21)
    return request


@log("wire.nothing-invented", guilty="task-scheduler")
def _(story: Story, broken: bool) -> Seen:
    story.fact("recorded-from-the-start")
    work = Work(story)
    request = work.submit()
    assert request.message is not None
    return work.give(request, header=request.message.header | ({"msg_id": "invented"} if broken else {}))


@log("iopub.stream-order", guilty="engine")
def _(story: Story, broken: bool) -> Seen:
    frames = [
        story.frames(
            story.message("a", "stream", {"name": "stdout", "text": text}, parent={}, identities=(b"engine.0.stdout",))
        )
        for text in ("one", "two")
    ]
    for each in frames:
        story.see("a", "iopub", "sent", each)
    story.see("client-1", "iopub", "received", frames[0])
    return story.see("client-1", "iopub", "received", frames[0 if broken else 1])


# -- what roles note -------------------------------------------------------------------------------------------------


def step(story: Story, task: str, was: str, state: str, **more: Any) -> Fact:
    return story.note("scheduler", "task", task=task, was=was, **{"is": state}, why="", **more)


def registered(story: Story, *uuids: str) -> None:
    for number, uuid in enumerate(uuids):
        story.note("hub", "hub-engine", id=number, uuid=uuid, state="beating")
    story.note("scheduler", "scheduler-engines", engines=[[number, uuid] for number, uuid in enumerate(uuids)])


def settle(story: Story) -> None:
    story.note("kit", "healed")
    story.wait(story.setting.reply_deadline_ns)


@log("task.exactly-one-place", guilty="scheduler")
def _(story: Story, broken: bool) -> Fact:
    step(story, "m1", "new", "queued")
    step(story, "m1", "queued", "running", engine="a", load=1)
    if not broken:
        step(story, "m1", "running", "done")
    return step(story, "m1", "queued", "done") if broken else step(story, "m1", "new", "queued")


@log("task.done-is-stable", "task.exactly-one-place", guilty="scheduler")
def _(story: Story, broken: bool) -> Fact:
    step(story, "m1", "new", "running", engine="a", load=1)
    step(story, "m1", "running", "orphaned", engine="a", load=1)
    done = step(story, "m1", "orphaned", "done")
    return step(story, "m1", "orphaned", "done") if broken else done


@log("dependency.graph-exact", guilty="scheduler")
def _(story: Story, broken: bool) -> Fact:
    step(story, "m2", "new", "waiting", left=["m1"], graph=["m1"])
    return step(story, "m2", "waiting", "running", engine="a", load=1, left=[], graph=["m1"] if broken else [])


@log("task.load-is-pending", guilty="scheduler")
def _(story: Story, broken: bool) -> Fact:
    story.note("scheduler", "scheduler", hwm=2)
    step(story, "m1", "new", "running", engine="a", load=1)
    step(story, "m1", "running", "orphaned", engine="a", load=1)
    return step(story, "m2", "new", "running", engine="a", load=2 if broken else 1)


@log("task.engines-distinct", guilty="scheduler")
def _(story: Story, broken: bool) -> Fact:
    return story.note("scheduler", "scheduler-engines", engines=[[0, "a"], [1, "a" if broken else "b"]])


@log("task.converges", guilty="scheduler")
def _(story: Story, broken: bool) -> Fact:
    registered(story, "a")
    waiting = step(story, "m1", "new", "queued")
    if not broken:
        step(story, "m1", "queued", "done")
    settle(story)
    return waiting


@log("notification.views-converge", guilty="client-1")
def _(story: Story, broken: bool) -> Fact:
    registered(story, "a", "b")
    story.note("hub", "hub-engine", id=0, uuid="a", state="gone")
    story.note("scheduler", "scheduler-engines", engines=[[1, "b"]])
    view = story.note("client-1", "client-engines", engines=[[0, "a"], [1, "b"]] if broken else [[1, "b"]])
    settle(story)
    return view


@log("storage.done-agrees", guilty="hub")
def _(story: Story, broken: bool) -> Fact:
    opened = story.note("hub", "hub-open", msg_id="m1")
    step(story, "m1", "new", "done")
    if not broken:
        story.note("hub", "hub-completed", msg_id="m1")
    settle(story)
    return opened


@log("storage.memory-bounded", guilty="scheduler")
def _(story: Story, broken: bool) -> Fact:
    return story.note("scheduler", "kept", counts={"tasks that others wait for": [11 if broken else 10, 10]})


@log("task.finished-bounded", guilty="scheduler")
def _(story: Story, broken: bool) -> Fact:
    return story.note("scheduler", "kept", counts={"outcomes": [11 if broken else 10, 10]})


@log("wire.replay-memory-bounded", guilty="hub")
def _(story: Story, broken: bool) -> Fact:
    return story.note("hub", "kept", counts={"signatures": [11 if broken else 10, 10]})


# -- what the Hub is told ----------------------------------------------------------------------------------------------


def copied(story: Story, *prefix: bytes, of: Observation) -> Observation:
    """The copy of a message on the monitor channel."""
    assert of.message is not None
    return story.see("hub", "monitor", "received", story.frames(of.message.replace(identities=prefix)))


def passed(story: Story, channel: str) -> tuple[Observation, Observation]:
    """A request that came to its engine through a relay, when everybody was listening."""
    story.fact("overheard", socket="hub/monitor")
    Work(story, "a")
    message = story.message("client-1", "execute_request", {"code": "1"}, identities=(b"a",))
    request = story.see("client-1", channel, "sent", story.frames(message))
    return request, story.see("a", channel, "received", story.frames(message.replace(identities=(b"client-1",))))


def monitored(story: Story, broken: bool, channel: str, prefix: bytes) -> Observation:
    """Something passes a relay, and its copy comes to the Hub unless that is broken."""
    request, given = passed(story, channel)
    if not broken:
        copied(story, prefix, b"a", b"client-1", of=request)
    story.wait(2 * story.setting.margin_ns)
    return given


@log("mux.monitored", guilty="mux-relay")
def _(story: Story, broken: bool) -> Seen:
    return monitored(story, broken, "mux", b"in")


@log("control.monitored", guilty="control-relay")
def _(story: Story, broken: bool) -> Seen:
    return monitored(story, broken, "control", b"incontrol")


@log("mux.monitor-prefixes", guilty="heart-monitor")
def _(story: Story, broken: bool) -> Seen:
    request, _ = passed(story, "mux")
    names = (b"client-1", b"a") if broken else (b"a", b"client-1")
    return copied(story, b"in", *names, of=request)


@log("broadcast.recorded", guilty="hub")
def _(story: Story, broken: bool) -> Seen:
    story.fact("overheard", socket="hub/monitor")
    Work(story, "a")
    about = {"is_broadcast": True, "is_coalescing": False, "targets": [["a", 0]]}
    message = story.message("client-1", "apply_request", {}, metadata=about, buffers=BUFFERS)
    request = story.see("client-1", "broadcast", "sent", story.frames(message))
    if not broken:
        copied(story, b"inbcast", b"client-1", of=request)
    copy = message.replace(
        header=message.header | {"msg_id": f"{message.msg_id}_a"},
        metadata=about | {"original_msg_id": message.msg_id}, identities=(b"sub_scheduler_00",),
    )  # fmt: skip
    given = story.see("a", "broadcast", "received", story.frames(copy))
    story.wait(2 * story.setting.margin_ns)
    return given


@log("task.intask-before-destination", guilty="heart-monitor")
def _(story: Story, broken: bool) -> Seen:
    story.fact("overheard", socket="hub/monitor")
    request = Work(story, "a").submit()
    assert request.message is not None
    if not broken:
        copied(story, b"intask", b"client-1", of=request)
    told = story.message("scheduler", "task_destination", {"msg_id": request.message.msg_id, "engine_id": "a"})
    return story.see("hub", "monitor", "received", [b"tracktask", b"scheduler", *story.frames(told)])


@log("heartbeat.death-reported-once", guilty="heart-monitor")
def _(story: Story, broken: bool) -> Seen:
    for kind in ("stopped_heart", "stopped_heart" if broken else "new_heart"):
        message = story.message("heart-monitor", kind, {"hearts": ["a"]})
        seen = story.see("hub", "monitor", "received", [b"heartmonitor", b"", *story.frames(message)])
    return seen

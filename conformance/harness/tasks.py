"""The task queue as a case uses it: scripted engines that hold what they are given, and clients that submit.

Everything that arrives is kept in the order in which it came, so that a case can also say what must not have come yet,
or not twice. A pilot task proves of each engine that the scheduler knows it, and thereby that it has forgotten the
engines of earlier cases: it hears of both in the order in which the Hub announces them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from conformance.harness.actors import Client, Engine, Reply
from conformance.harness.expect import error
from conformance.harness.pilots import REGISTERED
from conformance.harness.verdict import Finding, Violated
from protocol.wire import Json, Message
from protocol.world import SECOND, Observation

if TYPE_CHECKING:
    from conformance.harness.controller import Controller

How = Literal["ok", "failed", "aborted", "refused"]

_FAILURE: Final = {"status": "error", "ename": "ZeroDivisionError", "evalue": "division by zero", "traceback": []}
_REFUSAL: Final = {"status": "error", "ename": "UnmetDependency", "evalue": "", "traceback": []}
_ABORTION: Final = {"status": "aborted"}
_ANSWERS: Final[dict[How, tuple[object, dict[str, object]]]] = {
    "ok": (None, {}),
    "failed": (_FAILURE, {}),
    "aborted": (_ABORTION, {}),
    "refused": (_REFUSAL, {"dependencies_met": False}),
}


@dataclass(frozen=True)
class Delivery:
    """A task that reached an engine."""

    engine: Engine
    observation: Observation


class TaskQueue:
    """The engines and clients of one case on the task queue, and what reached them."""

    def __init__(self, controller: Controller, *, engines: int = 2) -> None:
        self.controller = controller
        self.world = controller.world
        controller.stand_on(*REGISTERED, "task.some-engine-runs")
        self.deliveries: list[Delivery] = []
        self.replies: list[tuple[Client, Observation]] = []
        self.client = self.another_client()
        self.engines = [self._connected() for _ in range(engines)]
        for engine in self.engines:
            engine.register()
            engine.start_heart()
        for engine in self.engines:
            self._announced(engine)
            self._prove(engine)

    # -- the parties -----------------------------------------------------------------------------------------------

    def another_client(self) -> Client:
        """One more client; `client` is the first."""
        client = self.controller.client()
        self.world.listen(client.queue("task"), lambda seen: self.replies.append((client, seen)))
        return client

    def join(self, *, is_free: bool = True) -> Engine:
        """One more engine; one that is not free is given a queued task as soon as it is there, and is not proved."""
        engine = self._connected()
        engine.registered()
        self.engines.append(engine)
        if is_free:
            self._prove(engine)
        return engine

    def lose(self, *engines: Engine) -> int:
        """Unregister engines and wait until that is announced; when it was asked for. Their sockets stay open."""
        asked = self.world.now
        for engine in engines:
            engine.unregister()
        for engine in engines:
            self.controller.notifications.expect(
                "unregistration_notification", uuid=engine.uuid, requirement="registration.unregistration-honoured"
            )
        return asked

    def _connected(self) -> Engine:
        engine = self.controller.engine().with_shell("task")
        self.world.listen(engine.queue("task"), lambda seen: self._delivered(Delivery(engine, seen)))
        return engine

    def _delivered(self, delivery: Delivery) -> None:
        message = delivery.observation.message
        session = str(message.header.get("session")) if message else ""
        if self.controller.is_of_earlier_case(session):
            # A case that ended early left it in the queue; nobody waits for it any more.
            self.answer_delivery(delivery)
        else:
            self.deliveries.append(delivery)

    def _announced(self, engine: Engine) -> None:
        if self.controller.notifications.wait("registration_notification", uuid=engine.uuid) is None:
            found = f"{engine.name} was never announced"
            raise self.controller.stopped("notification.registration-published", found)
        engine.expect_met()
        engine.is_announced = True

    def _prove(self, engine: Engine) -> None:
        """Run a pilot task there; what is refused because the scheduler knows less than the Hub is tried again."""
        started = self.world.now
        while not self.controller.is_over(started, self.controller.timing.reply_deadline):
            pilot = self.submit(targets=[engine.uuid])
            # An engine that is announced and free; nothing is left to wait for.
            self._expect(
                lambda: bool(self.to(pilot) or self.answers(pilot)),  # noqa: B023 - it is over before the next pilot
                f"{_called(pilot)} was neither given to {engine.name}, which is free, nor answered",
                "it runs",
                "task.some-engine-runs",
            )
            # The pure scheduler reads no targets; it comes to every engine in turn.
            if self.to(pilot) and self.finish(pilot) is engine:
                return
        self.controller.expect_waited(started, self.controller.timing.reply_deadline)
        raise self.controller.stopped("task.targets-respected", f"{engine.name} was never given a task")

    # -- what is sent ----------------------------------------------------------------------------------------------

    def submit(
        self, metadata: Json | None = None, *, client: Client | None = None, why: str | None = None, **steering: Any
    ) -> Message:
        """Submit an apply_request with these steering fields in its metadata; see `Client.submit` for `why`."""
        return (client or self.client).submit(None, channel="task", metadata=(metadata or {}) | steering, why=why)

    def submit_code(self, **steering: Any) -> Message:
        """Submit an execute_request with these steering fields."""
        content = {"code": "1 + 1", "silent": False, "store_history": True, "user_expressions": {},
                   "allow_stdin": False, "stop_on_error": True}  # fmt: skip
        return self.client.submit(
            None, channel="task", msg_type="execute_request", content=content, metadata=steering, buffers=()
        )

    def answer(self, task: Message, how: How = "ok", *, by: Engine | None = None) -> Message:
        """Let the engine that was given a task last answer it; or `by` another one, which has no business to."""
        last = self.to(task)[-1]
        return self.answer_delivery(last, how, by=by)

    def answer_delivery(self, delivery: Delivery, how: How = "ok", *, by: Engine | None = None) -> Message:
        """As `answer`, for one delivery of a task, whatever came after it."""
        content, metadata = _ANSWERS[how]
        fields: dict[str, Any] = {"content": content, "metadata": metadata}
        request = delivery.observation.message
        if request is not None and request.msg_type == "execute_request":
            fields["buffers"] = ()
            if how == "ok":
                fields["content"] = {"status": "ok", "execution_count": 1, "payload": [], "user_expressions": {}}
        return (by or delivery.engine).answer(delivery.observation, channel="task", **fields)

    def finish(self, task: Message, how: How = "ok") -> Engine:
        """Let a task be run and its client be told; which engine had it."""
        engine = self.taken(task)
        self.answer(task, how)
        self.reply(task)
        return engine

    # -- what has come ---------------------------------------------------------------------------------------------

    def to(self, task: Message) -> list[Delivery]:
        """The deliveries of a task up to now."""
        return [each for each in self.deliveries if _msg_id(each.observation) == task.msg_id]

    def at(self, engine: Engine) -> list[str]:
        """The ids of what an engine was given up to now."""
        return [_msg_id(each.observation) for each in self.deliveries if each.engine is engine]

    def answers(self, task: Message, client: Client | None = None) -> list[Reply]:
        """The replies to a task that have come up to now; to one client, or to all."""
        return [
            Reply(seen, task)
            for receiver, seen in self.replies
            if client in (None, receiver) and seen.message and seen.message.parent_header.get("msg_id") == task.msg_id
        ]

    def _seen(self, task: Message) -> list[Observation]:
        return [each.observation for each in self.to(task)] + [each.observation for each in self.answers(task)]

    # -- what must come --------------------------------------------------------------------------------------------

    def taken(
        self, task: Message, *, among: tuple[Engine, ...] = (), times: int = 1, requirement: str | None = None
    ) -> Engine:
        """Wait until a task has been delivered so many times; to whom the last time.

        Silence and an early reply violate `task.no-starvation`, another engine than those named what the case is
        about, unless it names a `requirement` for all of it.
        """
        self._expect(
            lambda: len(self.to(task)) >= times or bool(self.answers(task)),
            f"{_called(task)} was never given to an engine",
            "it runs",
            requirement or "task.no-starvation",
        )
        if len(self.to(task)) < times:
            reply = self.answers(task)[0]
            found = f"{reply.msg_type} {reply.content!r:.300} instead of a run"
            finding = Finding(found, ("it runs",), evidence=(reply.observation.seq,))
            raise Violated(finding, requirement or "task.no-starvation")
        delivery = self.to(task)[times - 1]
        if among and delivery.engine not in among:
            allowed = " or ".join(engine.name for engine in among)
            finding = Finding(f"it ran on {delivery.engine.name}", (allowed,), evidence=(delivery.observation.seq,))
            raise Violated(finding, requirement)
        return delivery.engine

    def next_of(self, tasks: Sequence[Message]) -> Message:
        """The one of these tasks that an engine has, or is given next, whichever that is."""
        unanswered = [task for task in tasks if not self.answers(task)]
        found = f"none of {len(unanswered)} tasks was given to an engine"
        self.wait(lambda: any(self.to(task) for task in unanswered), found, requirement="task.no-starvation")
        return next(task for task in unanswered if self.to(task))

    def reply(self, task: Message, *, requirement: str | None = None) -> Reply:
        """Wait for the reply to a task."""
        self.controller.stand_on("task.reply-to-requester")
        self._expect(
            lambda: bool(self.answers(task)),
            f"no reply to {_called(task)}",
            "one reply",
            requirement or "task.reply-to-requester",
        )
        return self.answers(task)[0]

    def refused(self, task: Message, *enames: str, requirement: str | None = None) -> Reply:
        """Wait for the scheduler's error reply to a task that no engine may see (again)."""
        self._expect(lambda: bool(self.answers(task)), f"no reply to {_called(task)}", "an error reply", requirement)
        reply = self.answers(task)[0].expect(error("apply_reply"), requirement=requirement)
        if enames and reply.content["ename"] not in enames:
            finding = Finding(f"the error {reply.content['ename']}", enames, evidence=(reply.observation.seq,))
            raise Violated(finding, "task.own-error-names")
        return reply

    # -- what must not come ----------------------------------------------------------------------------------------

    def barrier(self) -> None:
        """Return when the scheduler has read what the first client had sent: it answers the next task at once."""
        marker = self.submit(after=["never-submitted"])
        self.refused(marker, requirement="dependency.unknown-id-refused")

    def round_trip(self, engine: Engine) -> None:
        """Return when the scheduler has read what the engines had sent: one more task went to and fro."""
        self.taken(marker := self.submit(targets=[engine.uuid]))
        self.answer(marker)
        self.reply(marker)

    def expect_waiting(self, *tasks: Message, requirement: str | None = None) -> None:
        """None of these tasks may have gone to an engine, nor been answered, when all has been read."""
        self.barrier()
        for task in tasks:
            seen = self._seen(task)
            if seen:
                message = seen[0].message
                what = message.msg_type if message else "a message"
                finding = Finding(f"{what} came already", ("the task waits",), evidence=(seen[0].seq,))
                raise Violated(finding, requirement)

    def expect_once(self, *tasks: Message, runs: int = 1, requirement: str | None = None) -> None:
        """Each task must have been given out so many times and answered once, and not more when all has been read."""
        self.barrier()
        for task in tasks:
            found = len(self.to(task)), len(self.answers(task))
            if found != (runs, 1):
                evidence = [each.seq for each in self._seen(task)]
                finding = Finding(
                    f"{_called(task)} was given out {found[0]} times and answered {found[1]} times",
                    (f"given out {runs} times, answered once",), evidence=tuple(evidence),
                )  # fmt: skip
                raise Violated(finding, requirement)

    def wait(
        self, holds: Callable[[], bool], found: str, *, requirement: str | None = None, within: int | None = None
    ) -> None:
        """Wait for something else; the silence that was `found` violates what the case is about."""
        self._expect(holds, found, "an end of the wait", requirement, within)

    def _expect(
        self, holds: Callable[[], bool], found: str, allowed: str, requirement: str | None, within: int | None = None
    ) -> None:
        started = self.world.now
        limit = within or self.controller.timing.reply_deadline
        if self.world.run_until(holds, started + limit):
            return
        self.controller.expect_waited(started, limit)
        if not self.controller.is_running:
            found += "; the target's process has ended"
        raise Violated(Finding(f"{found} within {limit / SECOND:.1f} s", (allowed,)), requirement)


def _msg_id(seen: Observation) -> str:
    return seen.message.msg_id if seen.message else ""


def _called(task: Message) -> str:
    metadata = task.metadata
    asked = {key: value for key, value in metadata.items() if value} if isinstance(metadata, Mapping) else metadata
    return f"the {task.msg_type} with {asked!r:.200}" if asked else f"the {task.msg_type}"

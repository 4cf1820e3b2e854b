"""The requests of an engine: one runs, the others wait in the order in which they came.

Whatever ends a request (its result, an abort, the engine's own end) answers it once, between one `busy` and one `idle`
on the iopub channel. Requests from the shell and the control socket share the queue where they run code; whatever asks
for less is answered on control at once.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from protocol.roles.base import Effect, Finished, Output, Run, Send, made
from protocol.roles.engine.answers import ANSWERS, execute_fields, read
from protocol.roles.engine.settings import EngineConfig, Outcome
from protocol.roles.freezing import freeze_message, freeze_value, thaw_message, thaw_value
from protocol.roles.speech import Voice, error, metadata_of
from protocol.roles.tables import StateTable
from protocol.wire import Frame, Json, Message

#: The life of a request at its engine. Where it stands is its state: in `queue`, in `jobs`, or nowhere any more.
REQUEST: Final = StateTable(
    "a request at its engine",
    {
        "queued": {
            "its turn": "running | answered: run, or answered at once where no code has to run",
            "aborted": "answered: aborted, also by an abort that was quicker",
            "an earlier one failed": "answered: aborted",
            "engine ends": "answered: aborted",
        },
        "running": {"finished": "answered: ok or error", "engine ends": "answered: error"},
        "answered": {},
    },
    illegal=(
        "It is ignored: what runs is not aborted, and a job that ends without running means nothing. A request of a "
        "type that nobody knows is never queued; only `busy` and `idle` are published for it."
    ),
    meanings={
        "queued": "it waits for those before it",
        "running": "its code runs",
        "answered": "it has had its one reply",
    },
)

EXECUTED: Final = ("execute_request", "apply_request")

#: What an engine publishes: the last part of the topic, and whether the metadata names the engine.
TOPICS: Final[Mapping[str, tuple[str, bool]]] = {
    "status": ("status", True),
    "stream": ("stream", False),
    "execute_input": ("execute_input", True),
    "execute_result": ("execute_result", False),
    "error": ("error", True),
    "display_data": ("displaypub", True),
    "update_display_data": ("displaypub", True),
    "clear_output": ("displaypub", True),
    "data_message": ("datapub", True),
    "shutdown_reply": ("shutdown", False),
    "comm_open": ("comm", True),
    "comm_msg": ("comm", True),
    "comm_close": ("comm", True),
}
#: What of this running code publishes; the rest is the engine's own.
PRINTED: Final = frozenset(TOPICS) - {"status", "execute_input", "error", "shutdown_reply"}


class Job(NamedTuple):
    """A request that runs: where it came from, when it began (ISO 8601), the execution count of code, its flags."""

    socket: str
    message: Message
    started: str
    prompt: int = 0
    silent: bool = False
    counts: bool = False
    stops: bool = False


class Work:
    """The queue of one engine; methods append their effects to a list."""

    def __init__(self, config: EngineConfig, voice: Voice) -> None:
        self.config: Final = config
        self.voice: Final = voice
        self.engine_id = -1
        self.queue: deque[tuple[str, Message]] = deque()
        #: The job that holds the shell, or 0; jobs of the control socket run beside it.
        self.running = 0
        self.jobs: dict[int, Job] = {}
        self.ended: dict[int, Json] = {}
        #: Ids that an abort named and that were not here -> session and date of the abort.
        self.doomed: dict[str, tuple[str, str]] = {}
        self.last_job = 0
        self.count = 1
        self.takes: Final = frozenset((*EXECUTED, *ANSWERS, *config.hosted))

    # -- requests come and run -----------------------------------------------------------------------------------------

    def take(self, now: int, socket: str, message: Message, effects: list[Effect]) -> None:
        """A request for code or knowledge; of a type that nobody knows the brackets are published and nothing else."""
        if message.msg_type not in self.takes:
            self.voice.env.mark("engine.unknown-type")
            self.status(now, "busy", message.header, effects)
            self.status(now, "idle", message.header, effects)
        elif socket == "control" and message.msg_type not in EXECUTED:
            self._begin(now, socket, message, effects)
        elif self._was_overtaken(message):
            self.voice.env.mark("engine.aborted-on-arrival")
            self._answer_aborted(now, socket, message, effects)
        else:
            self.queue.append((socket, message))
            self.go_on(now, effects)

    def go_on(self, now: int, effects: list[Effect]) -> None:
        """Begin what waits, up to the first request that takes time."""
        while not self.running and self.queue:
            socket, message = self.queue.popleft()
            self.running = self._begin(now, socket, message, effects)

    def _begin(self, now: int, socket: str, message: Message, effects: list[Effect]) -> int:
        """Begin one request: the number of its job, or 0 if it is answered already."""
        self.status(now, "busy", message.header, effects)
        job = Job(socket, message, self.voice.env.date(now))
        msg_type = message.msg_type
        try:
            if msg_type == "execute_request":
                silent, counts, stops = execute_fields(message)
                job = job._replace(prompt=self.count, silent=silent, counts=counts, stops=stops)
                if not silent:
                    code = {"code": message.content["code"], "execution_count": self.count}
                    self.publish(now, "execute_input", code, message.header, effects)
            elif msg_type == "apply_request":
                if len(message.buffers) < 2:
                    raise ValueError(f"a call takes at least two buffers, and there are {len(message.buffers)}")
            elif msg_type not in self.config.hosted:
                kind, answer = ANSWERS[msg_type]
                self._reply(now, job, answer(read(message, kind)), effects)
                self.status(now, "idle", message.header, effects)
                return 0
        except ValueError as problem:
            self.voice.env.mark("engine.bad-request")
            self._fail(now, job, "ValueError", str(problem), effects)
            return 0
        return self.start(job, msg_type.removesuffix("_request"), effects)

    def start(self, job: Job, kind: str, effects: list[Effect]) -> int:
        """Run a job beside the queue; its number."""
        self.last_job += 1
        self.jobs[self.last_job] = job
        effects.append(made(Run, (self.last_job, kind, job.message)))
        return self.last_job

    # -- and end -------------------------------------------------------------------------------------------------------

    def finish(self, now: int, event: Finished, effects: list[Effect]) -> None:
        """A job has ended: answer it and go on. A number that is not running means nothing."""
        number, outcome = event.job, event.result
        job = self.jobs.pop(number, None) if isinstance(number, int) else None
        if job is None:
            self.voice.env.mark("engine.unknown-job")
            return
        self._remember(number, job)
        if number == self.running:
            self.running = 0
        if not isinstance(outcome, Outcome) or not isinstance(outcome.content, dict):
            outcome = Outcome(status="error", content=error("EngineError", f"the job ended without outcome: {outcome}"))
        if outcome.status == "ok":
            self._succeed(now, job, outcome, effects)
        else:
            content = outcome.content
            lines = content.get("traceback")
            self._fail(
                now, job, str(content.get("ename", "Error")), str(content.get("evalue", "")), effects,
                lines=list(map(str, lines)) if isinstance(lines, list) else None, met=outcome.dependencies_met,
            )  # fmt: skip
            if job.stops:
                self._abort_behind(now, job, effects)
        self.go_on(now, effects)

    def _succeed(self, now: int, job: Job, outcome: Outcome, effects: list[Effect]) -> None:
        content: Json = {"status": "ok"}
        buffers: Sequence[Frame] = ()
        if job.message.msg_type == "apply_request":
            buffers = outcome.buffers
        else:
            content |= outcome.content
            if job.message.msg_type == "execute_request":
                content = {"payload": [], "user_expressions": {}} | content | {"execution_count": job.prompt}
        self._count(job)
        self._reply(now, job, content, effects, buffers=buffers, met=outcome.dependencies_met)
        self.status(now, "idle", job.message.header, effects)

    def _fail(
        self,
        now: int,
        job: Job,
        ename: str,
        evalue: str,
        effects: list[Effect],
        *,
        lines: list[str] | None = None,
        met: bool = True,
    ) -> None:
        method = job.message.msg_type.removesuffix("_request")
        content = error(ename, evalue, self.info() | {"method": method})
        if lines is not None:
            content["traceback"] = lines
        if method in ("execute", "apply"):
            shown = {key: content[key] for key in ("ename", "evalue", "traceback")}
            self.publish(now, "error", shown, job.message.header, effects)
        if method == "execute" and job.prompt:
            content |= {"execution_count": job.prompt, "user_expressions": {}, "payload": []}
        self._count(job)
        self._reply(now, job, content, effects, met=met)
        self.status(now, "idle", job.message.header, effects)

    def _count(self, job: Job) -> None:
        if job.counts:
            self.count += 1

    def info(self) -> Json:
        """What an error says about its engine."""
        return {"engine_uuid": self.config.uuid, "engine_id": self.engine_id}

    def _reply(
        self,
        now: int,
        job: Job,
        content: Json,
        effects: list[Effect],
        *,
        buffers: Sequence[Frame] = (),
        met: bool = True,
    ) -> None:
        asked = metadata_of(job.message) or {}
        label, original = asked.get("label"), asked.get("original_msg_id")
        metadata = {
            "started": job.started,
            "dependencies_met": met,
            "engine": self.config.uuid,
            "is_broadcast": asked.get("is_broadcast") is True,
            "is_coalescing": asked.get("is_coalescing") is True,
            "original_msg_id": original if isinstance(original, str) else "",
            "label": label if isinstance(label, str) else None,
            "status": content["status"],
        }
        if content["status"] == "error":
            metadata["engine_info"] = content.get("engine_info", {})
        reply = self.voice.answer(now, job.message, content, metadata=metadata, buffers=buffers)
        effects.append(made(Send, (job.socket, reply)))

    # -- aborts --------------------------------------------------------------------------------------------------------

    def abort(
        self, now: int, effects: list[Effect], msg_ids: Sequence[str] = (), *, header: Json | None = None
    ) -> None:
        """Answer queued requests as aborted: those named, by their own id or that of their broadcast, or all.

        An abort comes on another channel than what it names, and may overtake it. With the `header` of the abort, a
        request that its session sent before it, and that comes later, is aborted when it comes.
        """
        wanted = frozenset(msg_ids)
        for name in msg_ids if header else ():
            self.doomed[name] = _when(header or {})
            if len(self.doomed) > self.config.remembered:
                del self.doomed[next(iter(self.doomed))]
        self._abort(now, lambda _, message: not wanted or bool(_names(message) & wanted), effects)

    def _was_overtaken(self, message: Message) -> bool:
        """Whether an abort that was sent later than a request came before it."""
        if not self.doomed:
            return False
        for name in sorted(_names(message) & self.doomed.keys()):
            if _is_before(_when(message.header), self.doomed.pop(name)):
                return True
        return False

    def _abort_behind(self, now: int, job: Job, effects: list[Effect]) -> None:
        """What the same client had queued as code behind code that failed is not run."""
        self._abort(
            now,
            lambda socket, message: (
                message.msg_type == "execute_request"
                and socket == job.socket
                and message.identities == job.message.identities
            ),
            effects,
        )

    def _abort(self, now: int, chosen: Callable[[str, Message], bool], effects: list[Effect]) -> None:
        kept: deque[tuple[str, Message]] = deque()
        for socket, message in self.queue:
            if not chosen(socket, message):
                kept.append((socket, message))
                continue
            self.voice.env.mark("engine.aborted")
            for name in _names(message):
                self.doomed.pop(name, None)
            self._answer_aborted(now, socket, message, effects)
        self.queue = kept

    def _answer_aborted(self, now: int, socket: str, message: Message, effects: list[Effect]) -> None:
        self.status(now, "busy", message.header, effects)
        self._reply(now, Job(socket, message, self.voice.env.date(now)), {"status": "aborted"}, effects)
        self.status(now, "idle", message.header, effects)

    def close(self, now: int, effects: list[Effect]) -> None:
        """The engine ends: what is queued is aborted, and what runs is answered, since it will have no other reply."""
        self.abort(now, effects)
        for job in self.jobs.values():
            self.voice.env.mark("engine.ended-while-running")
            reason = f"engine {self.config.uuid} ended while it ran {job.message.msg_id}"
            self._fail(now, job._replace(counts=False), "EngineError", reason, effects)
        self.jobs = {}
        self.running = 0

    # -- what everybody sees -------------------------------------------------------------------------------------------

    def output(self, now: int, event: Output, effects: list[Effect]) -> None:
        """Something that running code published, or a thread that it left behind."""
        job = self.jobs.get(event.job) if isinstance(event.job, int) else None
        parent = self.ended.get(event.job, {}) if job is None else job.message.header
        content: object = event.content
        if event.msg_type not in PRINTED or not isinstance(content, dict):
            self.voice.env.mark("engine.unknown-output")
            return
        if event.msg_type == "execute_result":
            if job is not None and job.silent:
                return
            content = {"metadata": {}} | content | {"execution_count": job.prompt if job else self.count}
        self.publish(now, event.msg_type, content, parent, effects, event.metadata, event.buffers)

    def status(self, now: int, state: str, parent: Json, effects: list[Effect]) -> None:
        """Say that the engine is `busy` with a request, or `idle` again."""
        self.publish(now, "status", {"execution_state": state}, parent, effects)

    def publish(
        self,
        now: int,
        msg_type: str,
        content: Json,
        parent: Json,
        effects: list[Effect],
        metadata: Mapping[str, Any] | None = None,
        buffers: Sequence[Frame] = (),
    ) -> None:
        """Publish under the topic `engine.<id>.<kind>`; data that code publishes by itself has a topic of its own."""
        kind, named = TOPICS[msg_type]
        if msg_type == "stream":
            kind = "stderr" if content.get("name") == "stderr" else "stdout"
        topic = kind if msg_type == "data_message" else f"engine.{self.engine_id}.{kind}"
        about = ({"engine": self.config.uuid} if named else {}) | dict(metadata or {})
        message = self.voice.say(
            now, msg_type, content, parent=parent, metadata=about, buffers=buffers, identities=(topic.encode(),)
        )
        effects.append(made(Send, ("iopub", message)))

    def _remember(self, number: int, job: Job) -> None:
        self.ended[number] = job.message.header
        if len(self.ended) > self.config.remembered:
            del self.ended[next(iter(self.ended))]

    # -- state ---------------------------------------------------------------------------------------------------------

    def freeze(self) -> tuple[Any, ...]:
        """The state as plain tuples."""
        return (
            self.engine_id,
            tuple((socket, freeze_message(message)) for socket, message in self.queue),
            self.running,
            tuple((number, job.socket, freeze_message(job.message), *job[2:]) for number, job in self.jobs.items()),
            tuple((number, freeze_value(header)) for number, header in self.ended.items()),
            tuple((name, session, date) for name, (session, date) in self.doomed.items()),
            self.last_job,
            self.count,
        )

    def thaw(self, frozen: tuple[Any, ...]) -> None:
        """Take up a state that `freeze` gave."""
        self.engine_id, queue, self.running, jobs, ended, doomed, self.last_job, self.count = frozen
        self.queue = deque((socket, thaw_message(message)) for socket, message in queue)
        self.jobs = {number: Job(socket, thaw_message(message), *rest) for number, socket, message, *rest in jobs}
        self.ended = {number: thaw_value(header) for number, header in ended}
        self.doomed = {name: (session, date) for name, session, date in doomed}


def _names(message: Message) -> set[str]:
    original = (metadata_of(message) or {}).get("original_msg_id")
    return {message.msg_id, original} if isinstance(original, str) and original else {message.msg_id}


def _when(header: Json) -> tuple[str, str]:
    """Session and date of a message."""
    return str(header.get("session")), str(header.get("date"))


def _is_before(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Whether a session said something before something else; not if either time cannot be read."""
    try:
        return one[0] == other[0] and datetime.fromisoformat(one[1]) < datetime.fromisoformat(other[1])
    except (ValueError, TypeError):
        return False

"""What clients do in a run, drawn from the seed: who comes and goes, what they ask, and when.

    workload = Workload(cluster, requests=40, lasts=5 * SECOND)
    cluster.run_until(lambda: workload.is_done, cluster.now + 60 * SECOND)

Each request is an event of its own at a random moment. `MIX` says how often each kind is drawn; a kind that has nothing
to be about (an abort without tasks, an engine where there is none) is left out. Chance is the stream `workload` alone,
so that one fault more or less leaves the requests what they were.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from protocol.world import MILLISECOND, SECOND, Work
from simulator.asking import Asked
from simulator.clients import VirtualClient
from simulator.engines import VirtualEngine
from simulator.scripts import Script

if TYPE_CHECKING:
    from simulator.cluster import VirtualCluster

T = TypeVar("T")

#: Kind of request -> how often it is drawn. Each is a method of `Workload`.
MIX: Final[Mapping[str, int]] = {
    "short_task": 30, "long_task": 5, "burst": 5, "chain": 5, "diamond": 5, "failing": 5, "refused": 3, "targeted": 5,
    "applied": 10, "executed": 5, "broadcast": 4, "gathered": 3, "looked_up": 8, "aborted": 3, "purged": 2,
    "resubmitted": 2, "dependent": 6, "misdemanded": 2, "miscalled": 2, "misruled": 2, "kernel_asked": 3, "cleared": 2,
    "signalled": 3, "held": 2, "awaited": 2, "purged_all": 1, "two_looks": 3, "engine_shut_down": 1, "engine_comes": 1,
    "client_leaves": 1, "client_comes": 1,
}  # fmt: skip

#: What is wrong with the demands of a task: a key of its metadata, and a value that it cannot have.
MISDEMANDS: Final[tuple[tuple[str, Any], ...]] = (
    ("retries", "many"), ("retries", -1), ("timeout", "soon"), ("after", 5), ("follow", {"dependencies": 7}),
    ("targets", {}), ("targets", [None]),
)  # fmt: skip
#: What an engine is asked on its control queue that nobody can do.
MISRULES: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("abort_request", {"msg_ids": 5}), ("signal_request", {"sig": None}), ("signal_request", {"sig": "SIGNONE"}),
    ("shutdown_request", {"restart": {}}),
)  # fmt: skip
#: What a kernel is asked besides execution.
QUESTIONS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("kernel_info_request", {}), ("is_complete_request", {"code": "x"}),
    ("history_request", {"hist_access_type": "tail", "n": 1, "output": False, "raw": True}),
    ("complete_request", {"code": "x", "cursor_pos": 1}), ("inspect_request", {"code": "x", "cursor_pos": 1}),
    ("comm_info_request", {}), ("connect_request", {}),
)  # fmt: skip
#: Signals that an engine can be sent; the last one ends it.
SIGNALS: Final = ("SIGINT", 2, "SIGCONT", 99, "SIGTERM", "SIGKILL")
#: The longest short task and the longest long one.
SHORT: Final = 5 * MILLISECOND
LONG: Final = SECOND
BURST: Final = 8


class Workload:
    """Requests of some clients within a time; `tasks` are all that were sent."""

    def __init__(
        self,
        cluster: "VirtualCluster",
        *,
        clients: int = 2,
        requests: int = 40,
        lasts: int = 2 * SECOND,
        mix: Mapping[str, int] = MIX,
    ) -> None:
        self.cluster = cluster
        self.tasks: list[Asked] = []
        self.clients = [cluster.client() for _ in range(clients)]
        self._left = requests
        self._chance = cluster.world.kernel.workload.random
        self._kinds = [kind for kind, weight in mix.items() for _ in range(weight)]
        kernel = cluster.world.kernel
        for _ in range(requests):
            kernel.after(int(self._chance() * lasts), self._happens)

    @property
    def is_done(self) -> bool:
        """Whether everything was asked and has been answered to whoever is still there."""
        return not self._left and all(not client.role.open for client in self.clients if client.process.is_alive)

    def _happens(self, _: Any, __: Any) -> None:
        self._left -= 1
        act: Callable[[VirtualClient], object] = getattr(self, self._one(self._kinds) or "short_task")
        client = self._one([client for client in self.clients if client.process.is_alive])
        if client is not None:
            act(client)

    def _one(self, choice: Sequence[T]) -> T | None:
        return choice[int(self._chance() * len(choice))] if choice else None

    def _time(self, longest: int) -> int:
        return 1 + int(self._chance() * longest)

    def _engine(self) -> VirtualEngine | None:
        return self._one([engine for engine in self.cluster.engines if engine.is_alive])

    def _recent(self, client: VirtualClient) -> Asked | None:
        return self._one(client.tasks[-BURST:])

    # -- the kinds ---------------------------------------------------------------------------------------------------

    def short_task(self, client: VirtualClient) -> None:
        """One task that takes little time, and may be tried again."""
        self._add(client.submit(Work(takes=self._time(SHORT)), retries=int(self._chance() * 3)))

    def long_task(self, client: VirtualClient) -> None:
        """One task that takes long."""
        self._add(client.submit(Work(takes=self._time(LONG)), retries=2))

    def burst(self, client: VirtualClient) -> None:
        """Many tasks at once."""
        for _ in range(BURST):
            self.short_task(client)

    def chain(self, client: VirtualClient) -> None:
        """Each follows the one before it, on the same engine."""
        before: list[Asked] = []
        for _ in range(3):
            task = client.submit(Work(takes=self._time(SHORT)), follow=before, after=before)
            self._add(task)
            before = [task]

    def diamond(self, client: VirtualClient) -> None:
        """One, then two, then one that waits for both; any of them may fail."""
        first = client.submit(Work(takes=self._time(SHORT)))
        both = [
            client.submit(Work(takes=self._time(SHORT), fails=self._chance() < 0.2), after=[first]) for _ in range(2)
        ]
        self._add(first, *both, client.submit(Work(), after=both, timeout=5 * SECOND))

    def failing(self, client: VirtualClient) -> None:
        """A task that fails every time."""
        self._add(client.submit(Work(takes=self._time(SHORT), fails=True), retries=int(self._chance() * 3)))

    def refused(self, client: VirtualClient) -> None:
        """A task that some engines cannot run."""
        uuids = [engine.uuid for engine in self.cluster.engines]
        self._add(client.submit(Work(refuses=tuple(uuids[: int(self._chance() * len(uuids)) + 1])), timeout=5 * SECOND))

    def targeted(self, client: VirtualClient) -> None:
        """A task for one engine."""
        engine = self._engine()
        if engine is not None:
            self._add(client.submit(Work(takes=self._time(SHORT)), targets=[engine], timeout=5 * SECOND))

    def applied(self, client: VirtualClient) -> None:
        """A call on one engine, perhaps on one that is none of ours."""
        engine = self._engine() if self._chance() < 0.8 else self._one(list(client.engines.values()))
        if engine is not None:
            self._add(client.apply(Work(takes=self._time(SHORT)), engine))

    def executed(self, client: VirtualClient) -> None:
        """Code that prints."""
        self._add(client.execute(Work(takes=self._time(SHORT), prints=3), self._engine()))

    def broadcast(self, client: VirtualClient) -> None:
        """A call on all engines."""
        self._add(client.broadcast(Work(takes=self._time(SHORT))))

    def gathered(self, client: VirtualClient) -> None:
        """A call on all engines, with one reply."""
        self._add(client.broadcast(Work(takes=self._time(SHORT)), is_coalescing=True))

    def looked_up(self, client: VirtualClient) -> None:
        """A question to the Hub."""
        task = self._recent(client)
        questions: list[tuple[str, dict[str, Any]]] = [
            ("queue_request", {"targets": None}),
            ("load_request", {"targets": None}),
            ("result_request", {"msg_ids": [task.msg_id] if task else []}),
            ("db_request", {"query": {"completed": None}, "keys": ["msg_id", "engine_uuid"]}),
            ("history_request", {}),
        ]
        asked = self._one(questions)
        assert asked is not None
        self._add(client.query(*asked))

    def aborted(self, client: VirtualClient) -> None:
        """Whatever waits at one engine is aborted."""
        engine, task = self._engine(), self._recent(client)
        if engine is not None:
            self._add(client.abort([task] if task else [], engine))

    def purged(self, client: VirtualClient) -> None:
        """A result is forgotten."""
        task = self._recent(client)
        if task is not None:
            self._add(client.query("purge_request", {"msg_ids": [task.msg_id]}))

    def resubmitted(self, client: VirtualClient) -> None:
        """A request for work is run once more."""
        work = ("apply_request", "execute_request")
        recent = [task for task in client.tasks[-2 * BURST :] if task.msg_type in work and not task.is_mistaken]
        task = self._one(recent)
        if task is not None:
            self._add(client.query("resubmit_request", {"msg_ids": [task.msg_id]}))

    def dependent(self, client: VirtualClient) -> None:
        """A task that depends on some others: on all or one of them, on their success, failure or mere end."""
        before = client.tasks[-BURST:]
        some = [task.msg_id for task in before if self._chance() < 0.4]
        need = {
            "dependencies": some, "all": self._chance() < 0.6, "success": self._chance() < 0.8,
            "failure": self._chance() < 0.4,
        }  # fmt: skip
        key = "after" if self._chance() < 0.7 else "follow"
        self._add(client.submit(Work(takes=self._time(SHORT)), timeout=5 * SECOND, more={key: need}))

    def misdemanded(self, client: VirtualClient) -> None:
        """A task that demands what cannot be demanded."""
        key, value = self._one(MISDEMANDS) or MISDEMANDS[0]
        self._add(client.submit(more={key: value}, mistake=f"{key}: {value!r}"))

    def miscalled(self, client: VirtualClient) -> None:
        """A call without its buffers, or code that is none."""
        engine = self._engine()
        if engine is not None:
            msg_type, content = self._one((("apply_request", {}), ("execute_request", {"code": 5}))) or ("", {})
            self._add(client.ask("mux", msg_type, content, engine, mistake="no buffers, or code that is none"))

    def misruled(self, client: VirtualClient) -> None:
        """An engine is asked on control what cannot be done."""
        engine = self._engine()
        if engine is not None:
            msg_type, content = self._one(MISRULES) or MISRULES[0]
            self._add(client.ask("control", msg_type, content, engine, mistake=f"content {content!r}"))

    def kernel_asked(self, client: VirtualClient) -> None:
        """An engine is asked what every kernel can be asked."""
        engine = self._engine()
        if engine is not None:
            msg_type, content = self._one(QUESTIONS) or QUESTIONS[0]
            self._add(client.ask("mux", msg_type, content, engine))

    def cleared(self, client: VirtualClient) -> None:
        """The variables of an engine are forgotten."""
        engine = self._engine()
        if engine is not None:
            self._add(
                client.execute(Script(defines="x", prints=1), engine), client.control("clear_request", {}, engine)
            )
            self._add(client.execute(Script(uses="x", shows="x"), engine))

    def signalled(self, client: VirtualClient) -> None:
        """Code runs, and its engine is sent a signal, which only a warden can deliver."""
        engine = self._engine()
        if engine is not None:
            self._add(client.execute(Work(takes=self._time(LONG), prints=20), engine))
            self._add(client.control("signal_request", {"sig": self._one(SIGNALS)}, engine))

    def held(self, client: VirtualClient) -> None:
        """Code that lets nothing else run in its engine's interpreter, for long."""
        engine = self._engine()
        if engine is not None:
            self._add(client.apply(Work(takes=2 * self._time(LONG), holds=True), engine))

    def awaited(self, client: VirtualClient) -> None:
        """Somebody waits a moment for what the client has asked last."""
        client.wait(client.tasks[-BURST:], self._time(SHORT))

    def purged_all(self, client: VirtualClient) -> None:
        """Everything that is done is forgotten."""
        self._add(client.query("purge_request", {"msg_ids": "all"}))

    def two_looks(self, client: VirtualClient) -> None:
        """A search in the records, and a question right behind it; a search may make no sense."""
        task = self._recent(client)
        chosen = {"msg_id": {"$in": [task.msg_id]}} if task is not None else {"no such field": {"$what": 1}}
        self._add(client.query("db_request", {"query": chosen}), client.query("connection_request"))

    def engine_shut_down(self, client: VirtualClient) -> None:
        """An engine is asked to end, unless it is the last one."""
        engine = self._engine()
        if engine is not None and sum(one.is_alive for one in self.cluster.engines) > 1:
            self._add(client.control("shutdown_request", {"restart": False}, engine))

    def engine_comes(self, _: VirtualClient) -> None:
        """One more engine; with a warden, or with a heart in Python."""
        has_warden, is_python = self._chance() < 0.5, self._chance() < 0.3
        self.cluster.engine(has_warden=has_warden, heart="python" if is_python else "device", is_awaited=False)

    def client_leaves(self, client: VirtualClient) -> None:
        """A client is gone, with replies under way; the last one stays."""
        if sum(one.process.is_alive for one in self.clients) > 1:
            client.leave()

    def client_comes(self, _: VirtualClient) -> None:
        """One more client."""
        self.clients.append(self.cluster.client(is_awaited=False))

    def _add(self, *tasks: Asked) -> None:
        self.tasks += tasks


__all__ = ["MIX", "Workload"]

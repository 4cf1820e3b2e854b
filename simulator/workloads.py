"""What clients do in a run, drawn from the seed: who comes and goes, what they ask, and when.

    workload = Workload(cluster, requests=40, lasts=5 * SECOND)
    cluster.run_until(lambda: workload.is_done, cluster.now + 60 * SECOND)

Each request is an event of its own at a random moment. `MIX` says how often each kind is drawn; a kind that has nothing
to be about (an abort without tasks, an engine where there is none) is left out. Chance is the stream `workload` alone,
so that one fault more or less leaves the requests what they were.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from protocol.world import MILLISECOND, SECOND, Work
from simulator.clients import VirtualClient, VirtualTask
from simulator.engines import VirtualEngine

if TYPE_CHECKING:
    from simulator.cluster import VirtualCluster

T = TypeVar("T")

#: Kind of request -> how often it is drawn. Each is a method of `Workload`.
MIX: Final[Mapping[str, int]] = {
    "short_task": 30, "long_task": 5, "burst": 5, "chain": 5, "diamond": 5, "failing": 5, "refused": 3, "targeted": 5,
    "applied": 10, "executed": 5, "broadcast": 4, "gathered": 3, "looked_up": 8, "aborted": 3, "purged": 2,
    "resubmitted": 2, "client_leaves": 1, "client_comes": 1,
}  # fmt: skip

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
        self.tasks: list[VirtualTask] = []
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

    def _one(self, choice: list[T]) -> T | None:
        return choice[int(self._chance() * len(choice))] if choice else None

    def _time(self, longest: int) -> int:
        return 1 + int(self._chance() * longest)

    def _engine(self) -> VirtualEngine | None:
        return self._one([engine for engine in self.cluster.engines if engine.is_alive])

    def _recent(self, client: VirtualClient) -> VirtualTask | None:
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
        before: list[VirtualTask] = []
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
        """A call on one engine."""
        engine = self._engine()
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
        """A request is run once more."""
        task = self._recent(client)
        if task is not None:
            self._add(client.query("resubmit_request", {"msg_ids": [task.msg_id]}))

    def client_leaves(self, client: VirtualClient) -> None:
        """A client is gone, with replies under way; the last one stays."""
        if sum(one.process.is_alive for one in self.clients) > 1:
            client.leave()

    def client_comes(self, _: VirtualClient) -> None:
        """One more client."""
        self.clients.append(self.cluster.client(is_awaited=False))

    def _add(self, *tasks: VirtualTask) -> None:
        self.tasks += tasks


__all__ = ["MIX", "Workload"]

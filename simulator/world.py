"""The virtual world that roles and scripted parties share: clock, network, processes, chance.

Everything follows from the seed. Names of processes are unique; one that starts again gets the next number behind its
name, so that no id is ever given out twice.
"""

import random
from typing import Final

from protocol.connection import ClusterFile
from protocol.wire import Codec, ReplayMemory
from simulator.env import VirtualEnv
from simulator.hosts import Process
from simulator.network import Network, size_of
from simulator.rarity import Rarity, never
from simulator.recorder import Recorder
from simulator.schedules import scheduled
from simulator.shell import in_bytes
from simulator.sockets import Context
from simulator.trace import Trace

#: Nanoseconds that a message takes between two processes.
LATENCY: Final = 50_000
#: How messages are signed unless something else is said.
SCHEME: Final = "hmac-sha256"


class World:
    """One simulation. `key` signs its messages by `scheme`; `is_encoded` makes every message travel as bytes.

    `schedule` orders what is due at about the same time: see `simulator.schedules`.
    With `has_rarities` some things are done in less usual ways: see `simulator.rarity`.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        latency: int = LATENCY,
        is_encoded: bool = False,
        has_trace: bool = False,
        has_rarities: bool = False,
        scheme: str = SCHEME,
        schedule: str = "",
    ) -> None:
        self.seed = seed
        self.has_rarities = has_rarities
        self.kernel = scheduled(seed, schedule)
        self.network = Network(self.kernel, latency=latency)
        self.is_encoded = is_encoded
        #: What happens, written down, or None.
        self.trace = Trace() if has_trace else None
        #: What tells the rules, or None; set before anything starts.
        self.recorder: Recorder | None = None
        #: How often each rare branch of the roles was taken.
        self.marks: dict[str, int] = {}
        self.processes: list[Process] = []
        #: How many processes have ended.
        self.ends = 0
        self._starts: dict[str, int] = {}
        digits = f"{random.Random(f'{seed} key').getrandbits(128):032x}"
        self.key: Final = f"{digits[:8]}-{digits[8:]}"
        self._codec: Final = Codec(self.key.encode(), scheme=scheme)
        self.scheme: Final = scheme
        #: A codec for those who only look, and remember nothing.
        self.reader: Final = self._codec
        self.network.weigh = lambda load: size_of(in_bytes(load, self.reader))

    @property
    def now(self) -> int:
        """Nanoseconds since the beginning."""
        return self.kernel.now

    def process(self, name: str, host: str) -> Process:
        """A new process on a host."""
        context = Context(self.kernel, self.network, host=host)
        process = Process(self.kernel, context, self._unique(name), host, self.trace, self.recorder)
        process.on_gone = self._gone
        self.processes.append(process)
        return process

    def _gone(self) -> None:
        self.ends += 1

    def _unique(self, name: str) -> str:
        count = self._starts[name] = self._starts.get(name, 0) + 1
        return name if count == 1 else f"{name}-{count}"

    def env(self, process: Process, session: str = "") -> VirtualEnv:
        """What a role in this process may ask for; its session is the name of the process unless another is given."""
        name = session or process.name
        whose = f"{self.seed} {process.name} {name}"
        return VirtualEnv(name, whose, process.calendar, self.marks, self.rarity(process.name) or never)

    def rarity(self, name: str) -> Rarity | None:
        """The coins of a process, or something else, that decide about what is unusual; None if nothing unusual is."""
        return Rarity(f"{self.seed} {name}", self.marks) if self.has_rarities else None

    def codec(self, file: ClusterFile | None = None) -> Codec:
        """A codec that remembers what it has accepted: for what a connection file says, or for this world's key."""
        if file is None or (file.key == self.key and file.signature_scheme == self.scheme and file.pack == "json"):
            return self._codec.remembering(ReplayMemory())
        return file.codec(ReplayMemory())

    def run_for(self, nanoseconds: int) -> None:
        """Let time pass."""
        self.kernel.run(self.kernel.now + nanoseconds)


__all__ = ["LATENCY", "SCHEME", "World"]

"""Hearts, their monitor, engines and the Hub together: whatever a heart does, all agree in the end."""

from typing import Any

import pytest
from role_world import CODEC, MS, SECOND, FakeEnv

from protocol.roles.base import (
    Arrived,
    Exit,
    Finished,
    Fired,
    Persist,
    Raw,
    Run,
    Send,
    SendRaw,
    SetTimer,
    Started,
    Stopping,
)
from protocol.roles.engine import Engine, EngineConfig
from protocol.roles.heart import Heart, HeartConfig
from protocol.roles.heartmonitor import HeartMonitor, HeartMonitorConfig
from protocol.roles.hub import Hub, HubConfig

P = SECOND
MISSES = 2


class Cluster:
    """A Hub and a heart monitor, with any number of engines whose hearts can be stopped; time passes in steps."""

    def __init__(self) -> None:
        self.env = FakeEnv()
        self.now = 0
        self.count = 0
        self.timers: list[tuple[int, int, Any, SetTimer]] = []
        self.engines: dict[str, Engine] = {}
        self.beating: dict[str, bool] = {}
        self.paused: set[str] = set()
        self.ended: dict[str, int] = {}
        self.news: list[tuple[str, int, str]] = []
        self.kept: Any = None
        self.hub = self.new_hub()
        self.monitor = HeartMonitor(HeartMonitorConfig(period=P, misses=MISSES), self.env)
        self.do(self.monitor, Started())
        self.do(self.monitor, Raw("monitor", (b"\x01",)))

    def new_hub(self) -> Hub:
        self.hub = Hub(HubConfig(hb_period_ms=P // MS, registration_timeout=10 * P), self.env)
        self.do(self.hub, Started(self.kept))
        return self.hub

    def engine(self, uuid: str, *, misses: int = 50) -> Engine:
        engine = self.engines[uuid] = Engine(EngineConfig(uuid=uuid, misses=misses), self.env)
        self.ended.pop(uuid, None)
        self.do(engine, Started())
        return engine

    def do(self, role: Any, event: Any) -> None:
        for effect in role.handle(self.now, event):
            if isinstance(effect, SetTimer):
                self.count += 1
                self.timers.append((effect.at, self.count, role, effect))
            elif isinstance(effect, Persist):
                self.kept = effect.state
            elif isinstance(effect, Run) and effect.kind == "connect":
                self.beating[role.config.uuid] = True
                self.do(role, Finished(effect.job, None))
            elif isinstance(effect, Exit) and isinstance(role, Engine):
                self.ended[role.config.uuid] = effect.status
                self.beating[role.config.uuid] = False
            elif isinstance(effect, SendRaw) and effect.socket == "ping":
                self.ping(effect.frames)
            elif isinstance(effect, Send):
                self.carry(role, effect)

    def ping(self, frames: Any) -> None:
        for uuid, beats in self.beating.items():
            if beats and uuid not in self.paused:
                self.do(self.monitor, Raw("pong", (uuid.encode(), *frames)))
                if uuid in self.engines and uuid not in self.ended:
                    self.do(self.engines[uuid], Raw("heartbeat", (b"", *frames)))

    def carry(self, role: Any, effect: Send) -> None:
        message = CODEC.open_header(CODEC.encode(effect.message))
        if role is self.monitor:
            self.do(self.hub, Arrived("monitor", message))
        elif isinstance(role, Engine) and effect.socket == "query":
            message.identities = (role.config.uuid.encode(),)
            self.do(self.hub, Arrived("query", message))
        elif isinstance(role, Engine) and effect.socket == "iopub":
            message.identities = (b"iopub", *message.identities)
            self.do(self.hub, Arrived("monitor", message))
        elif role is self.hub and effect.socket == "notification":
            content = message.content
            self.news.append((message.msg_type.partition("_")[0], content["id"], content["uuid"]))
        elif role is self.hub and effect.socket == "query":
            engine = self.engines[message.identities[0].decode()]
            message.identities = ()
            if message.msg_type == "registration_reply":
                self.do(engine, Arrived("query", message))

    def run(self, until: int) -> None:
        while self.timers and (due := min(self.timers, key=lambda each: each[:2]))[0] <= until:
            self.timers.remove(due)
            at, _, role, timer = due
            if isinstance(role, Engine) and role.config.uuid in self.paused:
                self.timers.append((until + 1, due[1], role, timer))
                continue
            self.now = max(self.now, at)
            self.do(role, Fired(timer.timer, timer.epoch))
        self.now = until

    @property
    def registered(self) -> dict[str, int]:
        return {engine.uuid: engine.id for engine in self.hub.engines.live()}


def test_an_engine_registers_beats_and_is_announced_once() -> None:
    cluster = Cluster()
    cluster.engine("a")
    cluster.run(10 * P)
    assert cluster.news == [("registration", 0, "a")]
    assert cluster.registered == {"a": 0}


def test_a_heart_that_beats_before_its_engine_registers() -> None:
    cluster = Cluster()
    cluster.beating["a"] = True
    cluster.run(3 * P)
    assert not cluster.news
    cluster.engine("a")
    cluster.run(6 * P)
    assert cluster.news == [("registration", 0, "a")]


def test_an_engine_that_returns_while_its_heart_never_stopped() -> None:
    cluster = Cluster()
    engine = cluster.engine("a")
    cluster.run(3 * P)
    cluster.do(engine, Stopping())
    cluster.beating["a"] = True
    cluster.engine("a")
    cluster.run(6 * P)
    assert cluster.news == [("registration", 0, "a"), ("unregistration", 0, "a"), ("registration", 1, "a")]


def test_a_heart_that_stops_is_given_up_in_the_window_and_the_engine_can_come_back() -> None:
    cluster = Cluster()
    cluster.engine("a")
    cluster.run(3 * P)
    cluster.beating["a"] = False
    cluster.run(3 * P + (MISSES + 1) * P - 1)
    assert len(cluster.news) == 1
    cluster.run(3 * P + (MISSES + 2) * P)
    assert cluster.news[1:] == [("unregistration", 0, "a")]
    cluster.engine("a")
    cluster.run(12 * P)
    assert cluster.registered == {"a": 1}


@pytest.mark.parametrize("pause", [1, MISSES, MISSES + 4, 3 * MISSES + 20])
def test_an_engine_that_is_paused_and_resumes_is_registered_in_the_end(pause: int) -> None:
    cluster = Cluster()
    cluster.engine("a")
    cluster.engine("b")
    cluster.run(3 * P)
    cluster.paused = {"a"}
    cluster.run((3 + pause) * P)
    cluster.paused = set()
    cluster.run((3 + pause + 20) * P)
    assert set(cluster.registered) == {"a", "b"}
    assert cluster.engines["a"].id == cluster.registered["a"]
    assert [kind for kind, _, uuid in cluster.news if uuid == "b"] == ["registration"]
    deaths = [kind for kind, _, uuid in cluster.news if uuid == "a"]
    assert deaths == (["registration"] if pause <= MISSES else ["registration", "unregistration", "registration"])


def test_a_hub_that_comes_back_keeps_whoever_beats_and_drops_the_others() -> None:
    cluster = Cluster()
    for uuid in ("a", "b", "c"):
        cluster.engine(uuid)
    cluster.run(3 * P)
    cluster.news = []
    cluster.beating["b"] = False
    old, cluster.timers = cluster.hub, [each for each in cluster.timers if each[2] is not cluster.hub]
    cluster.new_hub()
    assert cluster.hub is not old
    cluster.run(7 * P)
    cluster.do(cluster.monitor, Raw("monitor", (b"\x01",)))
    cluster.run(20 * P)
    assert cluster.registered == {"a": 0, "c": 2}
    assert cluster.news == [("unregistration", 1, "b")]


def test_a_monitor_that_starts_again_loses_nobody_who_beats_and_keeps_nobody_who_does_not() -> None:
    cluster = Cluster()
    for uuid in ("a", "b"):
        cluster.engine(uuid)
    cluster.run(3 * P)
    cluster.news = []
    for uuid in ("a", "b"):
        cluster.beating[uuid] = uuid == "a"
    cluster.timers = [each for each in cluster.timers if each[2] is not cluster.monitor]
    cluster.monitor = HeartMonitor(HeartMonitorConfig(period=P, misses=MISSES), cluster.env)
    cluster.do(cluster.monitor, Started())
    cluster.do(cluster.monitor, Raw("monitor", (b"\x01",)))
    cluster.run(20 * P)
    assert cluster.registered == {"a": 0}
    assert cluster.news == [("unregistration", 1, "b")]


def test_an_engine_without_a_controller_ends() -> None:
    cluster = Cluster()
    cluster.engine("a", misses=3)
    cluster.run(3 * P)
    cluster.timers = [each for each in cluster.timers if each[2] is not cluster.monitor]
    cluster.run(20 * P)
    assert cluster.ended == {"a": 255}
    assert cluster.registered == {}


def test_the_heart_of_the_model_and_its_monitor_understand_each_other() -> None:
    env = FakeEnv()
    monitor, heart = HeartMonitor(HeartMonitorConfig(period=P), env), Heart(HeartConfig(), env)
    monitor.handle(0, Started())
    effects = monitor.handle(0, Raw("monitor", (b"\x01",)))
    (ping,) = [effect for effect in effects if isinstance(effect, SendRaw)]
    (pong,) = [effect for effect in heart.handle(0, Raw("ping", ping.frames)) if effect.socket == "pong"]  # type: ignore[union-attr]
    assert isinstance(pong, SendRaw)
    monitor.handle(0, Raw("pong", (b"a", *pong.frames)))
    monitor.handle(P, Fired("beat", 0))
    assert list(monitor.hearts) == [b"a"]

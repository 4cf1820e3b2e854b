"""What is right and seldom done: decided by seed and place alone, known by name, and off where nobody asked for it."""

import re
from pathlib import Path

import simulator
from protocol.world import MILLISECOND, SECOND, Work
from simulator.cluster import VirtualCluster
from simulator.disks import Disk, DiskRecords
from simulator.rarity import ODDS, PLACES, Rarity
from simulator.run import Setup, run

ROOT = Path(simulator.__file__).parents[1]


def always(_: str) -> bool:
    return True


def test_every_place_is_known_and_every_known_one_is_there() -> None:
    files = [*ROOT.glob("simulator/**/*.py"), *ROOT.glob("protocol/roles/**/*.py")]
    asked = re.compile(r'(?:rarely|rarity|is_active)\(f?"([a-z-]+\.[a-z-]+)')
    assert {place for file in files for place in asked.findall(file.read_text())} | {"shell.reads-late"} == set(PLACES)


def test_one_place_in_four_is_active_and_fires_every_fourth_time() -> None:
    marks: dict[str, int] = {}
    coins = [Rarity(f"{seed} hub", marks) for seed in range(400)]
    active = [rarity for rarity in coins if rarity.is_active("a.b")]
    assert len(coins) / ODDS * 0.7 < len(active) < len(coins) / ODDS * 1.3
    fired = sum(rarity("a.b") for rarity in coins for _ in range(40))
    assert 0.7 < fired / (len(active) * 40 / ODDS) < 1.3
    assert marks == {"a.b": fired}


def test_places_do_not_disturb_each_other() -> None:
    one, other = Rarity("3 hub", {}), Rarity("3 hub", {})
    alone = [one("task.fills-late") for _ in range(50)]
    assert [(other("client.asks-early"), other("task.fills-late"))[1] for _ in range(50)] == alone


def test_nothing_unusual_happens_where_nobody_asked_for_it() -> None:
    cluster = VirtualCluster(1, engines=3)
    client = cluster.client()
    client.execute(Work(prints=2), cluster.engines[0])
    cluster.run_for(SECOND)
    assert not set(cluster.world.marks) & set(PLACES)


def test_some_runs_of_a_swarm_take_less_usual_ways_and_are_the_same_again() -> None:
    first, again = (run(Setup(seed=6, faults="none", has_trace=True)) for _ in range(2))
    assert first.is_clean, first.violations
    assert first.digest == again.digest
    assert set(first.marks) & set(PLACES)


def test_what_is_written_may_be_durable_before_its_time() -> None:
    for rarely, kept in ((always, 1), (lambda _: False, 0)):
        disk = Disk()
        DiskRecords(disk, rarely).add_record({"msg_id": "m1", "submitted": None, "completed": None})
        assert len(disk.records.find({}, ["msg_id"])) == kept


def test_an_engine_may_take_its_time_to_register_and_be_served_all_the_same() -> None:
    late = None
    for seed in range(60):
        cluster = VirtualCluster(seed, has_rarities=True)
        engine = cluster.engine(is_awaited=False)
        cluster.run_for(MILLISECOND)
        if "engine.registers-late" in cluster.world.marks:
            late = cluster, engine
            break
    assert late is not None
    cluster, engine = late
    assert engine.number is None
    task = cluster.client().submit(Work())
    assert cluster.run_until(lambda: task.is_done, cluster.now + 5 * SECOND)
    assert task.status == "ok"

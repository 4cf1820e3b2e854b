"""Clusters that are built unlike the usual one: other types of sockets, another signature scheme."""

from protocol.wire import DELIMITER
from protocol.world import SECOND, Work
from simulator.cluster import VirtualCluster
from simulator.network import Wire
from simulator.shell import Load

DEALERS = {("engine", "shell"): "DEALER", ("engine", "control"): "DEALER"}


def test_an_engine_with_dealers_has_one_per_queue_and_does_the_work_of_all() -> None:
    cluster = VirtualCluster(engines=2, kinds=DEALERS, is_judged=True)
    client = cluster.client()
    names = sorted(socket.name for engine in cluster.engines for socket in engine.process.context.sockets
                   if socket.KIND == "DEALER")  # fmt: skip
    assert names.count("engine-1/shell") == 3
    assert names.count("engine-1/control") == 1
    asked = [client.submit(Work()), client.apply(Work(), cluster.engines[0]), client.broadcast(Work())]
    assert cluster.run_until(lambda: all(one.is_done for one in asked), cluster.now + 5 * SECOND)
    assert {one.status for one in asked} == {"ok"}


def test_another_scheme_signs_everything_that_is_said() -> None:
    cluster = VirtualCluster(engines=1, scheme="hmac-sha512", is_encoded=True)
    client = cluster.client()
    digits: set[int] = set()

    def look(_: Wire, load: Load) -> list[tuple[int, Load]]:
        if DELIMITER in load:
            digits.add(len(load[load.index(DELIMITER) + 1]))
        return [(0, load)]

    cluster.world.network.tap = look
    task = client.submit(Work())
    assert cluster.run_until(lambda: task.is_done, cluster.now + 5 * SECOND)
    assert digits == {128}
    assert [file.signature_scheme for file in cluster.controller.files()] == ["hmac-sha512"] * 2


def test_a_hub_tells_of_engines_by_a_pub_as_well() -> None:
    cluster = VirtualCluster(engines=1, kinds={("hub", "notification"): "PUB"})
    client = cluster.client()
    cluster.engine()
    assert cluster.run_until(lambda: len(client.role.engines.uuids) == 2, cluster.now + SECOND)

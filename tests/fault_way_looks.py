"""What faults do between parties: to the network, and to messages on their way."""

from typing import Any

from fault_looks import DEATH, MOMENT, Look, cluster_of, refusals, shows

from protocol.damage import ON_THE_WAY
from protocol.world import MILLISECOND, SECOND, Work
from simulator.cluster import VirtualCluster
from simulator.faults import Cut, Damaged, Delayed, Doubled, Dropped, LinkSlow, Partitioned

# -- the network -------------------------------------------------------------------------------------------------------


@shows(Partitioned)
def nothing_passes_until_the_partition_is_over() -> None:
    cluster = cluster_of()
    client = cluster.client()
    trouble = cluster.begin(Partitioned(places=("engine-1",)))
    call = client.apply(Work(prints=1), cluster.engines[0])
    cluster.run_for(300 * MILLISECOND)
    assert not cluster.engines[0].is_busy
    assert not call.is_done
    trouble.end()
    cluster.run_for(SECOND)
    assert call.is_done


@shows(Partitioned)
def in_one_direction_requests_come_and_answers_do_not() -> None:
    cluster = cluster_of()
    client = cluster.client()
    trouble = cluster.begin(Partitioned(places=("engine-1",), one_way=True))
    call = client.apply(Work(takes=SECOND // 2), cluster.engines[0])
    cluster.run_for(MOMENT)
    was_busy = cluster.engines[0].is_busy
    cluster.run_for(600 * MILLISECOND)
    assert (was_busy, call.is_done) == (True, False)
    trouble.end()
    cluster.run_for(SECOND)
    assert call.status == "ok"


@shows(LinkSlow)
def the_way_to_an_engine_and_back_takes_so_much_longer() -> None:
    cluster = cluster_of()
    client = cluster.client()
    cluster.begin(LinkSlow(place="engine-1", latency=100 * MILLISECOND))
    call = client.apply(Work(), cluster.engines[0])
    cluster.run_for(199 * MILLISECOND)
    assert not call.is_done
    cluster.run_for(5 * MILLISECOND)
    assert call.is_done


@shows(LinkSlow)
def what_a_narrow_way_takes_depends_on_how_much_it_is() -> None:
    cluster = cluster_of(is_encoded=True)
    client = cluster.client()
    cluster.begin(LinkSlow(place="client-1", latency=50_000, bandwidth=2_000))
    call = client.apply(Work(), cluster.engines[0])
    cluster.run_for(200 * MILLISECOND)
    assert not call.is_done
    cluster.run_for(3 * SECOND)
    assert call.is_done


@shows(LinkSlow)
def what_a_lossy_way_loses_is_sent_again() -> None:
    cluster = cluster_of()
    client = cluster.client()
    cluster.begin(LinkSlow(place="client-1", latency=50_000, loss=0.5))
    calls = [client.apply(Work(), cluster.engines[0]) for _ in range(20)]
    cluster.run_for(MOMENT)
    assert not all(call.is_done for call in calls)
    cluster.run_for(10 * SECOND)
    assert [call.status for call in calls] == ["ok"] * 20


def connections(cluster: VirtualCluster) -> list[int]:
    """How often each connection of the first client was made."""
    return [session.epoch for session in cluster.clients[0].process.context.sessions]


@shows(Cut)
def between_messages_a_connection_breaks_and_loses_none() -> None:
    cluster = cluster_of()
    client = cluster.client()
    before, call = connections(cluster), client.apply(Work(), cluster.engines[0])
    trouble = cluster.begin(Cut(who="client-1", where="between"))
    assert not trouble.taken
    cluster.run_for(SECOND)
    assert all(now > then for then, now in zip(before, connections(cluster), strict=True))
    # The request has arrived; the answer was for a connection that is gone.
    assert [entry[2:] for entry in trouble.taken if entry[4]][:1] == [
        ("apply_reply", *trouble.taken[0][3:4], call.msg_id)
    ]


@shows(Cut)
def within_a_message_none_of_it_arrives() -> None:
    cluster = cluster_of(has_trace=True)
    client = cluster.client()
    call = client.apply(Work(), cluster.engines[0])
    trouble = cluster.begin(Cut(who="client-1", where="within"))
    cluster.run_for(SECOND)
    assert {entry[2:4] for entry in trouble.taken} == {("apply_request", call.msg_id)}
    assert not call.is_done


@shows(Cut)
def while_they_greet_connections_break_again() -> None:
    usual, greeting = (tries(where) for where in ("between", "greeting"))
    assert all(more > once for once, more in zip(usual, greeting, strict=True))


def tries(where: Any) -> list[int]:
    """How often each connection of a client is made when all of them are cut."""
    cluster = cluster_of()
    cluster.client()
    cluster.begin(Cut(who="client-1", where=where))
    cluster.run_for(SECOND)
    return connections(cluster)


# -- messages ----------------------------------------------------------------------------------------------------------


@shows(Dropped)
def a_message_that_is_dropped_is_never_answered() -> None:
    cluster = cluster_of()
    client = cluster.client()
    cluster.begin(Dropped(source="client-1/", at_most=1))
    lost, other = client.submit(Work()), client.submit(Work())
    cluster.run_for(SECOND)
    assert (lost.is_done, other.is_done) == (False, True)


@shows(Delayed)
def a_message_that_is_late_is_overtaken() -> None:
    cluster = cluster_of()
    client = cluster.client()
    cluster.begin(Delayed(source="client-1/", at_most=1, delay=SECOND))
    late, other = client.apply(Work(), cluster.engines[0]), client.apply(Work(), cluster.engines[0])
    cluster.run_until(lambda: other.is_done, cluster.now + SECOND)
    assert (late.is_done, other.is_done) == (False, True)
    cluster.run_for(DEATH)
    assert late.status == "ok"


@shows(Doubled)
def a_message_that_comes_twice_is_refused_once() -> None:
    cluster = cluster_of(has_trace=True)
    client = cluster.client()
    cluster.begin(Doubled(source="client-1/"))
    printed = client.execute(Work(prints=1), cluster.engines[0])
    cluster.run_for(SECOND)
    assert printed.output == "line 0\n"
    assert "wire.replay-refused" in refusals(cluster)


def damaged(kind: str) -> Look:
    """A look at one way to damage frames."""

    def what_was_damaged_is_not_what_was_sent() -> None:
        cluster = cluster_of(has_trace=True)
        client = cluster.client()
        trouble = cluster.begin(Damaged(source="client-1/", target="mux/", msg_type="apply_request", kind=kind))
        calls = [client.apply(Work(), cluster.engines[0]) for _ in range(20)]
        cluster.run_for(SECOND)
        assert len(trouble.taken) == 20
        assert refusals(cluster) or not all(call.is_done for call in calls)

    return what_was_damaged_is_not_what_was_sent


for each in ON_THE_WAY:
    shows(Damaged)(damaged(each))

"""What strangers do: engines and hearts that lack something, and whoever sends what is no use to anybody."""

from typing import Any

from fault_looks import MOMENT, Look, cluster_of, hub_of, refusals, shows

from protocol.world import SECOND, Work
from simulator.faults import Flood, Garbage, Nonsense, OddEngine, OddHeart, Replays


@shows(OddEngine)
def without_a_heart_it_is_never_listed() -> None:
    cluster = cluster_of()
    cluster.begin(OddEngine(lacks="heart"))
    cluster.run_for(SECOND)
    assert len(hub_of(cluster).engines.by_uuid) == 2
    assert len(cluster.registered) == 1


@shows(OddEngine)
def a_heart_that_did_not_subscribe_never_beats() -> None:
    cluster = cluster_of()
    cluster.begin(OddEngine(lacks="subscription"))
    cluster.run_for(SECOND)
    assert len(hub_of(cluster).engines.by_uuid) == 2
    assert len(cluster.registered) == 1


def unanswered(lacks: Any) -> Look:
    """A look at an engine that is listed and answers nothing."""

    def what_is_sent_to_it_is_not_answered() -> None:
        cluster = cluster_of(engines=0)
        client = cluster.client()
        cluster.begin(OddEngine(lacks=lacks))
        cluster.run_for(SECOND)
        (uuid,) = cluster.registered.values()
        call = client.apply(Work(), uuid)
        cluster.run_for(SECOND)
        assert not call.is_done

    return what_is_sent_to_it_is_not_answered


for lack in ("shell", "control", "reading"):
    shows(OddEngine)(unanswered(lack))


@shows(OddEngine)
def answers_without_sense_are_no_answers() -> None:
    cluster = cluster_of(engines=0, has_trace=True)
    client = cluster.client()
    cluster.begin(OddEngine(lacks="sense"))
    cluster.run_for(SECOND)
    (uuid,) = cluster.registered.values()
    calls = [client.apply(Work(), uuid) for _ in range(20)]
    cluster.run_for(SECOND)
    trace = cluster.world.trace
    assert trace is not None
    assert len([entry for entry in trace.entries if entry[1:4] == ("mux", "took", "out")]) >= 10
    assert not all(call.status == "ok" for call in calls)


@shows(OddHeart)
def a_name_that_is_no_text_is_remembered_by_nobody() -> None:
    cluster = cluster_of()
    cluster.begin(OddHeart())
    cluster.run_for(SECOND)
    assert cluster.world.marks["heartmonitor.nameless-heart"] > 0
    assert cluster.world.marks["heartmonitor.malformed-pong"] > 0
    assert len(cluster.registered) == 1


@shows(Flood)
def a_thousand_registrations_come_at_once() -> None:
    cluster = cluster_of()
    cluster.begin(Flood(count=1000))
    cluster.run_for(MOMENT)
    assert len(hub_of(cluster).engines.by_uuid) == 1001
    cluster.run_for(5 * SECOND)
    assert list(hub_of(cluster).engines.by_uuid) == ["engine-1"]


@shows(Garbage)
def what_is_no_message_and_what_is_forged_is_refused() -> None:
    cluster = cluster_of(has_trace=True)
    cluster.begin(Garbage(count=100))
    cluster.run_for(SECOND)
    assert {"wire.delimiter-present", "wire.signature-verified"} <= refusals(cluster)


@shows(Nonsense)
def who_holds_the_key_and_makes_no_sense_is_found_out() -> None:
    cluster = cluster_of(has_trace=True)
    cluster.begin(Nonsense(count=100))
    cluster.run_for(SECOND)
    assert {"hub.request-repeated", "task.unknown-type", "relay.unaddressed", "broadcast.refused"} <= set(
        cluster.world.marks
    )
    assert "wire.parts-readable" in refusals(cluster)


@shows(Replays)
def what_was_sent_once_is_refused_the_second_time() -> None:
    cluster = cluster_of(has_trace=True)
    client = cluster.client()
    cluster.begin(Replays(share=1.0))
    printed = client.execute(Work(prints=1), cluster.engines[0])
    cluster.run_for(SECOND)
    assert printed.output == "line 0\n"
    assert "wire.replay-refused" in refusals(cluster)

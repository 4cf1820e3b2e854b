"""Damage of the kit's own is not blamed on the relay that passed it; what a relay damages itself is."""

from protocol.errors import ProtocolError
from protocol.rules import Judge, rules_for
from protocol.wire import DELIMITER
from protocol.world import Direction, Observation

SENT = (b"engine-a", b"garbage", b"more of it")


def seen(seq: int, direction: Direction, frames: tuple[bytes, ...], *, why: str | None = None) -> Observation:
    return Observation(
        seq=seq, now=seq, observer="kit", socket=f"{direction}/mux", channel="mux", direction=direction,
        peer="the target", frames=frames, message=None, error=ProtocolError(), why=why,
    )  # fmt: skip


def accused(*items: Observation) -> set[str]:
    judge = Judge(rules_for("ipyparallel-9"))
    return {violation.requirement for item in items for violation in judge.observe(item)}


def test_what_a_relay_passes_of_our_damage_is_ours() -> None:
    passed = (b"mux_out", b"client", *SENT[1:])
    assert accused(seen(0, "sent", SENT, why="garbage"), seen(1, "received", passed)) == set()


def test_what_nobody_sent_is_the_relays() -> None:
    other = (b"mux_out", b"client", b"garbage", b"of its own")
    assert "wire.delimiter-present" in accused(seen(0, "sent", SENT, why="garbage"), seen(1, "received", other))


def test_damage_on_one_channel_excuses_nothing_on_another() -> None:
    sent = seen(0, "sent", SENT, why="garbage")
    elsewhere = Observation(
        seq=1, now=1, observer="kit", socket="kit/query", channel="query", direction="received", peer="the target",
        frames=SENT[1:], message=None, error=ProtocolError(), why=None,
    )  # fmt: skip
    assert "wire.delimiter-present" in accused(sent, elsewhere)


def test_a_short_message_passed_on_keeps_its_delimiter_out_of_the_count() -> None:
    cut = (b"engine-a", DELIMITER, b"0" * 64, b"{}")
    assert accused(seen(0, "sent", cut, why="cut"), seen(1, "received", (b"mux_out", b"client", *cut[1:]))) == set()
    assert "wire.all-parts-present" in accused(seen(0, "received", (b"mux_out", b"client", *cut[1:])))

"""Messages that are handed over at once are those that a thread sees which polls and receives all the time."""

import random
from typing import Any

import pytest
from socket_world import MS, Sockets

from simulator.sockets import Socket

PARTNER = {"ROUTER": "DEALER", "SUB": "PUB", "DEALER": "ROUTER", "XSUB": "XPUB", "REP": "DEALER"}


def conversation(kind: str, seed: int, *, is_pushed: bool, mark: int = 0) -> tuple[list[Any], list[int]]:
    """What a receiver sees of three senders that come, talk and go, one of them twice; and what the senders kept."""
    chance = random.Random(seed)
    world = Sockets(seed=seed, wire_capacity=4)
    for number in range(3):
        world.network.join("a", f"s{number}", jitter=40_000 * number)
    receiver = world.new(kind, "a", bind="tcp://a:1", RCVHWM=mark, **({"ROUTING_ID": b"r"} if kind == "DEALER" else {}))
    if kind in ("SUB", "XSUB"):
        receiver.set("SUBSCRIBE", b"x") if kind == "SUB" else receiver.send((b"\1x",))
    seen: list[Any] = []

    def drain() -> None:
        while isinstance(message := receiver.recv(), tuple):
            seen.append(message)

    receiver.watch(drain)
    drain()
    if is_pushed:
        receiver.listen(seen.append)
    senders: dict[int, Socket] = {}
    kept = [0, 0, 0]
    for step in range(300):
        number = int(chance.random() * 3)
        sender = senders.get(number)
        if sender is None or chance.random() < 0.02:
            if sender is not None:
                sender.close(0)
            options: dict[str, int | bytes] = {"SNDHWM": mark, "LINGER": 0}
            if PARTNER[kind] == "DEALER":
                options["ROUTING_ID"] = b"s%d-%d" % (number, step)
            senders[number] = world.new(PARTNER[kind], f"s{number}", connect="tcp://a:1", **options)
        else:
            first = (b"x", b"y")[chance.random() < 0.3]
            load = (first, b"%d" % step) if kind != "DEALER" else (b"r", first, b"%d" % step)
            if kind == "REP":
                load = (b"", *load)
            kept[number] += sender.send(load) is not None
        world.settle(int(chance.random() * MS))
    world.settle()
    return seen, kept


@pytest.mark.parametrize("mark", [0, 3])
@pytest.mark.parametrize("kind", PARTNER)
def test_pushed_is_what_would_be_polled(kind: str, mark: int) -> None:
    for seed in range(5):
        polled, pushed = (conversation(kind, seed, is_pushed=how, mark=mark) for how in (False, True))
        assert pushed == polled
        assert len(polled[0]) > (0 if kind == "REP" else 50)


def test_who_stops_listening_finds_everything_in_the_socket() -> None:
    world = Sockets()
    seen: list[Any] = []
    receiver = world.new("ROUTER", "a", bind="tcp://a:1")
    sender = world.new("DEALER", "b", connect="tcp://a:1", ROUTING_ID=b"b")
    world.settle()
    receiver.recv()
    receiver.listen(seen.append)
    sender.send((b"1",))
    world.settle()
    receiver.listen(None)
    sender.send((b"2",))
    sender.send((b"3",))
    world.settle()
    assert seen == [(b"b", b"1")]
    assert [receiver.recv(), receiver.recv()] == [(b"b", b"2"), (b"b", b"3")]


def test_a_publisher_hands_over_no_subscriptions() -> None:
    world = Sockets()
    seen: list[Any] = []
    publisher = world.new("PUB", "a", bind="tcp://a:1")
    publisher.listen(seen.append)
    subscriber = world.new("SUB", "b", connect="tcp://a:1", SUBSCRIBE=b"")
    world.settle()
    publisher.send((b"heard",))
    world.settle()
    assert seen == []
    assert subscriber.recv() == (b"heard",)

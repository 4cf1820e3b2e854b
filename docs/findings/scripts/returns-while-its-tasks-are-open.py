import time

from raw import Cluster, Engine, Heart, Peer, client, conclude


def lists(name):
    return name in hub.ask("connection_request").content["engines"].values()


def wait(is_listed):
    deadline = time.monotonic() + 20
    while lists("engine-a") != is_listed:
        assert time.monotonic() < deadline, "the Hub does not notice"
        time.sleep(0.05)


with Cluster() as cluster:
    engine = Engine(cluster, "engine-a")
    tasks, hub = client(cluster, "task"), Peer(cluster, "query")
    tasks.send("apply_request", {}, buffers=[b"f", b"args"])
    taken = engine.take()
    engine.heart.stop()
    for peer in (engine.query, engine.shell):
        peer.socket.close()
    wait(is_listed=False)
    print("  engine-a has died with the task, and is listed no more; it comes back under its name")
    again = Engine(cluster, "engine-a")
    answer = tasks.receive(15)
    print("  another engine is registered, and another task is submitted")
    other = Engine(cluster, "engine-b")
    tasks.send("apply_request", {}, buffers=[b"f", b"args"])
    is_given = again.take() is not None or other.take() is not None
    is_over = taken is not None and answer is None and not is_given

with Cluster("--TaskScheduler.hwm=0") as cluster:
    engine = Engine(cluster, "engine-a")
    tasks, hub = client(cluster, "task"), Peer(cluster, "query")
    first = tasks.send("apply_request", {}, buffers=[b"f", b"args"])["msg_id"]
    taken = engine.take()
    tasks.send("apply_request", {}, metadata={"after": [first]}, buffers=[b"f", b"args"])
    engine.heart.stop()
    wait(is_listed=False)
    engine.query.ask("registration_request", {"uuid": "engine-a"})
    engine.heart = Heart(cluster, engine.name)
    wait(is_listed=True)
    print("  engine-a was not heard for a moment, and is listed again; it is given another task, and answers the first")
    second = tasks.send("apply_request", {}, buffers=[b"f", b"args"])["msg_id"]
    engine.take()
    engine.answer(taken)
    replied = tasks.receive()
    print("  what waited for the first is not given to it; the second, which it has, is told to have died with it")
    dependent = engine.take(4)
    died = tasks.receive(5)
    print("  it is given a third task, on which a fourth depends, and answers it")
    third = tasks.send("apply_request", {}, buffers=[b"f", b"args"])["msg_id"]
    taken = engine.take()
    tasks.send("apply_request", {}, metadata={"after": [third]}, buffers=[b"f", b"args"])
    engine.answer(taken)
    last = tasks.receive()
    is_unentered = replied is not None and replied.parent["msg_id"] == first and dependent is None
    is_false = died is not None and died.parent["msg_id"] == second and died.content["ename"] == "EngineError"
    is_without_end = last is not None and last.parent["msg_id"] == third and engine.take(5) is None
    conclude(
        is_over and is_unentered and is_false and is_without_end,
        "a task whose engine came back without it is never answered, and no engine is given any task any more; where there "
        "is no limit, what waits for results of that engine is never run, and of a task that it has it is said to have died",
    )

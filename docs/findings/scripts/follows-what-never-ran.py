from raw import Cluster, Engine, Peer, client, conclude


def after(*msg_ids):
    return {"dependencies": msg_ids, "success": True, "failure": True, "all": True}


with Cluster() as cluster:
    a, b, tasks = Engine(cluster, "engine-a"), Engine(cluster, "engine-b"), client(cluster, "task")
    first = tasks.send("apply_request", {}, metadata={"targets": ["engine-a"]}, buffers=[b"f", b"args"])["msg_id"]
    a.answer(a.take())
    tasks.receive()
    second = tasks.send("apply_request", {}, metadata={"targets": ["engine-b"]}, buffers=[b"f", b"args"])["msg_id"]
    request = b.take()
    # Two engines have what it follows, so that it can run nowhere.
    refused = tasks.send("apply_request", {}, metadata={"follow": [first, second]}, buffers=[b"f", b"args"])["msg_id"]
    last = tasks.send("apply_request", {}, metadata={"follow": after(refused)}, buffers=[b"f", b"args"])["msg_id"]
    tasks.receive(1)
    b.answer(request)
    answered = {tasks.receive().parent["msg_id"] for _ in range(2)}
    is_silent = tasks.receive(3) is None
    listed = Peer(cluster, "query", is_quiet=False).ask("result_request", {"msg_ids": [second], "status_only": True})
    conclude(
        answered == {second, refused} and last not in answered and is_silent and listed.content["pending"] == [second],
        "a task that follows one which was refused is never answered, and the Hub never has the result that came then",
    )

from raw import Cluster, Engine, client, conclude

with Cluster() as cluster:
    engine = Engine(cluster, "engine-a")
    tasks = client(cluster, "task")
    refused = tasks.ask("apply_request", {}, metadata={"after": ["no-such-task"]}, buffers=[b"f", b"args"])
    follow = {"dependencies": [refused.parent["msg_id"]], "success": True, "failure": True, "all": True}
    tasks.send("apply_request", {}, metadata={"follow": follow}, buffers=[b"f", b"args"])
    is_given = engine.take() is not None
    is_answered = tasks.receive() is not None
    tasks.send("apply_request", {}, buffers=[b"f", b"args"])
    engine.answer(engine.take())
    is_there = tasks.receive() is not None
    conclude(
        is_there and not is_given and not is_answered,
        "a task that follows one which was refused is neither run nor answered, while others are",
    )

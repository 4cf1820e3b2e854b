import importlib.util

from raw import Cluster, Engine, client, conclude

if importlib.util.find_spec("numpy"):
    raise SystemExit("numpy is installed here: this needs an environment without it")
with Cluster("--TaskScheduler.scheme_name=weighted") as cluster:
    engine, tasks = Engine(cluster), client(cluster, "task")
    tasks.send("apply_request", {}, metadata={"targets": [engine.uuid]}, buffers=[b"f", b"args"])
    conclude(engine.take(3) is None and tasks.receive(3) is None, "the task reaches nobody, and nobody is told")

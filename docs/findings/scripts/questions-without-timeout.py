import threading

from raw import Controller, conclude

with Controller() as controller:
    client = controller.client()
    threads = {
        name: threading.Thread(target=call, daemon=True)
        for name, call in {
            "queue_status": client.queue_status,
            "result_status": lambda: client.result_status(["m1"]),
            "hub_history": client.hub_history,
        }.items()
    }
    stuck = []
    for name, thread in threads.items():
        thread.start()
        thread.join(3)
        stuck += [name] if thread.is_alive() else []
    print(f"  not back after three seconds: {', '.join(stuck)}")
    conclude(len(stuck) == len(threads), "questions to a Hub that is silent never end, and take no timeout")

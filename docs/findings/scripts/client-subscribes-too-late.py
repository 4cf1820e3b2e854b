import threading
import time

import ipyparallel
from raw import Controller, conclude

with Controller() as controller:
    threading.Thread(target=lambda: ipyparallel.Client(str(controller.path), timeout=20), daemon=True).start()
    request = controller.hear("registration", 20)
    time.sleep(1)
    before = controller.sockets["notification"].poll(0)
    controller.answer("registration", request, {"status": "ok", "engines": controller.engines})
    after = controller.sockets["notification"].poll(5000)
    print(f"  subscribed one second after its request: {bool(before)}; after the reply: {bool(after)}")
    conclude(not before and after, "who registers between the question and the subscription is never known")

from raw import Controller, conclude

with Controller() as controller:
    client = controller.client()
    view = client[0]
    view.block = False
    result = view.execute("1")
    controller.hear("mux")
    controller.publish("notification", "shutdown_notification", {"status": "ok"})
    is_over = result.wait(4)
    conclude(not is_over, "the controller has said that it ends, and who waits for a result waits on")

import time

from raw import Controller, conclude

with Controller() as controller:
    client = controller.client()
    controller.publish("notification", "tomorrow_notification", {})
    time.sleep(0.5)
    controller.publish("notification", "registration_notification", {"id": 7, "uuid": "engine-b"})
    controller.publish("notification", "registration_notification", {"id": 8, "uuid": "engine-c"})
    time.sleep(3)
    print(f"  client.ids: {client.ids}")
    conclude(client.ids == [0], "after one message that it does not know, the client hears nothing more on that socket")

from raw import Kernel, conclude

with Kernel() as kernel:
    kernel.peer("control").send("kernel_info_request", {}, header={"msg_id": "odd", "msg_type": []})
    states = [
        message.content["execution_state"] for message in kernel.published(2) if message.parent.get("msg_id") == "odd"
    ]
    conclude(states == ["busy"], "a request whose type is no text makes the kernel busy, and never idle")

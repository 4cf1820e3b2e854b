from raw import Kernel, conclude

with Kernel() as kernel:
    shell = kernel.peer("shell")
    code = {"silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
    late = "import threading, time; threading.Thread(target=lambda: (time.sleep(0.5), print('late'))).start()"
    shell.ask("execute_request", code | {"code": late})
    other = shell.ask("execute_request", code | {"code": "1"})
    text = [
        message for message in kernel.published(2) if message.type == "stream" and "late" in message.content["text"]
    ]
    conclude(
        text and text[0].parent["msg_id"] == other.parent["msg_id"],
        "what a thread prints later belongs to another request",
    )

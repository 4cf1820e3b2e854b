from raw import Kernel, conclude

with Kernel() as kernel:
    content = {"type": "request", "seq": 8, "command": "commandOfTomorrow", "arguments": {}}
    reply = kernel.peer("control").ask("debug_request", content)
    conclude(reply.content == {}, "a debug request that nobody knows is answered with nothing in it")

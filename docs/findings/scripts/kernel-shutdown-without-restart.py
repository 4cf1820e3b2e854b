from raw import Kernel, conclude

with Kernel() as kernel:
    reply = kernel.peer("control").ask("shutdown_request", {}, seconds=4)
    conclude(reply is None and kernel.process.poll() is None, "a shutdown that says nothing of a restart is ignored")

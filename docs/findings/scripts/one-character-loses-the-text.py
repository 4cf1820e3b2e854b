from raw import Kernel, conclude

with Kernel() as kernel:
    code = {
        "code": "print('\\ud800after')",
        "silent": False,
        "store_history": True,
        "user_expressions": {},
        "allow_stdin": False,
    }
    reply = kernel.peer("shell").ask("execute_request", code)
    text = [message for message in kernel.published(2) if message.content.get("name") == "stdout"]
    conclude(
        reply.content["status"] == "ok" and not text, "text with a lone surrogate is lost, and all that waited with it"
    )

from raw import Kernel, conclude

with Kernel() as kernel:
    name, other = b"who-asked", b"somebody-else"
    shell, stdin, stranger = (
        kernel.peer("shell", identity=name),
        kernel.peer("stdin", identity=name),
        kernel.peer("stdin", identity=other),
    )
    code = {
        "code": "print('read:', input())",
        "silent": False,
        "store_history": True,
        "user_expressions": {},
        "allow_stdin": True,
    }
    shell.send("execute_request", code)
    stdin.receive(5)
    stranger.send("input_reply", {"value": "of a stranger"})
    text = "".join(message.content["text"] for message in kernel.published(2) if message.type == "stream")
    conclude("of a stranger" in text, "a line of a frontend that was not asked is read")

from raw import Kernel, conclude

with Kernel() as kernel:
    shell = kernel.peer("shell")
    silent = []
    for msg_type, content in (
        ("execute_request", {}),
        ("complete_request", {}),
        ("inspect_request", {}),
        ("history_request", {}),
        ("execute_request", []),
        ("complete_request", {"code": "name", "cursor_pos": 1000000}),
    ):
        silent.append(shell.ask(msg_type, content, seconds=1.5) is None)
    info = shell.ask("kernel_info_request", {})
    conclude(all(silent) and info is not None, "requests that lack a field, or have a wrong one, are never answered")

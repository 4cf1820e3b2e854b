"""A plain kernel of Python that shares nothing with ipykernel: `plain_kernel.py -f KERNEL_FILE`.

It is lean: no displays, comms, subshells or debugger. Code runs in the main thread, control has a thread of its own,
and heartbeats a device that needs no interpreter. `plain_kernel.toml` is its descriptor.
"""

import ast
import builtins
import codeop
import getpass
import itertools
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import zmq

from protocol.connection import KernelFile, parse
from protocol.errors import ProtocolError
from protocol.wire import Message, ReplayMemory

ABORTED = {"status": "aborted"}


class Refused(Exception):
    """A request that says something wrong."""


def wanted(content: dict[str, Any], **kinds: type) -> list[Any]:
    """The fields of a request that it cannot do without."""
    for name, kind in kinds.items():
        if not isinstance(content.get(name), kind) or (kind is int and isinstance(content[name], bool)):
            raise Refused(f"{name} is no {kind.__name__}")
    return [content[name] for name in kinds]


class Stream:
    """What code writes to, in place of standard output or standard error."""

    def __init__(self, kernel: "Kernel", name: str) -> None:
        self.kernel = kernel
        self.name = name

    def write(self, text: str) -> int:
        """Publish it; what cannot be encoded is replaced."""
        shown = text.encode(errors="replace").decode()
        self.kernel.publish("stream", {"name": self.name, "text": shown}, self.kernel.parent_of_thread())
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""


class Kernel:
    """The sockets, and what they are asked."""

    def __init__(self, file: KernelFile) -> None:
        self.file = file
        self.codec = file.codec(ReplayMemory())
        self.context = zmq.Context()
        # What echoes heartbeats runs until the process ends.
        self.hearts = zmq.Context()
        self.session = uuid4().hex
        self.lock = threading.Lock()
        self.numbers = itertools.count(1)
        self.namespace: dict[str, Any] = {"__name__": "__main__"}
        self.count = 1
        self.lines: list[tuple[int, str]] = []
        self.parents: dict[int, dict[str, Any]] = {}
        self.is_running = False
        self.is_ending = False
        self.asker: tuple[list[bytes], Message, bool] | None = None
        self.shell, self.control, self.stdin, self.iopub, self.heart = (
            self.bind(kind, key)
            for kind, key in (
                (zmq.ROUTER, "shell_port"), (zmq.ROUTER, "control_port"), (zmq.ROUTER, "stdin_port"),
                (zmq.PUB, "iopub_port"), (zmq.ROUTER, "hb_port"),
            )
        )  # fmt: skip

    def bind(self, kind: int, key: str) -> "zmq.Socket[bytes]":
        socket = (self.hearts if key == "hb_port" else self.context).socket(kind)
        socket.linger = 1000
        socket.set_hwm(0)
        if kind == zmq.ROUTER:
            socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        socket.bind(self.file.address(key))
        return socket

    # -- sending -----------------------------------------------------------------------------------------------------

    def message(self, msg_type: str, content: object, parent: object, identities: list[bytes]) -> Message:
        head = {
            "msg_id": f"{self.session}_{next(self.numbers)}", "msg_type": msg_type, "session": self.session,
            "username": "kernel", "date": datetime.now(UTC).isoformat(), "version": "5.4",
        }  # fmt: skip
        return Message(head, parent_header=parent, content=content, identities=identities)

    def send(self, socket: "zmq.Socket[bytes]", message: Message) -> None:
        socket.send_multipart([bytes(frame) for frame in self.codec.encode(message)])

    def publish(self, msg_type: str, content: object, parent: object) -> None:
        with self.lock:
            self.send(self.iopub, self.message(msg_type, content, parent, [msg_type.encode()]))

    def status(self, state: str, parent: object) -> None:
        self.publish("status", {"execution_state": state}, parent)

    def parent_of_thread(self) -> object:
        """The request for which this thread runs: its own, or that of the thread by which it was started."""
        return self.parents.get(threading.get_ident()) or getattr(threading.current_thread(), "parent", {})

    # -- requests ----------------------------------------------------------------------------------------------------

    def serve(self, socket: "zmq.Socket[bytes]", frames: list[bytes], *, is_aborting: bool = False) -> bool:
        """Handle one multipart; whether what waits behind it is to be aborted."""
        try:
            # Parent and metadata stay unread: nothing here depends on them.
            request = self.codec.open_header(frames)
        except ProtocolError:
            return False
        kind, content = request.msg_type, {}
        self.status("busy", request.header)
        handler: Callable[..., dict[str, Any]] | None = getattr(self, f"on_{kind}", None)
        if is_aborting and kind == "execute_request":
            reply = ABORTED
        elif handler is not None:
            try:
                content = request.content
                reply = handler(content, request)
            except Exception as error:  # whatever a request says, it is answered
                reply = {"status": "error", "ename": type(error).__name__, "evalue": str(error), "traceback": []}
        if handler is not None:
            to = [bytes(each) for each in request.identities]
            self.send(socket, self.message(kind.replace("_request", "_reply"), reply, request.header, to))
        self.status("idle", request.header)
        has_failed = kind == "execute_request" and reply["status"] == "error"
        return has_failed and content.get("stop_on_error", True) and not content.get("silent", False)

    def on_kernel_info_request(self, _: dict[str, Any], __: Message) -> dict[str, Any]:
        return {
            "status": "ok", "protocol_version": "5.4", "implementation": "plain", "implementation_version": "1",
            "banner": "a plain kernel", "language_info": {
                "name": "python", "version": sys.version.split()[0], "mimetype": "text/x-python",
                "file_extension": ".py",
            },
        }  # fmt: skip

    def on_connect_request(self, _: dict[str, Any], __: Message) -> dict[str, Any]:
        return {"status": "ok"} | {key: getattr(self.file, key) for key in self.file.ports}

    def on_interrupt_request(self, _: dict[str, Any], __: Message) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGINT)
        return {"status": "ok"}

    def on_shutdown_request(self, content: dict[str, Any], _: Message) -> dict[str, Any]:
        self.is_ending = True
        return {"status": "ok", "restart": bool(content.get("restart", False))}

    def on_complete_request(self, content: dict[str, Any], _: Message) -> dict[str, Any]:
        code, cursor = wanted(content, code=str, cursor_pos=int)
        word, end = self.word_before(code, cursor)
        matches = sorted(name for name in {*self.namespace, *dir(builtins)} if name.startswith(word)) if word else []
        return {"status": "ok", "matches": matches, "cursor_start": end - len(word), "cursor_end": end, "metadata": {}}

    def on_inspect_request(self, content: dict[str, Any], _: Message) -> dict[str, Any]:
        word, _end = self.word_before(*wanted(content, code=str, cursor_pos=int))
        found = word in self.namespace
        data = {"text/plain": repr(self.namespace[word])} if found else {}
        return {"status": "ok", "found": found, "data": data, "metadata": {}}

    @staticmethod
    def word_before(code: str, cursor: int) -> tuple[str, int]:
        end = min(max(cursor, 0), len(code))
        start = end
        while start and (code[start - 1].isalnum() or code[start - 1] == "_"):
            start -= 1
        return code[start:end], end

    def on_is_complete_request(self, content: dict[str, Any], _: Message) -> dict[str, Any]:
        (code,) = wanted(content, code=str)
        try:
            made = codeop.compile_command(code, symbol="exec")
        except (SyntaxError, ValueError, OverflowError):
            return {"status": "invalid"}
        return {"status": "complete"} if made else {"status": "incomplete", "indent": "    "}

    def on_history_request(self, content: dict[str, Any], _: Message) -> dict[str, Any]:
        how, output = wanted(content, hist_access_type=str, output=bool)
        lines = self.lines
        if how == "tail":
            lines = lines[-wanted(content, n=int)[0] :]
        elif how == "range":
            start, stop = wanted(content, start=int, stop=int)
            lines = [line for line in lines if start <= line[0] < stop]
        else:
            (pattern,) = wanted(content, pattern=str)
            lines = [line for line in lines if pattern.strip("*") in line[1]]
        return {"status": "ok", "history": [[1, n, [code, None] if output else code] for n, code in lines]}

    # -- code --------------------------------------------------------------------------------------------------------

    def on_execute_request(self, content: dict[str, Any], request: Message) -> dict[str, Any]:
        (code,) = wanted(content, code=str)
        is_silent = content.get("silent", False)
        is_kept = content.get("store_history", True) and not is_silent and bool(code.strip())
        number, parent = self.count, request.header
        self.count += is_kept
        if is_kept:
            self.lines.append((number, code))
        if not is_silent:
            self.publish("execute_input", {"code": code, "execution_count": number}, parent)
        self.asker = ([bytes(each) for each in request.identities], request, content.get("allow_stdin", False))
        self.parents[threading.get_ident()] = parent
        try:
            self.is_running = True
            value = self.run(code)
            results = {key: self.shown(text) for key, text in content.get("user_expressions", {}).items()}
            if value is not None and not is_silent:
                data = {"data": {"text/plain": repr(value)}, "metadata": {}, "execution_count": number}
                self.publish("execute_result", data, parent)
        except BaseException as error:  # what code raises, the end of the process included, is its own
            told = self.told(error)
            self.publish("error", told, parent)
            return told | {"status": "error", "execution_count": number}
        finally:
            self.is_running = False
            self.asker = None
        return {"status": "ok", "execution_count": number, "user_expressions": results}

    def run(self, code: str) -> object:
        """Run all statements; the value of the last one, if it is an expression."""
        tree = ast.parse(code)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "<cell>", "exec"), self.namespace)
        if last is None:
            return None
        return eval(compile(ast.Expression(last.value), "<cell>", "eval"), self.namespace)  # type: ignore[attr-defined]

    def shown(self, expression: str) -> dict[str, Any]:
        try:
            value = eval(expression, self.namespace)
        except Exception as error:  # one expression that fails leaves the others alone
            return self.told(error) | {"status": "error"}
        return {"status": "ok", "data": {"text/plain": repr(value)}, "metadata": {}}

    @staticmethod
    def told(error: BaseException) -> dict[str, Any]:
        return {"ename": type(error).__name__, "evalue": str(error), "traceback": traceback.format_exception(error)}

    # -- input -------------------------------------------------------------------------------------------------------

    def ask(self, prompt: object = "", *, is_hidden: bool = False) -> str:
        """What `input` and `getpass` do: ask the frontend whose request runs."""
        assert self.asker is not None
        identities, request, is_allowed = self.asker
        if not is_allowed:
            raise RuntimeError("this frontend cannot be asked")
        while self.stdin.poll(0):
            self.stdin.recv_multipart()
        content = {"prompt": str(prompt), "password": is_hidden}
        asked = self.message("input_request", content, request.header, identities[:1])
        self.send(self.stdin, asked)
        while True:
            if not self.stdin.poll(20):
                continue
            got = self.stdin.recv_multipart()
            try:
                reply = self.codec.open(got)
                value = reply.content.get("value")
            except ProtocolError:
                continue
            is_answer = reply.msg_type == "input_reply" and reply.parent_header.get("msg_id") == asked.msg_id
            if is_answer and isinstance(value, str) and [bytes(each) for each in reply.identities] == identities[:1]:
                if value == "\x04":
                    raise EOFError
                return value

    # -- the loops ---------------------------------------------------------------------------------------------------

    def interrupted(self, *_: object) -> None:
        """SIGINT: an end of the code that runs; nothing else is disturbed."""
        if self.is_running:
            raise KeyboardInterrupt

    def serve_control(self) -> None:
        """Control, in its own thread."""
        while not self.is_ending:
            if self.control.poll(20):
                self.serve(self.control, self.control.recv_multipart())
        self.control.close()

    def serve_shell(self) -> None:
        """Shell, in the main thread, until the kernel ends."""
        while not self.is_ending:
            if not self.shell.poll(20):
                continue
            if self.serve(self.shell, self.shell.recv_multipart()):
                # What waits by now is aborted; what comes while that happens is not.
                for frames in list(self.waiting()):
                    self.serve(self.shell, frames, is_aborting=True)

    def waiting(self) -> Iterator[list[bytes]]:
        """What has come on shell and was not looked at yet."""
        while self.shell.poll(0):
            yield self.shell.recv_multipart()


class Child(threading.Thread):
    """A thread that remembers for which request it was started."""

    kernel: Kernel

    def start(self) -> None:
        """Remember, and start."""
        self.parent = self.kernel.parent_of_thread()
        super().start()


def main() -> None:
    """Serve until a shutdown_request."""
    kernel = Kernel(parse(Path(sys.argv[2]).read_bytes(), KernelFile))
    signal.signal(signal.SIGINT, kernel.interrupted)
    control = threading.Thread(target=kernel.serve_control)
    control.start()
    threading.Thread(target=lambda: zmq.proxy(kernel.heart, kernel.heart), daemon=True).start()
    Child.kernel = kernel
    threading.Thread = Child  # type: ignore[misc]
    getpass.getpass = lambda prompt="", *_, **__: kernel.ask(prompt, is_hidden=True)
    kernel.namespace["input"] = kernel.ask
    sys.stdout, sys.stderr = Stream(kernel, "stdout"), Stream(kernel, "stderr")  # type: ignore[assignment]
    kernel.status("starting", {})
    kernel.serve_shell()
    control.join()
    for socket in (kernel.shell, kernel.stdin, kernel.iopub):
        socket.close()
    # Waits until what was sent last has gone; threads that code has left behind do not hold the kernel.
    kernel.context.term()
    os._exit(0)


if __name__ == "__main__":
    main()

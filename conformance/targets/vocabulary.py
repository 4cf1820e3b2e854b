"""The words that a descriptor may use: roles, features, options. What is not here is a typo.

Each role has features of its own. Cases name them in `needs`, and a target that does not declare one is not judged by
those cases.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

from protocol.patterns import CONTROLLER, ENGINE
from protocol.rules import setting

Role = setting.Role
Dialect = Literal["ipython-0.1x", "documented", "ipyparallel-9"]

#: Whose requirements a target of each role has to keep, as the registry names them.
ROLES: Final[Mapping[Role, frozenset[str]]] = {
    "controller": CONTROLLER | {"controller"},
    "engine": frozenset(ENGINE),
    "client": frozenset({"client"}),
    "kernel": frozenset({"kernel"}),
}

#: The name of the connection file that the kit writes for a target of a role, and by which a command asks for its path.
FILES: Final[Mapping[Role, str]] = {
    "engine": "ipcontroller-engine.json",
    "client": "ipcontroller-client.json",
    "kernel": "kernel.json",
}

#: The roles that run code, so that samples of it are of use.
RUN_CODE: Final[frozenset[Role]] = frozenset({"engine", "kernel"})

#: What a target of each role may have or lack. Cases name these words in `needs`; a target without one is not judged
#: by them.
FEATURES: Final[Mapping[Role, Mapping[str, str]]] = {
    "controller": {
        "queue": "queue_request and load_request",
        "results": "result_request",
        "purge": "purge_request",
        "db": "db_request with keys and operators",
        "history": "history_request",
        "resubmit": "resubmit_request",
        "dask": "become_dask_request and stop_distributed_request",
        "shutdown": "shutdown_request to the hub ends the whole controller",
        "requested-ids": "an engine may ask for its id when it registers",
        "mux": "the MUX queue",
        "tasks": "the task queue with dependencies and retries",
        "control": "the control queue",
        "iopub": "the IOPub queue",
        "broadcast": "the broadcast tree",
        "hub-process": "the Hub, which listens at the registration port, is a process without any of the queues",
    },
    "engine": {
        "apply": "apply_request, with functions of Python that are pickled by reference",
        "dependencies": "a call that raises ipyparallel's UnmetDependency is refused as such",
        "output": "what code writes, shows and raises is published on IOPub",
        "clear": "clear_request",
        "abort": "abort_request",
        "signal": "signal_request",
        "kernel-info": "kernel_info_request and is_complete_request, as a kernel answers them",
        "tasks": "requests through the task queue",
        "broadcast": "requests through the broadcast tree",
        "watch": "it ends by itself when the pings of its controller stop",
    },
    "client": {
        "execute": "it has code executed",
        "apply": "it has functions of Python called",
        "tasks": "it sends calls through the task queue, with what steers them",
        "broadcast": "it sends calls through the broadcast tree",
        "output": "it gives what was written for a request",
        "queue": "it asks the Hub what engines have to do",
        "results": "it asks the Hub which requests are done",
        "purge": "it has the Hub forget requests",
        "resubmit": "it has the Hub send requests again",
        "history": "it asks the Hub for all requests",
        "db": "it has the Hub look up records",
        "abort": "it takes back what waits at engines",
        "clear": "it has engines forget all names",
        "signal": "it has engines sent a signal",
        "shutdown": "it ends engines and the controller",
    },
    "kernel": {
        "stdin": "code can ask the frontend that sent it for a line",
        "expressions": "user_expressions of an execute_request",
        "display": "code can show, update and clear what frontends display",
        "complete": "complete_request",
        "inspect": "inspect_request",
        "history": "history_request",
        "is-complete": "is_complete_request",
        "connect": "connect_request",
        "comm-info": "comm_info_request",
        "comms": "comm_open, comm_msg and comm_close",
        "interrupt": "interrupt_request ends what is running",
        "sigint": "SIGINT ends what is running, as kernels are interrupted unless their kernelspec says `message`",
        "subshells": "requests that name a subshell run beside the main shell",
        "debugger": "debug_request",
        "welcome": "iopub_welcome says when a subscription is effective",
    },
}

#: What a case may ask of a controller of its own, and what the arguments of that option must bring about. A target
#: without an option is not judged by the cases that need it set.
OPTIONS: Final[Mapping[str, str]] = {
    "scheme": "the task scheduler chooses by `{scheme}`: leastload, lru, plainrandom, twobin, weighted or pure",
    "hwm": "an engine has at most `{hwm}` tasks at a time; 0 means any number",
    "broadcast_depth": "the broadcast tree has `{broadcast_depth}` levels below its root, each node with two branches",
    "curve": "everything is encrypted with CURVE",
    "signature_scheme": "messages are signed as `{signature_scheme}` says, such as hmac-sha512",
    "empty_key": "the key is empty, and messages are not signed",
    "database": "records are kept on disk, and are there for a controller that is started again in the same directory",
    "no_database": "no records are kept",
    "record_limit": "at most `{record_limit}` records are kept, the latest ones",
    "remembered": "of `{remembered}` finished tasks the outcome is kept, for tasks that depend on them",
    "restore": "started in the directory of a controller that was killed, it goes on with its addresses and engines",
}

#: What a scenario may ask of an engine, likewise.
ENGINE_OPTIONS: Final[Mapping[str, str]] = {
    "uuid": "it calls itself `{uuid}`, whenever it is started",
    "no_warden": "no second process watches it and tells of its end",
    "refresh": "after `{refresh}` looks at its controller's pings it asks to be registered again in any case",
}

#: No settings: a target runs as its descriptor says.
AS_IT_IS: Final[Mapping[str, object]] = MappingProxyType({})

#: What the kit has to be able to write into each sample.
SLOTS: Final[Mapping[str, str]] = {
    "print": "text", "stderr": "text", "sleep": "seconds", "value": "text", "many_lines": "count",
    "hold_interpreter": "seconds", "input": "text", "publish": "name", "define": "name", "recall": "name",
    "busy": "seconds",
    "read_line": "text", "password": "text", "display": "text", "display_as": "text", "update_display": "text",
    "background": "text", "unencodable": "text", "undecodable": "text", "comm_target": "name",
}  # fmt: skip

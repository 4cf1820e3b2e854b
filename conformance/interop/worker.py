"""The process of the client: `python -m conformance.interop.worker KIND FILE DIRECTORY COUNT PATIENCE`.

One JSON object per line. From the bench: `{"run": NAME}` runs an ability, `{"settle": COUNT}` waits until the client
sees so many engines; both are answered with `{"failure": null}` or what went wrong. While an ability runs, it may ask
the bench: `{"ask": NAME}`, answered with `{"answer": true}` or false. What libraries print goes to standard error.

`{"end": true}` ends the process, whatever it is doing. So does the end of standard input, which means that the bench
was killed; then the process also removes the directory that the bench could not.
"""

import json
import os
import queue
import shutil
import sys
import threading
import traceback
from pathlib import Path
from typing import IO, Any

import msgspec

from conformance.interop.ability import Absent, Broken, Failure
from conformance.interop.rows import DEPLOYMENTS, TABLES
from conformance.reference.client import RemoteError, Silence


def main(kind: str, file: str, directory: str, count: str, patience: str) -> None:
    """Serve until the bench is gone."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    lines: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(lines, Path(file).parent), name="bench", daemon=True).start()

    def ask(name: str) -> bool:
        _say(out, {"ask": name})
        return bool(lines.get()["answer"])

    deployment: Any = None
    while True:
        line = lines.get()
        failure = None
        try:
            if deployment is None:
                deployment = DEPLOYMENTS[kind](Path(directory), int(count), float(patience), Path(file), ask)
            if "settle" in line:
                deployment.settle(line["settle"])
            else:
                TABLES[kind][line["run"]].run(deployment)
        except Exception as error:
            traceback.print_exc()
            failure = describe(error)
        _say(out, {"failure": msgspec.to_builtins(failure)})


def describe(error: Exception) -> Failure:
    """What an ability raised, as the bench understands it."""
    if isinstance(error, Broken):
        return error.failure
    if isinstance(error, Absent):
        return Failure(kind="absent", text=str(error))
    text = " ".join(str(error).split())[:300]
    if isinstance(error, TimeoutError | Silence):
        return Failure(kind="late", text=text)
    if isinstance(error, RemoteError):
        return Failure(kind="error", text=text, names=(error.ename or error.status,))
    ipyparallel: Any = sys.modules.get("ipyparallel.error")
    if ipyparallel is not None and isinstance(error, ipyparallel.CompositeError):
        return Failure(kind="error", text=text, names=tuple(dict.fromkeys(str(name) for name, *_ in error.elist)))
    if ipyparallel is not None and isinstance(error, ipyparallel.RemoteError):
        return Failure(kind="error", text=text, names=(str(error.ename),))
    where = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(where.filename).name}:{where.lineno}"
    return Failure(kind="local", text=f"{type(error).__name__} at {place}: {text}")


def _listen(lines: "queue.SimpleQueue[dict[str, Any]]", directory: Path) -> None:
    for line in sys.stdin:
        value = json.loads(line)
        if "end" in value:
            os._exit(0)
        lines.put(value)
    shutil.rmtree(directory, ignore_errors=True)
    os._exit(0)


def _say(out: IO[str], value: object) -> None:
    out.write(json.dumps(value, default=repr) + "\n")
    out.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])

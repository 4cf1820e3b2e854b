"""`ippkit record`: what happens between parties, written down by a relay."""

import shutil
import signal
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

import click

from conformance.cli.options import SOME_SECONDS
from conformance.files import private

#: Seconds after which what was recorded is handed over to the system.
SLICE = 0.5


@click.command(epilog="Example: ippkit record --dir ~/.ipython/profile_default/security --out capture.jsonl")
@click.option(
    "--dir", "directory", required=True, type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Where the connection files are: of a controller for clients and engines, or of kernels.",
)  # fmt: skip
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="The recording: JSON lines.")  # fmt: skip
@click.option("--copies", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Where the rewritten files lie, while it records.  [default: DIR/relayed]")  # fmt: skip
@click.option(
    "--for", "seconds", type=SOME_SECONDS, metavar="SECONDS", help="End by itself.  [default: Ctrl-C ends it]"
)
def record(directory: Path, out: Path, copies: Path | None, seconds: float | None) -> None:
    """Lie between the parties of a cluster, or a kernel and its frontends, and record all messages.

    The connection files in DIR are copied with other addresses; whoever shall be recorded is started with a copy. Bytes
    pass unchanged. The recording holds no keys, but everything that was said: only you can read it.
    """
    from conformance.relay.capture import Capture
    from conformance.relay.files import files_in
    from conformance.relay.relay import Relay

    found = files_in(directory)
    folder = copies or directory / "relayed"
    if folder.resolve() == directory.resolve():
        raise click.UsageError("--copies is --dir: the copies would take the place of the files")
    over = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        over.set()

    with ExitStack() as stack:
        stream = stack.enter_context(open(out, "wb", opener=private))
        far = {path.name: "kernel" for path, file in found.items() if file.kind == "kernel"}
        if len(far) > 1:
            far = {name: f"kernel-{number}" for number, name in enumerate(far, 1)}
        codecs = {path.name: file.codec() for path, file in found.items()}
        capture = Capture(stream, codecs, far=far, about=f"recorded from {directory}")
        stack.callback(capture.close)
        relay = stack.enter_context(Relay(sink=capture))
        is_new = not folder.exists()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path, file in found.items():
            copy = relay.join(path.name, file, folder / path.name)
            stack.callback(copy.unlink, missing_ok=True)
            click.echo(f"{copy}: for what shall be recorded and would use {path.name}")
        if is_new:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            stack.callback(signal.signal, number, signal.signal(number, end))
        click.echo("recording" + (f" for {seconds:g} s" if seconds else "; Ctrl-C ends it"))
        deadline = None if seconds is None else time.monotonic() + seconds
        while not over.wait(SLICE if deadline is None else min(SLICE, max(0.0, deadline - time.monotonic()))):
            capture.flush()
            if deadline is not None and time.monotonic() >= deadline:
                break
    click.echo(f"{out}: {capture.messages} messages on {capture.connections} connections")
    for reason, count in Counter(capture.unread.values()).items():
        click.echo(f"{count} of them could not be read: {reason}")

"""`ippkit which-dialect`: what peers speak, told from what they do."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from conformance.cli.group import ExitStatus
from conformance.cli.options import SOME_SECONDS
from conformance.cli.tables import print_table
from conformance.dialects.verdict import Peer
from protocol.dialects import feature
from protocol.patterns import DIALECTS


@click.command(
    "which-dialect", epilog="Example: ippkit which-dialect ~/.ipython/profile_default/security/ipcontroller-*.json"
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True,
                type=click.Path(exists=True, dir_okay=False, path_type=Path))  # fmt: skip
@click.option("--deadline", type=SOME_SECONDS, default=5.0, show_default=True, metavar="SECONDS",
              help="How long an answer may take.")  # fmt: skip
def which_dialect(files: tuple[Path, ...], deadline: float) -> int:
    """Tell which dialect peers speak.

    A FILE is a connection file of a running controller or kernel, which is then asked a few harmless questions, or a
    recording made by `ippkit record`, which also shows what engines and clients speak. The exit status is 3 if nobody
    showed anything that tells.
    """
    from conformance.relay.files import kind_of

    kinds = {path: kind_of(path) for path in files}
    peers = _asked([path for path in files if kinds[path]], deadline)
    for path in files:
        if kinds[path] is None:
            peers += _recorded(path)
    for peer in peers:
        if peer.telling:
            _show(peer)
    for peer in peers:
        click.echo(peer.sentence)
    return ExitStatus.CONFORMS if any(peer.telling for peer in peers) else ExitStatus.UNUSABLE


def _asked(paths: Sequence[Path], deadline: float) -> list[Peer]:
    from conformance.dialects.asking import ask, ask_relays
    from conformance.files import read_connection_file
    from conformance.relay.files import kind_of
    from protocol.connection import ClientFile, EngineFile, KernelFile, check_pair

    peers = []
    client: ClientFile | None = None
    engine: EngineFile | None = None
    for path in paths:
        kind = kind_of(path)
        assert kind is not None
        file = read_connection_file(path, kind)
        if isinstance(file, KernelFile):
            peer = Peer(name=f"the kernel of {path}")
            peer.add(ask(file, deadline))
            peers.append(peer)
        elif isinstance(file, ClientFile):
            client = file
        elif isinstance(file, EngineFile):
            engine = file
    if client is not None:
        peer = Peer(name="the controller")
        peer.add(ask(client, deadline))
        if engine is not None:
            check_pair(client, engine)
            peer.add(ask_relays(client, engine))
        peers.append(peer)
    elif engine is not None:
        raise click.UsageError("a controller is asked at the address in its file for clients: give that one, too")
    return peers


def _recorded(path: Path) -> Iterable[Peer]:
    from conformance.dialects.recorded import peers_of
    from conformance.relay.report import Unreadable

    try:
        return peers_of(path)
    except Unreadable as error:
        raise click.UsageError(f"{error}; nor is it a connection file") from None


def _show(peer: Peer) -> None:
    rows = [
        (sign.feature, sign.seen, *(_cell(sign.fits(name), feature(sign.feature).value(name)) for name in DIALECTS))
        for sign in sorted(peer.telling)
    ]
    print_table(peer.name, ("", "seen", *DIALECTS), rows)


def _cell(fits: bool | None, value: object) -> str:
    return f"{'= ' if fits else '  '}{'-' if value is None else value}"

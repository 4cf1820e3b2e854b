"""What a user may choose of a controller, and what its roles are told of that."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from conformance.reference.storage import open_records
from protocol.roles.assembly import ControllerConfig, Parts, processes


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a user may choose; times with their unit in the name, the rest as `ippkit controller --help` says."""

    directory: Path
    database: str = "memory"
    scheme: str = "leastload"
    hwm: int = 1
    period_ms: int = 3000
    misses: int = 10
    registration_timeout_s: float = 30.0
    scheduler_grace_s: float = 5.0
    broadcast_depth: int = 1
    remembered: int = 1 << 16
    is_restored: bool = False
    has_curve: bool = False
    client_ip: str = "127.0.0.1"
    engine_ip: str = ""
    transport: str = "tcp"


def parts(options: Options, interface: str, state: Any, keep: Callable[[Any], None]) -> Parts:
    """The processes of a controller by name, the Hub's first.

    `interface` is the one for engines; `state` is what the Hub left before a restart, and `keep` takes what it leaves.
    """
    config = ControllerConfig(
        interface=interface,
        scheme=options.scheme,
        hwm=options.hwm,
        period_ms=options.period_ms,
        misses=options.misses,
        registration_timeout_s=options.registration_timeout_s,
        scheduler_grace_s=options.scheduler_grace_s,
        broadcast_depth=options.broadcast_depth,
        remembered=options.remembered,
    )
    return processes(config, lambda: {"records": open_records(options.database), "persist": keep}, state)

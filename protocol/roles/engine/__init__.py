"""The engine: registration and heartbeat watch (`role`), requests and their order (`work`), answers (`answers`)."""

from protocol.roles.engine.role import ENGINE, FAILED, Engine
from protocol.roles.engine.settings import EngineConfig, Outcome
from protocol.roles.engine.work import REQUEST

__all__ = [
    "ENGINE",
    "FAILED",
    "REQUEST",
    "Engine",
    "EngineConfig",
    "Outcome",
]

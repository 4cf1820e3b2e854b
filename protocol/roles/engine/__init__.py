"""The engine: registration and heartbeat watch (`role`), requests and their order (`work`), answers (`answers`)."""

from protocol.roles.engine.role import FAILED, STATES, TRANSITIONS, Engine
from protocol.roles.engine.settings import EngineConfig, Outcome
from protocol.roles.engine.work import REQUEST_STATES, REQUEST_TRANSITIONS

__all__ = [
    "FAILED",
    "REQUEST_STATES",
    "REQUEST_TRANSITIONS",
    "STATES",
    "TRANSITIONS",
    "Engine",
    "EngineConfig",
    "Outcome",
]

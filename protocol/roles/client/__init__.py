"""The client: what it keeps (`tables`), and what it does (`role`)."""

from protocol.roles.client.role import Client
from protocol.roles.client.tables import (
    REQUEST_STATES,
    REQUEST_TRANSITIONS,
    Answer,
    ClientConfig,
    Ended,
    Published,
    Request,
)

__all__ = [
    "REQUEST_STATES",
    "REQUEST_TRANSITIONS",
    "Answer",
    "Client",
    "ClientConfig",
    "Ended",
    "Published",
    "Request",
]

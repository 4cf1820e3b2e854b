"""The client: what it keeps (`tables`), and what it does (`role`)."""

from protocol.roles.client.role import Client
from protocol.roles.client.tables import (
    REQUEST,
    Answer,
    ClientConfig,
    Ended,
    Published,
    Request,
)

__all__ = [
    "REQUEST",
    "Answer",
    "Client",
    "ClientConfig",
    "Ended",
    "Published",
    "Request",
]

"""The Hub of a controller: registration, notifications, the records of all traffic, and the questions of clients.

`hub` has the role, `engines` the life of engines, `traffic` what passes the queues, `inquiries` what clients ask.
"""

from protocol.roles.hub.engines import ENGINE
from protocol.roles.hub.hub import REQUESTS, Hub, HubConfig

__all__ = ["ENGINE", "REQUESTS", "Hub", "HubConfig"]

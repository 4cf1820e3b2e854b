"""The reference controller with a Hub that answers every question twice, and each time as if for the first time.

It exists to prove that a scenario on real processes is judged by what crosses the relay, whatever its own demands are.
"""

import sys
from typing import Any

from conformance.cli.controller import controller
from protocol.roles.base import Send
from protocol.roles.hub import Hub

if __name__ == "__main__":
    handle = Hub.handle

    def chatty(self: Hub, now: int, event: Any) -> Any:
        effects = []
        for effect in handle(self, now, event):
            effects.append(effect)
            if type(effect) is Send and effect.message.msg_type == "queue_reply":
                message = effect.message
                header = message.header | {"msg_id": f"{message.msg_id}-again"}
                effects.append(Send(effect.socket, message.replace(header=header)))
        return effects

    Hub.handle = chatty  # type: ignore[method-assign]
    controller(sys.argv[1:])

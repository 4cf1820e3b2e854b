"""The signature frame: who may speak, and whether it was said before.

Source: jupyter_client messaging.rst, "The Wire Protocol"; IPython commit a2c57acba,
docs/source/development/parallel_messages.txt, "Split Sends".
"""

import hashlib
from collections import deque
from collections.abc import Callable

from protocol.errors import LocalProtocolError, Problem


def signer(key: bytes, scheme: str) -> Callable[[bytes], bytes]:
    """A function from the signed bytes to the signature frame, with the key's share of the hash computed once.

    `scheme` is `hmac-<hash>`, as in connection files. An empty key means no authentication: the frame is empty.
    """
    kind, _, digest = scheme.partition("-")
    if kind != "hmac" or digest not in hashlib.algorithms_available or digest.startswith("shake"):
        raise LocalProtocolError(Problem("signature", "wire.signature-scheme", "'hmac-<hash>'", repr(scheme)))
    if not key:
        return lambda _: b""
    block = hashlib.new(digest).block_size
    if len(key) > block:
        key = hashlib.new(digest, key).digest()
    key = key.ljust(block, b"\0")
    inner = hashlib.new(digest, bytes(octet ^ 0x36 for octet in key))
    outer = hashlib.new(digest, bytes(octet ^ 0x5C for octet in key))
    copy_inner, copy_outer = inner.copy, outer.copy

    def sign(data: bytes) -> bytes:
        first = copy_inner()
        first.update(data)
        second = copy_outer()
        second.update(first.digest())
        return second.hexdigest().encode()

    return sign


class ReplayMemory:
    """The signatures already accepted, the oldest forgotten first once `capacity` is reached.

    A receiver that keeps none answers a captured request as often as somebody sends it again.
    """

    def __init__(self, capacity: int = 65536) -> None:
        self.capacity = capacity
        self._seen: set[bytes] = set()
        # A dictionary would know the order, too, but finds its oldest key slowly once many were taken from its front.
        self._order: deque[bytes] = deque()

    def __len__(self) -> int:
        return len(self._order)

    def admit(self, signature: bytes) -> bool:
        """Whether this signature is new; it is not new a second time."""
        seen = self._seen
        if signature in seen:
            return False
        seen.add(signature)
        order = self._order
        order.append(signature)
        if len(order) > self.capacity:
            seen.remove(order.popleft())
        return True


__all__ = ["ReplayMemory", "signer"]
